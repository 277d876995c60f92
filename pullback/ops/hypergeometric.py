"""Hypergeometric functions 1F1 and 2F1.

Values are SciPy's.  Slopes in the parameters differentiate the power series term by term; where
that would alternate, Kummer's and Pfaff's transformations (DLMF 13.2.39 and 15.8.1) come first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from pullback.core import dtypes
from pullback.core.primitive import Primitive
from pullback.errors import UnsupportedError
from pullback.ops import hlo_integrals
from pullback.ops.arithmetic import add, div, mul
from pullback.ops.gamma import elements, extern, scipy_function
from pullback.ops.kinds import FLOAT, binary, widened
from pullback.ops.samples import inputs

__all__ = ["hyp1f1", "hyp1f1_slopes", "hyp2f1", "hyp2f1_slopes"]

_TERMS: Final = 20000
_EPSILON: Final = 2.0**-54


# --------------------------------------------------------------------------- sums, for NumPy


def _series(tops: list[Any], bottom: Any, x: Any) -> list[Any]:
    """The sum over k of prod (top)_k / (bottom)_k x^k / k!, and its slopes in the parameters."""
    shape = np.broadcast_shapes(*(np.shape(p) for p in (*tops, bottom, x)))
    term, total = np.ones(shape), np.ones(shape)
    params = [*tops, bottom]
    rates = [np.zeros(shape) for _ in params]  # logarithmic slopes of the term
    slopes = [np.zeros(shape) for _ in params]
    for k in range(_TERMS):
        for i, p in enumerate(params):
            sign = 1.0 if i < len(tops) else -1.0
            rates[i] = rates[i] + sign / (p + k)
        for top in tops:
            term = term * (top + k)
        term = term * x / ((bottom + k) * (k + 1))
        total = total + term
        moves = [term * r for r in rates]
        slopes = [s + m for s, m in zip(slopes, moves, strict=True)]
        small = np.abs(term) <= _EPSILON * np.abs(total)
        for s, m in zip(slopes, moves, strict=True):
            small = small & (np.abs(m) <= _EPSILON * np.abs(s))
        if k > 2 and np.all(small | ~np.isfinite(total)):
            break
    return [total, *slopes]


# --------------------------------------------------------------------------- sums, in loops


def _series_loop(b: Any, tops: list[Any], bottom: Any, x: Any) -> list[Any]:
    """`_series` for one element of float64, as a loop."""
    s, dtype = b.s, x.dtype
    params = [*tops, bottom]
    term, total = b.var(1.0, dtype), b.var(1.0, dtype)
    rates = [b.var(0.0, dtype) for _ in params]
    slopes = [b.var(0.0, dtype) for _ in params]
    k, done = b.var(0.0, dtype), b.var(0, dtypes.int32)
    with b.while_(lambda: s.and_(s.eq(done.get(), 0), s.lt(k.get(), float(_TERMS)))):
        at = b.let(k.get())
        for i, p in enumerate(params):
            step = s.div(s.const(1.0 if i < len(tops) else -1.0, dtype), s.add(p, at))
            rates[i].set(s.add(rates[i].get(), step))
        new = s.mul(term.get(), x)
        for top in tops:
            new = s.mul(new, s.add(top, at))
        new = b.let(s.div(new, s.mul(s.add(bottom, at), s.add(at, 1.0))))
        term.set(new)
        total.set(s.add(total.get(), new))
        small = s.le(s.abs(new), s.mul(s.abs(total.get()), _EPSILON))
        for rate, slope in zip(rates, slopes, strict=True):
            move = b.let(s.mul(new, rate.get()))
            slope.set(s.add(slope.get(), move))
            small = s.and_(small, s.le(s.abs(move), s.mul(s.abs(slope.get()), _EPSILON)))
        over = s.or_(s.and_(small, s.gt(at, 2.0)), s.not_(s.is_finite(total.get())))
        done.set(s.convert(over, dtypes.int32))
        k.set(s.add(at, 1.0))
    return [b.let(v.get()) for v in (total, *slopes)]


# --------------------------------------------------------------------------- slopes of 1F1


def _slopes_1f1(which: int) -> Callable[..., Any]:
    """d/da (0) or d/db (1).  For x < 0, M(a, b, x) = exp(x) M(b - a, b, -x)."""

    def reference(a: Any, b: Any, x: Any) -> Any:
        a, b, wide = (v.astype(np.float64) for v in (a, b, x))
        back = wide < 0
        with np.errstate(all="ignore"):
            _, da, db = _series([np.where(back, b - a, a)], b, np.abs(wide))
            turned = np.exp(wide) * (-da if which == 0 else da + db)
        return np.where(back, turned, da if which == 0 else db).astype(x.dtype)

    return widened(reference)


def _slopes_1f1_lower(which: int) -> Callable[..., Any]:
    def lower(builder: Any, a: Any, b: Any, x: Any) -> Any:
        s = builder.s
        back = builder.let(s.lt(x, 0.0))
        top = builder.let(s.select(back, s.sub(b, a), a))
        _, da, db = _series_loop(builder, [top], b, builder.let(s.abs(x)))
        turned = s.mul(s.math("exp", x), s.neg(da) if which == 0 else s.add(da, db))
        return builder.let(s.select(back, turned, da if which == 0 else db))

    return lower


def _second(name: str) -> Callable[..., Any]:
    def rule(*_: Any) -> Any:
        raise UnsupportedError(f"second derivatives of {name} in its parameters have no rule")

    return rule


def _slope_primitive(
    name: str, reference: Any, lower: Any, hlo: Any, ranges: tuple[Any, ...], of: str
) -> Primitive:
    return binary(
        name,
        reference,
        FLOAT,
        jvp=tuple(_second(of) for _ in ranges),
        lower=elements(lower),
        hlo=hlo,
        samples=inputs(FLOAT, *ranges, specials="", tol=8.0, differentiable=()),
    )


_RANGES_1F1: Final = ((0.5, 3), (1, 4), (-4, 4))
hyp1f1_slopes: Final = [
    _slope_primitive(
        f"hyp1f1_slope_{letter}",
        _slopes_1f1(k),
        _slopes_1f1_lower(k),
        hlo_integrals.hyp1f1_slope(k),
        _RANGES_1F1,
        "hyp1f1",
    )
    for k, letter in enumerate("ab")
]


def _hyp1f1_jvp(k: int) -> Callable[..., Any]:
    return lambda ans, a, b, x: lambda t: mul(t, hyp1f1_slopes[k](a, b, x))


hyp1f1: Primitive = binary(
    "hyp1f1",
    scipy_function("hyp1f1"),
    FLOAT,
    jvp=(
        _hyp1f1_jvp(0),
        _hyp1f1_jvp(1),
        lambda ans, a, b, x: lambda t: mul(t, mul(div(a, b), hyp1f1(add(a, 1.0), add(b, 1.0), x))),
    ),
    lower=extern("hyp1f1"),
    hlo=hlo_integrals.hyp1f1,
    samples=inputs(FLOAT, *_RANGES_1F1, specials="", tol=4.0),
)

# --------------------------------------------------------------------------- slopes of 2F1


def _slopes_2f1(which: int) -> Callable[..., Any]:
    """d/da, d/db or d/dc.  For x < 0, F(a, b; c; x) = (1-x)^-a F(a, c - b; c; x / (x - 1))."""

    def reference(a: Any, b: Any, c: Any, x: Any) -> Any:
        a, b, c, wide = (v.astype(np.float64) for v in (a, b, c, x))
        back = wide < 0
        with np.errstate(all="ignore"):
            at = np.where(back, wide / (wide - 1), wide)
            at = np.where(at < 1, at, np.nan)
            value, da, db, dc = _series([a, np.where(back, c - b, b)], c, at)
            scale = np.power(np.where(back, 1 - wide, 1.0), -a)
            turned = (da - np.log1p(np.abs(wide)) * value, -db, dc + db)[which] * scale
        return np.where(back, turned, (da, db, dc)[which]).astype(x.dtype)

    return widened(reference)


def _slopes_2f1_lower(which: int) -> Callable[..., Any]:
    def lower(builder: Any, a: Any, b: Any, c: Any, x: Any) -> Any:
        s = builder.s
        back = builder.let(s.lt(x, 0.0))
        at = s.select(back, s.div(x, s.sub(x, 1.0)), x)
        at = builder.let(s.select(s.lt(at, 1.0), at, s.const(np.nan, x.dtype)))
        top = builder.let(s.select(back, s.sub(c, b), b))
        value, da, db, dc = _series_loop(builder, [a, top], c, at)
        log = s.math("log1p", s.abs(x))
        scale = s.math("exp", s.neg(s.mul(a, log)))
        turned = (s.sub(da, s.mul(log, value)), s.neg(db), s.add(dc, db))[which]
        return builder.let(s.select(back, s.mul(turned, scale), (da, db, dc)[which]))

    return lower


_RANGES_2F1: Final = ((0.5, 2), (0.5, 2), (2.5, 4), (-2, 0.8))
hyp2f1_slopes: Final = [
    _slope_primitive(
        f"hyp2f1_slope_{letter}",
        _slopes_2f1(k),
        _slopes_2f1_lower(k),
        hlo_integrals.hyp2f1_slope(k),
        _RANGES_2F1,
        "hyp2f1",
    )
    for k, letter in enumerate("abc")
]


def _hyp2f1_jvp(k: int) -> Callable[..., Any]:
    return lambda ans, a, b, c, x: lambda t: mul(t, hyp2f1_slopes[k](a, b, c, x))


def _hyp2f1_slope(ans: Any, a: Any, b: Any, c: Any, x: Any) -> Any:
    up = [add(p, 1.0) for p in (a, b, c)]
    return lambda t: mul(t, mul(div(mul(a, b), c), hyp2f1(*up, x)))


hyp2f1: Primitive = binary(
    "hyp2f1",
    scipy_function("hyp2f1"),
    FLOAT,
    jvp=(_hyp2f1_jvp(0), _hyp2f1_jvp(1), _hyp2f1_jvp(2), _hyp2f1_slope),
    lower=extern("hyp2f1"),
    hlo=hlo_integrals.hyp2f1,
    samples=inputs(FLOAT, *_RANGES_2F1, specials="", tol=4.0),
)
