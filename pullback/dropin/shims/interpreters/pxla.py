"""`jax.interpreters.pxla`: nothing of it is needed on one device."""

from __future__ import annotations

__all__: list[str] = []
