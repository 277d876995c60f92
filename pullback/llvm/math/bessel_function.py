"""exp(-|x|) I_n(x) for n = 0, 1, computed in double precision.

Double precision has a polynomial in x^2, and one in 1/x beyond `BETWEEN`, as J. M. Blair and C. A.
Edwards did ("Stable rational minimax approximations to the modified Bessel functions I_0(x) and
I_1(x)", AECL-4928, 1974).  Single precision has shorter expansions: the power series has positive
terms only (NIST Digital Library of Mathematical Functions, 10.25.2); from `NEAR` on Hankel's
expansion is as accurate as single precision asks for (10.40.1).
"""

from __future__ import annotations

import math

from pullback.llvm.math.builder import (
    Value,
    absolute,
    copysign,
    fma,
    from_double,
    horner,
    sqrt,
    to_double,
    where,
)
from pullback.llvm.math.exponential import exp
from pullback.llvm.math.registry import elementary, polynomial

NEAR = 12.0
"""The last size whose function is summed by its power series."""
BETWEEN = 7.75
"""The last size of double precision whose function is a polynomial in x^2."""
NEAR_TERMS = 21
FAR_TERMS = 11


def power_series(order: int) -> list[float]:
    """I_n(x) = (x/2)^n times a series in x^2 with these coefficients."""
    return [0.25**k / (math.factorial(k) * math.factorial(k + order)) for k in range(NEAR_TERMS)]


def hankel_series(order: int) -> list[float]:
    """I_n(x) = exp(x) / sqrt(2 pi x) times a series in 1/x with these coefficients."""
    found = [1.0]
    for k in range(1, FAR_TERMS):
        found.append(found[-1] * ((2 * k - 1) ** 2 - 4 * order**2) / (8 * k))
    return [c / math.sqrt(2 * math.pi) for c in found]


def scaled(size: Value, order: int) -> Value:
    """exp(-x) I_n(x) for x >= 0 in double precision."""
    near = exp(-size) * horner(size * size, power_series(order))
    near = near * (size * 0.5) if order else near
    large = size > NEAR

    def beyond() -> list[Value]:
        far = horner(1.0 / size, hankel_series(order)) / sqrt(size)
        return [where(large, far, near)]

    return size.kernel.rarely(large, [near], beyond)[0]


def scaled_double(size: Value, order: int) -> Value:
    """exp(-x) I_n(x) for x >= 0, accurate to double precision."""
    near = exp(-size) * polynomial(f"bessel_i{order}", size * size)
    near = near * (size * 0.5) if order else near
    large = size > BETWEEN

    def beyond() -> list[Value]:
        place = fma(1.0 / size, 8.0, -0.5)
        far = polynomial(f"bessel_i{order}_far", place) / sqrt(size)
        return [where(large, far, near)]

    return size.kernel.rarely(large, [near], beyond)[0]


@elementary("bessel_i0e")
def bessel_i0e(x: Value) -> Value:
    """exp(-|x|) I_0(x)."""
    of_size = scaled_double if x.kind == "f64" else scaled
    return from_double(of_size(absolute(to_double(x)), 0), x.kind)


@elementary("bessel_i1e")
def bessel_i1e(x: Value) -> Value:
    """exp(-|x|) I_1(x), an odd function."""
    wide = to_double(x)
    of_size = scaled_double if x.kind == "f64" else scaled
    return from_double(copysign(of_size(absolute(wide), 1), wide), x.kind)
