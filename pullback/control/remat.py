"""`checkpoint`: trade memory for time; the backward pass recomputes instead of remembering.

A checkpointed function is one equation (`remat2`, JAX's name). Forward mode and batching go into
its jaxpr. Partial evaluation, the first half of reverse mode, computes the known part plainly and
records an equation that starts from the arguments, and from what the policy kept.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import numpy as np

from pullback import tree
from pullback.control.custom import batched_operands
from pullback.control.jit import open_consts
from pullback.control.policies import Binomial, Policy
from pullback.control.saving import split_by_policy
from pullback.core.avals import aval_of
from pullback.core.jaxpr import (
    ClosedJaxpr,
    Jaxpr,
    JaxprEqn,
    Literal,
    eval_jaxpr,
    join_effects,
)
from pullback.core.primitive import NO_SAMPLES, Primitive, Zero
from pullback.core.source import describe_function
from pullback.core.tracebacks import api_boundary, named_like
from pullback.transforms.arguments import FlatFunction, check_callable, check_operand
from pullback.transforms.batching import batch_jaxpr
from pullback.transforms.dce import dce_jaxpr
from pullback.transforms.jvp import given_tangents, jvp_jaxpr, nonzero_tangents
from pullback.transforms.linearize import (
    HigherOrder,
    PartialTrace,
    known_and_unknown,
    merge,
    partial_eval_jaxpr,
)
from pullback.transforms.staging import stage
from pullback.transforms.transpose import (
    linear_values,
    nonzero_cotangents,
    spread,
    transpose_jaxpr,
)

__all__ = ["checkpoint", "remat", "remat_call"]


def bind_remat(closed: ClosedJaxpr, args: Sequence[Any], params: dict[str, Any]) -> list[Any]:
    """Apply a checkpointed jaxpr; its constants become operands."""
    opened, consts = open_consts(closed)
    outs: list[Any] = remat_call.bind(*consts, *args, **params | {"jaxpr": opened.jaxpr})
    return outs


def _abstract(*avals: Any, jaxpr: Jaxpr, **_: Any) -> list[Any]:
    return jaxpr.out_avals


def _reference(*args: Any, jaxpr: Jaxpr, **_: Any) -> list[Any]:
    return eval_jaxpr(jaxpr, [], *args)


def _jvp(
    primals: Sequence[Any], tangents: Sequence[Any], **params: Any
) -> tuple[list[Any], list[Any]]:
    jaxpr: Jaxpr = params["jaxpr"]
    nonzero = nonzero_tangents(tangents)
    closed, out_nonzero = jvp_jaxpr(ClosedJaxpr(jaxpr, []), nonzero, force=False)
    given = given_tangents(tangents)
    outs = bind_remat(closed, [*primals, *given], params)
    n = len(jaxpr.outvars)
    rest = iter(outs[n:])
    dots = [
        next(rest) if nz else Zero(v.aval.to_tangent_aval())
        for nz, v in zip(out_nonzero, jaxpr.outvars, strict=True)
    ]
    return outs[:n], dots


def _split(trace: PartialTrace, args: Sequence[Any], params: dict[str, Any]) -> list[Any]:
    unknown, known_args, unknown_args = known_and_unknown(trace, args)
    split = partial_eval_jaxpr(ClosedJaxpr(params["jaxpr"], []), unknown)
    known, consts = open_consts(split.known)
    forward, again, n_saved, used = _recompute(
        known.jaxpr, split.unknown.jaxpr, split.num_residuals, params["policy"]
    )
    known_args = [*consts, *known_args]
    known_outs = eval_jaxpr(forward, [], *known_args)
    n = len(known_outs) - n_saved
    operands = [*known_args, *unknown_args]
    operands = [x for x, u in zip(operands, used, strict=True) if u]
    unknown_params = params | {"jaxpr": again, "differentiated": True}
    unknown_outs = trace.record(remat_call, [*known_outs[n:], *operands], unknown_params)
    return merge(split.out_unknown, known_outs[:n], unknown_outs)


def _recompute(
    known: Jaxpr, unknown: Jaxpr, n_residuals: int, policy: Policy | None
) -> tuple[Jaxpr, Jaxpr, int, list[bool]]:
    """The known part with what it must keep, and the unknown part that starts from that.

    The second takes the kept values, then those known and unknown arguments that the last result
    marks; the third result is how many values are kept.
    """
    n = len(known.outvars) - n_residuals
    parts = split_by_policy(known, policy)
    residuals = unknown.invars[:n_residuals]
    renamed = {r: parts.atom(v) for r, v in zip(residuals, known.outvars[n:], strict=True)}
    tail = [eqn.replace(invars=[_renamed(v, renamed) for v in eqn.invars]) for eqn in unknown.eqns]
    eqns = [*parts.again, *tail]
    whole = unknown.replace(
        invars=[*parts.saved, *known.invars, *unknown.invars[n_residuals:]],
        outvars=[_renamed(v, renamed) for v in unknown.outvars],
        eqns=eqns,
        effects=join_effects(eqns),
    )
    again, used = dce_jaxpr(whole, [True] * len(whole.outvars))
    n_saved = len(parts.saved)
    kept = [v for v, u in zip(parts.saved, used[:n_saved], strict=True) if u]
    everything = known.replace(outvars=[*known.outvars[:n], *kept], eqns=parts.forward)
    forward, _ = dce_jaxpr(everything, [True] * len(everything.outvars), keep_invars=True)
    return forward, again, len(kept), used[n_saved:]


def _renamed(v: Any, renamed: dict[Any, Any]) -> Any:
    return v if type(v) is Literal else renamed.get(v, v)


def _dce(eqn: JaxprEqn, used: Sequence[bool]) -> tuple[list[bool], JaxprEqn | None]:
    pruned, used_in = dce_jaxpr(eqn.params["jaxpr"], used)
    kept = eqn.replace(
        invars=[v for v, u in zip(eqn.invars, used_in, strict=True) if u],
        outvars=[v for v, u in zip(eqn.outvars, used, strict=True) if u],
        params=eqn.params | {"jaxpr": pruned},
        effects=pruned.effects,
    )
    return used_in, kept


def _transpose(cts: Sequence[Any], *args: Any, **params: Any) -> list[Any]:
    closed = ClosedJaxpr(params["jaxpr"], [])
    linear, known = linear_values(args)
    zero, given = nonzero_cotangents(cts)
    transposed, nonzero = transpose_jaxpr(closed, linear, zero)
    outs = bind_remat(transposed, [*known, *given], params)
    return spread(linear, closed.in_avals, nonzero, outs)


def _batch(
    size: int, args: Sequence[Any], dims: Sequence[int | None], **params: Any
) -> tuple[list[Any], list[int | None]]:
    batched, moved = batched_operands(size, args, dims)
    closed, out_batched = batch_jaxpr(ClosedJaxpr(params["jaxpr"], []), size, batched, force=False)
    outs = bind_remat(closed, moved, params)
    return outs, [0 if b else None for b in out_batched]


def _lower(b: Any, *xs: Any, jaxpr: Jaxpr, **_: Any) -> list[Any]:
    results: list[Any] = b.inline(jaxpr, *xs)
    return results


def _hlo(
    b: Any, *xs: Any, jaxpr: Jaxpr, prevent_cse: Any, differentiated: bool, **_: Any
) -> list[Any]:
    """Behind a barrier, so that it is not merged with the first computation."""
    if differentiated and xs and np.any(prevent_cse):
        types = [(x.shape, x.dtype) for x in xs]
        xs = tuple(b.ops("stablehlo.optimization_barrier", xs, types))
    results: list[Any] = b.inline(jaxpr, *xs)
    return results


remat_call: Final = Primitive(
    name="remat2",
    abstract=_abstract,
    reference=_reference,
    jvp=_jvp,
    transpose=_transpose,
    batch=_batch,
    partial_eval=HigherOrder(_split, _dce),
    lower=_lower,
    hlo=_hlo,
    samples=NO_SAMPLES,
    multiple_results=True,
    effects=lambda *, jaxpr, **_: jaxpr.effects,
    literals=False,
)


class _Missing:
    """The default of a parameter that is gone."""

    def __repr__(self) -> str:
        return "Deprecated"


def checkpoint(
    fun: Callable[..., Any],
    *,
    prevent_cse: bool | Sequence[bool] = True,
    policy: Policy | None = None,
    static_argnums: int | Sequence[int] = (),
    static_argnames: str | Iterable[str] = (),
    concrete: Any = _Missing(),  # noqa: B008
) -> Callable[..., Any]:
    """`fun`, whose intermediate values are recomputed in the backward pass instead of kept.

    Values and derivatives are those of `fun`. `policy` says what is kept all the same (see
    `checkpoint_policies`); the default keeps the arguments only. `prevent_cse` keeps the compiler
    from merging the second computation with the first. Arguments in `static_argnums` and
    `static_argnames` are passed on as they are, and need not be arrays.

    >>> import pullback as pb, pullback.numpy as jnp
    >>> g = pb.checkpoint(lambda x: jnp.sin(jnp.sin(x)))
    >>> float(pb.grad(g)(0.0))
    1.0
    """
    if not isinstance(concrete, _Missing):
        raise NotImplementedError(
            "checkpoint: the option `concrete` is gone; mark arguments that must be concrete by "
            "static_argnums"
        )
    check_callable(fun, "checkpoint")
    nums = (static_argnums,) if isinstance(static_argnums, int) else tuple(static_argnums)
    names = (static_argnames,) if isinstance(static_argnames, str) else tuple(static_argnames)
    names += tuple(_names_of(fun, nums))
    cse = prevent_cse if isinstance(prevent_cse, bool) else tuple(prevent_cse)

    @api_boundary
    @named_like(fun)
    def remat_fun(*args: Any, **kwargs: Any) -> Any:
        given = set(names) & set(kwargs)
        if not given and not all(-len(args) <= i < len(args) for i in nums):
            raise ValueError(
                "the `static_argnums` argument to `jax.checkpoint` / `jax.remat` can only take "
                "integer values greater than or equal to `-len(args)` and less than `len(args)`, "
                f"but got {nums}, while `len(args)` = {len(args)}"
            )
        dynamic, named, partial = _without_static(fun, args, kwargs, nums, names)
        leaves, in_tree = tree.flatten((dynamic, named))
        for x in leaves:
            check_operand(x, f"checkpoint of {describe_function(fun)}")
        flat = FlatFunction(partial, in_tree)
        avals = [aval_of(x) for x in leaves]
        closed = stage(flat, avals, description=f"{describe_function(fun)} for checkpoint")
        if isinstance(policy, Binomial):
            closed = _with_policy(closed, policy)
        params = {"prevent_cse": cse, "differentiated": False, "policy": policy}
        return flat.out_tree.unflatten(bind_remat(closed, leaves, params))

    return remat_fun


def remat(
    fun: Callable[..., Any],
    *,
    prevent_cse: bool = True,
    policy: Policy | None = None,
    static_argnums: int | Sequence[int] = (),
    concrete: Any = _Missing(),  # noqa: B008
) -> Callable[..., Any]:
    """`checkpoint` under its older name.

    >>> import pullback as pb, pullback.numpy as jnp
    >>> float(pb.grad(pb.remat(lambda x: jnp.sin(jnp.sin(x))))(0.0))
    1.0
    """
    return checkpoint(
        fun,
        prevent_cse=prevent_cse,
        policy=policy,
        static_argnums=static_argnums,
        concrete=concrete,
    )


def _with_policy(closed: ClosedJaxpr, policy: Binomial) -> ClosedJaxpr:
    """The outermost loops get the policy, unless they have one."""
    return ClosedJaxpr(
        closed.jaxpr.replace(eqns=[_eqn_with_policy(e, policy) for e in closed.jaxpr.eqns]),
        closed.consts,
    )


def _eqn_with_policy(eqn: JaxprEqn, policy: Binomial) -> JaxprEqn:
    params = eqn.params
    match eqn.primitive.name:
        case "scan" | "while" if params["remat"] is None:
            return eqn.replace(params=params | {"remat": policy})
        case "jit":
            inner = _with_policy(params["jaxpr"], policy)
            return eqn.replace(params=params | {"jaxpr": inner})
        case "cond":
            branches = tuple(_with_policy(b, policy) for b in params["branches"])
            return eqn.replace(params=params | {"branches": branches})
        case _:
            return eqn


def _names_of(fun: Callable[..., Any], nums: Sequence[int]) -> list[str]:
    """The names of static positions, under which they may be passed as well."""
    try:
        parameters = list(inspect.signature(fun).parameters.values())
    except (TypeError, ValueError):
        return []
    n = len(parameters)
    chosen = [parameters[i] for i in nums if -n <= i < n]
    return [p.name for p in chosen if p.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD]


def _without_static(
    fun: Callable[..., Any],
    args: Sequence[Any],
    kwargs: dict[str, Any],
    nums: Sequence[int],
    names: Sequence[str],
) -> tuple[tuple[Any, ...], dict[str, Any], Callable[..., Any]]:
    """The arguments that are not static, and the function of these."""
    n = len(args)
    fixed = {i % n: args[i % n] for i in nums if -n <= i < n}
    fixed_names = {k: v for k, v in kwargs.items() if k in names}
    dynamic = tuple(x for i, x in enumerate(args) if i not in fixed)
    named = {k: v for k, v in kwargs.items() if k not in fixed_names}
    if not fixed and not fixed_names:
        return dynamic, named, fun

    def partial(*given: Any, **more: Any) -> Any:
        rest = iter(given)
        full = [fixed[i] if i in fixed else next(rest) for i in range(n)]
        return fun(*full, **fixed_names, **more)

    return dynamic, named, partial
