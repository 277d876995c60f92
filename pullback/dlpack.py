"""The namespace `jax.dlpack`: arrays shared with other libraries."""

from __future__ import annotations

from pullback.core.dlpack import is_supported_dtype
from pullback.runtime.placement import from_dlpack

__all__ = ["from_dlpack", "is_supported_dtype"]
