"""`jax._src.random`: `jax.random`."""

from __future__ import annotations

from typing import Any

from pullback import random

__all__: list[str] = []


def __getattr__(name: str) -> Any:
    return getattr(random, name)
