"""Recording: run a function on tracers and write down its operations as a jaxpr."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any, Final, NoReturn

import numpy as np

from pullback import config, tree
from pullback.core import dtypes, refs
from pullback.core.array import Array
from pullback.core.avals import aval_of
from pullback.core.dimensions import DimExpr
from pullback.core.dtypes import KeyDtype
from pullback.core.jaxpr import (
    ClosedJaxpr,
    DebugInfo,
    DropVar,
    Jaxpr,
    JaxprEqn,
    Literal,
    Var,
    join_effects,
    no_effects,
)
from pullback.core.primitive import FIRST_ORDER, PURE, Primitive
from pullback.core.source import Description, SourceInfo, current_source, fresh_names, one_line
from pullback.core.trace import (
    Trace,
    Tracer,
    check_leaks,
    check_not_leaked,
    current_trace,
    set_trace,
)
from pullback.ops.dimensions import dim_as_value
from pullback.transforms.arguments import FlatFunction, is_operand

__all__ = [
    "StagedTracer",
    "StagingTrace",
    "abstract_results",
    "forget_types",
    "result_types",
    "stage",
    "types_forgotten",
]

_SCALARS: Final = frozenset((bool, int, float, complex))


class StagedTracer(Tracer):
    """The result of a recorded equation, or an argument."""

    __slots__ = ("_var",)
    shown_as = "JitTracer"

    def __init__(self, trace: Trace, aval: Any, var: Var) -> None:
        self._trace = trace
        self.aval = aval
        self._source = None
        self._var = var


def abstract_results(primitive: Primitive, avals: Sequence[Any], params: dict[str, Any]) -> Any:
    """The result avals by the primitive's rule; its TypeError gains the user's line."""
    try:
        return primitive.abstract(*avals, **params)
    except TypeError as error:
        if error.args and "\n  At:" not in str(error.args[0]):
            error.args = (f"{error.args[0]}\n  At: {current_source()}", *error.args[1:])
        raise


_types: Final[dict[Any, Any]] = {}
_TYPES_LIMIT: Final = 16_384


def result_types(primitive: Primitive, avals: tuple[Any, ...], params: dict[str, Any]) -> Any:
    """`abstract_results`, remembered by the types of the operands and the parameters."""
    key = (primitive, avals, tuple(params.items())) if params else (primitive, avals)
    try:
        found = _types.get(key)
    except TypeError:  # a parameter that cannot be hashed
        return abstract_results(primitive, avals, params)
    if found is None:
        found = abstract_results(primitive, avals, params)
        if len(_types) >= _TYPES_LIMIT:
            _types.clear()
        _types[key] = found
    return found


types_forgotten: Final[list[Callable[[], None]]] = [_types.clear]
"""What to do when types of results are forgotten, for those who remember more than these."""


def forget_types() -> None:
    """Forget the types of results; they are found again."""
    for forget in types_forgotten:
        forget()


# Whether there is a type at all depends on this setting.
config.allow_f16_reductions.watchers.append(forget_types)


def literal_of(x: Any) -> Literal | None:
    """A literal for a concrete scalar, None for anything else."""
    if type(x) in _SCALARS:
        return Literal(x)
    if isinstance(x, Array):
        aval = aval_of(x)
        if aval.shape != () or isinstance(x, Tracer) or isinstance(aval.dtype, KeyDtype):
            return None
        return Literal(x.__array__(), aval)
    if isinstance(x, (np.ndarray, np.generic)) and x.shape == () and x.dtype.kind != "V":
        aval = aval_of(x)
        return Literal(np.asarray(x, dtypes.physical(aval.dtype)), aval)
    return None


class Recorder(Trace):
    """What traces that write equations share: equations, and constants met on the way."""

    __slots__ = ("const_atoms", "consts", "constvars", "eqns")

    def __init__(self, parent: Trace | None, description: Any) -> None:
        self.parent = parent
        self.alive = True
        self.description = description
        self.eqns: list[JaxprEqn] = []
        self.consts: list[Any] = []
        self.constvars: list[Var] = []
        self.const_atoms: dict[int, Var | Literal] = {}

    def constant(self, x: Any) -> Var | Literal:
        """The atom of a value that is not this trace's."""
        atom = self.const_atoms.get(id(x))
        if atom is None:
            if isinstance(x, Tracer):
                check_not_leaked(x)
            atom = literal_of(x)
            if atom is None:
                atom = Var(aval_of(x))
                self.constvars.append(atom)
            self.consts.append(x)  # also keeps the object alive, so that its id stays its own
            self.const_atoms[id(x)] = atom
        return atom

    def const_values(self) -> list[Any]:
        """The values of `constvars`, in order."""
        return [x for x in self.consts if type(self.const_atoms[id(x)]) is Var]


