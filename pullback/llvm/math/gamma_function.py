"""lgamma and digamma in single precision, computed in double precision.

Stirling's series at z >= 8, which smaller arguments reach by the recurrences of both functions, and
the reflections at 1/2 (NIST Digital Library of Mathematical Functions, 5.5, 5.11).  The error is
some 1e-15 absolutely, which is enough next to the zeros that single precision can come close to.
"""

from __future__ import annotations

import math

from pullback.llvm.math.builder import (
    Value,
    absolute,
    at_most,
    fma,
    from_double,
    horner,
    round_half_even,
    to_double,
    where,
)
from pullback.llvm.math.logarithmic import finish, log, split_exponent
from pullback.llvm.math.registry import elementary
from pullback.llvm.math.trigonometric import sin, tan

SHIFT = 8
HALF_LOG_TAU = 0.5 * math.log(2 * math.pi)
BERNOULLI = (
    1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510,
    43867 / 798, -174611 / 330, 854513 / 138, -236364091 / 2730,
)  # fmt: skip
"""B_2, B_4, ..."""
LGAMMA_SERIES = [b / ((2 * k + 2) * (2 * k + 1)) for k, b in enumerate(BERNOULLI[:7])]
DIGAMMA_SERIES = [b / (2 * k + 2) for k, b in enumerate(BERNOULLI[:7])]


def log_of_normal(x: Value) -> Value:
    """log(x) for x normal and positive."""
    _, m, e = split_exponent(x)
    return finish(m - 1.0, e)


def raised(y: Value) -> tuple[Value, Value, Value, Value]:
    """A z >= SHIFT, whether it is y + SHIFT, the product of the y + k before, and its slope."""
    small = y < float(SHIFT)
    product, slope = y, y.kernel.constant(y.kind, 1.0)
    for k in range(1, SHIFT):
        factor = y + float(k)
        slope = fma(slope, factor, product)
        product = product * factor
    return where(small, y + float(SHIFT), y), small, product, slope


def reflected(x: Value) -> tuple[Value, Value]:
    """Whether x is below 1/2, and 1 - x for it, else x."""
    low = x < 0.5
    return low, where(low, 1.0 - x, x)


def angle(x: Value) -> Value:
    """pi times the distance of x from an integer."""
    return (x - round_half_even(x)) * math.pi


@elementary("lgamma")
def lgamma(x: Value) -> Value:
    """log |gamma(x)|, computed in double precision."""
    wide = to_double(x)
    low, y = reflected(wide)
    z, small, product, _ = raised(y)
    inverse = 1.0 / z
    series = horner(inverse * inverse, LGAMMA_SERIES) * inverse
    value = fma(z - 0.5, log_of_normal(z) - 1.0, series + (HALF_LOG_TAU - 0.5))
    value = value - log_of_normal(where(small, product, 1.0))
    value = where(wide.equals(1.0) | wide.equals(2.0), 0.0, value)

    def below() -> list[Value]:
        mirror = log(math.pi / absolute(sin(angle(wide)))) - value
        return [where(low, mirror, value)]

    value = x.kernel.rarely(low, [value], below)[0]
    value = where(absolute(wide) < math.inf, value, absolute(wide))
    return from_double(value, x.kind)


@elementary("digamma")
def digamma(x: Value) -> Value:
    """The derivative of `lgamma`, computed in double precision."""
    wide = to_double(x)
    low, y = reflected(wide)
    z, small, product, slope = raised(y)
    inverse = 1.0 / z
    square = inverse * inverse
    value = log_of_normal(z) - fma(inverse, 0.5, horner(square, DIGAMMA_SERIES) * square)
    value = value - where(small, slope / product, 0.0)

    def below() -> list[Value]:
        turn = angle(wide)
        mirror = value - math.pi / tan(turn)
        mirror = where(turn.equals(0.0), math.nan, mirror)
        return [where(low, mirror, value)]

    value = x.kernel.rarely(low, [value], below)[0]
    value = where(wide < math.inf, value, wide)  # and NaN
    return from_double(value, x.kind)


def factorial(n: Value) -> Value:
    """n! of a whole n in double precision, exact up to 22!; infinite where it overflows."""
    last = at_most(n, 171.0)
    one = n.kernel.constant("f64", 1.0)

    def step(carried: list[Value]) -> tuple[Value, list[Value]]:
        k, product = carried
        return k < last, [k + 1.0, where(k <= last, product * k, product)]

    return n.kernel.repeat([one, one], step)[1]
