"""Devices that are known to a compiler and need not be here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

from pullback.core.devices import Client, Device
from pullback.errors import UnsupportedError

__all__ = ["TopologyDevice", "topology_client"]


class _Absent:
    """What stands for the runtime of devices that are not here: asking anything of it fails."""

    def __getattr__(self, name: str) -> Any:
        raise UnsupportedError("devices of a topology are not here: programs are compiled for them")


def topology_client(platform: str, version: str) -> Client:
    """What owns the devices of a topology."""
    return Client(platform, version, _Absent())


@final
class TopologyDevice(Device):
    """A device of a topology: programs can be compiled for it, and nothing else."""

    __slots__ = ("attributes", "topology")

    is_attached = False
    topology: Any
    """Whose device it is (`hlo.topology.Topology`)."""

    def __init__(self, topology: Any, client: Client, facts: Mapping[str, Any]) -> None:
        self.topology = topology
        self.client, self.id, self.device_kind = client, int(facts["id"]), str(facts["kind"])
        self.process_index, self.local_hardware_id = int(facts["process_index"]), self.id
        self._handle = None
        self.attributes: dict[str, Any] = dict(facts["attributes"])

    @property
    def coords(self) -> tuple[int, ...]:
        """Its place in the topology."""
        return tuple(self.attributes["coords"])

    def __reduce__(self) -> Any:
        raise TypeError(f"{self!r} belongs to a topology of this process and cannot be copied")
