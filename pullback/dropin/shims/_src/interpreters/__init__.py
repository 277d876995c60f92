"""`jax._src.interpreters`: the modules of `jax.interpreters` under their private names."""

from __future__ import annotations

__all__: list[str] = []
