"""asin, acos, atan and atan2: odd polynomials after the classical identities.

W. J. Cody and W. Waite, *Software Manual for the Elementary Functions* (1980), chapters 10 and 11:
asin(x) = pi / 2 - 2 asin(sqrt((1 - x) / 2)) above 1/2, atan(x) = pi / 2 - atan(1 / x) above 1.
"""

from __future__ import annotations

from pullback.llvm.math.builder import (
    Operand,
    Value,
    absolute,
    bits,
    copysign,
    fma,
    sqrt,
    where,
)
from pullback.llvm.math.registry import constants, elementary, odd, polynomial


def asin_parts(size: Value) -> tuple[Value, Value, Value]:
    """Whether size > 1/2; asin(size), or else asin(sqrt((1 - size) / 2)), as a sum of two."""
    large = size > 0.5
    square = where(large, fma(size, -0.5, 0.5), size * size)
    base = where(large, sqrt(square), size)
    return large, base, (base * square) * polynomial("asin", square)


def from_half_pi(x: Value, x_low: Operand = 0.0) -> Value:
    """pi / 2 - (x + x_low), where x_low != 0 wants 0 <= x <= pi / 2."""
    high, low, _ = constants("half_pi", x.kind)
    if isinstance(x_low, float):
        return high - (x - low)
    difference = high - x
    lost = (high - difference) - x
    return difference + (lost - (x_low - low))


def from_pi(x: Value) -> Value:
    """pi - x."""
    high, low, _ = constants("half_pi", x.kind)
    return (2 * high - x) + 2 * low


@elementary("asin")
def asin(x: Value) -> Value:
    """asin(x), NaN beyond -1 and 1."""
    large, base, rest = asin_parts(absolute(x))
    far = from_half_pi(base + base, rest + rest)
    return copysign(where(large, far, base + rest), x)


@elementary("acos")
def acos(x: Value) -> Value:
    """acos(x), NaN beyond -1 and 1."""
    large, base, rest = asin_parts(absolute(x))
    part = base + rest
    far = where(x < 0.0, from_pi(part + part), part + part)
    return where(large, far, from_half_pi(copysign(part, x)))


@elementary("atan")
def atan(x: Value) -> Value:
    """atan(x); beyond 1 it is what 1 / x leaves of a right angle."""
    size = absolute(x)
    large = size > 1.0
    part = odd("atan", where(large, 1.0 / size, size))
    return copysign(where(large, from_half_pi(part), part), x)


@elementary("atan2")
def atan2(y: Value, x: Value) -> Value:
    """The angle of the octant, then the octant: pi / 2 - angle, pi - angle, the sign of y."""
    height, base = absolute(y), absolute(x)
    steep = height > base
    top, bottom = where(steep, base, height), where(steep, height, base)
    diagonal = where(bottom.equals(0.0), bottom, 1.0)  # also for two infinities
    angle = odd("atan", where(top.equals(bottom), diagonal, top / bottom))
    angle = where(steep, from_half_pi(angle), angle)
    return copysign(where(bits(x) < 0, from_pi(angle), angle), y)
