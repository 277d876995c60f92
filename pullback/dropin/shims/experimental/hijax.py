"""`jax.experimental.hijax`: classes that libraries derive from when they are imported.

Types with operations of their own are not traced: using such a primitive or a value of such a type
raises UnsupportedError.  What rules share with other primitives (`Zero`, ...) is the real thing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from pullback.core.avals import AbstractValue, ShapedArray, register_aval
from pullback.core.primitive import Zero, instantiate, is_linear
from pullback.core.refs import AbstractRef
from pullback.errors import UnsupportedError

__all__ = [
    "AbstractRef",
    "AbstractValue",
    "AvalMutableQDD",
    "AvalQDD",
    "HiPrimitive",
    "HiPspec",
    "HiType",
    "MutableHiType",
    "ShapedArray",
    "VJPHiPrimitive",
    "Zero",
    "aval_method",
    "aval_property",
    "control_flow_allowed_effects",
    "instantiate_zeros",
    "is_undefined_primal",
    "register_hitype",
]

instantiate_zeros = instantiate
is_undefined_primal = is_linear


def _unsupported(what: str) -> NoReturn:
    raise UnsupportedError(
        f"{what}: types and primitives of jax.experimental.hijax cannot be used with pullback yet"
    )


class HiType(AbstractValue):
    """Base of types that libraries define."""


class MutableHiType(HiType):
    """Base of types of values that change."""


class HiPspec:
    """Base of what says how a value of such a type is laid out over devices."""


class HiPrimitive:
    """Base of primitives on such types; applying one is not supported."""

    multiple_results = False

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name

    def bind(self, *args: Any, **params: Any) -> Any:
        """Not supported."""
        _unsupported(f"the primitive {self.name!r}")


class VJPHiPrimitive:
    """Base of primitives with a reverse-mode rule; applying one is not supported."""

    def __call__(self, *args: Any) -> Any:
        """Not supported."""
        _unsupported(f"the primitive {type(self).__name__!r}")


@dataclass(frozen=True)
class AvalQDD:
    """A type with data that are known while tracing."""

    aval: AbstractValue
    qdd: Any


@dataclass(frozen=True)
class AvalMutableQDD:
    """A type with data that change while tracing."""

    aval: AbstractValue
    mutable_qdd: Any


class aval_method:
    """A method that tracers of a type have."""

    def __init__(self, fun: Callable[..., Any]) -> None:
        self.fun = fun


class aval_property:
    """A property that tracers of a type have."""

    def __init__(self, fget: Any) -> None:
        self.fget = fget


class _EffectTypes:
    """Kinds of effects that loops and branches may have."""

    def __init__(self) -> None:
        self.types: list[type] = []

    def add_type(self, effect_type: type) -> None:
        """Allow one more."""
        self.types.append(effect_type)


control_flow_allowed_effects: Final = _EffectTypes()


def register_hitype(val_cls: type, typeof_fn: Callable[[Any], Any]) -> None:
    """Announce values of such a type; using one as an operand is not supported."""
    register_aval(val_cls, lambda x: _unsupported(f"a value of type {val_cls.__name__}"))
