"""Arrays as sets: unique elements, unions, intersections, differences.

The number of results depends on the values: outside of `jit` it is found, inside a static `size`
cuts or fills it.
"""

from __future__ import annotations

import math
import operator
from typing import Any, NamedTuple

import numpy as np

from pullback import lax
from pullback.core import dtypes
from pullback.core.trace import concrete_or_error
from pullback.numpy.arrays import as_array, broadcast_to_shape, convert_with_weak_type
from pullback.numpy.creation import asarray
from pullback.numpy.joining import concatenate
from pullback.numpy.promotion import canonical_axis, ensure_arraylike, promote_dtypes
from pullback.numpy.shaping import moveaxis, ravel
from pullback.runtime.composites import compiled_when_eager

__all__ = [
    "intersect1d",
    "isin",
    "setdiff1d",
    "setxor1d",
    "union1d",
    "unique",
    "unique_all",
    "unique_counts",
    "unique_inverse",
    "unique_values",
]


class _UniqueAllResult(NamedTuple):
    values: Any
    indices: Any
    inverse_indices: Any
    counts: Any


class _UniqueCountsResult(NamedTuple):
    values: Any
    counts: Any


class _UniqueInverseResult(NamedTuple):
    values: Any
    inverse_indices: Any


def _concrete_size(name: str, x: Any, size: Any) -> int | None:
    """`size`, checked; without one the values must be concrete."""
    if size is None:
        concrete_or_error(
            None,
            x,
            f"The size of the result of jnp.{name} depends on the values; pass a static size.",
        )
        return None
    return operator.index(concrete_or_error(None, size, f"size of jnp.{name} must be static."))


def _number(x: Any) -> int:
    return int(np.asarray(x))


def _same(a: Any, b: Any, equal_nan: bool) -> Any:
    same = lax.eq(a, b)
    if equal_nan and dtypes.kind_of(a.dtype) in "fc":
        same = lax.bitwise_or(same, lax.bitwise_and(lax.ne(a, a), lax.ne(b, b)))
    return same


class _Sorted(NamedTuple):
    """Rows in order, where they came from, and which ones are the first of equals."""

    rows: Any
    order: Any
    first: Any


@compiled_when_eager("equal_nan")
def _sorted_rows(rows: Any, equal_nan: bool) -> _Sorted:
    n = rows.shape[0]
    width = math.prod(rows.shape[1:])
    flat = lax.reshape(rows, (n, width))
    dtype = dtypes.default_int()
    columns = [lax.reshape(lax.slice_in_dim(flat, k, k + 1, axis=1), (n,)) for k in range(width)]
    numbers = lax.iota(dtype, n)
    if width:
        *columns, order = lax.sort((*columns, numbers), num_keys=width)
    else:
        order = numbers
    differs = lax.full((max(n - 1, 0),), False)
    for c in columns:
        same = _same(lax.slice_in_dim(c, 1, n), lax.slice_in_dim(c, 0, n - 1), equal_nan)
        differs = lax.bitwise_or(differs, lax.bitwise_not(same))
    first = lax.concatenate([lax.full((1,), True), differs], 0)
    return _Sorted(rows[order], order, first)


def unique(
    ar: Any,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: int | None = None,
    *,
    equal_nan: bool = True,
    size: int | None = None,
    fill_value: Any = None,
    sorted: bool = True,
) -> Any:
    """The different elements (or slices along an axis) in ascending order.

    On request also the index of the first of each, the indices that rebuild `ar`, and how often
    each occurs. With a static `size` the result is cut, or filled with `fill_value` (default: the
    smallest element).

    >>> import pullback.numpy as jnp
    >>> jnp.unique(jnp.array([3, 1, 3]), return_counts=True)
    (Array([1, 3], dtype=int32), Array([1, 2], dtype=int32))
    """
    ar = ensure_arraylike("unique", ar)
    size = _concrete_size("unique", ar, size)
    if axis is None:
        rows, axis_at = ravel(ar), 0
    else:
        axis_at = canonical_axis(axis, ar.ndim)
        rows = moveaxis(ar, axis_at, 0)
    inverse_shape = ar.shape if axis is None else (rows.shape[0],)
    values, indices, inverse, counts = _unique(
        rows, size, fill_value, equal_nan, return_index, return_inverse, return_counts
    )
    values = moveaxis(values, 0, axis_at) if axis is not None else values
    wanted = [values]
    if return_index:
        wanted.append(indices)
    if return_inverse:
        wanted.append(lax.reshape(inverse, inverse_shape))
    if return_counts:
        wanted.append(counts)
    return wanted[0] if len(wanted) == 1 else tuple(wanted)


