"""`jax._src.dispatch`: waiting for effects."""

from __future__ import annotations

from pullback.control.callbacks import effects_barrier

__all__ = ["wait_for_tokens"]

wait_for_tokens = effects_barrier
