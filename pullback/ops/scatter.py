"""scatter and its kin: write windows of an array at computed positions, or combine them with it.

`scatter` sets (the last update of an element wins), `scatter-add`, `-sub`, `-mul`, `-min` and
`-max` combine in the order of the updates, so that results are the same on every run; `scatter`
with an `update_jaxpr` applies a function once per update.  Windows that are not wholly inside of
the operand are dropped, or moved inside with mode CLIP.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

import numpy as np

from pullback.core import dtypes
from pullback.core.avals import ShapedArray, aval_of
from pullback.core.jaxpr import DebugInfo, Jaxpr, Var, eval_jaxpr, new_eqn
from pullback.core.primitive import (
    FIRST_ORDER,
    PURE,
    NotApplicable,
    Primitive,
    Sample,
    Zero,
    instantiate,
    is_linear,
    registry,
)
from pullback.core.trace import eager
from pullback.ops import hlo_indexing, scatter_parts
from pullback.ops.kinds import late
from pullback.ops.rearrange import (
    full,
    iota,
    move_to_front,
    moveaxis,
    reshape,
    sample_values,
    zeros,
)
from pullback.ops.windows import (
    GatherScatterMode,
    ScatterDimensionNumbers,
    as_gather,
    inside_of,
    layout,
    loop_nest,
    positions,
    window_sizes,
)

__all__ = [
    "bind",
    "scatter",
    "scatter_add",
    "scatter_max",
    "scatter_min",
    "scatter_mul",
    "scatter_slices",
    "scatter_sub",
]

_CLIP: Final = GatherScatterMode.CLIP
_gather: Final = late("gather")
_select_n: Final = late("select_n")
_eq: Final = late("eq")
_add: Final = late("add")
_mul: Final = late("mul")
_neg: Final = late("neg")
_div: Final = late("div")
_convert: Final = late("convert_element_type")

_COMBINERS: Final = {
    "scatter-add": "add",
    "scatter-sub": "sub",
    "scatter-mul": "mul",
    "scatter-min": "min",
    "scatter-max": "max",
}


@lru_cache(maxsize=256)
def _combiner(name: str, dtype: Any) -> Jaxpr | None:
    """The jaxpr that the parameter `update_jaxpr` shows."""
    if name not in _COMBINERS:
        return None
    aval = ShapedArray((), dtype)
    x, y, out = Var(aval), Var(aval), Var(aval)
    eqn = new_eqn([x, y], [out], registry[_COMBINERS[name]], {})
    return Jaxpr([], [x, y], [out], [eqn], debug_info=DebugInfo(name))


def bind(
    name: str,
    x: Any,
    indices: Any,
    updates: Any,
    *,
    dimension_numbers: ScatterDimensionNumbers,
    indices_are_sorted: bool,
    unique_indices: bool,
    mode: GatherScatterMode,
    **_: Any,
) -> Any:
    """Apply the scatter called `name`."""
    return registry[name](
        x,
        indices,
        updates,
        dimension_numbers=dimension_numbers,
        indices_are_sorted=indices_are_sorted,
        unique_indices=unique_indices,
        mode=mode,
        update_jaxpr=_combiner(name, aval_of(x).dtype),
        update_consts=(),
    )


# --------------------------------------------------------------------------- aval


def _problem(x: Any, indices: Any, updates: Any, n: ScatterDimensionNumbers) -> str | None:
    """What is wrong with the operands of a scatter, or None."""
    dropped = (*n.inserted_window_dims, *n.operand_batching_dims)
    if dtypes.kind_of(indices.dtype) not in "iu" or indices.ndim < 1:
        return "indices must be integers of rank 1 or more"
    if updates.dtype != x.dtype:
        return "operand and updates must have one dtype"
    if indices.shape[-1] != len(n.scatter_dims_to_operand_dims):
        return "the last axis of the indices needs one entry per scatter_dims_to_operand_dims"
    if len(n.update_window_dims) + len(dropped) != x.ndim:
        return "update_window_dims must name one axis of the updates per axis that is kept"
    if list(n.update_window_dims) != sorted(set(n.update_window_dims)):
        return "update_window_dims must increase"
    if indices.ndim - 1 + len(n.update_window_dims) != updates.ndim:
        return "updates need the axes of the indices but the last, and those of the windows"
    batch = tuple(m for d, m in enumerate(updates.shape) if d not in n.update_window_dims)
    if batch != indices.shape[:-1]:
        return "batch axes of indices and updates must have equal lengths"
    sizes = window_sizes(as_gather(n), x.ndim, updates.shape)
    if any(m > k for d, (m, k) in enumerate(zip(sizes, x.shape, strict=True)) if d not in dropped):
        return "windows are longer than the operand"
    return None


def _abstract(name: str) -> Callable[..., ShapedArray]:
    def abstract(
        x: Any, indices: Any, updates: Any, *, dimension_numbers: Any, **_: Any
    ) -> ShapedArray:
        problem = _problem(x, indices, updates, dimension_numbers)
        if problem is not None:
            raise TypeError(
                f"{name} into {x} at {indices} of {updates}, {dimension_numbers}: {problem}"
            )
        return ShapedArray(x.shape, x.dtype, x.weak_type and updates.weak_type)

    return abstract


# --------------------------------------------------------------------------- reference


def _targets(x: Any, indices: Any, updates: Any, numbers: Any, mode: Any) -> tuple[Any, Any]:
    """Where in `x` to write, as a tuple of index arrays, and what."""
    gather_numbers = as_gather(numbers)
    sizes = window_sizes(gather_numbers, x.ndim, updates.shape)
    where, valid = positions(x.shape, indices, gather_numbers, sizes)
    if valid is None or mode is _CLIP:
        return tuple(where), updates
    mask = np.broadcast_to(valid, updates.shape)
    return tuple(np.broadcast_to(w, updates.shape)[mask] for w in where), updates[mask]


def _reference(ufunc: Any) -> Callable[..., Any]:
    def reference(
        x: Any, indices: Any, updates: Any, *, dimension_numbers: Any, mode: Any, **_: Any
    ) -> Any:
        out = np.array(x, order="C")
        if updates.size == 0 or x.size == 0:
            return out
        where, values = _targets(x, indices, updates, dimension_numbers, mode)
        where = tuple(np.broadcast_to(w, values.shape) for w in where)
        if x.ndim == 0:
            out, where = out.reshape(1), (np.zeros(values.shape, np.intp),)
        ufunc.at(out, where, values)
        return out.reshape(x.shape)

    return reference


def _set_reference(
    x: Any,
    indices: Any,
    updates: Any,
    *,
    dimension_numbers: Any,
    mode: Any,
    update_jaxpr: Any,
    update_consts: Any,
    **_: Any,
) -> Any:
    out = np.array(x, order="C")
    if updates.size == 0 or x.size == 0:
        return out
    where, values = _targets(x, indices, updates, dimension_numbers, mode)
    where = tuple(np.broadcast_to(w, values.shape).ravel() for w in where)
    flat = out.reshape(-1)
    at = np.ravel_multi_index(where, x.shape) if x.ndim else np.zeros(values.size, np.intp)
    if update_jaxpr is None:
        flat[at] = values.ravel()
        return out
    with eager():
        for k, value in zip(at, values.ravel(), strict=True):
            flat[k] = np.asarray(eval_jaxpr(update_jaxpr, update_consts, flat[k], value)[0])
    return out


# --------------------------------------------------------------------------- batch


def _up(axes: Any) -> tuple[int, ...]:
    return tuple(k + 1 for k in axes)


def _batch(name: str) -> Callable[..., Any]:
    def batch(size: int, args: Any, dims: Any, *, dimension_numbers: Any, **params: Any) -> Any:
        (x, indices, updates), (d, di, du), n = args, dims, dimension_numbers
        x, updates = move_to_front(x, d, size), move_to_front(updates, du, size)
        step, window = ((), (0,)) if di is None else ((0,), ())
        indices = indices if di is None else moveaxis(indices, di, 0)
        in_step = n.scatter_indices_batching_dims
        numbers = ScatterDimensionNumbers(
            update_window_dims=window + _up(n.update_window_dims),
            inserted_window_dims=_up(n.inserted_window_dims),
            scatter_dims_to_operand_dims=_up(n.scatter_dims_to_operand_dims),
            operand_batching_dims=step + _up(n.operand_batching_dims),
            scatter_indices_batching_dims=tuple(in_step) if di is None else (0, *_up(in_step)),
        )
        return registry[name](x, indices, updates, dimension_numbers=numbers, **params), 0

    return batch


# --------------------------------------------------------------------------- lowering


def _lower(combine: Callable[..., Any]) -> Callable[..., Any]:
    """`combine(b, old, update, **params)` gives the new element."""

    def lower(b: Any, x: Any, indices: Any, updates: Any, **params: Any) -> Any:
        if 0 in x.shape or 0 in updates.shape:  # nowhere to write, or nothing
            return x
        numbers, mode = params["dimension_numbers"], params["mode"]
        # The operand's buffer is about to change, and either of these may read it.
        indices, updates = b.materialize(indices), b.settled(updates, x)
        axes = layout(as_gather(numbers), len(x.shape), len(updates.shape))
        sizes = window_sizes(as_gather(numbers), len(x.shape), updates.shape)
        out = b.buffer(x.shape, x.dtype, x)
        extents = [updates.shape[d] for d in axes.batch_dims]
        apart = numbers.scatter_indices_batching_dims
        free = [params["unique_indices"] or d in apart for d in range(len(extents))]
        reads = combine is not _set_combine or params["update_jaxpr"] is not None
        shared = None if any(free) else scatter_parts.shared_axis(x, updates, sizes, axes)

        def at_batch(batch: list[Any], mine: tuple[Any, Any] | None = None) -> None:
            starts, inside = _window(b, x.shape, sizes, axes, indices, batch, mode)
            if mine is not None and shared is not None:
                inside = scatter_parts.between(b.s, starts[shared], mine, inside)
            if inside is None:
                write_window(batch, starts)
            else:
                with b.if_(inside):
                    write_window(batch, starts)

        def write_window(batch: list[Any], starts: list[Any]) -> None:
            def write(offsets: list[Any]) -> None:
                i: list[Any] = [None] * len(updates.shape)
                for d, e in zip(axes.batch_dims, batch, strict=True):
                    i[d] = e
                for d, e in zip(numbers.update_window_dims, offsets, strict=True):
                    i[d] = e
                target = [
                    start if d is None else start + i[d]
                    for start, d in zip(starts, axes.offsets, strict=True)
                ]
                old = b.load(out, target) if reads else None
                new = combine(b, old, updates.at(i), **params)
                b.store(out, target, new)

            extents = [updates.shape[d] for d in numbers.update_window_dims]
            loop_nest(b, extents, write, [True] * len(extents))

        if shared is None:
            loop_nest(b, extents, at_batch, free)
            return out
        with scatter_parts.parts(b, x.shape[shared]) as mine:
            loop_nest(b, extents, lambda batch: at_batch(batch, mine), free)
        return out

    return lower


def _window(
    b: Any, shape: Any, sizes: Any, axes: Any, indices: Any, batch: list[Any], mode: Any
) -> tuple[list[Any], Any]:
    """The first element of a window along each axis of the operand, and whether it is inside."""
    starts: list[Any] = []
    inside: Any = None
    in_step = dict(zip(axes.batch_dims, batch, strict=True))
    for k, (n, m) in enumerate(zip(shape, sizes, strict=True)):
        run, entry = axes.batches[k], axes.entries[k]
        start: Any = 0 if run is None else in_step[run]
        if entry is not None:
            raw = b.let(indices.at([*batch, entry]))
            start = start + b.let(b.s.index(raw, 0, n - m))
            if mode is not _CLIP:
                inside = inside_of(b.s, raw, n - m, inside)
        starts.append(start)
    return starts, inside


def _by_kind(operation: str, of_bools: str) -> Callable[..., Any]:
    """Combine by a scalar operation; `of_bools` is the one that does the same on bools."""

    def combine(b: Any, old: Any, update: Any, **_: Any) -> Any:
        name = of_bools if old.dtype == np.bool_ else operation
        return getattr(b.s, name)(old, update)

    return combine


def _set_combine(
    b: Any, old: Any, update: Any, *, update_jaxpr: Any, update_consts: Any, **_: Any
) -> Any:
    if update_jaxpr is None:
        return update
    consts = [b.constant(c) for c in update_consts]
    operands = [b.view((), lambda _, e=e: e) for e in (old, update)]
    return b.inline(update_jaxpr, *consts, *operands)[0].at(())


# --------------------------------------------------------------------------- derivatives


def _gather_back(
    ct: Any, indices: Any, aval: Any, *, dimension_numbers: Any, mode: Any, **params: Any
) -> Any:
    """What a scatter wrote, read again; zero where an update was dropped."""
    numbers = as_gather(dimension_numbers)
    return _gather(
        ct,
        indices,
        dimension_numbers=numbers,
        slice_sizes=window_sizes(numbers, aval_of(ct).ndim, aval.shape),
        indices_are_sorted=params["indices_are_sorted"],
        unique_indices=params["unique_indices"],
        mode=_CLIP if mode is _CLIP else GatherScatterMode.FILL_OR_DROP,
        fill_value=0,
    )


def _aval(x: Any) -> Any:
    return x.aval if is_linear(x) else aval_of(x)


def _additive_jvp(name: str) -> Callable[..., Any]:
    def jvp(primals: Any, tangents: Any, **params: Any) -> Any:
        out, (t, _, tu) = registry[name](*primals, **params), tangents
        if type(t) is Zero and type(tu) is Zero:
            return out, Zero(aval_of(out).to_tangent_aval())
        return out, registry[name](instantiate(t), primals[1], instantiate(tu), **params)

    return jvp


def _additive_transpose(sign: Callable[[Any], Any]) -> Callable[..., Any]:
    def transpose(ct: Any, x: Any, indices: Any, updates: Any, **params: Any) -> Any:
        if not is_linear(updates):
            return [ct, None, None]
        ct_updates = sign(_gather_back(ct, indices, updates.aval, **params))
        return [ct if is_linear(x) else None, None, ct_updates]

    return transpose


def _mul_jvp(primals: Any, tangents: Any, **params: Any) -> Any:
    (x, indices, updates), (t, _, tu) = primals, tangents
    out = bind("scatter-mul", x, indices, updates, **params)
    if type(tu) is not Zero and not params["unique_indices"]:
        raise NotImplementedError(
            "scatter_mul gradients are only implemented if `unique_indices=True`; they are with "
            "respect to the updates"
        )
    if type(tu) is Zero and type(t) is Zero:
        return out, Zero(aval_of(out).to_tangent_aval())
    tangent = None if type(t) is Zero else bind("scatter-mul", t, indices, updates, **params)
    if type(tu) is not Zero:
        term = _mul(_gather_back(x, indices, aval_of(updates), **params), tu)
        base = zeros(aval_of(out)) if tangent is None else tangent
        tangent = bind("scatter-add", base, indices, term, **params)
    return out, tangent


def _mul_transpose(ct: Any, x: Any, indices: Any, updates: Any, **params: Any) -> Any:
    if is_linear(updates):
        raise NotImplementedError("scatter_mul is transposed with respect to its operand only")
    return [bind("scatter-mul", ct, indices, updates, **params), None, None]


def _extremal_jvp(name: str) -> Callable[..., Any]:
    """The tangent of a minimum or maximum is shared evenly by all that attain it."""

    def jvp(primals: Any, tangents: Any, **params: Any) -> Any:
        (x, indices, updates), (t, _, tu) = primals, tangents
        out = bind(name, x, indices, updates, **params)
        if type(t) is Zero and type(tu) is Zero:
            return out, Zero(aval_of(out).to_tangent_aval())
        dtype = aval_of(x).dtype

        def as_number(mask: Any) -> Any:
            return _convert(mask, new_dtype=dtype, weak_type=False, sharding=None)

        kept = as_number(_eq(x, out))
        reached = _gather_back(out, indices, aval_of(updates), **params)
        attains = as_number(_eq(updates, reached))
        count = bind("scatter-add", kept, indices, attains, **params)
        share = _div(full(aval_of(x).shape, 1, dtype), count)
        from_x = _mul(_mul(kept, share), instantiate(t))
        shared = _gather_back(share, indices, aval_of(updates), **params)
        from_updates = _mul(_mul(attains, shared), instantiate(tu))
        return out, bind("scatter-add", from_x, indices, from_updates, **params)

    return jvp


def _set_jvp(primals: Any, tangents: Any, **params: Any) -> Any:
    (x, indices, updates), (t, _, tu) = primals, tangents
    if params["update_jaxpr"] is not None:
        raise NotImplementedError("scatter_apply JVP not implemented")
    out = bind("scatter", x, indices, updates, **params)
    if type(t) is Zero and type(tu) is Zero:
        return out, Zero(aval_of(out).to_tangent_aval())
    if params["unique_indices"] or type(tu) is Zero:
        tangent = bind("scatter", instantiate(t), indices, instantiate(tu), **params)
        return out, tangent
    ids, last = _winners(x, indices, updates, params)
    nothing = zeros(aval_of(ids))
    kept = _select_n(_eq(ids, nothing), zeros(aval_of(x)), instantiate(t))
    won = _select_n(last, zeros(aval_of(updates)), tu)
    return out, bind("scatter-add", kept, indices, won, **params)


def _winners(x: Any, indices: Any, updates: Any, params: dict[str, Any]) -> tuple[Any, Any]:
    """Number of the update that each element of the operand has (0: none); which updates won.

    Scattering the updates' numbers settles who wins, so the derivative agrees with the value.
    """
    aval = aval_of(updates)
    counted = iota(dtype=dtypes.uint32, shape=(max(aval.size, 1),), dimension=0, sharding=None)
    numbers = _add(counted, full((max(aval.size, 1),), 1, dtypes.uint32))
    if aval.size == 0:
        numbers = full((0,), 0, dtypes.uint32)
    numbers = reshape(numbers, new_sizes=aval.shape, dimensions=None, sharding=None)
    empty = full(aval_of(x).shape, 0, dtypes.uint32)
    ids = bind("scatter", empty, indices, numbers, **params)
    return ids, _eq(numbers, _gather_back(ids, indices, aval, **params))


def _set_transpose(ct: Any, x: Any, indices: Any, updates: Any, **params: Any) -> Any:
    ct_updates = ct_x = None
    if is_linear(updates):
        if not params["unique_indices"]:
            raise NotImplementedError(
                "scatter is transposed with respect to its updates only with `unique_indices=True`"
            )
        ct_updates = _gather_back(ct, indices, updates.aval, **params)
    if is_linear(x):
        ct_x = bind("scatter", ct, indices, zeros(_aval(updates)), **params)
    return [ct_x, None, ct_updates]


# --------------------------------------------------------------------------- samples and records


_ROWS: Final = ((1,), (0,), (0,))


def _sample(
    shape: Any, indices: Any, updates: Any, numbers: Any, mode: Any = None, **k: Any
) -> tuple[Any, Any]:
    dtype = k.get("dtype", "float32")
    args = (
        sample_values(*shape, dtype=dtype),
        np.asarray(indices, np.int32),
        (sample_values(*updates) + 3.03).astype(dtype),
    )
    params = {
        "dimension_numbers": ScatterDimensionNumbers(*numbers),
        "indices_are_sorted": False,
        "unique_indices": k.get("unique", False),
        "mode": GatherScatterMode.from_any(mode),
        "update_jaxpr": None,
        "update_consts": (),
    }
    return args, params


def _cases() -> list[tuple[Any, Any]]:
    in_step = ((2,), (), (1,), (0,), (0,))
    return [
        _sample((5,), [[1], [4], [0]], (3,), ((), (0,), (0,)), unique=True),
        _sample((5,), [[1], [4], [1]], (3,), ((), (0,), (0,))),
        _sample((4, 3), [[1], [3], [1], [-1], [4]], (5, 3), _ROWS),
        _sample((4, 3), [[1], [-2], [9]], (3, 3), _ROWS, "clip"),
        _sample((4, 3), [[1], [3]], (2, 2), _ROWS, "promise_in_bounds", dtype="int32"),
        _sample((4, 3), [[[1, 2]], [[3, 0]]], (2, 1), ((), (0, 1), (0, 1)), dtype="uint8"),
        _sample((4, 3), [[2, 1], [3, 0]], (2, 2, 2), ((1, 2), (), (0, 1))),
        _sample((4, 3), [2], (3,), ((0,), (0,), (0,)), dtype=dtypes.bfloat16),
        _sample((4, 3), [2], (4,), ((0,), (1,), (1,)), "clip", dtype="bool"),
        _sample((2, 4), [[[1], [9]], [[2], [0]]], (2, 2, 2), in_step, "clip"),
        _sample((4, 3), np.zeros((0, 1)), (0, 3), _ROWS),
        _sample((), np.zeros((2, 0)), (2,), ((), (), ())),
    ]


def _samples(name: str) -> list[Sample]:
    """The cases that `name` takes."""
    cases = [c for c in _cases() if name != "scatter-sub" or c[0][0].dtype != np.bool_]
    first_only = (0,) if name == "scatter-mul" else None
    return [
        Sample(
            args,
            params | {"update_jaxpr": _combiner(name, args[0].dtype)},
            differentiable=None if params["unique_indices"] else first_only,
        )
        for args, params in cases
    ]


def _family(
    name: str, reference: Any, jvp: Any, transpose: Any, combine: Callable[..., Any]
) -> Primitive:
    return Primitive(
        name=name,
        abstract=_abstract(name),
        reference=reference,
        jvp=jvp,
        transpose=transpose,
        batch=_batch(name),
        partial_eval=FIRST_ORDER,
        lower=_lower(combine),
        hlo=hlo_indexing.scatter_rule(None if combine is _set_combine else combine),
        samples=lambda: _samples(name),
        multiple_results=False,
        effects=PURE,
        literals=False,
    )


_NONLINEAR: Final = NotApplicable("transpose", "the operation is not linear")

scatter: Final = _family("scatter", _set_reference, _set_jvp, _set_transpose, _set_combine)
scatter_add: Final = _family(
    "scatter-add",
    _reference(np.add),
    _additive_jvp("scatter-add"),
    _additive_transpose(lambda ct: ct),
    _by_kind("add", "or_"),
)
scatter_sub: Final = _family(
    "scatter-sub",
    _reference(np.subtract),
    _additive_jvp("scatter-sub"),
    _additive_transpose(lambda ct: _neg(ct)),
    _by_kind("sub", "xor"),
)
scatter_mul: Final = _family(
    "scatter-mul", _reference(np.multiply), _mul_jvp, _mul_transpose, _by_kind("mul", "and_")
)
scatter_min: Final = _family(
    "scatter-min",
    _reference(np.minimum),
    _extremal_jvp("scatter-min"),
    _NONLINEAR,
    _by_kind("min", "and_"),
)
scatter_max: Final = _family(
    "scatter-max",
    _reference(np.maximum),
    _extremal_jvp("scatter-max"),
    _NONLINEAR,
    _by_kind("max", "or_"),
)


def scatter_slices(x: Any, vectors: Any, updates: Any) -> Any:
    """Updates written into `x` [n, ...] at the rows of `vectors` [n, rank]."""
    rank = aval_of(x).ndim - 1
    axes = tuple(range(1, rank + 1))
    numbers = ScatterDimensionNumbers(axes, (), axes, (0,), (0,))
    return bind(
        "scatter",
        x,
        vectors,
        updates,
        dimension_numbers=numbers,
        indices_are_sorted=True,
        unique_indices=True,
        mode=_CLIP,
    )
