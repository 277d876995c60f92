"""The gamma function's family: logarithm, derivatives, Hurwitz zeta, incomplete gamma functions.

References are SciPy's where it has the function.  The derivatives of the incomplete gamma functions
with respect to `a` differentiate, term by term, the power series and the continued fraction by
which the functions themselves are computed (Moshier, "Methods and programs for mathematical
functions", 1989, igam and igamc).
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np

from pullback.core import dtypes
from pullback.core.primitive import Primitive, Sample
from pullback.errors import UnsupportedError
from pullback.ops import hlo_special, windows
from pullback.ops.arithmetic import add, mul, neg, sub
from pullback.ops.exponential import exp, log
from pullback.ops.kinds import FLOAT, OnTensors, binary, unary, widened
from pullback.ops.samples import draw, generator, inputs

__all__ = [
    "digamma",
    "extern",
    "igamma",
    "igamma_grad_a",
    "igammac",
    "in_single",
    "lgamma",
    "polygamma",
    "random_gamma_grad",
    "scipy_function",
    "zeta",
]


def scipy_function(name: str) -> Callable[..., Any]:
    """A reference by `scipy.special`, in double precision; imported when first called."""

    def reference(*xs: Any) -> Any:
        function = getattr(importlib.import_module("scipy.special"), name)
        return function(*[x.astype(np.float64) for x in xs]).astype(xs[0].dtype)

    return widened(reference)


def extern(name: str) -> Callable[..., Any]:
    """The scalar code of a function of SciPy, called in double precision."""

    def lower(s: Any, *xs: Any) -> Any:
        wide = [s.convert(x, dtypes.float64) for x in xs]
        return s.convert(s.extern(name, *wide), xs[0].dtype)

    return lower


# --------------------------------------------------------------------------- lgamma, polygamma

_gammaln: Final = scipy_function("gammaln")
_psi: Final = scipy_function("psi")


def _lgamma(x: Any) -> Any:
    return np.where(np.isinf(x), x.dtype.type(np.inf), _gammaln(x))


def in_single(s: Any, name: str, x: Any) -> Any:
    """By the vector kernel, which is for single precision."""
    return s.convert(s.math(name, s.convert(x, dtypes.float32)), x.dtype)


def _digamma(x: Any) -> Any:
    return np.where(x == 0, x.dtype.type(np.nan), _psi(x))


def _digamma_lower(s: Any, x: Any) -> Any:
    if x.dtype != dtypes.float64:
        return in_single(s, "digamma", x)
    value = s.convert(s.extern("psi", s.convert(x, dtypes.float64)), x.dtype)
    return s.select(s.eq(x, 0.0), s.const(math.nan, x.dtype), value)


lgamma: Primitive = unary(
    "lgamma",
    _lgamma,
    FLOAT,
    jvp=lambda ans, x: lambda t: mul(t, digamma(x)),
    lower="lgamma",
    hlo="chlo.lgamma",
    samples=inputs(FLOAT, (0.2, 5)),
)


def _digamma_hlo(b: Any, x: Any) -> Any:
    """CHLO's has no sign to choose at 0 either, and says -inf."""
    return b.select(b.compare("EQ", x, 0), float("nan"), b.apply("chlo.digamma", x))


digamma: Primitive = unary(
    "digamma",
    _digamma,
    FLOAT,
    jvp=lambda ans, x: lambda t: mul(t, polygamma(1.0, x)),
    lower=_digamma_lower,
    hlo=_digamma_hlo,
    samples=inputs(FLOAT, (0.2, 5)),
)


def _no_slope(name: str, what: str) -> Callable[..., Any]:
    def rule(*_: Any) -> Any:
        raise UnsupportedError(f"the derivative of {name} with respect to {what} has no rule")

    return rule


def _polygamma(m: Any, x: Any) -> Any:
    special = importlib.import_module("scipy.special")
    sign = np.where(np.fmod(m, 2) == 0, -1.0, 1.0)
    value = sign * special.gamma(m + 1.0) * special.zeta(m + 1.0, x)
    value = np.where((m < 0) | (np.floor(m) != m), np.nan, value)
    return np.where(m == 0, _digamma(x), value).astype(x.dtype)


def elements(fn: Callable[..., Any]) -> OnTensors:
    """A lowering of an element-wise operation whose elements need loops: `fn(b, *float64s)`."""

    def lower(b: Any, *xs: Any, **_: Any) -> Any:
        shape = next((x.shape for x in xs if x.shape), ())
        dtype = xs[0].dtype
        out = b.buffer(shape, dtype)

        def body(i: list[Any]) -> None:
            wide = [b.let(b.s.convert(x.at(i if x.shape else ()), dtypes.float64)) for x in xs]
            b.store(out, i, b.s.convert(fn(b, *wide), dtype))

        windows.loop_nest(b, shape, body, [True] * len(shape))
        return out

    return OnTensors(lower)


