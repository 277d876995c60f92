"""`jax._src.lax.control_flow`: `jax.lax`."""

from __future__ import annotations

from typing import Any

from pullback import lax

__all__: list[str] = []


def __getattr__(name: str) -> Any:
    return getattr(lax, name)
