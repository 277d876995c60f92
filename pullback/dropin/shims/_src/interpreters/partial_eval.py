"""`jax._src.interpreters.partial_eval`: `jax.interpreters.partial_eval`."""

from __future__ import annotations

from pullback.dropin.shims.interpreters.partial_eval import *  # noqa: F403
from pullback.dropin.shims.interpreters.partial_eval import __all__ as _names

__all__ = [*_names]  # noqa: PLE0604