def _polygamma_lower(s: Any, m: Any, x: Any) -> Any:
    return s.select(s.eq(m, 0.0), _digamma_lower(s, x), s.math("polygamma", m, x))


def _polygamma_samples() -> Iterator[Sample]:
    rng = generator()
    for dtype in (np.float32, np.float64):
        for shape in ((), (5,), (2, 3), (0, 3)):
            order = np.asarray(rng.integers(0, 4, shape)).astype(dtype)
            x = draw(rng, np.dtype(dtype), shape, (0.3, 12))
            yield Sample((order, x), tol=8.0, differentiable=(1,))
    yield Sample(
        (np.array([0, 1, 2], np.float32), np.array([-0.5, -1.5, -2.25], np.float32)),
        tol=8.0,
        smooth=False,
    )


polygamma: Primitive = binary(
    "polygamma",
    widened(_polygamma),
    FLOAT,
    jvp=(
        _no_slope("polygamma", "its order"),
        lambda ans, m, x: lambda t: mul(t, polygamma(add(m, 1.0), x)),
    ),
    lower=_polygamma_lower,
    hlo="chlo.polygamma",
    samples=_polygamma_samples,
)
zeta: Primitive = binary(
    "zeta",
    scipy_function("zeta"),
    FLOAT,
    jvp=(
        _no_slope("zeta", "its first argument"),
        lambda ans, s, q: lambda t: mul(t, mul(neg(s), zeta(add(s, 1.0), q))),
    ),
    lower="zeta",
    hlo="chlo.zeta",
    samples=inputs(FLOAT, (1.5, 5), (0.3, 12), specials="", tol=4.0, differentiable=(1,)),
)

# --------------------------------------------------------------------------- incomplete gamma


def _density(a: Any, x: Any) -> Any:
    """x^(a-1) exp(-x) / gamma(a), the slope of igamma in x."""
    return exp(sub(sub(mul(sub(a, 1.0), log(x)), x), lgamma(a)))


def _domain(name: str) -> Callable[..., Any]:
    scipy = scipy_function(name)

    def reference(a: Any, x: Any) -> Any:
        return np.where((a < 0) | (x < 0), x.dtype.type(np.nan), scipy(a, x))

    return reference


def _in_domain(name: str) -> Callable[..., Any]:
    function = extern(name)

    def lower(s: Any, a: Any, x: Any) -> Any:
        outside = s.or_(s.lt(a, 0.0), s.lt(x, 0.0))
        return s.select(outside, s.const(math.nan, x.dtype), function(s, a, x))

    return lower


_GAMMA_SAMPLES: Final = inputs(FLOAT, (0.5, 4), (0.3, 6), specials="", tol=4.0)

igamma: Primitive = binary(
    "igamma",
    _domain("gammainc"),
    FLOAT,
    jvp=(
        lambda ans, a, x: lambda t: mul(t, igamma_grad_a(a, x)),
        lambda ans, a, x: lambda t: mul(t, _density(a, x)),
    ),
    lower=_in_domain("gammainc"),
    hlo=hlo_special.igamma,
    samples=_GAMMA_SAMPLES,
)
igammac: Primitive = binary(
    "igammac",
    _domain("gammaincc"),
    FLOAT,
    jvp=(
        lambda ans, a, x: lambda t: mul(t, neg(igamma_grad_a(a, x))),
        lambda ans, a, x: lambda t: mul(t, neg(_density(a, x))),
    ),
    lower=_in_domain("gammaincc"),
    hlo=hlo_special.igammac,
    samples=_GAMMA_SAMPLES,
)

_TERMS: Final = 2000
_EPSILON: Final = 2.0**-47  # the last bits of the fraction's slope never settle
_BIG: Final = 2.0**52


def _series(a: Any, x: Any) -> tuple[Any, Any]:
    """The sum of x^n / ((a+1) ... (a+n)), and its derivative in a."""
    term, slope, r = np.ones_like(x), np.zeros_like(x), np.array(a)
    total, total_slope = np.ones_like(x), np.zeros_like(x)
    for _ in range(_TERMS):
        r += 1
        slope = (slope - term / r) * (x / r)
        term = term * (x / r)
        total += term
        total_slope += slope
        if np.all(
            (np.abs(term) <= _EPSILON * total) & (np.abs(slope) <= _EPSILON * abs(total_slope))
        ):
            break
    return total, total_slope


