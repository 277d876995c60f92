"""Residuals of a loop that cost less to compute again than to keep.

A loop keeps a row of each residual for every step. Some are a few operations on elements away from
others, such as the slope `s (1 - s)` of a sigmoid `s` that is kept as well: the backward loop
makes them from those, which have the same bits then, and its rows take half the memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from pullback.core.jaxpr import ClosedJaxpr, JaxprEqn, Literal, Var
from pullback.transforms.linearize import Split

__all__ = ["without_cheap_residuals"]

_OPERATIONS: Final = """
abs add add_any and convert_element_type eq ge gt integer_pow le lt max min mul ne neg not or
reshape select_n sign square squeeze sub xor
"""
CHEAP: Final = frozenset(_OPERATIONS.split())
MOST: Final = 4
"""Equations for one residual."""


def without_cheap_residuals(split: Split) -> Split:
    """The same split, with fewer residuals: what is cheap stands in the unknown part again.

    >>> from pullback.core.jaxpr import Jaxpr
    >>> empty = ClosedJaxpr(Jaxpr([], [], [], []), [])
    >>> without_cheap_residuals(Split(empty, empty, [], 0)).num_residuals
    0
    """
    known, unknown, n = split.known.jaxpr, split.unknown.jaxpr, split.num_residuals
    n_out = len(known.outvars) - n
    residuals, names = known.outvars[n_out:], unknown.invars[:n]
    made = {v: k for k, eqn in enumerate(known.eqns) for v in eqn.outvars}
    kept, again = _chosen(residuals, known.eqns, made)
    if not again:
        return split
    env: dict[Any, Any] = dict(zip(residuals, names, strict=True))
    eqns = [_renamed(known.eqns[k], env) for k in sorted(again)]
    stays = [type(v) is Literal or v in kept for v in residuals]
    left = [v for v, stay in zip(names, stays, strict=True) if stay]
    rows = [v for v, stay in zip(residuals, stays, strict=True) if stay]
    new_known = known.replace(outvars=[*known.outvars[:n_out], *rows])
    new_unknown = unknown.replace(invars=[*left, *unknown.invars[n:]], eqns=[*eqns, *unknown.eqns])
    return replace(
        split,
        known=ClosedJaxpr(new_known, split.known.consts),
        unknown=ClosedJaxpr(new_unknown, split.unknown.consts),
        num_residuals=len(left),
    )


def _chosen(
    residuals: list[Any], eqns: list[JaxprEqn], made: dict[Any, int]
) -> tuple[set[Any], set[int]]:
    """The residuals that are kept, and the numbers of the equations that make the others."""
    counts = Counter(v for v in residuals if type(v) is Var)
    kept, again = set(counts), set[int]()
    for v in sorted(counts, key=lambda v: made.get(v, -1), reverse=True):
        if counts[v] == 1 and v in made:
            recipe = _recipe(v, kept, eqns, made)
            if recipe:
                kept.remove(v)
                again.update(recipe)
    return kept, again


def _recipe(v: Any, kept: set[Any], eqns: list[JaxprEqn], made: dict[Any, int]) -> set[int]:
    """The equations that make a residual from others; none where that is not cheap."""
    found, waiting = set[int](), [v]
    while waiting:
        number = made.get(waiting.pop(), -1)
        if number < 0 or eqns[number].primitive.name not in CHEAP:
            return set()
        found.add(number)
        if len(found) > MOST:
            return set()
        waiting += _missing(eqns[number], kept)
    return found


def _missing(eqn: JaxprEqn, kept: set[Any]) -> Iterator[Any]:
    return (v for v in eqn.invars if type(v) is not Literal and v not in kept)


def _renamed(eqn: JaxprEqn, env: dict[Any, Any]) -> JaxprEqn:
    """An equation of the known part in the unknown one; `env` has the names of residuals there."""
    invars = [v if type(v) is Literal else env[v] for v in eqn.invars]
    return eqn.replace(invars=invars, outvars=[env.setdefault(v, Var(v.aval)) for v in eqn.outvars])
