"""`jax._src.state`: mutable arrays."""

from __future__ import annotations

__all__: list[str] = []
