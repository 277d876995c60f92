"""Special functions that are integrals: exponential, Fresnel, Dawson, Owen, Faddeeva; Bessel.

References and compiled code are SciPy's, in double precision; the derivatives are elementary.  A
function with two results is two primitives, one of which is removed where it is not used.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from pullback.core.primitive import NotApplicable, Primitive
from pullback.errors import UnsupportedError
from pullback.ops import hlo_integrals
from pullback.ops.arithmetic import add, div, mul, neg, square, sub
from pullback.ops.comparison import eq, where
from pullback.ops.exponential import exp, log
from pullback.ops.gamma import extern, scipy_function
from pullback.ops.kinds import FLOAT, binary, unary, widened
from pullback.ops.samples import inputs
from pullback.ops.special import erf
from pullback.ops.trigonometric import cos, sin

__all__ = [
    "bessel_jv",
    "cosine_integral",
    "dawson",
    "exponential_integral_1",
    "exponential_integral_i",
    "exponential_integral_n",
    "faddeeva_imag",
    "faddeeva_real",
    "fresnel_cosine",
    "fresnel_sine",
    "owens_t",
    "sine_integral",
    "spence",
]

_NO_HLO: Final = NotApplicable("hlo", "a routine of SciPy, which runs on hosts only")


def _part(name: str, part: int) -> Callable[..., Any]:
    """A reference by one of the results of a function of SciPy."""

    def reference(*xs: Any) -> Any:
        function = getattr(importlib.import_module("scipy.special"), name)
        return function(*[x.astype(np.float64) for x in xs])[part].astype(xs[0].dtype)

    return widened(reference)


# --------------------------------------------------------------------------- exponential integrals

dawson: Primitive = unary(
    "dawson",
    scipy_function("dawsn"),
    FLOAT,
    jvp=lambda ans, x: lambda t: mul(t, sub(1.0, mul(mul(x, ans), 2.0))),
    lower=extern("dawsn"),
    hlo=hlo_integrals.dawson,
    samples=inputs(FLOAT, (-4, 4)),
)
exponential_integral_1: Primitive = unary(
    "exponential_integral_1",
    scipy_function("exp1"),
    FLOAT,
    jvp=lambda ans, x: lambda t: neg(div(mul(t, exp(neg(x))), x)),
    lower=extern("exp1"),
    hlo=hlo_integrals.exponential_integral_1,
    samples=inputs(FLOAT, (0.2, 6)),
)
exponential_integral_i: Primitive = unary(
    "exponential_integral_i",
    scipy_function("expi"),
    FLOAT,
    jvp=lambda ans, x: lambda t: div(mul(t, exp(x)), x),
    lower=extern("expi"),
    hlo=hlo_integrals.exponential_integral_i,
    samples=inputs(FLOAT, (0.5, 6)),
)


def _expn(n: Any, x: Any) -> Any:
    whole = np.floor(n) == n
    value = importlib.import_module("scipy.special").expn(
        np.where(whole, n, 0).astype(np.float64), x.astype(np.float64)
    )
    return np.where(whole & (n >= 0), value, np.nan).astype(x.dtype)


def _expn_lower(s: Any, n: Any, x: Any) -> Any:
    defined = s.and_(s.eq(s.floor(n), n), s.ge(n, 0.0))
    safe = s.select(defined, n, s.const(0.0, n.dtype))
    value = extern("expn")(s, safe, x)
    return s.select(defined, value, s.const(math.nan, x.dtype))


def _expn_slope(ans: Any, n: Any, x: Any) -> Any:
    """-E_{n-1}(x), where E_{-1}(x) = exp(-x) (1 + x) / x²."""
    zero = eq(n, 0.0)
    first = div(mul(exp(neg(x)), add(x, 1.0)), square(x))
    lower = exponential_integral_n(where(zero, mul(n, 0.0), sub(n, 1.0)), x)
    return neg(where(zero, first, lower))


def _no_slope(name: str, what: str) -> Callable[..., Any]:
    def rule(*_: Any) -> Any:
        raise UnsupportedError(f"the derivative of {name} with respect to {what} has no rule")

    return rule


exponential_integral_n: Primitive = binary(
    "exponential_integral_n",
    widened(_expn),
    FLOAT,
    jvp=(
        _no_slope("expn", "its order"),
        lambda ans, n, x: lambda t: mul(t, _expn_slope(ans, n, x)),
    ),
    lower=_expn_lower,
    hlo=hlo_integrals.exponential_integral_n,
    samples=inputs(FLOAT, (1.0, 1.0), (0.3, 5), specials="", differentiable=(1,)),
)

# --------------------------------------------------------------------------- sines and cosines


def _sinc(x: Any) -> Any:
    """sin(x) / x, and 1 at 0."""
    zero = eq(x, 0.0)
    safe = where(zero, 1.0, x)
    return where(zero, 1.0, div(sin(safe), safe))


sine_integral: Primitive = unary(
    "sine_integral",
    _part("sici", 0),
    FLOAT,
    jvp=lambda ans, x: lambda t: mul(t, _sinc(x)),
    lower=extern("sici.0"),
    hlo=hlo_integrals.sine_integral,
    samples=inputs(FLOAT, (-9, 9), specials=""),
)
cosine_integral: Primitive = unary(
    "cosine_integral",
    _part("sici", 1),
    FLOAT,
    jvp=lambda ans, x: lambda t: mul(t, div(cos(x), x)),
    lower=extern("sici.1"),
    hlo=hlo_integrals.cosine_integral,
    samples=inputs(FLOAT, (0.5, 9), specials=""),
)


def _quarter_turns(x: Any) -> Any:
    return mul(square(x), math.pi / 2)


fresnel_sine: Primitive = unary(
    "fresnel_sine",
    _part("fresnel", 0),
    FLOAT,
    jvp=lambda ans, x: lambda t: mul(t, sin(_quarter_turns(x))),
    lower=extern("fresnel.0"),
    hlo=hlo_integrals.fresnel_sine,
    samples=inputs(FLOAT, (-4, 4), specials=""),
)
fresnel_cosine: Primitive = unary(
    "fresnel_cosine",
    _part("fresnel", 1),
    FLOAT,
    jvp=lambda ans, x: lambda t: mul(t, cos(_quarter_turns(x))),
    lower=extern("fresnel.1"),
    hlo=hlo_integrals.fresnel_cosine,
    samples=inputs(FLOAT, (-4, 4), specials=""),
)

# --------------------------------------------------------------------------- others


def _spence_slope(x: Any) -> Any:
    """log(x) / (1 - x), and -1 at 1."""
    one = eq(x, 1.0)
    safe = where(one, 2.0, x)
    return where(one, -1.0, div(log(safe), sub(1.0, safe)))


spence: Primitive = unary(
    "spence",
    scipy_function("spence"),
    FLOAT,
    jvp=lambda ans, x: lambda t: mul(t, _spence_slope(x)),
    lower=extern("spence"),
    hlo=hlo_integrals.spence,
    samples=inputs(FLOAT, (0.2, 4)),
)


def _owens_slope_h(h: Any, a: Any) -> Any:
    bell = exp(mul(square(h), -0.5))
    reach = erf(mul(mul(a, h), math.sqrt(0.5)))
    return mul(mul(bell, reach), -0.5 / math.sqrt(2 * math.pi))


def _owens_slope_a(h: Any, a: Any) -> Any:
    spread = add(square(a), 1.0)
    return div(exp(mul(mul(square(h), spread), -0.5)), mul(spread, 2 * math.pi))


owens_t: Primitive = binary(
    "owens_t",
    scipy_function("owens_t"),
    FLOAT,
    jvp=(
        lambda ans, h, a: lambda t: mul(t, _owens_slope_h(h, a)),
        lambda ans, h, a: lambda t: mul(t, _owens_slope_a(h, a)),
    ),
    lower=extern("owens_t"),
    hlo=hlo_integrals.owens_t,
    samples=inputs(FLOAT, (-3, 3), (-2, 2), specials=""),
)


def _jv_slope(v: Any, x: Any) -> Any:
    return mul(sub(bessel_jv(sub(v, 1.0), x), bessel_jv(add(v, 1.0), x)), 0.5)


bessel_jv: Primitive = binary(
    "bessel_jv",
    scipy_function("jv"),
    FLOAT,
    jvp=(
        _no_slope("jv", "its order"),
        lambda ans, v, x: lambda t: mul(t, _jv_slope(v, x)),
    ),
    lower=extern("jv"),
    hlo=_NO_HLO,
    samples=inputs(FLOAT, (1.0, 4.0), (0.5, 12), specials="", differentiable=(1,)),
)

# --------------------------------------------------------------------------- Faddeeva's function


def _wofz(part: str) -> Callable[..., Any]:
    def reference(x: Any, y: Any) -> Any:
        wofz = importlib.import_module("scipy.special").wofz
        value = wofz(x.astype(np.float64) + 1j * y.astype(np.float64))
        return getattr(value, part).astype(x.dtype)

    return widened(reference)


def _wofz_slope(x: Any, y: Any) -> tuple[Any, Any]:
    """The real and the imaginary part of w'(z) = -2 z w(z) + 2i / sqrt(pi)."""
    u, v = faddeeva_real(x, y), faddeeva_imag(x, y)
    real = mul(sub(mul(x, u), mul(y, v)), -2.0)
    imag = add(mul(add(mul(x, v), mul(y, u)), -2.0), 2 / math.sqrt(math.pi))
    return real, imag


_WOFZ_SAMPLES: Final = inputs(FLOAT, (-4, 4), (-1, 4), specials="", tol=4.0)

faddeeva_real: Primitive = binary(
    "faddeeva_real",
    _wofz("real"),
    FLOAT,
    jvp=(
        lambda ans, x, y: lambda t: mul(t, _wofz_slope(x, y)[0]),
        lambda ans, x, y: lambda t: mul(t, neg(_wofz_slope(x, y)[1])),
    ),
    lower=extern("wofz.0"),
    hlo=hlo_integrals.faddeeva_real,
    samples=_WOFZ_SAMPLES,
)
faddeeva_imag: Primitive = binary(
    "faddeeva_imag",
    _wofz("imag"),
    FLOAT,
    jvp=(
        lambda ans, x, y: lambda t: mul(t, _wofz_slope(x, y)[1]),
        lambda ans, x, y: lambda t: mul(t, _wofz_slope(x, y)[0]),
    ),
    lower=extern("wofz.1"),
    hlo=hlo_integrals.faddeeva_imag,
    samples=_WOFZ_SAMPLES,
)
