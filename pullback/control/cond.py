"""`cond`: one of several jaxprs, chosen by an integer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from pullback.control.jit import open_consts
from pullback.control.loop_parts import select_lanes
from pullback.core.avals import aval_of
from pullback.core.axes import NamedAxisEffect
from pullback.core.effects import CHECK, DEBUG_CHECK, has_io
from pullback.core.jaxpr import ClosedJaxpr, Jaxpr, JaxprEqn, Var, eval_jaxpr, subjaxprs
from pullback.core.primitive import (
    NO_SAMPLES,
    Primitive,
    Zero,
    instantiate,
)
from pullback.core.refs import is_ref
from pullback.ops import elementwise, reductions, slicing, structural
from pullback.ops.conversion import convert
from pullback.transforms.batching import batch_jaxpr, move_batch_axis
from pullback.transforms.dce import dce_jaxpr
from pullback.transforms.jvp import given_tangents, jvp_jaxpr, nonzero_tangents
from pullback.transforms.linearize import (
    HigherOrder,
    PartialTrace,
    Split,
    known_and_unknown,
    merge,
    partial_eval_jaxpr,
)
from pullback.transforms.shaping import reshape_to
from pullback.transforms.staging import stage
from pullback.transforms.transpose import (
    linear_values,
    nonzero_cotangents,
    spread,
    transpose_jaxpr,
)

__all__ = ["bind_cond", "cond"]

_FEW: Final = 32
_SINGULAR_NAMES: Final = """
acos acosh asin asinh atan2 atanh cbrt cosh digamma div erf_inv exp exp2 expm1 integer_pow lgamma
log log1p logistic polygamma pow rem rsqrt sinh sqrt tan zeta
"""
_SINGULAR: Final = frozenset(_SINGULAR_NAMES.split())
"""Element-wise operations whose derivative may be infinite, or that divide."""
_HARMLESS: Final = frozenset(
    p
    for module in (elementwise, reductions, structural, slicing)
    for p in vars(module).values()
    if isinstance(p, Primitive) and p.name not in _SINGULAR
)


def bind_cond(index: Any, branches: Sequence[ClosedJaxpr], args: Sequence[Any]) -> list[Any]:
    """Apply the branch number `index`; constants of the branches become operands."""
    opened = [open_consts(b) for b in branches]
    consts = [c for _, cs in opened for c in cs]
    if not consts:
        return cond.bind(index, *args, branches=tuple(branches))  # type: ignore[no-any-return]
    shared = {id(c): c for c in consts}
    places = {key: i for i, key in enumerate(shared)}
    avals = [aval_of(c) for c in shared.values()]
    padded = [
        _pad_arguments(closed.jaxpr, [places[id(c)] for c in cs], avals) for closed, cs in opened
    ]
    outs: list[Any] = cond.bind(index, *shared.values(), *args, branches=tuple(padded))
    return outs


def _pad_arguments(jaxpr: Jaxpr, places: Sequence[int], avals: Sequence[Any]) -> ClosedJaxpr:
    """`jaxpr`, whose first arguments are its own constants, as a function of everybody's.

    `places` says where its own are among them.
    """
    own, rest = jaxpr.invars[: len(places)], jaxpr.invars[len(places) :]
    everybody = [Var(a) for a in avals]
    for i, v in zip(places, own, strict=True):
        everybody[i] = v
    return ClosedJaxpr(jaxpr.replace(invars=[*everybody, *rest]), [])


def _abstract(index: Any, *avals: Any, branches: Sequence[ClosedJaxpr], **_: Any) -> list[Any]:
    return branches[0].out_avals


def _clamp(index: Any, n: int) -> int:
    return max(0, min(int(index), n - 1))


def _reference(index: Any, *args: Any, branches: Sequence[ClosedJaxpr], **_: Any) -> list[Any]:
    chosen = branches[_clamp(index, len(branches))]
    return eval_jaxpr(chosen.jaxpr, chosen.consts, *args)


def _any(rows: Sequence[Sequence[bool]]) -> list[bool]:
    return [any(column) for column in zip(*rows, strict=True)]


def _jvp(
    primals: Sequence[Any], tangents: Sequence[Any], *, branches: Sequence[ClosedJaxpr], **_: Any
) -> tuple[list[Any], list[Any]]:
    index, *args = primals
    dots = tangents[1:]
    nonzero = nonzero_tangents(dots)
    wanted = _any([jvp_jaxpr(b, nonzero, force=False)[1] for b in branches])
    branches_jvp = [jvp_jaxpr(b, nonzero, force=wanted)[0] for b in branches]
    outs = bind_cond(index, branches_jvp, [*args, *given_tangents(dots)])
    avals = branches[0].out_avals
    rest = iter(outs[len(avals) :])
    out_dots = [
        next(rest) if nz else Zero(a.to_tangent_aval()) for nz, a in zip(wanted, avals, strict=True)
    ]
    return outs[: len(avals)], out_dots


def _split(trace: PartialTrace, args: Sequence[Any], params: dict[str, Any]) -> list[Any]:
    index, *rest = args
    branches = params["branches"]
    if trace.is_unknown(index):
        outs: list[Any] = trace.record(cond, args, params)
        return outs
    unknown, known_args, unknown_args = known_and_unknown(trace, rest)
    wanted = _any([partial_eval_jaxpr(b, unknown).out_unknown for b in branches])
    ref_args = [i for i, x in enumerate(known_args) if is_ref(x)]
    splits = [
        _refs_apart(partial_eval_jaxpr(b, unknown, force_unknown=wanted), ref_args)
        for b in branches
    ]
    slots, places = _residual_slots(splits)
    known = [_with_slots(s, slots, place) for s, place in zip(splits, places, strict=True)]
    known_outs = bind_cond(index, known, known_args)
    n = len(known_outs) - len(slots)
    from_slots = [_from_slots(s, slots, place) for s, place in zip(splits, places, strict=True)]
    operands = [index, *known_outs[n:], *[known_args[i] for i in ref_args], *unknown_args]
    unknown_outs = trace.record(cond, operands, params | {"branches": tuple(from_slots)})
    return merge(wanted, known_outs[:n], unknown_outs)


def _refs_apart(split: Split, ref_args: Sequence[int]) -> Split:
    """The split without references among its residuals.

    The unknown part takes all references among the known arguments, after the residuals.
    """
    known, unknown, n_res = split.known.jaxpr, split.unknown.jaxpr, split.num_residuals
    if not ref_args:
        return split
    n = len(known.outvars) - n_res
    pairs = list(zip(known.outvars[n:], unknown.invars[:n_res], strict=True))
    inner = {v: r for v, r in pairs if is_ref(v)}
    kept = [(v, r) for v, r in pairs if not is_ref(v)]
    refs = [inner.get(known.invars[i], Var(known.invars[i].aval)) for i in ref_args]
    new_known = known.replace(outvars=[*known.outvars[:n], *[v for v, _ in kept]])
    new_unknown = unknown.replace(invars=[*[r for _, r in kept], *refs, *unknown.invars[n_res:]])
    return Split(
        ClosedJaxpr(new_known, split.known.consts),
        ClosedJaxpr(new_unknown, split.unknown.consts),
        split.out_unknown,
        len(kept),
    )


def _residual_slots(splits: Sequence[Split]) -> tuple[list[Any], list[list[int]]]:
    """Places for the residuals of all branches; branches share places of the same type."""
    slots: list[Any] = []
    places: list[list[int]] = []
    for split in splits:
        free = list(range(len(slots)))
        mine = []
        for aval in split.unknown.in_avals[: split.num_residuals]:
            found = next((i for i in free if slots[i] is aval), None)
            if found is None:
                found = len(slots)
                slots.append(aval)
            else:
                free.remove(found)
            mine.append(found)
        places.append(mine)
    return slots, places


def _with_slots(split: Split, slots: Sequence[Any], place: Sequence[int]) -> ClosedJaxpr:
    """The known part with its residuals in their places, and zeros in the other places."""

    def fun(*args: Any) -> list[Any]:
        outs = eval_jaxpr(split.known.jaxpr, split.known.consts, *args)
        n = len(outs) - split.num_residuals
        by_place = dict(zip(place, outs[n:], strict=True))
        filled = [
            by_place[i] if i in by_place else structural.zeros(a) for i, a in enumerate(slots)
        ]
        return outs[:n] + filled

    return stage(fun, split.known.in_avals, description="a branch of cond")


def _from_slots(split: Split, slots: Sequence[Any], place: Sequence[int]) -> ClosedJaxpr:
    jaxpr = split.unknown.jaxpr
    residuals = jaxpr.invars[: split.num_residuals]
    everybody = [Var(a) for a in slots]
    for i, v in zip(place, residuals, strict=True):
        everybody[i] = v
    invars = [*everybody, *jaxpr.invars[split.num_residuals :]]
    return ClosedJaxpr(jaxpr.replace(invars=invars), split.unknown.consts)


def _dce(eqn: JaxprEqn, used: Sequence[bool]) -> tuple[list[bool], JaxprEqn | None]:
    branches = eqn.params["branches"]
    used_in = _any([dce_jaxpr(b.jaxpr, used)[1] for b in branches])
    pruned = []
    for b in branches:
        jaxpr, _ = dce_jaxpr(b.jaxpr, used, keep_invars=True)
        invars = [v for v, u in zip(b.jaxpr.invars, used_in, strict=True) if u]
        pruned.append(ClosedJaxpr(jaxpr.replace(invars=invars), b.consts))
    kept = eqn.replace(
        invars=[eqn.invars[0], *[v for v, u in zip(eqn.invars[1:], used_in, strict=True) if u]],
        outvars=[v for v, u in zip(eqn.outvars, used, strict=True) if u],
        params=eqn.params | {"branches": tuple(pruned)},
    )
    return [True, *used_in], kept


def _transpose(
    cts: Sequence[Any], index: Any, *args: Any, branches: Sequence[ClosedJaxpr], **_: Any
) -> list[Any]:
    linear, known = linear_values(args)
    zero, given = nonzero_cotangents(cts)
    avals = branches[0].in_avals
    wanted = _any([transpose_jaxpr(b, linear, zero)[1] for b in branches])
    transposed = [_instantiated_transpose(b, linear, zero, wanted) for b in branches]
    outs = bind_cond(index, transposed, [*known, *given])
    return [None, *spread(linear, avals, wanted, outs)]


def _instantiated_transpose(
    branch: ClosedJaxpr, linear: Sequence[bool], zero: Sequence[bool], wanted: Sequence[bool]
) -> ClosedJaxpr:
    """The transposed branch with a value for every cotangent in `wanted`."""
    closed, nonzero = transpose_jaxpr(branch, linear, zero)
    if list(nonzero) == list(wanted):
        return closed
    avals = [a for a, lin in zip(branch.in_avals, linear, strict=True) if lin]

    def fun(*args: Any) -> list[Any]:
        outs = iter(eval_jaxpr(closed.jaxpr, closed.consts, *args))
        every = [
            next(outs) if nz else Zero(a.to_cotangent_aval())
            for nz, a in zip(nonzero, avals, strict=True)
        ]
        return [instantiate(ct) for ct, w in zip(every, wanted, strict=True) if w]

    return stage(fun, closed.in_avals, description="the transpose of a branch of cond")


def _batch(
    size: int,
    args: Sequence[Any],
    dims: Sequence[int | None],
    *,
    branches: Sequence[ClosedJaxpr],
    **_: Any,
) -> tuple[list[Any], list[int | None]]:
    index, *rest = args
    batched = [d is not None for d in dims[1:]]
    moved = [
        move_batch_axis(x, size, d, 0) if d is not None else x
        for x, d in zip(rest, dims[1:], strict=True)
    ]
    if dims[0] is not None:
        if has_io(_effects(branches=branches)):
            raise NotImplementedError(
                "vmap of cond or switch: lanes choose different branches, so that all branches "
                "run, and one of them has an io_callback, which must not run where it is not "
                "chosen. Use lax.map over the lanes."
            )
        index = move_batch_axis(index, size, dims[0], 0)
        return _batch_by_selection(size, index, moved, batched, branches)
    wanted = _any([batch_jaxpr(b, size, batched, force=False)[1] for b in branches])
    new = [batch_jaxpr(b, size, batched, force=wanted)[0] for b in branches]
    outs = bind_cond(index, new, moved)
    return outs, [0 if b else None for b in wanted]


def _batch_by_selection(
    size: int, index: Any, args: Any, batched: Sequence[bool], branches: Sequence[ClosedJaxpr]
) -> tuple[list[Any], list[int | None]]:
    """Lanes disagree on the branch: each picks its results.

    A costly branch runs only if some lane needs it; a cheap one always, which is less than asking.
    """
    n_out = len(branches[0].out_avals)
    dtype = index.aval.dtype
    index = elementwise.clamp(dtype.type(0), index, dtype.type(len(branches) - 1))
    results = []
    for k, b in enumerate(branches):
        closed, _ = batch_jaxpr(b, size, batched, force=[True] * n_out)
        if not size or is_cheap(b.jaxpr):
            results.append(eval_jaxpr(closed.jaxpr, closed.consts, *args))
        else:
            results.append(_if_needed(dtype.type(k), index, closed, args, batched))
    outs = [select_case(index, list(cases)) for cases in zip(*results, strict=True)]
    return outs, [0] * n_out


def is_cheap(jaxpr: Jaxpr) -> bool:
    """Whether a branch may as well run for nothing: a few operations on elements, none of which
    has a singular derivative. Collectives must run in all lanes in any case.
    """
    if any(type(effect) is NamedAxisEffect for effect in jaxpr.effects):
        return True
    if jaxpr.effects or len(jaxpr.eqns) > _FEW:
        return False
    return all(
        all(is_cheap(inner) for inner in subjaxprs(eqn))
        if eqn.primitive.name == "jit"
        else eqn.primitive in _HARMLESS or _is_product(eqn)
        for eqn in jaxpr.eqns
    )


def _is_product(eqn: JaxprEqn) -> bool:
    """Whether a power is one without a division."""
    return eqn.primitive is elementwise.integer_pow and eqn.params["y"] >= 0


_CHECKS: Final = frozenset((CHECK, DEBUG_CHECK))


def _if_needed(
    number: Any, index: Any, branch: ClosedJaxpr, args: Sequence[Any], batched: Sequence[bool]
) -> list[Any]:
    """The results of a batched branch if some lane needs them, else zeros.

    Lanes that do not need it get the operands of one that does: the branch may divide by zero or
    never end for theirs, and zero times an infinite derivative is not a number. Only callbacks get
    to see the operands as they are.
    """

    def run(index: Any, *args: Any) -> list[Any]:
        if not branch.effects - _CHECKS:
            needed = elementwise.eq(index, number)
            first = reductions.argmax(needed, axes=(0,), index_dtype=np.dtype(np.int32))
            args = tuple(
                _from_lane(first, needed, x) if b else x for x, b in zip(args, batched, strict=True)
            )
        return eval_jaxpr(branch.jaxpr, branch.consts, *args)

    def skip(*_: Any) -> list[Any]:
        return [structural.zeros(a) for a in branch.out_avals]

    needed = reductions.reduce_or(elementwise.eq(index, number), axes=(0,), out_sharding=None)
    operands = [index, *args]
    avals = [aval_of(x) for x in operands]
    return bind_cond(
        convert(needed, np.dtype(np.int32)),
        [
            stage(skip, avals, description="a branch that no lane needs"),
            stage(run, avals, description="a branch for some lanes"),
        ],
        operands,
    )


def _from_lane(lane: Any, keep: Any, x: Any) -> Any:
    """`x` with the values of one lane in all lanes that do not keep theirs."""
    shape = aval_of(x).shape
    start = [lane, *[np.int32(0)] * (len(shape) - 1)]
    one = slicing.dynamic_slice(x, *start, slice_sizes=(1, *shape[1:]))
    return select_lanes(keep, x, structural.broadcast(reshape_to(one, shape[1:]), shape[0], 0))


def select_case(index: Any, cases: Sequence[Any]) -> Any:
    """Lane by lane the case with the lane's number."""
    shape = aval_of(cases[0]).shape
    if len(cases) == 1:
        return cases[0]
    if len(cases) == 2:
        dtype: Any = aval_of(index).dtype
        index = elementwise.ne(index, dtype.type(0))
    if index.aval.shape != shape:
        index = structural.broadcast_in_dim(
            index, shape=shape, broadcast_dimensions=(0,), sharding=None
        )
    return elementwise.select_n(index, *cases)


def _lower(b: Any, index: Any, *xs: Any, branches: Sequence[ClosedJaxpr], **_: Any) -> list[Any]:
    results: list[Any] = b.switch(index, branches, xs)
    return results


def _effects(*, branches: Sequence[ClosedJaxpr], **_: Any) -> frozenset[Any]:
    return frozenset().union(*[b.effects for b in branches])


cond = Primitive(
    name="cond",
    abstract=_abstract,
    reference=_reference,
    jvp=_jvp,
    transpose=_transpose,
    batch=_batch,
    partial_eval=HigherOrder(_split, _dce),
    lower=_lower,
    hlo=_lower,
    samples=NO_SAMPLES,
    multiple_results=True,
    effects=_effects,
    literals=False,
)
