"""Joining arrays, taking them apart, inserting and deleting."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from pullback import lax
from pullback.core import dtypes
from pullback.core.array import Array
from pullback.core.trace import concrete_or_error, is_concrete
from pullback.numpy.arrays import array_of, as_array, broadcast_to_shape, convert_with_weak_type
from pullback.numpy.creation import asarray
from pullback.numpy.promotion import (
    canonical_axis,
    check_arraylike,
    check_no_out,
    ensure_arraylike,
    promote_dtypes,
)
from pullback.numpy.shaping import (
    atleast_1d,
    atleast_2d,
    atleast_3d,
    expand_dims,
    moveaxis,
    ravel,
)
from pullback.runtime import shortcuts
from pullback.runtime.composites import compiled_when_eager
from pullback.runtime.replays import replayed_when_eager

__all__ = [
    "append",
    "array_split",
    "block",
    "column_stack",
    "concat",
    "concatenate",
    "delete",
    "dsplit",
    "dstack",
    "hsplit",
    "hstack",
    "insert",
    "split",
    "stack",
    "trim_zeros",
    "unstack",
    "vsplit",
    "vstack",
]


def _sequence(name: str, arrays: Any) -> Sequence[Any]:
    """The operands of a join; an array stands for its rows."""
    if isinstance(arrays, (Array, np.ndarray)):
        rows: Any = arrays
        if not arrays.ndim:
            raise ValueError(f"Need at least one array to {name}, got an array of rank 0.")
        return [rows[k] for k in range(arrays.shape[0])]
    check_arraylike(name, *arrays)
    return [as_array(x) for x in arrays]


def _converted(arrays: Sequence[Any], dtype: Any) -> list[Any]:
    if dtype is None:
        return promote_dtypes(*arrays)
    dtype = dtypes.check_user_dtype(dtype, "concatenate")
    return [convert_with_weak_type(x, dtype, False) for x in arrays]


def concatenate(arrays: Any, axis: Any = 0, dtype: Any = None) -> Any:
    """Arrays one after the other along an existing axis; `axis=None` flattens them first.

    Converted to their common dtype. Raises ValueError on no arrays or scalars, TypeError on shapes
    that do not fit.

    >>> import pullback.numpy as jnp
    >>> jnp.concatenate([jnp.arange(2), jnp.ones(1)])
    Array([0., 1., 1.], dtype=float32)
    """
    arrays = _sequence("concatenate", arrays)
    if not arrays:
        raise ValueError("Need at least one array to concatenate.")
    if axis is None:
        return concatenate([ravel(x) for x in arrays], 0, dtype)
    if arrays[0].ndim == 0:
        raise ValueError("Zero-dimensional arrays cannot be concatenated.")
    axis = canonical_axis(axis, arrays[0].ndim)
    arrays = _converted(arrays, dtype)
    return arrays[0] if len(arrays) == 1 else lax.concatenate(arrays, axis)


def concat(arrays: Any, /, *, axis: int | None = 0) -> Any:
    """Arrays one after the other along an existing axis.

    >>> import pullback.numpy as jnp
    >>> jnp.concat([jnp.arange(2), jnp.arange(1)])
    Array([0, 1, 0], dtype=int32)
    """
    return concatenate(arrays, axis)


def stack(arrays: Any, axis: int = 0, out: None = None, dtype: Any = None) -> Any:
    """Arrays of one shape, along a new axis.

    Raises ValueError on no arrays or different shapes.

    >>> import pullback.numpy as jnp
    >>> jnp.stack([jnp.arange(2), jnp.arange(2)], axis=1)
    Array([[0, 0],
           [1, 1]], dtype=int32)
    """
    check_no_out("stack", out)
    if isinstance(arrays, (Array, np.ndarray)):
        axis = canonical_axis(
            axis, np.ndim(arrays) if isinstance(arrays, np.ndarray) else arrays.ndim
        )
        return moveaxis(concatenate_rows(arrays, dtype), 0, axis)
    arrays = _sequence("stack", arrays)
    if not arrays:
        raise ValueError("Need at least one array to stack.")
    shape = arrays[0].shape
    if any(x.shape != shape for x in arrays):
        raise ValueError(
            "All input arrays must have the same shape. Got "
            f"{', '.join(str(x.shape) for x in arrays)}."
        )
    axis = canonical_axis(axis, len(shape) + 1)
    found = shortcuts.stack(arrays, axis) if dtype is None else None
    if found is not None:
        return found
    parts = [lax.expand_dims(x, (axis,)) for x in _converted(arrays, dtype)]
    return parts[0] if len(parts) == 1 else lax.concatenate(parts, axis)


def concatenate_rows(array: Any, dtype: Any) -> Any:
    """The stack of the rows of an array: the array."""
    return asarray(array, dtype)


def vstack(tup: Any, dtype: Any = None) -> Any:
    """Arrays below each other: vectors are rows.

    >>> import pullback.numpy as jnp
    >>> jnp.vstack([jnp.arange(2), jnp.arange(2)]).shape
    (2, 2)
    """
    return concatenate([atleast_2d(x) for x in _sequence("vstack", tup)], 0, dtype)


def hstack(tup: Any, dtype: Any = None) -> Any:
    """Arrays beside each other: along the second axis, vectors along their only one.

    >>> import pullback.numpy as jnp
    >>> jnp.hstack([jnp.arange(2), jnp.arange(1)])
    Array([0, 1, 0], dtype=int32)
    """
    arrays = [atleast_1d(x) for x in _sequence("hstack", tup)]
    return concatenate(arrays, 0 if arrays and arrays[0].ndim == 1 else 1, dtype)


def dstack(tup: Any, dtype: Any = None) -> Any:
    """Arrays behind each other: along the third axis.

    >>> import pullback.numpy as jnp
    >>> jnp.dstack([jnp.arange(2), jnp.arange(2)]).shape
    (1, 2, 2)
    """
    return concatenate([atleast_3d(x) for x in _sequence("dstack", tup)], 2, dtype)


def column_stack(tup: Any) -> Any:
    """Vectors as the columns of a matrix.

    >>> import pullback.numpy as jnp
    >>> jnp.column_stack([jnp.arange(2), jnp.arange(2)])
    Array([[0, 0],
           [1, 1]], dtype=int32)
    """
    columns = [
        lax.reshape(x, (x.size, 1)) if x.ndim < 2 else x for x in _sequence("column_stack", tup)
    ]
    return concatenate(columns, 1)


@compiled_when_eager()
def block(arrays: Any) -> Any:
    """An array from nested lists of blocks: the innermost lists along the last axis.

    >>> import pullback.numpy as jnp
    >>> jnp.block([[jnp.ones((1, 1)), jnp.zeros((1, 2))]])
    Array([[1., 0., 0.]], dtype=float32)
    """
    joined, depth = _block(arrays)
    del depth
    return joined


def _depth(arrays: Any) -> int:
    if isinstance(arrays, tuple):
        raise ValueError("jnp.block: use lists, not tuples, to nest blocks")
    if not isinstance(arrays, list):
        return 0
    if not arrays:
        raise ValueError("jnp.block does not allow empty list arguments")
    depths = {_depth(each) for each in arrays}
    if len(depths) > 1:
        raise ValueError("jnp.block: lists must be nested to one depth")
    return depths.pop() + 1


def _rank(arrays: Any) -> int:
    if isinstance(arrays, list):
        return max(_rank(each) for each in arrays)
    check_arraylike("block", arrays)
    return int(as_array(arrays).ndim)


def _block(arrays: Any) -> tuple[Any, int]:
    depth = _depth(arrays)
    rank = max(depth, _rank(arrays))
    return _join_blocks(arrays, depth, rank), depth


def _join_blocks(arrays: Any, depth: int, rank: int) -> Any:
    if depth == 0:
        x = as_array(arrays)
        return lax.reshape(x, (*(1,) * (rank - x.ndim), *x.shape)) if x.ndim < rank else x
    return concatenate([_join_blocks(each, depth - 1, rank) for each in arrays], -depth)


@replayed_when_eager
def append(arr: Any, values: Any, axis: int | None = None) -> Any:
    """`values` after `arr` along an axis; both flattened without one.

    >>> import pullback.numpy as jnp
    >>> jnp.append(jnp.arange(2), 5)
    Array([0, 1, 5], dtype=int32)
    """
    arr, values = ensure_arraylike("append", arr, values)
    if axis is None:
        return concatenate([ravel(arr), ravel(values)], 0)
    return concatenate([arr, values], axis)


# --------------------------------------------------------------------------- apart


def _cuts(name: str, x: Any, where: Any, axis: int, uneven: bool) -> list[int]:
    """The positions 0, ..., n between which the parts lie."""
    n = x.shape[axis]
    where = concrete_or_error(None, where, f"It says where jnp.{name} cuts.")
    if isinstance(where, (tuple, list)) or np.ndim(np.asarray(where)) == 1:
        inner = [operator.index(i) for i in np.asarray(where)]
        return [0, *(slice(i, None).indices(n)[0] for i in inner), n]
    parts = operator.index(np.asarray(where)[()])
    if parts <= 0:
        raise ValueError(f"jnp.{name}: number of sections must be larger than 0, got {parts}")
    size, extra = divmod(n, parts)
    if extra and not uneven:
        raise ValueError(
            f"array split does not result in an equal division: rest is {extra}; axis {axis} has "
            f"length {n}, which {parts} does not divide"
        )
    ends = np.cumsum([0, *([size + 1] * extra), *([size] * (parts - extra))])
    return [int(e) for e in ends]


def _split(name: str, ary: Any, where: Any, axis: int, uneven: bool) -> list[Any]:
    ary = ensure_arraylike(name, ary)
    axis = canonical_axis(axis, ary.ndim)
    cuts = _cuts(name, ary, where, axis, uneven)
    return [lax.slice_in_dim(ary, a, max(a, b), axis=axis) for a, b in itertools.pairwise(cuts)]


@replayed_when_eager
def split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Any]:
    """Parts along an axis: so many equal ones, or cut at the given positions.

    Raises ValueError if a number of parts does not divide the length.

    >>> import pullback.numpy as jnp
    >>> jnp.split(jnp.arange(4), 2)
    [Array([0, 1], dtype=int32), Array([2, 3], dtype=int32)]
    """
    return _split("split", ary, indices_or_sections, axis, False)


@replayed_when_eager
def array_split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Any]:
    """`split` whose first parts are longer by one if the length is not divisible.

    >>> import pullback.numpy as jnp
    >>> jnp.array_split(jnp.arange(3), 2)
    [Array([0, 1], dtype=int32), Array([2], dtype=int32)]
    """
    return _split("array_split", ary, indices_or_sections, axis, True)


def vsplit(ary: Any, indices_or_sections: Any) -> list[Any]:
    """Parts along the first axis.

    >>> import pullback.numpy as jnp
    >>> [x.shape for x in jnp.vsplit(jnp.ones((4, 2)), 2)]
    [(2, 2), (2, 2)]
    """
    return _split("vsplit", ary, indices_or_sections, 0, False)


def hsplit(ary: Any, indices_or_sections: Any) -> list[Any]:
    """Parts along the second axis, of vectors along their only one.

    >>> import pullback.numpy as jnp
    >>> [x.shape for x in jnp.hsplit(jnp.ones((4, 2)), 2)]
    [(4, 1), (4, 1)]
    """
    ary = ensure_arraylike("hsplit", ary)
    return _split("hsplit", ary, indices_or_sections, 0 if ary.ndim == 1 else 1, False)


def dsplit(ary: Any, indices_or_sections: Any) -> list[Any]:
    """Parts along the third axis.

    >>> import pullback.numpy as jnp
    >>> [x.shape for x in jnp.dsplit(jnp.ones((1, 4, 2)), 2)]
    [(1, 4, 1), (1, 4, 1)]
    """
    return _split("dsplit", ary, indices_or_sections, 2, False)


def unstack(x: Any, /, *, axis: int = 0) -> tuple[Any, ...]:
    """The parts of length 1 along an axis, without that axis.

    >>> import pullback.numpy as jnp
    >>> jnp.unstack(jnp.arange(2))
    (Array(0, dtype=int32), Array(1, dtype=int32))
    """
    x = ensure_arraylike("unstack", x)
    if x.ndim == 0:
        raise ValueError(
            "Unstack requires arrays with rank > 0, however a scalar array was passed."
        )
    axis = canonical_axis(axis, x.ndim)
    return tuple(lax.index_in_dim(x, k, axis=axis, keepdims=False) for k in range(x.shape[axis]))


# --------------------------------------------------------------------------- insert, delete


def _at(axis: int, index: Any) -> tuple[Any, ...]:
    return (*(slice(None),) * axis, index)


def delete(
    arr: Any, obj: Any, axis: int | None = None, *, assume_unique_indices: bool = False
) -> Any:
    """Without the elements at the given positions: an int, a slice, or an array of ints or bools.

    Positions are static unless one traced integer, or unique ones by `assume_unique_indices`.

    >>> import pullback.numpy as jnp
    >>> jnp.delete(jnp.arange(4), jnp.array([1, 2]))
    Array([0, 3], dtype=int32)
    """
    arr = ensure_arraylike("delete", arr)
    if axis is None:
        arr, axis = ravel(arr), 0
    axis = canonical_axis(axis, arr.ndim)
    n = arr.shape[axis]
    if isinstance(obj, slice) or is_concrete(obj):
        keep = np.ones(n, bool)
        where = obj if isinstance(obj, slice) else np.asarray(obj)
        if not isinstance(where, slice) and where.dtype == bool and where.shape != (n,):
            raise ValueError(f"np.delete(arr, obj): for boolean indices, obj must have length {n}")
        if not isinstance(where, slice) and where.dtype != bool:
            if where.size and (where.max() >= n or where.min() < -n):
                raise IndexError(f"jnp.delete: index out of bounds for axis of length {n}")
            where = where.astype(int)
        keep[where] = False
        return arr[_at(axis, np.nonzero(keep)[0])]
    if obj.ndim == 0:
        obj = lax.reshape(obj, (1,))
    elif not assume_unique_indices:
        concrete_or_error(None, obj, "Positions of jnp.delete: pass assume_unique_indices=True.")
    return _delete_traced(arr, obj, axis)


def _delete_traced(arr: Any, obj: Any, axis: int) -> Any:
    """Every place counts the deleted positions that end up before or at it."""
    int32 = np.dtype(np.int32)
    n = arr.shape[axis]
    obj = lax.convert_element_type(obj, int32)
    obj = lax.select(lax.lt(obj, lax.full_like(obj, 0)), lax.add(obj, lax.full_like(obj, n)), obj)
    obj = lax.sort(lax.clamp(np.int32(0), obj, np.int32(n - 1)))
    count = obj.shape[0]
    shifted = lax.sub(obj, lax.iota(int32, count))
    places = lax.iota(int32, n - count)
    size = (n - count, count)
    passed = lax.ge(
        lax.broadcast_in_dim(places, size, (0,)), lax.broadcast_in_dim(shifted, size, (1,))
    )
    places = lax.add(places, lax.reduce_sum(lax.convert_element_type(passed, int32), (1,)))
    return arr[_at(axis, places)]


def insert(arr: Any, obj: Any, values: Any, axis: int | None = None) -> Any:
    """`values` inserted before the given positions: an int, a slice, or an array of ints.

    >>> import pullback.numpy as jnp
    >>> jnp.insert(jnp.arange(3), 1, 9)
    Array([0, 9, 1, 2], dtype=int32)
    """
    arr = ensure_arraylike("insert", arr)
    values = ensure_arraylike("insert", asarray(values))
    if axis is None:
        arr, axis = ravel(arr), 0
    axis = canonical_axis(axis, arr.ndim)
    n = arr.shape[axis]
    if isinstance(obj, slice):
        where: Any = array_of(np.arange(*obj.indices(n)), np.dtype(np.int32))
    else:
        where = ensure_arraylike("insert", obj)
        if where.dtype == bool:
            where = array_of(np.nonzero(np.asarray(where))[0], np.dtype(np.int32))
    scalar = where.ndim == 0
    if where.ndim > 1:
        raise ValueError("jnp.insert(): obj must be a slice, a one-dimensional array, or a scalar")
    values = convert_with_weak_type(values, arr.dtype, False)
    # With one position, given as a scalar, the first axis of the values is the one of insertion.
    values = _new_part(arr, values, axis, scalar)
    count = values.shape[axis] if where.size == 1 else where.shape[0]
    shape = (*arr.shape[:axis], count, *arr.shape[axis + 1 :])
    values = broadcast_to_shape(values, shape)
    return _interleaved(arr, values, lax.reshape(where, (where.size,)), axis)


def _new_part(arr: Any, values: Any, axis: int, scalar: bool) -> Any:
    if values.ndim < arr.ndim:
        values = expand_dims(values, tuple(range(arr.ndim - values.ndim)))
    return moveaxis(values, 0, axis) if scalar else values


def _interleaved(arr: Any, values: Any, where: Any, axis: int) -> Any:
    int32 = np.dtype(np.int32)
    n, count = arr.shape[axis], values.shape[axis]
    where = lax.convert_element_type(where, int32)
    where = lax.select(
        lax.lt(where, lax.full_like(where, 0)), lax.add(where, lax.full_like(where, n)), where
    )
    where = broadcast_to_shape(lax.clamp(np.int32(0), where, np.int32(n)), (count,))
    order = lax.iota(int32, count)
    where, order = lax.sort((where, order), num_keys=1)
    places = lax.add(where, lax.iota(int32, count))
    new_shape = (*arr.shape[:axis], n + count, *arr.shape[axis + 1 :])
    is_new = lax.full((n + count,), False).at[places].set(True)
    old = lax.sub(lax.iota(int32, n + count), lax.cumsum(lax.convert_element_type(is_new, int32)))
    old = lax.clamp(np.int32(0), old, np.int32(max(n - 1, 0)))
    kept = arr[_at(axis, old)] if n else lax.full(new_shape, 0, arr.dtype)
    return kept.at[_at(axis, places)].set(values[_at(axis, order)])


def trim_zeros(filt: Any, trim: str = "fb", axis: Any = None) -> Any:
    """Without the zeros at the front ("f") and the back ("b"); the values must be concrete.

    >>> import pullback.numpy as jnp
    >>> jnp.trim_zeros(jnp.array([0, 1, 0, 2, 0]))
    Array([1, 0, 2], dtype=int32)
    """
    filt = ensure_arraylike("trim_zeros", filt)
    data = concrete_or_error(np.asarray, filt, "Values of jnp.trim_zeros must be concrete.")
    axes = range(filt.ndim) if axis is None else np.atleast_1d(axis)
    index: list[Any] = [slice(None)] * filt.ndim
    places = np.nonzero(data)
    for k in axes:
        where = places[int(k)]
        if where.size == 0:
            index[int(k)] = slice(0, 0)
            continue
        start = where.min() if "f" in trim.lower() else 0
        stop = where.max() + 1 if "b" in trim.lower() else filt.shape[int(k)]
        index[int(k)] = slice(int(start), int(stop))
    return filt[tuple(index)]
