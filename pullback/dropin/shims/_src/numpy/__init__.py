"""`jax._src.numpy`: the functions of `jax.numpy` by the modules that define them there."""

from __future__ import annotations

from typing import Any

from pullback import numpy as jnp

__all__: list[str] = []


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    return getattr(jnp, name)
