"""`jax._src.checkify`: `jax.experimental.checkify` and the names behind it."""

from __future__ import annotations

from typing import TypeVar

from pullback.control.checks import JaxException
from pullback.experimental.checkify import *  # noqa: F403
from pullback.experimental.checkify import __all__ as _names

__all__ = ["JaxException", "Out", *_names]  # noqa: PLE0604

Out = TypeVar("Out")
