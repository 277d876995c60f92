"""Devices: where arrays live and programs run.

There is always one, the host's processor; a PJRT plugin adds those of its platform.  A device is
one object for the life of the process, so that devices compare by identity.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, final

from pullback import config
from pullback.errors import UnsupportedError

__all__ = [
    "CPU",
    "Client",
    "Device",
    "check_default_device",
    "check_device",
    "client_of",
    "default_backend",
    "default_device",
    "device_count",
    "devices",
    "host_count",
    "host_id",
    "host_ids",
    "local_device_count",
    "local_devices",
    "lowering_platform",
    "make_device",
    "open_client",
    "process_count",
    "process_index",
    "process_indices",
]


@final
class Client:
    """What owns the devices of a platform."""

    __slots__ = ("_devices", "backend", "name", "platform", "platform_version", "runtime_type")

    platform: str
    """What programs are told: `cpu`, `gpu`, `tpu`, or the plugin's own name."""
    name: str
    """What `devices` and PULLBACK_PLATFORM call it: `cpu`, `cuda`, `rocm`, `tpu`, ..."""
    backend: Any
    """The plugin's client (`hlo.pjrt.Backend`); None for the host's processor."""

    def __init__(self, name: str, version: str, backend: Any = None) -> None:
        self.name, self.platform_version, self.backend = name, version, backend
        self.platform = _FAMILIES.get(name, name)
        self.runtime_type = "pullback" if backend is None else "pjrt"
        self._devices: list[Device] = []

    def devices(self) -> list[Device]:
        """All devices."""
        return list(self._devices)

    def local_devices(self) -> list[Device]:
        """Devices of this process."""
        return [d for d in self._devices if d.process_index == self.process_index()]

    def device_count(self) -> int:
        """How many devices there are."""
        return len(self._devices)

    def process_index(self) -> int:
        """The number of this process."""
        return 0


_FAMILIES: Final = {"cuda": "gpu", "rocm": "gpu"}


class Device:
    """A device; obtained from `devices()`, never by calling this class.

    Devices of a topology (`hlo/topology.py`) are of a class of their own.
    """

    __slots__ = ("_handle", "client", "device_kind", "id", "local_hardware_id", "process_index")

    client: Client
    id: int
    """Its number among all devices."""
    device_kind: str
    process_index: int
    local_hardware_id: int
    _handle: Any

    is_attached = True
    """Whether programs can run on it; not on those of a topology."""

    def __init__(self) -> None:
        raise TypeError("jax.Device cannot be made by calling it; use jax.devices()")

    @property
    def platform(self) -> str:
        """The kind of devices it is one of: `cpu`, `gpu`, `tpu`, ..."""
        return self.client.platform

    @property
    def host_id(self) -> int:
        """`process_index` under its older name."""
        return self.process_index

    @property
    def handle(self) -> Any:
        """The plugin's own object; None for the host's processor."""
        return self._handle

    @property
    def coords(self) -> tuple[int, ...]:
        """Where it stands among the chips of a TPU; AttributeError for other devices."""
        found = None if self._handle is None else self._handle.coords
        if found is None:
            raise AttributeError(f"{self!r} has no attribute 'coords'")
        return tuple(found)

    def memory_stats(self) -> dict[str, int] | None:
        """Bytes in use, their peak and limit, and what else the plugin counts.

        None where nothing is counted, as on the host.
        """
        backend = self.client.backend
        return None if backend is None else backend.memory_stats(self)

    def addressable_memories(self) -> list[Any]:
        """Kinds of memory beside the default one; none."""
        return []

    def __repr__(self) -> str:
        name = "".join(part.capitalize() for part in self.client.name.split("_"))
        return f"{name}Device(id={self.id})"

    def __str__(self) -> str:
        return f"{self.client.name}:{self.id}"

    def __reduce__(self) -> Any:
        return _device, (self.client.name, self.id)


def make_device(
    client: Client,
    number: int,
    kind: str,
    *,
    process_index: int = 0,
    local_hardware_id: int = 0,
    handle: Any = None,
) -> Device:
    """A new device of a client, for what opens one."""
    device = object.__new__(Device)
    device.client, device.id, device.device_kind = client, number, kind
    device.process_index, device.local_hardware_id = process_index, local_hardware_id
    device._handle = handle
    client._devices.append(device)
    return device


CPU: Final = make_device(Client("cpu", "pullback"), 0, "cpu")

