"""`jax.extend.source_info_util`: the user's line of an equation."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from pullback.core.source import (
    NameStack,
    SourceInfo,
    Transform,
    current_source,
    fresh_names,
    hide_path,
    name_scope,
    name_stack,
    replaying,
)

__all__ = [
    "NameStack",
    "SourceInfo",
    "current",
    "current_name_stack",
    "extend_name_stack",
    "new_name_stack",
    "new_source_info",
    "register_exclusion",
    "reset_name_stack",
    "set_name_stack",
    "summarize",
    "transform_name_stack",
    "user_context",
]

current = current_source
extend_name_stack = name_scope
register_exclusion = hide_path


def new_source_info() -> SourceInfo:
    """What is said of an equation without a line or scopes."""
    return SourceInfo(None, 0, ())


def new_name_stack(name: str = "") -> NameStack:
    """Name scopes with one name, or none.

    >>> str(new_name_stack("model"))
    'model'
    """
    return NameStack((name,) if name else ())


def current_name_stack() -> NameStack:
    """The name scopes in force.

    >>> with extend_name_stack("model"), transform_name_stack("jvp"), extend_name_stack("layer"):
    ...     str(current_name_stack())
    'model/jvp(layer)'
    """
    return SourceInfo(None, 0, name_stack()).name_stack


def transform_name_stack(name: str) -> name_scope:
    """A `with` block whose next scope is written as that of a transformation."""
    return name_scope(Transform(name))


@contextlib.contextmanager
def reset_name_stack() -> Iterator[None]:
    """A `with` block without name scopes."""
    with fresh_names():
        yield


@contextlib.contextmanager
def set_name_stack(name_stack: NameStack) -> Iterator[None]:
    """A `with` block with these name scopes and no others."""
    with fresh_names(), name_scope(*name_stack):
        yield


@contextlib.contextmanager
def user_context(traceback: Any, *, name_stack: NameStack | None = None) -> Iterator[None]:
    """A `with` block whose equations have the line of a `SourceInfo`, and these name scopes."""
    source = traceback if isinstance(traceback, SourceInfo) else new_source_info()
    names = source.name_stack if name_stack is None else name_stack
    with replaying(SourceInfo(source.code, source.lasti, tuple(names))):
        yield


def summarize(source_info: SourceInfo, num_frames: int = 1) -> str:
    """`file:line (function)`."""
    return str(source_info)
