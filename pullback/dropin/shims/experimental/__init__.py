"""Modules of `jax.experimental` of which one process on one device needs little."""

from __future__ import annotations

__all__: list[str] = []
