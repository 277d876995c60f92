"""`jax._src.xla_bridge`: backends."""

from __future__ import annotations

from typing import Any, Final

from pullback.core.devices import default_backend, device_count, devices, local_devices

__all__ = ["backends", "default_backend", "device_count", "devices", "local_devices"]

_backends: Final[dict[str, Any]] = {}
"""Clients that can be reset to change the number of devices: none."""


def backends() -> dict[str, Any]:
    """The clients by platform."""
    return _backends
