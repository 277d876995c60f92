"""`jax._src.interpreters.ad`: `jax.interpreters.ad`."""

from __future__ import annotations

from pullback.dropin.shims.interpreters.ad import *  # noqa: F403
from pullback.dropin.shims.interpreters.ad import __all__ as _names

__all__ = [*_names]  # noqa: PLE0604
