"""`remat_opt`: a forward rule of `custom_vjp` that gives way to the function itself.

The forward rule computes results and residuals, often by a kernel slower than that of the function.
Where nobody uses the residuals, as in the first pass through a checkpointed function, dead code
elimination replaces it by the function.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from pullback.control.custom import Rule, batched_operands
from pullback.control.jit import jit, open_consts
from pullback.core.avals import aval_of
from pullback.core.jaxpr import ClosedJaxpr, JaxprEqn, eval_jaxpr
from pullback.core.primitive import NO_SAMPLES, NotApplicable, Primitive, Zero
from pullback.core.trace import set_trace
from pullback.transforms.batching import batch_jaxpr
from pullback.transforms.dce import dce_jaxpr
from pullback.transforms.jvp import given_tangents, jvp_jaxpr, nonzero_tangents
from pullback.transforms.linearize import HigherOrder, PartialTrace
from pullback.transforms.staging import stage

__all__ = ["call_forward", "remat_opt"]


def call_forward(
    name: str,
    call_jaxpr: ClosedJaxpr,
    fwd: Rule,
    primals: Sequence[Any],
    num_consts: int,
    perturbed: Sequence[bool],
) -> tuple[list[Any], list[Any]]:
    """Results and residuals of a forward rule, as one equation that may be replaced."""
    n_out = len(call_jaxpr.out_avals)

    def forward(*args: Any) -> list[Any]:
        results = fwd(*args[num_consts:], *perturbed)
        return [*results[n_out:], *results[:n_out]]

    closed, consts = open_consts(
        stage(forward, [aval_of(x) for x in primals], description=f"the forward rule of {name}")
    )
    outs = _bind(closed, consts, call_jaxpr, primals, name)
    n_res = len(outs) - n_out
    return outs[n_res:], outs[:n_res]


def _bind(
    fwd: ClosedJaxpr, consts: Sequence[Any], fun: ClosedJaxpr, primals: Sequence[Any], name: str
) -> list[Any]:
    outs: list[Any] = remat_opt.bind(
        *consts,
        *primals,
        fwd_jaxpr=fwd,
        fun_jaxpr=fun,
        num_consts=len(consts),
        num_res=len(fwd.out_avals) - len(fun.out_avals),
        name=name,
    )
    return outs


def _reference(*args: Any, fwd_jaxpr: ClosedJaxpr, **_: Any) -> list[Any]:
    return eval_jaxpr(fwd_jaxpr.jaxpr, fwd_jaxpr.consts, *args)


def _jvp(
    primals: Sequence[Any], tangents: Sequence[Any], *, fwd_jaxpr: ClosedJaxpr, **_: Any
) -> tuple[list[Any], list[Any]]:
    nonzero = nonzero_tangents(tangents)
    closed, out_nonzero = jvp_jaxpr(fwd_jaxpr, nonzero, force=False)
    given = given_tangents(tangents)
    outs = eval_jaxpr(closed.jaxpr, closed.consts, *primals, *given)
    n = len(fwd_jaxpr.out_avals)
    rest = iter(outs[n:])
    dots = [
        next(rest) if nz else Zero(a.to_tangent_aval())
        for nz, a in zip(out_nonzero, fwd_jaxpr.out_avals, strict=True)
    ]
    return outs[:n], dots


def _batch(
    size: int,
    args: Sequence[Any],
    dims: Sequence[int | None],
    *,
    fwd_jaxpr: ClosedJaxpr,
    fun_jaxpr: ClosedJaxpr,
    num_consts: int,
    num_res: int,
    name: str,
) -> tuple[list[Any], list[int | None]]:
    batched, moved = batched_operands(size, args, dims)
    fwd, more = open_consts(batch_jaxpr(fwd_jaxpr, size, batched, force=True)[0])
    fun, _ = batch_jaxpr(fun_jaxpr, size, batched[num_consts:], force=True)
    outs = _bind(fwd, [*more, *moved[:num_consts]], fun, moved[num_consts:], name)
    return outs, [0] * len(outs)


def _split(trace: PartialTrace, args: Sequence[Any], params: dict[str, Any]) -> list[Any]:
    closed: ClosedJaxpr = params["fwd_jaxpr"]
    with set_trace(trace):
        return eval_jaxpr(closed.jaxpr, closed.consts, *args)


def _dce(eqn: JaxprEqn, used: Sequence[bool]) -> tuple[list[bool], JaxprEqn | None]:
    params = eqn.params
    n_consts, n_res = params["num_consts"], params["num_res"]
    whole = any(used[:n_res]) or bool(params["fun_jaxpr"].consts)
    closed: ClosedJaxpr = params["fwd_jaxpr"] if whole else params["fun_jaxpr"]
    invars = eqn.invars if whole else eqn.invars[n_consts:]
    wanted = used if whole else used[n_res:]
    outvars = eqn.outvars if whole else eqn.outvars[n_res:]
    pruned, used_in = dce_jaxpr(closed.jaxpr, wanted)
    kept = eqn.replace(
        primitive=jit,
        invars=[v for v, u in zip(invars, used_in, strict=True) if u],
        outvars=[v for v, u in zip(outvars, wanted, strict=True) if u],
        params={
            "jaxpr": ClosedJaxpr(pruned, closed.consts),
            "name": params["name"],
            "donated_invars": (),
            "keep_unused": False,
            "inline": True,
        },
        effects=pruned.effects,
    )
    return (used_in if whole else [*[False] * n_consts, *used_in]), kept


def _lower(b: Any, *xs: Any, fwd_jaxpr: ClosedJaxpr, **_: Any) -> list[Any]:
    results: list[Any] = b.inline(fwd_jaxpr, *xs)
    return results


remat_opt: Final = Primitive(
    name="remat_opt",
    abstract=lambda *avals, fwd_jaxpr, **_: fwd_jaxpr.out_avals,
    reference=_reference,
    jvp=_jvp,
    transpose=NotApplicable("transpose of remat_opt", "it is the forward pass, not linear"),
    batch=_batch,
    partial_eval=HigherOrder(_split, _dce),
    lower=_lower,
    hlo=_lower,
    samples=NO_SAMPLES,
    multiple_results=True,
    effects=lambda *, fwd_jaxpr, **_: fwd_jaxpr.effects,
    literals=False,
)
