"""Sorting and searching."""

from __future__ import annotations

from typing import Any

import numpy as np

from pullback import lax
from pullback.core import dtypes
from pullback.numpy.arrays import convert_with_weak_type
from pullback.numpy.creation import asarray
from pullback.numpy.promotion import (
    canonical_axis,
    check_arraylike,
    ensure_arraylike,
    promote_dtypes,
)
from pullback.numpy.shaping import ravel
from pullback.ops import partitions
from pullback.runtime.composites import compiled_when_eager
from pullback.runtime.replays import replayed_when_eager

__all__ = [
    "argpartition",
    "argsort",
    "digitize",
    "lexsort",
    "partition",
    "searchsorted",
    "sort",
    "sort_complex",
]


def _prepared(name: str, a: Any, axis: Any, kind: Any, order: Any) -> tuple[Any, int]:
    if kind is not None:
        raise TypeError(
            f"'kind' argument to {name} is not supported. Use stable=True or stable=False to "
            "specify sort stability."
        )
    if order is not None:
        raise TypeError(f"'order' argument to {name} is not supported.")
    a = ensure_arraylike(name, a)
    if axis is None:
        return ravel(a), 0
    return a, canonical_axis(axis, a.ndim)


@replayed_when_eager
def sort(
    a: Any,
    axis: int | None = -1,
    *,
    kind: None = None,
    order: None = None,
    stable: bool = True,
    descending: bool = False,
) -> Any:
    """The elements in ascending order along an axis, nan last; `axis=None` flattens.

    >>> import pullback.numpy as jnp
    >>> jnp.sort(jnp.array([3, 1, 2]))
    Array([1, 2, 3], dtype=int32)
    """
    a, axis = _prepared("sort", a, axis, kind, order)
    result = lax.sort(a, dimension=axis, is_stable=stable)
    return lax.rev(result, (axis,)) if descending else result


@compiled_when_eager("axis", "kind", "order", "stable", "descending", "dtype")
def argsort(
    a: Any,
    axis: int | None = -1,
    *,
    kind: None = None,
    order: None = None,
    stable: bool = True,
    descending: bool = False,
    dtype: Any = None,
) -> Any:
    """The indices that sort along an axis; equal elements keep their order.

    >>> import pullback.numpy as jnp
    >>> jnp.argsort(jnp.array([3, 1, 2]))
    Array([1, 2, 0], dtype=int32)
    """
    a, axis = _prepared("argsort", a, axis, kind, order)
    dtype = dtypes.default_int() if dtype is None else dtypes.check_user_dtype(dtype, "argsort")
    numbers = lax.broadcasted_iota(dtype, a.shape, axis)
    if descending:  # equal elements keep their order when both are reversed
        a, numbers = lax.rev(a, (axis,)), lax.rev(numbers, (axis,))
    _, indices = lax.sort((a, numbers), dimension=axis, is_stable=stable, num_keys=1)
    return lax.rev(indices, (axis,)) if descending else indices


def sort_complex(a: Any) -> Any:
    """The elements sorted along the last axis, as complex numbers.

    >>> import pullback.numpy as jnp
    >>> jnp.sort_complex(jnp.array([2., 1.]))
    Array([1.+0.j, 2.+0.j], dtype=complex64)
    """
    a = ensure_arraylike("sort_complex", a)
    result = lax.sort(a)
    return lax.convert_element_type(result, dtypes.to_complex_dtype(result.dtype))


@compiled_when_eager("axis")
def lexsort(keys: Any, axis: int = -1) -> Any:
    """The indices that sort by the last key, equal ones by the one before, and so on.

    >>> import pullback.numpy as jnp
    >>> jnp.lexsort((jnp.array([1, 0, 0]), jnp.array([2, 2, 1])))
    Array([2, 1, 0], dtype=int32)
    """
    arrays = [asarray(k) for k in keys]
    if not arrays:
        raise TypeError("need sequence of keys with len > 0 in lexsort")
    if len({k.shape for k in arrays}) > 1:
        raise ValueError("all keys need to be the same shape")
    if arrays[0].ndim == 0:
        return lax.full((), 0, dtypes.default_int())
    axis = canonical_axis(axis, arrays[0].ndim)
    numbers = lax.broadcasted_iota(dtypes.default_int(), arrays[0].shape, axis)
    return lax.sort((*arrays[::-1], numbers), dimension=axis, num_keys=len(arrays))[-1]


@replayed_when_eager
def partition(a: Any, kth: int, axis: int = -1) -> Any:
    """The `kth` smallest element in its place, smaller ones before and larger ones behind it.

    >>> import pullback.numpy as jnp
    >>> jnp.partition(jnp.array([3, 1, 2]), 1)
    Array([1, 2, 3], dtype=int32)
    """
    a = ensure_arraylike("partition", a)
    axis = canonical_axis(axis, a.ndim)
    kth = canonical_axis(kth, a.shape[axis], "kth")
    if dtypes.kind_of(a.dtype) == "c":
        raise NotImplementedError("jnp.partition for complex dtype is not implemented.")
    if not partitions.is_worth(a.shape[axis]):
        return lax.sort(a, dimension=axis)  # sorted arrays are partitioned everywhere
    return partitions.partition(a, *_place(kth), dimension=axis, places=False)


