"""StableHLO of integrals and hypergeometric functions: series, continued fractions, sums.

All are evaluated in double precision.  Continued fractions have a fixed number of terms and are
evaluated from their end; where one converges slowly, a power series takes over.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from pullback.core import dtypes
from pullback.core.stablehlo import Emitter, Value
from pullback.ops.hlo_special import in_double, until_settled

__all__ = [
    "cosine_integral",
    "dawson",
    "exponential_integral_1",
    "exponential_integral_i",
    "exponential_integral_n",
    "faddeeva_imag",
    "faddeeva_real",
    "fresnel_cosine",
    "fresnel_sine",
    "hyp1f1",
    "hyp1f1_slope",
    "hyp2f1",
    "hyp2f1_slope",
    "owens_t",
    "sine_integral",
    "spence",
]

_F64: Final = dtypes.float64
_EULER: Final = 0.57721566490153286061
_EPS: Final = 2.0**-54
_FRACTION: Final = 120
"""Terms of continued fractions."""


def _powers(b: Emitter, x: Value, first: Any, ratio: Callable[..., Value], weigh: Any) -> Value:
    """The sum of weigh(n, t_n), where t_0 is `first` and t_n = t_(n-1) ratio(n, x)."""
    s = b.s
    term = first if not isinstance(first, float) else b.full(x.shape, first, _F64)

    def step(n: Value, term: Value, total: Value) -> tuple[Sequence[Value], Value]:
        term = s.mul(term, ratio(n, x))
        new = s.add(total, weigh(n, term))
        return [term, new], s.gt(s.abs(term), s.mul(s.abs(new), _EPS))

    zero = b.full(x.shape, 0, _F64)
    return until_settled(b, [term, zero], step)[1]


def _from_end(b: Emitter, last: Value, step: Callable[[Value, Value], Value]) -> Value:
    """A continued fraction: `value = step(k, value)` for k from the last term to the first."""
    s = b.s

    def each(i: Value, value: Value) -> list[Value]:
        k = s.sub(float(_FRACTION), s.convert(i, _F64))
        return [step(k, value)]

    return b.loop_n(_FRACTION, [last], each)[0]


# --------------------------------------------------------------------------- exponential integrals


def _entire(b: Emitter, x: Value) -> Value:
    """Ein: the sum of x^k / (k k!) for k >= 1."""
    s = b.s
    return _powers(b, x, 1.0, lambda n, x: s.div(x, n), lambda n, t: s.div(t, n))


def _e1(b: Emitter, x: Value) -> Value:
    """E1 of positive numbers."""
    s = b.s
    near = s.lt(x, 2.0)
    small, large = b.select(near, x, 1.0), b.select(near, b.full(x.shape, 2.0, _F64), x)
    series = s.sub(s.neg(s.add(s.math("log", small), _EULER)), _entire(b, s.neg(small)))

    def step(k: Value, value: Value) -> Value:
        odd = s.sub(s.mul(k, 2.0), 1.0)
        return s.sub(s.add(large, odd), s.div(s.mul(k, k), value))  # type: ignore[no-any-return]

    fraction = _from_end(b, s.add(large, 2.0 * _FRACTION + 1), step)
    out = b.select(near, series, s.div(s.math("exp", s.neg(large)), fraction))
    out = b.select(s.eq(x, 0.0), b.full((), math.inf, _F64), out)
    out = b.select(s.eq(x, math.inf), b.full((), 0.0, _F64), out)
    return b.select(s.ge(x, 0.0), out, b.full((), math.nan, _F64))


def _ei(b: Emitter, x: Value) -> Value:
    s = b.s
    size = s.abs(x)
    middle = s.and_(s.gt(size, 0.0), s.lt(size, 40.0))
    inside = b.select(middle, size, b.full((), 1.0, _F64))
    series = s.add(s.add(s.math("log", inside), _EULER), _entire(b, inside))
    far = b.select(s.lt(size, 40.0), b.full((), 40.0, _F64), size)
    tail = b.full(x.shape, 1.0, _F64)
    for k in range(40, 0, -1):
        tail = s.add(s.mul(s.div(tail, far), float(k)), 1.0)
    high = s.mul(s.div(s.math("exp", far), far), tail)
    high = b.select(s.eq(far, math.inf), far, high)
    out = b.select(s.lt(size, 40.0), series, high)
    out = b.select(s.lt(x, 0.0), s.neg(_e1(b, size)), out)
    out = b.select(s.eq(x, 0.0), b.full((), -math.inf, _F64), out)
    return b.select(s.is_nan(x), x, out)


def _en(b: Emitter, n: Value, x: Value) -> Value:
    """E_n for whole n >= 0 and x >= 0."""
    s = b.s
    near = s.lt(x, 1.0)
    small, large = (
        b.select(near, x, b.full((), 0.5, _F64)),
        b.select(near, b.full((), 1.0, _F64), x),
    )
    start = s.sub(n, 1.0)

    def step(k: Value, value: Value) -> Value:
        top = s.mul(k, s.add(start, k))
        bottom = s.add(s.add(large, n), s.mul(s.sub(k, 1.0), 2.0))
        return s.sub(bottom, s.div(top, value))  # type: ignore[no-any-return]

    last = s.add(s.add(large, n), 2.0 * _FRACTION)
    high = s.div(s.math("exp", s.neg(large)), _from_end(b, last, step))

    def weigh(m: Value, term: Value) -> Value:
        gap = s.sub(m, start)
        none = s.eq(gap, 0.0)
        return b.select(none, 0.0, s.div(term, b.select(none, b.full((), 1.0, _F64), gap)))

    first = b.select(s.eq(start, 0.0), b.full((), 1.0, _F64), start)
    zeroth = b.select(s.eq(start, 0.0), 0.0, s.div(1.0, s.neg(first)))
    total = _powers(b, small, 1.0, lambda m, x: s.div(s.neg(x), m), weigh)
    at = b.select(s.gt(n, 0.0), n, b.full((), 1.0, _F64))
    factor = s.math("exp", s.sub(s.mul(s.sub(at, 1.0), s.math("log", small)), s.math("lgamma", at)))
    even = s.eq(s.rem(s.sub(at, 1.0), 2.0), 0.0)
    factor = b.select(even, factor, s.neg(factor))
    factor = s.mul(factor, s.sub(s.math("digamma", at), s.math("log", small)))
    low = s.sub(s.sub(factor, total), zeroth)
    out = b.select(near, low, high)
    out = b.select(s.eq(n, 0.0), s.div(s.math("exp", s.neg(x)), x), out)
    limit = b.select(s.gt(n, 1.0), s.div(1.0, first), b.full((), math.inf, _F64))
    out = b.select(s.eq(x, 0.0), limit, out)
    defined = s.and_(s.and_(s.eq(s.floor(n), n), s.ge(n, 0.0)), s.ge(x, 0.0))
    return b.select(defined, out, b.full((), math.nan, _F64))


exponential_integral_1 = in_double(_e1)
exponential_integral_i = in_double(_ei)
exponential_integral_n = in_double(_en)

# --------------------------------------------------------------------------- sines and cosines


def _sici(b: Emitter, x: Value) -> tuple[Value, Value]:
    """Si and Ci of |x|: by series, and from E1(ix) = -Ci(x) + i (Si(x) - pi / 2)."""
    s = b.s
    size = s.abs(x)
    near = s.lt(size, 4.0)
    small, large = b.select(near, size, 1.0), b.select(near, b.full(x.shape, 4.0, _F64), size)
    square = s.neg(s.mul(small, small))

    def odd(n: Value, _: Value) -> Value:
        twice = s.mul(n, 2.0)
        return s.div(square, s.mul(twice, s.add(twice, 1.0)))  # type: ignore[no-any-return]

    def even(n: Value, _: Value) -> Value:
        twice = s.mul(n, 2.0)
        return s.div(square, s.mul(twice, s.sub(twice, 1.0)))  # type: ignore[no-any-return]

    sine = _powers(b, small, small, odd, lambda n, t: s.div(t, s.add(s.mul(n, 2.0), 1.0)))
    cosine = _powers(b, small, 1.0, even, lambda n, t: s.div(t, s.mul(n, 2.0)))
    positive = b.select(s.gt(small, 0.0), small, b.full((), 1.0, _F64))
    low = s.add(small, sine), s.add(s.add(s.math("log", positive), _EULER), cosine)
    unit = s.complex(b.full(x.shape, 0, _F64), large)

    def step(k: Value, value: Value) -> Value:
        turned = s.complex(s.sub(s.mul(k, 2.0), 1.0), b.full((), 0, _F64))
        squared = s.complex(s.mul(k, k), b.full((), 0, _F64))
        return s.sub(s.add(unit, turned), s.div(squared, value))  # type: ignore[no-any-return]

    last = s.add(unit, complex(2.0 * _FRACTION + 1))
    fraction = _from_end(b, last, step)
    turn = s.complex(s.math("cos", large), s.neg(s.math("sin", large)))
    value = s.div(turn, fraction)
    high = s.add(s.imag(value), math.pi / 2), s.neg(s.real(value))
    sine, cosine = (b.select(near, u, v) for u, v in zip(low, high, strict=True))
    infinite = s.eq(size, math.inf)
    sine = b.select(infinite, b.full((), math.pi / 2, _F64), sine)
    cosine = b.select(infinite, b.full((), 0.0, _F64), cosine)
    return sine, cosine


def _si(b: Emitter, x: Value) -> Value:
    sine = b.s.mul(b.s.sign(x), _sici(b, x)[0])
    return b.select(b.s.is_nan(x), x, sine)


def _ci(b: Emitter, x: Value) -> Value:
    s = b.s
    out = b.select(s.eq(x, 0.0), b.full((), -math.inf, _F64), _sici(b, x)[1])
    return b.select(s.gt(x, -math.inf), out, b.full((), math.nan, _F64))


sine_integral = in_double(_si)
cosine_integral = in_double(_ci)

# --------------------------------------------------------------------------- Faddeeva's function

_NODES: Final = 11
_STEP: Final = math.sqrt(math.pi / (_NODES + 1))


def _quadrant(b: Emitter, x: Value, y: Value) -> Value:
    """w(x + iy) for x, y >= 0: the trapezoidal and the midpoint rule, with the pole's residue.

    M. Al Azah, S. N. Chandler-Wilde, "Computation of the complex error function using modified
    trapezoidal rules", SIAM J. Numer. Anal. 59 (2021).
    """
    s = b.s
    z = s.complex(x, y)
    square = s.mul(z, z)

    def rule(offset: float, first: int) -> Value:
        total = b.full(z.shape, 0, np.dtype(np.complex128))
        for k in range(first, _NODES + 1):
            node = ((k + offset) * _STEP) ** 2
            total = s.add(total, s.div(complex(math.exp(-node)), s.sub(square, complex(node))))
        factor = s.mul(z, complex(0, 2 * _STEP / math.pi))
        return s.mul(factor, total)  # type: ignore[no-any-return]

    middle = rule(0.5, 0)
    whole = s.add(rule(0.0, 1), s.div(complex(0, _STEP / math.pi), z))
    turn = s.math("exp", s.mul(z, complex(0, -2 * math.pi / _STEP)))
    residue = s.mul(s.math("exp", s.neg(square)), 2 + 0j)
    whole = s.add(whole, s.div(residue, s.sub(1 + 0j, turn)))
    turned = s.add(middle, s.div(residue, s.add(turn, 1 + 0j)))
    place = s.div(x, _STEP)
    rest = s.sub(place, s.floor(place))
    between = s.and_(s.ge(rest, 0.25), s.le(rest, 0.75))
    near = b.select(between, whole, turned)
    limit = b.select(s.gt(x, math.pi / _STEP), x, b.full((), math.pi / _STEP, _F64))
    return b.select(s.ge(y, limit), middle, near)


def _faddeeva(b: Emitter, x: Value, y: Value) -> Value:
    """w(z): from the first quadrant by w(-conj z) = conj w(z) and w(-z) = 2 exp(-z^2) - w(z)."""
    s = b.s
    value = _quadrant(b, s.abs(x), s.abs(y))
    below = s.lt(y, 0.0)
    # With y < 0 it is w(-z) that is known, and -z is on the other side.
    left = s.xor(s.lt(x, 0.0), below)
    value = b.select(left, s.conj(value), value)
    z = s.complex(x, y)
    other = s.sub(s.mul(s.math("exp", s.neg(s.mul(z, z))), 2 + 0j), value)
    return b.select(below, other, value)


faddeeva_real = in_double(lambda b, x, y: b.s.real(_faddeeva(b, x, y)))
faddeeva_imag = in_double(lambda b, x, y: b.s.imag(_faddeeva(b, x, y)))


def _dawson(b: Emitter, x: Value) -> Value:
    """Im w(x) sqrt(pi) / 2; a series near 0."""
    s = b.s
    size = s.abs(x)
    near = s.lt(size, 0.5)
    small = b.select(near, x, 0.0)
    square = s.mul(s.mul(small, small), -2.0)

    def ratio(n: Value, _: Value) -> Value:
        return s.div(square, s.add(s.mul(n, 2.0), 1.0))  # type: ignore[no-any-return]

    low = s.add(small, _powers(b, small, small, ratio, lambda n, t: t))
    finite = s.lt(size, 1e150)
    far = b.select(s.or_(near, s.not_(finite)), b.full((), 1.0, _F64), size)
    value = s.imag(_quadrant(b, far, b.full(x.shape, 0, _F64)))
    high = s.mul(s.sign(x), s.mul(value, math.sqrt(math.pi) / 2))
    high = b.select(finite, high, s.div(0.5, x))
    return b.select(s.is_nan(x), x, b.select(near, low, high))


dawson = in_double(_dawson)


def _fresnel(b: Emitter, x: Value) -> tuple[Value, Value]:
    """S and C of |x|: by series, and from C + iS = (1 + i) / 2 (1 - exp(i pi x^2 / 2) w)."""
    s = b.s
    size = s.abs(x)
    near = s.lt(size, 1.5)
    small, large = b.select(near, size, 1.0), b.select(near, b.full(x.shape, 1.5, _F64), size)
    large = b.select(s.lt(large, 1e7), large, b.full((), 1e7, _F64))
    angle = s.mul(s.mul(small, small), math.pi / 2)
    square = s.neg(s.mul(angle, angle))

    def series(first: Value, shift: float, start: float) -> Value:
        def ratio(n: Value, _: Value) -> Value:
            twice = s.add(s.mul(n, 2.0), shift)
            return s.div(square, s.mul(twice, s.sub(twice, 1.0)))  # type: ignore[no-any-return]

        def weigh(n: Value, term: Value) -> Value:
            return s.div(term, s.add(s.mul(n, 4.0), start))  # type: ignore[no-any-return]

        return s.add(s.div(first, start), _powers(b, small, first, ratio, weigh))  # type: ignore[no-any-return]

    low = series(s.mul(small, angle), 1.0, 3.0), series(small, 0.0, 1.0)
    scale = math.sqrt(math.pi) / 2
    along = s.mul(large, scale)
    value = _quadrant(b, along, along)
    # The angle modulo a turn: large squares lose what a cosine needs.
    whole = s.sub(large, s.mul(s.floor(s.div(large, 2.0)), 2.0))
    rest = s.mul(s.sub(large, whole), whole)
    turns = s.add(s.mul(whole, whole), s.mul(rest, 2.0))
    turns = s.sub(turns, s.mul(s.floor(s.div(turns, 4.0)), 4.0))
    angle = s.mul(turns, math.pi / 2)
    turn = s.complex(s.math("cos", angle), s.math("sin", angle))
    both = s.mul(s.sub(1 + 0j, s.mul(turn, value)), 0.5 + 0.5j)
    high = s.imag(both), s.real(both)
    sine, cosine = (b.select(near, u, v) for u, v in zip(low, high, strict=True))
    return sine, cosine


def _signed(b: Emitter, x: Value, value: Value) -> Value:
    infinite = b.s.eq(b.s.abs(x), math.inf)
    value = b.select(infinite, b.full((), 0.5, _F64), value)
    return b.select(b.s.is_nan(x), x, b.s.mul(b.s.sign(x), value))


fresnel_sine = in_double(lambda b, x: _signed(b, x, _fresnel(b, x)[0]))
fresnel_cosine = in_double(lambda b, x: _signed(b, x, _fresnel(b, x)[1]))

# --------------------------------------------------------------------------- dilogarithm


def _spence(b: Emitter, x: Value) -> Value:
    """Li2(1 - x): a series between 1/2 and 3/2, which reflections bring the others to."""
    s = b.s
    big = s.gt(x, 1.5)
    one = b.full((), 1.0, _F64)
    y = b.select(big, s.div(1.0, b.select(big, x, one)), x)
    y = b.select(s.and_(s.ge(y, 0.0), s.le(y, 1.5)), y, one)
    low = s.lt(y, 0.5)
    w = b.select(low, y, s.sub(1.0, y))

    def ratio(_: Value, w: Value) -> Value:
        return w

    total = _powers(b, w, 1.0, ratio, lambda n, t: s.div(t, s.mul(n, n)))
    positive = b.select(s.gt(y, 0.0), y, one)
    logs = s.mul(s.math("log", positive), s.math("log1p", s.neg(b.select(low, y, 0.0))))
    reflected = s.sub(s.sub(math.pi**2 / 6, logs), total)
    value = b.select(low, reflected, total)
    log = s.math("log", b.select(big, x, one))
    value = b.select(big, s.sub(s.mul(s.mul(log, log), -0.5), value), value)
    defined = s.and_(s.ge(x, 0.0), s.lt(x, math.inf))
    return b.select(defined, value, b.full((), math.nan, _F64))


spence = in_double(_spence)

# --------------------------------------------------------------------------- Owen's function


def _owens_t(b: Emitter, h: Value, a: Value) -> Value:
    """Gauss's quadrature of the definition; for |a| > 1 of T(a h, 1 / a), which is the rest."""
    s = b.s
    h, steep = s.abs(h), s.abs(a)
    far = s.gt(steep, 1.0)
    top = b.select(far, s.div(1.0, b.select(far, steep, b.full((), 1.0, _F64))), steep)
    at = b.select(far, s.mul(h, b.select(s.eq(h, 0.0), 0.0, steep)), h)
    half = s.mul(s.mul(at, at), -0.5)
    total = b.full(h.shape, 0, _F64)
    for node, weight in zip(*np.polynomial.legendre.leggauss(48), strict=True):
        place = s.mul(top, float(1 + node) / 2)
        spread = s.add(s.mul(place, place), 1.0)
        part = s.div(s.math("exp", s.mul(half, spread)), spread)
        total = s.add(total, s.mul(part, float(weight) / (4 * math.pi)))
    near = s.mul(total, top)
    p, q = (s.mul(s.math("erfc", s.mul(v, math.sqrt(0.5))), 0.5) for v in (h, at))
    rest = s.sub(s.mul(s.add(p, q), 0.5), s.mul(p, q))
    value = s.mul(s.sign(a), b.select(far, s.sub(rest, near), near))
    return b.select(s.or_(s.is_nan(h), s.is_nan(a)), b.full((), math.nan, _F64), value)


