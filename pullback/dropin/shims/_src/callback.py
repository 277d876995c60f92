"""`jax._src.callback`: calls of Python functions from programs."""

from __future__ import annotations

from pullback.control.callbacks import io_callback, pure_callback

__all__ = ["io_callback", "pure_callback"]
