"""pow and cbrt.

pow is 2^(y log2 |x|), with a logarithm more precise than the result, and C's special cases.

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
    copysign,
    fma,
    from_bits,
    narrow,
    truncate,
    where,
    widen,
)
from pullback.llvm.math.exponential import power_of_two, round_with
from pullback.llvm.math.logarithmic import as_float, split_exponent
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
