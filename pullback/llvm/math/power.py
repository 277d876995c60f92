"""pow: 2^(y log2 |x|), the logarithm more precise than the result, and C's special cases.

Single precision computes in double; double precision carries the logarithm as the sum of two
numbers (T. J. Dekker, "A floating-point technique for extending the available precision", Numer.
Math. 18, 1971; J.-M. Muller, *Elementary Functions*, section 11.4).
"""

from __future__ import annotations

import math

from pullback.llvm.math.builder import (
    Value,
    absolute,
    at_least,
    at_most,
    bits,
    from_bits,
    narrow,
    truncate,
    where,
    widen,
)
from pullback.llvm.math.exponential import power_of_two, round_with
from pullback.llvm.math.logarithmic import split_exponent
from pullback.llvm.math.registry import elementary, polynomial
from pullback.llvm.math.trigonometric import sign


@elementary("pow")
def pow_(x: Value, y: Value) -> Value:
    size = absolute(x)
    result = single(size, y)
    integer = truncate(y).equals(y)
    half = y * 0.5
    odd = integer & ~truncate(half).equals(half)
    result = from_bits(bits(result) | where(odd, sign(x), 0))
    undefined = (x < 0.0) & ~integer & (size < math.inf)
    result = where(undefined, math.nan, result)
    return where(y.equals(0.0), 1.0, where(x.equals(1.0), 1.0, result))


def single(size: Value, y: Value) -> Value:
    """size^y in single precision for size >= 0, but for 0^0 and infinity^0."""
    return narrow(exp2_wide(log2_wide(widen(size)) * at_most(at_least(widen(y), -1e40), 1e40)))


def log2_wide(x: Value) -> Value:
    """log2 of a double that was a float >= 0."""
    _, m, e = split_exponent(x)
    f = m - 1.0
    result = f * polynomial("pow_log2", f) + e
    result = where(x.equals(0.0), -math.inf, result)
    return where(x < math.inf, result, x)


def exp2_wide(x: Value) -> Value:
    """2^x, a double for a float result."""
    x = at_most(at_least(x, -200.0), 200.0)
    n, low_bits = round_with(x, 1.0)
    return polynomial("pow_exp2", x - n, 1.0) * power_of_two(low_bits)
