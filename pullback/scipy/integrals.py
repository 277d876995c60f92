"""Integrals, hypergeometric and Bessel functions, harmonics of `jax.scipy.special`."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from pullback import lax
from pullback import numpy as jnp
from pullback.core import dtypes
from pullback.core.trace import concrete_or_error
from pullback.numpy.operands import strong
from pullback.ops import hypergeometric, integrals
from pullback.scipy.logarithms import one, operands, real

__all__ = [
    "bessel_jn",
    "dawsn",
    "exp1",
    "expi",
    "expn",
    "fresnel",
    "hyp1f1",
    "hyp2f1",
    "owens_t",
    "sici",
    "spence",
    "sph_harm_y",
    "wofz",
]


def _real(name: str, *args: Any) -> list[Any]:
    return [strong(x) for x in real(name, *args)]


def _spread(*args: Any) -> list[Any]:
    return list(jnp.broadcast_arrays(*args))


def dawsn(x: Any) -> Any:
    """Dawson's integral: exp(-x²) times the integral of exp(t²) from 0 to x.

    >>> import pullback.scipy as jsp
    >>> round(float(jsp.special.dawsn(1.0)), 4)
    0.5381
    """
    return integrals.dawson(*_real("dawsn", x))


def exp1(x: Any) -> Any:
    """The exponential integral E_1, the integral of exp(-t) / t from x on; NaN for x < 0.

    >>> import pullback.scipy as jsp
    >>> round(float(jsp.special.exp1(1.0)), 4)
    0.2194
    """
    return integrals.exponential_integral_1(*_real("exp1", x))


def expi(x: Any) -> Any:
    """The exponential integral Ei, the integral of exp(t) / t up to x (its principal value).

    >>> import pullback.scipy as jsp
    >>> round(float(jsp.special.expi(1.0)), 4)
    1.8951
    """
    return integrals.exponential_integral_i(*_real("expi", x))


def expn(n: Any, x: Any) -> Any:
    """The exponential integral E_n for whole n >= 0: the integral of exp(-x t) / t^n from 1 on.

    >>> import pullback.scipy as jsp
    >>> round(float(jsp.special.expn(2, 1.0)), 4)
    0.1485
    """
    return integrals.exponential_integral_n(*_spread(*_real("expn", n, x)))


def fresnel(x: Any) -> tuple[Any, Any]:
    """Fresnel's integrals (S, C) of sin(pi t² / 2) and cos(pi t² / 2) from 0 to x.

    >>> import pullback.scipy as jsp
    >>> [round(float(v), 4) for v in jsp.special.fresnel(1.0)]
    [0.4383, 0.7799]
    """
    (x,) = operands("fresnel", x)
    if dtypes.kind_of(x.dtype) == "c":
        raise NotImplementedError("Support for complex-valued inputs is not implemented yet.")
    x = strong(x)
    return integrals.fresnel_sine(x), integrals.fresnel_cosine(x)


def sici(x: Any) -> tuple[Any, Any]:
    """The sine and the cosine integral (Si, Ci) of a real x.

    >>> import pullback.scipy as jsp
    >>> [round(float(v), 4) for v in jsp.special.sici(1.0)]
    [0.9461, 0.3374]
    """
    (x,) = operands("sici", x)
    if dtypes.kind_of(x.dtype) == "c":
        raise ValueError(f"Argument `x` to sici must be real-valued. Got dtype {x.dtype}.")
    x = strong(x)
    return integrals.sine_integral(x), integrals.cosine_integral(x)


def spence(x: Any) -> Any:
    """Spence's function, the integral of log(t) / (1 - t) from 1 to x: Li_2(1 - x).

    `x` is floating point; TypeError else.

    >>> import pullback.scipy as jsp
    >>> round(float(jsp.special.spence(0.0)), 4)
    1.6449
    """
    x = jnp.asarray(x)
    if dtypes.kind_of(x.dtype) != "f":
        raise TypeError(f"x.dtype={x.dtype} is not supported, see docstring for supported types.")
    return integrals.spence(strong(x))


def owens_t(h: Any, a: Any) -> Any:
    """Owen's T: P(X > h and 0 < Y < a X) for two independent standard normal variables.

    >>> import pullback.scipy as jsp
    >>> round(float(jsp.special.owens_t(1.0, 2.0)), 5)
    0.07847
    """
    h, a = _real("owens_t", h, a)
    dtype = dtypes.promote_types(h.dtype, dtypes.default_float())
    return integrals.owens_t(*_spread(*(lax.convert_element_type(x, dtype) for x in (h, a))))


def wofz(z: Any) -> Any:
    """The Faddeeva function exp(-z²) erfc(-i z), of complex numbers.

    >>> import pullback.scipy as jsp
    >>> complex(jsp.special.wofz(0.0))
    (1+0j)
    """
    (z,) = operands("wofz", z)
    if dtypes.kind_of(z.dtype) != "c":
        z = z.astype(dtypes.to_complex_dtype(z.dtype))
    x, y = z.real, z.imag
    return strong(lax.complex(integrals.faddeeva_real(x, y), integrals.faddeeva_imag(x, y)))


# --------------------------------------------------------------------------- hypergeometric


def hyp1f1(a: Any, b: Any, x: Any) -> Any:
    """Kummer's confluent hypergeometric function M(a, b, x), with slopes in all three.

    >>> import pullback.scipy as jsp
    >>> round(float(jsp.special.hyp1f1(1.0, 2.0, 1.0)), 4)
    1.7183
    """
    return hypergeometric.hyp1f1(*_spread(*_real("hyp1f1", a, b, x)))


def hyp2f1(a: Any, b: Any, c: Any, x: Any) -> Any:
    """Gauss's hypergeometric function F(a, b; c; x), with slopes in all four.

    Slopes in a, b and c are power series, and NaN for x >= 1.

    >>> import pullback.scipy as jsp
    >>> round(float(jsp.special.hyp2f1(1.0, 1.0, 2.0, 0.5)), 4)
    1.3863
    """
    return hypergeometric.hyp2f1(*_spread(*_real("hyp2f1", a, b, c, x)))


# --------------------------------------------------------------------------- Bessel, harmonics


def bessel_jn(z: Any, *, v: int, n_iter: int = 50) -> Any:
    """Bessel functions of the first kind J_0(z) ... J_v(z), of shape (v + 1, *z.shape).

    `n_iter` is accepted; every order is computed to full precision by itself.

    >>> import pullback.scipy as jsp
    >>> jsp.special.bessel_jn(1.5, v=1).round(4)
    Array([0.5118, 0.5579], dtype=float32)
    """
    z = one("bessel_jn", z)
    if dtypes.kind_of(z.dtype) == "c":
        raise TypeError(f"bessel_jn takes real numbers, got {z.dtype}")
    v = operator.index(concrete_or_error(operator.index, v, "the order of bessel_jn"))
    orders = jnp.arange(v + 1, dtype=z.dtype).reshape(-1, *(1,) * z.ndim)
    return integrals.bessel_jv(*_spread(orders, z))


def _legendre_tables(n_max: int) -> tuple[Any, Any, Any]:
    """Coefficients by (n, m) of the recurrence of normalised associated Legendre functions.

    P_n^m = up (cos P_{n-1}^m - down P_{n-2}^m) for m < n, P_n^n = corner sin P_{n-1}^{n-1}, with
    the normalisation and the phase of spherical harmonics (DLMF 14.10.3, 14.30.1).
    """
    n, m = np.meshgrid(np.arange(n_max + 1.0), np.arange(n_max + 1.0), indexing="ij")
    with np.errstate(all="ignore"):
        up = np.sqrt((4 * n * n - 1) / (n * n - m * m))
        down = np.sqrt(((n - 1) ** 2 - m * m) / (4 * (n - 1) ** 2 - 1))
    inner = m < n
    up, down = np.where(inner, up, 0), np.where(inner & (m < n - 1), down, 0)
    degrees = np.arange(n_max + 1.0)
    corner = -np.sqrt((2 * degrees + 1) / np.maximum(2 * degrees, 1))
    return up, down, corner


def _legendre(n: Any, m: Any, theta: Any, n_max: int) -> Any:
    """The normalised functions of degrees n and orders m at the angles, all of shape (points,)."""
    dtype = theta.dtype
    tables = [jnp.asarray(t.astype(dtype)) for t in _legendre_tables(n_max)]
    cos, sin = jnp.cos(theta), jnp.sin(theta)
    orders = jnp.arange(n_max + 1)[:, None]
    first = jnp.where(orders == 0, math.sqrt(1 / (4 * math.pi)), 0).astype(dtype)
    row = jnp.broadcast_to(first, (n_max + 1, theta.shape[0]))
    picked = orders == m[None, :]

    def pick(row: Any) -> Any:
        return jnp.sum(jnp.where(picked, row, 0), axis=0)

    def step(state: Any, given: Any) -> Any:
        last, before, out = state
        k, up, down, corner = given
        row = up[:, None] * (cos * last - down[:, None] * before)
        diagonal = corner * sin * jnp.roll(last, 1, axis=0)
        row = jnp.where(orders == k, diagonal, row)
        return (row, last, jnp.where(n == k, pick(row), out)), None

    out = jnp.where(n == 0, pick(row), 0)
    degrees = jnp.arange(1, n_max + 1)
    rest = [t[1:] for t in tables]
    return lax.scan(step, (row, jnp.zeros_like(row), out), (degrees, *rest))[0][2]


def sph_harm_y(
    n: Any, m: Any, theta: Any, phi: Any, diff_n: int | None = None, n_max: int | None = None
) -> Any:
    """Spherical harmonics Y_n^m of degree n, order m, polar angle theta and azimuth phi.

    The arguments broadcast; the result is complex.  `n_max`, the largest degree, is needed where n
    is traced.  0 where |m| > n.

    >>> import pullback.numpy as jnp, pullback.scipy as jsp
    >>> y = jsp.special.sph_harm_y(jnp.array([1]), jnp.array([0]), 0.0, 0.0)
    >>> round(float(y[0].real), 4)
    0.4886
    """
    if diff_n is not None:
        raise NotImplementedError(
            "The 'diff_n' argument to jax.scipy.special.sph_harm_y is not supported."
        )
    n, m = jnp.asarray(n), jnp.asarray(m)
    theta, phi = operands("sph_harm_y", theta, phi)
    if n_max is None:
        message = "The `n_max` argument of sph_harm_y has to be given where n is traced."
        n_max = int(np.max(concrete_or_error(np.asarray, n, message), initial=0))
    n_max = operator.index(n_max)
    shape = jnp.broadcast_shapes(n.shape, m.shape, theta.shape, phi.shape)
    n, m, theta, phi = (jnp.broadcast_to(x, shape).reshape(-1) for x in (n, m, theta, phi))
    size = abs(m)
    legendre = _legendre(n, size, theta, n_max)
    angle = size.astype(phi.dtype) * phi
    value = lax.complex(legendre * jnp.cos(angle), legendre * jnp.sin(angle))
    odd = (1 - 2 * (size % 2)).astype(phi.dtype)
    return jnp.where(m < 0, odd * value.conj(), value).reshape(shape)
