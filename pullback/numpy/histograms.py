"""Counting into bins."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np

from pullback import lax
from pullback.core import dtypes
from pullback.core.trace import concrete_or_error
from pullback.numpy import reductions
from pullback.numpy.arrays import convert_with_weak_type
from pullback.numpy.creation import asarray
from pullback.numpy.joining import concatenate
from pullback.numpy.predicates import clip
from pullback.numpy.promotion import (
    check_arraylike,
    ensure_arraylike,
    promote_dtypes_inexact,
)
from pullback.numpy.ranges import linspace
from pullback.numpy.shaping import ravel
from pullback.numpy.sorting import searchsorted

__all__ = [
    "bincount",
    "histogram",
    "histogram2d",
    "histogram_bin_edges",
    "histogramdd",
]


def bincount(
    x: Any,
    weights: Any = None,
    minlength: int = 0,
    *,
    length: int | None = None,
    out_sharding: Any = None,
) -> Any:
    """How often each non-negative integer occurs, or the sum of weights where it does.

    The length follows from concrete values, or is the static `length`. Negative numbers count as 0.

    >>> import pullback.numpy as jnp
    >>> jnp.bincount(jnp.array([1, 1, 3]))
    Array([0, 2, 0, 1], dtype=int32)
    """
    x = ensure_arraylike("bincount", x)
    if dtypes.kind_of(x.dtype) not in "iub":
        raise TypeError(f"x argument to bincount must have an integer type; got {x.aval}")
    if x.ndim != 1:
        raise ValueError("only 1-dimensional input supported.")
    minlength = int(concrete_or_error(None, minlength, "minlength of jnp.bincount"))
    if length is None:
        data = concrete_or_error(
            np.asarray, x, "The result of jnp.bincount has a length that depends on x; pass length."
        )
        length = max(minlength, int(data.max()) + 1) if data.size else minlength
    else:
        length = int(concrete_or_error(None, length, "length of jnp.bincount"))
    x = lax.convert_element_type(x, np.dtype(np.int32)) if x.dtype.itemsize < 4 else x
    if weights is None:
        values: Any = lax.full((x.shape[0],), 1, dtypes.default_int())
    else:
        values = asarray(weights)
        if values.shape != x.shape:
            raise ValueError("shape of weights must match shape of x.")
    return lax.full((length,), 0, values.dtype).at[clip(x, 0)].add(values, mode="drop")


def histogram_bin_edges(a: Any, bins: Any = 10, range: Any = None, weights: Any = None) -> Any:
    """The edges of the bins of a histogram: evenly spaced over the data or over `range`.

    >>> import pullback.numpy as jnp
    >>> jnp.histogram_bin_edges(jnp.array([0., 4.]), 2)
    Array([0., 2., 4.], dtype=float32)
    """
    if isinstance(bins, str):
        raise NotImplementedError("string values for `bins` not implemented.")
    check_arraylike("histogram_bin_edges", a, bins)
    (a,) = promote_dtypes_inexact(asarray(a))
    bins = asarray(bins)
    if bins.ndim == 1:
        return convert_with_weak_type(bins, a.dtype, False)
    number = int(concrete_or_error(None, bins, "The number of bins must be static."))
    if range is None:
        if a.size == 0:
            low, high = asarray(0.0), asarray(1.0)
        else:
            low, high = reductions.min(a), reductions.max(a)
    else:
        low, high = asarray(range)[0], asarray(range)[1]
    low, high = (convert_with_weak_type(v, a.dtype, False) for v in (low, high))
    flat = lax.eq(low, high)
    half = lax.full_like(low, 0.5)
    low = lax.select(flat, lax.sub(low, half), low)
    high = lax.select(flat, lax.add(high, half), high)
    return linspace(low, high, number + 1, dtype=a.dtype)


def histogram(
    a: Any, bins: Any = 10, range: Any = None, weights: Any = None, density: bool | None = None
) -> tuple[Any, Any]:
    """How many elements (or what weight of them) lie in each bin, and the edges of the bins.

    With `density`, divided by the total and the width. The last bin includes its right edge.

    >>> import pullback.numpy as jnp
    >>> jnp.histogram(jnp.array([0., 1., 4.]), 2)[0]
    Array([2., 1.], dtype=float32)
    """
    check_arraylike("histogram", a, *(() if weights is None else (weights,)))
    if weights is None:
        (a,) = promote_dtypes_inexact(asarray(a))
        weights = lax.full_like(a, 1)
    else:
        a, weights = promote_dtypes_inexact(asarray(a), asarray(weights))
        if weights.shape != a.shape:
            raise ValueError("weights should have the same shape as a.")
    edges = histogram_bin_edges(a, bins, range, weights)
    count = edges.shape[0] - 1
    where_in = _bin_numbers(ravel(a), convert_with_weak_type(edges, a.dtype, False))
    counts = lax.full((count,), 0, weights.dtype).at[where_in].add(ravel(weights), mode="drop")
    if density:
        widths = lax.sub(lax.slice_in_dim(edges, 1, count + 1), lax.slice_in_dim(edges, 0, count))
        counts = counts / convert_with_weak_type(widths, counts.dtype, False) / counts.sum()
    return counts, edges


def _bin_numbers(a: Any, edges: Any) -> Any:
    """The bin of each element; out of range for those outside."""
    count = edges.shape[0] - 1
    number = searchsorted(edges, a, side="right") - 1
    last = lax.eq(a, lax.broadcast(edges[count], a.shape))
    number = lax.select(last, lax.full_like(number, count - 1), number)
    outside = lax.lt(number, lax.full_like(number, 0))
    return lax.select(outside, lax.full_like(number, count), number)


def histogramdd(
    sample: Any, bins: Any = 10, range: Any = None, weights: Any = None, density: bool | None = None
) -> tuple[Any, list[Any]]:
    """A histogram of the rows of a matrix in as many dimensions as it has columns.

    >>> import pullback.numpy as jnp
    >>> jnp.histogramdd(jnp.array([[0., 0.], [1., 1.]]), 2)[0]
    Array([[1, 0],
           [0, 1]], dtype=int32)
    """
    (sample,) = promote_dtypes_inexact(ensure_arraylike("histogramdd", sample))
    n, d = sample.shape
    if range is not None and len(range) != d:
        raise ValueError("For sample.shape=(N, D), range must have D entries")
    if isinstance(bins, (list, tuple)) or np.ndim(bins):
        per_axis = list(bins)
        if len(per_axis) != d:
            raise ValueError("should be a bin for each dimension.")
    else:
        per_axis = [bins] * d
    edges = [
        histogram_bin_edges(sample[:, k], per_axis[k], None if range is None else range[k])
        for k in builtins.range(d)
    ]
    shape = tuple(e.shape[0] - 1 for e in edges)
    numbers = tuple(_bin_numbers(sample[:, k], edges[k]) for k in builtins.range(d))
    plain = sample.dtype if density else dtypes.default_int()
    values = lax.full((n,), 1, plain) if weights is None else asarray(weights)
    counts = lax.full(shape, 0, values.dtype).at[numbers].add(values, mode="drop")
    if density:
        counts = counts / counts.sum()
        for k, e in enumerate(edges):
            width = lax.sub(e[1:], e[:-1])
            counts = counts / lax.broadcast_in_dim(width, counts.shape, (k,))
    return counts, edges


def histogram2d(
    x: Any,
    y: Any,
    bins: Any = 10,
    range: Any = None,
    weights: Any = None,
    density: bool | None = None,
) -> tuple[Any, Any, Any]:
    """A histogram of points in the plane, and the edges along both axes.

    >>> import pullback.numpy as jnp
    >>> jnp.histogram2d(jnp.array([0., 1.]), jnp.array([0., 1.]), 2)[0]
    Array([[1, 0],
           [0, 1]], dtype=int32)
    """
    x, y = ensure_arraylike("histogram2d", x, y)
    if not isinstance(bins, (list, tuple)) and np.ndim(bins) == 1:
        bins = [bins, bins]
    sample = concatenate([lax.reshape(v, (v.size, 1)) for v in (x, y)], 1)
    counts, edges = histogramdd(sample, bins, range, weights, density)
    return counts, edges[0], edges[1]
