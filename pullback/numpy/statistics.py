"""Order statistics, covariance, histograms and interpolation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pullback import lax
from pullback.core import dtypes
from pullback.numpy import reductions
from pullback.numpy.arrays import broadcast_to_shape, convert_with_weak_type
from pullback.numpy.creation import asarray
from pullback.numpy.joining import concatenate
from pullback.numpy.predicates import clip, isnan
from pullback.numpy.promotion import (
    canonical_axes,
    check_arraylike,
    ensure_arraylike,
    promote_dtypes_inexact,
)
from pullback.numpy.scalar_types import finfo
from pullback.numpy.selection import where
from pullback.numpy.sorting import searchsorted
from pullback.ops import partitions
from pullback.runtime.composites import compiled_when_eager

__all__ = [
    "corrcoef",
    "cov",
    "interp",
    "median",
    "nanmedian",
    "nanpercentile",
    "nanquantile",
    "percentile",
    "quantile",
]


# --------------------------------------------------------------------------- quantiles

_DISCRETE = ("lower", "higher", "nearest", "inverted_cdf", "closest_observation")


def _quantile(
    name: str,
    a: Any,
    q: Any,
    axis: Any,
    method: str,
    keepdims: bool,
    skip_nan: bool,
    weights: Any = None,
) -> Any:
    known = ("linear", "lower", "higher", "midpoint", "nearest", "inverted_cdf")
    if method not in known:
        text = ", ".join(map(repr, known[:-1]))
        raise ValueError(f"method can only be {text} or {known[-1]!r}; jnp.{name} got {method!r}")
    (a,) = promote_dtypes_inexact(ensure_arraylike(name, a))
    q = asarray(q)
    if dtypes.kind_of(a.dtype) == "c":
        raise ValueError(
            "quantile does not support complex input, as the operation is poorly defined."
        )
    if q.ndim > 1:
        raise ValueError(f"q must be have rank <= 1, got shape {q.shape}")
    axes = canonical_axes(axis, a.ndim)
    rest = tuple(k for k in range(a.ndim) if k not in axes)
    order = (*rest, *axes)
    rows_shape = (*(a.shape[k] for k in rest), math.prod(a.shape[k] for k in axes))
    dtype = a.dtype
    work = dtypes.float32 if dtype.itemsize < 4 else dtype
    a, q = convert_with_weak_type(a, work, False), convert_with_weak_type(q, work, False)
    rows = lax.reshape(lax.transpose(a, order), rows_shape)
    if weights is not None:
        spread = _weights_like(asarray(weights), a, axis, axes)
        flat = lax.reshape(lax.transpose(spread, order), rows_shape)
        result = _weighted(rows, flat, q, method)
    else:
        result = _row_quantile(rows, q, method, skip_nan)
        if not skip_nan:
            spoiled = broadcast_to_shape(reductions.any(isnan(a), axes), result.shape)
            result = lax.select(spoiled, lax.full_like(result, np.nan), result)
    if keepdims:
        result = lax.expand_dims(result, [k + q.ndim for k in sorted(axes)])
    return convert_with_weak_type(result, dtype, False)


def _row_quantile(rows: Any, q: Any, method: str, skip_nan: bool) -> Any:
    """Quantiles along the last axis; those of `q` come first."""
    n = rows.shape[-1]
    count: Any
    if skip_nan:
        count = reductions.sum(lax.bitwise_not(isnan(rows)), -1, dtype=rows.dtype)
    else:
        count = lax.full(rows.shape[:-1], n, rows.dtype)
    if n == 0:
        return lax.full((*q.shape, *rows.shape[:-1]), np.nan, rows.dtype)
    shape = (*q.shape, *count.shape)
    top = lax.max(lax.sub(count, lax.full_like(count, 1)), lax.full_like(count, 0))
    top = broadcast_to_shape(top, shape)
    q = lax.broadcast_in_dim(q, shape, tuple(range(q.ndim)))
    if method == "inverted_cdf":
        q = lax.sub(lax.mul(q, broadcast_to_shape(count, shape)), lax.full_like(q, 1))
        q = lax.max(lax.ceil(q), lax.full_like(q, 0))
    else:
        q = lax.mul(q, top)
    position = clip(q, 0, top)
    if partitions.is_worth(n) and position.size > 0:
        rows = _partitioned(rows, position)
    else:
        rows = lax.sort(rows, dimension=-1)
    return _between(rows, position, top, method)


def _partitioned(rows: Any, position: Any) -> Any:
    """Rows that are in order where elements are picked."""
    position = where(isnan(position), lax.full_like(position, 0), position)
    last = lax.full((), rows.shape[-1] - 1, np.dtype(np.int32))
    low, high = (
        lax.convert_element_type(reduce(rounded(position), None), last.dtype)
        for reduce, rounded in ((reductions.min, lax.floor), (reductions.max, lax.ceil))
    )
    low, high = lax.min(low, last), lax.min(high, last)
    return partitions.partition(rows, low, high, dimension=rows.ndim - 1, places=False)


def _between(rows: Any, position: Any, top: Any, method: str) -> Any:
    low, high = lax.floor(position), lax.ceil(position)
    weight = lax.sub(position, low)
    low_value = _pick(rows, lax.min(low, top))
    if method in ("lower", "inverted_cdf"):
        return low_value
    high_value = _pick(rows, lax.min(high, top))
    if method == "higher":
        return high_value
    if method == "nearest":
        half = lax.full_like(weight, 0.5)
        return lax.select(lax.le(weight, half), low_value, high_value)
    if method == "midpoint":
        return lax.mul(lax.add(low_value, high_value), lax.full_like(low_value, 0.5))
    rest = lax.sub(lax.full_like(weight, 1), weight)
    return lax.add(lax.mul(low_value, rest), lax.mul(high_value, weight))


def _pick(rows: Any, position: Any) -> Any:
    """The elements of each row at its positions, of shape `(*extra, *rows.shape[:-1])`."""
    lead = rows.shape[:-1]
    at = lax.convert_element_type(position, np.dtype(np.int32))
    index = [
        np.arange(n).reshape(*(1,) * k, n, *(1,) * (len(lead) - k - 1)) for k, n in enumerate(lead)
    ]
    return rows[(*index, at)]


def _weights_like(weights: Any, a: Any, axis: Any, axes: tuple[int, ...]) -> Any:
    weights = convert_with_weak_type(weights, a.dtype, False)
    if weights.shape == a.shape:
        return weights
    return reductions.along_axes(weights, a, axis, axes)


def _weighted(rows: Any, weights: Any, q: Any, method: str) -> Any:
    if method != "inverted_cdf":
        raise ValueError(f"Weights are only supported for method='inverted_cdf', got {method!r}")
    rows, weights = lax.sort((rows, weights), dimension=-1, num_keys=1)
    cumulated = lax.cumsum(weights, rows.ndim - 1)
    total = lax.index_in_dim(cumulated, rows.shape[-1] - 1, axis=-1)
    shape = (*q.shape, *rows.shape)
    goal = lax.mul(
        lax.broadcast_in_dim(q, shape, tuple(range(q.ndim))), broadcast_to_shape(total, shape)
    )
    below = lax.lt(broadcast_to_shape(cumulated, shape), goal)
    position = reductions.sum(below, -1, dtype=rows.dtype)
    return _pick(rows, lax.min(position, lax.full_like(position, rows.shape[-1] - 1)))


@compiled_when_eager("axis", "overwrite_input", "method", "keepdims")
def quantile(
    a: Any,
    q: Any,
    axis: Any = None,
    out: None = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = False,
    *,
    weights: Any = None,
) -> Any:
    """The values below which a fraction `q` (in [0, 1]) of the elements lie; nan if there is a nan.

    Methods between two elements: linear, lower, higher, midpoint, nearest, inverted_cdf (the only
    one that takes weights). The axis of `q` comes first.

    >>> import pullback.numpy as jnp
    >>> jnp.quantile(jnp.array([1., 2., 4.]), 0.25)
    Array(1.5, dtype=float32)
    """
    _check_quantile("quantile", out, overwrite_input)
    return _quantile("quantile", a, q, axis, method, keepdims, False, weights)


@compiled_when_eager("axis", "overwrite_input", "method", "keepdims")
def nanquantile(
    a: Any,
    q: Any,
    axis: Any = None,
    out: None = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = False,
    *,
    weights: Any = None,
) -> Any:
    """`quantile` of the elements that are not nan.

    >>> import pullback.numpy as jnp
    >>> jnp.nanquantile(jnp.array([1., jnp.nan, 2.]), 0.5)
    Array(1.5, dtype=float32)
    """
    _check_quantile("nanquantile", out, overwrite_input)
    return _quantile("nanquantile", a, q, axis, method, keepdims, True, weights)


def _check_quantile(name: str, out: None, overwrite_input: bool) -> None:
    if overwrite_input or out is not None:
        raise ValueError(f"jax.numpy.{name} does not support overwrite_input=True or out != None")


def _percent(name: str, q: Any) -> Any:
    (q,) = promote_dtypes_inexact(ensure_arraylike(name, q))
    return lax.div(q, lax.full_like(q, 100))


@compiled_when_eager("axis", "overwrite_input", "method", "keepdims", "out_sharding")
def percentile(
    a: Any,
    q: Any,
    axis: Any = None,
    out: None = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = False,
    *,
    weights: Any = None,
    out_sharding: Any = None,
) -> Any:
    """`quantile` with `q` in percent.

    >>> import pullback.numpy as jnp
    >>> jnp.percentile(jnp.array([1., 2., 3.]), 50)
    Array(2., dtype=float32)
    """
    _check_quantile("percentile", out, overwrite_input)
    q = _percent("percentile", q)
    return _quantile("percentile", a, q, axis, method, keepdims, False, weights)


@compiled_when_eager("axis", "overwrite_input", "method", "keepdims")
def nanpercentile(
    a: Any,
    q: Any,
    axis: Any = None,
    out: None = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = False,
    *,
    weights: Any = None,
) -> Any:
    """`percentile` of the elements that are not nan.

    >>> import pullback.numpy as jnp
    >>> jnp.nanpercentile(jnp.array([1., jnp.nan, 3.]), 50)
    Array(2., dtype=float32)
    """
    _check_quantile("nanpercentile", out, overwrite_input)
    q = _percent("nanpercentile", q)
    return _quantile("nanpercentile", a, q, axis, method, keepdims, True, weights)


@compiled_when_eager("axis", "overwrite_input", "keepdims")
def median(
    a: Any,
    axis: Any = None,
    out: None = None,
    overwrite_input: bool = False,
    keepdims: bool = False,
) -> Any:
    """The middle element in order, or the mean of the two middle ones; nan if there is a nan.

    >>> import pullback.numpy as jnp
    >>> jnp.median(jnp.array([5., 1., 2.]))
    Array(2., dtype=float32)
    """
    _check_quantile("median", out, overwrite_input)
    return _quantile("median", a, 0.5, axis, "midpoint", keepdims, False)


@compiled_when_eager("axis", "overwrite_input", "keepdims")
def nanmedian(
    a: Any,
    axis: Any = None,
    out: None = None,
    overwrite_input: bool = False,
    keepdims: bool = False,
) -> Any:
    """The median of the elements that are not nan.

    >>> import pullback.numpy as jnp
    >>> jnp.nanmedian(jnp.array([5., jnp.nan, 2.]))
    Array(3.5, dtype=float32)
    """
    _check_quantile("nanmedian", out, overwrite_input)
    return _quantile("nanmedian", a, 0.5, axis, "midpoint", keepdims, True)


# --------------------------------------------------------------------------- covariance


@compiled_when_eager("rowvar", "bias", "ddof")
def cov(
    m: Any,
    y: Any = None,
    rowvar: bool = True,
    bias: bool = False,
    ddof: int | None = None,
    fweights: Any = None,
    aweights: Any = None,
    dtype: Any = None,
) -> Any:
    """The covariance matrix of variables (rows, or columns with `rowvar=False`).

    `fweights` says how often each observation was made, `aweights` how much it weighs. The divisor
    is the count minus 1 (0 with `bias`), or minus `ddof`.

    >>> import pullback.numpy as jnp
    >>> jnp.cov(jnp.array([[0., 2.], [2., 0.]]))
    Array([[ 2., -2.],
           [-2.,  2.]], dtype=float32)
    """
    m = ensure_arraylike("cov", m)
    y = None if y is None else ensure_arraylike("cov", y)
    if m.ndim > 2 or (y is not None and y.ndim > 2):
        raise ValueError("m and y must have no more than 2 dimensions")
    x, second = m, y
    if y is None:
        (x,) = promote_dtypes_inexact(x)
    else:
        x, second = promote_dtypes_inexact(x, second)
    if dtype is not None:
        dtype = dtypes.check_user_dtype(dtype, "cov")
        x = convert_with_weak_type(x, dtype, False)
        second = None if y is None else convert_with_weak_type(second, dtype, False)
    x = _variables(x, rowvar, rowvar or m.ndim == 1)
    if y is not None:
        x = concatenate([x, _variables(second, rowvar, rowvar or y.ndim == 1)], 0)
    ddof = (0 if bias else 1) if ddof is None else ddof
    weights = _observation_weights(x, fweights, aweights)
    if x.shape[0] == 0:
        return lax.full((0, 0), 0, x.dtype)
    if weights is None:
        average = reductions.mean(x, 1, keepdims=True)
        factor: Any = lax.full((), x.shape[1] - ddof, dtypes.to_real_dtype(x.dtype))
    else:
        total = weights.sum()
        average = (x * weights).sum(1, keepdims=True) / total
        if ddof == 0:
            factor = total
        elif aweights is None:
            factor = total - ddof
        else:
            factor = total - ddof * (weights * asarray(aweights)).sum() / total
    centered = x - average
    weighted = centered if weights is None else centered * weights
    product = weighted @ lax.transpose(_conjugate(centered), (1, 0)) / factor
    return product[0, 0] if product.shape == (1, 1) else product


def _conjugate(x: Any) -> Any:
    return lax.conj(x) if dtypes.kind_of(x.dtype) == "c" else x


def _variables(x: Any, rowvar: bool, as_rows: bool) -> Any:
    """A matrix whose rows are variables."""
    if x.ndim < 2:
        x = lax.reshape(x, (1, x.size))
    return x if as_rows else lax.transpose(x, (1, 0))


def _observation_weights(x: Any, fweights: Any, aweights: Any) -> Any:
    weights = None
    for name, w in (("fweights", fweights), ("aweights", aweights)):
        if w is None:
            continue
        w = ensure_arraylike("cov", w)
        if w.ndim > 1:
            raise RuntimeError(f"cannot handle multidimensional {name}")
        if w.shape[0] != x.shape[1]:
            raise RuntimeError(f"incompatible numbers of samples and {name}")
        if name == "fweights" and dtypes.kind_of(w.dtype) not in "iu":
            raise TypeError("fweights must be integer.")
        w = abs(w)
        weights = w if weights is None else weights * w
    return (
        None
        if weights is None
        else convert_with_weak_type(weights, dtypes.to_real_dtype(x.dtype), False)
    )


@compiled_when_eager("rowvar", "dtype")
def corrcoef(x: Any, y: Any = None, rowvar: bool = True, dtype: Any = None) -> Any:
    """The matrix of correlation coefficients of variables; see `cov`.

    >>> import pullback.numpy as jnp
    >>> jnp.corrcoef(jnp.array([[0., 2.], [2., 0.]]))[0, 0]
    Array(1., dtype=float32)
    """
    c = cov(ensure_arraylike("corrcoef", x), None if y is None else asarray(y), rowvar, dtype=dtype)
    if c.ndim == 0:
        return c / c
    deviation = lax.sqrt(c.diagonal().real)
    n = deviation.shape[0]
    c = c / lax.reshape(deviation, (n, 1)) / lax.reshape(deviation, (1, n))
    if dtypes.kind_of(c.dtype) == "c":
        return lax.complex(clip(c.real, -1, 1), clip(c.imag, -1, 1))
    return clip(c, -1, 1)


# --------------------------------------------------------------------------- interpolation


@compiled_when_eager("left", "right", "period")
def interp(
    x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: Any = None
) -> Any:
    """Linear interpolation at `x` between the points (xp, fp), `xp` increasing.

    Outside: the first and last value, or `left` and `right` (numbers or "extrapolate"); with
    `period`, coordinates are taken modulo it.

    >>> import pullback.numpy as jnp
    >>> jnp.interp(jnp.array([0.5, 9.]), jnp.array([0., 1.]), jnp.array([0., 10.]))
    Array([ 5., 10.], dtype=float32)
    """
    check_arraylike("interp", x, xp, fp)
    x, xp = promote_dtypes_inexact(asarray(x), asarray(xp))
    (fp,) = promote_dtypes_inexact(asarray(fp))
    if xp.ndim != 1 or fp.shape != xp.shape:
        raise ValueError("xp and fp must be one-dimensional arrays of equal size")
    if period is not None:
        x, xp, fp = _periodic(x, xp, fp, period)
        left = right = None
    n = xp.shape[0]
    i = clip(searchsorted(xp, x, side="right"), 1, max(n - 1, 0))
    low, high = i - 1, i
    df, dx, delta = fp[high] - fp[low], xp[high] - xp[low], x - xp[low]
    epsilon = float(np.spacing(float(finfo(xp.dtype).eps)))
    degenerate = abs(dx) <= epsilon
    safe = where(degenerate, 1, dx)
    f = where(degenerate, fp[low], fp[low] + (delta / safe) * df)
    if n == 1:
        f = broadcast_to_shape(fp[0], x.shape)
    if period is not None:
        return f
    f = _outside("left", left, f, x < xp[0], fp[0])
    return _outside("right", right, f, x > xp[n - 1], fp[n - 1])


def _periodic(x: Any, xp: Any, fp: Any, period: Any) -> tuple[Any, Any, Any]:
    """Coordinates in one period, in order, with a point of the neighbour on each side."""
    period = abs(convert_with_weak_type(asarray(period), xp.dtype, False))
    x, xp = x % period, xp % period
    xp, fp = lax.sort((xp, fp), num_keys=1)
    xp = concatenate([xp[-1:] - period, xp, xp[:1] + period])
    return x, xp, concatenate([fp[-1:], fp, fp[:1]])


def _outside(name: str, value: Any, f: Any, outside: Any, end: Any) -> Any:
    if isinstance(value, str):
        if value != "extrapolate":
            raise ValueError(
                f"the only valid string value of `{name}` is 'extrapolate', got {value!r}"
            )
        return f
    return where(outside, end if value is None else value, f)
