"""Functions of `jax.lax` that read and write parts of arrays."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from pullback.core import dtypes
from pullback.core.array import Array
from pullback.core.avals import ShapedArray, aval_of
from pullback.core.dimensions import as_length
from pullback.core.trace import Tracer
from pullback.errors import UnsupportedError
from pullback.lax.structural import (
    canonical_axis,
    canonical_shape,
    concatenate,
    expand_dims,
    squeeze,
)
from pullback.ops import comparison, elementwise, indexing, rng
from pullback.ops import scatter as scatters
from pullback.ops.windows import (
    GatherDimensionNumbers,
    GatherScatterMode,
    ScatterDimensionNumbers,
    default_fill,
)
from pullback.transforms.staging import stage

__all__ = [
    "GatherDimensionNumbers",
    "GatherScatterMode",
    "ScatterDimensionNumbers",
    "dynamic_index_in_dim",
    "dynamic_slice",
    "dynamic_slice_in_dim",
    "dynamic_slice_p",
    "dynamic_update_index_in_dim",
    "dynamic_update_slice",
    "dynamic_update_slice_in_dim",
    "dynamic_update_slice_p",
    "gather",
    "gather_p",
    "index_in_dim",
    "index_take",
    "scatter",
    "scatter_add",
    "scatter_add_p",
    "scatter_apply",
    "scatter_max",
    "scatter_max_p",
    "scatter_min",
    "scatter_min_p",
    "scatter_mul",
    "scatter_mul_p",
    "scatter_p",
    "scatter_sub",
    "scatter_sub_p",
    "slice",
    "slice_in_dim",
    "slice_p",
    "threefry2x32_p",
]

dynamic_slice_p: Final = indexing.dynamic_slice
dynamic_update_slice_p: Final = indexing.dynamic_update_slice
gather_p: Final = indexing.gather
scatter_p: Final = indexing.scatter
scatter_add_p: Final = indexing.scatter_add
scatter_sub_p: Final = indexing.scatter_sub
scatter_mul_p: Final = indexing.scatter_mul
scatter_min_p: Final = indexing.scatter_min
scatter_max_p: Final = indexing.scatter_max
slice_p: Final = indexing.slice_
threefry2x32_p: Final = rng.threefry2x32

_slice = slice  # Python's, before ours takes the name

# --------------------------------------------------------------------------- static slices


def slice(operand: Any, start_indices: Any, limit_indices: Any, strides: Any = None) -> Any:
    """The elements from `start_indices` up to `limit_indices`, every `strides`-th.

    >>> slice(np.arange(5), (1,), (4,), (2,))
    Array([1, 3], dtype=int32)
    """
    start, limit = canonical_shape(start_indices), canonical_shape(limit_indices)
    steps = None if strides is None else canonical_shape(strides)
    shape = aval_of(operand).shape
    whole = start == (0,) * len(shape) and limit == shape
    if whole and (steps is None or set(steps) <= {1}) and isinstance(operand, Array):
        return operand
    return indexing.slice_(operand, start_indices=start, limit_indices=limit, strides=steps)


def slice_in_dim(
    operand: Any,
    start_index: int | None,
    limit_index: int | None,
    stride: int = 1,
    axis: int = 0,
) -> Any:
    """`operand[start_index:limit_index:stride]` along one axis.

    >>> slice_in_dim(np.arange(5), -2, None)
    Array([3, 4], dtype=int32)
    """
    shape = aval_of(operand).shape
    axis = canonical_axis(axis, len(shape))
    n = shape[axis]
    start = 0 if start_index is None else as_length(start_index)
    limit = n if limit_index is None else as_length(limit_index)
    starts, limits, strides = [0] * len(shape), list(shape), [1] * len(shape)
    starts[axis] = start + n if start < 0 else start
    limits[axis] = limit + n if limit < 0 else limit
    strides[axis] = operator.index(stride)
    return slice(operand, starts, limits, strides)


def index_in_dim(operand: Any, index: int, axis: int = 0, keepdims: bool = True) -> Any:
    """The part of `operand` at one position of an axis.

    >>> int(index_in_dim(np.arange(5), -1, keepdims=False))
    4
    """
    shape = aval_of(operand).shape
    index, axis = operator.index(index), canonical_axis(axis, len(shape))
    at = index + shape[axis] if index < 0 else index
    if not 0 <= at < shape[axis]:
        raise IndexError(f"index {index} is out of bounds for axis {axis} with size {shape[axis]}")
    part = slice_in_dim(operand, at, at + 1, 1, axis)
    return part if keepdims else squeeze(part, (axis,))


# --------------------------------------------------------------------------- dynamic slices


def _number(value: Any, dtype: Any) -> Any:
    """A NumPy scalar of the physical dtype."""
    stored: np.dtype[Any] = dtypes.physical(dtype)
    return np.asarray(value).astype(stored)[()]


def _no_index(aval: Any) -> TypeError:
    if aval.shape != ():
        return TypeError(
            "start_indices arguments to dynamic_slice must be scalars,  got indices "
            f"({aval.str_short()})"
        )
    return TypeError(
        "index arguments to dynamic_slice must be integers of the same type, got: "
        f"{aval.dtype.name}"
    )


def _wrapped(index: Any, n: int, wrap: bool) -> Any:
    """A scalar index as an operand; a negative one counts from the end if `wrap`."""
    if not isinstance(index, Tracer):
        return _wrapped_now(index, n, wrap)
    aval = aval_of(index)
    if aval.shape != () or dtypes.kind_of(aval.dtype) not in "iu":
        raise _no_index(aval)
    if not wrap or dtypes.kind_of(aval.dtype) == "u":
        return index
    count = _number(n, aval.dtype)
    zero = _number(0, aval.dtype)
    negative = elementwise.lt(index, zero)
    return comparison.select_n(negative, index, elementwise.add(index, count))


def _wrapped_now(index: Any, n: int, wrap: bool) -> Any:
    aval = aval_of(index)
    if aval.shape != () or dtypes.kind_of(aval.dtype) not in "iu":
        raise _no_index(aval)
    value = operator.index(np.asarray(index)[()])
    if value < 0 and not wrap and type(index) is int:
        raise ValueError(
            f"Index {value} is out of bounds for dimension {n} if allow_negative_indices=False"
        )
    dtype = dtypes.default_int() if aval.weak_type else aval.dtype
    return _number(value + n if wrap and value < 0 else value, dtype)


def _start_indices(
    name: str, start_indices: Any, shape: Sequence[int], allow_negative: bool | Sequence[bool]
) -> list[Any]:
    """Scalar operands of one dtype, one an axis, from a sequence or an array of indices."""
    if isinstance(start_indices, (Array, np.ndarray)):
        aval = aval_of(start_indices)
        if aval.ndim != 1:
            raise TypeError(f"start_indices must have rank 1, got {aval}")
        start_indices = [index_in_dim(start_indices, k, 0, False) for k in range(aval.shape[0])]
    indices = list(start_indices)
    if len(indices) != len(shape):
        raise ValueError(
            "Length of slice indices must match number of operand dimensions "
            f"({len(indices)} vs {shape})"
        )
    wraps = [allow_negative] * len(shape) if isinstance(allow_negative, bool) else allow_negative
    wrapped = [_wrapped(i, n, bool(w)) for i, n, w in zip(indices, shape, wraps, strict=True)]
    return _check_one_dtype(name, wrapped)


def _check_one_dtype(name: str, indices: list[Any]) -> list[Any]:
    found = [aval_of(i).dtype for i in indices]
    if len(set(found)) > 1:
        names = ", ".join(d.name for d in found)
        raise TypeError(
            f"index arguments to {name} must be integers of the same type, got: {names}"
        )
    return indices


def dynamic_slice(
    operand: Any,
    start_indices: Any,
    slice_sizes: Any,
    *,
    allow_negative_indices: bool | Sequence[bool] = True,
) -> Any:
    """A slice of static size that starts where `start_indices`, moved inside if need be, say.

    >>> dynamic_slice(np.arange(5), (3,), (3,))
    Array([2, 3, 4], dtype=int32)
    """
    shape = aval_of(operand).shape
    indices = _start_indices("dynamic_slice", start_indices, shape, allow_negative_indices)
    return indexing.dynamic_slice(operand, *indices, slice_sizes=canonical_shape(slice_sizes))


def dynamic_slice_in_dim(
    operand: Any,
    start_index: Any,
    slice_size: int,
    axis: int = 0,
    *,
    allow_negative_indices: bool = True,
) -> Any:
    """`dynamic_slice` along one axis.

    >>> dynamic_slice_in_dim(np.arange(5), 1, 2)
    Array([1, 2], dtype=int32)
    """
    sizes = list(aval_of(operand).shape)
    axis = canonical_axis(axis, len(sizes))
    indices = _at_axis(start_index, axis, len(sizes))
    sizes[axis] = as_length(slice_size)
    return dynamic_slice(operand, indices, sizes, allow_negative_indices=allow_negative_indices)


def _at_axis(index: Any, axis: int, rank: int) -> list[Any]:
    """Start indices that are zero but for one axis."""
    zero = _number(0, aval_of(index).dtype)
    return [index if k == axis else zero for k in range(rank)]


def dynamic_index_in_dim(
    operand: Any,
    index: Any,
    axis: int = 0,
    keepdims: bool = True,
    *,
    allow_negative_indices: bool = True,
) -> Any:
    """The part of `operand` at one position, known at run time, of an axis.

    >>> int(dynamic_index_in_dim(np.arange(5), 2, keepdims=False))
    2
    """
    axis = canonical_axis(axis, aval_of(operand).ndim)
    part = dynamic_slice_in_dim(
        operand, index, 1, axis, allow_negative_indices=allow_negative_indices
    )
    return part if keepdims else squeeze(part, (axis,))


def dynamic_update_slice(
    operand: Any,
    update: Any,
    start_indices: Any,
    *,
    allow_negative_indices: bool | Sequence[bool] = True,
) -> Any:
    """`operand` with a slice replaced by `update`.

    >>> dynamic_update_slice(np.arange(4), np.array([8, 9]), (1,))
    Array([0, 8, 9, 3], dtype=int32)
    """
    shape = aval_of(operand).shape
    indices = _start_indices("dynamic_update_slice", start_indices, shape, allow_negative_indices)
    return indexing.dynamic_update_slice(operand, update, *indices)


def dynamic_update_slice_in_dim(
    operand: Any,
    update: Any,
    start_index: Any,
    axis: int,
    *,
    allow_negative_indices: bool = True,
) -> Any:
    """`dynamic_update_slice` along one axis.

    >>> dynamic_update_slice_in_dim(np.arange(4), np.array([9]), 2, 0)
    Array([0, 1, 9, 3], dtype=int32)
    """
    rank = aval_of(operand).ndim
    indices = _at_axis(start_index, canonical_axis(axis, rank), rank)
    return dynamic_update_slice(
        operand, update, indices, allow_negative_indices=allow_negative_indices
    )


def dynamic_update_index_in_dim(
    operand: Any,
    update: Any,
    index: Any,
    axis: int,
    *,
    allow_negative_indices: bool = True,
) -> Any:
    """`operand` with the part at one position of an axis replaced.

    >>> dynamic_update_index_in_dim(np.arange(3), np.int32(9), 1, 0)
    Array([0, 9, 2], dtype=int32)
    """
    aval = aval_of(operand)
    axis = canonical_axis(axis, aval.ndim)
    if aval_of(update).ndim != aval.ndim:
        update = expand_dims(update, (axis,))
    return dynamic_update_slice_in_dim(
        operand, update, index, axis, allow_negative_indices=allow_negative_indices
    )


# --------------------------------------------------------------------------- gather


def _mode(mode: Any, default: GatherScatterMode) -> GatherScatterMode:
    parsed = default if mode is None else GatherScatterMode.from_any(mode)
    if parsed is GatherScatterMode.ONE_HOT:
        raise UnsupportedError("GatherScatterMode.ONE_HOT is not supported; use 'fill' or 'clip'")
    return parsed


def _as_tuples(numbers: Any) -> Any:
    return type(numbers)(*[tuple([operator.index(d) for d in axes]) for axes in numbers])


def gather(
    operand: Any,
    start_indices: Any,
    dimension_numbers: GatherDimensionNumbers,
    slice_sizes: Any,
    *,
    unique_indices: bool = False,
    indices_are_sorted: bool = False,
    mode: str | GatherScatterMode | None = None,
    fill_value: Any = None,
) -> Any:
    """Windows of `operand` at the positions in the last axis of `start_indices`.

    Positions outside are undefined unless `mode` says "fill" (with `fill_value`; NaN, the least
    int, the largest unsigned int if it is None) or "clip".

    >>> rows = GatherDimensionNumbers((1,), (0,), (0,))
    >>> gather(np.eye(3), np.array([[2], [0]]), rows, (1, 3))
    Array([[0., 0., 1.],
           [1., 0., 0.]], dtype=float32)
    """
    parsed = _mode(mode, GatherScatterMode.PROMISE_IN_BOUNDS)
    filled = parsed is GatherScatterMode.FILL_OR_DROP
    fill_value = _fill_value(aval_of(operand).dtype, fill_value) if filled else None
    return indexing.gather(
        operand,
        start_indices,
        dimension_numbers=_as_tuples(dimension_numbers),
        slice_sizes=canonical_shape(slice_sizes),
        indices_are_sorted=bool(indices_are_sorted),
        unique_indices=bool(unique_indices),
        mode=parsed,
        fill_value=fill_value,
    )


def _fill_value(dtype: Any, value: Any) -> Any:
    """A fill value in the operand's dtype."""
    if value is None:
        return default_fill(dtype)
    if isinstance(value, Tracer):
        raise TypeError("the fill_value of a gather must be known when the program is traced")
    number = np.asarray(value)
    if number.shape != ():
        raise TypeError(f"the fill_value of a gather must be a scalar, got shape {number.shape}")
    return number.astype(default_fill(dtype).dtype)[()]


