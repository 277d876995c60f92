"""asinh, acosh and atanh: polynomials near zero, logarithms of sums of two numbers beyond.

The argument of the logarithm carries the error of its rounding along, as log(u + du) is
log(u) + du / u (J.-M. Muller et al., *Handbook of Floating-Point Arithmetic*, 2018, chapter 4).
"""

from __future__ import annotations

import math

from pullback.llvm.math.builder import (
    Value,
    absolute,
    copysign,
    fma,
    sqrt,
    two_sum,
    where,
)
from pullback.llvm.math.logarithmic import finish, split_exponent
from pullback.llvm.math.registry import elementary, odd, polynomial

HUGE = {"f32": 2.0**14, "f64": 2.0**29}
"""From here on x^2 + 1 and x^2 - 1 are x^2, up to half a unit in the last place of the result."""


def log_sum(x: Value, one: float) -> Value:
    """log(x + sqrt(x^2 + one)) for one = 1 or -1 and x > 1/2."""
    square = x * x
    inside, inside_low = two_sum(square, one)
    root = sqrt(inside)
    residue = fma(-root, root, inside) + (inside_low + fma(x, x, -square))
    root_low = residue * (0.5 / root)
    large, small = (root, x) if one > 0 else (x, root)
    total = x + root
    low = ((large - total) + small) + root_low
    relative = low * (large - small)  # 1 / (x + root) is large - small
    huge = x >= HUGE[x.kind]
    _, m, e = split_exponent(where(huge, x, total))
    result = finish(m - 1.0, where(huge, e + 1.0, e), where(huge, 0.0, relative))
    return where(x < math.inf, result, x)


@elementary("asinh")
def asinh(x: Value) -> Value:
    """asinh(x): odd in x near zero, a logarithm beyond."""
    size = absolute(x)
    return copysign(where(size < 0.5, odd("asinh", size), log_sum(size, 1.0)), x)


@elementary("acosh")
def acosh(x: Value) -> Value:
    """acosh(x), NaN below 1."""
    t = x - 1.0
    root = sqrt(t + t)
    near = fma(root, t * polynomial("acosh", t), root)
    result = where(t < 0.5, near, log_sum(x, -1.0))
    return where(x < 1.0, math.nan, result)


@elementary("atanh")
def atanh(x: Value) -> Value:
    """atanh(x): infinite at -1 and 1, NaN beyond."""
    size = absolute(x)
    result = where(size < 0.5, odd("atanh", size), half_log_quotient(size))
    edge = x.kernel.constant(x.kind, math.inf)
    outside = where(size.equals(1.0), edge, math.nan)
    return copysign(where(size < 1.0, result, outside), x)


def half_log_quotient(x: Value) -> Value:
    """log((1 + x) / (1 - x)) / 2 for 1/2 <= x < 1."""
    top, bottom = 1.0 + x, 1.0 - x  # the second one is exact
    quotient = top / bottom
    residue = fma(-quotient, bottom, top) + (x - (top - 1.0))
    relative = residue * fma(top, -1 / 3, 7 / 6)  # nearly residue / top
    _, m, e = split_exponent(quotient)
    return finish(m - 1.0, e, relative) * 0.5
