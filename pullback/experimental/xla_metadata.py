"""The namespace `jax.experimental.xla_metadata`: annotations for XLA, which is not used here."""

from __future__ import annotations

import contextlib
from typing import Any

__all__ = ["set_xla_metadata"]


def set_xla_metadata(x: Any = None, **kwargs: Any) -> Any:
    """`x` unchanged, or without it a context manager that does nothing.

    >>> with set_xla_metadata(a="b"):
    ...     set_xla_metadata(2.0, a="b")
    2.0
    """
    return contextlib.nullcontext() if x is None else x
