"""`jax._src.lax.linalg`: `jax.lax.linalg`."""

from __future__ import annotations

from typing import Any

from pullback.lax import linalg

__all__: list[str] = []


def __getattr__(name: str) -> Any:
    return getattr(linalg, name)
