"""Running sums, products, extremes and log-sum-exps along an axis.

Derivatives of the nonlinear ones run over pairs (value, slope) in log2(n) steps (Hillis and Steele,
"Data parallel algorithms", 1986), so that nothing is divided by.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import numpy as np

from pullback.core import dtypes
from pullback.core.avals import ShapedArray, aval_of
from pullback.core.primitive import FIRST_ORDER, PURE, Primitive, Sample, Zero
from pullback.ops import hlo_indexing, structural, windows
from pullback.ops.arithmetic import add, extremum, max_, min_, mul, neg, order_share, sub
from pullback.ops.comparison import eq, ge, where
from pullback.ops.complexes import abs_, real
from pullback.ops.exponential import exp, log1p
from pullback.ops.kinds import (
    COMPLEX,
    FLOAT,
    INEXACT,
    NONLINEAR,
    NUMERIC,
    REAL,
    check_accepts,
    late,
    linear_jvp,
    scalar_like,
    widened,
    zero_tangent,
)
from pullback.ops.reductions import highest, lowest
from pullback.ops.samples import ANYWHERE, DTYPES, draw, generator, joined

__all__ = ["cumlogsumexp", "cummax", "cummin", "cumprod", "cumsum"]

_LANES: Final = 16
_ABREAST: Final = 64
"""Rows that are scanned side by side: at least as many as lanes, at most four vectors."""

# --------------------------------------------------------------------------- the family


def _batch(bind: Callable[..., Any]) -> Callable[..., Any]:
    def batch(size: int, args: Any, dims: Any, *, axis: int, **params: Any) -> tuple[Any, int]:
        return bind(*args, axis=axis + (axis >= dims[0]), **params), dims[0]

    return batch


def _samples(accepts: str, interval: Any = ANYWHERE) -> Callable[[], Iterator[Sample]]:
    def samples() -> Iterator[Sample]:
        rng = generator()
        cases = (((5,), 0), ((2, 3), 1), ((3, 4), 0), ((2, 5, 3), 1), ((0, 3), 0), ((0, 3), 1))
        for kind in accepts:
            for place, dtype in enumerate(DTYPES[kind]):
                for shape, axis in cases if place == 0 else cases[1:2]:
                    for reverse in (False, True):
                        params = {"axis": axis, "reverse": reverse}
                        yield Sample((draw(rng, dtype, shape, interval),), params)

    return samples


def _cumulative(
    name: str,
    accumulate: Any,
    accepts: str,
    *,
    jvp: Any,
    transpose: Any = NONLINEAR,
    step: Callable[[Any, Any, Any], Any],
    samples: Callable[[], Iterable[Sample]],
) -> Primitive:
    def abstract(x: ShapedArray, *, axis: int, reverse: bool) -> ShapedArray:
        check_accepts(name, x, accepts)
        if not 0 <= axis < x.ndim:
            raise ValueError(f"{name}: {axis} is not an axis of {x.str_short()}")
        return x

    def reference(x: Any, *, axis: int, reverse: bool) -> Any:
        if x.shape[axis] == 0:
            return x
        if not reverse:
            return accumulate(x, axis=axis, dtype=x.dtype)
        return np.flip(accumulate(np.flip(x, axis), axis=axis, dtype=x.dtype), axis)

    bind = late(name)
    return Primitive(
        name=name,
        abstract=abstract,
        reference=widened(reference),
        jvp=jvp,
        transpose=transpose,
        batch=_batch(bind),
        partial_eval=FIRST_ORDER,
        lower=lambda b, x, axis, reverse: _lower(b, x, axis, reverse, step),
        hlo=hlo_indexing.cumulative(step),
        samples=samples,
        multiple_results=False,
        effects=PURE,
        literals=False,
    )


def _lower(b: Any, x: Any, axis: int, reverse: bool, step: Callable[..., Any]) -> Any:
    """Rows of the axis one by one, each from the one before; the other axes in parallel."""
    if 0 in x.shape:
        return x
    dtype = x.dtype
    if dtypes.kind_of(dtype) == "f" and dtype.itemsize < 4:
        wide = b.map(lambda s, v: s.convert(v, dtypes.float32), x)
        return b.map(lambda s, v: s.convert(v, dtype), _lower(b, wide, axis, reverse, step))
    x, n, last = b.materialize(x), x.shape[axis], len(x.shape) - 1
    width = math.gcd(math.prod(x.shape[:-1]), _ABREAST)
    if axis == last and step is _logsumexp_step and width >= _LANES and n > 1:
        return _scan_abreast(b, x, width, reverse, step)
    out = b.buffer(x.shape, dtype)
    if axis == last:
        _scan_last(b, x, out, n, reverse, step)
    else:
        _scan_rows(b, x, out, axis, reverse, step)
    return out


def _scan_last(b: Any, x: Any, out: Any, n: int, reverse: bool, step: Callable[..., Any]) -> None:
    def row(outer: list[Any]) -> None:
        def place(k: Any) -> list[Any]:
            return [*outer, (n - 1) - k if reverse else k]

        total = b.var(x.at(place(0)), x.dtype)
        b.store(out, place(0), total.get())
        with b.loop(n - 1, start=1) as k:
            total.set(step(b.s, total.get(), x.at(place(k))))
            b.store(out, place(k), total.get())

    windows.loop_nest(b, x.shape[:-1], row, [True] * (len(x.shape) - 1))


def _scan_abreast(b: Any, x: Any, width: int, reverse: bool, step: Callable[..., Any]) -> Any:
    """Some rows side by side, in the lanes of vectors, where a step is much work."""
    n = x.shape[-1]
    shape = math.prod(x.shape[:-1]) // width, width, n
    rows = b.reshape(x, shape)
    made = b.materialize(b.view((shape[0], n, width), lambda i: rows.at([i[0], i[2], i[1]])))
    out = b.buffer(made.shape, made.dtype)
    _scan_rows(b, made, out, 1, reverse, step)
    return b.reshape(b.view(shape, lambda i: out.at([i[0], i[2], i[1]])), x.shape)


def _scan_rows(b: Any, x: Any, out: Any, axis: int, reverse: bool, step: Any) -> None:
    n, inner = x.shape[axis], x.shape[axis + 1 :]

    def block(outer: list[Any]) -> None:
        def place(k: Any, rest: list[Any]) -> list[Any]:
            return [*outer, (n - 1) - k if reverse else k, *rest]

        def first(i: list[Any]) -> None:
            b.store(out, place(0, i), x.at(place(0, i)))

        windows.loop_nest(b, inner, first, [True] * len(inner))
        with b.loop(n - 1, start=1) as k:

            def next_(i: list[Any]) -> None:
                total = step(b.s, b.load(out, place(k - 1, i)), x.at(place(k, i)))
                b.store(out, place(k, i), total)

            windows.loop_nest(b, inner, next_, [True] * len(inner))

    windows.loop_nest(b, x.shape[:axis], block, [True] * axis)


# --------------------------------------------------------------------------- derivatives


def _shifted(x: Any, axis: int, by: int, fill: Any) -> Any:
    """`x` moved by `by` along an axis, with `fill` coming in."""
    aval = aval_of(x)
    config = tuple((by, -by, 0) if k == axis else (0, 0, 0) for k in range(aval.ndim))
    return structural.pad(x, scalar_like(x, fill), padding_config=config)


Combine = Callable[[Any, Any, Any, Any], tuple[Any, Any]]


def _scan_jvp(name: str, combine: Combine, fill: Callable[[Any], Any]) -> Callable[..., Any]:
    """The jvp by pairs; `combine(a, ta, b, tb)` is the pair of the longer stretch."""
    bind = late(name)

    def jvp(primals: Any, tangents: Any, *, axis: int, reverse: bool) -> tuple[Any, Any]:
        (x,), (t,) = primals, tangents
        out = bind(x, axis=axis, reverse=reverse)
        if type(t) is Zero:
            return out, zero_tangent(out)
        outside, by = fill(aval_of(x).dtype), 1
        while by < aval_of(x).shape[axis]:
            shift = -by if reverse else by
            before = _shifted(x, axis, shift, outside), _shifted(t, axis, shift, 0)
            x, t = combine(*before, x, t)
            by *= 2
        return out, t

    return jvp


def _prod_pair(a: Any, ta: Any, b: Any, tb: Any) -> tuple[Any, Any]:
    return mul(a, b), add(mul(ta, b), mul(a, tb))


def _extremum_pair(extreme: Any) -> Combine:
    def combine(a: Any, ta: Any, b: Any, tb: Any) -> tuple[Any, Any]:
        out = extreme(a, b)
        return out, add(mul(ta, order_share(out, a, b)), mul(tb, order_share(out, b, a)))

    return combine


def _logaddexp(a: Any, b: Any) -> Any:
    if dtypes.kind_of(aval_of(a).dtype) == "c":
        first = ge(real(a), real(b))
        high, low = where(first, a, b), where(first, b, a)
        alone = eq(real(low), -np.inf)
        return where(alone, high, add(high, log1p(exp(sub(where(alone, high, low), high)))))
    high = max_(a, b)
    gap = abs_(sub(a, b))
    return where(eq(a, b), add(high, float(np.log(2.0))), add(high, log1p(exp(neg(gap)))))


def _logsumexp_pair(a: Any, ta: Any, b: Any, tb: Any) -> tuple[Any, Any]:
    out = _logaddexp(a, b)
    return out, add(mul(ta, _weight(a, out)), mul(tb, _weight(b, out)))


def _weight(part: Any, total: Any) -> Any:
    return where(eq(part, total), 1.0, exp(sub(part, total)))


# --------------------------------------------------------------------------- the primitives

cumsum: Primitive = _cumulative(
    "cumsum",
    np.add.accumulate,
    NUMERIC,
    jvp=linear_jvp(late("cumsum")),
    transpose=lambda ct, x, axis, reverse: [cumsum(ct, axis=axis, reverse=not reverse)],
    step=lambda s, a, v: s.add(a, v),
    samples=_samples(NUMERIC),
)
cumprod: Primitive = _cumulative(
    "cumprod",
    np.multiply.accumulate,
    NUMERIC,
    jvp=_scan_jvp("cumprod", _prod_pair, lambda dtype: 1),
    step=lambda s, a, v: s.mul(a, v),
    samples=_samples(NUMERIC, (0.5, 1.5)),
)
cummax: Primitive = _cumulative(
    "cummax",
    np.maximum.accumulate,
    NUMERIC,
    jvp=_scan_jvp("cummax", _extremum_pair(max_), lowest),
    step=extremum("max"),
    samples=_samples(REAL),
)
cummin: Primitive = _cumulative(
    "cummin",
    np.minimum.accumulate,
    NUMERIC,
    jvp=_scan_jvp("cummin", _extremum_pair(min_), highest),
    step=extremum("min"),
    samples=_samples(REAL),
)


def _logsumexp_step(s: Any, a: Any, v: Any) -> Any:
    """Complex numbers take the one with the larger real part out of the sum."""
    if a.dtype.kind == "c":
        first = s.ge(s.real(a), s.real(v))
        high, low = s.select(first, a, v), s.select(first, v, a)
        total = s.add(high, s.math("log1p", s.math("exp", s.sub(low, high))))
        return s.select(s.eq(s.real(low), -np.inf), high, total)
    gap = s.math("log1p", s.math("exp", s.neg(s.abs(s.sub(a, v)))))
    equal = s.const(np.log(2.0), a.dtype)
    return s.add(s.max(a, v), s.select(s.eq(a, v), equal, gap))


def _accumulate_logsumexp(x: Any, *, axis: int, dtype: Any) -> Any:
    if dtypes.kind_of(dtype) != "c":
        return np.logaddexp.accumulate(x, axis=axis, dtype=dtype)
    out = np.moveaxis(x.copy(), axis, 0)
    with np.errstate(all="ignore"):
        for k in range(1, len(out)):
            first = out[k - 1].real >= out[k].real
            high, low = np.where(first, out[k - 1 : k + 1], out[k - 1 : k + 1][::-1])
            total = high + np.log1p(np.exp(low - high))
            out[k] = np.where(np.isneginf(low.real), high, total)
    return np.moveaxis(out, 0, axis)


cumlogsumexp: Primitive = _cumulative(
    "cumlogsumexp",
    _accumulate_logsumexp,
    INEXACT,
    jvp=_scan_jvp("cumlogsumexp", _logsumexp_pair, lowest),
    step=_logsumexp_step,
    samples=joined(_samples(FLOAT), _samples(COMPLEX, (-1, 1))),
)
