"""sin, cos and tan: subtract a multiple of pi / 2, then polynomials on [-pi/4, pi/4].

Arguments of usual size are reduced as W. J. Cody and W. Waite did (*Software Manual for the
Elementary Functions*, 1980, chapter 8), pi / 2 in three parts and with fma; see J.-M. Muller,
*Elementary Functions* (2016), section 11.2. Where a lane has a huge one, a function out of line
(`reduction.py`) does it.
"""

from __future__ import annotations

import math

from pullback.llvm.math.builder import Value, absolute, bits, fma, from_bits, where
from pullback.llvm.math.reduction import call_reduction
from pullback.llvm.math.registry import constants, elementary, odd, polynomial, subtract_multiple

HUGE = {"f32": 2.0**18, "f64": 2.0**28}
"""From here on three parts of pi / 2 are not enough."""


def sign(x: Value) -> Value:
    """The sign bit of x, alone."""
    return bits(x) & -(1 << (x.format.size - 1))


def nearest_quadrant(x: Value, offset: int) -> tuple[Value, Value]:
    """n as a float, and n + offset in the low bits of an integer, for x >= 0 near n pi / 2."""
    magic = x.format.magic + offset
    shifted = fma(x, 2 / math.pi, magic)
    return shifted - magic, bits(shifted)


def reduce_huge(x: Value, usual: list[Value], offset: int) -> list[Value]:
    """r, n + offset and if wanted the error of r; those in `usual`, except where x is huge."""
    huge = x >= HUGE[x.kind]

    def rare() -> list[Value]:
        r, error, n = call_reduction(x)
        far = (where(x < math.inf, r, math.nan), n + offset, error)
        return [where(huge, f, u) for f, u in zip(far, usual, strict=False)]

    return x.kernel.rarely(huge, usual, rare)


def quadrant(x: Value, offset: int) -> list[Value]:
    """r and n + offset (in the low bits), where x >= 0 is n pi / 2 + r."""
    n, low_bits = nearest_quadrant(x, offset)
    return reduce_huge(x, [subtract_multiple(x, n, "half_pi"), low_bits], offset)


def quadrant_and_error(x: Value) -> list[Value]:
    """r, n (in the low bits) and the error of r, where x >= 0 is n pi / 2 + r."""
    n, low_bits = nearest_quadrant(x, 0)
    high, middle, low = constants("half_pi", x.kind)
    first = fma(n, -high, x)  # exact
    product = n * middle
    second = first - product
    rest = fma(n, -low, ((first - second) - product) - fma(n, middle, -product))
    r = second + rest
    return reduce_huge(x, [r, low_bits, (second - r) + rest], 0)


def sine_of(size: Value, offset: int) -> tuple[Value, Value]:
    """|sin(size + offset pi / 2)| up to a sign, and that sign."""
    r, n = quadrant(size, offset)
    even = (n & 1).equals(0)
    result = where(even, odd("sin", r), polynomial("cos", r * r, 1.0, -0.5))
    return result, n << (n.format.size - 2)


@elementary("sin")
def sin(x: Value) -> Value:
    """sin(x) for every x, however large."""
    result, turns = sine_of(absolute(x), 0)
    return from_bits(bits(result) ^ sign(from_bits(turns ^ bits(x))))


@elementary("cos")
def cos(x: Value) -> Value:
    """cos(x) for every x, however large."""
    result, turns = sine_of(absolute(x), 1)
    return from_bits(bits(result) ^ sign(from_bits(turns)))


@elementary("tan")
def tan(x: Value) -> Value:
    """tan(r) or -1 / tan(r)."""
    r, n, error = quadrant_and_error(absolute(x))
    square = r * r
    correction = fma(error, 1.0 + square, (square * r) * polynomial("tan", square))
    t = r + correction
    result = where((n & 1).equals(0), t, -1.0 / t)
    return from_bits(bits(result) ^ sign(x))
