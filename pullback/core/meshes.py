"""Meshes: devices arranged along named axes, and the specs that spread an array over the axes.

The classes are those of `jax.sharding`; `core.sharding` makes shardings of them.
"""

from __future__ import annotations

import contextlib
import enum
import math
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np

from pullback import config
from pullback.core.devices import Device
from pullback.core.devices import devices as all_devices

__all__ = [
    "AbstractDevice",
    "AbstractMesh",
    "AxisType",
    "ManualAxisType",
    "Mesh",
    "PartitionSpec",
    "current_mesh",
    "get_abstract_mesh",
    "get_mesh",
    "make_mesh",
    "mesh_that_is_set",
    "set_mesh",
    "use_abstract_mesh",
]


class AxisType(enum.Enum):
    """Who decides how arrays are spread over an axis of a mesh."""

    Auto = "auto"
    Explicit = "explicit"
    Manual = "manual"


@final
class _Unconstrained:
    """The entry of a spec that leaves an axis to the compiler."""

    def __repr__(self) -> str:
        return "UNCONSTRAINED"


@final
class PartitionSpec:
    """Over which axes of a mesh each axis of an array is split: a name, several, or None.

    >>> PartitionSpec("data", None)
    P('data', None)
    """

    __slots__ = ("_partitions", "reduced", "unreduced")

    UNCONSTRAINED: Final = _Unconstrained()

    def __init__(
        self, *partitions: Any, unreduced: Any = frozenset(), reduced: Any = frozenset()
    ) -> None:
        for p in partitions:
            names = p if isinstance(p, (tuple, list)) else (p,)
            if any(isinstance(n, (int, float, dict, set)) for n in names):
                raise ValueError(
                    f"PartitionSpec: entries are names of mesh axes, tuples of them or None, got "
                    f"{p!r}"
                )
        self._partitions = tuple(_canonical(p) for p in partitions)
        self.unreduced = frozenset(unreduced)
        self.reduced = frozenset(reduced)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._partitions)

    def __len__(self) -> int:
        return len(self._partitions)

    def __getitem__(self, i: Any) -> Any:
        return self._partitions[i]

    def __add__(self, other: Any) -> PartitionSpec:
        return PartitionSpec(*self, *other)

    def __radd__(self, other: Any) -> PartitionSpec:
        return PartitionSpec(*other, *self)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, PartitionSpec):
            return self._partitions == other._partitions and self.unreduced == other.unreduced
        return isinstance(other, tuple) and self._partitions == other

    def __hash__(self) -> int:
        return hash(self._partitions)

    def __repr__(self) -> str:
        comma = "," if len(self._partitions) == 1 else ""
        return f"P({', '.join(map(repr, self._partitions))}{comma})"

    def index(self, value: Any) -> int:
        """Where an entry is."""
        return self._partitions.index(_canonical(value))


def _canonical(partition: Any) -> Any:
    if not isinstance(partition, (tuple, list)):
        return partition
    names = tuple(partition)
    return (names[0] if len(names) == 1 else names) if names else None


# --------------------------------------------------------------------------- meshes


class _MeshContext(threading.local):
    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.set: list[Any] = []
        """Those that `set_mesh` has put there, None for an empty one."""


_context = _MeshContext()