owens_t = in_double(_owens_t)

# --------------------------------------------------------------------------- hypergeometric


def _series(b: Emitter, tops: Sequence[Value], bottom: Value, x: Value) -> list[Value]:
    """The sum over k of prod (top)_k / (bottom)_k x^k / k!, and its slopes in the parameters."""
    s = b.s
    params = [*tops, bottom]
    one, zero = b.full(x.shape, 1, _F64), b.full(x.shape, 0, _F64)
    count = len(params)

    def step(n: Value, *state: Value) -> tuple[Sequence[Value], Value]:
        term, total = state[:2]
        rates, slopes = state[2 : 2 + count], state[2 + count :]
        k = s.sub(n, 1.0)
        rates = tuple(
            s.add(r, s.div(1.0 if i < len(tops) else -1.0, s.add(p, k)))
            for i, (r, p) in enumerate(zip(rates, params, strict=True))
        )
        for top in tops:
            term = s.mul(term, s.add(top, k))
        term = s.div(s.mul(term, x), s.mul(s.add(bottom, k), n))
        total = s.add(total, term)
        moves = [s.mul(term, r) for r in rates]
        slopes = tuple(s.add(v, m) for v, m in zip(slopes, moves, strict=True))
        moving = s.gt(s.abs(term), s.mul(s.abs(total), _EPS))
        for v, m in zip(slopes, moves, strict=True):
            moving = s.or_(moving, s.gt(s.abs(m), s.mul(s.abs(v), _EPS)))
        moving = s.and_(s.or_(moving, s.lt(n, 4.0)), s.is_finite(total))
        return [term, total, *rates, *slopes], moving

    out = until_settled(b, [one, one, *[zero] * (2 * count)], step)
    return [out[1], *out[2 + count :]]