def index_take(src: Any, idxs: Any, axes: Sequence[int]) -> Any:
    """The parts of `src` at positions given by one index array an axis of `axes`.

    >>> index_take(np.arange(6).reshape(2, 3), (np.array([1, 0]),), (1,))
    Array([[1, 4],
           [0, 3]], dtype=int32)
    """
    aval = aval_of(src)
    columns = []
    for index, axis in zip(idxs, axes, strict=True):
        wrapped = _wrap_many(index, aval.shape[axis])
        columns.append(expand_dims(wrapped, (aval_of(wrapped).ndim,)))
    indices = concatenate(columns, aval_of(columns[0]).ndim - 1)
    batch = aval_of(indices).ndim - 1
    kept = aval.ndim - len(axes)
    numbers = GatherDimensionNumbers(
        tuple(range(batch, batch + kept)), tuple(sorted(axes)), tuple(axes)
    )
    sizes = [1 if k in axes else n for k, n in enumerate(aval.shape)]
    return gather(src, indices, numbers, sizes, mode="clip")


def _wrap_many(index: Any, n: int) -> Any:
    aval = aval_of(index)
    if dtypes.kind_of(aval.dtype) != "i":
        return index
    shifted = elementwise.add(index, _number(n, aval.dtype))
    return comparison.select_n(elementwise.lt(index, _number(0, aval.dtype)), index, shifted)


