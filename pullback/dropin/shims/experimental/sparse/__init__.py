"""Submodules of `jax.experimental.sparse` that have other places here."""

from pullback.experimental.sparse import *  # noqa: F403
from pullback.experimental.sparse import __all__ as __all__
