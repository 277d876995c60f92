"""Jaxpr to jaxpr, last before lowering: callbacks are numbered.

The program that the compiler sees names a Python function by its number alone, so that its code
does not depend on which function it is, and can be kept on disk.  The functions themselves stay
behind, in a table that the loaded program calls into (`runtime/host_calls.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

from pullback.control.callbacks import HostFunction, HostNumber, callback_primitives
from pullback.core.avals import ShapedArray
from pullback.core.jaxpr import ClosedJaxpr, Jaxpr, JaxprEqn
from pullback.passes.inner import with_inner

__all__ = ["HostCall", "number_callbacks"]


@dataclass(frozen=True)
class HostCall:
    """One callback of a program: the function, and the types of its operands and results."""

    function: HostFunction
    in_avals: tuple[ShapedArray, ...]
    out_avals: tuple[ShapedArray, ...]


def number_callbacks(closed: ClosedJaxpr) -> tuple[ClosedJaxpr, list[HostCall]]:
    """The program with numbers in place of Python functions, and the functions by number.

    >>> number_callbacks(ClosedJaxpr(Jaxpr([], [], [], []), []))[1]
    []
    """
    calls: list[HostCall] = []
    return ClosedJaxpr(_jaxpr(closed.jaxpr, calls), closed.consts), calls


def _jaxpr(jaxpr: Jaxpr, calls: list[HostCall]) -> Jaxpr:
    """`jaxpr` itself where it has no callback."""
    before = len(calls)
    eqns = [_equation(eqn, calls) for eqn in jaxpr.eqns]
    return jaxpr if len(calls) == before else jaxpr.replace(eqns=eqns)


def _equation(eqn: JaxprEqn, calls: list[HostCall]) -> JaxprEqn:
    if eqn.primitive in callback_primitives:
        ins, outs = (tuple(v.aval for v in vs) for vs in (eqn.invars, eqn.outvars))
        calls.append(HostCall(eqn.params["callback"], ins, outs))
        return eqn.replace(params=eqn.params | {"callback": HostNumber(len(calls) - 1)})
    return with_inner(eqn, lambda jaxpr: _jaxpr(jaxpr, calls))
