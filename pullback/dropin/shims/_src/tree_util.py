"""`jax._src.tree_util`: `jax.tree_util`, and which node types are registered."""

from __future__ import annotations

from pullback.pytree.prefix import broadcast_prefix, prefix_errors
from pullback.pytree.registry import registered as _registry
from pullback.tree_util import *  # noqa: F403
from pullback.tree_util import __all__ as _names

__all__ = ["_registry", "broadcast_prefix", "prefix_errors", *_names]  # noqa: PLE0604
