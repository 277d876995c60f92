"""lgamma, and digamma in single precision, computed in double precision.

Stirling's series at z >= 8, which smaller arguments reach by the recurrences of both functions, and
reflections (NIST Digital Library of Mathematical Functions, 5.5, 5.11).  lgamma below 8.5 is a
polynomial around its zero at 2 and the logarithm of a product.  The error of digamma is some 1e-15
absolutely, which is enough next to the zeros that single precision can come close to.
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
    two_sum,
    where,
)
from pullback.llvm.math.logarithmic import finish, log, log_parts, split_exponent
from pullback.llvm.math.registry import constants, elementary, polynomial
from pullback.llvm.math.trigonometric import sin, tan

SHIFT = 8
STIRLING = 8.5
"""Beyond, lgamma is Stirling's series to the last bit."""
HALF_LOG_TAU = 0.5 * math.log(2 * math.pi)
BERNOULLI = (
    1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510,
    43867 / 798, -174611 / 330, 854513 / 138, -236364091 / 2730,
)  # fmt: skip
"""B_2, B_4, ..."""
LGAMMA_SERIES = [b / ((2 * k + 2) * (2 * k + 1)) for k, b in enumerate(BERNOULLI[:8])]
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


def log_pair(x: Value) -> tuple[Value, Value]:
    """log(x) for x normal and positive, as a sum whose second part is small."""
    _, m, e = split_exponent(x)
    f, (high, low) = m - 1.0, constants("ln2", x.kind)
    total, rest = two_sum(e * high, f)  # the product is exact
    return total, rest + fma(e, low, log_parts(f))


def stirling(x: Value, logarithm: tuple[Value, Value]) -> Value:
    """lgamma(x) for x > STIRLING, by Stirling's series."""
    high, low = logarithm
    inverse = 1.0 / x
    series = horner(inverse * inverse, LGAMMA_SERIES) * inverse
    less, lost = two_sum(high, -1.0)
    half = x - 0.5
    return fma(half, less, fma(half, lost + low, series + (HALF_LOG_TAU - 0.5)))


def lgamma_above(x: Value) -> Value:
    """lgamma(x) for x >= -1/2: next to the zeros at 1 and 2 all is relative to u = x - n."""
    n = round_half_even(x)
    u = x - n  # exact
    rising = where(n < 1.0, x * (x + 1.0), where(n < 2.0, x, 1.0))
    falling = where(n > 2.0, x - 1.0, 1.0)
    for k in range(2, int(STIRLING) - 1):
        falling = where(n > float(k + 1), falling * (x - float(k)), falling)
    below = n < 2.0
    large = x > STIRLING
    product = absolute(where(large, x, where(below, rising, falling)))
    tiny = product < product.format.smallest_normal
    scaled = where(tiny, product * 2.0**54, product)
    high, low = log_pair(scaled)
    total, lost = two_sum(u * polynomial("lgamma", u), where(below, -high, high))
    near = total + (lost + where(below, -low, low))
    near = where(tiny, near + 54 * math.log(2), near)
    return where(large, stirling(x, (high, low)), near)


def lgamma_double(x: Value) -> Value:
    """log |gamma(x)| in double precision."""
    low = x < -0.5
    size = where(low, -x, x)
    value = lgamma_above(size)

    def below() -> list[Value]:
        turn = angle(size)
        mirror = log(math.pi / (size * absolute(sin(turn)))) - value
        return [where(low, where(turn.equals(0.0), math.inf, mirror), value)]

    value = x.kernel.rarely(low, [value], below)[0]
    value = where(x.equals(0.0), math.inf, value)
    return where(absolute(x) < math.inf, value, absolute(x))


@elementary("lgamma")
def lgamma(x: Value) -> Value:
    """log |gamma(x)|, computed in double precision.

    Left of -1/2 it is reflected; next to its zeros there the error is one of 1, not of the result.
    """
    return from_double(lgamma_double(to_double(x)), x.kind)


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
