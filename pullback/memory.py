"""Kinds of memory: the namespace `jax.memory`.  Arrays of the CPU are in the host's, whichever
is asked for."""

from __future__ import annotations

import enum

__all__ = ["Space"]


class Space(enum.Enum):
    """Where an array lies: with its device, or with the host; on the CPU both are the same.

    >>> Space.Host
    MemorySpace.Host
    """

    Device = enum.auto()
    Host = enum.auto()
    Any = enum.auto()

    def __repr__(self) -> str:
        return f"MemorySpace.{self.name}"
