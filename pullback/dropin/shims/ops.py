"""`jax.ops`: reductions over segments; `pullback.ops` holds the primitives."""

from __future__ import annotations

from pullback.segment_ops import segment_max, segment_min, segment_prod, segment_sum

__all__ = ["segment_max", "segment_min", "segment_prod", "segment_sum"]
