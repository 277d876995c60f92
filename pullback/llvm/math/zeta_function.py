"""The Hurwitz zeta function, the sum of (q + k)^-s over k >= 0, and polygamma functions by it.

Terms are added until the rest is what the formula of Euler and Maclaurin gives (NIST Digital
Library of Mathematical Functions, 25.11.5; H. M. Edwards, *Riemann's Zeta Function*, 1974, chapter
6).  They are taken relative to the first one, (1 + k/q)^-s = exp(-s log(1 + k/q)), which is
accurate at every size: where s log(1 + k/q) is large enough to lose digits, the term is small.
Everything is computed in double precision.
"""

from __future__ import annotations

import math

from pullback.llvm.math.builder import (
    Value,
    floor,
    fma,
    from_double,
    to_double,
    where,
)
from pullback.llvm.math.exponential import exp
from pullback.llvm.math.gamma_function import BERNOULLI, factorial
from pullback.llvm.math.logarithmic import log1p
from pullback.llvm.math.power import positive_power
from pullback.llvm.math.registry import elementary
from pullback.records import record


@record()
class Plan:
    """How many terms a precision asks for."""

    series: int
    """Terms of the Euler-Maclaurin formula ..."""
    least: float
    """... which are enough from `least + slope * s` on."""
    slope: float
    negligible: float
    """A rest of this size, relative to the first term, is nothing."""


PLANS = {
    "f32": Plan(series=6, least=3.0, slope=0.7, negligible=2.0**-32),
    "f64": Plan(series=12, least=6.3, slope=0.9, negligible=2.0**-60),
}


def correction(s: Value, w: Value, plan: Plan) -> Value:
    """w^s times the sum of (w + k)^-s over k >= 0, without its largest part w / (s - 1)."""
    inverse = 1.0 / w
    square = inverse * inverse
    numbers = enumerate(BERNOULLI[: plan.series], start=1)
    *rest, last = [b / math.factorial(2 * k) for k, b in numbers]
    total: Value = w.kernel.constant(w.kind, last)
    for k, coefficient in reversed(list(enumerate(rest, start=1))):
        rising = fma(s, s + float(4 * k - 1), float((2 * k - 1) * (2 * k)))
        total = fma(total, rising * square, coefficient)
    return fma(s * inverse, total, 0.5)


def of_positive(s: Value, q: Value, plan: Plan) -> Value:
    """zeta(s, q) for s > 1 and q > 0."""
    zero = q.kernel.constant(q.kind, 0.0)
    inverse, above_pole = 1.0 / q, s - 1.0
    near_pole = 1.0 / above_pole
    enough = fma(s, plan.slope, plan.least)

    def matters(w: Value, term: Value) -> Value:
        return term * fma(w, near_pole, 1.0) > plan.negligible

    def step(carried: list[Value]) -> tuple[Value, list[Value]]:
        k, logarithm, term, total = carried
        w = q + k
        more = (w < enough) & matters(w, term)
        next_k = k + 1.0
        next_log = log1p(next_k * inverse)
        total = where(more, total + term, total)
        k, logarithm = where(more, next_k, k), where(more, next_log, logarithm)
        term = where(more, exp(-s * next_log), term)
        return more, [k, logarithm, term, total]

    start = [zero, zero, q.kernel.constant(q.kind, 1.0), zero]
    k, logarithm, term, total = q.kernel.repeat(start, step)
    w = q + k
    rest = where(matters(w, term), fma(term, correction(s, w, plan), total), total)
    largest = exp(-above_pole * logarithm) * near_pole
    return positive_power(q, -above_pole) * fma(rest, inverse, largest)


def of_any(s: Value, q: Value, plan: Plan) -> Value:
    """zeta(s, q) with its poles, and NaN where it is not defined.

    Left of zero, with s whole and d = q - floor(q), the terms from the left of zero are those of
    two sums to the right: (-1)^s (zeta(s, 1 - d) - zeta(s, 1 - q)).
    """
    zero, one = q.kernel.constant(q.kind, 0.0), q.kernel.constant(q.kind, 1.0)
    whole = floor(q)
    pole = (q <= 0.0) & whole.equals(q)
    left = (q < 0.0) & floor(s).equals(s) & ~pole
    fraction = q - whole
    half = s * 0.5
    sign = where(floor(half).equals(half), one, -1.0)

    def step(carried: list[Value]) -> tuple[Value, list[Value]]:
        turn, place, weight, total = carried
        term = of_positive(s, place, plan)
        total = where(weight.equals(0.0), total, fma(weight, term, total))
        first = turn.equals(0.0)
        place = where(first, 1.0 - fraction, 1.0 - q)
        weight = where(left, where(first, sign, -sign), 0.0)
        return left & (turn < 2.0), [turn + 1.0, where(left, place, 1.0), weight, total]

    value = q.kernel.repeat([zero, where(left, fraction, q), one, zero], step)[3]
    value = where(q.equals(math.inf), 0.0, value)
    value = where((q < 0.0) & ~left, math.nan, value)
    value = where(pole, math.inf, value)
    value = where(s.equals(1.0), math.inf, where(s < 1.0, math.nan, value))
    return where(s.unordered(q), math.nan, value)


@elementary("zeta")
def zeta(s: Value, q: Value) -> Value:
    """The Hurwitz zeta function: infinite at s = 1 and at q = 0, -1, ..., NaN where undefined."""
    return from_double(of_any(to_double(s), to_double(q), PLANS[q.kind]), q.kind)


@elementary("polygamma")
def polygamma(m: Value, x: Value) -> Value:
    """The m-th derivative of digamma for whole m > 0 (NIST DLMF, 25.11.12), NaN for others."""
    order = to_double(m)
    half = order * 0.5
    value = factorial(order) * of_any(order + 1.0, to_double(x), PLANS[x.kind])
    value = where(floor(half).equals(half), -value, value)
    value = where((order > 0.0) & floor(order).equals(order), value, math.nan)
    return from_double(value, x.kind)
