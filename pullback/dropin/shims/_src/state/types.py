"""`jax._src.state.types`: the type of references."""

from __future__ import annotations

from pullback.core.refs import AbstractRef

__all__ = ["AbstractRef"]
