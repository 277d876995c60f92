"""Polynomials by their coefficients, highest power first; convolution and correlation."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from pullback import lax
from pullback.core import dtypes
from pullback.core.trace import concrete_or_error
from pullback.numpy import reductions
from pullback.numpy.arrays import broadcast_to_shape, convert_with_weak_type
from pullback.numpy.creation import asarray
from pullback.numpy.joining import concatenate, trim_zeros
from pullback.numpy.least_squares import lstsq
from pullback.numpy.matrices import eye, vander
from pullback.numpy.operands import strong
from pullback.numpy.promotion import (
    check_arraylike,
    ensure_arraylike,
    promote_dtypes,
    promote_dtypes_inexact,
)
from pullback.numpy.shaping import atleast_1d, roll
from pullback.numpy.solvers import eigvals, inv
from pullback.numpy.sorting import argsort
from pullback.runtime.composites import compiled_when_eager

__all__ = [
    "convolve",
    "correlate",
    "poly",
    "polyadd",
    "polyder",
    "polydiv",
    "polyfit",
    "polyint",
    "polymul",
    "polysub",
    "polyval",
    "roots",
]


@compiled_when_eager("unroll")
def polyval(p: Any, x: Any, *, unroll: int = 16) -> Any:
    """The polynomial with coefficients `p` at `x`, by Horner's rule; `p[0]` broadcasts with `x`.

    >>> import pullback.numpy as jnp
    >>> jnp.polyval(jnp.array([1, 2, 3]), 2)
    Array(11, dtype=int32)
    """
    check_arraylike("polyval", p, x)
    p, x = promote_dtypes(asarray(p), asarray(x))
    shape = lax.broadcast_shapes(p.shape[1:], x.shape)
    y = lax.full_like(x, 0, shape=shape) if p.ndim > 1 else lax.full_like(x, 0)
    y = convert_with_weak_type(y, p.dtype, False) if p.shape[0] else y
    if p.shape[0] <= unroll:
        for k in range(p.shape[0]):
            y = y * x + p[k]
        return y
    return lax.fori_loop(0, p.shape[0], lambda k, y: y * x + p[k], y)


def _added(a1: Any, a2: Any) -> Any:
    """The shorter one added to the end of the longer one."""
    a1, a2 = (a1, a2) if a1.shape[0] >= a2.shape[0] else (a2, a1)
    return a1.at[a1.shape[0] - a2.shape[0] :].add(a2)


def polyadd(a1: Any, a2: Any) -> Any:
    """The sum of two polynomials.

    >>> import pullback.numpy as jnp
    >>> jnp.polyadd(jnp.array([1, 2]), jnp.array([3, 4, 5]))
    Array([3, 5, 7], dtype=int32)
    """
    return _added(*promote_dtypes(*ensure_arraylike("polyadd", a1, a2)))


def polysub(a1: Any, a2: Any) -> Any:
    """The difference of two polynomials.

    >>> import pullback.numpy as jnp
    >>> jnp.polysub(jnp.array([1, 2]), jnp.array([3, 4, 5]))
    Array([-3, -3, -3], dtype=int32)
    """
    a1, a2 = promote_dtypes(*ensure_arraylike("polysub", a1, a2))
    return _added(a1, lax.neg(a2))


def polymul(a1: Any, a2: Any, *, trim_leading_zeros: bool = False) -> Any:
    """The product of two polynomials.

    >>> import pullback.numpy as jnp
    >>> jnp.polymul(jnp.array([1, 1]), jnp.array([1, -1]))
    Array([ 1.,  0., -1.], dtype=float32)
    """
    check_arraylike("polymul", a1, a2)
    a1, a2 = promote_dtypes_inexact(asarray(a1), asarray(a2))
    if trim_leading_zeros and (len(a1) > 1 or len(a2) > 1):
        a1, a2 = trim_zeros(a1, trim="f"), trim_zeros(a2, trim="f")
    a1 = a1 if len(a1) else lax.full((1,), 0, a2.dtype)
    a2 = a2 if len(a2) else lax.full((1,), 0, a1.dtype)
    return convolve(a1, a2, mode="full")


def polydiv(u: Any, v: Any, *, trim_leading_zeros: bool = False) -> tuple[Any, Any]:
    """Quotient and remainder of two polynomials.

    >>> import pullback.numpy as jnp
    >>> jnp.polydiv(jnp.array([1., 3., 2.]), jnp.array([1., 1.]))[0]
    Array([1., 2.], dtype=float32)
    """
    check_arraylike("polydiv", u, v)
    u, v = promote_dtypes_inexact(asarray(u), asarray(v))
    m, n = len(u) - 1, len(v) - 1
    scale = 1.0 / v[0]
    coefficients = []
    for k in range(m - n + 1):
        d = scale * u[k]
        coefficients.append(d)
        u = u.at[k : k + n + 1].add(-d * v)
    quotient = lax.full((max(m - n + 1, 1),), 0, u.dtype)
    if coefficients:
        quotient = strong(lax.concatenate([lax.expand_dims(d, (0,)) for d in coefficients], 0))
    return quotient, trim_zeros(u, trim="f") if trim_leading_zeros else u


def polyder(p: Any, m: int = 1) -> Any:
    """The derivative of order `m` of a polynomial.

    >>> import pullback.numpy as jnp
    >>> jnp.polyder(jnp.array([1, 2, 3]))
    Array([2., 2.], dtype=float32)
    """
    m = operator.index(concrete_or_error(None, m, "'m' argument of jnp.polyder"))
    (p,) = promote_dtypes_inexact(ensure_arraylike("polyder", p))
    if m < 0:
        raise ValueError("Order of derivative must be positive")
    if m == 0:
        return p
    n = p.shape[0]
    powers = np.arange(n - 1, -1, -1.0)
    factor = np.prod([np.maximum(powers - k, 0) for k in range(m)], axis=0)[: max(n - m, 0)]
    kept = lax.slice_in_dim(p, 0, max(n - m, 0))
    return lax.mul(kept, asarray(factor, p.dtype))


def polyint(p: Any, m: int = 1, k: Any = None) -> Any:
    """The integral of order `m` of a polynomial, with the constants `k`.

    >>> import pullback.numpy as jnp
    >>> jnp.polyint(jnp.array([2, 2]))
    Array([1., 2., 0.], dtype=float32)
    """
    m = operator.index(concrete_or_error(None, m, "'m' argument of jnp.polyint"))
    if m < 0:
        raise ValueError("Order of integral must be positive (see polyder)")
    check_arraylike("polyint", p)
    p, constants = promote_dtypes_inexact(asarray(p), asarray(0 if k is None else k))
    constants = atleast_1d(constants)
    if constants.shape == (1,):
        constants = broadcast_to_shape(constants, (m,))
    if constants.shape != (m,):
        raise ValueError("k must be a scalar or a rank-1 array of length 1 or m.")
    if m == 0:
        return p
    grown = lax.concatenate([p, constants], 0)
    n = grown.shape[0]
    powers = np.arange(n - 1, -1, -1.0)
    divisor = np.ones(n)
    for j in range(m):
        divisor *= np.maximum(powers - j, 1)
    return lax.div(grown, asarray(divisor, p.dtype))


def poly(seq_of_zeros: Any) -> Any:
    """The coefficients of the monic polynomial with the given zeros, or those of a matrix.

    >>> import pullback.numpy as jnp
    >>> jnp.poly(jnp.array([1., 2.]))
    Array([ 1., -3.,  2.], dtype=float32)
    """
    (zeros,) = promote_dtypes_inexact(ensure_arraylike("poly", seq_of_zeros))
    if zeros.ndim == 2 and zeros.shape[0] == zeros.shape[1] and zeros.shape[0]:
        zeros = eigvals(zeros)
    zeros = atleast_1d(zeros)
    if zeros.ndim != 1:
        raise ValueError("input must be 1d or non-empty square 2d array.")
    coefficients = lax.full((1,), 1, zeros.dtype)
    for k in range(zeros.shape[0]):
        factor = concatenate([lax.full((1,), 1, zeros.dtype), -zeros[k : k + 1]])
        coefficients = convolve(coefficients, factor, mode="full")
    return coefficients


def roots(p: Any, *, strip_zeros: bool = True) -> Any:
    """The zeros of a polynomial: the eigenvalues of its companion matrix.

    `strip_zeros` drops vanishing coefficients at both ends, which needs their values. Without it
    the function can be compiled; each coefficient that vanishes in front makes a nan at the end.

    >>> import pullback.numpy as jnp
    >>> jnp.roots(jnp.array([2., -4.]))
    Array([2.+0.j], dtype=complex64)
    """
    (p,) = promote_dtypes_inexact(atleast_1d(ensure_arraylike("roots", p)))
    if p.ndim != 1:
        raise ValueError("Input must be a rank-1 array.")
    count = p.shape[0]
    if strip_zeros:
        front = trim_zeros(p, "f")
        p = trim_zeros(front, "b")
        count = front.shape[0] - p.shape[0]
    dtype = dtypes.to_complex_dtype(p.dtype)
    if not strip_zeros:
        return _roots_in_order(p, dtype)
    return concatenate([_companion_roots(p, dtype), lax.full((count,), 0, dtype)])


def _roots_in_order(p: Any, dtype: Any) -> Any:
    """Zeros by falling size, and nan for each degree that vanishing coefficients in front take.

    These coefficients are moved to the end, where each makes a zero at the origin.
    """
    n = p.shape[0]
    if n < 2:
        return lax.full((0,), 0, dtype)
    k = lax.iota(np.dtype(np.int32), n)
    filled = lax.ne(p, lax.full_like(p, 0))
    front = reductions.min(lax.select(filled, k, lax.full_like(k, n)))
    found = _companion_roots(roll(p, lax.neg(front)), dtype)
    found = found[argsort(lax.neg(lax.abs(found)))]
    left = lax.lt(k[: n - 1], lax.sub(np.int32(n - 1), front))
    return lax.select(left, found, lax.full_like(found, np.nan + 1j * np.nan))


def _companion_roots(p: Any, dtype: Any) -> Any:
    """The eigenvalues of the companion matrix of `p`, whose first coefficient does not vanish."""
    if p.shape[0] < 2:
        return lax.full((0,), 0, dtype)
    if p.shape[0] == 2:
        return convert_with_weak_type(-p[1:] / p[0], dtype, False)
    below = eye(p.shape[0] - 2, p.shape[0] - 1, dtype=p.dtype)
    return eigvals(concatenate([(-p[1:] / p[0])[None], below]))


@compiled_when_eager("deg", "rcond", "full", "cov")
def polyfit(
    x: Any,
    y: Any,
    deg: int,
    rcond: float | None = None,
    full: bool = False,
    w: Any = None,
    cov: Any = False,
) -> Any:
    """The coefficients, highest first, of the polynomial of degree `deg` that fits best.

    `w` weighs the residuals. With `full` also the residuals, the rank, the singular values and
    `rcond`; with `cov` (True or "unscaled") the covariance of the coefficients.

    >>> import pullback.numpy as jnp
    >>> jnp.polyfit(jnp.arange(3.0), 2 * jnp.arange(3.0) + 1, 1).round(3)
    Array([2., 1.], dtype=float32)
    """
    x, y = promote_dtypes_inexact(*ensure_arraylike("polyfit", x, y))
    order = operator.index(deg) + 1
    if order < 1:
        raise ValueError("expected deg >= 0")
    if x.ndim != 1 or x.shape[0] == 0:
        raise TypeError("expected 1D non-empty vector for x")
    if y.ndim not in (1, 2) or y.shape[0] != x.shape[0]:
        raise TypeError("expected 1D or 2D array for y of the length of x")
    rcond = x.shape[0] * float(np.finfo(x.dtype).eps) if rcond is None else rcond
    left, right = vander(x, order), y
    if w is not None:
        (w,) = promote_dtypes_inexact(ensure_arraylike("polyfit", w))
        if w.ndim != 1 or w.shape[0] != y.shape[0]:
            raise TypeError("expected a 1-d array for weights, of the length of y")
        left, right = left * w[:, None], right * (w[:, None] if y.ndim == 2 else w)
    scale = lax.sqrt((left * left).sum(axis=0))
    c, residuals, rank, s = lstsq(left / scale, right, rcond)
    c = (c.T / scale).T
    if full:
        return c, residuals, rank, s, asarray(rcond)
    if not cov:
        return c
    base = inv(left.T @ left)
    if not (isinstance(cov, str) and cov == "unscaled"):
        if x.shape[0] <= order:
            raise ValueError("the number of data points must exceed order to scale the covariance")
        factor = residuals / (x.shape[0] - order)
        factor = factor[0] if y.ndim == 1 else factor
        base = base * factor if y.ndim == 1 else base[:, :, None] * factor
    return c, base


# --------------------------------------------------------------------------- convolution


def _convolved(name: str, x: Any, y: Any, mode: str, precision: Any, preferred: Any) -> Any:
    """The convolution of `x` with `y`, which is not longer, as a `conv_general_dilated`."""
    n = y.shape[0]
    if mode == "full":
        padding = (n - 1, n - 1)
    elif mode == "same":
        padding = (n // 2, n - n // 2 - 1)
    elif mode == "valid":
        padding = (0, 0)
    else:
        raise ValueError("mode must be one of ['full', 'same', 'valid']")
    out = lax.conv_general_dilated(
        lax.reshape(x, (1, 1, x.shape[0])),
        lax.reshape(lax.rev(y, (0,)), (1, 1, n)),
        (1,),
        [padding],
        precision=precision,
        preferred_element_type=preferred,
    )
    return lax.reshape(out, (out.shape[2],))


def _vectors(name: str, a: Any, v: Any) -> tuple[Any, Any]:
    check_arraylike(name, a, v)
    a, v = promote_dtypes_inexact(asarray(a), asarray(v))
    if a.ndim != 1 or v.ndim != 1:
        raise ValueError(f"{name}() only support 1-dimensional inputs.")
    if a.shape[0] == 0 or v.shape[0] == 0:
        raise ValueError(f"{name}: inputs cannot be empty, got shapes {a.shape} and {v.shape}.")
    return a, v


@compiled_when_eager("mode", "precision", "preferred_element_type")
def convolve(
    a: Any,
    v: Any,
    mode: str = "full",
    *,
    precision: Any = None,
    preferred_element_type: Any = None,
) -> Any:
    """The convolution of two vectors: all of it, as long as the longer, or the overlap only.

    >>> import pullback.numpy as jnp
    >>> jnp.convolve(jnp.array([1., 2.]), jnp.array([1., 1.]))
    Array([1., 3., 2.], dtype=float32)
    """
    a, v = _vectors("convolve", a, v)
    if a.shape[0] < v.shape[0]:
        a, v = v, a
    return _convolved("convolve", a, v, mode, precision, preferred_element_type)


@compiled_when_eager("mode", "precision", "preferred_element_type")
def correlate(
    a: Any,
    v: Any,
    mode: str = "valid",
    *,
    precision: Any = None,
    preferred_element_type: Any = None,
) -> Any:
    """The cross-correlation of two vectors: the convolution with `v` reversed and conjugated.

    >>> import pullback.numpy as jnp
    >>> jnp.correlate(jnp.array([0., 1., 2.]), jnp.array([1., 2.]))
    Array([2., 5.], dtype=float32)
    """
    a, v = _vectors("correlate", a, v)
    v = lax.conj(v) if dtypes.kind_of(v.dtype) == "c" else v
    if a.shape[0] >= v.shape[0]:
        flipped = lax.rev(v, (0,))
        return _convolved("correlate", a, flipped, mode, precision, preferred_element_type)
    out = _convolved("correlate", v, lax.rev(a, (0,)), mode, precision, preferred_element_type)
    return lax.rev(out, (0,))