# --------------------------------------------------------------------------- scatter


def _scatter_function(name: str, verb: str, example: str) -> Callable[..., Any]:
    def function(
        operand: Any,
        scatter_indices: Any,
        updates: Any,
        dimension_numbers: ScatterDimensionNumbers,
        *,
        indices_are_sorted: bool = False,
        unique_indices: bool = False,
        mode: str | GatherScatterMode | None = None,
    ) -> Any:
        dtype = aval_of(operand).dtype
        if type(updates) in (bool, int, float, complex):
            updates = _number(updates, dtype)
        return scatters.bind(
            name,
            operand,
            scatter_indices,
            updates,
            dimension_numbers=_as_tuples(dimension_numbers),
            indices_are_sorted=bool(indices_are_sorted),
            unique_indices=bool(unique_indices),
            mode=_mode(mode, GatherScatterMode.FILL_OR_DROP),
        )

    function.__name__ = function.__qualname__ = name.replace("-", "_")
    function.__doc__ = f"""`operand` with windows of `updates` {verb} at `scatter_indices`.

    >>> at = ScatterDimensionNumbers((), (0,), (0,))
    >>> where, what = np.array([[0], [2]]), np.array([5, 1])
    >>> {function.__name__}(np.array([1, 2, 3]), where, what, at)
    Array({example}, dtype=int32)
    """
    return function


