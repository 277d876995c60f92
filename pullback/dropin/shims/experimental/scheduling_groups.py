"""`jax.experimental.scheduling_groups`: annotations for XLA's scheduler, which is not used here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["scheduling_group", "xla_metadata_call"]


def xla_metadata_call(f: Callable[..., Any] | None = None, **meta: Any) -> Any:
    """`f` itself, or without it a decorator that gives its function back.

    >>> xla_metadata_call(abs, kind="b")(-2)
    2
    """
    return f if f is not None else (lambda function: function)


def scheduling_group(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A decorator that gives its function back.

    >>> scheduling_group("first")(abs)(-2)
    2
    """
    decorate: Callable[[Callable[..., Any]], Callable[..., Any]] = xla_metadata_call(
        scheduling_group=name
    )
    return decorate
