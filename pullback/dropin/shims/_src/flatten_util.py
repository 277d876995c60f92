"""`jax._src.flatten_util`."""

from __future__ import annotations

from pullback.flatten_util import ravel_pytree

__all__ = ["ravel_pytree"]