@compiled_when_eager("kth", "axis")
def argpartition(a: Any, kth: int, axis: int = -1) -> Any:
    """The indices that `partition` would use.

    >>> import pullback.numpy as jnp
    >>> jnp.argpartition(jnp.array([3, 1, 2]), 1)[1]
    Array(2, dtype=int32)
    """
    a = ensure_arraylike("argpartition", a)
    axis = canonical_axis(axis, a.ndim)
    kth = canonical_axis(kth, a.shape[axis], "kth")
    if dtypes.kind_of(a.dtype) == "c":
        raise NotImplementedError("jnp.argpartition for complex dtype is not implemented.")
    if not partitions.is_worth(a.shape[axis]):
        order = argsort(a, axis, dtype=_index_dtype(a.size))
        return convert_with_weak_type(order, order.dtype, a.weak_type)
    order = partitions.partition(a, *_place(kth), dimension=axis, places=True)
    return convert_with_weak_type(order, _index_dtype(a.size), a.weak_type)


def _place(kth: int) -> tuple[Any, Any]:
    return np.int32(kth), np.int32(kth)


# --------------------------------------------------------------------------- searching


def _index_dtype(n: int) -> Any:
    """int32, where it can count to `n`."""
    return dtypes.int32 if n < 2**31 else dtypes.int64


@compiled_when_eager("side", "method")
def searchsorted(
    a: Any, v: Any, side: str = "left", sorter: Any = None, *, method: str = "scan"
) -> Any:
    """Where to insert each value into a sorted vector so that it stays sorted.

    Side "left" is before, "right" behind equal elements; nan sorts last. `sorter` are indices that
    sort `a`. All methods ("scan", "scan_unrolled", "sort", "compare_all") give the same.

    >>> import pullback.numpy as jnp
    >>> jnp.searchsorted(jnp.array([1, 2, 2, 3]), 2)
    Array(1, dtype=int32)
    """
    check_arraylike("searchsorted", a, v, *(() if sorter is None else (sorter,)))
    if side not in ("left", "right"):
        raise ValueError(f"invalid argument {side=!r}, expected 'left' or 'right'")
    if method not in ("scan", "scan_unrolled", "sort", "compare_all"):
        raise ValueError(
            f"{method!r} is an invalid value for keyword 'method'. Expected one of 'sort', 'scan', "
            "'scan_unrolled' or 'compare_all'."
        )
    a, v = promote_dtypes(asarray(a), asarray(v))
    if a.ndim != 1:
        raise ValueError("a should be 1-dimensional")
    if sorter is not None:
        a = a[asarray(sorter)]
    dtype = _index_dtype(a.shape[0])
    if a.shape[0] == 0:
        return lax.full(v.shape, 0, dtype)
    if method == "compare_all" or a.shape[0] <= 8:
        return _compare_all(a, v, side, dtype)
    return _binary_search(a, v, side, dtype)


def _goes_before(x: Any, v: Any, side: str) -> Any:
    """Whether element `x` stays before `v`: in the order where nan is last and equal to itself."""
    before = lax.lt(x, v) if side == "left" else lax.le(x, v)
    if dtypes.kind_of(x.dtype) not in "fc":
        return before
    x_nan, v_nan = lax.ne(x, x), lax.ne(v, v)
    number_before_nan = lax.bitwise_and(lax.bitwise_not(x_nan), v_nan)
    before = lax.bitwise_or(before, number_before_nan)
    return before if side == "left" else lax.bitwise_or(before, v_nan)


def _compare_all(a: Any, v: Any, side: str, dtype: Any) -> Any:
    shape = (a.shape[0], *v.shape)
    x = lax.broadcast_in_dim(a, shape, (0,))
    before = _goes_before(x, lax.broadcast(v, (a.shape[0],)), side)
    return lax.reduce_sum(lax.convert_element_type(before, dtype), (0,))


def _binary_search(a: Any, v: Any, side: str, dtype: Any) -> Any:
    """Halve the interval as often as its length has bits; every value has its own interval."""
    n = a.shape[0]
    low, high = lax.full(v.shape, 0, dtype), lax.full(v.shape, n, dtype)
    two = lax.full(v.shape, 2, dtype)

    def step(_: Any, state: Any) -> Any:
        low, high = state
        open_ = lax.lt(low, high)
        middle = lax.div(lax.add(low, high), two)
        x = a.at[middle].get(mode="clip")
        before = _goes_before(x, v, side)
        up = lax.bitwise_and(open_, before)
        down = lax.bitwise_and(open_, lax.bitwise_not(before))
        low = lax.select(up, lax.add(middle, lax.full_like(middle, 1)), low)
        return low, lax.select(down, middle, high)

    steps = n.bit_length()
    return lax.fori_loop(0, steps, step, (low, high))[0]


@compiled_when_eager("right", "method")
def digitize(x: Any, bins: Any, right: bool = False, *, method: str | None = None) -> Any:
    """The number of the bin of each element: k if bins[k-1] <= x < bins[k].

    Bins rise or fall; with `right`, bins[k-1] < x <= bins[k].

    >>> import pullback.numpy as jnp
    >>> jnp.digitize(jnp.array([0.5, 2.0]), jnp.array([0.0, 1.0, 2.0]))
    Array([1, 3], dtype=int32)
    """
    x, bins = ensure_arraylike("digitize", x, bins)
    method = "scan" if method is None else method
    if bins.ndim != 1:
        raise ValueError(f"digitize: bins must be a 1-dimensional array; got {bins.aval}")
    if bins.shape[0] == 0:
        return lax.full(x.shape, 0, dtypes.default_int())
    side = "right" if not right else "left"
    rising = searchsorted(bins, x, side=side, method=method)
    n = bins.shape[0]
    falling = n - searchsorted(lax.rev(bins, (0,)), x, side=side, method=method)
    increases = lax.broadcast(lax.ge(bins[n - 1], bins[0]), x.shape)
    return lax.select(increases, rising, falling)
