"""`while` and `scan`: loops as equations, with their forward, reverse and batching rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pullback.control.jit import open_consts, split_list
from pullback.core.avals import aval_of
from pullback.core.effects import has_io
from pullback.core.jaxpr import ClosedJaxpr, JaxprEqn, eval_jaxpr
from pullback.core.primitive import (
    NO_SAMPLES,
    NotApplicable,
    Primitive,
    Zero,
    instantiate,
)
from pullback.ops import elementwise, reductions, structural
from pullback.transforms.batching import batch_jaxpr, move_batch_axis
from pullback.transforms.dce import dce_jaxpr
from pullback.transforms.jvp import jvp_jaxpr
from pullback.transforms.linearize import (
    HigherOrder,
    PartialTrace,
    merge,
    partial_eval_jaxpr,
)
from pullback.transforms.staging import stage

__all__ = ["bind_while", "while_"]


def bind_while(
    cond: ClosedJaxpr, body: ClosedJaxpr, cond_consts: Any, body_consts: Any, init: Sequence[Any]
) -> list[Any]:
    """Apply a while loop; constants of the jaxprs become operands."""
    cond, more_cond = open_consts(cond)
    body, more_body = open_consts(body)
    cond_all, body_all = [*more_cond, *cond_consts], [*more_body, *body_consts]
    outs: list[Any] = while_.bind(
        *cond_all,
        *body_all,
        *init,
        cond_nconsts=len(cond_all),
        cond_jaxpr=cond,
        body_nconsts=len(body_all),
        body_jaxpr=body,
    )
    return outs


def _abstract(*avals: Any, body_jaxpr: ClosedJaxpr, **_: Any) -> list[Any]:
    return body_jaxpr.out_avals


def _reference(
    *args: Any,
    cond_nconsts: int,
    cond_jaxpr: ClosedJaxpr,
    body_nconsts: int,
    body_jaxpr: ClosedJaxpr,
) -> list[Any]:
    cond_consts, body_consts, carry = split_list(args, cond_nconsts, body_nconsts)
    while bool(eval_jaxpr(cond_jaxpr.jaxpr, cond_jaxpr.consts, *cond_consts, *carry)[0]):
        carry = eval_jaxpr(body_jaxpr.jaxpr, body_jaxpr.consts, *body_consts, *carry)
    return carry


def _jvp(
    primals: Sequence[Any],
    tangents: Sequence[Any],
    *,
    cond_nconsts: int,
    cond_jaxpr: ClosedJaxpr,
    body_nconsts: int,
    body_jaxpr: ClosedJaxpr,
) -> tuple[list[Any], list[Any]]:
    cond_consts, body_consts, init = split_list(primals, cond_nconsts, body_nconsts)
    _, const_tangents, init_tangents = split_list(tangents, cond_nconsts, body_nconsts)
    const_nonzero = [type(t) is not Zero for t in const_tangents]
    nonzero = [type(t) is not Zero for t in init_tangents]
    while True:
        body_jvp, out_nonzero = jvp_jaxpr(body_jaxpr, const_nonzero + nonzero, force=nonzero)
        if out_nonzero == nonzero:
            break
        nonzero = [a or b for a, b in zip(nonzero, out_nonzero, strict=True)]
    consts_dot = [t for t in const_tangents if type(t) is not Zero]
    init_dot = [instantiate(t) for t, nz in zip(init_tangents, nonzero, strict=True) if nz]
    n, nc, ncd = len(init), len(body_consts), len(consts_dot)

    def body(*args: Any) -> list[Any]:
        consts, consts_t, carry, carry_t = split_list(args, nc, ncd, n)
        return eval_jaxpr(body_jvp.jaxpr, body_jvp.consts, *consts, *carry, *consts_t, *carry_t)

    def cond(*args: Any) -> list[Any]:
        return eval_jaxpr(cond_jaxpr.jaxpr, cond_jaxpr.consts, *args[: cond_nconsts + n])

    carry_avals = [*body_jaxpr.out_avals, *map(aval_of, init_dot)]
    body_avals = [*body_jaxpr.in_avals[:nc], *map(aval_of, consts_dot)]
    new_body = stage(body, [*body_avals, *carry_avals], description="body of while")
    new_cond = stage(
        cond, [*cond_jaxpr.in_avals[:cond_nconsts], *carry_avals], description="cond of while"
    )
    outs = bind_while(
        new_cond, new_body, cond_consts, [*body_consts, *consts_dot], [*init, *init_dot]
    )
    rest = iter(outs[n:])
    out_tangents = [
        next(rest) if nz else Zero(aval.to_tangent_aval())
        for nz, aval in zip(nonzero, body_jaxpr.out_avals, strict=True)
    ]
    return outs[:n], out_tangents


def _transpose(cts: Any, *args: Any, **params: Any) -> Any:
    raise ValueError(
        "reverse-mode differentiation does not work through lax.while_loop, nor through "
        "lax.fori_loop with a traced number of steps: the number of values to keep is not known. "
        "Use lax.scan, fori_loop with static bounds, or forward mode (jvp, jacfwd)."
    )


def _split(trace: PartialTrace, args: Sequence[Any], params: dict[str, Any]) -> list[Any]:
    """Carries that never depend on unknowns are computed; the loop is recorded for the rest."""
    cond_nconsts, body_nconsts = params["cond_nconsts"], params["body_nconsts"]
    cond_jaxpr, body_jaxpr = params["cond_jaxpr"], params["body_jaxpr"]
    unknown = [trace.is_unknown(x) for x in args]
    cond_u, body_u, carry_u = split_list(unknown, cond_nconsts, body_nconsts)
    while True:
        split = partial_eval_jaxpr(body_jaxpr, body_u + carry_u, force_unknown=carry_u)
        if split.out_unknown == carry_u:
            break
        carry_u = [a or b for a, b in zip(carry_u, split.out_unknown, strict=True)]
    cond_split = partial_eval_jaxpr(cond_jaxpr, cond_u + carry_u)
    if any(cond_split.out_unknown) or all(carry_u):
        outs: list[Any] = trace.record(while_, args, params)
        return outs
    known_outs = _run_known(args, carry_u, unknown, params)
    recorded = trace.record(while_, args, params)
    return merge(carry_u, known_outs, [x for x, u in zip(recorded, carry_u, strict=True) if u])


def _run_known(
    args: Sequence[Any], carry_u: list[bool], unknown: list[bool], params: dict[str, Any]
) -> list[Any]:
    """The loop over the known carries alone."""
    cond_nconsts, body_nconsts = params["cond_nconsts"], params["body_nconsts"]
    cond_consts, body_consts, init = split_list(args, cond_nconsts, body_nconsts)
    keep = [not u for u in carry_u]
    body_jaxpr, used_body = dce_jaxpr(params["body_jaxpr"].jaxpr, keep)
    cond_jaxpr = params["cond_jaxpr"].jaxpr
    const_used, carry_used = used_body[:body_nconsts], used_body[body_nconsts:]
    carry_vars = [
        v for v, k in zip(params["body_jaxpr"].jaxpr.invars[body_nconsts:], keep, strict=True) if k
    ]
    const_vars = [
        v
        for v, u in zip(params["body_jaxpr"].jaxpr.invars[:body_nconsts], const_used, strict=True)
        if u
    ]
    del carry_used
    body = body_jaxpr.replace(invars=[*const_vars, *carry_vars])
    cond_carry = [v for v, k in zip(cond_jaxpr.invars[cond_nconsts:], keep, strict=True) if k]
    cond = cond_jaxpr.replace(invars=[*cond_jaxpr.invars[:cond_nconsts], *cond_carry])
    cond = dce_jaxpr(cond, [True], keep_invars=True)[0]
    return bind_while(
        ClosedJaxpr(cond, params["cond_jaxpr"].consts),
        ClosedJaxpr(body, params["body_jaxpr"].consts),
        cond_consts,
        [x for x, u in zip(body_consts, const_used, strict=True) if u],
        [x for x, k in zip(init, keep, strict=True) if k],
    )


def _dce(eqn: JaxprEqn, used: Sequence[bool]) -> tuple[list[bool], JaxprEqn | None]:
    return [True] * len(eqn.invars), eqn


def _batch(
    size: int,
    args: Sequence[Any],
    dims: Sequence[int | None],
    *,
    cond_nconsts: int,
    cond_jaxpr: ClosedJaxpr,
    body_nconsts: int,
    body_jaxpr: ClosedJaxpr,
) -> tuple[list[Any], list[int | None]]:
    batched = [d is not None for d in dims]
    cond_b, body_b, carry_b = split_list(batched, cond_nconsts, body_nconsts)
    while True:
        _, out_b = batch_jaxpr(body_jaxpr, size, body_b + carry_b, force=carry_b)
        _, pred_b = batch_jaxpr(cond_jaxpr, size, cond_b + carry_b, force=False)
        if pred_b[0]:
            out_b = [True] * len(out_b)
        if out_b == carry_b:
            break
        carry_b = [a or b for a, b in zip(carry_b, out_b, strict=True)]
    new_body, _ = batch_jaxpr(body_jaxpr, size, body_b + carry_b, force=carry_b)
    new_cond, pred_batched = batch_jaxpr(cond_jaxpr, size, cond_b + carry_b, force=False)
    moved = [
        move_batch_axis(x, size, d, 0) if d is not None or b else x
        for x, d, b in zip(args, dims, cond_b + body_b + carry_b, strict=True)
    ]
    cond_consts, body_consts, init = split_list(moved, cond_nconsts, body_nconsts)
    if pred_batched[0] and has_io(cond_jaxpr.effects | body_jaxpr.effects):
        raise NotImplementedError(
            "vmap of while_loop: lanes stop at different times, so that the loop goes on for "
            "finished lanes, and it has an io_callback, which must not run for them. Use lax.map "
            "over the lanes."
        )
    if not pred_batched[0]:
        outs = bind_while(new_cond, new_body, cond_consts, body_consts, init)
    else:
        outs = _while_with_mask(new_cond, new_body, cond_consts, body_consts, init)
    return outs, [0 if b else None for b in carry_b]


def _while_with_mask(
    cond: ClosedJaxpr, body: ClosedJaxpr, cond_consts: Any, body_consts: Any, init: Any
) -> list[Any]:
    """Lanes stop one by one: the loop runs while any lane wants to, and finished lanes keep."""
    nc = len(cond_consts)

    def new_cond(*args: Any) -> list[Any]:
        (pred,) = eval_jaxpr(cond.jaxpr, cond.consts, *args)
        return [reductions.reduce_or(pred, axes=(0,), out_sharding=None)]

    def new_body(*args: Any) -> list[Any]:
        cs, bs, carry = split_list(args, nc, len(body_consts))
        (pred,) = eval_jaxpr(cond.jaxpr, cond.consts, *cs, *carry)
        new = eval_jaxpr(body.jaxpr, body.consts, *bs, *carry)
        return [select_lanes(pred, n, old) for n, old in zip(new, carry, strict=True)]

    carry_avals = body.out_avals
    cond_avals = cond.in_avals[:nc]
    body_avals = body.in_avals[: len(body_consts)]
    staged_cond = stage(new_cond, [*cond_avals, *carry_avals], description="cond of while")
    staged_body = stage(
        new_body, [*cond_avals, *body_avals, *carry_avals], description="body of while"
    )
    return bind_while(staged_cond, staged_body, cond_consts, [*cond_consts, *body_consts], init)


def select_lanes(pred: Any, on_true: Any, on_false: Any) -> Any:
    """Choose lane by lane; `pred` has one axis, the first of the others."""
    shape = on_true.aval.shape
    if pred.aval.shape != shape:
        pred = structural.broadcast_in_dim(
            pred, shape=shape, broadcast_dimensions=(0,), sharding=None
        )
    return elementwise.select_n(pred, on_false, on_true)


def _lower(
    b: Any,
    *xs: Any,
    cond_nconsts: int,
    cond_jaxpr: ClosedJaxpr,
    body_nconsts: int,
    body_jaxpr: ClosedJaxpr,
) -> list[Any]:
    cond_consts, body_consts, init = split_list(xs, cond_nconsts, body_nconsts)
    results: list[Any] = b.while_loop(cond_jaxpr, body_jaxpr, cond_consts, body_consts, init)
    return results


while_ = Primitive(
    name="while",
    abstract=_abstract,
    reference=_reference,
    jvp=_jvp,
    transpose=_transpose,
    batch=_batch,
    partial_eval=HigherOrder(_split, _dce),
    lower=_lower,
    hlo=NotApplicable("hlo of while", "the accelerator backend is not written yet"),
    samples=NO_SAMPLES,
    multiple_results=True,
    effects=lambda *, cond_jaxpr, body_jaxpr, **_: cond_jaxpr.effects | body_jaxpr.effects,
    literals=False,
)
