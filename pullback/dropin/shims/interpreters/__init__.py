"""`jax.interpreters`: the transformations, as far as libraries that define primitives see them."""

from __future__ import annotations

__all__ = ["ad", "batching", "mlir", "partial_eval", "pxla", "xla"]
