"""The `jit` primitive: a call of a jaxpr that is compiled as one program.

It has rules of its own for every transformation, on jaxprs, so that a jitted function stays one
compiled forward program and one compiled backward program under grad.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pullback.core.jaxpr import ClosedJaxpr, JaxprEqn, eval_jaxpr
from pullback.core.primitive import (
    NO_SAMPLES,
    Primitive,
    Zero,
)
from pullback.core.refs import is_ref
from pullback.transforms.batching import batch_jaxpr, move_batch_axis
from pullback.transforms.dce import dce_jaxpr
from pullback.transforms.derived import made_once
from pullback.transforms.jvp import given_tangents, jvp_jaxpr, nonzero_tangents
from pullback.transforms.linearize import (
    HigherOrder,
    PartialTrace,
    known_and_unknown,
    merge,
    partial_eval_jaxpr,
)
from pullback.transforms.transpose import (
    linear_values,
    nonzero_cotangents,
    spread,
    transpose_jaxpr,
)

__all__ = ["bind_jit", "jit", "open_consts", "split_list"]


def open_consts(closed: ClosedJaxpr) -> tuple[ClosedJaxpr, list[Any]]:
    """The jaxpr with its constants as leading arguments, and their values."""
    jaxpr = closed.jaxpr
    if not closed.consts:
        return closed, []
    opened = jaxpr.replace(constvars=[], invars=jaxpr.constvars + jaxpr.invars)
    return ClosedJaxpr(opened, []), closed.consts


def split_list(xs: Sequence[Any], *sizes: int) -> list[list[Any]]:
    """Consecutive parts of `xs` of these sizes, and the rest."""
    parts, start = [], 0
    for n in sizes:
        parts.append(list(xs[start : start + n]))
        start += n
    return [*parts, list(xs[start:])]


def bind_jit(closed: ClosedJaxpr, args: Sequence[Any], name: str, **params: Any) -> list[Any]:
    """Apply a closed jaxpr as a jit equation; its constants become operands."""
    opened, consts = open_consts(closed)
    outs: list[Any] = jit.bind(*consts, *args, jaxpr=opened, name=name, **params)
    return outs


Forward = Callable[[Sequence[Any]], list[Any]]


def without_ref_results(closed: ClosedJaxpr, args: Sequence[Any]) -> tuple[ClosedJaxpr, Forward]:
    """The jaxpr without the references that it only passes on, and what puts them back."""
    jaxpr = closed.jaxpr
    if not any(map(is_ref, jaxpr.outvars)):
        return closed, list
    given = dict(zip(jaxpr.constvars + jaxpr.invars, [*closed.consts, *args], strict=True))
    kept = [v for v in jaxpr.outvars if not is_ref(v)]

    def forwarded(outs: Sequence[Any]) -> list[Any]:
        rest = iter(outs)
        return [given[v] if is_ref(v) else next(rest) for v in jaxpr.outvars]

    return ClosedJaxpr(jaxpr.replace(outvars=kept), closed.consts), forwarded


def _abstract(*avals: Any, jaxpr: ClosedJaxpr, **_: Any) -> list[Any]:
    return jaxpr.out_avals


def _reference(*args: Any, jaxpr: ClosedJaxpr, **_: Any) -> list[Any]:
    return eval_jaxpr(jaxpr.jaxpr, jaxpr.consts, *args)


def _jvp(
    primals: Sequence[Any], tangents: Sequence[Any], *, jaxpr: ClosedJaxpr, name: str, **params: Any
) -> tuple[list[Any], list[Any]]:
    nonzero = nonzero_tangents(tangents)
    closed, out_nonzero = jvp_jaxpr(jaxpr, nonzero, force=False)
    given = given_tangents(tangents)
    outs = bind_jit(closed, [*primals, *given], name, **_fresh(params))
    n = len(jaxpr.out_avals)
    rest = iter(outs[n:])
    out_tangents = [
        next(rest) if nz else Zero(aval.to_tangent_aval())
        for nz, aval in zip(out_nonzero, jaxpr.out_avals, strict=True)
    ]
    return outs[:n], out_tangents


def _fresh(params: dict[str, Any]) -> dict[str, Any]:
    """The parameters of a transformed call: donation belongs to the user's own call."""
    return params | {"donated_invars": ()} if params.get("donated_invars") else params


