"""Indexing: `x[...]` with every form that NumPy has.

    index  ── parse ──►  Plan: what happens to each axis, and the order of the axes of the result
           ── take  ──►  slice, rev, squeeze     if all is static and basic
                         dynamic_slice           if scalars are traced
                         gather                  if there are arrays
           `index_update` makes scatters from the same Plan.

Indices out of bounds are clamped on reading, unless a mode says otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from pullback import config, lax
from pullback.core import dtypes
from pullback.core.array import Array
from pullback.core.dimensions import DimExpr, as_length, is_inside, is_symbolic, slice_indices
from pullback.core.slices import Slice
from pullback.core.trace import EVAL, Tracer, current_trace, is_concrete
from pullback.core.tracebacks import shorten
from pullback.errors import NonConcreteBooleanIndexError
from pullback.numpy.arrays import as_array
from pullback.numpy.promotion import broadcast_shapes
from pullback.runtime.array import ArrayImpl, from_numpy, is_here

__all__ = [
    "Part",
    "Picked",
    "Plan",
    "Window",
    "cut",
    "getitem",
    "index_vector",
    "mode_name",
    "normalized",
    "numpy_index",
    "numpy_position",
    "parse",
    "picked_position",
    "same_dtype",
    "take_plan",
    "without_windows",
]


@dataclass(frozen=True)
class Part:
    """The elements `start, start + step, ...` of an axis, `size` of them; the axis is kept."""

    axis: int
    start: int
    step: int
    size: int


@dataclass(frozen=True)
class Picked:
    """An axis that is indexed by integers: a Python int, a NumPy array or a traced array."""

    axis: int
    indices: Any


NEW: Final = None
"""Among the axes of a result: one that `None` makes."""
PICKED: Final = "picked"
"""Among the axes of a result: those of the broadcast integer arrays."""


@dataclass(frozen=True)
class Plan:
    """An index, understood.

    `order` lists the axes of the result: `Part`s, `NEW`, and at most one `PICKED`, which stands for
    the axes of the broadcast integer arrays, `picked_shape`.
    """

    shape: tuple[int, ...]
    order: tuple[Any, ...]
    picked: tuple[Picked, ...]
    picked_shape: tuple[int, ...]

    @property
    def parts(self) -> list[Part]:
        """The axes that are kept."""
        return [part for part in self.order if isinstance(part, Part)]

    def result_shape(self, new_axes: bool = True) -> tuple[int, ...]:
        """Shape of the indexed array, with or without the axes that `None` makes."""
        shape: list[int] = []
        for item in self.order:
            if isinstance(item, Part):
                shape.append(item.size)
            elif item is PICKED:
                shape.extend(self.picked_shape)
            elif new_axes:
                shape.append(1)
        return tuple(shape)

    def new_axes(self) -> tuple[int, ...]:
        """Positions in the result of the axes that `None` makes."""
        found, at = [], 0
        for item in self.order:
            if item is NEW:
                found.append(at)
            at += len(self.picked_shape) if item is PICKED else 1
        return tuple(found)


# --------------------------------------------------------------------------- parsing

_VALID: Final = (
    "only integers, slices (`:`), ellipsis (`...`), newaxis (`None`) and integer or boolean arrays "
    "are valid indices. Got {!r}"
)


def _refuse_sequences(index: Any) -> None:
    if isinstance(index, (list, range)):
        raise TypeError(
            "Using a non-tuple sequence for multidimensional indexing is not allowed; use "
            f"`arr[array(seq)]` instead of `arr[seq]`. The array is jnp.array(seq); got {index!r}"
        )
    if isinstance(index, str):
        raise TypeError(f"JAX does not support string indexing; got idx={index!r}")


def _as_index(e: Any, position: int) -> Any:
    """One entry: None, Ellipsis, a slice, an int, or an array of integers or bools."""
    if e is None or e is Ellipsis or type(e) is int or isinstance(e, (slice, Slice)):
        return e
    if isinstance(e, (bool, np.bool_)):
        return np.asarray(e)
    if isinstance(e, (list, tuple, range)):
        e = as_array(np.asarray(e)) if not _holds_arrays(e) else _stacked(e)
        e = e if e.size else np.zeros(e.shape, np.int32)
    elif isinstance(e, str):
        raise TypeError(f"JAX does not support string indexing; got idx={e!r}")
    elif not isinstance(e, (Array, np.ndarray)):
        try:
            return as_length(e)
        except TypeError:
            pass
        if not isinstance(e, (float, complex, np.generic)):
            raise IndexError(_VALID.format(e))
        e = np.asarray(e)
    return _checked_array(e, position)


def _checked_array(e: Any, position: int) -> Any:
    kind = dtypes.kind_of(e.dtype)
    if kind not in "biu":
        raise TypeError(
            "Indexer must have integer or boolean type, got indexer with type "
            f"{e.dtype} at position {position}"
        )
    if is_concrete(e):
        e = np.asarray(e)
        return int(e) if e.ndim == 0 and kind != "b" else e
    if kind == "b":
        raise NonConcreteBooleanIndexError(
            f"Array boolean indices must be concrete; got {e.aval}, which is traced: the shape of "
            "the result would depend on its value. Use jnp.where(mask, x, y), or "
            "jnp.nonzero(mask, size=...) with a static size."
        )
    return e


def _holds_arrays(e: Any) -> bool:
    if isinstance(e, (list, tuple)):
        return any(_holds_arrays(x) for x in e)
    return isinstance(e, Array)


def _stacked(e: Any) -> Any:
    if not isinstance(e, (list, tuple)):
        return as_array(e)
    rows = [_stacked(x) for x in e]
    return lax.concatenate([lax.expand_dims(r, (0,)) for r in rows], 0)


def _expanded(index: Any, ndim: int) -> list[Any]:
    """Entries of an index without Ellipsis and masks, as many as there are axes."""
    entries = index if isinstance(index, tuple) else (index,)
    entries = tuple(_as_index(e, k) for k, e in enumerate(entries))
    used = sum(_axes_used(e) for e in entries)
    if used > ndim:
        raise IndexError(f"Too many indices: array is {ndim}-dimensional, but {used} were indexed")
    dots = [k for k, e in enumerate(entries) if e is Ellipsis]
    if len(dots) > 1:
        raise IndexError("an index can only have a single ellipsis ('...')")
    at = dots[0] if dots else len(entries)
    fill = [slice(None)] * (ndim - used)
    return [*entries[:at], *fill, *entries[at + 1 :]]


def _axes_used(e: Any) -> int:
    """How many axes of the array an entry of an index is about."""
    if e is None or e is Ellipsis:
        return 0
    return e.ndim if isinstance(e, np.ndarray) and e.dtype == bool else 1


def _slice_part(s: slice, axis: int, n: int, position: int) -> Part:
    for bound in (s.start, s.stop, s.step):
        if isinstance(bound, Tracer) and not is_concrete(bound):
            raise IndexError(
                f"Slice entries must be static integers. Got {s} at position {position}. "
                "Use jax.lax.dynamic_slice for a slice of static size at a traced position."
            )
    start, size, step = slice_indices(s, n)
    return Part(axis, start, step, size)


def _check_mask(mask: Any, shape: Sequence[int], position: int) -> None:
    for k, (have, want) in enumerate(zip(mask.shape, shape, strict=True)):
        if have != want:
            raise IndexError(
                f"boolean index did not match shape of indexed array in index {position}: got "
                f"{mask.shape}, expected {list(shape)} (axis {k})"
            )


def parse(shape: tuple[int, ...], index: Any) -> Plan:
    """The plan of `x[index]` for an `x` of the given shape.

    Raises IndexError and TypeError on indices that do not fit, NonConcreteBooleanIndexError on
    traced masks.
    """
    _refuse_sequences(index)
    order: list[Any] = []
    picked: list[Picked] = []
    axis, first, last, front = 0, -1, -1, False
    for position, e in enumerate(_expanded(index, len(shape))):
        if e is None:
            order.append(NEW)
        elif isinstance(e, slice):
            order.append(_slice_part(e, axis, shape[axis], position))
            axis += 1
        else:
            new = _picked_by(e, axis, shape, position)
            picked += new
            front = front or (last >= 0 and position != last + 1)
            first, last = (len(order) if first < 0 else first), position
            axis += _axes_used(e)
            if isinstance(e, np.ndarray) and e.ndim == 0:  # a scalar mask makes an axis
                picked.append(Picked(-1, np.zeros(int(e), np.int32)))
    picked_shape = _picked_shape(picked)
    if picked:
        order.insert(0 if front and picked_shape else first, PICKED)
    plan = Plan(shape, tuple(order), tuple(p for p in picked if p.axis >= 0), picked_shape)
    if config.check_static_indices():
        _check_static(plan)
    return plan


def _picked_by(e: Any, axis: int, shape: tuple[int, ...], position: int) -> list[Picked]:
    if isinstance(e, np.ndarray) and e.dtype == bool:
        _check_mask(e, shape[axis : axis + e.ndim], position)
        return [Picked(axis + k, where) for k, where in enumerate(np.nonzero(np.atleast_1d(e)))][
            : e.ndim
        ]
    return [Picked(axis, e)]


def _picked_shape(picked: Sequence[Picked]) -> tuple[int, ...]:
    return broadcast_shapes(
        (), *(() if type(p.indices) in (int, DimExpr) else p.indices.shape for p in picked)
    )


# --------------------------------------------------------------------------- windows


@dataclass(frozen=True)
class Window:
    """`size` elements of an axis from `start` on: what `ds` makes of an axis."""

    axis: int
    start: Any
    size: int


def without_windows(index: Any, ndim: int) -> tuple[Any, list[Window]]:
    """The index with a slice for each `ds(...)`, which is for the array cut to the windows.

    >>> without_windows((0, Slice(1, 2)), 2)
    ((0, slice(None, None, 1)), [Window(axis=1, start=1, size=2)])
    """
    entries: Any = index if isinstance(index, tuple) else (index,)
    if not any(type(e) is Slice for e in entries):
        return index, []
    found, axis = [], 0
    entries = _expanded(entries, ndim)
    for k, e in enumerate(entries):
        if type(e) is Slice:
            found.append(Window(axis, e.start, (e.size - 1) * e.stride + 1 if e.size else 0))
            entries[k] = slice(None, None, e.stride)
        axis += _axes_used(e)
    return tuple(entries), found


def cut(x: Any, windows: Sequence[Window]) -> Any:
    """The part of `x` inside of the windows; one that does not fit is moved inside."""
    for w in windows:
        x = lax.dynamic_slice_in_dim(x, w.start, w.size, w.axis)
    return x


# --------------------------------------------------------------------------- reading

_CLAMPING: Final = (None, "clip", "promise_in_bounds")


def getitem(x: Any, index: Any) -> Any:
    """`x[index]`."""
    try:
        if type(x) is ArrayImpl and is_here(x) and current_trace() is EVAL and not _is_watched(x):
            found = _eager_basic(x, index)
            if found is not None:
                return found
            index, windows = without_windows(index, x.ndim)
            x = cut(x, windows)
            plan = parse(x.shape, index)
            where = numpy_index(plan, clamp=not config.check_indices())
            return take_plan(x, plan) if where is None else _eager_take(x, plan, where)
        index, windows = without_windows(index, x.ndim)
        x = cut(x, windows)
        return take_plan(x, parse(x.shape, index))
    except Exception as error:
        shorten(error)
        raise


def _is_watched(x: ArrayImpl) -> bool:
    """Whether these are keys whose use is followed, or shardings are, which operations alone do."""
    if config.LOOKERS:
        return True
    return type(x.aval.dtype) is dtypes.KeyDtype and bool(config.debug_key_reuse())


def _check_static(plan: Plan) -> None:
    """Raise IndexError for a number that is out of bounds."""
    for p in plan.picked:
        n = plan.shape[p.axis]
        i = p.indices
        if not isinstance(i, Array) and np.ndim(i) == 0 and not -n <= int(i) < n:
            raise IndexError(
                f"index {int(i)} is out of bounds for axis {p.axis} with size {n}, and "
                "jax_check_static_indices is set"
            )


def numpy_index(plan: Plan, clamp: bool) -> tuple[Any, ...] | None:
    """The index for NumPy of a plan without traced parts, one entry an axis; None if there is none.

    Integers out of bounds are clamped, or give None.
    """
    index: list[Any] = [None] * len(plan.shape)
    for part in plan.parts:
        last = part.start + (part.size - 1) * part.step
        stop = last + (1 if part.step > 0 else -1)
        index[part.axis] = slice(part.start, None if stop < 0 else stop, part.step)
        if part.size == 0:
            index[part.axis] = slice(0, 0)
    for p in plan.picked:
        n = plan.shape[p.axis]
        i = np.asarray(p.indices, np.int64)
        i = np.where(i < 0, i + n, i)
        inside = np.clip(i, 0, n - 1) if n else i
        if n == 0 or not (clamp or np.array_equal(inside, i)):
            return None
        index[p.axis] = int(inside) if inside.ndim == 0 else inside
    has_arrays = any(isinstance(e, np.ndarray) for e in index)
    return tuple(index) if has_arrays or not plan.picked_shape else None


def numpy_position(plan: Plan) -> int:
    """How many kept axes NumPy puts before the picked ones when `None` is left out of the index."""
    axes = sorted(p.axis for p in plan.picked)
    adjacent = axes == list(range(axes[0], axes[0] + len(axes)))
    return sum(part.axis < axes[0] for part in plan.parts) if adjacent else 0


def _eager_take(x: ArrayImpl, plan: Plan, where: tuple[Any, ...]) -> Any:
    data = x._data[where]
    rank = len(plan.picked_shape)
    if rank:
        have, want = numpy_position(plan), picked_position(plan)
        if have != want:
            data = np.moveaxis(data, range(have, have + rank), range(want, want + rank))
    return _wrapped(x, np.reshape(data, plan.result_shape()))


_BASIC: Final = frozenset((int, slice, type(None), type(Ellipsis)))


def _eager_basic(x: ArrayImpl, index: Any) -> Any:
    """A basic index of a concrete array, by NumPy; None if it is another kind of index."""
    shape = x.aval.shape
    if type(index) is int:
        if not shape:
            return None
        n = shape[0]
        if not -n <= index < n or n == 0:
            return None
    elif type(index) is slice:
        if not shape or type(index.start) not in _BASIC or type(index.stop) not in _BASIC:
            return None
    elif type(index) is not tuple or not _basic_in_bounds(index, shape):
        return None
    try:
        data = x._data[index]
    except (IndexError, TypeError):
        return None  # the general route says what is wrong
    return _wrapped(x, data)


def _basic_in_bounds(index: tuple[Any, ...], shape: tuple[int, ...]) -> bool:
    if any(type(e) not in _BASIC for e in index):
        return False
    axis, ndim = 0, len(shape)
    used = sum(e is not None and e is not Ellipsis for e in index)
    for e in index:
        if e is Ellipsis:
            axis += ndim - used
        elif e is not None:
            if axis >= ndim or (type(e) is int and not -shape[axis] <= e < shape[axis]):
                return False
            axis += 1
    return True


def _wrapped(x: ArrayImpl, data: Any) -> Any:
    aval = x.aval
    out = aval.update(shape=np.shape(data))
    if type(data) is np.ndarray and not data.flags.c_contiguous:
        data = np.ascontiguousarray(data)
    return from_numpy(data, out)


def take_plan(
    x: Any,
    plan: Plan,
    mode: Any = None,
    fill_value: Any = None,
    indices_are_sorted: bool = False,
    unique_indices: bool = False,
    wrap_negative_indices: bool = True,
) -> Any:
    """The elements of `x` that a plan describes."""
    mode = mode_name(mode)
    picked = [normalized(p, plan.shape[p.axis], wrap_negative_indices) for p in plan.picked]
    x, picked = _sliced(x, plan, picked)
    if not picked:
        x = _repeated(x, plan)
    elif not plan.picked_shape and mode in _CLAMPING:
        x = _dynamic(x, picked)
    else:
        flags = {"unique_indices": unique_indices, "indices_are_sorted": indices_are_sorted}
        x = _gathered(x, plan, picked, mode, fill_value, flags)
    new = plan.new_axes()
    return lax.expand_dims(x, new) if new else x


def mode_name(mode: Any) -> str | None:
    """The mode as a string; `drop` is `fill`."""
    if mode is None or isinstance(mode, str):
        known = (None, "clip", "fill", "drop", "promise_in_bounds")
        if mode not in known:
            raise ValueError(
                f'Unknown gather mode "{mode}"; use clip, fill, drop or promise_in_bounds'
            )
        return "fill" if mode == "drop" else mode
    names = {
        lax.GatherScatterMode.CLIP: "clip",
        lax.GatherScatterMode.FILL_OR_DROP: "fill",
        lax.GatherScatterMode.PROMISE_IN_BOUNDS: "promise_in_bounds",
    }
    return names.get(mode)


def normalized(p: Picked, n: int, wrap: bool) -> Picked:
    """Negative indices counted from the end."""
    i = p.indices
    if not wrap:
        return p
    if type(i) is int:
        return Picked(p.axis, i + n if i < 0 else i)
    if isinstance(i, np.ndarray):
        i = i.astype(np.int64)
        return Picked(p.axis, np.where(i < 0, i + n, i))
    if dtypes.kind_of(i.dtype) == "u":
        return p
    i = wide_index(i)
    zero = lax.full_like(i, 0)
    return Picked(p.axis, lax.select(lax.lt(i, zero), lax.add(i, lax.full_like(i, n)), i))


def wide_index(i: Any) -> Any:
    """A traced index in at least 32 bits."""
    dtype = i.dtype if i.dtype.itemsize >= 4 else np.dtype(np.int32)
    return i if i.dtype == dtype else lax.convert_element_type(i, dtype)


def _sliced(x: Any, plan: Plan, picked: list[Picked]) -> tuple[Any, list[Picked]]:
    """Take the basic parts and the constant integers; what is left needs a gather."""
    shape = plan.shape
    starts, limits, steps = [0] * len(shape), list(shape), [1] * len(shape)
    reverse = [
        part.axis
        for part in plan.parts
        if part.step < 0 and (is_symbolic(part.size) or part.size > 1)
    ]
    for part in plan.parts:
        if part.size:
            last = part.start + (part.size - 1) * part.step
            first, last = (part.start, last) if part.step > 0 else (last, part.start)
            starts[part.axis], limits[part.axis] = first, last + 1
            steps[part.axis] = abs(part.step)
        else:
            starts[part.axis] = limits[part.axis] = 0
    inside = [
        type(p.indices) in (int, DimExpr) and is_inside(p.indices, shape[p.axis]) for p in picked
    ]
    # One element at a position that is not all known: one operation, which knows all of the shape.
    apart = bool(plan.picked_shape) or all(inside)
    dropped, rest = [], []
    for p, known in zip(picked, inside, strict=True):
        if apart and known:
            starts[p.axis], limits[p.axis] = p.indices, p.indices + 1
            dropped.append(p.axis)
        else:
            rest.append(p)
    strided = any(step != 1 for step in steps)
    if strided or any(starts) or tuple(limits) != shape:
        x = lax.slice(x, starts, limits, steps if strided else None)
    if reverse:
        x = lax.rev(x, reverse)
    if dropped:
        x = lax.squeeze(x, sorted(dropped))
    return x, [Picked(p.axis - sum(d < p.axis for d in dropped), p.indices) for p in rest]


def _repeated(x: Any, plan: Plan) -> Any:
    """All picked axes were constants: the elements are the same everywhere in `picked_shape`."""
    if not plan.picked_shape:
        return x
    start, rank = picked_position(plan), len(plan.picked_shape)
    kept = tuple(k if k < start else k + rank for k in range(x.ndim))
    return lax.broadcast_in_dim(x, plan.result_shape(new_axes=False), kept)


def _dynamic(x: Any, picked: Sequence[Picked]) -> Any:
    """One element of each picked axis."""
    indices: list[Any] = [0] * x.ndim
    sizes = list(x.shape)
    for p in picked:
        if x.shape[p.axis] == 0:
            raise IndexError(f"index {p.indices} into axis {p.axis} of {x.aval}, which is empty")
        indices[p.axis], sizes[p.axis] = p.indices, 1
    window = lax.dynamic_slice(x, same_dtype(indices), sizes, allow_negative_indices=False)
    return lax.squeeze(window, sorted(p.axis for p in picked))


def same_dtype(indices: Sequence[Any]) -> list[Any]:
    """Scalar indices, all in the dtype of the traced ones."""
    traced = (i.dtype for i in indices if isinstance(i, Array))
    dtype = next(traced, np.dtype(np.int32))
    return [i if isinstance(i, Array) and i.dtype == dtype else _cast(i, dtype) for i in indices]


def _cast(i: Any, dtype: Any) -> Any:
    return lax.convert_element_type(i, dtype) if isinstance(i, Array) else dtype.type(i)


def index_vector(picked: Sequence[Picked], shape: tuple[int, ...]) -> Any:
    """The index arrays, broadcast to `shape` and stacked on a new last axis."""
    traced = [p.indices for p in picked if isinstance(p.indices, Array)]
    wide = any(i.dtype.itemsize == 8 for i in traced)
    dtype = np.dtype(np.int64 if wide else np.int32)
    if not traced:
        columns = [np.broadcast_to(np.asarray(p.indices), shape) for p in picked]
        return np.stack(columns, -1).clip(-(2**31), 2**31 - 1).astype(np.int32)
    columns = []
    for p in picked:
        i = p.indices if isinstance(p.indices, Array) else np.asarray(p.indices, dtype)
        i = lax.convert_element_type(i, dtype)
        rank = len(i.shape)
        columns.append(
            lax.broadcast_in_dim(i, (*shape, 1), tuple(range(len(shape) - rank, len(shape))))
        )
    return columns[0] if len(columns) == 1 else lax.concatenate(columns, len(shape))


def _gathered(
    x: Any, plan: Plan, picked: Sequence[Picked], mode: Any, fill: Any, flags: dict[str, bool]
) -> Any:
    axes = tuple(p.axis for p in picked)
    if any(x.shape[a] == 0 for a in axes):
        return _gather_from_nothing(x, plan, mode, fill)
    start, rank = picked_position(plan), len(plan.picked_shape)
    numbers = lax.GatherDimensionNumbers(
        offset_dims=tuple(k if k < start else k + rank for k in range(x.ndim - len(axes))),
        collapsed_slice_dims=tuple(sorted(axes)),
        start_index_map=axes,
    )
    sizes = tuple(1 if k in axes else n for k, n in enumerate(x.shape))
    indices = index_vector(picked, plan.picked_shape)
    mode = "clip" if mode is None else mode
    return lax.gather(x, indices, numbers, sizes, mode=mode, fill_value=fill, **flags)


def _gather_from_nothing(x: Any, plan: Plan, mode: Any, fill: Any) -> Any:
    shape = plan.result_shape(new_axes=False)
    if math.prod(shape) and mode != "fill":
        raise IndexError("cannot take elements of an axis of length 0")
    return lax.full(shape, 0 if fill is None else fill, x.dtype)


def picked_position(plan: Plan) -> int:
    """How many kept axes come before the picked ones."""
    return sum(isinstance(item, Part) for item in plan.order[: plan.order.index(PICKED)])
