"""exp and its relatives: x = n log 2 + r, a polynomial in r, then 2^n by exponent arithmetic.

The reduction is that of W. J. Cody and W. Waite, *Software Manual for the Elementary Functions*
(1980), chapter 6, with fma; see also J.-M. Muller, *Elementary Functions* (2016), chapter 11.
"""

from __future__ import annotations

import math

from pullback.llvm.math.builder import (
    Value,
    absolute,
    at_least,
    at_most,
    bits,
    copysign,
    fma,
    from_bits,
    where,
)
from pullback.llvm.math.registry import constants, elementary, odd, polynomial, subtract_multiple

LOWEST = {"f32": -104.0, "f64": -746.0}
"""Below, exp is 0 even as a subnormal number."""
HIGHEST = {"f32": 89.0, "f64": 710.0}
"""Above, exp overflows."""
SATURATED = {"f32": -18.0, "f64": -38.0}
"""Below, expm1 is -1."""


def round_with(x: Value, factor: float) -> tuple[Value, Value]:
    """n = x * factor rounded to an integer: as a float, and in the low bits of an integer."""
    shifted = fma(x, factor, x.format.magic)
    return shifted - x.format.magic, bits(shifted)


def reduce_exp(x: Value) -> tuple[Value, Value]:
    """r and n (in the low bits of an integer) with x = n log 2 + r and |r| <= log(2) / 2."""
    n, low_bits = round_with(x, constants("log2e", x.kind)[0])
    return subtract_multiple(x, n, "ln2"), low_bits


def power_of_two(n: Value, offset: int = 0) -> Value:
    """2^(n + offset), a normal number, with n in the low bits of an integer."""
    return from_bits((n + (n.format.bias + offset)) << n.format.mantissa)


def scale(y: Value, n: Value, tiny: Value) -> Value:
    """y 2^n for y near 1, rounded once; `tiny` says where that is near the subnormal numbers."""
    lift = y.format.mantissa + 3
    shift = where(tiny, n.kernel.constant(n.kind, n.format.bias + lift), n.format.bias - 1)
    power = from_bits((n + shift) << n.format.mantissa)
    return y * power * where(tiny, y.kernel.constant(y.kind, 2.0**-lift), 2.0)


def clamp_exp(x: Value) -> Value:
    """x, no further than where exp is 0 or overflows."""
    return at_most(at_least(x, LOWEST[x.kind]), HIGHEST[x.kind])


def tiny_exp(x: Value) -> Value:
    """Where exp(x) may be subnormal."""
    return x < math.log(x.format.smallest_normal) + 1


@elementary("exp")
def exp(x: Value) -> Value:
    """e^x: 2^n times a polynomial of the rest."""
    x = clamp_exp(x)
    r, n = reduce_exp(x)
    return scale(polynomial("exp", r, 1.0, 1.0), n, tiny_exp(x))


@elementary("exp2")
def exp2(x: Value) -> Value:
    """2^x: the integer part goes to the exponent, the rest to a polynomial."""
    format_ = x.format
    smallest = 1 - format_.bias
    x = at_most(at_least(x, smallest - format_.mantissa - 2.0), format_.bias + 1.0)
    n, low_bits = round_with(x, 1.0)
    return scale(polynomial("exp2", x - n, 1.0), low_bits, x < smallest + 1.0)


def expm1_reduced(r: Value) -> Value:
    """exp(r) - 1 for |r| <= log(2) / 2."""
    return fma(r * r, polynomial("expm1", r), r)


@elementary("expm1")
def expm1(x: Value) -> Value:
    """e^x - 1, accurate near zero."""
    clamped = at_most(at_least(x, SATURATED[x.kind]), HIGHEST[x.kind])
    r, n = reduce_exp(clamped)
    half = power_of_two(n, -1)  # 2^n itself may overflow
    result = fma(half, expm1_reduced(r), half - 0.5) * 2.0
    return where(absolute(x) < 2.0 ** -(x.format.mantissa + 2), x, result)


def exp_negative(x: Value) -> Value:
    """exp(-|x|)."""
    x = at_least(-absolute(x), LOWEST[x.kind])
    r, n = reduce_exp(x)
    return scale(polynomial("exp", r, 1.0, 1.0), n, tiny_exp(x))


@elementary("logistic")
def logistic(x: Value) -> Value:
    """1 / (1 + e) or e / (1 + e) with e = exp(-|x|); one Newton step takes the roundings back."""
    e, negative = exp_negative(x), x < 0.0
    numerator, denominator = where(negative, e, 1.0), 1.0 + e
    error = e - (denominator - 1.0)
    result = numerator / denominator
    residue = fma(-result, error, fma(-result, denominator, numerator))
    return fma(residue, where(negative, 1.0 - result, result), result)


@elementary("tanh")
def tanh(x: Value) -> Value:
    """1 - 2 / (exp(2 |x|) + 1), near zero a polynomial."""
    size = absolute(x)
    r, n = reduce_exp(at_most(size, 20.0) * 2.0)
    far = 1.0 - 2.0 / fma(polynomial("exp", r, 1.0, 1.0), power_of_two(n), 1.0)
    return copysign(where(size < 0.55, odd("tanh", size), far), x)


def half_exp(x: Value) -> tuple[Value, Value]:
    """exp(x) / 2 and exp(-x) / 2 for x >= 0; the first overflows later than exp(x) does."""
    r, n = reduce_exp(at_most(x, HIGHEST[x.kind] + 1.0))
    quarter = polynomial("exp", r, 1.0, 1.0) * power_of_two(n, -2)
    return quarter * 2.0, 0.125 / quarter


@elementary("sinh")
def sinh(x: Value) -> Value:
    """sinh(x): odd in x near zero, halves of exponentials beyond."""
    size = absolute(x)
    large, small = half_exp(size)
    return copysign(where(size < 1.0, odd("sinh", size), large - small), x)


@elementary("cosh")
def cosh(x: Value) -> Value:
    """cosh(x): the sum of two halves of exponentials."""
    large, small = half_exp(absolute(x))
    return large + small


def exp_times(x: Value, x_low: Value, factor: Value, factor_low: Value) -> Value:
    """exp(x + x_low) (factor + factor_low), rounded about once, for x <= 0 and normal factors."""
    x = at_least(x, LOWEST[x.kind])
    n, low_bits = round_with(x, constants("log2e", x.kind)[0])
    high, low = constants("ln2", x.kind)
    exact = fma(n, -high, x)
    r = fma(n, -low, exact)
    r_low = fma(n, -low, exact - r) + x_low
    curve = r * r * polynomial("expm1", r)  # exp(r) - 1 - r
    small = fma(r_low, r + curve, r_low + curve)
    product = factor + fma(factor, r, fma(factor, small, factor_low))
    half = (low_bits - x.format.bits(x.format.magic)) >> 1
    return product * power_of_two(half) * power_of_two(low_bits - half)