def _confluent(b: Emitter, a: Value, c: Value, x: Value, which: int | None) -> Value:
    """1F1 or its slope in a parameter; for x < 0 it is exp(x) 1F1(c - a; c; -x)."""
    s = b.s
    back = s.lt(x, 0.0)
    top = b.select(back, s.sub(c, a), a)
    value, da, dc = _series(b, [top], c, s.abs(x))
    scale = s.math("exp", x)
    plain = (da, dc, value)[2 if which is None else which]
    turned = (s.neg(da), s.add(da, dc), value)[2 if which is None else which]
    return b.select(back, s.mul(turned, scale), plain)


def _gauss(b: Emitter, a: Value, p: Value, c: Value, x: Value, which: int | None) -> Value:
    """2F1 or its slope in a parameter; for x < 0 by Pfaff's transformation, NaN for x > 1."""
    s = b.s
    back = s.lt(x, 0.0)
    at = b.select(back, s.div(x, s.sub(x, 1.0)), x)
    at = b.select(s.lt(at, 1.0), at, b.full((), math.nan, _F64))
    value, da, dp, dc = _series(b, [a, b.select(back, s.sub(c, p), p)], c, at)
    log = s.math("log1p", s.abs(x))
    scale = s.math("exp", s.neg(s.mul(a, log)))
    number = 3 if which is None else which
    turned = (s.sub(da, s.mul(log, value)), s.neg(dp), s.add(dc, dp), value)[number]
    out = b.select(back, s.mul(turned, scale), (da, dp, dc, value)[number])
    if which is not None:
        return out
    # Gauss's sum at 1.
    rest = s.sub(s.sub(c, a), p)
    logs = s.add(s.math("lgamma", c), s.math("lgamma", rest))
    logs = s.sub(logs, s.add(s.math("lgamma", s.sub(c, a)), s.math("lgamma", s.sub(c, p))))
    positive = s.and_(s.gt(rest, 0.0), s.and_(s.gt(s.sub(c, a), 0.0), s.gt(s.sub(c, p), 0.0)))
    edge = s.and_(s.eq(x, 1.0), s.and_(positive, s.gt(c, 0.0)))
    return b.select(edge, s.math("exp", logs), out)


hyp1f1 = in_double(lambda b, a, c, x: _confluent(b, a, c, x, None))
hyp2f1 = in_double(lambda b, a, p, c, x: _gauss(b, a, p, c, x, None))


def hyp1f1_slope(which: int) -> Callable[..., Value]:
    """The slope of 1F1 in its parameter of that number."""
    return in_double(lambda b, a, c, x: _confluent(b, a, c, x, which))


def hyp2f1_slope(which: int) -> Callable[..., Value]:
    """The slope of 2F1 in its parameter of that number."""
    return in_double(lambda b, a, p, c, x: _gauss(b, a, p, c, x, which))
