"""`jax._src.compilation_cache`: the cache of programs on the disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pullback import config
from pullback.experimental.compilation_cache.compilation_cache import reset_cache, set_cache_dir
from pullback.runtime import cache

__all__ = [
    "is_initialized",
    "is_persistent_cache_enabled",
    "reset_cache",
    "set_cache_dir",
]


def is_persistent_cache_enabled() -> bool:
    """Whether programs are kept in a directory of the caller's choice."""
    enabled: Any = config.read("jax_enable_compilation_cache")
    return bool(config.read("jax_compilation_cache_dir")) and bool(enabled)


def is_initialized() -> bool:
    """Whether there is a directory for programs."""
    directory: Path | None = cache.stats().directory
    return directory is not None