_clients: Final[dict[Any, Client]] = {"": CPU.client, "cpu": CPU.client}
"""Those that are open, by the names they were asked for."""
open_client: Final[list[Callable[[str], Client]]] = []
"""Filled by `runtime`: the client of a plugin's platform; UnsupportedError if there is none."""


def lowering_platform(name: str) -> str:
    """The platform of that name as rules of primitives know it.

    >>> lowering_platform("xla_cpu")
    'cpu'
    """
    return "cpu" if name == "xla_cpu" else name


def client_of(backend: Any = None) -> Client:
    """The client of a platform, by default of the one that programs run on."""
    if isinstance(backend, Client):
        return backend
    name = config.platform() if backend is None else backend
    found = _clients.get(name)
    if found is not None:
        return found
    if not isinstance(name, str):
        raise RuntimeError(f"Unknown backend {backend!r}: expected the name of a platform")
    try:
        found = _clients[name] = open_client[0](name)
        return found
    except UnsupportedError as error:
        raise RuntimeError(f"Unknown backend {name!r}: {error}") from None


def default_device() -> Device:
    """Where programs run whose arguments are nowhere in particular."""
    if not config.ACTIVE and config.default_device.value is None and not config.platform.value:
        return CPU
    chosen = config.default_device()
    if isinstance(chosen, Device):
        return chosen
    return client_of(chosen)._devices[0]


def _device(platform: str, number: int) -> Device:
    for device in client_of(platform).devices():
        if device.id == number:
            return device
    raise RuntimeError(f"there is no device {number} of the platform {platform!r} here")


def devices(backend: Any = None) -> list[Device]:
    """All devices of a platform, by default of the one that programs run on.

    Raises RuntimeError for a platform that no plugin is installed for.

    >>> devices("cpu")
    [CpuDevice(id=0)]
    """
    return client_of(backend).devices()


def local_devices(
    process_index: int | None = None, backend: Any = None, host_id: int | None = None
) -> list[Device]:
    """The devices of a process, of this one by default.

    >>> local_devices(backend="cpu")
    [CpuDevice(id=0)]
    """
    if process_index not in (None, 0):
        raise ValueError(f"unknown process_index {process_index}: there is one process, 0")
    return client_of(backend).local_devices()


def device_count(backend: Any = None) -> int:
    """How many devices there are.

    >>> device_count("cpu")
    1
    """
    return len(devices(backend))


def local_device_count(backend: Any = None) -> int:
    """How many devices this process has.

    >>> local_device_count("cpu")
    1
    """
    return len(local_devices(backend=backend))


def default_backend() -> str:
    """The platform that programs run on.

    >>> default_backend()
    'cpu'
    """
    return client_of().platform


def process_index(backend: Any = None) -> int:
    """The number of this process.

    >>> process_index()
    0
    """
    return client_of(backend).process_index()


def process_count(backend: Any = None) -> int:
    """How many processes work together.

    >>> process_count()
    1
    """
    client_of(backend)
    return 1


def process_indices(backend: Any = None) -> list[int]:
    """The numbers of all processes.

    >>> process_indices()
    [0]
    """
    return list(range(process_count(backend)))


def check_device(value: Any, name: str) -> None:
    """Raise unless `value` names devices: None, a `Device`, or a platform."""
    if value is None or isinstance(value, (Device, Client)):
        _check_attached(value, name)
        return
    if isinstance(value, str):
        client_of(value)
        return
    raise ValueError(
        f"`jax.{name}` only accepts `None`, `jax.sharding.Sharding`, `jax.Device`, `Format`, "
        f"`jax.memory.Space` or a pytree of these values. Received invalid value: {value}"
    )


def _check_attached(value: Any, name: str) -> None:
    if isinstance(value, Device) and not value.is_attached:
        raise UnsupportedError(f"{name}: {value!r} belongs to a topology, and is not here")


def check_default_device(value: Any) -> None:
    """Raise ValueError unless `value` is None, a `Device`, or the name of a platform there is."""
    if value is None or isinstance(value, Device):
        _check_attached(value, "jax.default_device")
        return
    try:
        client_of(value if isinstance(value, str) else "")
    except RuntimeError as error:
        raise ValueError(f"jax.default_device: {error}") from None
    if not isinstance(value, str):
        raise ValueError(
            "jax.default_device must be passed either a Device object (e.g. `jax.devices('cpu')[0]`"
            f") or a platform name string like 'cpu' or 'gpu', got: {value!r}"
        )


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
