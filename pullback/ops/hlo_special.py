"""StableHLO of special functions that CHLO does not have: series, continued fractions, fits.

All are evaluated in double precision, whatever the operands have, and rounded at the end, since
factors such as x**a exp(-x) / gamma(a) lose digits. A loop ends when no element changes any more.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from numpy.polynomial import chebyshev

from pullback.core import dtypes
from pullback.core.stablehlo import Emitter, Value
from pullback.lazy import LazyModule

__all__ = [
    "bessel_i0e",
    "igamma",
    "igamma_grad_a",
    "igammac",
    "in_double",
    "incomplete_beta",
    "random_gamma_grad",
    "until_settled",
]

_scipy: Final = LazyModule("scipy.special")
_F64: Final = dtypes.float64
_EPS: Final = 2.0**-53
_TINY: Final = 1e-300
_STEPS: Final = 20_000


def in_double(rule: Callable[..., Value]) -> Callable[..., Value]:
    """The rule on operands in double precision, its result rounded."""

    def wide(b: Emitter, *xs: Value, **_: Any) -> Value:
        shape, dtype = b.types[0]
        operands = [b.convert(x, _F64) for x in xs]
        operands = [x if x.shape == shape else b.broadcast(x, shape) for x in operands]
        return b.convert(rule(b, *operands), dtype)

    return wide


def until_settled(
    b: Emitter,
    state: Sequence[Value],
    step: Callable[..., tuple[Sequence[Value], Value]],
) -> list[Value]:
    """`state, moving = step(n, *state)` for n = 1, 2, ... until no element is moving."""
    start = b.full((), 1, _F64)
    going = b.full((), True, dtypes.bool_)

    def body(n: Value, _: Value, *now: Value) -> list[Value]:
        new, moving = step(n, *now)
        axes = list(range(len(moving.shape)))
        some = b.reduce([moving], axes, [False], lambda s, a, v: [s.or_(a[0], v[0])])[0]
        return [b.s.add(n, 1.0), b.s.and_(some, b.s.lt(n, float(_STEPS))), *new]

    return b.loop([start, going, *state], lambda _, more, *rest: more, body)[2:]


# --------------------------------------------------------------------------- incomplete gamma


def _factor(b: Emitter, a: Value, x: Value) -> Value:
    """x**a exp(-x) / gamma(a)."""
    s = b.s
    power = s.sub(s.mul(a, s.math("log", x)), x)
    out: Value = s.math("exp", s.sub(power, s.math("lgamma", a)))
    return out


def _series(b: Emitter, a: Value, x: Value) -> tuple[Value, Value]:
    """The sum of x**n / ((a+1) ... (a+n)), and its slope in a."""
    s = b.s
    one, zero = b.full(x.shape, 1, _F64), b.full(x.shape, 0, _F64)

    def step(n: Value, c: Value, dc: Value, total: Value, slope: Value) -> Any:
        r = s.add(a, n)
        c = s.div(s.mul(c, x), r)
        dc = s.div(s.sub(s.mul(dc, x), c), r)
        total, slope = s.add(total, c), s.add(slope, dc)
        moving = s.or_(
            s.gt(s.abs(c), s.mul(s.abs(total), _EPS)), s.gt(s.abs(dc), s.mul(s.abs(slope), _EPS))
        )
        return [c, dc, total, slope], moving

    _, _, total, slope = until_settled(b, [one, zero, one, zero], step)
    return total, slope


def _fraction(b: Emitter, a: Value, x: Value) -> tuple[Value, Value]:
    """The continued fraction of the upper function (Lentz's method), and its slope in a."""
    s = b.s
    zero = b.full(x.shape, 0, _F64)
    base = s.sub(s.add(x, 1.0), a)
    d = s.div(1.0, base)
    dd = s.mul(d, d)
    c = b.full(x.shape, 1 / _TINY, _F64)

    def step(n: Value, c: Value, dc: Value, d: Value, dd: Value, h: Value, dh: Value) -> Any:
        an = s.mul(s.neg(n), s.sub(n, a))
        bn = s.add(base, s.mul(n, 2.0))
        t = s.add(s.mul(an, d), bn)
        t = b.select(s.lt(s.abs(t), _TINY), b.full((), _TINY, _F64), t)
        dt = s.sub(s.add(s.mul(n, d), s.mul(an, dd)), 1.0)
        new_c = s.add(bn, s.div(an, c))
        dc = s.sub(s.sub(s.div(n, c), s.div(s.mul(s.div(an, c), dc), c)), 1.0)
        d = s.div(1.0, t)
        dd = s.neg(s.mul(dt, s.mul(d, d)))
        delta = s.mul(new_c, d)
        d_delta = s.add(s.mul(dc, d), s.mul(new_c, dd))
        dh = s.add(s.mul(dh, delta), s.mul(h, d_delta))
        h = s.mul(h, delta)
        moving = s.or_(
            s.gt(s.abs(s.sub(delta, 1.0)), 2 * _EPS),
            s.gt(s.abs(s.mul(h, d_delta)), s.mul(s.abs(dh), 2 * _EPS)),
        )
        return [new_c, dc, d, dd, h, dh], moving

    out = until_settled(b, [c, zero, d, dd, d, dd], step)
    return out[4], out[5]


def _regions(b: Emitter, a: Value, x: Value) -> tuple[Value, Value, Value, Value, Value]:
    """Where the fraction is used; operands of the series; operands of the fraction."""
    s = b.s
    upper = s.and_(s.gt(x, 1.0), s.gt(x, a))
    good = s.and_(s.and_(s.gt(x, 0.0), s.is_finite(x)), s.and_(s.gt(a, 0.0), s.is_finite(a)))
    low, high = s.and_(good, s.not_(upper)), s.and_(good, upper)
    one, two = b.full((), 1, _F64), b.full((), 2, _F64)
    return (
        upper,
        b.select(low, a, one),
        b.select(low, x, one),
        b.select(high, a, one),
        b.select(high, x, two),
    )


def _gamma_parts(b: Emitter, a: Value, x: Value, is_upper: bool) -> Value:
    s = b.s
    upper, a_low, x_low, a_high, x_high = _regions(b, a, x)
    low = s.div(s.mul(_series(b, a_low, x_low)[0], _factor(b, a_low, x_low)), a_low)
    high = s.mul(_fraction(b, a_high, x_high)[0], _factor(b, a_high, x_high))
    one = b.full((), 1, _F64)
    if is_upper:
        out, at_zero, at_infinity = b.select(upper, high, s.sub(one, low)), 1.0, 0.0
    else:
        out, at_zero, at_infinity = b.select(upper, s.sub(one, high), low), 0.0, 1.0
    out = b.select(s.eq(x, 0.0), b.full((), at_zero, _F64), out)
    out = b.select(s.eq(a, float("inf")), b.full((), at_zero, _F64), out)
    far = s.or_(s.eq(x, float("inf")), s.eq(a, 0.0))
    out = b.select(far, b.full((), at_infinity, _F64), out)
    both = s.or_(
        s.and_(s.eq(a, 0.0), s.eq(x, 0.0)),
        s.and_(s.eq(a, float("inf")), s.eq(x, float("inf"))),
    )
    outside = s.or_(s.lt(x, 0.0), s.lt(a, 0.0))
    bad = s.or_(s.or_(both, outside), s.or_(s.is_nan(a), s.is_nan(x)))
    return b.select(bad, b.full((), np.nan, _F64), out)


igamma = in_double(lambda b, a, x: _gamma_parts(b, a, x, False))
igammac = in_double(lambda b, a, x: _gamma_parts(b, a, x, True))


def _gamma_slope(b: Emitter, a: Value, x: Value) -> Value:
    """The slope of the lower function in a."""
    s = b.s
    upper, a_low, x_low, a_high, x_high = _regions(b, a, x)
    total, slope = _series(b, a_low, x_low)
    log_slope = s.sub(s.math("log", x_low), s.math("digamma", a_low))
    low = s.add(slope, s.mul(total, s.sub(log_slope, s.div(1.0, a_low))))
    low = s.div(s.mul(low, _factor(b, a_low, x_low)), a_low)
    h, dh = _fraction(b, a_high, x_high)
    log_slope = s.sub(s.math("log", x_high), s.math("digamma", a_high))
    high = s.mul(s.add(dh, s.mul(h, log_slope)), _factor(b, a_high, x_high))
    out = b.select(upper, s.neg(high), low)
    outside = s.or_(s.lt(x, 0.0), s.le(a, 0.0))
    out = b.select(s.eq(x, 0.0), b.full((), 0, _F64), out)
    bad = s.or_(outside, s.or_(s.is_nan(a), s.is_nan(x)))
    return b.select(bad, b.full((), np.nan, _F64), out)


igamma_grad_a = in_double(_gamma_slope)


def _sample_slope(b: Emitter, a: Value, x: Value) -> Value:
    """How a gamma variate moves with a: its distribution's slope over its density."""
    s = b.s
    density = s.div(_factor(b, a, x), x)
    return s.neg(s.div(_gamma_slope(b, a, x), density))  # type: ignore[no-any-return]


random_gamma_grad = in_double(_sample_slope)

# --------------------------------------------------------------------------- incomplete beta


def _beta_fraction(b: Emitter, p: Value, q: Value, x: Value) -> Value:
    """The continued fraction of the incomplete beta function (Lentz's method)."""
    s = b.s
    tiny = b.full((), _TINY, _F64)

    def kept(v: Value) -> Value:
        return b.select(s.lt(s.abs(v), _TINY), tiny, v)

    total = s.add(p, q)
    c = b.full(x.shape, 1, _F64)
    d = s.div(1.0, kept(s.sub(1.0, s.div(s.mul(total, x), s.add(p, 1.0)))))

    def step(n: Value, c: Value, d: Value, h: Value) -> Any:
        twice = s.add(p, s.mul(n, 2.0))
        even = s.div(s.mul(s.mul(n, s.sub(q, n)), x), s.mul(s.sub(twice, 1.0), twice))
        d = s.div(1.0, kept(s.add(1.0, s.mul(even, d))))
        c = kept(s.add(1.0, s.div(even, c)))
        h = s.mul(h, s.mul(d, c))
        odd = s.neg(s.mul(s.mul(s.add(p, n), s.add(total, n)), x))
        odd = s.div(odd, s.mul(twice, s.add(twice, 1.0)))
        d = s.div(1.0, kept(s.add(1.0, s.mul(odd, d))))
        c = kept(s.add(1.0, s.div(odd, c)))
        delta = s.mul(d, c)
        return [c, d, s.mul(h, delta)], s.gt(s.abs(s.sub(delta, 1.0)), 2 * _EPS)

    return until_settled(b, [c, d, d], step)[2]


def _incomplete_beta(b: Emitter, p: Value, q: Value, x: Value) -> Value:
    s = b.s
    half = b.full((), 0.5, _F64)
    one = b.full((), 1, _F64)
    good = s.and_(s.and_(s.gt(p, 0.0), s.gt(q, 0.0)), s.and_(s.gt(x, 0.0), s.lt(x, 1.0)))
    good = s.and_(good, s.and_(s.is_finite(p), s.is_finite(q)))
    a, c = b.select(good, p, one), b.select(good, q, one)
    z = b.select(good, x, half)
    other = s.gt(z, s.div(s.add(a, 1.0), s.add(s.add(a, c), 2.0)))
    a, c = b.select(other, c, a), b.select(other, a, c)
    rest = s.sub(1.0, z)
    z, rest = b.select(other, rest, z), b.select(other, z, rest)
    power = s.add(s.mul(a, s.math("log", z)), s.mul(c, s.math("log", rest)))
    norm = s.sub(s.math("lgamma", s.add(a, c)), s.add(s.math("lgamma", a), s.math("lgamma", c)))
    front = s.div(s.math("exp", s.add(power, norm)), a)
    value = s.mul(front, _beta_fraction(b, a, c, z))
    value = b.select(other, s.sub(one, value), value)
    value = b.select(s.eq(x, 0.0), b.full((), 0, _F64), value)
    value = b.select(s.eq(x, 1.0), one, value)
    outside = s.or_(s.or_(s.le(p, 0.0), s.le(q, 0.0)), s.or_(s.lt(x, 0.0), s.gt(x, 1.0)))
    nan = s.or_(s.is_nan(x), s.or_(s.is_nan(p), s.is_nan(q)))
    return b.select(s.or_(outside, nan), b.full((), np.nan, _F64), value)


incomplete_beta = in_double(_incomplete_beta)

# --------------------------------------------------------------------------- Bessel functions


@functools.cache
def _i0e_fits() -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Chebyshev coefficients of I0e(4 + 4 t), and of sqrt(x) I0e(x) with 16 / x = 1 + t."""
    near = chebyshev.chebinterpolate(lambda t: _scipy.i0e(4 + 4 * t), 29)

    def far(t: Any) -> Any:
        x = 16 / np.maximum(1 + t, 1e-9)
        return np.sqrt(x) * _scipy.i0e(x)

    return tuple(map(float, near)), tuple(map(float, chebyshev.chebinterpolate(far, 24)))


def _chebyshev(b: Emitter, t: Value, coefficients: Sequence[float]) -> Value:
    """A Chebyshev series by Clenshaw's recurrence."""
    s = b.s
    last, before = b.full(t.shape, 0, _F64), b.full(t.shape, 0, _F64)
    twice = s.mul(t, 2.0)
    for value in reversed(coefficients[1:]):
        last, before = s.add(s.sub(s.mul(twice, last), before), value), last
    out: Value = s.add(s.sub(s.mul(t, last), before), coefficients[0])
    return out


def _bessel_i0e(b: Emitter, x: Value) -> Value:
    s = b.s
    size = s.abs(x)
    near, far = _i0e_fits()
    inside = s.le(size, 8.0)
    eight = b.full((), 8, _F64)
    small = b.select(inside, size, eight)
    large = b.select(inside, eight, size)
    low = _chebyshev(b, s.sub(s.div(small, 4.0), 1.0), near)
    high = s.div(_chebyshev(b, s.sub(s.div(16.0, large), 1.0), far), s.sqrt(large))
    out = b.select(inside, low, high)
    return b.select(s.is_nan(x), x, out)


bessel_i0e = in_double(_bessel_i0e)
