"""Shardings: how an array is spread over devices.  With one device every one of them is whole.

The classes and checks are those of `jax.sharding`, so that programs written for many devices run
on one.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, final

import numpy as np

from pullback.core.avals import sharding_hook
from pullback.core.devices import Device, default_device
from pullback.core.meshes import AbstractMesh, Mesh, PartitionSpec

__all__ = [
    "NamedSharding",
    "Sharding",
    "SingleDeviceSharding",
    "check_fits",
    "check_names",
    "check_rank",
    "make_single_device_sharding",
    "type_sharding",
]

Index = tuple[slice, ...]


class Sharding:
    """Base of shardings."""

    __slots__ = ()

    memory_kind: str | None

    @property
    def device_set(self) -> set[Device]:
        """The devices that hold a part."""
        return {default_device()}

    @property
    def addressable_devices(self) -> set[Device]:
        """Those of this process."""
        return self.device_set

    @property
    def num_devices(self) -> int:
        """How many devices hold a part."""
        return len(self.device_set)

    @property
    def is_fully_addressable(self) -> bool:
        """Whether this process has all parts."""
        return True

    @property
    def is_fully_replicated(self) -> bool:
        """Whether every device has all of it."""
        return True

    def parts(self, ndim: int) -> tuple[int, ...]:
        """Into how many parts each axis of an array is split."""
        return (1,) * ndim

    def devices_indices_map(self, global_shape: Sequence[int]) -> dict[Device, Index]:
        """Which part each device has."""
        check_fits(self, tuple(global_shape), "devices_indices_map")
        return {d: (slice(None),) * len(global_shape) for d in self.device_set}

    def addressable_devices_indices_map(self, global_shape: Sequence[int]) -> dict[Device, Index]:
        """Which part each device of this process has."""
        return self.devices_indices_map(global_shape)

    def shard_shape(self, global_shape: Sequence[int]) -> tuple[int, ...]:
        """The shape of a part."""
        check_fits(self, tuple(global_shape), "shard_shape")
        parts = self.parts(len(global_shape))
        return tuple(n // k for n, k in zip(global_shape, parts, strict=True))

    def is_equivalent_to(self, other: Sharding, ndim: int) -> bool:
        """Whether both spread arrays of `ndim` axes in the same way."""
        if not isinstance(other, Sharding):
            return False
        both = zip(self.parts(ndim), other.parts(ndim), strict=True)
        shape = tuple(a * b for a, b in both)
        return self.devices_indices_map(shape) == other.devices_indices_map(shape)

    def with_memory_kind(self, kind: str | None) -> Sharding:
        """The same in another kind of memory, of which there is one."""
        return self


@final
class SingleDeviceSharding(Sharding):
    """All of it on one device.

    >>> from pullback.core.devices import devices
    >>> SingleDeviceSharding(devices()[0])
    SingleDeviceSharding(device=CpuDevice(id=0), memory_kind=device)
    """

    __slots__ = ("_device", "memory_kind")

    def __init__(self, device: Device, *, memory_kind: str | None = "device") -> None:
        if not isinstance(device, Device):
            raise TypeError(f"SingleDeviceSharding: expected a Device, got {device!r}")
        self._device = device
        self.memory_kind = memory_kind

    @property
    def device_set(self) -> set[Device]:
        """The device."""
        return {self._device}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SingleDeviceSharding) and self._device is other._device

    def __hash__(self) -> int:
        return hash(self._device)

    def __repr__(self) -> str:
        return f"SingleDeviceSharding(device={self._device!r}, memory_kind={self.memory_kind})"


@final
class NamedSharding(Sharding):
    """Axes split over the named axes of a mesh.

    >>> from pullback.core.meshes import make_mesh
    >>> NamedSharding(make_mesh((1,), ("data",)), PartitionSpec("data")).spec
    P('data',)
    """

    __slots__ = ("memory_kind", "mesh", "spec")

    def __init__(
        self, mesh: Mesh | AbstractMesh, spec: PartitionSpec, *, memory_kind: str | None = "device"
    ) -> None:
        if not isinstance(mesh, (Mesh, AbstractMesh)):
            raise TypeError(f"NamedSharding: expected a Mesh, got {mesh!r}")
        if not isinstance(spec, PartitionSpec):
            raise TypeError(f"NamedSharding: expected a PartitionSpec, got {spec!r}")
        check_names(mesh, spec)
        self.mesh, self.spec, self.memory_kind = mesh, spec, memory_kind

    @property
    def device_set(self) -> set[Device]:
        """The devices of the mesh; of a mesh without devices the default one."""
        if isinstance(self.mesh, AbstractMesh):
            return {default_device()}
        return set(self.mesh.devices.reshape(-1).tolist())

    @property
    def is_fully_replicated(self) -> bool:
        """Whether every device has all of it."""
        return set(self.parts(len(self.spec))) <= {1}

    def parts(self, ndim: int) -> tuple[int, ...]:
        """Into how many parts each axis of an array is split.

        >>> NamedSharding(AbstractMesh((2, 4), ("x", "y")), PartitionSpec(("x", "y"))).parts(2)
        (8, 1)
        """
        sizes = self.mesh.shape
        found = tuple(math.prod(sizes[n] for n in _names(entry)) for entry in self.spec)
        return found + (1,) * (ndim - len(found))

    def devices_indices_map(self, global_shape: Sequence[int]) -> dict[Device, Index]:
        """Which part each device has."""
        if isinstance(self.mesh, AbstractMesh) or self.is_fully_replicated:
            return super().devices_indices_map(global_shape)
        rows = self.shard_shape(global_shape)
        found: dict[Device, Index] = {}
        devices: Any = self.mesh.devices
        for place in np.ndindex(*self.mesh.axis_sizes):
            numbers = [self._number(place, entry) for entry in self.spec]
            numbers += [None] * (len(rows) - len(numbers))
            found[devices[place]] = tuple(
                slice(None) if i is None else slice(i * n, (i + 1) * n)
                for i, n in zip(numbers, rows, strict=True)
            )
        return found

    def _number(self, place: tuple[int, ...], entry: Any) -> int | None:
        """Which part of an axis the device at a place of the mesh has; None if it is not split."""
        axes = [self.mesh.axis_names.index(n) for n in _names(entry)]
        sizes = tuple(self.mesh.axis_sizes[a] for a in axes)
        if math.prod(sizes) == 1:
            return None
        return int(np.ravel_multi_index(tuple(place[a] for a in axes), sizes))

    def update(self, **changes: Any) -> NamedSharding:
        """This sharding with some of `mesh`, `spec`, `memory_kind` replaced."""
        fields = {"mesh": self.mesh, "spec": self.spec, "memory_kind": self.memory_kind} | changes
        return NamedSharding(fields["mesh"], fields["spec"], memory_kind=fields["memory_kind"])

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, NamedSharding) and self.mesh == other.mesh and self.spec == other.spec
        )

    def __hash__(self) -> int:
        return hash((self.mesh, self.spec))

    def __repr__(self) -> str:
        kind = f", memory_kind={self.memory_kind}" if isinstance(self.mesh, Mesh) else ""
        return f"NamedSharding(mesh={self.mesh}, spec={self.spec!r}{kind})"


def _names(entry: Any) -> tuple[str, ...]:
    """The axes of a mesh that an entry of a spec names."""
    names = entry if isinstance(entry, tuple) else (entry,)
    return tuple(n for n in names if n is not None and n is not PartitionSpec.UNCONSTRAINED)


def type_sharding(sharding: Any, ndim: int) -> NamedSharding | None:
    """What a type says of a sharding: the mesh without its devices, and explicit axes alone."""
    if not isinstance(sharding, NamedSharding):
        return None
    mesh = sharding.mesh.abstract_mesh if isinstance(sharding.mesh, Mesh) else sharding.mesh
    if mesh.empty:
        return None
    explicit = mesh.explicit_axes
    entries: list[Any] = []
    for entry in (*sharding.spec, *[None] * (ndim - len(sharding.spec))):
        names = tuple(n for n in _names(entry) if n in explicit)
        entries.append((names[0] if len(names) == 1 else names) if names else None)
    return NamedSharding(mesh, PartitionSpec(*entries))


def check_names(mesh: Mesh | AbstractMesh, spec: PartitionSpec) -> None:
    """Raise ValueError unless a spec names axes of a mesh, each once."""
    seen: set[Any] = set()
    for entry in spec:
        for name in _names(entry):
            if name not in mesh.axis_names:
                raise ValueError(
                    f"Resource axis: {name} of {spec} is not found in mesh: {mesh.axis_names}."
                )
            if name in seen:
                raise ValueError(
                    "A single NamedSharding spec specification can map every mesh axis to at most "
                    f"one positional dimension, but {spec} has duplicate entries for `{name}`"
                )
            seen.add(name)


def make_single_device_sharding(device: Device, *, memory_kind: str | None = None) -> Sharding:
    """The sharding of an array that is all on one device.

    >>> from pullback.core.devices import devices
    >>> make_single_device_sharding(devices()[0]).num_devices
    1
    """
    return SingleDeviceSharding(device, memory_kind=memory_kind or "device")


def check_rank(sharding: Sharding, shape: tuple[int, ...], what: str) -> None:
    """Raise ValueError unless arrays of this shape have all axes that are to be spread."""
    if isinstance(sharding, NamedSharding) and len(sharding.spec) > len(shape):
        raise ValueError(
            f"{what} is incompatible with its sharding annotation {sharding}: Sharding {sharding} "
            f"is only valid for values of rank at least {len(sharding.spec)}, but was applied to a "
            f"value of rank {len(shape)}."
        )


def check_fits(sharding: Sharding, shape: tuple[int, ...], what: str) -> None:
    """Raise ValueError unless arrays of this shape can be spread so."""
    check_rank(sharding, shape, what)
    if not isinstance(sharding, NamedSharding):
        return
    for axis, parts in enumerate(sharding.parts(len(shape))):
        if shape[axis] % parts:
            raise ValueError(
                f"{what} was given the sharding of {sharding}, which implies that the global size "
                f"of its dimension {axis} should be divisible by {parts}, but it is equal to "
                f"{shape[axis]} (full shape: {shape})"
            )


@functools.cache
def _of_types(ndim: int) -> NamedSharding:
    return NamedSharding(AbstractMesh((), ()), PartitionSpec(*[None] * ndim))


sharding_hook.append(_of_types)
