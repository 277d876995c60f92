"""The namespace `jax.experimental`."""

from __future__ import annotations

from pullback.control.callbacks import io_callback

__all__ = ["io_callback"]
