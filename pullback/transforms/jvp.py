"""Forward-mode differentiation: push tangents along with the values."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from pullback.core import dtypes, refs
from pullback.core.avals import aval_of
from pullback.core.jaxpr import ClosedJaxpr, eval_jaxpr
from pullback.core.primitive import Zero, instantiate
from pullback.core.source import Transform, current_source, name_scope, one_line
from pullback.core.trace import (
    Trace,
    Tracer,
    check_leaks,
    check_not_leaked,
    current_trace,
    keeping_sources,
    set_trace,
)
from pullback.transforms.derived import made_once
from pullback.transforms.staging import stage

__all__ = [
    "JVPTrace",
    "JVPTracer",
    "given_tangents",
    "jvp_flat",
    "jvp_jaxpr",
    "nonzero_tangents",
    "zero_tangent",
]

_JVP: Final = (Transform("jvp"),)


class JVPTracer(Tracer):
    """A value with its tangent."""

    __slots__ = ("primal", "tangent")

    def __init__(self, trace: Trace, primal: Any, tangent: Any) -> None:
        self._trace = trace
        self.aval = aval_of(primal)
        self._source = current_source() if keeping_sources else None
        self.primal = primal
        self.tangent = tangent

    def __repr__(self) -> str:
        if isinstance(self.tangent, Tracer) and not self.tangent.is_known:
            tangent = self.tangent.aval.str_short()
            return f"GradTracer(primal={self.primal}, typeof(tangent)={tangent})"
        return f"JVPTracer(primal={self.primal}, tangent={self.tangent})"

    def _concrete(self) -> Any:
        return self.primal._concrete() if isinstance(self.primal, Tracer) else self.primal


def zero_tangent(x: Any) -> Zero:
    """The symbolic zero tangent of a value."""
    return Zero(aval_of(x).to_tangent_aval())


def nonzero_tangents(tangents: Sequence[Any]) -> list[bool]:
    """Which tangents are not symbolically zero."""
    return [type(t) is not Zero for t in tangents]


def given_tangents(tangents: Sequence[Any]) -> list[Any]:
    """The tangents that are not symbolically zero."""
    return [t for t in tangents if type(t) is not Zero]


def is_float0(x: Any) -> bool:
    """Whether a tangent has the trivial type of non-differentiable values."""
    return type(x) is np.ndarray and x.dtype == dtypes.float0


class JVPTrace(Trace):
    """Applies jvp rules; their operations run under the parent trace."""

    __slots__ = ()

    parent: Trace

    def pair(self, x: Any) -> tuple[Any, Any]:
        """The value and tangent of an operand."""
        if type(x) is JVPTracer and x._trace is self:
            return x.primal, x.tangent
        if isinstance(x, Tracer):
            check_not_leaked(x)
        elif type(x) is refs.Ref:
            return self.pair(x.value()) if x._tracer is not None else (x.value(), None)
        return x, None

    def lift(self, primal: Any, tangent: Any) -> Any:
        """A tracer, or the plain value when its tangent is a symbolic zero."""
        if type(tangent) is Zero:
            return primal
        return JVPTracer(self, primal, tangent)

    def process(self, primitive: Any, args: Sequence[Any], params: dict[str, Any]) -> Any:
        """Compute the result and its tangent."""
        primals, tangents, moving = [], [], False
        for x in args:
            if type(x) is JVPTracer and x._trace is self:
                primal, tangent = x.primal, x.tangent
            else:
                primal, tangent = self.pair(x)
            moving = moving or tangent is not None
            primals.append(primal)
            tangents.append(zero_tangent(primal) if tangent is None else tangent)
        if not moving and primitive not in refs.creators:
            return self.parent.process(primitive, primals, params)
        if refs.needs_discharge(primitive, params):
            with set_trace(self):
                return refs.apply_hook[0](primitive, args, params)
        with set_trace(self.parent), one_line():
            out, tangent = primitive.jvp(primals, tangents, **params)
        if primitive.multiple_results:
            return [self.lift(o, t) for o, t in zip(out, tangent, strict=True)]
        if type(tangent) is Zero:
            return out
        return JVPTracer(self, out, tangent)


def jvp_flat(
    fun: Callable[..., Sequence[Any]],
    primals: Sequence[Any],
    tangents: Sequence[Any],
    *,
    parent: Trace | None = None,
    description: Any = "jvp",
    named: bool = True,
) -> tuple[list[Any], list[Any]]:
    """Values and tangents of `fun` on flat values; tangents may be `Zero` on both sides.

    `named` puts the transformation among the name scopes: not where the equation has it already.
    """
    results, trace = _jvp_flat(fun, primals, tangents, parent, description, named)
    if named and keeping_sources:
        check_leaks(trace, description)
    return results


def _jvp_flat(
    fun: Callable[..., Sequence[Any]],
    primals: Sequence[Any],
    tangents: Sequence[Any],
    parent: Trace | None,
    description: Any,
    named: bool,
) -> tuple[tuple[list[Any], list[Any]], weakref.ref[Trace]]:
    trace = JVPTrace(parent or current_trace(), description)
    args = [trace.lift(p, t) for p, t in zip(primals, tangents, strict=True)]
    try:
        with set_trace(trace), name_scope(*_JVP if named else ()):
            outs = fun(*args)
        values, dots = [], []
        for x in outs:
            value, dot = trace.pair(x)
            values.append(value)
            dots.append(zero_tangent(value) if dot is None else dot)
    finally:
        trace.close()
    return (values, dots), weakref.ref(trace)


@made_once
def jvp_jaxpr(
    closed: ClosedJaxpr, nonzero: Sequence[bool], force: bool | Sequence[bool]
) -> tuple[ClosedJaxpr, list[bool]]:
    """The jaxpr of values and tangents.

    Its arguments are those of `closed` and the tangents of the `nonzero` ones; its results are
    those of `closed` and the tangents that are not symbolically zero or that `force` asks for.
    Says as well which these are.
    """
    in_avals = closed.in_avals
    n = len(in_avals)
    forced = [force] * len(closed.out_avals) if isinstance(force, bool) else list(force)
    out_nonzero: list[bool] = []

    def fun(*args: Any) -> list[Any]:
        given = iter(args[n:])
        tangents = [
            next(given) if nz else Zero(a.to_tangent_aval())
            for nz, a in zip(nonzero, in_avals, strict=True)
        ]
        outs, out_tangents = jvp_flat(
            lambda *xs: eval_jaxpr(closed.jaxpr, closed.consts, *xs),
            args[:n],
            tangents,
            named=False,
        )
        wanted = [
            type(t) is not Zero or (f and t.aval.dtype != dtypes.float0)
            for f, t in zip(forced, out_tangents, strict=True)
        ]
        out_nonzero[:] = wanted
        return outs + [instantiate(t) for t, w in zip(out_tangents, wanted, strict=True) if w]

    avals = list(in_avals) + [
        a.to_tangent_aval() for a, nz in zip(in_avals, nonzero, strict=True) if nz
    ]
    info = closed.jaxpr.debug_info
    jaxpr = stage(fun, avals, description=f"jvp of {info.func_src_info}", debug_info=info)
    return jaxpr, list(out_nonzero)
