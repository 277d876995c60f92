"""Complex arithmetic and elementary functions, expanded into real expressions.

Registered with `loops/scalars.py`.  Formulas follow Kahan, "Branch cuts for complex elementary
functions" (1987), where the plain ones would lose accuracy or the sign of zero.
"""

from __future__ import annotations

import math

import numpy as np

from pullback.loops.expr import Expr
from pullback.loops.scalars import ScalarBuilder, complex_binary, complex_math

__all__ = ["times_i", "times_minus_i"]

S = ScalarBuilder
_LN2 = math.log(2.0)


def _parts(s: S, z: Expr) -> tuple[Expr, Expr]:
    return s.real(z), s.imag(z)


@complex_binary("add")
def _add(s: S, x: Expr, y: Expr) -> Expr:
    return s.complex(s.add(s.real(x), s.real(y)), s.add(s.imag(x), s.imag(y)))


@complex_binary("sub")
def _sub(s: S, x: Expr, y: Expr) -> Expr:
    return s.complex(s.sub(s.real(x), s.real(y)), s.sub(s.imag(x), s.imag(y)))


@complex_binary("mul")
def _mul(s: S, x: Expr, y: Expr) -> Expr:
    (a, b), (c, d) = _parts(s, x), _parts(s, y)
    return s.complex(s.sub(s.mul(a, c), s.mul(b, d)), s.add(s.mul(a, d), s.mul(b, c)))


@complex_binary("div")
def _div(s: S, x: Expr, y: Expr) -> Expr:
    """Smith's method, without branches: divide through by the larger part of y."""
    (a, b), (c, d) = _parts(s, x), _parts(s, y)
    wide = s.ge(s.abs(c), s.abs(d))
    big, small = s.select(wide, c, d), s.select(wide, d, c)
    zero = s.and_(s.eq(c, 0), s.eq(d, 0))
    ratio = s.select(s.or_(zero, _infinite(s, big)), 0, s.div(small, big))
    scale = s.add(big, s.mul(small, ratio))
    p, q = s.select(wide, a, b), s.select(wide, b, a)
    re = s.div(s.add(p, s.mul(q, ratio)), scale)
    im = s.div(s.sub(q, s.mul(p, ratio)), scale)
    return s.complex(re, s.select(wide, im, s.neg(im)))


def _infinite(s: S, x: Expr) -> Expr:
    return s.eq(s.abs(x), math.inf)


@complex_binary("max")
def _max(s: S, x: Expr, y: Expr) -> Expr:
    return s.select(s.or_(s.ge(x, y), s.ne(x, x)), x, y)


@complex_binary("min")
def _min(s: S, x: Expr, y: Expr) -> Expr:
    return s.select(s.or_(s.le(x, y), s.ne(x, x)), x, y)


@complex_math("exp")
def _exp(s: S, z: Expr) -> Expr:
    """exp(x/2) is applied twice, so that exp(x) may overflow while exp(x) cos(y) does not."""
    x, y = _parts(s, z)
    half = s.math("exp", s.mul(x, 0.5))
    re = s.mul(s.mul(half, s.math("cos", y)), half)
    im = s.mul(s.mul(half, s.math("sin", y)), half)
    real = s.eq(y, 0)
    return s.complex(s.select(real, s.math("exp", x), re), s.select(real, y, im))


@complex_math("exp2")
def _exp2(s: S, z: Expr) -> Expr:
    x, y = _parts(s, z)
    return s.math("exp", s.complex(s.mul(x, _LN2), s.mul(y, _LN2)))


@complex_math("expm1")
def _expm1(s: S, z: Expr) -> Expr:
    """exp(x) cos(y) - 1 = expm1(x) cos(y) - 2 sin(y/2)^2."""
    x, y = _parts(s, z)
    sine = s.math("sin", s.mul(y, 0.5))
    re = s.sub(s.mul(s.math("expm1", x), s.math("cos", y)), s.mul(s.mul(sine, sine), 2))
    im = s.mul(s.math("exp", x), s.math("sin", y))
    return s.complex(re, s.select(s.eq(y, 0), y, im))