def _unique(
    rows: Any,
    size: int | None,
    fill: Any,
    equal_nan: bool,
    indices: Any = True,
    inverse: Any = True,
    counts: Any = True,
) -> tuple[Any, ...]:
    """Values, and as far as wanted indices, inverse and counts; as many as there are, or `size`."""
    n = rows.shape[0]
    if n == 0:
        return _unique_of_nothing(rows, size or 0, fill, dtypes.default_int())
    wanted = bool(indices), bool(inverse), bool(counts)
    if size is not None:
        return _unique_parts(rows, fill, size, equal_nan, *wanted)[:4]
    # One program for all numbers of results: as many as rows, of which the first are there.
    values, *parts, number = _unique_parts(rows, None, n, equal_nan, *wanted)
    count = _number(number)
    starts, back, counted = (
        x if x is None else x[:k] for x, k in zip(parts, (count, n, count), strict=True)
    )
    return values[:count], starts, back, counted


@compiled_when_eager("count", "equal_nan", "indices", "inverse", "counts")
def _unique_parts(
    rows: Any,
    fill: Any,
    count: int,
    equal_nan: bool,
    indices: bool,
    inverse: bool,
    counts: bool,
) -> tuple[Any, ...]:
    """`count` values with what is wanted of them, and how many different ones there are."""
    dtype, n = dtypes.default_int(), rows.shape[0]
    by_value = _sorted_rows(rows, equal_nan)
    group: Any = lax.sub(lax.cumsum(lax.convert_element_type(by_value.first, dtype)), dtype.type(1))
    starts = lax.full((count,), n, dtype)
    slots = lax.select(by_value.first, group, lax.full_like(group, count))
    starts = starts.at[slots].set(lax.iota(dtype, n), mode="drop")
    found = lax.lt(starts, lax.full_like(starts, n))
    at = lax.min(starts, lax.full_like(starts, n - 1))
    values = by_value.rows[at]
    filler = by_value.rows[0] if fill is None else as_array(fill)
    # As in JAX, smallest elements that fill are as weak as the rows, unless they are complex.
    weak = fill is None and rows.weak_type and dtypes.kind_of(rows.dtype) != "c"
    filler = convert_with_weak_type(filler, rows.dtype, weak)
    mask = lax.broadcast_in_dim(found, values.shape, (0,))
    values = lax.select(mask, values, broadcast_to_shape(filler, values.shape))
    places = back = counted = None
    if indices:
        first = lax.broadcast(by_value.order[0], (count,))
        places = lax.select(found, by_value.order[at], first)
    if inverse:
        back = lax.full((n,), 0, dtype).at[by_value.order].set(group)
    if counts:
        counted = lax.full((count,), 0, dtype).at[group].add(dtype.type(1), mode="drop")
    return values, places, back, counted, lax.add(group[n - 1], dtype.type(1))


def _unique_of_nothing(rows: Any, size: int, fill: Any, dtype: Any) -> tuple[Any, ...]:
    if size and fill is None:
        raise ValueError(
            "jnp.unique: for zero-sized input with nonzero size argument, fill_value must be "
            "specified"
        )
    values = lax.full((size, *rows.shape[1:]), 0 if fill is None else fill, rows.dtype)
    zeros = lax.full((size,), 0, dtype)
    return values, zeros, lax.full((0,), 0, dtype), zeros


def unique_all(x: Any, /, *, size: int | None = None, fill_value: Any = None) -> _UniqueAllResult:
    """Values, indices, inverse indices and counts of `unique`.

    >>> import pullback.numpy as jnp
    >>> jnp.unique_all(jnp.array([3, 1, 3])).counts
    Array([1, 2], dtype=int32)
    """
    return _UniqueAllResult(
        *unique(x, True, True, True, equal_nan=False, size=size, fill_value=fill_value)
    )


