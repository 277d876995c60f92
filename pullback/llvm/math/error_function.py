"""erf, erfc and the inverse of erf.

erfc is exp(-x^2) times a polynomial in (x - k) / (x + k), after M. M. Shepherd and
J. G. Laframboise, "Chebyshev approximation of (1 + 2x) exp(x^2) erfc x" (Math. Comp. 36, 1981);
erf_inv is x times a polynomial in log(1 - x^2), after M. B. Giles, "Approximating the erfinv
function" (GPU Computing Gems, 2011).
"""

from __future__ import annotations

import math

from pullback.llvm.math.builder import (
    Operand,
    Value,
    absolute,
    at_most,
    copysign,
    fma,
    horner,
    sqrt,
    two_sum,
    where,
)
from pullback.llvm.math.coefficients import POLYNOMIALS
from pullback.llvm.math.exponential import exp_times
from pullback.llvm.math.logarithmic import finish, split_exponent
from pullback.llvm.math.registry import elementary, polynomial

ERF_NEAR = 0.9
ERF_FAR = {"f32": (3.95, 2.0), "f64": (5.95, 3.5)}
"""From there erf is 1, and where the polynomial is centred."""
ERFC_NEAR = 0.47
ERFC_CENTRE = 2.0
ERF_INV_NEAR = 6.0
ERF_INV_CENTRE = {"f32": 1.5, "f64": 2.125}


def erf_near(x: Value) -> Value:
    """erf for |x| < ERF_NEAR."""
    return fma(x, polynomial("erf", x * x), x)


@elementary("erf")
def erf(x: Value) -> Value:
    """erf(x): a polynomial in x^2 near zero, one in |x| beyond."""
    size = absolute(x)
    high, centre = ERF_FAR[x.kind]
    far = polynomial("erf_far", fma(at_most(size, high), 0.5, -0.5 * centre))
    far = where(size < high, far, where(size.is_nan(), x, 1.0))
    return copysign(where(size < ERF_NEAR, erf_near(size), far), x)


def quotient(
    top: Value, top_low: Operand, high: Value, low: Value, inverse: Value
) -> tuple[Value, Value]:
    """(top + top_low) / (high + low) and what its rounding lost, given 1 / high rounded."""
    result = top * inverse
    residue = fma(-result, low, fma(-result, high, top))
    return result, (residue + top_low) * inverse


def erfc_factor(t: Value, t_low: Value) -> tuple[Value, Value]:
    """The polynomial of erfc and its error, the last two steps of Horner's scheme compensated."""
    constant, constant_low, linear, *rest = POLYNOMIALS["erfc", t.kind]
    curve = horner(t, rest)
    slope = fma(curve, t, linear)
    slope_low = fma(curve, t, linear - slope)
    value = fma(slope, t, constant)
    low = fma(slope, t, constant - value) + constant_low
    return value, fma(slope, t_low, fma(slope_low, t, low))


def erfc_far(size: Value) -> Value:
    """erfc(size) for size >= ERFC_NEAR."""
    high, low = two_sum(size, ERFC_CENTRE)
    inverse = 1.0 / high
    t, t_low = quotient(size - ERFC_CENTRE, 0.0, high, low, inverse)
    factor = quotient(*erfc_factor(t, t_low), high, low, inverse)
    square = size * size
    return exp_times(-square, fma(-size, size, square), *factor)


@elementary("erfc")
def erfc(x: Value) -> Value:
    """1 - erf(x), accurate where erf(x) is near 1."""
    size = at_most(absolute(x), 30.0)
    tail = erfc_far(size)
    far = where(x < 0.0, 2.0 - tail, tail)
    return where(size < ERFC_NEAR, 1.0 - erf_near(x), far)


def erf_inv_far(x: Value, w: Value) -> Value:
    """erf_inv(x) where w = -log(1 - x^2) is large, or x outside (-1, 1)."""
    constant, constant_low, *rest = POLYNOMIALS["erf_inv_far", x.kind]
    root = sqrt(w)
    root_low = fma(-root, root, w) / root  # twice the error of the root
    t = fma(root, 0.5, -ERF_INV_CENTRE[x.kind])
    slope = horner(t, rest)
    value = fma(slope, t, constant)
    value_low = fma(slope, fma(root_low, 0.25, t), constant - value) + constant_low
    result = fma(x, value, fma(x, value_low, x))
    size = absolute(x)
    return where(size < 1.0, result, where(size.equals(1.0), x * math.inf, math.nan))


@elementary("erf_inv")
def erf_inv(x: Value) -> Value:
    """The x with erf(x) as given: infinite at -1 and 1, NaN beyond."""
    _, m, e = split_exponent(fma(-x, x, 1.0))
    w = -finish(m - 1.0, e)
    near = fma(x, polynomial("erf_inv", w - 3.0), x)
    far = w.not_less(ERF_INV_NEAR) | (absolute(x) >= 1.0)
    return x.kernel.rarely(far, [near], lambda: [where(far, erf_inv_far(x, w), near)])[0]