class _MeshShape:
    """What meshes with and without devices share: named axes."""

    axis_names: tuple[Any, ...]
    axis_sizes: tuple[int, ...]
    axis_types: tuple[AxisType, ...]

    def _name_axes(self, names: Any, sizes: Sequence[int], types: Any) -> None:
        names = (names,) if isinstance(names, str) else tuple(names)
        if len(names) != len(sizes):
            raise ValueError(
                f"a mesh of {len(sizes)} axes {tuple(sizes)} needs as many names, got {names}"
            )
        if len(set(names)) != len(names):
            raise ValueError(f"the names of the axes of a mesh must differ, got {names}")
        if types is None:
            types = (AxisType.Auto,) * len(names)
        self.axis_names, self.axis_sizes = names, tuple(sizes)
        self.axis_types = (types,) if isinstance(types, AxisType) else tuple(types)

    @property
    def shape(self) -> OrderedDict[Any, int]:
        """Sizes by name."""
        return OrderedDict(zip(self.axis_names, self.axis_sizes, strict=True))

    @property
    def shape_tuple(self) -> tuple[tuple[Any, int], ...]:
        """Pairs of name and size."""
        return tuple(self.shape.items())

    @property
    def size(self) -> int:
        """How many devices it has."""
        return math.prod(self.axis_sizes) if self.axis_names else 0

    @property
    def empty(self) -> bool:
        """Whether it has no axis."""
        return not self.axis_names

    def _axes_of(self, kind: AxisType) -> tuple[Any, ...]:
        pairs = zip(self.axis_names, self.axis_types, strict=True)
        return tuple(name for name, axis_type in pairs if axis_type == kind)

    @property
    def auto_axes(self) -> tuple[Any, ...]:
        """Names of the axes over which the compiler spreads arrays."""
        return self._axes_of(AxisType.Auto)

    @property
    def explicit_axes(self) -> tuple[Any, ...]:
        """Names of the axes over which types say how arrays are spread."""
        return self._axes_of(AxisType.Explicit)

    @property
    def manual_axes(self) -> tuple[Any, ...]:
        """Names of the axes that `shard_map` has split by hand."""
        return self._axes_of(AxisType.Manual)

    @property
    def are_all_axes_auto(self) -> bool:
        """Whether there are axes, and all are automatic."""
        return bool(self.axis_names) and self.auto_axes == self.axis_names

    @property
    def are_all_axes_explicit(self) -> bool:
        """Whether there are axes, and all are explicit."""
        return bool(self.axis_names) and self.explicit_axes == self.axis_names

    @property
    def are_all_axes_manual(self) -> bool:
        """Whether there are axes, and all are manual."""
        return bool(self.axis_names) and self.manual_axes == self.axis_names

    def _text(self) -> str:
        sizes = ", ".join(f"{n!r}: {k}" for n, k in self.shape.items())
        return f"{sizes}, {self._types_text()}"

    def _types_text(self) -> str:
        comma = "," if len(self.axis_types) == 1 else ""
        return f"axis_types=({', '.join(t.name for t in self.axis_types)}{comma})"


@dataclass(frozen=True)
class AbstractDevice:
    """What is known of the devices of a mesh without devices.

    >>> AbstractDevice("cpu", None, "cpu")
    AbstractDevice(device_kind=cpu, num_cores=None, platform=cpu)
    """

    device_kind: str
    num_cores: int | None
    platform: str

    def text(self) -> str:
        """What is known, as meshes show it."""
        return (
            f"device_kind={self.device_kind}, num_cores={self.num_cores}, platform={self.platform}"
        )

    def __repr__(self) -> str:
        return f"AbstractDevice({self.text()})"


@final
class ManualAxisType:
    """Over which manual axes of a mesh an array varies, is unreduced, or reduced.

    >>> ManualAxisType(varying={"x"}).varying
    frozenset({'x'})
    """

    __slots__ = ("reduced", "unreduced", "varying")

    def __init__(
        self,
        *,
        varying: Any = frozenset(),
        unreduced: Any = frozenset(),
        reduced: Any = frozenset(),
    ) -> None:
        self.varying = frozenset(varying)
        self.unreduced = frozenset(unreduced)
        self.reduced = frozenset(reduced)

    def _key(self) -> tuple[Any, ...]:
        return self.varying, self.unreduced, self.reduced

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ManualAxisType) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        return (
            f"ManualAxisType(varying={self.varying}, unreduced={self.unreduced}, "
            f"reduced={self.reduced})"
        )


@final
class AbstractMesh(_MeshShape):
    """A mesh without devices.

    >>> AbstractMesh((2,), ("data",)).size
    2
    """

    def __init__(
        self,
        axis_sizes: Any,
        axis_names: Any,
        axis_types: Any = None,
        *,
        abstract_device: Any = None,
    ) -> None:
        self.abstract_device = abstract_device
        self._name_axes(axis_names, axis_sizes, axis_types)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, AbstractMesh)
            and self.shape_tuple == other.shape_tuple
            and self.axis_types == other.axis_types
            and self.abstract_device == other.abstract_device
        )

    def __hash__(self) -> int:
        return hash(self.shape_tuple)

    def __repr__(self) -> str:
        device = self.abstract_device
        where = "" if device is None else f", {device.text()}"
        return f"AbstractMesh({'()' if self.empty else ''}{self._text()}{where})"


