"""Named axes: which names `vmap(..., axis_name=...)` binds around the code that runs now.

Collectives (`psum`, `axis_index`, ...) are operations on a name.  Three things find it:

- the environment, a stack of names and sizes for each thread: users' functions look names up in it
  when they are traced, so that an unknown name fails at the user's line, and compiled functions
  are told apart by it;
- `NamedAxisEffect`: equations that mention a name have it, and so have the equations that hold
  their jaxprs; a batching trace applies its rule to those even where no operand has lanes;
- `batching_axis`: the name of the axis whose batching rule runs now.  Rules of loops and calls
  that batch inner jaxprs pass it on.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Any

__all__ = [
    "NamedAxisEffect",
    "axis_size",
    "batching_axis",
    "batching_over",
    "bound",
    "environment",
]


@dataclass(frozen=True)
class NamedAxisEffect:
    """The effect of an equation that mentions a named axis; it keeps no dead equation alive."""

    name: Hashable


class _State(threading.local):
    def __init__(self) -> None:
        self.axes: tuple[tuple[Hashable, int], ...] = ()
        self.batching: Hashable = None


_state = _State()


def environment() -> tuple[tuple[Hashable, int], ...]:
    """The bound names and their sizes, outermost first."""
    return _state.axes


def axis_size(name: Hashable, operation: str) -> int:
    """The size of the innermost axis of this name; NameError if there is none."""
    for bound_name, size in reversed(_state.axes):
        if bound_name == name:
            return size
    known = ", ".join(repr(n) for n, _ in _state.axes) or "none"
    raise NameError(
        f"Found an unbound axis name: {name}. {operation} must be called within shard_map or "
        f"vmap(..., axis_name={name!r}); names in force: {known}"
    )


class bound:
    """Bind names to sizes in a `with` block; a name that is None binds nothing."""

    __slots__ = ("added", "before")

    def __init__(self, axes: Iterable[tuple[Hashable, int]]) -> None:
        self.added = tuple((name, size) for name, size in axes if name is not None)

    def __enter__(self) -> None:
        self.before = _state.axes
        _state.axes = self.before + self.added

    def __exit__(self, *exc: object) -> None:
        _state.axes = self.before


def batching_axis() -> Any:
    """The name of the axis whose batching rule runs now; None if it has no name."""
    return _state.batching


class batching_over:
    """Say in a `with` block which axis is being batched over."""

    __slots__ = ("before", "name")

    def __init__(self, name: Hashable) -> None:
        self.name = name

    def __enter__(self) -> None:
        self.before = _state.batching
        _state.batching = self.name

    def __exit__(self, *exc: object) -> None:
        _state.batching = self.before
