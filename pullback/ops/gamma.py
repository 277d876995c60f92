"""The gamma function's family: logarithm, derivatives, Hurwitz zeta, incomplete gamma functions.

References are SciPy's where it has the function.  The derivatives of the incomplete gamma functions
with respect to `a` differentiate, term by term, the power series and the continued fraction by which
the functions themselves are computed (Moshier, "Methods and programs for mathematical functions",
1989, igam and igamc).
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np

from pullback.core import dtypes
from pullback.core.primitive import NotApplicable, Primitive
from pullback.errors import UnsupportedError
from pullback.ops import windows
from pullback.ops.arithmetic import add, mul, neg, sub
from pullback.ops.exponential import exp, log
from pullback.ops.kinds import FLOAT, binary, element_wise, element_wise_abstract, unary, widened
from pullback.ops.samples import inputs

__all__ = [
    "digamma",
    "extern",
    "igamma",
    "igamma_grad_a",
    "igammac",
    "lgamma",
    "polygamma",
    "random_gamma_grad",
    "scipy_function",
    "zeta",
]


def scipy_function(name: str) -> Callable[..., Any]:
    """A reference by `scipy.special`, which is imported when first called."""

    def reference(*xs: Any) -> Any:
        function = getattr(importlib.import_module("scipy.special"), name)
        return function(*xs).astype(xs[0].dtype)

    return widened(reference)


def extern(name: str) -> Callable[..., Any]:
    """The scalar code of a function of SciPy, called in double precision."""

    def lower(s: Any, *xs: Any) -> Any:
        wide = [s.convert(x, dtypes.float64) for x in xs]
        return s.convert(s.extern(name, *wide), xs[0].dtype)

    return lower


_NO_HLO: Final = NotApplicable("hlo", "expanded into elementary operations")

# --------------------------------------------------------------------------- lgamma, polygamma

lgamma: Primitive = unary(
    "lgamma",
    scipy_function("gammaln"),
    FLOAT,
    jvp=lambda ans, x: lambda t: mul(t, digamma(x)),
    lower=extern("gammaln"),
    hlo="chlo.lgamma",
    samples=inputs(FLOAT, (0.2, 5)),
)
digamma: Primitive = unary(
    "digamma",
    scipy_function("psi"),
    FLOAT,
    jvp=lambda ans, x: lambda t: mul(t, polygamma(1.0, x)),
    lower=extern("psi"),
    hlo="chlo.digamma",
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
    return np.where(m == 0, special.psi(x), value).astype(x.dtype)


# Denominators of the Euler-Maclaurin sum: (2k)! / B_2k for k = 1 to 12.
_BERNOULLI: Final = (
    12.0,
    -720.0,
    30240.0,
    -1209600.0,
    47900160.0,
    -1.8924375803183791606e9,
    7.47242496e10,
    -2.950130727918164224e12,
    1.1646782814350067249e14,
    -4.5979787224074726105e15,
    1.8152105401943546773e17,
    -7.1661652561756670113e18,
)


def _zeta_element(b: Any, s_: Any, q: Any) -> Any:
    """The Hurwitz zeta function of two float64 expressions: nine terms or more, then the tail."""
    s, minus = b.s, b.let(b.s.neg(s_))
    place, term, total = b.var(q), b.var(s.math("pow", q, minus)), b.var(0.0, q.dtype)
    total.set(term.get())
    count = b.var(0, dtypes.int64)

    def more() -> Any:
        early = s.or_(s.lt(count.get(), 9), s.le(place.get(), 9.0))
        return s.and_(early, s.lt(count.get(), 2000))

    with b.while_(more):
        count.set(s.add(count.get(), 1))
        place.set(s.add(place.get(), 1.0))
        term.set(s.math("pow", place.get(), minus))
        total.set(s.add(total.get(), term.get()))
    return b.let(_zeta_tail(b, s_, place.get(), term.get(), total.get()))


def _zeta_tail(b: Any, s_: Any, w: Any, power: Any, total: Any) -> Any:
    s = b.s
    total = s.add(total, s.div(s.mul(power, w), s.sub(s_, 1.0)))
    total = s.sub(total, s.mul(power, 0.5))
    rising = s.const(1.0, w.dtype)
    for k, denominator in enumerate(_BERNOULLI):
        rising = s.mul(rising, s.add(s_, float(2 * k)))
        power = s.div(power, w)
        total = s.add(total, s.div(s.mul(rising, power), denominator))
        rising = s.mul(rising, s.add(s_, float(2 * k + 1)))
        power = s.div(power, w)
    return total


def _zeta_domain(s: Any, s_: Any, q: Any, value: Any) -> Any:
    """Poles and values outside of the domain."""
    nan, inf = s.const(math.nan, q.dtype), s.const(math.inf, q.dtype)
    whole_q, whole_s = s.eq(s.floor(q), q), s.eq(s.floor(s_), s_)
    outside = s.select(whole_q, inf, s.select(whole_s, value, nan))
    value = s.select(s.le(q, 0.0), outside, value)
    value = s.select(s.eq(q, math.inf), s.const(0.0, q.dtype), value)
    value = s.select(s.eq(s_, 1.0), inf, s.select(s.lt(s_, 1.0), nan, value))
    return s.select(s.or_(s.is_nan(s_), s.is_nan(q)), nan, value)


def elements(fn: Callable[..., Any]) -> Callable[..., Any]:
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

    return lower


def _zeta_lower(b: Any, s_: Any, q: Any) -> Any:
    return _zeta_domain(b.s, s_, q, _zeta_element(b, s_, q))


def _polygamma_lower(b: Any, m: Any, x: Any) -> Any:
    s = b.s
    order = b.let(s.add(m, 1.0))
    value = s.mul(s.math("exp", s.extern("gammaln", order)), _zeta_lower(b, order, x))
    value = s.select(s.eq(s.rem(m, 2.0), 0.0), s.neg(value), value)
    return s.select(s.eq(m, 0.0), s.extern("psi", x), value)


polygamma: Primitive = with_lower(
    _polygamma_lower,
    name="polygamma",
    reference=widened(_polygamma),
    jvp=(
        _no_slope("polygamma", "its order"),
        lambda ans, m, x: lambda t: mul(t, polygamma(add(m, 1.0), x)),
    ),
    hlo="chlo.polygamma",
    samples=inputs(FLOAT, (0, 3), (0.3, 5), ...),
)
