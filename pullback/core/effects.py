"""What an equation does besides computing: the members of the `effects` of equations and jaxprs.

An equation with effects is neither removed, nor merged with an equal one, nor moved across another
one that has effects.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

__all__ = [
    "CHECK",
    "CREATED",
    "DEBUG",
    "DEBUG_CHECK",
    "IO",
    "ORDERED_DEBUG",
    "ORDERED_IO",
    "AccumEffect",
    "CreationEffect",
    "DebugEffect",
    "Effect",
    "OrderedDebugEffect",
    "ReadEffect",
    "RefEffect",
    "WriteEffect",
    "has_io",
]


@dataclass(frozen=True)
class Effect:
    """A kind of effect; `io` ones change the world outside, the others only report."""

    name: str
    ordered: bool
    io: bool

    def __repr__(self) -> str:
        return self.name


class DebugEffect(Effect):
    """Something is reported."""

    def __init__(self) -> None:
        super().__init__("Debug", False, False)


class OrderedDebugEffect(Effect):
    """Something is reported, in order with others of the kind."""

    def __init__(self) -> None:
        super().__init__("OrderedDebug", True, False)


DEBUG: Final = DebugEffect()
ORDERED_DEBUG: Final = OrderedDebugEffect()
IO: Final = Effect("IO", False, True)
ORDERED_IO: Final = Effect("OrderedIO", True, True)
CHECK: Final = Effect("Check", False, False)
"""A check of the user's; see `control.checks`."""
DEBUG_CHECK: Final = Effect("DebugCheck", False, False)
"""One that only `checkify` makes."""


def has_io(effects: Iterable[Any]) -> bool:
    """Whether one of the effects changes the world outside.

    >>> has_io([DEBUG]), has_io([DEBUG, ORDERED_IO])
    (False, True)
    """
    return any(isinstance(e, Effect) and e.io for e in effects)


# --------------------------------------------------------------------------- on references


@dataclass(frozen=True)
class RefEffect:
    """An effect on a reference: the number of an operand, or a variable."""

    input_index: Any

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.input_index})"


class ReadEffect(RefEffect):
    """The reference is read."""


class WriteEffect(RefEffect):
    """The reference is written."""


class AccumEffect(RefEffect):
    """Something is added to the reference."""


@dataclass(frozen=True)
class CreationEffect:
    """A reference is made, whose life ends within the jaxpr."""

    def __repr__(self) -> str:
        return "CreationEffect"


CREATED: Final = frozenset((CreationEffect(),))