def unique_counts(
    x: Any, /, *, size: int | None = None, fill_value: Any = None
) -> _UniqueCountsResult:
    """Values and counts of `unique`.

    >>> import pullback.numpy as jnp
    >>> jnp.unique_counts(jnp.array([3, 1, 3])).values
    Array([1, 3], dtype=int32)
    """
    return _UniqueCountsResult(
        *unique(x, return_counts=True, equal_nan=False, size=size, fill_value=fill_value)
    )


def unique_inverse(
    x: Any, /, *, size: int | None = None, fill_value: Any = None
) -> _UniqueInverseResult:
    """Values of `unique`, and the indices that rebuild `x`.

    >>> import pullback.numpy as jnp
    >>> jnp.unique_inverse(jnp.array([3, 1, 3])).inverse_indices
    Array([1, 0, 1], dtype=int32)
    """
    return _UniqueInverseResult(
        *unique(x, return_inverse=True, equal_nan=False, size=size, fill_value=fill_value)
    )


def unique_values(x: Any, /, *, size: int | None = None, fill_value: Any = None) -> Any:
    """The values of `unique`.

    >>> import pullback.numpy as jnp
    >>> jnp.unique_values(jnp.array([3, 1, 3]))
    Array([1, 3], dtype=int32)
    """
    return unique(x, equal_nan=False, size=size, fill_value=fill_value)


# --------------------------------------------------------------------------- two sets


@compiled_when_eager("assume_unique", "invert", "method")
def isin(
    element: Any,
    test_elements: Any,
    assume_unique: bool = False,
    invert: bool = False,
    *,
    method: str = "auto",
) -> Any:
    """Whether each element is among `test_elements` (or, with `invert`, is not).

    >>> import pullback.numpy as jnp
    >>> jnp.isin(jnp.arange(3), jnp.array([1, 5]))
    Array([False,  True, False], dtype=bool)
    """
    element, test_elements = ensure_arraylike("isin", element, test_elements)
    if method not in ("auto", "compare_all", "binary_search", "sort"):
        raise ValueError(
            f"{method=!r} is not implemented; options are 'compare_all', 'binary_search', 'sort', "
            "and 'auto'"
        )
    element, tests = promote_dtypes(element, ravel(test_elements))
    if tests.size == 0 or element.size == 0:
        return lax.full(element.shape, bool(invert))
    shape = (*element.shape, tests.shape[0])
    same = lax.eq(
        lax.broadcast_in_dim(element, shape, tuple(range(element.ndim))),
        lax.broadcast_in_dim(tests, shape, (element.ndim,)),
    )
    found = lax.reduce_or(same, (element.ndim,))
    return lax.bitwise_not(found) if invert else found


def union1d(ar1: Any, ar2: Any, *, size: int | None = None, fill_value: Any = None) -> Any:
    """The different elements of two arrays, in ascending order.

    >>> import pullback.numpy as jnp
    >>> jnp.union1d(jnp.array([2, 1]), jnp.array([5, 2]))
    Array([1, 2, 5], dtype=int32)
    """
    ar1, ar2 = ensure_arraylike("union1d", ar1, ar2)
    return unique(concatenate([ravel(ar1), ravel(ar2)]), size=size, fill_value=fill_value)


def _chosen(values: Any, keep: Any, size: int | None, fill_value: Any, default: Any = None) -> Any:
    """The values to keep, moved to the front; `default` or `fill_value` behind them."""
    if size is None:
        return values[np.nonzero(np.asarray(keep))[0]]
    n = values.shape[0]
    index = keep.nonzero(size=size, fill_value=n)[0]
    inside = lax.lt(index, lax.full_like(index, n))
    taken = values.at[index].get(mode="clip") if n else lax.full((size,), 0, values.dtype)
    if fill_value is None:
        # Where nothing is kept, the fill is 0 whatever the default.
        kept = lax.select(inside, taken, lax.full_like(taken, 0))
        fill: Any = default(kept) if default is not None else lax.full((), 0, values.dtype)
    else:
        fill = convert_with_weak_type(asarray(fill_value), values.dtype, False)
    return lax.select(inside, taken, broadcast_to_shape(fill, (size,)))


