"""Rounding to integers, the remainder of C's fmod, and nextafter: exact functions."""

from __future__ import annotations

import math

from pullback.llvm.math import builder
from pullback.llvm.math.builder import (
    Value,
    absolute,
    at_least,
    bits,
    copysign,
    fma,
    from_bits,
    truncate,
    where,
)
from pullback.llvm.math.registry import elementary
from pullback.llvm.math.trigonometric import sign


@elementary("round_half_even")
def round_half_even(x: Value) -> Value:
    """As the instruction does."""
    return builder.round_half_even(x)


@elementary("round_half_away")
def round_half_away(x: Value) -> Value:
    """As the instruction does."""
    return builder.round_half_away(x)


@elementary("nextafter")
def nextafter(x: Value, y: Value) -> Value:
    """One step of the integer that the bits of x are, away from zero or towards it."""
    away = bits(absolute(x)) + 1
    outwards = (absolute(y) > absolute(x)) & (sign(x).equals(sign(y)))
    size = where(outwards, away, away - 2)
    size = where(x.equals(0.0), 1, size)
    signs = where(x.equals(0.0), sign(y), sign(x))
    result = where(x.equals(y), y, from_bits(size | signs))
    return where(x.unordered(y), math.nan, result)


@elementary("rem")
def rem(x: Value, y: Value) -> Value:
    """fmod(x, y): division in several digits of up to mantissa bits, each remainder exact."""
    size, divisor = absolute(x), absolute(y)
    quotient = size / divisor
    usual = remainder_step(size, divisor)
    many = (quotient >= 2.0**x.format.mantissa) & (size < math.inf) & (divisor > 0.0)

    def rare() -> list[Value]:
        rest = digits(where(many, size, 0.0), where(many, divisor, 1.0))
        return [where(many, rest, usual)]

    (result,) = x.kernel.rarely(many, [usual], rare)
    result = where(divisor.equals(math.inf), size, result)
    result = where((size < math.inf) & (divisor > 0.0), result, math.nan)
    return copysign(where(y.is_nan(), y, result), x)


def remainder_step(x: Value, divisor: Value) -> Value:
    """x mod divisor where the quotient is below 2^mantissa; its rounding may be one too much."""
    rest = fma(-truncate(x / divisor), divisor, x)
    return where(rest < 0.0, rest + divisor, rest)


def digits(x: Value, divisor: Value) -> Value:
    """x mod divisor by remainders of divisor 2^k, with k such that the quotient is a digit."""
    format_, kernel, kind = x.format, x.kernel, bits(x).kind
    one, lift = kernel.constant(kind, 1), format_.mantissa + 1
    subnormal = divisor < format_.smallest_normal
    normal = bits(where(subnormal, divisor * 2.0**lift, divisor))
    lowest = (normal >> format_.mantissa) - where(subnormal, kernel.constant(kind, lift), 0)
    fraction = normal & ((1 << format_.mantissa) - 1)

    def step(carried: list[Value]) -> tuple[Value, list[Value]]:
        (rest,) = carried
        highest = bits(rest) >> format_.mantissa
        wanted = at_least(highest - (format_.mantissa - 1), one)
        scaled = from_bits(fraction | (wanted << format_.mantissa))
        useful = (wanted > lowest) & (highest > 1)
        rest = remainder_step(rest, where(useful, scaled, divisor))
        return rest >= divisor, [rest]

    return kernel.repeat([x], step)[0]
