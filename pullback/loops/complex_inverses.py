"""Inverse trigonometric and hyperbolic functions of complex numbers, as real expressions.

Registered with `loops/scalars.py`.  asin and acos follow Hull, Fairgrieve and Tang, "Implementing
the complex arcsine and arccosine functions using exception handling" (1997), with a selection in
place of each branch: of the first quadrant everything is computed, and signs are put back.
"""

from __future__ import annotations

import math

import numpy as np

from pullback.loops.complexes import times_i, times_minus_i
from pullback.loops.expr import Expr
from pullback.loops.scalars import ScalarBuilder, complex_math

__all__: list[str] = []

S = ScalarBuilder
_STEEP = 0.6417
"""Above it asin(b) would lose digits, and the tangent is computed from what is small."""
_NEAR = 1.5
"""Below it acosh(a) would, and is computed from a - 1."""


def _limits(x: Expr) -> tuple[float, float]:
    """Squares of numbers between these neither overflow nor are subnormal."""
    info = np.finfo(x.dtype)
    return 4 * math.sqrt(float(info.tiny)), math.sqrt(float(info.max)) / 8


def _ordinary(s: S, x: Expr, y: Expr) -> tuple[Expr, Expr, Expr]:
    """asin(x + iy) as the two arguments of an arctangent, and an imaginary part; x, y >= 0."""
    ahead, back = s.add(x, 1), s.sub(x, 1)
    r, q = s.math("hypot", ahead, y), s.math("hypot", back, y)
    a = s.mul(s.add(r, q), 0.5)
    b = s.div(x, a)
    left, squares = s.lt(x, 1), s.mul(y, y)
    before = s.div(squares, s.add(r, ahead))
    beyond = s.add(q, s.abs(back))
    steep = s.gt(b, _STEEP)
    apart = s.add(a, x)
    inside = s.mul(apart, s.add(before, beyond))
    outside = s.add(s.div(apart, s.add(r, ahead)), s.div(apart, beyond))
    root = s.sqrt(s.mul(s.select(left, inside, outside), 0.5))
    root = s.select(left, root, s.mul(y, root))
    root = s.select(steep, root, s.sqrt(s.mul(s.sub(1, b), s.add(1, b))))
    excess = s.mul(s.add(before, s.select(left, s.div(squares, beyond), beyond)), 0.5)
    near = s.lt(a, _NEAR)
    small = s.math("log1p", s.add(excess, s.sqrt(s.mul(excess, s.add(a, 1)))))
    large = s.math("log", s.add(a, s.sqrt(s.mul(s.sub(a, 1), s.add(a, 1)))))
    return s.select(steep, x, b), root, s.select(near, small, large)


def _arc(s: S, z: Expr) -> tuple[Expr, Expr, Expr]:
    """As `_ordinary`, of |re z| and |im z|, wherever they are."""
    x, y = s.abs(s.real(z)), s.abs(s.imag(z))
    low, high = _limits(x)
    opposite, adjacent, imaginary = _ordinary(s, x, y)

    flat, back = s.lt(y, low), s.sub(x, 1)
    root = s.sqrt(s.mul(s.abs(back), s.add(x, 1)))
    left, at_one = s.lt(x, 1), s.eq(x, 1)
    close = s.select(at_one, s.sqrt(y), s.select(left, root, y))
    level = s.select(at_one, s.const(1, x.dtype), s.select(left, x, root))
    low_part = s.select(left, s.div(y, root), s.math("log1p", s.add(back, root)))
    low_part = s.select(at_one, s.sqrt(y), low_part)
    opposite = s.select(flat, level, opposite)
    adjacent, imaginary = s.select(flat, close, adjacent), s.select(flat, low_part, imaginary)

    large, least = s.max(x, y), s.min(x, y)
    far, infinite = s.gt(large, high), s.or_(s.eq(x, math.inf), s.eq(y, math.inf))
    ratio = s.select(infinite, 0, s.div(least, large))
    size = s.add(s.math("log", large), s.mul(s.math("log1p", s.mul(ratio, ratio)), 0.5))
    size = s.select(infinite, math.inf, s.add(size, math.log(2.0)))
    far = s.or_(far, infinite)
    return (
        s.select(far, x, opposite),
        s.select(far, y, adjacent),
        s.select(far, size, imaginary),
    )


@complex_math("asin")
def _asin(s: S, z: Expr) -> Expr:
    opposite, adjacent, imaginary = _arc(s, z)
    re = s.copysign(s.math("atan2", opposite, adjacent), s.real(z))
    return s.complex(re, s.copysign(imaginary, s.imag(z)))


@complex_math("acos")
def _acos(s: S, z: Expr) -> Expr:
    opposite, adjacent, imaginary = _arc(s, z)
    re = s.math("atan2", adjacent, s.copysign(opposite, s.real(z)))
    return s.complex(re, s.neg(s.copysign(imaginary, s.imag(z))))


@complex_math("acosh")
def _acosh(s: S, z: Expr) -> Expr:
    """i acos z, or -i acos z, whichever lies to the right."""
    opposite, adjacent, real = _arc(s, z)
    angle = s.math("atan2", adjacent, s.copysign(opposite, s.real(z)))
    return s.complex(real, s.copysign(angle, s.imag(z)))


@complex_math("asinh")
def _asinh(s: S, z: Expr) -> Expr:
    return times_minus_i(s, s.math("asin", times_i(s, z)))


@complex_math("atan")
def _atan(s: S, z: Expr) -> Expr:
    return times_minus_i(s, s.math("atanh", times_i(s, z)))


@complex_math("atanh")
def _atanh(s: S, z: Expr) -> Expr:
    """re = log1p(4x / ((1-x)^2 + y^2)) / 4, im = atan2(2y, (1-x)(1+x) - y^2) / 2, for x >= 0.

    Far from zero re = x / |z|^2 and im = pi/2; next to the pole re = log(2/y) / 2.
    """
    x, y = s.abs(s.real(z)), s.abs(s.imag(z))
    low, high = _limits(x)
    below = s.sub(1, x)
    squares = s.add(s.mul(below, below), s.mul(y, y))
    pole = s.and_(s.eq(x, 1), s.lt(y, low))
    re = s.mul(s.math("log1p", s.div(s.mul(x, 4), s.select(pole, 1, squares))), 0.25)
    re = s.select(pole, s.mul(s.sub(math.log(2.0), s.math("log", y)), 0.5), re)
    im = s.mul(s.math("atan2", s.mul(y, 2), s.sub(s.mul(below, s.add(1, x)), s.mul(y, y))), 0.5)

    far = s.gt(s.max(x, y), high)
    infinite = s.or_(s.eq(x, math.inf), s.eq(y, math.inf))
    size = s.math("hypot", s.mul(x, 0.5), s.mul(y, 0.5))
    decayed = s.mul(s.div(s.div(s.mul(x, 0.5), size), size), 0.5)
    re = s.select(infinite, 0, s.select(far, decayed, re))
    im = s.select(s.or_(far, infinite), s.select(s.is_nan(y), y, math.pi / 2), im)
    return s.complex(s.copysign(re, s.real(z)), s.copysign(im, s.imag(z)))