def _log_abs(s: S, x: Expr, y: Expr) -> Expr:
    """log |x + iy|: near the unit circle by log1p of |z|² - 1, the squares in twice the digits."""
    a, b = s.abs(x), s.abs(y)
    large, least = s.max(a, b), s.min(a, b)
    near = s.and_(s.gt(large, 0.5), s.lt(large, 2.0))
    p, q = s.mul(large, large), s.mul(least, least)
    lost = s.add(s.fma(large, large, s.neg(p)), s.fma(least, least, s.neg(q)))
    excess = s.add(s.add(s.sub(p, 1), q), lost)
    close = s.mul(s.math("log1p", s.select(near, excess, 0)), 0.5)
    return s.select(near, close, s.math("log", s.math("hypot", x, y)))


@complex_math("log")
def _log(s: S, z: Expr) -> Expr:
    x, y = _parts(s, z)
    return s.complex(_log_abs(s, x, y), s.math("atan2", y, x))


@complex_math("log1p")
def _log1p(s: S, z: Expr) -> Expr:
    """log |1 + z| = log1p(x (2 + x) + y^2) / 2 where that is small."""
    x, y = _parts(s, z)
    one = s.add(x, 1)
    squares = s.add(s.mul(x, s.add(x, 2)), s.mul(y, y))
    small = s.lt(s.abs(squares), 0.5)
    close = s.mul(s.math("log1p", s.select(small, squares, 0)), 0.5)
    return s.complex(s.select(small, close, _log_abs(s, one, y)), s.math("atan2", y, one))


@complex_math("sqrt")
def _sqrt(s: S, z: Expr) -> Expr:
    """Scaled where |z| would overflow, or lose digits; the scale is a power of four."""
    x, y = _parts(s, z)
    info = np.finfo(x.dtype)
    large = s.max(s.abs(x), s.abs(y))
    up, down = 2.0 ** (2 * info.nmant), 0.0625
    huge, tiny = s.gt(large, float(info.max) / 8), s.lt(large, float(info.tiny) * up)
    scale = s.select(huge, down, s.select(tiny, up, s.const(1, x.dtype)))
    back = s.select(
        huge, 1 / math.sqrt(down), s.select(tiny, 1 / math.sqrt(up), s.const(1, x.dtype))
    )
    x, y = s.mul(x, scale), s.mul(y, scale)
    t = s.sqrt(s.mul(s.add(s.abs(x), s.math("hypot", x, y)), 0.5))
    safe = s.select(s.eq(t, 0), 1, t)
    other = s.div(s.mul(s.abs(y), 0.5), safe)
    right = s.ge(x, 0)
    re, im = s.select(right, t, other), s.select(right, other, t)
    re = s.select(_infinite(s, y), math.inf, re)
    im = s.select(_infinite(s, y), s.const(math.inf, y.dtype), im)
    return s.complex(s.mul(re, back), s.copysign(s.mul(im, back), y))


@complex_math("rsqrt")
def _rsqrt(s: S, z: Expr) -> Expr:
    return s.div(s.const(1, z.dtype), s.math("sqrt", z))


def _hyperbolic(s: S, y: Expr) -> tuple[Expr, Expr, Expr]:
    """cosh y and sinh y without a factor, which they would overflow with, and that factor."""
    half = s.math("exp", s.mul(s.abs(y), 0.5))
    far = s.gt(s.abs(y), 80.0 if y.dtype.itemsize == 4 else 700.0)
    tail = s.mul(half, 0.5)
    cosh = s.select(far, tail, s.math("cosh", y))
    sinh = s.select(far, s.copysign(tail, y), s.math("sinh", y))
    return cosh, sinh, s.select(far, half, 1)


