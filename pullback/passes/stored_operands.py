"""Products read transposed operands as they are stored: axes of the product say how.

Only a transpose that nothing else reads goes away.  One that several products read, or a loop, is
made once, and they read its rows.  Inner programs keep theirs: `passes/invariants.py` moved those
out of loops that every turn would make again.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from pullback.core.jaxpr import ClosedJaxpr, JaxprEqn, Literal

__all__ = ["of_stored", "read_as_stored"]


def read_as_stored(closed: ClosedJaxpr) -> ClosedJaxpr:
    """The same program, whose products have the axes of what is in memory.

    >>> from pullback.core.jaxpr import Jaxpr
    >>> read_as_stored(ClosedJaxpr(Jaxpr([], [], [], []), [])).jaxpr.eqns
    []
    """
    jaxpr = closed.jaxpr
    made = {e.outvars[0]: e for e in jaxpr.eqns if e.primitive.name == "transpose"}
    if not made or not any(e.primitive.name == "dot_general" for e in jaxpr.eqns):
        return closed
    uses = Counter(v for e in jaxpr.eqns for v in e.invars if type(v) is not Literal)
    uses.update(v for v in jaxpr.outvars if type(v) is not Literal)
    eqns, gone = [], set()
    for eqn in jaxpr.eqns:
        for side in (0, 1) if eqn.primitive.name == "dot_general" else ():
            operand = eqn.invars[side]
            if type(operand) is not Literal and operand in made and uses[operand] == 1:
                new = of_stored(eqn, side, made[operand])
                gone |= {operand} if new is not eqn else set()
                eqn = new
        eqns.append(eqn)
    kept = [e for e in eqns if gone.isdisjoint(e.outvars)]
    return ClosedJaxpr(jaxpr.replace(eqns=kept), closed.consts) if gone else closed


def of_stored(eqn: JaxprEqn, side: int, made: JaxprEqn) -> JaxprEqn:
    """A product with what an operand is the transpose of, if its result has the same axes."""
    order = made.params["permutation"]
    contracted, batch = eqn.params["dimension_numbers"]
    free = [n for k, n in enumerate(order) if k not in contracted[side] and k not in batch[side]]
    if free != sorted(free):
        return eqn

    def stored(axes: Any) -> Any:
        mine = tuple(order[k] for k in axes[side])
        return (mine, axes[1]) if side == 0 else (axes[0], mine)

    operands = list(eqn.invars)
    operands[side] = made.invars[0]
    numbers = (stored(contracted), stored(batch))
    return eqn.replace(invars=operands, params=eqn.params | {"dimension_numbers": numbers})
