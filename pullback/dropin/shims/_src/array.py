"""`jax._src.array`: the class of concrete arrays."""

from __future__ import annotations

from pullback.core.array import Array
from pullback.runtime.array import ArrayImpl

__all__ = ["Array", "ArrayImpl"]