def setdiff1d(
    ar1: Any,
    ar2: Any,
    assume_unique: bool = False,
    *,
    size: int | None = None,
    fill_value: Any = None,
) -> Any:
    """The different elements of `ar1` that are not in `ar2`.

    >>> import pullback.numpy as jnp
    >>> jnp.setdiff1d(jnp.array([3, 1, 2]), jnp.array([1]))
    Array([2, 3], dtype=int32)
    """
    ar1, ar2 = ensure_arraylike("setdiff1d", ar1, ar2)
    size = _concrete_size("setdiff1d", ar1, size)
    ar1 = ravel(ar1)
    if assume_unique or ar1.shape[0] == 0:
        keep = isin(ar1, ar2, invert=True)
        return _chosen(ar1, keep, size, fill_value)
    by_value = _sorted_rows(ar1, True)
    keep = lax.bitwise_and(by_value.first, isin(by_value.rows, ar2, invert=True))
    return _chosen(by_value.rows, keep, size, fill_value)


def setxor1d(
    ar1: Any,
    ar2: Any,
    assume_unique: bool = False,
    *,
    size: int | None = None,
    fill_value: Any = None,
) -> Any:
    """The elements that are in one of two arrays but not in both.

    >>> import pullback.numpy as jnp
    >>> jnp.setxor1d(jnp.array([1, 2]), jnp.array([2, 3]))
    Array([1, 3], dtype=int32)
    """
    ar1, ar2 = ensure_arraylike("setxor1d", ar1, ar2)
    size = _concrete_size("setxor1d", ar1, size)
    ar1, ar2 = promote_dtypes(ravel(ar1), ravel(ar2))
    both = concatenate([ar1, ar2])
    if both.shape[0] == 0:
        return _chosen(both, lax.full((0,), False), size, fill_value)
    by_value = _sorted_rows(both, False)
    once = lax.bitwise_xor(isin(by_value.rows, ar1), isin(by_value.rows, ar2))
    return _chosen(by_value.rows, lax.bitwise_and(by_value.first, once), size, fill_value)


def intersect1d(
    ar1: Any,
    ar2: Any,
    assume_unique: bool = False,
    return_indices: bool = False,
    *,
    size: int | None = None,
    fill_value: Any = None,
) -> Any:
    """The different elements that are in both arrays, and on request where each first occurs.

    >>> import pullback.numpy as jnp
    >>> jnp.intersect1d(jnp.array([1, 2, 3]), jnp.array([3, 2]))
    Array([2, 3], dtype=int32)
    """
    ar1, ar2 = ensure_arraylike("intersect1d", ar1, ar2)
    size = _concrete_size("intersect1d", ar1, size)
    ar1, ar2 = promote_dtypes(ravel(ar1), ravel(ar2))
    dtype = dtypes.default_int()
    if ar1.shape[0] == 0 or ar2.shape[0] == 0:
        empty = lax.full((size or 0,), 0 if fill_value is None else fill_value, ar1.dtype)
        at = lax.full((size or 0,), 0, dtype)
        return (empty, at, at) if return_indices else empty
    by_value = _sorted_rows(ar1, True)
    keep = lax.bitwise_and(by_value.first, isin(by_value.rows, ar2))
    values = _chosen(by_value.rows, keep, size, fill_value, _smallest)
    if not return_indices:
        return values
    first = _chosen(by_value.order, keep, size, ar1.shape[0])
    second = _first_places(values, ar2, dtype)
    if size is not None:
        inside = lax.lt(first, lax.full_like(first, ar1.shape[0]))
        second = lax.select(inside, second, lax.full_like(second, ar2.shape[0]))
    return values, first, second


def _smallest(values: Any) -> Any:
    """What fills the rest of an intersection: its first element."""
    return values[0] if values.shape[0] else lax.full((), 0, values.dtype)


def _first_places(values: Any, ar: Any, dtype: Any) -> Any:
    shape = (values.shape[0], ar.shape[0])
    if values.shape[0] == 0:
        return lax.full((0,), 0, dtype)
    same = lax.eq(lax.broadcast_in_dim(values, shape, (0,)), lax.broadcast_in_dim(ar, shape, (1,)))
    return lax.argmax(same, 1, dtype)
