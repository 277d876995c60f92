"""The disk cache of compiled programs; it works without being asked to, see `runtime/cache.py`."""

from __future__ import annotations

import os

from pullback import config

__all__ = ["reset_cache", "set_cache_dir"]


def set_cache_dir(path: str | os.PathLike[str]) -> None:
    """Keep compiled programs in this directory; the setting `jax_compilation_cache_dir`.

    Whoever can write there can make this process run any code.
    """
    config.update("jax_compilation_cache_dir", os.fspath(path))


def reset_cache() -> None:
    """Use the default directory again."""
    config.update("jax_compilation_cache_dir", None)