def _fraction(a: Any, x: Any) -> tuple[Any, Any]:
    """The continued fraction of igammac over its prefactor, and its derivative in a."""
    y, z, c = 1 - a, x - a + 2, 0
    p2, q2, p1, q1 = np.ones_like(x), np.array(x), x + 1, (x - a + 2) * x
    dp2, dq2, dp1, dq1 = np.zeros_like(x), np.zeros_like(x), np.zeros_like(x), -x
    value, slope = p1 / q1, -(p1 * dq1) / (q1 * q1)
    for c in range(1, _TERMS):
        y, z = y + 1, z + 2
        yc = y * c
        p, q = p1 * z - p2 * yc, q1 * z - q2 * yc
        dp, dq = dp1 * z - p1 - dp2 * yc + p2 * c, dq1 * z - q1 - dq2 * yc + q2 * c
        new, new_slope = p / q, (dp - (p / q) * dq) / q
        done = np.abs(new_slope - slope) <= _EPSILON * np.abs(new_slope)
        done &= np.abs(new - value) <= _EPSILON * np.abs(new)
        value, slope = new, new_slope
        scale = np.where(np.abs(p) > _BIG, 1 / _BIG, 1.0)
        p2, q2, p1, q1 = p1 * scale, q1 * scale, p * scale, q * scale
        dp2, dq2, dp1, dq1 = dp1 * scale, dq1 * scale, dp * scale, dq * scale
        if np.all(done):
            break
    return value, slope


def _incomplete_slopes(a: Any, x: Any, sample: bool) -> Any:
    special = importlib.import_module("scipy.special")
    a, x = np.broadcast_arrays(a.astype(np.float64), x.astype(np.float64))
    use_series = (x <= 1) | (x <= a)
    inside = (a > 0) & (x > 0) & np.isfinite(x) & np.isfinite(a)
    sa, sx = np.where(inside & use_series, a, 1.0), np.where(inside & use_series, x, 0.5)
    fa, fx = np.where(inside & ~use_series, a, 1.0), np.where(inside & ~use_series, x, 2.0)
    total, slope = _series(sa, sx)
    below = slope + total * (np.log(sx) - special.psi(sa + 1))
    value, slope = _fraction(fa, fx)
    above = slope + value * (np.log(fx) - special.psi(fa))
    if sample:
        below, above = -below * sx / sa, above * fx
    else:
        below = below * np.exp(sa * np.log(sx) - sx - special.gammaln(sa + 1))
        above = -above * np.exp(fa * np.log(fx) - fx - special.gammaln(fa))
    out = np.where(use_series, below, above)
    at_zero = (x == 0) & (a > 0)
    return np.where(inside, out, np.where(at_zero, 0.0, np.nan))


def _slopes_reference(sample: bool) -> Callable[..., Any]:
    def reference(a: Any, x: Any) -> Any:
        return _incomplete_slopes(a, x, sample).astype(x.dtype)

    return widened(reference)


def _series_loop(b: Any, a: Any, x: Any) -> tuple[Any, Any]:
    s = b.s
    term, slope, r = b.var(1.0, a.dtype), b.var(0.0, a.dtype), b.var(a)
    total, total_slope, n = b.var(1.0, a.dtype), b.var(0.0, a.dtype), b.var(0, dtypes.int64)

    def more() -> Any:
        small = s.le(s.abs(term.get()), s.mul(total.get(), _EPSILON))
        flat = s.le(s.abs(slope.get()), s.mul(s.abs(total_slope.get()), _EPSILON))
        unfinished = s.or_(s.eq(n.get(), 0), s.not_(s.and_(small, flat)))
        return s.and_(s.lt(n.get(), _TERMS), unfinished)

    with b.while_(more):
        n.set(s.add(n.get(), 1))
        r.set(s.add(r.get(), 1.0))
        ratio = b.let(s.div(x, r.get()))
        slope.set(s.mul(s.sub(slope.get(), s.div(term.get(), r.get())), ratio))
        term.set(s.mul(term.get(), ratio))
        total.set(s.add(total.get(), term.get()))
        total_slope.set(s.add(total_slope.get(), slope.get()))
    return b.let(total.get()), b.let(total_slope.get())