def _split(trace: PartialTrace, args: Sequence[Any], params: dict[str, Any]) -> list[Any]:
    unknown, known_args, unknown_args = known_and_unknown(trace, args)
    split = partial_eval_jaxpr(params["jaxpr"], unknown)
    rest = _fresh({k: v for k, v in params.items() if k not in ("jaxpr", "name")})
    name = params["name"]
    known, forwarded = without_ref_results(split.known, known_args)
    known_outs = forwarded(bind_jit(known, known_args, name, **rest))
    n_known = len(known_outs) - split.num_residuals
    residuals = known_outs[n_known:]
    unknown_params = {"jaxpr": split.unknown, "name": name, **rest}
    unknown_outs = trace.record(jit, [*residuals, *unknown_args], unknown_params)
    return merge(split.out_unknown, known_outs[:n_known], unknown_outs)


@made_once
def _pruned(closed: ClosedJaxpr, used: Sequence[bool]) -> tuple[ClosedJaxpr, list[bool]]:
    pruned, used_in = dce_jaxpr(closed.jaxpr, used)
    return ClosedJaxpr(pruned, closed.consts), used_in


def _dce(eqn: JaxprEqn, used: Sequence[bool]) -> tuple[list[bool], JaxprEqn | None]:
    pruned, used_in = _pruned(eqn.params["jaxpr"], used)
    params = _fresh(eqn.params | {"jaxpr": pruned})
    kept = eqn.replace(
        invars=[v for v, u in zip(eqn.invars, used_in, strict=True) if u],
        outvars=[v for v, u in zip(eqn.outvars, used, strict=True) if u],
        params=params,
        effects=pruned.effects,
    )
    return used_in, kept


def _transpose(
    cts: Sequence[Any], *args: Any, jaxpr: ClosedJaxpr, name: str, **params: Any
) -> list[Any]:
    linear, known = linear_values(args)
    zero, given = nonzero_cotangents(cts)
    transposed, nonzero = transpose_jaxpr(jaxpr, linear, zero)
    outs = bind_jit(transposed, [*known, *given], name, **_fresh(params))
    return spread(linear, jaxpr.in_avals, nonzero, outs)


def _batch(
    size: int,
    args: Sequence[Any],
    dims: Sequence[int | None],
    *,
    jaxpr: ClosedJaxpr,
    name: str,
    **params: Any,
) -> tuple[list[Any], list[int | None]]:
    batched = [d is not None for d in dims]
    moved = [
        move_batch_axis(x, size, d, 0) if d is not None else x
        for x, d in zip(args, dims, strict=True)
    ]
    closed, out_batched = batch_jaxpr(jaxpr, size, batched, force=False)
    outs = bind_jit(closed, moved, name, **_fresh(params))
    return outs, [0 if b else None for b in out_batched]


def _lower(b: Any, *xs: Any, jaxpr: ClosedJaxpr, **_: Any) -> list[Any]:
    results: list[Any] = b.inline(jaxpr, *xs)
    return results


jit = Primitive(
    name="jit",
    abstract=_abstract,
    reference=_reference,
    jvp=_jvp,
    transpose=_transpose,
    batch=_batch,
    partial_eval=HigherOrder(_split, _dce),
    lower=_lower,
    hlo=lambda b, *xs, jaxpr, name, **_: b.call(jaxpr, name, *xs),
    samples=NO_SAMPLES,
    multiple_results=True,
    effects=lambda *, jaxpr, **_: jaxpr.effects,
    literals=False,
)
