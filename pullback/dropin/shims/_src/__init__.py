"""`jax._src`: the private names that libraries reach for, as objects of ours."""

from __future__ import annotations

__all__: list[str] = []
