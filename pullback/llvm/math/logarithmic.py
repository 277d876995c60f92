"""log and its relatives: x = 2^e m with m in [sqrt(1/2), sqrt(2)), a polynomial in f = m - 1.

The decomposition by integer arithmetic follows J.-M. Muller, *Elementary Functions* (2016),
chapter 11; log1p keeps f exact, in the manner of P. T. P. Tang (ACM TOMS 16, 1990).
"""

from __future__ import annotations

import math

from pullback.llvm.math.builder import (
    Operand,
    Value,
    bits,
    copysign,
    fma,
    from_bits,
    to_float,
    where,
)
from pullback.llvm.math.registry import constants, elementary, polynomial

SQRT_HALF = math.sqrt(0.5)


def split_exponent(x: Value) -> tuple[Value, Value, Value]:
    """The bits of e << mantissa, m and e as a float, with x = 2^e m for a normal positive x."""
    format_ = x.format
    low = format_.bits(SQRT_HALF)
    shifted = (bits(x) - low) & -(1 << format_.mantissa)
    m = from_bits(bits(x) - shifted)
    return shifted, m, as_float(shifted >> format_.mantissa, x.kind)


def as_float(n: Value, kind: str) -> Value:
    """A small integer as a float of its size (no machine before AVX-512 converts i64)."""
    if kind == "f32":
        return to_float(n, kind)
    return from_bits(n + n.format.bits(n.format.magic)) - n.format.magic


def normalise(x: Value) -> tuple[Value, Value]:
    """x, with subnormal numbers scaled up, and what the exponent has to be corrected by."""
    lift = float(x.format.mantissa + 1)
    subnormal = x < x.format.smallest_normal
    correction = where(subnormal, x.kernel.constant(x.kind, -lift), 0.0)
    return where(subnormal, x * 2.0**lift, x), correction


def log_parts(f: Value) -> Value:
    """log(1 + f) - f for 1 + f in [sqrt(1/2), sqrt(2)), small against f where f is small."""
    square = f * f
    return fma(square * f, polynomial("log", f), square * -0.5)


def finish(f: Value, e: Value, more: Operand = 0.0) -> Value:
    """log(1 + f) + e log(2) + more."""
    high, low = constants("ln2", f.kind)
    parts = log_parts(f) if isinstance(more, float) else log_parts(f) + more
    return fma(e, high, f + fma(e, low, parts))


def special_cases(x: Value, result: Value, zero: float) -> Value:
    """-inf at `zero`, NaN below it, NaN and infinity themselves."""
    result = where(x < math.inf, result, x)
    result = where(x.equals(zero), -math.inf, result)
    return where(x < zero, math.nan, result)


@elementary("log")
def log(x: Value) -> Value:
    """The natural logarithm: -inf at 0, NaN below."""
    normal, correction = normalise(x)
    _, m, e = split_exponent(normal)
    return special_cases(x, finish(m - 1.0, e + correction), 0.0)


@elementary("log2")
def log2(x: Value) -> Value:
    """The logarithm to base 2, exact at powers of 2."""
    normal, correction = normalise(x)
    _, m, e = split_exponent(normal)
    f, (high, low) = m - 1.0, constants("log2e", x.kind)
    rest = log_parts(f)
    scaled = fma(f, high, fma(f, low, rest * high))
    return special_cases(x, scaled + (e + correction), 0.0)


@elementary("log1p")
def log1p(x: Value) -> Value:
    """1 + x is 2^e (1 + f) with f = 2^-e x + (2^-e - 1), one rounding."""
    shifted, _, e = split_exponent(1.0 + x)
    four = from_bits(x.format.bits(4.0) - shifted)  # 4 2^-e, a normal number for every e
    f = fma(x, four * 0.25, fma(four, 0.25, -1.0))
    return copysign(special_cases(x, finish(f, e), -1.0), x)