scatter = _scatter_function("scatter", "written", "[5, 2, 1]")
scatter_add = _scatter_function("scatter-add", "added", "[6, 2, 4]")
scatter_sub = _scatter_function("scatter-sub", "subtracted", "[-4,  2,  2]")
scatter_mul = _scatter_function("scatter-mul", "multiplied", "[5, 2, 3]")
scatter_min = _scatter_function("scatter-min", "taken as upper bounds", "[1, 2, 1]")
scatter_max = _scatter_function("scatter-max", "taken as lower bounds", "[5, 2, 3]")


def scatter_apply(
    operand: Any,
    scatter_indices: Any,
    func: Callable[[Any], Any],
    dimension_numbers: ScatterDimensionNumbers,
    *,
    update_shape: Any = (),
    indices_are_sorted: bool = False,
    unique_indices: bool = False,
    mode: str | GatherScatterMode | None = None,
) -> Any:
    """`operand` with `func` applied to the elements at `scatter_indices`, once per occurrence.

    `func` takes and returns a scalar and closes over constants only; no derivative.

    >>> at = ScatterDimensionNumbers((), (0,), (0,))
    >>> scatter_apply(np.arange(3), np.array([[1], [1]]), lambda x: x + 5, at, update_shape=(2,))
    Array([ 0, 11,  2], dtype=int32)
    """
    dtype = aval_of(operand).dtype
    scalar = ShapedArray((), dtype)
    closed = stage(lambda x, _: [func(x)], [scalar, scalar], description="scatter_apply")
    shape, result = closed.out_avals[0].shape, closed.out_avals[0].dtype
    if shape != () or result != dtype:
        raise TypeError(f"scatter_apply: func maps {scalar} to {closed.out_avals[0]}")
    if any(isinstance(c, Tracer) for c in closed.consts):
        raise UnsupportedError("scatter_apply of a func that closes over traced values")
    return scatter_p(
        operand,
        scatter_indices,
        np.zeros(canonical_shape(update_shape), dtypes.physical(dtype)),
        dimension_numbers=_as_tuples(dimension_numbers),
        indices_are_sorted=bool(indices_are_sorted),
        unique_indices=bool(unique_indices),
        mode=_mode(mode, GatherScatterMode.FILL_OR_DROP),
        update_jaxpr=closed.jaxpr,
        update_consts=tuple(closed.consts),
    )
