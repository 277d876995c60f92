"""`jax._src.interpreters.batching`: `jax.interpreters.batching`."""

from __future__ import annotations

from pullback.dropin.shims.interpreters.batching import *  # noqa: F403
from pullback.dropin.shims.interpreters.batching import __all__ as _names

__all__ = [*_names]  # noqa: PLE0604
