"""`jax.experimental.colocated_python.func`: nothing of it is needed in one process."""

from __future__ import annotations

__all__: list[str] = []