@complex_math("sin")
def _sin(s: S, z: Expr) -> Expr:
    """On the axes one part is zero, also where the other is infinite or NaN."""
    x, y = _parts(s, z)
    cosh, sinh, factor = _hyperbolic(s, y)
    sine, cosine = s.math("sin", x), s.math("cos", x)
    re = s.select(s.eq(x, 0), x, s.mul(s.mul(sine, cosh), factor))
    im = s.select(s.eq(y, 0), s.mul(y, cosine), s.mul(s.mul(cosine, sinh), factor))
    return s.complex(re, im)


@complex_math("cos")
def _cos(s: S, z: Expr) -> Expr:
    x, y = _parts(s, z)
    cosh, sinh, factor = _hyperbolic(s, y)
    sine, cosine = s.math("sin", x), s.math("cos", x)
    im = s.select(s.eq(x, 0), s.mul(x, s.copysign(1, y)), s.mul(s.mul(sine, sinh), factor))
    return s.complex(s.mul(s.mul(cosine, cosh), factor), s.neg(im))


@complex_math("sinh")
def _sinh(s: S, z: Expr) -> Expr:
    return times_minus_i(s, s.math("sin", times_i(s, z)))


@complex_math("cosh")
def _cosh(s: S, z: Expr) -> Expr:
    return s.math("cos", times_i(s, z))


@complex_math("tan")
def _tan(s: S, z: Expr) -> Expr:
    return times_minus_i(s, s.math("tanh", times_i(s, z)))


@complex_math("tanh")
def _tanh(s: S, z: Expr) -> Expr:
    """Kahan: with t = tan y, s = sinh x, b = 1 + t^2, r = sqrt(1 + s^2)."""
    x, y = _parts(s, z)
    limit = 11.0 if x.dtype.itemsize == 4 else 22.0
    far = s.gt(s.abs(x), limit)
    bounded = s.clamp(-limit, x, limit)
    t, sh = s.math("tan", y), s.math("sinh", bounded)
    b, r = s.add(1, s.mul(t, t)), s.sqrt(s.add(1, s.mul(sh, sh)))
    den = s.add(1, s.mul(b, s.mul(sh, sh)))
    re = s.div(s.mul(b, s.mul(r, sh)), den)
    im = s.div(t, den)
    damped = s.mul(s.mul(s.math("sin", y), s.math("cos", y)), 4)
    tail = s.mul(damped, s.math("exp", s.mul(s.abs(x), -2)))
    tail = s.select(_infinite(s, x), 0, tail)
    im = s.select(s.eq(y, 0), y, s.select(far, tail, im))
    return s.complex(s.select(far, s.copysign(1, x), re), im)


def times_i(s: S, z: Expr) -> Expr:
    """i z, by exchanging the parts."""
    x, y = _parts(s, z)
    return s.complex(s.neg(y), x)


def times_minus_i(s: S, z: Expr) -> Expr:
    """-i z, by exchanging the parts."""
    x, y = _parts(s, z)
    return s.complex(y, s.neg(x))


@complex_math("pow")
def _pow(s: S, z: Expr, w: Expr) -> Expr:
    """exp(w log z); 0 to a power is 0, and 1 if the power is 0."""
    general = s.math("exp", s.mul(w, s.math("log", z)))
    zero = s.eq(z, s.const(0, z.dtype))
    trivial = s.eq(w, s.const(0, w.dtype))
    at_zero = s.select(trivial, s.const(1, z.dtype), s.const(0, z.dtype))
    return s.select(s.or_(zero, trivial), at_zero, general)


@complex_math("logistic")
def _logistic(s: S, z: Expr) -> Expr:
    return s.div(s.const(1, z.dtype), s.add(s.const(1, z.dtype), s.math("exp", s.neg(z))))


@complex_math("abs")
def _abs(s: S, z: Expr) -> Expr:
    return s.abs(z)
