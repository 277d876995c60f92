"""Geometry, and the parts that numbers are made of: signs, exponents, real and imaginary parts."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from pullback import lax
from pullback.core import dtypes
from pullback.core.avals import aval_of
from pullback.numpy.arrays import as_array
from pullback.numpy.operands import (
    constant_like,
    kind,
    materialized,
    refuse_complex,
    refuse_complex_type,
    strong,
    strong_unless_scalar,
)
from pullback.numpy.promotion import (
    check_no_out,
    ensure_arraylike,
    promote_args_inexact,
    promote_shapes,
    shape_of,
)
from pullback.numpy.scalar_types import finfo
from pullback.runtime.composites import compiled_when_eager
from pullback.runtime.replays import replayed_when_eager

__all__ = [
    "angle",
    "arctan2",
    "atan2",
    "conj",
    "conjugate",
    "copysign",
    "deg2rad",
    "degrees",
    "fabs",
    "frexp",
    "heaviside",
    "hypot",
    "i0",
    "imag",
    "ldexp",
    "modf",
    "positive",
    "rad2deg",
    "radians",
    "real",
    "signbit",
    "sinc",
    "spacing",
]


@replayed_when_eager
def arctan2(x1: Any, x2: Any, /) -> Any:
    """The angle of the point (x2, x1), in [-pi, pi]; shapes broadcast.

    >>> import pullback.numpy as jnp
    >>> jnp.arctan2(0.0, jnp.float32(1))
    Array(0., dtype=float32)
    """
    x1, x2 = materialized(*promote_args_inexact("arctan2", x1, x2))
    return _complex_atan2(x1, x2) if kind(x1) == "c" else lax.atan2(x1, x2)


def _complex_atan2(y: Any, x: Any) -> Any:
    """-i log((x + iy) / sqrt(x² + y²))."""
    i = lax.full_like(x, 1j)
    length = lax.sqrt(lax.add(lax.mul(x, x), lax.mul(y, y)))
    angle = lax.log(lax.div(lax.add(x, lax.mul(i, y)), length))
    return lax.neg(lax.mul(i, angle))


atan2 = arctan2


@compiled_when_eager()
def hypot(x1: Any, x2: Any, /) -> Any:
    """sqrt(x1² + x2²) without overflow; shapes broadcast. Raises ValueError for complex numbers.

    >>> import pullback.numpy as jnp
    >>> jnp.hypot(jnp.array([3.]), 4.)
    Array([5.], dtype=float32)
    """
    x1, x2 = promote_args_inexact("hypot", x1, x2)
    refuse_complex("hypot", x1, x2)
    a, b = materialized(lax.abs(x1), lax.abs(x2))
    infinity = lax.full_like(a, np.inf)
    infinite = lax.bitwise_or(lax.eq(a, infinity), lax.eq(b, infinity))
    high, low = lax.max(a, b), lax.min(a, b)
    zero = lax.eq(high, lax.full_like(high, 0))
    ratio = lax.div(low, lax.select(zero, lax.full_like(high, 1), high))
    length = lax.mul(high, lax.sqrt(lax.add(lax.full_like(ratio, 1), lax.square(ratio))))
    result = lax.select(infinite, infinity, lax.select(zero, high, length))
    return strong_unless_scalar(result)


@replayed_when_eager
def deg2rad(x: Any, /) -> Any:
    """Degrees as radians.

    >>> import pullback.numpy as jnp
    >>> jnp.deg2rad(jnp.float32(0))
    Array(0., dtype=float32)
    """
    (x,) = promote_args_inexact("deg2rad", x)
    return strong_unless_scalar(lax.mul(x, constant_like(x, np.pi / 180)))


@replayed_when_eager
def rad2deg(x: Any, /) -> Any:
    """Radians as degrees.

    >>> import pullback.numpy as jnp
    >>> jnp.rad2deg(jnp.float32(0))
    Array(0., dtype=float32)
    """
    (x,) = promote_args_inexact("rad2deg", x)
    return strong_unless_scalar(lax.mul(x, constant_like(x, 180 / np.pi)))


radians = deg2rad
degrees = rad2deg


@compiled_when_eager()
def sinc(x: Any, /) -> Any:
    """sin(pi x) / (pi x), and 1 at zero, where derivatives up to the seventh are right too.

    >>> import pullback.numpy as jnp
    >>> jnp.sinc(jnp.array([0., 0.5]))[0]
    Array(1., dtype=float32)
    """
    (x,) = promote_args_inexact("sinc", x)
    x = as_array(x)
    px = lax.mul(x, constant_like(x, np.pi))
    zero = lax.eq(x, lax.full_like(x, 0))
    safe = lax.select(zero, lax.full_like(x, 1), px)
    near = _sinc_near_zero(px)
    return strong_unless_scalar(lax.select(zero, near, lax.div(lax.sin(safe), safe)))


def _sinc_near_zero(px: Any) -> Any:
    t = lax.square(px)
    series = lax.full_like(t, 1)
    for k in (42.0, 20.0, 6.0):
        series = lax.sub(lax.full_like(t, 1), lax.mul(lax.div(t, lax.full_like(t, k)), series))
    return series


@compiled_when_eager()
def i0(x: Any) -> Any:
    """The modified Bessel function of the first kind and order 0. Raises ValueError for complex.

    >>> import pullback.numpy as jnp
    >>> jnp.i0(jnp.float32(0))
    Array(1., dtype=float32)
    """
    (x,) = promote_args_inexact("i0", x)
    refuse_complex("i0", x)
    # As a product, |x| has the derivative 0 at 0, which i0 has there.
    return lax.mul(lax.exp(lax.mul(x, lax.sign(x))), lax.bessel_i0e(x))


def positive(x: Any, /) -> Any:
    """`x` itself, as an array.

    >>> import pullback.numpy as jnp
    >>> jnp.positive(jnp.array([1, -2]))
    Array([ 1, -2], dtype=int32)
    """
    return ensure_arraylike("positive", x)


def fabs(x: Any, /) -> Any:
    """The absolute value in floating point. Raises TypeError for complex numbers.

    >>> import pullback.numpy as jnp
    >>> jnp.fabs(jnp.array([-1, 2]))
    Array([1., 2.], dtype=float32)
    """
    (x,) = promote_args_inexact("fabs", x)
    refuse_complex_type("fabs", x)
    return lax.abs(x)


@replayed_when_eager
def real(val: Any, /) -> Any:
    """The real part; real arrays are returned as they are.

    >>> import pullback.numpy as jnp
    >>> jnp.real(jnp.array([1 + 2j]))
    Array([1.], dtype=float32)
    """
    val = ensure_arraylike("real", val)
    return lax.real(val) if kind(val) == "c" else val


@replayed_when_eager
def imag(val: Any, /) -> Any:
    """The imaginary part; zeros for real arrays.

    >>> import pullback.numpy as jnp
    >>> jnp.imag(jnp.array([1 + 2j]))
    Array([2.], dtype=float32)
    """
    val = ensure_arraylike("imag", val)
    return lax.imag(val) if kind(val) == "c" else lax.full_like(val, 0)


def conjugate(x: Any, /) -> Any:
    """The complex conjugate; real arrays are returned as they are.

    >>> import pullback.numpy as jnp
    >>> jnp.conjugate(jnp.array([1 + 2j]))
    Array([1.-2.j], dtype=complex64)
    """
    x = ensure_arraylike("conjugate", x)
    return lax.conj(x) if kind(x) == "c" else x


conj = conjugate


@replayed_when_eager
def angle(z: Any, deg: bool = False) -> Any:
    """The argument of complex numbers in radians, or in degrees.

    >>> import pullback.numpy as jnp
    >>> jnp.angle(jnp.array([1j, -1.]), deg=True)
    Array([ 90., 180.], dtype=float32)
    """
    z = ensure_arraylike("angle", z)
    re, im = real(z), imag(z)
    if kind(z) in "biu" or (kind(z) == "f" and z.ndim == 0):  # as in JAX, not only of integers
        re, im = (lax.convert_element_type(p, dtypes.default_float()) for p in (re, im))
    result = lax.atan2(im, re)
    return rad2deg(result) if deg else result


@compiled_when_eager()
def copysign(x1: Any, x2: Any, /) -> Any:
    """`x1` with the sign of `x2`; shapes broadcast. Raises TypeError for complex numbers.

    >>> import pullback.numpy as jnp
    >>> jnp.copysign(jnp.array([1., 2.]), -0.0)
    Array([-1., -2.], dtype=float32)
    """
    x1, x2 = promote_args_inexact("copysign", x1, x2)
    refuse_complex_type("copysign", x1, x2)
    x1, x2 = materialized(x1, x2)
    return lax.select(signbit(x2), lax.neg(lax.abs(x1)), lax.abs(x1))


def _bits_of(x: Any) -> tuple[Any, int]:
    """The elements of a float array as unsigned integers, and their number of bits."""
    width = x.dtype.itemsize * 8
    return lax.bitcast_convert_type(x, np.dtype(f"uint{width}")), width


@compiled_when_eager()
def signbit(x: Any, /) -> Any:
    """Whether the sign bit is set: true for -0.0. Raises ValueError for complex numbers.

    >>> import pullback.numpy as jnp
    >>> jnp.signbit(jnp.array([-0.0, 1.0]))
    Array([ True, False], dtype=bool)
    """
    x = ensure_arraylike("signbit", x)
    refuse_complex("signbit", x)
    letter = kind(x)
    if letter in "bu":
        return lax.full_like(x, False, dtype=np.dtype(bool))
    if letter == "i":
        return strong(lax.lt(x, lax.full_like(x, 0)))
    bits, width = _bits_of(x)
    shifted = lax.shift_right_logical(bits, lax.full_like(bits, width - 1))
    return lax.ne(shifted, lax.full_like(bits, 0))


@compiled_when_eager()
def heaviside(x1: Any, x2: Any, /) -> Any:
    """0 where `x1` is negative, 1 where positive, `x2` where zero; shapes broadcast.

    >>> import pullback.numpy as jnp
    >>> jnp.heaviside(jnp.array([-1., 0., 1.]), 0.5)
    Array([0. , 0.5, 1. ], dtype=float32)
    """
    given = x1
    x1, x2 = promote_args_inexact("heaviside", x1, x2)
    single = shape_of(given) == ()
    refuse_complex_type("heaviside", x1, x2)
    x1, x2 = materialized(x1, x2)
    zero = lax.full_like(x1, 0)
    side = lax.select(lax.gt(x1, zero), lax.full_like(x1, 1), x2)
    result = lax.select(lax.lt(x1, zero), zero, lax.select(lax.ne(x1, x1), x1, side))
    return result if single else strong(result)  # scalars compared with 0 stay weak


def spacing(x: Any, /) -> Any:
    """The distance to the next representable number away from zero. ValueError for complex.

    >>> import pullback.numpy as jnp
    >>> jnp.spacing(jnp.float32(2**23))
    Array(1., dtype=float32)
    """
    x = ensure_arraylike("spacing", x)
    refuse_complex("spacing", x)
    x = lax.convert_element_type(x, dtypes.to_inexact_dtype(x.dtype))
    away = lax.select(
        lax.lt(x, lax.full_like(x, 0)), lax.full_like(x, -np.inf), lax.full_like(x, np.inf)
    )
    step = lax.sub(lax.nextafter(x, away), x)
    infinite = lax.eq(lax.abs(x), lax.full_like(x, np.inf))
    return lax.select(infinite, lax.full_like(x, np.nan), step)


_MANTISSA: Final = {
    "float16": (10, 5),
    "bfloat16": (7, 8),
    "float32": (23, 8),
    "float64": (52, 11),
}


def frexp(x: Any, /) -> tuple[Any, Any]:
    """Mantissa in ±[0.5, 1) and integer exponent, with x = mantissa * 2**exponent.

    Zeros, infinities and nan have exponent 0. Raises TypeError for complex numbers.

    >>> import pullback.numpy as jnp
    >>> jnp.frexp(jnp.array([8., 0.75]))
    (Array([0.5 , 0.75], dtype=float32), Array([4, 0], dtype=int32))
    """
    x = ensure_arraylike("frexp", x)
    refuse_complex_type("frexp", x)
    x = lax.convert_element_type(x, dtypes.to_inexact_dtype(x.dtype))
    fraction, exponent_bits = _MANTISSA[x.dtype.name]
    bias = 2 ** (exponent_bits - 1) - 1
    tiny = lax.lt(lax.abs(x), lax.full_like(x, finfo(x.dtype).tiny))
    scaled = lax.select(tiny, lax.mul(x, lax.full_like(x, 2.0 ** (fraction + 1))), x)
    bits, _ = _bits_of(scaled)
    mask = 2**exponent_bits - 1
    raw = lax.bitwise_and(
        lax.shift_right_logical(bits, lax.full_like(bits, fraction)), lax.full_like(bits, mask)
    )
    exponent = lax.sub(lax.convert_element_type(raw, np.dtype("int32")), np.int32(bias - 1))
    exponent = lax.sub(
        exponent, lax.mul(lax.convert_element_type(tiny, np.dtype("int32")), np.int32(fraction + 1))
    )
    cleared = lax.bitwise_and(bits, lax.bitwise_not(lax.full_like(bits, mask << fraction)))
    half = lax.bitwise_or(cleared, lax.full_like(bits, (bias - 1) << fraction))
    mantissa = lax.bitcast_convert_type(half, x.dtype)
    plain = lax.bitwise_or(lax.eq(x, lax.full_like(x, 0)), lax.bitwise_not(lax.is_finite(x)))
    return lax.select(plain, x, mantissa), lax.select(plain, lax.full_like(exponent, 0), exponent)


@compiled_when_eager()
def ldexp(x1: Any, x2: Any, /) -> Any:
    """x1 * 2**x2 for integers `x2`; shapes broadcast.

    Raises ValueError for complex `x1` or an `x2` that is not of integers.

    >>> import pullback.numpy as jnp
    >>> jnp.ldexp(jnp.array([1.5]), 3)
    Array([12.], dtype=float32)
    """
    x1, x2 = ensure_arraylike("ldexp", x1, x2)
    if kind(x1) == "c" or kind(x2) not in "iub":
        raise ValueError(
            f"ldexp takes real numbers and integer exponents, got {aval_of(x1)} and {aval_of(x2)}"
        )
    x1 = lax.convert_element_type(x1, dtypes.to_inexact_dtype(x1.dtype))
    x1, x2 = materialized(*promote_shapes("ldexp", x1, lax.convert_element_type(x2, np.int32)))
    # In two steps, so that neither power overflows when the product does not.
    half = lax.div(x2, lax.full_like(x2, 2))
    for part in (half, lax.sub(x2, half)):
        x1 = lax.mul(x1, _power_of_two(part, x1.dtype))
    return x1


def _power_of_two(exponent: Any, dtype: Any) -> Any:
    return lax.exp2(lax.convert_element_type(exponent, dtype))


def modf(x: Any, /, out: None = None) -> tuple[Any, Any]:
    """Fractional and whole part, both with the sign of `x`. Raises TypeError for complex numbers.

    >>> import pullback.numpy as jnp
    >>> jnp.modf(jnp.array([1.5, -2.25]))
    (Array([ 0.5 , -0.25], dtype=float32), Array([ 1., -2.], dtype=float32))
    """
    check_no_out("modf", out)
    (x,) = promote_args_inexact("modf", x)
    refuse_complex_type("modf", x)
    x = as_array(x)
    whole = lax.select(lax.ge(x, lax.full_like(x, 0)), lax.floor(x), lax.ceil(x))
    return lax.sub(x, whole), whole
