"""Taylor mode: push truncated power series through a program.

A `JetTracer` carries a value and the coefficients of its series (without factorials):
x(t) = x₀ + x₁t + ... + xₙtⁿ.  A primitive has one of three kinds of rules:

- the derivative does not depend on the point (linear and piecewise linear operations): each
  coefficient goes through the primitive's own jvp rule;
- a recurrence of its own (`transforms.jet_rules`, and `control.jet` for those that hold jaxprs);
- otherwise `by_derivative`: y' = J(x) x', where the jvp rule is evaluated on series one order
  lower.  So everything that has a derivative has all of them.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any, Final

from pullback.core import dtypes
from pullback.core.avals import aval_of
from pullback.core.jaxpr import ClosedJaxpr, eval_jaxpr
from pullback.core.primitive import NotApplicable, Primitive, Zero, instantiate
from pullback.core.source import Transform, name_scope
from pullback.core.trace import (
    Trace,
    Tracer,
    check_leaks,
    check_not_leaked,
    current_trace,
    set_trace,
)
from pullback.errors import UnsupportedError
from pullback.ops import elementwise
from pullback.transforms.jvp import given_tangents, nonzero_tangents
from pullback.transforms.staging import stage

__all__ = [
    "JetTrace",
    "JetTracer",
    "Series",
    "by_derivative",
    "given_rules",
    "jet_flat",
    "jet_jaxpr",
    "rules",
    "scaled",
    "zero_series",
]

_JET: Final = (Transform("jet"),)

Series = list[Any]
"""The coefficients of t, t², ..., one for each order."""

Rule = Callable[..., tuple[Any, Any]]
rules: Final[dict[str, Rule]] = {}
"""By name of the primitive: `rule(order, primals, series, params) -> (value, series)`.

`series` has None for an operand that does not depend on t, and so may the result (lists of both
where the primitive has several).
"""
given_rules: Final[dict[Any, Rule]] = {}
"""Rules of primitives that libraries define, by primitive."""

_POINTWISE_LINEAR: Final = frozenset(
    [
        *("add", "add_any", "all_gather", "all_to_all", "broadcast_in_dim", "clamp", "complex"),
        *("concatenate", "conj", "convert_element_type", "copy", "cummax", "cummin", "cumsum"),
        *("dynamic_slice", "dynamic_update_slice", "fft", "gather", "imag", "max", "min", "neg"),
        *("optimization_barrier", "pad", "partition", "pbroadcast", "ppermute", "psum", "real"),
        *("reduce_max", "reduce_min", "reduce_precision", "reduce_scatter", "reduce_sum"),
        *("reduce_window_max", "reduce_window_min", "reduce_window_sum", "reshape", "rev"),
        *("scatter", "scatter-add", "scatter-sub", "select_and_scatter_add", "select_n"),
        *("slice", "sort", "split", "squeeze", "stack", "stop_gradient", "sub", "tile", "top_k"),
        *("transpose", "unstack"),
    ]
)
"""Linear, or linear on pieces: the derivative is the same at all points near by."""


class JetTracer(Tracer):
    """A value with its series."""

    __slots__ = ("primal", "series")

    def __init__(self, trace: Trace, primal: Any, series: Series) -> None:
        super().__init__(trace, aval_of(primal))
        self.primal = primal
        self.series = series

    def _concrete(self) -> Any:
        return self.primal._concrete() if isinstance(self.primal, Tracer) else self.primal


class JetTrace(Trace):
    """Applies rules on series; their operations run under the parent trace."""

    __slots__ = ("order",)

    parent: Trace

    def __init__(self, parent: Trace, order: int, description: Any = "jet") -> None:
        super().__init__(parent, description)
        self.order = order

    def pair(self, x: Any) -> tuple[Any, Series | None]:
        """The value and the series of an operand."""
        if type(x) is JetTracer and x._trace is self:
            return x.primal, x.series
        if isinstance(x, Tracer):
            check_not_leaked(x)
        return x, None

    def lift(self, primal: Any, series: Series | None) -> Any:
        """A tracer, or the plain value where it does not depend on t."""
        return primal if series is None else JetTracer(self, primal, series)

    def process(self, primitive: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Any:
        """Compute the result and its series."""
        pairs = [self.pair(x) for x in args]
        primals = [p for p, _ in pairs]
        series = [s for _, s in pairs]
        if all(s is None for s in series):
            return self.parent.process(primitive, primals, params)
        with set_trace(self.parent):
            out, out_series = _apply(primitive, self.order, primals, series, params)
        if primitive.multiple_results:
            return [self.lift(o, s) for o, s in zip(out, out_series, strict=True)]
        return self.lift(out, out_series)


def _apply(
    primitive: Primitive, order: int, primals: Any, series: Any, params: dict[str, Any]
) -> tuple[Any, Any]:
    rule = given_rules.get(primitive) or rules.get(primitive.name)
    if rule is not None:
        return rule(order, primals, series, params)
    if isinstance(primitive.jvp, NotApplicable):
        raise UnsupportedError(
            f"jet: {primitive} has no derivative rule ({primitive.jvp.reason}), so that no series "
            "can go through it"
        )
    if primitive.name in _POINTWISE_LINEAR:
        return _term_by_term(primitive, order, primals, series, params)
    return by_derivative(primitive, order, primals, series, params)


# --------------------------------------------------------------------------- generic rules


def _tangents(primals: Sequence[Any], series: Sequence[Series | None], k: int) -> list[Any]:
    """The coefficients of one order as tangents."""
    return [
        Zero(aval_of(p).to_tangent_aval()) if s is None else s[k]
        for p, s in zip(primals, series, strict=True)
    ]


def _term_by_term(
    primitive: Primitive, order: int, primals: Any, series: Any, params: dict[str, Any]
) -> tuple[Any, Any]:
    """Each coefficient by the jvp rule, which is the same for all of them."""
    steps = [primitive.jvp(primals, _tangents(primals, series, k), **params) for k in range(order)]
    out = steps[0][0] if steps else primitive.bind(*primals, **params)
    terms = [t for _, t in steps]
    if not primitive.multiple_results:
        return out, _collected(terms)
    return out, [_collected(column) for column in zip(*terms, strict=True)]


def _collected(terms: Sequence[Any]) -> Series | None:
    """A series from coefficients that may be symbolic zeros; None if all of them are."""
    if all(type(t) is Zero for t in terms):
        return None
    return [instantiate(t) for t in terms]


def by_derivative(
    primitive: Primitive, order: int, primals: Any, series: Any, params: dict[str, Any]
) -> tuple[Any, Any]:
    """From y' = J(x) x', by the jvp rule on series of one order less."""
    out = primitive.bind(*primals, **params)
    several = primitive.multiple_results
    active = [i for i, s in enumerate(series) if s is not None]
    n = len(active)

    def velocity(*values: Any) -> list[Any]:
        xs = list(primals)
        dots = [Zero(aval_of(p).to_tangent_aval()) for p in primals]
        for i, x, dot in zip(active, values[:n], values[n:], strict=True):
            xs[i], dots[i] = x, dot
        _, tangent = primitive.jvp(xs, dots, **params)
        tangents = tangent if several else [tangent]
        nonzero[:] = nonzero_tangents(tangents)
        return given_tangents(tangents)

    nonzero: list[bool] = []
    points = [primals[i] for i in active] + [series[i][0] for i in active]
    moves = [series[i][: order - 1] for i in active]
    moves += [[scaled(series[i][k], k + 1) for k in range(1, order)] for i in active]
    values, rates = jet_flat(velocity, points, moves, order - 1, named=False)
    found = iter(zip(values, rates, strict=True))
    out_series = [_integrated(*next(found), order) if nz else None for nz in nonzero]
    return out, out_series if several else out_series[0]


def _integrated(value: Any, rate: Series | None, order: int) -> Series:
    """The series of y from that of y'."""
    rest = rate if rate is not None else zero_series(value, order - 1)
    return [scaled(c, 1 / (k + 1)) for k, c in enumerate([value, *rest])]


