"""`jax.extend.backend`: the backends that programs run on."""

from __future__ import annotations

from typing import Any

from pullback.core.devices import devices
from pullback.runtime.jit import clear_caches

__all__ = [
    "backend_xla_version",
    "backends",
    "clear_backends",
    "clear_in_memory_compilation_cache",
    "get_backend",
    "get_default_device",
    "register_backend_cache",
]


def get_backend(platform: Any = None) -> Any:
    """The client of a platform, of the one that programs run on by default.

    Raises RuntimeError for a platform that is not here.

    >>> get_backend().platform
    'cpu'
    """
    return devices(platform)[0].client


def get_default_device() -> Any:
    """The device that programs run on.

    >>> get_default_device().platform
    'cpu'
    """
    return devices()[0]


def backends() -> dict[str, Any]:
    """The client of the host's processor and the one that programs run on, by platform.

    >>> sorted(backends())
    ['cpu']
    """
    clients = [get_backend("cpu"), get_backend()]
    return {client.platform: client for client in clients}


def backend_xla_version(platform: Any = None) -> int | None:
    """None: programs are not compiled by a version of XLA that could be told."""
    get_backend(platform)
    return None


def clear_in_memory_compilation_cache() -> None:
    """Forget compiled programs."""
    clear_caches()


def clear_backends(_crash: bool = False) -> None:
    """Forget compiled programs; the clients themselves are kept."""
    clear_caches()


def register_backend_cache(cache: Any, for_what: str) -> None:
    """Nothing: devices do not change while a process runs, so that no cache needs clearing."""
