"""Static arguments of jitted functions: compared by type and value, and put back for the trace."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Sequence
from typing import Any

from pullback.core.source import describe_function

__all__ = ["Static", "UnhashableStatic", "hashable", "with_static"]


class UnhashableStatic(ValueError):
    """A static argument that cannot be compared with those of earlier calls."""


def _in_words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def hashable(fun: Any, value: Any, where: Hashable) -> Static:
    """A static argument of `fun` as a part of keys; UnhashableStatic for one that cannot be."""
    try:
        hash(value)
    except TypeError as error:
        raise UnhashableStatic(
            "Non-hashable static arguments are not supported. An error occurred while trying to "
            f"hash an object of type {type(value)}, {value}. The error was:\n{_in_words(error)}\n"
            f"It is the static argument {where!r} of {describe_function(fun)}. Static arguments "
            "are compared to find compiled programs: use a tuple instead of a list, or pass an "
            "array as a normal one."
        ) from None
    return Static(value)


class Static:
    """A static argument: equal if type and value are."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __hash__(self) -> int:
        return hash(self.value)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Static)
            and type(self.value) is type(other.value)
            and bool(self.value == other.value)
        )


def with_static(fun: Callable[..., Any], static: Sequence[tuple[Any, Static]]) -> Any:
    """`fun` as a function of its other arguments; positions of static ones are left out as None."""
    positions = {i: s.value for i, s in static if isinstance(i, int)}
    names = {n: s.value for n, s in static if isinstance(n, str)}

    @functools.wraps(fun)
    def partial(*args: Any, **kwargs: Any) -> Any:
        full = [positions.get(i, x) for i, x in enumerate(args)]
        return fun(*full, **kwargs, **names)

    return partial