@final
class Mesh(_MeshShape):
    """Devices in an array whose axes have names; usable as a context.

    >>> from pullback.core.devices import devices
    >>> dict(Mesh(np.array(devices()), ("data",)).shape)
    {'data': 1}
    """

    def __init__(self, devices: Any, axis_names: Any, axis_types: Any = None) -> None:
        array = np.asarray(devices, dtype=object)
        names = (axis_names,) if isinstance(axis_names, str) else tuple(axis_names)
        self._name_axes(names, array.shape, axis_types)
        for d in array.reshape(-1):
            if not isinstance(d, Device):
                raise TypeError(f"Mesh: expected an array of devices, got {d!r} in it")
        if len(set(array.reshape(-1))) != array.size:
            raise ValueError(
                f"Mesh: the devices of a mesh must differ, and there is one here; got {array.shape}"
            )
        self.devices = array
        array.flags.writeable = False

    @property
    def device_ids(self) -> np.ndarray[Any, Any]:
        """The numbers of the devices."""
        ids = [d.id for d in self.devices.reshape(-1)]
        return np.array(ids, dtype=int).reshape(self.devices.shape)

    @property
    def local_mesh(self) -> Mesh:
        """The part of this process: all of it."""
        return self

    @property
    def local_devices(self) -> list[Device]:
        """The devices of this process."""
        return list(self.devices.reshape(-1))

    @property
    def is_multi_process(self) -> bool:
        """Whether its devices belong to several processes; never."""
        return False

    @property
    def abstract_mesh(self) -> AbstractMesh:
        """The same without devices."""
        first = self.devices.flat[0]
        found = AbstractDevice(first.device_kind, None, first.platform)
        return AbstractMesh(
            self.axis_sizes, self.axis_names, self.axis_types, abstract_device=found
        )

    def __enter__(self) -> Mesh:
        _context.stack.append(self)
        return self

    def __exit__(self, *exc: object) -> None:
        _context.stack.pop()

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Mesh)
            and self.shape_tuple == other.shape_tuple
            and bool((self.devices == other.devices).all())
        )

    def __hash__(self) -> int:
        return hash(self.shape_tuple)

    def __str__(self) -> str:
        return f"Mesh({self._text()})"

    def __repr__(self) -> str:
        sizes, names = self.axis_sizes, self.axis_names
        return f"Mesh(axis_sizes={sizes}, axis_names={names}, {self._types_text()})"


_EMPTY: Final = AbstractMesh((), ())


def current_mesh() -> Mesh | None:
    """The mesh of the innermost `with mesh:`, or None."""
    found = _context.stack[-1] if _context.stack else None
    return found if isinstance(found, Mesh) else None


def mesh_that_is_set() -> Mesh | None:
    """The mesh of the innermost `set_mesh`, which results belong to, or None."""
    return _context.set[-1] if _context.set else None


def get_mesh() -> Any:
    """The mesh in force; an empty one outside of all contexts."""
    return current_mesh() or _EMPTY


def get_abstract_mesh() -> AbstractMesh:
    """The mesh in force, without its devices."""
    mesh = _context.stack[-1] if _context.stack else None
    return mesh.abstract_mesh if isinstance(mesh, Mesh) else mesh or _EMPTY


class set_mesh(contextlib.ContextDecorator):
    """Use a mesh from now on, or for a `with` block.

    >>> with set_mesh(make_mesh((1,), ("data",))):
    ...     current_mesh().axis_names
    ('data',)
    """

    def __init__(self, mesh: Mesh | None) -> None:
        if mesh is not None and not isinstance(mesh, Mesh):
            raise ValueError(f"set_mesh: expected a Mesh, got {mesh!r}")
        self.mesh = mesh
        _context.stack.append(mesh)
        _context.set.append(mesh)
        if mesh is not None:
            config.look_at_calls(self, True)

    def __enter__(self) -> Mesh | None:
        return self.mesh

    def __exit__(self, *exc: object) -> None:
        _context.stack.pop()
        _context.set.pop()
        config.look_at_calls(self, False)


class use_abstract_mesh(contextlib.ContextDecorator):
    """Use a mesh without devices for a `with` block.

    >>> with use_abstract_mesh(AbstractMesh((2,), ("x",))):
    ...     get_abstract_mesh().size
    2
    """

    def __init__(self, mesh: AbstractMesh) -> None:
        if not isinstance(mesh, AbstractMesh):
            raise ValueError(f"use_abstract_mesh: expected an AbstractMesh, got {mesh!r}")
        self.mesh = mesh

    def __enter__(self) -> AbstractMesh:
        _context.stack.append(self.mesh)
        return self.mesh

    def __exit__(self, *exc: object) -> None:
        _context.stack.pop()


def make_mesh(
    axis_shapes: Sequence[int],
    axis_names: Any,
    axis_types: Any = None,
    *,
    devices: Sequence[Device] | None = None,
) -> Mesh:
    """A mesh of this shape over the devices there are.

    >>> make_mesh((1, 1), ("data", "model")).size
    1
    """
    available = all_devices() if devices is None else list(devices)
    needed = math.prod(axis_shapes)
    if needed > len(available) or needed < 1:
        raise ValueError(
            f"Number of devices {len(available)} must be >= the product of mesh_shape "
            f"{tuple(axis_shapes)}"
        )
    array = np.array(available[:needed], dtype=object).reshape(tuple(axis_shapes))
    names = (axis_names,) if isinstance(axis_names, str) else tuple(axis_names)
    if axis_types is None:
        axis_types = (AxisType.Explicit,) * len(names)
    return Mesh(array, names, axis_types)
