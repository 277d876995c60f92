"""`jax._src.interpreters.mlir`: `jax.interpreters.mlir`."""

from __future__ import annotations

from pullback.dropin.shims.interpreters.mlir import *  # noqa: F403
from pullback.dropin.shims.interpreters.mlir import __all__ as _names

__all__ = [*_names]  # noqa: PLE0604
