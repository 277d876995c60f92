"""`check_indices`: an index out of bounds is an error, eagerly and in compiled programs.

While the setting is on, operations with indices, and programs that hold such operations, are run in
the form that `checkify` gives them, which returns an error beside the results.  Where a mode was
chosen (`mode="drop"`, ...), an index out of bounds is what it asks for, and no error.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from pullback import config
from pullback.control import refs_discharge
from pullback.core.jaxpr import ClosedJaxpr
from pullback.core.primitive import FIRST_ORDER, Primitive
from pullback.core.refs import Ref
from pullback.core.source import OUTSIDE_ALLOWED, marked
from pullback.core.trace import eager
from pullback.lazy import LazyModule
from pullback.runtime import programs
from pullback.runtime.array import ArrayImpl
from pullback.runtime.compile import compile_jaxpr
from pullback.runtime.dispatch import to_array

__all__ = ["CheckedProgram", "applies", "evaluate", "wanted"]

_checks: Final = LazyModule("pullback.control.checks")
_rules: Final = LazyModule("pullback.control.check_rules")
_functionalize: Final = LazyModule("pullback.control.functionalize")


def wanted() -> bool:
    """Whether indices are to be checked in this thread."""
    return bool(config.check_indices())


def applies(primitive: Primitive, args: Sequence[Any]) -> bool:
    """Whether there may be an index in an operation on concrete operands."""
    if any(type(x) is Ref for x in args):
        return False
    if primitive.partial_eval is not FIRST_ORDER:
        return True
    return primitive.name in _rules.INDEXED and not marked(OUTSIDE_ALLOWED)


def _errors() -> frozenset[Any]:
    return frozenset((_checks.UnexpectedOOBError,))


def _raise_for(error: Any) -> None:
    """Raise IndexError, with the user's line, for an index that was out of bounds."""
    failure = error.get_exception()
    if failure is not None:
        notes = "".join(f"\n  {note}" for note in getattr(failure, "__notes__", ()))
        raise IndexError(f"{str(failure).strip()}{notes}")


def evaluate(primitive: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Any:
    """The result of an operation on concrete operands; IndexError for an index out of bounds."""
    arrays = [to_array(x) for x in args]
    closed = programs.one_equation(primitive, tuple(x.aval for x in arrays), params)
    with config.check_indices.override(False), eager():
        error, outs = _functionalize.functionalize(closed, _errors(), arrays)
    _raise_for(error)
    return outs if primitive.multiple_results else outs[0]


class CheckedProgram:
    """A compiled program that raises IndexError for an index out of bounds."""

    __slots__ = ("checked", "executable", "state")

    def __init__(self, closed: ClosedJaxpr, name: str) -> None:
        self.checked = _functionalize.checked_jaxpr(refs_discharge.pure(closed), _errors())
        self.state = _checks.State(self.checked.signatures)
        self.executable = compile_jaxpr(self.checked.closed, name=name)

    def __call__(self, arrays: Sequence[ArrayImpl]) -> list[ArrayImpl]:
        """The results of the program itself."""
        leaves = [to_array(x) for x in self.state.leaves()]
        outs = self.executable([*leaves, *arrays])
        state = _checks.State(self.checked.signatures, outs[: len(leaves)])
        state.sites |= self.checked.sites
        _raise_for(state.error())
        return outs[len(leaves) :]
