"""`jax.experimental.array_serialization`: arrays of many processes in files."""

from __future__ import annotations

__all__: list[str] = []
