"""Which arrays have their elements on a plugin's device: a table beside the array objects.

An array in the table lives on the device, and its slot of elements is empty; or it lives on the
host and was sent, and the buffer is a copy, which further programs use.  Buffers die with their
arrays.
"""

from __future__ import annotations

import weakref
from typing import Any, Final, final

import numpy as np

from pullback.core.devices import Device
from pullback.runtime import transfers

__all__ = ["REMOTE", "Residence", "forget", "living", "remember"]

REMOTE: Final[dict[int, Residence]] = {}
"""By the identity of the array; arrays of the host alone, which are most, are not in it."""


@final
class Residence(weakref.ref):  # type: ignore[type-arg]
    """The buffer of an array on a device, and what is known of it."""

    __slots__ = ("_host", "_pending", "buffer", "committed", "is_copy", "key")

    buffer: Any
    """`hlo.pjrt.DeviceBuffer`."""
    committed: bool
    """Whether it was put there by the user, or comes of an array that was."""
    is_copy: bool
    """Whether the array lives on the host."""
    key: int
    _host: np.ndarray[Any, Any] | None
    _pending: Any

    @property
    def device(self) -> Device:
        """Where the elements are."""
        device: Device = self.buffer.device
        return device

    def start_copy(self, *, explicit: bool) -> None:
        """Begin to copy the elements to the host, unless they are there or on their way."""
        if self._host is None and self._pending is None:
            transfers.check_to_host(self.buffer, explicit=explicit)
            self._pending = self.buffer.start_copy()

    def elements(self, *, explicit: bool = False) -> np.ndarray[Any, Any]:
        """The elements on the host, copied at the first need; waits until they are computed."""
        if self._host is None:
            self.start_copy(explicit=explicit)
            data = self._pending.wait()
            data.setflags(write=False)
            self._host, self._pending = data, None
        return self._host


def _died(residence: Any) -> None:
    REMOTE.pop(residence.key, None)


def remember(x: Any, buffer: Any, *, committed: bool = False, is_copy: bool = False) -> None:
    """Let an array know its buffer on a device."""
    made = Residence(x, _died)
    made.key = key = id(x)
    made.buffer, made.committed, made.is_copy = buffer, committed, is_copy
    made._host = made._pending = None
    REMOTE[key] = made


def living(x: Any) -> Residence | None:
    """The residence of an array that lives on a device; None for one of the host."""
    found = REMOTE.get(id(x))
    return None if found is None or found.is_copy else found


def forget(x: Any) -> None:
    """Give the buffer of an array back, if it has one."""
    found = REMOTE.pop(id(x), None)
    if found is not None:
        found.buffer.delete()
