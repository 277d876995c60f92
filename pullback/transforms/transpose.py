"""Reverse mode: run a linear jaxpr backwards, from cotangents of results to those of arguments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from pullback.core import refs
from pullback.core.effects import CREATED
from pullback.core.jaxpr import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var
from pullback.core.primitive import Linear, NotApplicable, Zero
from pullback.core.source import Transform, replaying
from pullback.errors import PullbackError, UnsupportedError
from pullback.ops import elementwise
from pullback.transforms.derived import made_once
from pullback.transforms.linearize import Tape
from pullback.transforms.staging import stage

__all__ = ["add_cotangents", "backward_pass", "backward_tape", "transpose_jaxpr"]

_TRANSPOSE: Final = Transform("transpose")


def add_cotangents(x: Any, y: Any) -> Any:
    """The sum of two cotangents, either of which may be symbolically zero."""
    if type(x) is Zero:
        return y
    if type(y) is Zero:
        return x
    return elementwise.add_any(x, y)


class _Cotangents:
    """The cotangents gathered so far, by variable."""

    def __init__(self) -> None:
        self.values: dict[Var, Any] = {}

    def add(self, atom: Any, ct: Any) -> None:
        """Add `ct` to what `atom` has."""
        if ct is None or type(ct) is Zero or type(atom) is Literal:
            return
        now = self.values.get(atom)
        self.values[atom] = ct if now is None else add_cotangents(now, ct)

    def take(self, var: Var) -> Any:
        """The cotangent of `var`, no longer kept."""
        ct = self.values.pop(var, None)
        return Zero(var.aval.to_cotangent_aval()) if ct is None else ct


def backward_pass(
    jaxpr: Jaxpr, consts: Sequence[Any], args: Sequence[Any], cts: Sequence[Any]
) -> list[Any]:
    """Cotangents of the arguments that are `Linear`; None for the others.

    Equations that do not depend on linear arguments are evaluated first, in order.
    """
    if CREATED & jaxpr.effects:
        closed = refs.discharge_hook[0](ClosedJaxpr(jaxpr, consts))
        jaxpr, consts = closed.jaxpr, closed.consts
    known: dict[Any, Any] = dict(zip(jaxpr.constvars, consts, strict=True))
    linear: set[Var] = set()
    for var, x in zip(jaxpr.invars, args, strict=True):
        if type(x) is Linear:
            linear.add(var)
        else:
            known[var] = x
    gathered = _pulled(jaxpr.eqns, known, linear, jaxpr.outvars, cts)
    return [gathered.take(v) if v in linear else None for v in jaxpr.invars]


def backward_tape(tape: Tape, cts: Sequence[Any]) -> list[Any]:
    """Cotangents of what a linear map was recorded for, from those of its first results.

    The recorded equations are transposed as they are: no jaxpr is made of them for one use.
    """
    eqns = tape.trace.eqns
    if any([eqn.effects for eqn in eqns]):
        closed = tape.closed()
        jaxpr = closed.jaxpr.replace(outvars=closed.jaxpr.outvars[: len(cts)])
        return backward_pass(jaxpr, closed.consts, [Linear(v.aval) for v in jaxpr.invars], cts)
    gathered = _Cotangents()
    for atom, ct in zip(tape.outvars, cts, strict=False):
        if type(atom) is Var:
            gathered.add(atom, ct)
    for eqn in reversed(eqns):
        args = [Linear(v.aval) if type(v) is Var else v.val for v in eqn.invars]
        _transpose_eqn(eqn, args, gathered)
    return [gathered.take(t._var) for t in tape.unknowns]


def _pulled(
    eqns: Sequence[JaxprEqn],
    known: dict[Any, Any],
    linear: set[Var],
    outvars: Sequence[Any],
    cts: Sequence[Any],
) -> _Cotangents:
    """What reaches the `linear` variables from the cotangents of `outvars`."""
    linear_eqns = _evaluate_nonlinear(eqns, known, linear)
    gathered = _Cotangents()
    for atom, ct in zip(outvars, cts, strict=True):
        if type(atom) is not Literal and atom in linear:
            gathered.add(atom, ct)
    for eqn in reversed(linear_eqns):
        args = [
            Linear(v.aval) if type(v) is not Literal and v in linear else _value(v, known)
            for v in eqn.invars
        ]
        _transpose_eqn(eqn, args, gathered)
    return gathered


def _evaluate_nonlinear(
    eqns: Sequence[JaxprEqn], known: dict[Any, Any], linear: set[Var]
) -> list[JaxprEqn]:
    rest = []
    for eqn in eqns:
        if any(type(v) is not Literal and v in linear for v in eqn.invars):
            linear.update(eqn.outvars)
            rest.append(eqn)
            continue
        ans = eqn.primitive.bind(*[_value(v, known) for v in eqn.invars], **eqn.params)
        outs = ans if eqn.primitive.multiple_results else [ans]
        known.update(zip(eqn.outvars, outs, strict=True))
    return rest


def _value(atom: Any, known: dict[Any, Any]) -> Any:
    return atom.val if type(atom) is Literal else known[atom]


def _transpose_eqn(eqn: JaxprEqn, args: list[Any], gathered: _Cotangents) -> None:
    """Add to the cotangents of the arguments that are `Linear` what those of the results give."""
    cts = [gathered.take(v) for v in eqn.outvars]
    if all([type(ct) is Zero for ct in cts]):
        return
    with replaying(eqn.source_info, _TRANSPOSE):
        ct = cts if eqn.primitive.multiple_results else cts[0]
        rule = eqn.primitive.transpose
        if isinstance(rule, NotApplicable) and rule.error is UnsupportedError:
            raise UnsupportedError(
                "Transpose rule (for reverse-mode differentiation) for "
                f"{eqn.primitive.name!r} not implemented: {rule.reason}"
            )
        out = rule(ct, *args, **eqn.params)
    if len(out) != len(args):
        raise PullbackError(f"the transpose rule of {eqn.primitive} gave {len(out)} cotangents")
    for atom, x, ct in zip(eqn.invars, args, out, strict=True):
        if type(x) is Linear:
            gathered.add(atom, ct)


@made_once
def transpose_jaxpr(
    closed: ClosedJaxpr, linear: Sequence[bool], ct_zero: Sequence[bool]
) -> tuple[ClosedJaxpr, list[bool]]:
    """The jaxpr from known arguments and the cotangents of results to those of `linear` arguments.

    Cotangents that are symbolically zero are no arguments (`ct_zero`) and no results (the second
    result marks the others).
    """
    nonzero: list[bool] = []
    out_avals = closed.out_avals

    def fun(*args: Any) -> list[Any]:
        given = iter(args)
        ins = [
            Linear(a) if lin else next(given)
            for a, lin in zip(closed.in_avals, linear, strict=True)
        ]
        cts = [
            Zero(a.to_cotangent_aval()) if zero else next(given)
            for a, zero in zip(out_avals, ct_zero, strict=True)
        ]
        outs = backward_pass(closed.jaxpr, closed.consts, ins, cts)
        outs = [ct for ct, lin in zip(outs, linear, strict=True) if lin]
        nonzero[:] = [type(ct) is not Zero for ct in outs]
        return [ct for ct in outs if type(ct) is not Zero]

    avals = [a for a, lin in zip(closed.in_avals, linear, strict=True) if not lin]
    avals += [a.to_cotangent_aval() for a, zero in zip(out_avals, ct_zero, strict=True) if not zero]
    info = closed.jaxpr.debug_info
    jaxpr = stage(fun, avals, description=f"transpose of {info.func_src_info}", debug_info=info)
    return jaxpr, list(nonzero)


def linear_values(args: Sequence[Any]) -> tuple[list[bool], list[Any]]:
    """Which arguments of a transpose rule are linear, and the values of the others."""
    linear = [type(x) is Linear for x in args]
    return linear, [x for x in args if type(x) is not Linear]


def nonzero_cotangents(cts: Sequence[Any]) -> tuple[list[bool], list[Any]]:
    """Which cotangents are symbolically zero, and the values of the others."""
    zero = [type(ct) is Zero for ct in cts]
    return zero, [ct for ct in cts if type(ct) is not Zero]


def spread(
    linear: Sequence[bool], avals: Sequence[Any], nonzero: Sequence[bool], outs: Sequence[Any]
) -> list[Any]:
    """The results of a transposed jaxpr, one per original argument."""
    values, flags = iter(outs), iter(nonzero)
    result: list[Any] = []
    for lin, aval in zip(linear, avals, strict=True):
        if not lin:
            result.append(None)
        else:
            result.append(next(values) if next(flags) else Zero(aval.to_cotangent_aval()))
    return result
