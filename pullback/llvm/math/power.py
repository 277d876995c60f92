"""pow and cbrt.

pow is 2^(y log2 |x|) with C's special cases. The logarithm is the sum of two numbers, and so are
its first two terms: T. J. Dekker, "A floating-point technique for extending the available
precision" (Numer. Math. 18, 1971), with fma; J.-M. Muller, *Elementary Functions* (2016),
chapter 11.
"""

from __future__ import annotations

import math

from pullback.llvm.math.builder import (
    Operand,
    Value,
    absolute,
    at_least,
    at_most,
    bits,
    copysign,
    fma,
    from_bits,
    truncate,
    where,
)
from pullback.llvm.math.exponential import power_of_two, round_with, scale
from pullback.llvm.math.logarithmic import as_float, normalise, split_exponent
from pullback.llvm.math.registry import constants, elementary, polynomial
from pullback.llvm.math.trigonometric import sign

Pair = tuple[Value, Value]
"""An unevaluated sum, the second number small against the first."""

LARGEST_EXPONENT = 2.0**80
"""Beyond this size of y, x^y overflows, underflows or is 1."""


def add_to_constant(name: str, x: Value, x_low: Operand) -> Pair:
    """The constant + x + x_low for x smaller than the constant."""
    high, low = constants(name, x.kind)
    total = high + x
    return total, (high - total) + x + (x_low + low)


def multiply(a: Pair, b: Pair) -> Pair:
    """The product of two such sums."""
    product = a[0] * b[0]
    return product, fma(a[0], b[0], -product) + fma(a[0], b[1], a[1] * b[0])


def log2_pair(x: Value) -> Pair:
    """log2(x) for a finite x > 0: of s = (m - 1) / (m + 1) where x = 2^e m."""
    normal, correction = normalise(x)
    _, m, e = split_exponent(normal)
    e = e + correction
    top, bottom = m - 1.0, m + 1.0
    inverse = 1.0 / bottom
    s = top * inverse
    residue = fma(-s, m - (bottom - 1.0), fma(-s, bottom, top))
    pair = (s, residue * inverse)
    square = multiply(pair, pair)
    rest = square[0] * polynomial("pow_log2", square[0])
    cubic = multiply(square, add_to_constant("2/(3 log(2))", rest, 0.0))
    high, low = multiply(pair, add_to_constant("2/log(2)", *cubic))
    total = e + high
    return total, ((e - total) + high) + low


def positive_power(x: Value, y: Value) -> Value:
    """x^y for a finite x > 0."""
    format_ = x.format
    high, low = log2_pair(x)
    y = at_most(at_least(y, -LARGEST_EXPONENT), LARGEST_EXPONENT)
    product = y * high
    product_low = fma(y, high, -product) + y * low
    far = absolute(product) >= 2.0 * format_.bias
    product_low = where(far, 0.0, product_low)
    smallest = 1 - format_.bias
    product = at_least(product, smallest - format_.mantissa - 2.0)
    product = at_most(product, format_.bias + 2.0)
    n, low_bits = round_with(product, 1.0)
    r = (product - n) + product_low
    return scale(polynomial("exp2", r, 1.0), low_bits, product < smallest + 1.0)


@elementary("pow")
def pow_(x: Value, y: Value) -> Value:
    """x^y with the special cases of C's `pow`."""
    size = absolute(x)
    result = positive_power(size, y)
    endless = size.equals(math.inf)
    grows = endless ^ (y < 0.0)
    limit = where(grows, x.kernel.constant(x.kind, math.inf), 0.0)
    result = where(endless | size.equals(0.0), limit, result)
    integer = truncate(y).equals(y)
    half = y * 0.5
    odd = integer & ~truncate(half).equals(half)
    result = from_bits(bits(result) | where(odd, sign(x), 0))
    undefined = (x < 0.0) & ~integer & ~endless
    result = where(undefined | x.unordered(y), math.nan, result)
    return where(y.equals(0.0) | x.equals(1.0), 1.0, result)


LIFT = {"f32": 24, "f64": 54}
"""Multiples of 3 that make every subnormal number normal."""


@elementary("cbrt")
def cbrt(x: Value) -> Value:
    """2^q (2^j m)^(1/3) with j = -1, 0, 1: a polynomial for m^(-1/3), refined by iteration."""
    size = absolute(x)
    y, w, q = cbrt_parts(size)
    deficit = fma(-(w * w * w), y, 1.0)
    w = fma(w * deficit, fma(deficit, 2 / 9, 1 / 3), w)
    inverse = w * w
    root = inverse * y
    square = root * root
    residue = fma(-square, root, y) - fma(root, root, -square) * root
    root = fma(residue, inverse * (1 / 3), root) * power_of_two(q)
    return where((size > 0.0) & (size < math.inf), copysign(root, x), x)


def cbrt_parts(size: Value) -> tuple[Value, Value, Value]:
    """y, about y^(-1/3), and q (in the low bits) with size = 8^q y and y in [1/2, 4)."""
    format_, kernel, lift = size.format, size.kernel, LIFT[size.kind]
    subnormal = size < format_.smallest_normal
    field = bits(where(subnormal, size * 2.0**lift, size))
    m = from_bits((field & ((1 << format_.mantissa) - 1)) | format_.bits(1.0))
    biased = as_float(field >> format_.mantissa, size.kind)
    e = biased - where(subnormal, kernel.constant(size.kind, format_.bias + lift), format_.bias)
    q, low_bits = round_with(e, 1 / 3)
    j = fma(q, -3.0, e)
    y = m * where(j > 0.5, 2.0, where(j < -0.5, kernel.constant(size.kind, 0.5), 1.0))
    third = where(j < -0.5, kernel.constant(size.kind, 2 ** (1 / 3)), 1.0)
    third = where(j > 0.5, 0.5 ** (1 / 3), third)
    return y, polynomial("inverse_cbrt", m - 1.5) * third, low_bits
