"""Devices: where arrays live and programs run.  There is one, the host's processor."""

from __future__ import annotations

from typing import Any, Final, final

__all__ = [
    "CPU",
    "Client",
    "Device",
    "check_device",
    "default_backend",
    "device_count",
    "devices",
    "host_count",
    "host_id",
    "host_ids",
    "local_device_count",
    "local_devices",
    "process_count",
    "process_index",
    "process_indices",
]


@final
class Client:
    """What owns the devices of a platform."""

    platform = "cpu"
    platform_version = "pullback"
    runtime_type = "pullback"

    def devices(self) -> list[Device]:
        """All devices."""
        return [CPU]

    def local_devices(self) -> list[Device]:
        """Devices of this process."""
        return [CPU]

    def device_count(self) -> int:
        """How many devices there are."""
        return 1

    def process_index(self) -> int:
        """The number of this process."""
        return 0


@final
class Device:
    """A device; obtained from `devices()`, never by calling this class."""

    __slots__ = ("client", "id")

    client: Client
    id: int
    """Its number among all devices."""

    platform = "cpu"
    device_kind = "cpu"
    process_index = 0
    host_id = 0
    local_hardware_id = 0

    def __init__(self) -> None:
        raise TypeError("jax.Device cannot be made by calling it; use jax.devices()")

    def memory_stats(self) -> dict[str, int] | None:
        """Use of the device's memory; None, since the host's is not counted."""
        return None

    def addressable_memories(self) -> list[Any]:
        """Kinds of memory beside the default one; none."""
        return []

    def __repr__(self) -> str:
        return f"CpuDevice(id={self.id})"

    def __str__(self) -> str:
        return f"cpu:{self.id}"

    def __reduce__(self) -> Any:
        return _device, (self.id,)


def _make() -> Device:
    device = object.__new__(Device)
    device.client, device.id = Client(), 0
    return device


CPU: Final = _make()


def _device(number: int) -> Device:
    if number != 0:
        raise RuntimeError(f"there is no device {number} here: Pullback runs on one CPU device")
    return CPU


def _check_backend(backend: Any) -> None:
    if backend not in (None, "cpu", CPU.client):
        raise RuntimeError(
            f"Unknown backend {backend!r}: Pullback has one device, of the platform 'cpu'"
        )


def devices(backend: Any = None) -> list[Device]:
    """All devices, which is one.

    >>> devices()
    [CpuDevice(id=0)]
    """
    _check_backend(backend)
    return [CPU]


def local_devices(
    process_index: int | None = None, backend: Any = None, host_id: int | None = None
) -> list[Device]:
    """The devices of a process, of this one by default.

    >>> local_devices()
    [CpuDevice(id=0)]
    """
    _check_backend(backend)
    if process_index not in (None, 0):
        raise ValueError(f"unknown process_index {process_index}: there is one process, 0")
    return [CPU]


def device_count(backend: Any = None) -> int:
    """How many devices there are.

    >>> device_count()
    1
    """
    return len(devices(backend))


def local_device_count(backend: Any = None) -> int:
    """How many devices this process has.

    >>> local_device_count()
    1
    """
    return len(devices(backend))


def default_backend() -> str:
    """The platform that programs run on.

    >>> default_backend()
    'cpu'
    """
    return CPU.platform


def process_index(backend: Any = None) -> int:
    """The number of this process.

    >>> process_index()
    0
    """
    _check_backend(backend)
    return 0


def process_count(backend: Any = None) -> int:
    """How many processes work together.

    >>> process_count()
    1
    """
    _check_backend(backend)
    return 1


def process_indices(backend: Any = None) -> list[int]:
    """The numbers of all processes.

    >>> process_indices()
    [0]
    """
    return list(range(process_count(backend)))


def check_device(value: Any, name: str) -> None:
    """Raise unless `value` names our device: None, a `Device`, or the platform."""
    if value is None or isinstance(value, (Device, Client)):
        return
    if isinstance(value, str):
        _check_backend(value)
        return
    raise ValueError(f"{name}: expected a Device, a Sharding or None, got {value!r}")


def host_count(backend: Any = None) -> int:
    """`process_count` under its older name.

    >>> host_count()
    1
    """
    return process_count(backend)


def host_id(backend: Any = None) -> int:
    """`process_index` under its older name.

    >>> host_id()
    0
    """
    return process_index(backend)


def host_ids(backend: Any = None) -> list[int]:
    """`process_indices` under its older name.

    >>> host_ids()
    [0]
    """
    return list(process_indices(backend))
