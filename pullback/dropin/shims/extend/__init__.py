"""`jax.extend`: what libraries that define primitives and traces of their own import."""

from __future__ import annotations

__all__ = ["backend", "core", "linear_util", "random", "source_info_util"]
