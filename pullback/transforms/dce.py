"""Dead code: the part of a jaxpr that its used results, and its effects, need."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pullback.core.axes import NamedAxisEffect
from pullback.core.jaxpr import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, join_effects
from pullback.core.primitive import FIRST_ORDER

__all__ = ["dce_jaxpr", "without_effects"]


def dce_jaxpr(
    jaxpr: Jaxpr, used_outputs: Sequence[bool], *, keep_invars: bool = False
) -> tuple[Jaxpr, list[bool]]:
    """`jaxpr` with the used results only, and which of its arguments it still needs.

    The arguments that it does not need are dropped, unless `keep_invars`.
    """
    outvars = [v for v, used in zip(jaxpr.outvars, used_outputs, strict=True) if used]
    live = set(outvars)
    eqns: list[JaxprEqn] = []
    for eqn in reversed(jaxpr.eqns):
        outvars_of = eqn.outvars
        if len(outvars_of) == 1:
            if outvars_of[0] in live:
                eqns.append(eqn)
                live.update(eqn.invars)
                continue
            if not eqn.effects:
                continue
        used = [v in live for v in outvars_of]
        if not any(used) and not _must_run(eqn):
            continue
        used_inputs, kept = _dce_eqn(eqn, used)
        if kept is not None:
            eqns.append(kept)
            live.update(v for v, needed in zip(eqn.invars, used_inputs, strict=True) if needed)
    eqns.reverse()
    used_invars = [keep_invars or v in live for v in jaxpr.invars]
    invars = [v for v, used in zip(jaxpr.invars, used_invars, strict=True) if used]
    pruned = jaxpr.replace(
        invars=invars,
        outvars=outvars,
        eqns=eqns,
        effects=join_effects(eqns),
    )
    return pruned, used_invars


def without_effects(closed: ClosedJaxpr) -> ClosedJaxpr:
    """What the results need, for a second computation: effects happened in the first.

    An equation with effects stays only where its results are needed.
    """
    return ClosedJaxpr(_without_effects(closed.jaxpr), closed.consts)


def _without_effects(jaxpr: Jaxpr) -> Jaxpr:
    live = {v for v in jaxpr.outvars if type(v) is not Literal}
    eqns: list[JaxprEqn] = []
    for eqn in reversed(jaxpr.eqns):
        if not any(v in live for v in eqn.outvars):
            continue
        if eqn.effects and eqn.primitive.partial_eval is not FIRST_ORDER:
            params = {name: _in_parameter(value) for name, value in eqn.params.items()}
            eqn = eqn.replace(params=params, effects=eqn.primitive.effects(**params))
        eqns.append(eqn)
        live.update(v for v in eqn.invars if type(v) is not Literal)
    eqns.reverse()
    return jaxpr.replace(eqns=eqns, effects=join_effects(eqns))


def _in_parameter(value: Any) -> Any:
    if isinstance(value, ClosedJaxpr):
        return without_effects(value)
    if isinstance(value, Jaxpr):
        return _without_effects(value)
    if isinstance(value, tuple):
        return tuple(map(_in_parameter, value))
    return value


def _must_run(eqn: JaxprEqn) -> bool:
    """Whether an equation has effects that are observed without its results."""
    return any(type(effect) is not NamedAxisEffect for effect in eqn.effects)


def _dce_eqn(eqn: JaxprEqn, used: Sequence[bool]) -> tuple[list[bool], JaxprEqn | None]:
    rules: Any = eqn.primitive.partial_eval
    if rules is FIRST_ORDER or all(used):
        return [True] * len(eqn.invars), eqn
    result: tuple[list[bool], JaxprEqn | None] = rules.dce(eqn, used)
    return result
