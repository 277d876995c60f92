"""`jax._src.random`: what its modules have beyond the names of `jax.random`."""

from __future__ import annotations

__all__: list[str] = []