def _fraction_loop(b: Any, a: Any, x: Any) -> tuple[Any, Any]:
    s = b.s
    y, z = b.var(s.sub(1.0, a)), b.var(s.add(s.sub(x, a), 2.0))
    q_first = b.let(s.mul(z.get(), x))
    p1, q1, p2, q2 = b.var(s.add(x, 1.0)), b.var(q_first), b.var(1.0, x.dtype), b.var(x)
    dp1, dq1, dp2, dq2 = (b.var(v, x.dtype) for v in (0.0, s.neg(x), 0.0, 0.0))
    value = b.var(s.div(p1.get(), q1.get()))
    slope = b.var(s.div(s.mul(p1.get(), x), s.mul(q1.get(), q1.get())))
    n, done = b.var(0.0, x.dtype), b.var(0, dtypes.int32)
    with b.while_(lambda: s.and_(s.eq(done.get(), 0), s.lt(n.get(), float(_TERMS - 1)))):
        n.set(s.add(n.get(), 1.0))
        y.set(s.add(y.get(), 1.0))
        z.set(s.add(z.get(), 2.0))
        yc, c, w = b.let(s.mul(y.get(), n.get())), b.let(n.get()), b.let(z.get())

        def forward(one: Any, two: Any) -> Any:
            return s.sub(s.mul(one.get(), w), s.mul(two.get(), yc))

        p, q = b.let(forward(p1, p2)), b.let(forward(q1, q2))
        dp = b.let(s.add(s.sub(forward(dp1, dp2), p1.get()), s.mul(p2.get(), c)))
        dq = b.let(s.add(s.sub(forward(dq1, dq2), q1.get()), s.mul(q2.get(), c)))
        new = b.let(s.div(p, q))
        new_slope = b.let(s.div(s.sub(dp, s.mul(new, dq)), q))
        still = s.and_(_close(s, new, value.get()), _close(s, new_slope, slope.get()))
        done.set(s.convert(still, dtypes.int32))
        value.set(new)
        slope.set(new_slope)
        scale = b.let(s.select(s.gt(s.abs(p), _BIG), s.const(1 / _BIG, x.dtype), 1.0))
        for old, now, fresh in ((p2, p1, p), (q2, q1, q), (dp2, dp1, dp), (dq2, dq1, dq)):
            old.set(s.mul(now.get(), scale))
            now.set(s.mul(fresh, scale))
    return b.let(value.get()), b.let(slope.get())


def _close(s: Any, x: Any, y: Any) -> Any:
    return s.le(s.abs(s.sub(x, y)), s.mul(s.abs(x), _EPSILON))


def _slopes_lower(sample: bool) -> Callable[..., Any]:
    def lower(b: Any, a: Any, x: Any) -> Any:
        s, out = b.s, b.var(math.nan, a.dtype)
        inside = s.and_(s.and_(s.gt(a, 0.0), s.gt(x, 0.0)), s.and_(s.is_finite(a), s.is_finite(x)))
        by_series = b.let(s.or_(s.le(x, 1.0), s.le(x, a)))
        with b.if_(s.and_(inside, by_series)):
            total, slope = _series_loop(b, a, x)
            up = s.add(a, 1.0)
            part = s.add(slope, s.mul(total, s.sub(s.math("log", x), s.extern("psi", up))))
            scale = s.neg(s.div(x, a)) if sample else _prefactor(s, a, x, up)
            out.set(s.mul(part, scale))
        with b.if_(s.and_(inside, s.not_(by_series))):
            value, slope = _fraction_loop(b, a, x)
            part = s.add(slope, s.mul(value, s.sub(s.math("log", x), s.extern("psi", a))))
            out.set(s.mul(part, x if sample else s.neg(_prefactor(s, a, x, a))))
        at_zero = s.and_(s.eq(x, 0.0), s.gt(a, 0.0))
        return b.let(s.select(at_zero, s.const(0.0, a.dtype), out.get()))

    return lower


def _prefactor(s: Any, a: Any, x: Any, shape: Any) -> Any:
    """x^a exp(-x) / gamma(shape)."""
    power = s.sub(s.mul(a, s.math("log", x)), x)
    return s.math("exp", s.sub(power, s.math("lgamma", shape)))


igamma_grad_a: Primitive = binary(
    "igamma_grad_a",
    _slopes_reference(sample=False),
    FLOAT,
    jvp=(
        _no_slope("igamma_grad_a", "a"),
        # The slope of the density in a.
        lambda ans, a, x: lambda t: mul(t, mul(_density(a, x), sub(log(x), digamma(a)))),
    ),
    lower=elements(_slopes_lower(sample=False)),
    hlo=hlo_special.igamma_grad_a,
    samples=inputs(FLOAT, (0.3, 6), (0.1, 9), specials="", tol=4.0, differentiable=(1,)),
)
random_gamma_grad: Primitive = binary(
    "random_gamma_grad",
    _slopes_reference(sample=True),
    FLOAT,
    jvp=(_no_slope("random_gamma_grad", "a"), _no_slope("random_gamma_grad", "x")),
    lower=elements(_slopes_lower(sample=True)),
    hlo=hlo_special.random_gamma_grad,
    samples=inputs(FLOAT, (0.3, 6), (0.1, 9), specials="", tol=4.0, differentiable=()),
)
