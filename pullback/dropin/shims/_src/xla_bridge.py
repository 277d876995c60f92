"""`jax._src.xla_bridge`: backends."""

from __future__ import annotations

from typing import Any, Final

from pullback.core.devices import (
    client_of,
    default_backend,
    device_count,
    devices,
    host_count,
    host_id,
    host_ids,
    local_device_count,
    local_devices,
    process_count,
    process_index,
    process_indices,
)

__all__ = [
    "backends",
    "backends_are_initialized",
    "canonicalize_platform",
    "default_backend",
    "device_count",
    "devices",
    "expand_platform_alias",
    "get_backend",
    "get_device_backend",
    "host_count",
    "host_id",
    "host_ids",
    "is_known_platform",
    "known_platforms",
    "local_device_count",
    "local_devices",
    "process_count",
    "process_index",
    "process_indices",
]

_backends: Final[dict[str, Any]] = {}
"""Clients that can be reset to change the number of devices: none."""

_ALIASES: Final = {"gpu": ["cuda", "rocm", "oneapi"]}


def backends() -> dict[str, Any]:
    """The clients by platform."""
    return _backends


def backends_are_initialized() -> bool:
    """Whether there are devices, which there always are."""
    return True


def get_backend(platform: Any = None) -> Any:
    """The client of a platform, of the default one for None; RuntimeError if there is none."""
    return client_of(platform)


def get_device_backend(device: Any = None) -> Any:
    """The client of a device."""
    return get_backend() if device is None else device.client


def known_platforms() -> set[str]:
    """The names of platforms that can be asked for."""
    return {"cpu", "tpu", *_ALIASES, *_ALIASES["gpu"]}


def is_known_platform(platform: str) -> bool:
    """Whether a name is one of a platform."""
    return platform in known_platforms()


def expand_platform_alias(platform: str) -> list[str]:
    """The platforms that a name stands for.

    >>> expand_platform_alias("gpu"), expand_platform_alias("cpu")
    (['cuda', 'rocm', 'oneapi'], ['cpu'])
    """
    return _ALIASES.get(platform, [platform])


def canonicalize_platform(platform: str) -> str:
    """The platform of this name; RuntimeError if it is unknown."""
    if platform not in known_platforms():
        raise RuntimeError(f"Unknown backend: {platform}")
    return platform
