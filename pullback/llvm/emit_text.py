"""What the rules of code generation write to, whichever scope of a program that is."""

from __future__ import annotations

from typing import Any, Protocol

__all__ = ["Text"]


class Text(Protocol):
    """Appends instructions (`emit_scopes.Instructions`)."""

    lanes: int

    @property
    def module(self) -> Any: ...
    def put(self, text: str) -> str: ...
    def type(self, scalar: str) -> str: ...
    def splat(self, text: str, scalar: str) -> str: ...
    def suffix(self, scalar: str) -> str: ...
    def intrinsic(self, name: str, scalar: str, *args: str, extra: str = "") -> str: ...
