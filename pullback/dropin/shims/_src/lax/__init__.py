"""`jax._src.lax`: the functions of `jax.lax` by the modules that define them there."""

from __future__ import annotations

__all__: list[str] = []
