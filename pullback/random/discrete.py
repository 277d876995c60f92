"""Shuffles, draws from arrays, and draws by unnormalised log-probabilities."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from pullback.core import dtypes
from pullback.core.array import Array
from pullback.core.avals import aval_of
from pullback.core.trace import concrete_or_error
from pullback.lax.structural import (
    broadcast_in_dim,
    broadcast_shapes,
    canonical_axis,
    stack,
    unstack,
)
from pullback.ops import (
    conversion,
    cumulative,
    elementwise,
    gather,
    rearrange,
    reductions,
    slicing,
    sorting,
)
from pullback.ops.windows import GatherDimensionNumbers, GatherScatterMode
from pullback.random.basic import float_dtype, randint, random_bits, uniform_of
from pullback.random.keys import one_key, sample_shape, split_into
from pullback.random.transformed import gumbel_of
from pullback.runtime.composites import compiled_when_eager

__all__ = ["categorical", "choice", "permutation"]


def _is_integer(x: Any) -> bool:
    if isinstance(x, (bool, int, np.integer)):
        return True
    if not isinstance(x, (Array, np.ndarray)):
        return False
    aval = aval_of(x)
    return aval.ndim == 0 and dtypes.kind_of(aval.dtype) in "iu"


def _length(x: Any, what: str) -> int:
    return operator.index(concrete_or_error(int, x, f"{what} gives the shape of the result."))


def _check_array(name: str, x: Any) -> Any:
    if not isinstance(x, (Array, np.ndarray)) and not np.isscalar(x):
        raise TypeError(f"{name} requires ndarray or scalar arguments, got {type(x)}")
    aval = aval_of(x)
    if aval.ndim == 0:
        raise TypeError(f"{name}: x must be an integer or at least 1-dimensional, got {aval}")
    return aval


def take(x: Any, indices: Any, axis: int) -> Any:
    """The parts of `x` at indices that are known to be within bounds, along an axis."""
    aval, rank = aval_of(x), aval_of(indices).ndim
    column = rearrange.reshape(
        indices, new_sizes=(*aval_of(indices).shape, 1), dimensions=None, sharding=None
    )
    offsets = (*range(axis), *range(axis + rank, aval.ndim - 1 + rank))
    return gather.gather(
        x,
        column,
        dimension_numbers=GatherDimensionNumbers(offsets, (axis,), (axis,)),
        slice_sizes=tuple(1 if k == axis else n for k, n in enumerate(aval.shape)),
        indices_are_sorted=False,
        unique_indices=False,
        mode=GatherScatterMode.PROMISE_IN_BOUNDS,
        fill_value=None,
    )


# --------------------------------------------------------------------------- permutation


def permutation(
    key: Any, x: Any, axis: int = 0, independent: bool = False, *, out_sharding: Any = None
) -> Any:
    """`x` (or the integers below it) shuffled along an axis; every row by itself if `independent`.

    >>> from pullback.random.keys import PRNGKey
    >>> sorted(permutation(PRNGKey(0), 4).tolist())
    [0, 1, 2, 3]
    """
    key = one_key("permutation", key)
    if _is_integer(x):
        return _shuffle(key, _range(_length(x, "x")), 0)
    aval = _check_array("permutation", x)
    axis = canonical_axis(axis, aval.ndim)
    if independent or aval.ndim == 1 or not aval.size:
        return _shuffle(key, x, axis)
    return take(x, _shuffle(key, _range(aval.shape[axis]), 0), axis)


def _range(n: int) -> Any:
    if n < 0:
        raise ValueError(f"a number of elements must not be negative, got {n}")
    return rearrange.iota(dtype=dtypes.default_int(), shape=(n,), dimension=0, sharding=None)


@compiled_when_eager("axis")
def _shuffle(key: Any, x: Any, axis: int) -> Any:
    """`x` sorted by random keys, often enough that equal keys do not bias the result."""
    aval = aval_of(x)
    rounds = math.ceil(3 * math.log(max(1, aval.size)) / math.log(2**32 - 1))
    orders = []
    for _ in range(rounds):
        key, subkey = split_into(key, 2)
        orders.append(random_bits(subkey, 32, aval.shape))
    if aval.ndim == 1 and rounds > 1:
        return _reordered(x, orders)
    for order in orders:
        x = sorting.sort(order, x, dimension=axis, is_stable=True, num_keys=1)[1]
    return x


def _reordered(x: Any, orders: Sequence[Any]) -> Any:
    """`x` sorted by one row of keys after the other; the rows are ranked at once, by threads."""
    shape = (len(orders), aval_of(x).shape[0])
    places = rearrange.iota(dtype=dtypes.int32, shape=shape, dimension=1, sharding=None)
    ranked = sorting.sort(stack(orders), places, dimension=1, is_stable=True, num_keys=1)[1]
    for row in unstack(ranked):
        x = gather.take_along_axis(x, row, 0)
    return x


# --------------------------------------------------------------------------- choice


def choice(
    key: Any,
    a: Any,
    shape: Any = (),
    replace: bool = True,
    p: Any = None,
    axis: int = 0,
    mode: str | None = None,
) -> Any:
    """Elements drawn from `a` (or from the integers below it), with probabilities `p`.

    >>> from pullback.random.keys import PRNGKey
    >>> choice(PRNGKey(0), 5, (3,), p=np.array([0, 0, 1.0, 0, 0]))
    Array([2, 2, 2], dtype=int32)
    """
    if not isinstance(a, (Array, np.ndarray, np.generic, bool, int, float)):
        raise TypeError(f"choice requires ndarray or scalar arguments, got {type(a)}")
    key, shape = one_key("choice", key), sample_shape(shape)
    ndim = aval_of(a).ndim
    if ndim == 0:
        n = _length(a, "a")
    else:
        axis = canonical_axis(axis, ndim)
        n = aval_of(a).shape[axis]
    draws = math.prod(shape)
    if n <= 0 and draws:
        raise ValueError("a must be greater than 0 unless no samples are taken")
    if not replace and draws > n:
        raise ValueError(
            f"Cannot take a larger sample (size {draws}) than population (size {n}) when "
            "'replace=False'"
        )
    if p is None:
        return _unweighted(key, a, ndim, n, shape, replace, axis)
    found = _weighted(key, n, shape, replace, _weights(p, n), mode)
    return found if ndim == 0 else take(a, found, axis)


def _reshape(x: Any, shape: tuple[int, ...]) -> Any:
    if aval_of(x).shape == shape:
        return x
    return rearrange.reshape(x, new_sizes=shape, dimensions=None, sharding=None)


def _first(x: Any, n: int, axis: int) -> Any:
    shape = aval_of(x).shape
    limits = tuple(n if k == axis else m for k, m in enumerate(shape))
    return slicing.slice_(x, start_indices=(0,) * len(shape), limit_indices=limits, strides=None)


def _unweighted(
    key: Any, a: Any, ndim: int, n: int, shape: tuple[int, ...], replace: bool, axis: int
) -> Any:
    if replace:
        found = randint(key, shape, 0, n)
        return found if ndim == 0 else take(a, found, axis)
    draws = math.prod(shape)
    if ndim == 0:
        return _reshape(_first(permutation(key, n), draws, 0), shape)
    rows = _first(permutation(key, a, axis), draws, axis)
    whole = aval_of(a).shape
    return _reshape(rows, (*whole[:axis], *shape, *whole[axis + 1 :]))


def _weights(p: Any, n: int) -> Any:
    aval = aval_of(p)
    if aval.ndim != 1 or aval.shape[0] != n:
        raise ValueError(
            "p must be None or a 1D vector with the same size as a.shape[axis]. p has shape "
            f"{aval.shape} and a.shape[axis] is {n}."
        )
    return conversion.convert(p, dtypes.to_inexact_dtype(aval.dtype))


def _weighted(
    key: Any, n: int, shape: tuple[int, ...], replace: bool, p: Any, mode: str | None
) -> Any:
    e, dtype = elementwise, aval_of(p).dtype
    if not replace:
        g = e.add(gumbel_of(key, (n,), dtype, mode), e.log(p))
        found = sorting.top_k(g, k=math.prod(shape), axis=0)[1]
        return _reshape(conversion.convert(found, dtypes.default_int()), shape)
    sums = cumulative.cumsum(p, axis=0, reverse=False)
    last = slicing.slice_(sums, start_indices=(n - 1,), limit_indices=(n,), strides=None)
    total = rearrange.squeeze(last, dimensions=(0,))
    one = np.ones((), np.dtype(str(dtype)))[()]
    r = e.mul(total, e.sub(one, uniform_of(key, shape, dtype)))
    return _search(sums, r, n)


def _search(ordered: Any, values: Any, n: int) -> Any:
    """Where each value belongs among ordered ones, before those equal: by halving."""
    e, shape = elementwise, aval_of(values).shape
    low, high = rearrange.full(shape, 0, np.uint32), rearrange.full(shape, n, np.uint32)
    for _ in range(n.bit_length()):
        middle = e.add(low, e.div(e.sub(high, low), np.uint32(2)))
        before = e.le(values, take(ordered, middle, 0))
        low, high = e.select_n(before, middle, low), e.select_n(before, high, middle)
    return conversion.convert(high, dtypes.default_int())


# --------------------------------------------------------------------------- categorical


@compiled_when_eager("axis", "shape", "replace", "mode", "out_sharding")
def categorical(
    key: Any,
    logits: Any,
    axis: int = -1,
    shape: Any = None,
    replace: bool = True,
    mode: str | None = None,
    *,
    out_sharding: Any = None,
) -> Any:
    """Indices along an axis with probabilities proportional to exp(logits).

    `shape` ends in the batch shape of `logits`; the axes before are draws.

    >>> from pullback.random.keys import PRNGKey
    >>> int(categorical(PRNGKey(0), np.array([0.0, 100.0])))
    1
    """
    key = one_key("categorical", key)
    logits = conversion.convert(logits, float_dtype("categorical", aval_of(logits).dtype))
    aval = aval_of(logits)
    axis = canonical_axis(axis, aval.ndim)
    batch = aval.shape[:axis] + aval.shape[axis + 1 :]
    shape = batch if shape is None else sample_shape(shape)
    if broadcast_shapes(shape, batch) != shape:
        raise ValueError(f"categorical: shape {shape} does not end in the batch shape {batch}")
    prefix = shape[: len(shape) - len(batch)]
    e, index = elementwise, dtypes.default_int()
    if replace:
        tail = shape[len(prefix) :]
        full_shape = (*prefix, *tail[:axis], aval.shape[axis], *tail[axis:])
        noise = gumbel_of(key, full_shape, aval.dtype, mode)
        dims = tuple(range(len(prefix), len(full_shape)))
        noisy = e.add(noise, broadcast_in_dim(logits, full_shape, dims))
        return reductions.argmax(noisy, axes=(axis + len(prefix),), index_dtype=index)
    return _without_replacement(key, logits, axis, shape, prefix, mode)


def _without_replacement(
    key: Any, logits: Any, axis: int, shape: Any, prefix: Any, mode: str | None
) -> Any:
    """The largest of noisy logits, in order."""
    aval, k = aval_of(logits), math.prod(prefix)
    if k > aval.shape[axis]:
        raise ValueError(
            f"categorical: {k} draws without replacement from {aval.shape[axis]} categories"
        )
    noisy = elementwise.add(logits, gumbel_of(key, aval.shape, aval.dtype, mode))
    found = sorting.top_k(noisy, k=k, axis=axis)[1]
    order = (axis, *[d for d in range(aval.ndim) if d != axis])
    return rearrange.reshape(
        found,
        new_sizes=tuple(shape),
        dimensions=None if order == tuple(range(aval.ndim)) else order,
        sharding=None,
    )
