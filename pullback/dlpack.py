"""The namespace `jax.dlpack`: arrays shared with other libraries."""

from __future__ import annotations

from pullback.runtime.dlpack import from_dlpack, is_supported_dtype

__all__ = ["from_dlpack", "is_supported_dtype"]
