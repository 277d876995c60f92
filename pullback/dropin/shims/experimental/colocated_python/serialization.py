"""`jax.experimental.colocated_python.serialization`: how devices are pickled; they stay here."""

from __future__ import annotations

from typing import Any

from pullback.dropin.shims._src import xla_bridge

__all__ = ["DeviceList", "xb"]

DeviceList = tuple[Any, ...]


class _Backends:
    """Backends as this module's users see them."""

    backends = staticmethod(xla_bridge.backends)
    local_devices = staticmethod(xla_bridge.local_devices)


xb = _Backends
