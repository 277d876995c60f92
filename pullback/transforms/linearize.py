"""Partial evaluation, and linearization as forward mode followed by it.

`PartialTrace` computes what it can under its parent and records what depends on unknown arguments.
Linearizing is pushing unknown tangents through the jvp rules: values are known, so they are
computed; what is recorded is the linear map of the tangents, with the values that it needs
(residuals) as constants.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pullback.core import refs
from pullback.core.avals import aval_of
from pullback.core.jaxpr import (
    ClosedJaxpr,
    DebugInfo,
    Jaxpr,
    JaxprEqn,
    Literal,
    Var,
    eval_jaxpr,
)
from pullback.core.primitive import FIRST_ORDER, PURE, Primitive, Zero, instantiate
from pullback.core.source import current_source
from pullback.core.trace import (
    Trace,
    Tracer,
    check_not_leaked,
    current_trace,
    keeping_sources,
    set_trace,
)
from pullback.records import record
from pullback.transforms.dce import dce_jaxpr
from pullback.transforms.derived import made_once
from pullback.transforms.jvp import jvp_flat, nonzero_tangents
from pullback.transforms.staging import (
    Recorder,
    abstract_results,
    close_recorded,
    result_types,
    stage,
)

__all__ = [
    "HigherOrder",
    "PartialTrace",
    "PartialTracer",
    "Split",
    "Tape",
    "linear_tape",
    "linearize_flat",
    "partial_eval_jaxpr",
]


class PartialTracer(Tracer):
    """A value that is not known yet."""

    __slots__ = ("_var",)
    shown_as = "PartialTracer"
    is_known = False

    def __init__(self, trace: Trace, aval: Any, var: Var) -> None:
        self._trace = trace
        self.aval = aval
        self._source = current_source() if keeping_sources else None
        self._var = var


class Residual:
    """A known operand of a recorded equation, until a jaxpr is made of what was recorded."""

    __slots__ = ("aval", "val")

    def __init__(self, val: Any) -> None:
        if isinstance(val, Tracer):
            check_not_leaked(val)
        self.val = val
        self.aval = aval_of(val)


@dataclass(frozen=True)
class HigherOrder:
    """The `partial_eval` slot of a primitive that holds jaxprs.

    - `split(trace, args, params)`: apply the primitive to operands of which some are unknown.
    - `dce(eqn, used)`: the equation without what is not used, or None, and which operands it uses.
    """

    split: Callable[[PartialTrace, Sequence[Any], dict[str, Any]], list[Any]]
    dce: Callable[[JaxprEqn, Sequence[bool]], tuple[list[bool], JaxprEqn | None]]


class PartialTrace(Recorder):
    """Evaluates known operations under the parent, records unknown ones."""

    __slots__ = ()

    parent: Trace

    def argument(self, aval: Any) -> PartialTracer:
        """A new unknown."""
        return PartialTracer(self, aval, Var(aval))

    def is_unknown(self, x: Any) -> bool:
        """Whether `x` is one of this trace's unknowns."""
        return type(x) is PartialTracer and x._trace is self

    def atom(self, x: Any) -> Var | Literal:
        """The atom of an operand of a recorded equation."""
        if type(x) is PartialTracer and x._trace is self:
            return x._var
        return self.constant(x)

    def process(self, primitive: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Any:
        """Compute the known, record the unknown."""
        for x in args:
            if type(x) is PartialTracer and x._trace is self:
                break
            if isinstance(x, Tracer):
                check_not_leaked(x)
        else:
            if primitive in refs.creators and params.get("_tangent"):
                return self.record(primitive, args, params)  # what is written later is unknown
            return self.parent.process(primitive, args, params)
        if primitive.partial_eval is FIRST_ORDER:
            return self.record(primitive, args, params)
        if refs.needs_discharge(primitive, params):
            with set_trace(self):
                return refs.apply_hook[0](primitive, args, params)
        with set_trace(self.parent):
            return primitive.partial_eval.split(self, args, params)

    def record(self, primitive: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Any:
        """Write an equation; the results are unknown."""
        effects = primitive.effects(**params)
        if effects:
            atoms: list[Any] = [self.atom(x) for x in args]
            effects = refs.located(primitive.name, params, atoms, effects)
            out = abstract_results(primitive, [a.aval for a in atoms], params)
        else:
            atoms = [
                x._var if type(x) is PartialTracer and x._trace is self else Residual(x)
                for x in args
            ]
            types = result_types if primitive.effects is PURE else abstract_results
            out = types(primitive, tuple([a.aval for a in atoms]), params)
        source = current_source()
        if not primitive.multiple_results:
            tracer = self.argument(out)
            self.eqns.append(JaxprEqn(atoms, (tracer._var,), primitive, params, effects, source))
            return tracer
        tracers = [self.argument(aval) for aval in out]
        outvars = [t._var for t in tracers]
        self.eqns.append(JaxprEqn(atoms, outvars, primitive, params, effects, source))
        return tracers

    def close_recorded(
        self, unknowns: Sequence[PartialTracer], outvars: Sequence[Any], info: DebugInfo
    ) -> ClosedJaxpr:
        """The jaxpr of what was recorded, a function of `unknowns`."""
        for eqn in self.eqns:
            eqn.invars = [self.constant(v.val) if type(v) is Residual else v for v in eqn.invars]
        return close_recorded(self, [t._var for t in unknowns], outvars, info)


class EffectsLater(PartialTrace):
    """Leaves what has effects for later, even if its operands are known."""

    __slots__ = ()

    def process(self, primitive: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Any:
        """Compute the known that has no effects, record the rest."""
        if primitive.effects(**params):
            return self.record(primitive, args, params)
        return super().process(primitive, args, params)


@record(frozen=False)
class Tape:
    """A function's values, and what was recorded of its linear map at that point.

    `unknowns` are the tangents that the map is applied to, `outvars` its results: the tangents of
    those `outs` that `nonzero` marks.
    """

    outs: list[Any]
    nonzero: list[bool]
    trace: PartialTrace
    unknowns: list[PartialTracer]
    outvars: list[Any]

    def closed(self) -> ClosedJaxpr:
        """The linear map as a jaxpr, whose constants are the residuals."""
        info = DebugInfo("linearize", self.trace.description)
        closed = self.trace.close_recorded(self.unknowns, self.outvars, info)
        if refs.has_ref_effects(closed.effects):
            closed = refs.discharge_hook[0](closed)
        return _prune(closed)


def linear_tape(
    fun: Callable[..., Sequence[Any]],
    primals: Sequence[Any],
    differentiable: Sequence[bool],
    *,
    description: Any = "linearize",
) -> Tape:
    """Apply `fun` and record its linear map, from the tangents of the `differentiable` primals."""
    trace = PartialTrace(current_trace(), description)
    unknowns: list[PartialTracer] = []
    tangents: list[Any] = []
    for primal, wanted in zip(primals, differentiable, strict=True):
        of: Any = aval_of(primal)
        aval = of.to_tangent_aval()
        if wanted and type(of) is refs.AbstractRef:
            raise TypeError(
                f"{description}: reverse mode with respect to a reference of type {of}"
                " is not defined; differentiate with respect to its initial value, or use jvp with "
                "a reference to tangents"
            )
        if wanted:
            unknowns.append(trace.argument(aval.strip_weak_type()))
        tangents.append(unknowns[-1] if wanted else Zero(aval))
    try:
        outs, out_tangents = jvp_flat(fun, primals, tangents, parent=trace, description=description)
        nonzero = nonzero_tangents(out_tangents)
        outvars = [trace.atom(t) for t, nz in zip(out_tangents, nonzero, strict=True) if nz]
    finally:
        trace.close()
    return Tape(outs, nonzero, trace, unknowns, outvars)


def linearize_flat(
    fun: Callable[..., Sequence[Any]],
    primals: Sequence[Any],
    differentiable: Sequence[bool],
    *,
    description: Any = "linearize",
) -> tuple[list[Any], ClosedJaxpr, list[bool]]:
    """Values of `fun`, and the linear jaxpr from tangents to tangents.

    The jaxpr's arguments are the tangents of the `differentiable` primals, its results the
    tangents that are not symbolically zero, which the third result marks; its constants are the
    residuals.
    """
    tape = linear_tape(fun, primals, differentiable, description=description)
    return tape.outs, tape.closed(), tape.nonzero


def _prune(closed: ClosedJaxpr) -> ClosedJaxpr:
    """Without dead equations and unused constants; all arguments stay."""
    jaxpr = closed.jaxpr
    pruned, _ = dce_jaxpr(jaxpr, [True] * len(jaxpr.outvars), keep_invars=True)
    used = {v for eqn in pruned.eqns for v in eqn.invars} | set(pruned.outvars)
    kept = [(v, c) for v, c in zip(jaxpr.constvars, closed.consts, strict=True) if v in used]
    return ClosedJaxpr(pruned.replace(constvars=[v for v, _ in kept]), [c for _, c in kept])


@dataclass(frozen=True)
class Split:
    """A jaxpr split by partial evaluation.

    `known`: known arguments to known results followed by residuals.
    `unknown`: residuals followed by unknown arguments, to the unknown results.
    """

    known: ClosedJaxpr
    unknown: ClosedJaxpr
    out_unknown: list[bool]
    num_residuals: int


@made_once
def partial_eval_jaxpr(
    closed: ClosedJaxpr,
    unknown_in: Sequence[bool],
    force_unknown: bool | Sequence[bool] = False,
    *,
    effects_later: bool = False,
) -> Split:
    """Split `closed` by which of its arguments are unknown.

    Results in `force_unknown` become unknown even when they could be computed. With
    `effects_later` everything that has effects is in the unknown part.
    """
    trace_type = EffectsLater if effects_later else PartialTrace
    n_out = len(closed.out_avals)
    forced = [force_unknown] * n_out if isinstance(force_unknown, bool) else list(force_unknown)
    found: dict[str, Any] = {}
    info = closed.jaxpr.debug_info

    def known_part(*known: Any) -> list[Any]:
        trace = trace_type(current_trace(), info.func_src_info)
        given = iter(known)
        unknowns: list[PartialTracer] = []
        args: list[Any] = []
        for aval, unknown in zip(closed.in_avals, unknown_in, strict=True):
            if unknown:
                unknowns.append(trace.argument(aval))
            args.append(unknowns[-1] if unknown else next(given))
        try:
            with set_trace(trace):
                outs = eval_jaxpr(closed.jaxpr, closed.consts, *args)
            out_unknown = [f or trace.is_unknown(x) for f, x in zip(forced, outs, strict=True)]
            outvars = [trace.atom(x) for x, u in zip(outs, out_unknown, strict=True) if u]
        finally:
            trace.close()
        unknown_jaxpr = _prune(trace.close_recorded(unknowns, outvars, info))
        found.update(jaxpr=unknown_jaxpr, out_unknown=out_unknown)
        return [x for x, u in zip(outs, out_unknown, strict=True) if not u] + unknown_jaxpr.consts

    known_avals = [a for a, u in zip(closed.in_avals, unknown_in, strict=True) if not u]
    known_jaxpr = stage(known_part, known_avals, description=info.func_src_info, debug_info=info)
    unknown: Jaxpr = found["jaxpr"].jaxpr
    opened = unknown.replace(constvars=[], invars=unknown.constvars + unknown.invars)
    return Split(known_jaxpr, ClosedJaxpr(opened, []), found["out_unknown"], len(unknown.constvars))


def known_and_unknown(
    trace: PartialTrace, args: Sequence[Any]
) -> tuple[list[bool], list[Any], list[Any]]:
    """Which operands are unknown, the known ones, the unknown ones."""
    unknown = [trace.is_unknown(x) for x in args]
    known = [x for x, u in zip(args, unknown, strict=True) if not u]
    return unknown, known, [x for x, u in zip(args, unknown, strict=True) if u]


def merge(which: Sequence[bool], if_false: Sequence[Any], if_true: Sequence[Any]) -> list[Any]:
    """Interleave two lists: from `if_true` where `which` says so."""
    false, true = iter(if_false), iter(if_true)
    return [next(true) if w else next(false) for w in which]


def instantiated(tangents: Sequence[Any], wanted: Sequence[bool]) -> list[Any]:
    """The tangents asked for, as values."""
    return [instantiate(t) for t, w in zip(tangents, wanted, strict=True) if w]
