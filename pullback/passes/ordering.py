"""Jaxpr to jaxpr, for programs of plugins: the order of calls becomes data.

A compiler that is not ours may move a call before another one unless it needs its result. So every
ordered call takes a mark, a number that nobody reads, and gives one to the next: loops carry it,
branches return it. Our own compiler keeps calls where they stand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from pullback.control.callbacks import HostFunction, callback_primitives
from pullback.core.avals import ShapedArray
from pullback.core.jaxpr import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var
from pullback.errors import UnsupportedError

__all__ = ["thread_order"]

_MARK: Final = ShapedArray((), np.dtype(np.int32))
_FIRST: Final = Literal(np.int32(0), _MARK)

Atom = Var | Literal
Marked = tuple[JaxprEqn, Var]
"""An equation that takes a mark, and the one that it gives."""


def thread_order(closed: ClosedJaxpr) -> ClosedJaxpr:
    """The program, each of whose ordered calls needs something of the one before.

    Raises `UnsupportedError` where an operation other than a loop or a branch holds such calls.

    >>> program = ClosedJaxpr(Jaxpr([], [], [], []), [])
    >>> thread_order(program).jaxpr.eqns
    []
    """
    eqns, _ = _equations(closed.jaxpr.eqns, _FIRST)
    return ClosedJaxpr(closed.jaxpr.replace(eqns=eqns), closed.consts)


class _MarkedFunction(HostFunction):
    """A function that hands on a mark beside what it does."""

    def run(self, arrays: Sequence[Any], avals: Sequence[ShapedArray]) -> list[Any]:
        return [np.int32(0), *super().run(arrays[1:], avals[1:])]


def _is_ordered(effects: Any) -> bool:
    return any(getattr(effect, "ordered", False) for effect in effects)


def _equations(eqns: Sequence[JaxprEqn], mark: Atom) -> tuple[list[JaxprEqn], Atom]:
    """Equations that need each other, and the last mark."""
    made = []
    for eqn in eqns:
        if _is_ordered(eqn.effects):
            eqn, mark = _equation(eqn, mark)
        made.append(eqn)
    return made, mark


def _equation(eqn: JaxprEqn, mark: Atom) -> Marked:
    if eqn.primitive in callback_primitives:
        return _call(eqn, mark)
    rule = _RULES.get(eqn.primitive.name)
    if rule is None:
        raise UnsupportedError(
            f"ordered callbacks within {eqn.primitive}: programs of plugins keep their order in "
            "loops, branches and checkpointed functions; use ordered=False"
        )
    return rule(eqn, mark)


def _call(eqn: JaxprEqn, mark: Atom) -> Marked:
    f = eqn.params["callback"]
    params = {"callback": _MarkedFunction(f.callback_func, f.in_tree, f.out_tree)}
    return _with_mark(eqn, [mark, *eqn.invars], params)


def _with_mark(eqn: JaxprEqn, invars: Sequence[Atom], params: dict[str, Any]) -> Marked:
    """An equation whose first result is a mark."""
    mark = Var(_MARK)
    params = eqn.params | params
    return eqn.replace(invars=list(invars), outvars=[mark, *eqn.outvars], params=params), mark


def _body(jaxpr: Jaxpr, at: int = 0) -> Jaxpr:
    """A body that takes a mark as an operand, and gives one first."""
    mark = Var(_MARK)
    eqns, last = _equations(jaxpr.eqns, mark)
    invars = [*jaxpr.invars[:at], mark, *jaxpr.invars[at:]]
    return jaxpr.replace(invars=invars, eqns=eqns, outvars=[last, *jaxpr.outvars])


def _closed_body(closed: ClosedJaxpr, at: int = 0) -> ClosedJaxpr:
    return ClosedJaxpr(_body(closed.jaxpr, at), closed.consts)


def _scan(eqn: JaxprEqn, mark: Atom) -> Marked:
    params, n = eqn.params, eqn.params["num_consts"]
    new = {
        "jaxpr": _closed_body(params["jaxpr"], n),
        "num_carry": params["num_carry"] + 1,
        "linear": (False, *params["linear"]),
    }
    return _with_mark(eqn, [*eqn.invars[:n], mark, *eqn.invars[n:]], new)


def _while(eqn: JaxprEqn, mark: Atom) -> Marked:
    n = eqn.params["cond_nconsts"]
    m = n + eqn.params["body_nconsts"]
    cond, body = eqn.params["cond_jaxpr"], eqn.params["body_jaxpr"]
    if _is_ordered(cond.effects):
        raise UnsupportedError(
            "an ordered callback in the condition of a while_loop: programs of plugins keep the "
            "order of calls in its body; call it there, and carry what the condition needs"
        )
    inner = cond.jaxpr
    unread = [*inner.invars[:n], Var(_MARK), *inner.invars[n:]]
    new = {
        "cond_jaxpr": ClosedJaxpr(inner.replace(invars=unread), cond.consts),
        "body_jaxpr": _closed_body(body, m - n),
    }
    return _with_mark(eqn, [*eqn.invars[:m], mark, *eqn.invars[m:]], new)


def _cond(eqn: JaxprEqn, mark: Atom) -> Marked:
    index, *operands = eqn.invars
    branches = tuple(_closed_body(branch) for branch in eqn.params["branches"])
    return _with_mark(eqn, [index, mark, *operands], {"branches": branches})


def _remat(eqn: JaxprEqn, mark: Atom) -> Marked:
    return _with_mark(eqn, [mark, *eqn.invars], {"jaxpr": _body(eqn.params["jaxpr"])})


_RULES: Final[dict[str, Callable[[JaxprEqn, Atom], Marked]]] = {
    "cond": _cond,
    "remat2": _remat,
    "scan": _scan,
    "while": _while,
}