def scaled(x: Any, factor: float) -> Any:
    """`x` times a number, in its dtype."""
    if factor == 1:
        return x
    return elementwise.mul(x, dtypes.physical(aval_of(x).dtype).type(factor))


def zero_series(x: Any, order: int) -> Series:
    """The series of a constant."""
    aval = aval_of(x).to_tangent_aval()
    return [instantiate(Zero(aval)) for _ in range(order)]


# --------------------------------------------------------------------------- functions, jaxprs


def jet_flat(
    fun: Callable[..., Sequence[Any]],
    primals: Sequence[Any],
    series: Sequence[Series | None],
    order: int,
    *,
    parent: Trace | None = None,
    description: Any = "jet",
    named: bool = True,
) -> tuple[list[Any], list[Series | None]]:
    """Values and series of `fun` on flat values."""
    results, trace = _jet_flat(fun, primals, series, order, parent, description, named)
    if named:
        check_leaks(trace, description)
    return results


def _jet_flat(
    fun: Callable[..., Sequence[Any]],
    primals: Sequence[Any],
    series: Sequence[Series | None],
    order: int,
    parent: Trace | None,
    description: Any,
    named: bool,
) -> tuple[tuple[list[Any], list[Series | None]], weakref.ref[Trace]]:
    trace = JetTrace(parent or current_trace(), order, description)
    args = [x if order == 0 else trace.lift(x, s) for x, s in zip(primals, series, strict=True)]
    try:
        with set_trace(trace), name_scope(*_JET if named else ()):
            outs = fun(*args)
        pairs = [trace.pair(x) for x in outs]
    finally:
        trace.close()
    return ([p for p, _ in pairs], [s for _, s in pairs]), weakref.ref(trace)


def jet_jaxpr(
    closed: ClosedJaxpr, order: int, given: Sequence[bool], force: bool | Sequence[bool]
) -> tuple[ClosedJaxpr, list[bool]]:
    """The jaxpr of values and series.

    Its arguments are those of `closed`, then the coefficients of each `given` one; its results
    those of `closed`, then the coefficients of each that depends on t or that `force` asks for.
    Says as well which these are.
    """
    in_avals = closed.in_avals
    n = len(in_avals)
    forced = [force] * len(closed.out_avals) if isinstance(force, bool) else list(force)
    found: list[bool] = []

    def fun(*args: Any) -> list[Any]:
        terms = iter(args[n:])
        series = [[next(terms) for _ in range(order)] if g else None for g in given]
        outs, out_series = jet_flat(
            lambda *xs: eval_jaxpr(closed.jaxpr, closed.consts, *xs),
            args[:n],
            series,
            order,
            named=False,
        )
        found[:] = [s is not None or f for s, f in zip(out_series, forced, strict=True)]
        full = [
            zero_series(x, order) if s is None else s
            for x, s, wanted in zip(outs, out_series, found, strict=True)
            if wanted
        ]
        return outs + [c for s in full for c in s]

    avals = list(in_avals)
    for aval, g in zip(in_avals, given, strict=True):
        avals += [aval.to_tangent_aval().strip_weak_type()] * (order if g else 0)
    info = closed.jaxpr.debug_info
    jaxpr = stage(fun, avals, description=f"jet of {info.func_src_info}", debug_info=info)
    return jaxpr, list(found)
