"""`jax._src.checkify`: `jax.experimental.checkify` and the names behind it."""

from __future__ import annotations

from typing import TypeVar

from pullback.control.checks import (
    DivisionByZeroError,
    FailedCheckError,
    JaxException,
    NaNError,
    OOBError,
)
from pullback.experimental.checkify import *  # noqa: F403
from pullback.experimental.checkify import __all__ as _names

__all__ = [  # noqa: PLE0604
    "DivisionByZeroError",
    "FailedCheckError",
    "JaxException",
    "NaNError",
    "OOBError",
    "Out",
    *_names,
]

Out = TypeVar("Out")
