"""Cumulative sums and products, and differences."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from pullback import lax
from pullback.core import dtypes
from pullback.numpy.arrays import broadcast_to_shape, convert_with_weak_type
from pullback.numpy.creation import asarray
from pullback.numpy.joining import concatenate
from pullback.numpy.predicates import isnan
from pullback.numpy.promotion import (
    canonical_axes,
    canonical_axis,
    check_arraylike,
    check_no_out,
    ensure_arraylike,
    promote_dtypes,
    promote_dtypes_inexact,
)
from pullback.numpy.reductions import wide_integer
from pullback.numpy.shaping import moveaxis, ravel
from pullback.runtime.composites import compiled_when_eager
from pullback.runtime.replays import replayed_when_eager

__all__ = [
    "cumprod",
    "cumsum",
    "cumulative_prod",
    "cumulative_sum",
    "diff",
    "ediff1d",
    "gradient",
    "nancumprod",
    "nancumsum",
    "trapezoid",
    "unwrap",
]


def _cumulative(
    name: str,
    scan: Callable[..., Any],
    a: Any,
    axis: Any,
    dtype: Any,
    out: None,
    fill_nan: int | None,
    wide: bool,
) -> Any:
    check_no_out(name, out)
    a = ensure_arraylike(name, a)
    if axis is None or a.ndim == 0:
        a, axis = ravel(a), 0
    axis = canonical_axis(axis, a.ndim)
    if fill_nan is not None:
        a = lax.select(isnan(a), lax.full_like(a, fill_nan), a)
    wanted = None if dtype is None else dtypes.check_user_dtype(dtype, name)
    dtype = wide_integer(a.dtype, wide) if wanted is None else wanted
    a = convert_with_weak_type(a, dtype, False)
    if a.dtype != bool:
        return scan(a, axis)
    counts = scan(lax.convert_element_type(a, dtypes.default_int()), axis)
    return lax.convert_element_type(counts, dtype)


@replayed_when_eager
def cumsum(a: Any, axis: Any = None, dtype: Any = None, out: None = None) -> Any:
    """The sums of the first one, two, three ... elements along an axis, or flattened.

    >>> import pullback.numpy as jnp
    >>> jnp.cumsum(jnp.array([1, 2, 3]))
    Array([1, 3, 6], dtype=int32)
    """
    return _cumulative("cumsum", lax.cumsum, a, axis, dtype, out, None, False)


@replayed_when_eager
def cumprod(a: Any, axis: Any = None, dtype: Any = None, out: None = None) -> Any:
    """The products of the first one, two, three ... elements along an axis, or flattened.

    >>> import pullback.numpy as jnp
    >>> jnp.cumprod(jnp.array([1, 2, 3]))
    Array([1, 2, 6], dtype=int32)
    """
    return _cumulative("cumprod", lax.cumprod, a, axis, dtype, out, None, False)


@compiled_when_eager("axis", "dtype")
def nancumsum(a: Any, axis: Any = None, dtype: Any = None, out: None = None) -> Any:
    """`cumsum` that counts nan as 0.

    >>> import pullback.numpy as jnp
    >>> jnp.nancumsum(jnp.array([1., jnp.nan, 3.]))
    Array([1., 1., 4.], dtype=float32)
    """
    return _cumulative("nancumsum", lax.cumsum, a, axis, dtype, out, 0, False)


@compiled_when_eager("axis", "dtype")
def nancumprod(a: Any, axis: Any = None, dtype: Any = None, out: None = None) -> Any:
    """`cumprod` that counts nan as 1.

    >>> import pullback.numpy as jnp
    >>> jnp.nancumprod(jnp.array([1., jnp.nan, 3.]))
    Array([1., 1., 3.], dtype=float32)
    """
    return _cumulative("nancumprod", lax.cumprod, a, axis, dtype, out, 1, False)


def _standard(
    name: str,
    scan: Callable[..., Any],
    first: int,
    x: Any,
    axis: Any,
    dtype: Any,
    initial: bool,
    wide: bool,
) -> Any:
    x = ensure_arraylike(name, x)
    if x.ndim == 0:
        raise ValueError("The input must be non-scalar to take a cumulative sum or product.")
    if axis is None:
        if x.ndim > 1:
            raise ValueError(
                f"The input array has rank {x.ndim}, however axis was not set to an explicit "
                "value. The axis argument is only optional for one-dimensional arrays."
            )
        axis = 0
    axis = canonical_axis(axis, x.ndim)
    out = _cumulative(name, scan, x, axis, dtype, None, None, wide)
    if initial:
        shape = (*x.shape[:axis], 1, *x.shape[axis + 1 :])
        out = lax.concatenate([lax.full(shape, first, out.dtype), out], axis)
    return out


def cumulative_sum(
    x: Any, /, *, axis: Any = None, dtype: Any = None, include_initial: bool = False
) -> Any:
    """`cumsum` of the array API: integers widen, and the sum of nothing may come first.

    >>> import pullback.numpy as jnp
    >>> jnp.cumulative_sum(jnp.array([1, 2]), include_initial=True)
    Array([0, 1, 3], dtype=int32)
    """
    return _standard("cumulative_sum", lax.cumsum, 0, x, axis, dtype, include_initial, True)


def cumulative_prod(
    x: Any, /, *, axis: Any = None, dtype: Any = None, include_initial: bool = False
) -> Any:
    """`cumprod` of the array API: the product of nothing may come first. Integers stay as they are.

    >>> import pullback.numpy as jnp
    >>> jnp.cumulative_prod(jnp.array([3, 2]), include_initial=True)
    Array([1, 3, 6], dtype=int32)
    """
    return _standard("cumulative_prod", lax.cumprod, 1, x, axis, dtype, include_initial, False)


# --------------------------------------------------------------------------- differences


def _neighbours(a: Any, axis: int) -> tuple[Any, Any]:
    n = a.shape[axis]
    return (
        lax.slice_in_dim(a, min(1, n), n, axis=axis),
        lax.slice_in_dim(a, 0, max(n - 1, 0), axis=axis),
    )


@compiled_when_eager("n", "axis")
def diff(a: Any, n: int = 1, axis: int = -1, prepend: Any = None, append: Any = None) -> Any:
    """The differences of neighbours along an axis, `n` times over; of bools, whether they differ.

    >>> import pullback.numpy as jnp
    >>> jnp.diff(jnp.array([1, 4, 9]))
    Array([3, 5], dtype=int32)
    """
    a = ensure_arraylike("diff", a)
    n = operator.index(n)
    if n < 0:
        raise ValueError(f"order must be non-negative but got {n}")
    if a.ndim == 0:
        raise ValueError(f"diff requires input that is at least one dimensional; got {a.aval}")
    axis = canonical_axis(axis, a.ndim)
    if n == 0:
        return a
    ends = [_end("diff", a, axis, prepend), a, _end("diff", a, axis, append)]
    parts = [x for x in ends if x is not None]
    a = concatenate(parts, axis) if len(parts) > 1 else a
    for _ in range(n):
        behind, before = _neighbours(a, axis)
        a = lax.ne(behind, before) if a.dtype == bool else lax.sub(behind, before)
    return a


def _end(name: str, a: Any, axis: int, value: Any) -> Any:
    if value is None:
        return None
    check_arraylike(name, value)
    value = asarray(value)
    if value.ndim == 0:
        value = broadcast_to_shape(value, (*a.shape[:axis], 1, *a.shape[axis + 1 :]))
    return value


@compiled_when_eager()
def ediff1d(ary: Any, to_end: Any = None, to_begin: Any = None) -> Any:
    """The differences of neighbours of the flattened array, between the given ends.

    >>> import pullback.numpy as jnp
    >>> jnp.ediff1d(jnp.array([1, 4, 9]), to_begin=0)
    Array([0, 3, 5], dtype=int32)
    """
    ary = ravel(ensure_arraylike("ediff1d", ary))
    result = lax.sub(*_neighbours(ary, 0))
    if to_begin is not None:
        begin = convert_with_weak_type(ravel(asarray(to_begin)), ary.dtype, False)
        result = lax.concatenate([begin, result], 0)
    if to_end is not None:
        end = convert_with_weak_type(ravel(asarray(to_end)), ary.dtype, False)
        result = lax.concatenate([result, end], 0)
    return result


@compiled_when_eager("axis", "edge_order")
def gradient(f: Any, *varargs: Any, axis: Any = None, edge_order: int | None = None) -> Any:
    """Derivatives of samples by central differences, one-sided at the ends: an array an axis.

    Spacing: nothing (1), one number for all axes, or one for each: a number or coordinates.

    >>> import pullback.numpy as jnp
    >>> jnp.gradient(jnp.array([1., 2., 4.]))
    Array([1. , 1.5, 2. ], dtype=float32)
    """
    if edge_order is not None and edge_order != 1:
        raise NotImplementedError(
            "The 'edge_order' argument to jnp.gradient is only supported for 1."
        )
    check_arraylike("gradient", f, *varargs)
    f, *spacing = promote_dtypes_inexact(asarray(f), *(asarray(v) for v in varargs))
    axes = canonical_axes(axis, f.ndim)
    if len(axes) == 0:
        return []
    if not spacing:
        spacing = [lax.full_like(f, 1, shape=())]
    if len(spacing) == 1 and len(axes) > 1:
        spacing *= len(axes)
    if len(spacing) != len(axes):
        raise TypeError(f"Invalid number of spacing arguments {len(varargs)} for axes={axes}")
    results = [_gradient(f, h, k) for h, k in zip(spacing, axes, strict=True)]
    return results[0] if len(axes) == 1 else results


def _gradient(f: Any, h: Any, axis: int) -> Any:
    n = f.shape[axis]
    if n < 2:
        raise ValueError(
            "Shape of array too small to calculate a numerical gradient, at least 2 elements are "
            "required."
        )
    uneven = h.ndim == 1
    if h.ndim > 1 or (uneven and h.shape[0] != n):
        raise ValueError("Spacing arguments must be scalars or 1D arrays of the axis' length")
    if uneven:
        h = lax.sub(*_neighbours(h, 0))
        h = lax.reshape(h, (n - 1, *(1,) * (f.ndim - 1 - axis)))

    def at(start: int, stop: int) -> Any:
        return lax.slice_in_dim(f, start, stop, axis=axis)

    first = (at(1, 2) - at(0, 1)) / (h[0:1] if uneven else h)
    last = (at(n - 1, n) - at(n - 2, n - 1)) / (h[n - 2 : n - 1] if uneven else h)
    if uneven:
        inner = _uneven_inner(at(0, n - 2), at(1, n - 1), at(2, n), h)
    else:
        inner = (at(2, n) - at(0, n - 2)) / (2 * h)
    return lax.concatenate([first, inner, last], axis)


def _uneven_inner(before: Any, here: Any, behind: Any, h: Any) -> Any:
    """Second order for uneven spacing (Quarteroni, Sacco, Saleri, Numerical Mathematics, 10.10)."""
    a, b = h[:-1], h[1:]
    return -b / (a * (a + b)) * before + (b - a) / (a * b) * here + a / (b * (a + b)) * behind


@compiled_when_eager("axis")
def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Any:
    """The integral of samples by the trapezoidal rule.

    >>> import pullback.numpy as jnp
    >>> jnp.trapezoid(jnp.array([1., 2., 3.]))
    Array(4., dtype=float32)
    """
    check_arraylike("trapezoid", y, *(() if x is None else (x,)))
    if x is None:
        y, step = promote_dtypes(*promote_dtypes_inexact(asarray(y)), asarray(dx))
        y = moveaxis(y, axis, -1)
    else:
        y, x = promote_dtypes_inexact(asarray(y), asarray(x))
        if x.ndim != 1:
            x = moveaxis(x, axis, -1)
        y = moveaxis(y, axis, -1)
        step = x[..., 1:] - x[..., :-1]
    return (step * (y[..., 1:] + y[..., :-1])).sum(-1) * 0.5


@compiled_when_eager("axis")
def unwrap(p: Any, discont: Any = None, axis: int = -1, period: Any = 6.283185307179586) -> Any:
    """Phases with jumps of more than half a period replaced by their complement.

    >>> import pullback.numpy as jnp
    >>> jnp.unwrap(jnp.array([0, 3, 5]), period=4)
    Array([ 0, -1,  1], dtype=int32)
    """
    p = ensure_arraylike("unwrap", p)
    if dtypes.kind_of(p.dtype) == "c":
        raise ValueError("jnp.unwrap does not support complex inputs.")
    p, period = promote_dtypes(p, asarray(period))
    if p.shape[axis] == 0:
        return p
    p, period = (convert_with_weak_type(x, p.dtype, False) for x in (p, period))
    integral = dtypes.kind_of(p.dtype) in "iu"
    half = period // 2 if integral else period / 2
    low = -half
    jump = diff(p, axis=axis)
    reduced = (jump - low) % period + low
    if integral:
        even = period % 2 == 0
        at_edge = (reduced == low) & (jump > 0) & even
    else:
        at_edge = (reduced == low) & (jump > 0)
    reduced = _where(at_edge, half, reduced)
    correction = reduced - jump
    limit = half if discont is None else discont
    correction = _where(abs(jump) < limit, lax.full_like(correction, 0), correction)
    k = canonical_axis(axis, p.ndim)
    rest = lax.slice_in_dim(p, 1, p.shape[k], axis=k) + cumsum(correction, k)
    return lax.concatenate([lax.slice_in_dim(p, 0, 1, axis=k), rest], k)


def _where(mask: Any, a: Any, b: Any) -> Any:
    return lax.select(mask, broadcast_to_shape(asarray(a, b.dtype), b.shape), b)