class StagingTrace(Recorder):
    """Records every operation applied to anything."""

    __slots__ = ()

    def atom(self, x: Any) -> Var | Literal:
        """The atom of any operand."""
        if type(x) is StagedTracer and x._trace is self:
            return x._var
        if type(x) is refs.Ref and x.value() is not x:
            return self.atom(x._tracer)
        if type(x) is DimExpr:
            return self.atom(self.process(dim_as_value, (), {"dim": x}))
        return self.constant(x)

    def argument(self, aval: Any) -> StagedTracer:
        """A tracer for a new argument."""
        tracer = StagedTracer(self, aval, Var(aval))
        tracer._source = current_source()
        return tracer

    def process(self, primitive: Any, args: Sequence[Any], params: dict[str, Any]) -> Any:
        """Write an equation; the results are tracers."""
        atoms = [
            x._var if type(x) is StagedTracer and x._trace is self else self.atom(x) for x in args
        ]
        avals = tuple([v.aval for v in atoms])
        if primitive.effects is PURE:
            first_order = primitive.partial_eval is FIRST_ORDER
            out = (result_types if first_order else abstract_results)(primitive, avals, params)
            effects = no_effects
        else:
            out = abstract_results(primitive, avals, params)
            effects = refs.located(primitive.name, params, atoms, primitive.effects(**params))
        source = current_source()
        if primitive.multiple_results:
            tracers = [self.result(aval, source) for aval in out]
            outvars = [t._var for t in tracers]
            self.eqns.append(JaxprEqn(atoms, outvars, primitive, params, effects, source))
            return tracers
        tracer = self.result(out, source)
        self.eqns.append(JaxprEqn(atoms, [tracer._var], primitive, params, effects, source))
        return tracer

    def result(self, aval: Any, source: SourceInfo) -> StagedTracer:
        """A tracer for the result of an equation."""
        tracer = StagedTracer(self, aval, Var(aval))
        tracer._source = source
        return tracer


def stage(
    fun: Callable[..., Sequence[Any]],
    in_avals: Sequence[Any],
    *,
    description: Any = "a function",
    debug_info: DebugInfo | None = None,
) -> ClosedJaxpr:
    """The jaxpr of `fun`, which maps flat values to a flat sequence of values.

    The constants of the result are the arrays, and the tracers of outer traces, that `fun` met.
    """
    if not isinstance(fun, FlatFunction) or not config.check_tracer_leaks():
        return _stage(fun, in_avals, description, debug_info, [])
    traces: list[weakref.ref[Trace]] = []
    closed = _stage(fun, in_avals, description, debug_info, traces)
    check_leaks(traces[0], description)
    return closed


def _stage(
    fun: Callable[..., Sequence[Any]],
    in_avals: Sequence[Any],
    description: str,
    debug_info: DebugInfo | None,
    traces: list[weakref.ref[Trace]],
) -> ClosedJaxpr:
    trace = StagingTrace(current_trace(), description)
    traces.append(weakref.ref(trace))
    with one_line():
        args = [trace.argument(aval) for aval in in_avals]
    try:
        with set_trace(trace), fresh_names():
            outs = fun(*args)
        outvars = _result_atoms(trace, outs, fun, description)
        if isinstance(fun, FlatFunction):
            refs.check_results(outvars, description)
    finally:
        trace.close()
    info = debug_info or DebugInfo("jit", description)
    return close_recorded(trace, [t._var for t in args], outvars, info)


def _result_atoms(
    trace: StagingTrace, outs: Sequence[Any], fun: Any, description: Any
) -> list[Any]:
    try:
        return [trace.atom(x) for x in outs]
    except TypeError:
        for number, x in enumerate(outs):
            if not is_operand(x):
                _refuse_result(x, number, fun, description)
        raise


def _refuse_result(x: Any, number: int, fun: Any, description: Any) -> NoReturn:
    """Raise for a result that is no array, saying which it is."""
    where = ""
    if isinstance(fun, FlatFunction):
        places = tree.leaves_with_path(fun.out_tree.unflatten(range(fun.out_tree.num_leaves)))
        path = tree.keystr(places[number][0])
        where = f" at output component {path}" if path else ""
    traced = description.traced if isinstance(description, Description) else description
    raise TypeError(
        f"function {traced} returned a value of type {type(x)}{where}, which is not a valid JAX "
        f"type: {x!r}"
    )


def close_recorded(
    trace: Recorder, invars: Sequence[Var], outvars: Sequence[Any], info: DebugInfo
) -> ClosedJaxpr:
    """The jaxpr of what `trace` recorded; results that nobody uses become `_`."""
    mark_dropped(trace.eqns, outvars)
    effects = join_effects(trace.eqns) if trace.eqns else no_effects
    if effects:
        effects = refs.on_arguments(effects, [*trace.constvars, *invars])
    jaxpr = Jaxpr(trace.constvars, invars, outvars, trace.eqns, effects, info)
    return ClosedJaxpr(jaxpr, trace.const_values())


def mark_dropped(eqns: Sequence[JaxprEqn], outvars: Sequence[Any]) -> None:
    """Replace result variables without a use by `DropVar`s."""
    used = {v for eqn in eqns for v in eqn.invars} | set(outvars)
    for eqn in eqns:
        for i, v in enumerate(eqn.outvars):
            if v not in used:
                eqn.outvars[i] = DropVar(v.aval)
