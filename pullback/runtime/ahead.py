"""Programs for devices that are not here: what `lower(...).compile()` gives for a topology's.

    jit(f).lower(ShapeDtypeStruct(..., sharding=of a topology's devices)).compile()

The devices come from the shardings of the arguments' types and from `in_shardings` and
`out_shardings`; the program is written as StableHLO (hlo/emit), split among the devices of a mesh
if the shardings say so, and compiled by the platform's plugin (hlo/topology).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from pullback.control import refs_discharge
from pullback.core.meshes import Mesh, PartitionSpec
from pullback.core.sharding import NamedSharding, Sharding, SingleDeviceSharding, check_fits
from pullback.core.topology import TopologyDevice
from pullback.errors import UnsupportedError
from pullback.hlo.shardy import Partitioning
from pullback.passes.costs import cost_analysis
from pullback.runtime.compile import program_jaxpr
from pullback.runtime.stages import CompiledMemoryStats, Signature, Stage

__all__ = ["AheadCompiled", "Placement", "compile_ahead", "placement_of"]


@dataclass(frozen=True)
class Placement:
    """Where a program is to run: on one device of a topology, or on those of a mesh."""

    topology: Any
    devices: tuple[int, ...]
    mesh: Mesh | None

    @property
    def platform(self) -> str:
        """What rules of primitives are told."""
        return str(self.topology.platform)


def _devices(sharding: Any) -> list[Any]:
    if isinstance(sharding, SingleDeviceSharding):
        return [sharding._device]
    if isinstance(sharding, NamedSharding) and isinstance(sharding.mesh, Mesh):
        return list(sharding.mesh.devices.reshape(-1))
    return []


def placement_of(shardings: Iterable[Any]) -> Placement | None:
    """The devices that shardings agree on; None where none is of a topology.

    Raises UnsupportedError where they name several meshes or topologies.
    """
    found = {s: d for s in shardings if isinstance(s, Sharding) and (d := _devices(s))}
    if not any(isinstance(d, TopologyDevice) for ds in found.values() for d in ds):
        return None
    meshes = {s.mesh for s in found if isinstance(s, NamedSharding) and isinstance(s.mesh, Mesh)}
    places = {tuple(devices) for devices in found.values()}
    everywhere = max(places, key=len)
    owners = {getattr(d, "topology", None) for ds in places for d in ds}
    if len(owners) != 1 or len(meshes) > 1 or any(p != everywhere for p in places):
        raise UnsupportedError(
            "the shardings of the arguments and results of one program must be of one mesh, or one "
            f"device, of a topology; these are {sorted(map(str, found))}"
        )
    numbers = tuple(d.id for d in everywhere)
    return Placement(everywhere[0].topology, numbers, next(iter(meshes), None))


def partitioning(s: Signature, place: Placement) -> Partitioning | None:
    """How the arrays of a program are split; None for a program on one device."""
    if place.mesh is None:
        return None
    for sharding, aval in zip((*s.shardings, *s.out_shardings), _avals(s), strict=True):
        if sharding is not None:
            check_fits(sharding, aval.shape, f"{s.name} for {place.topology.name or 'a topology'}")
    arguments, results = (list(map(_spec, x)) for x in (s.shardings, s.out_shardings))
    return Partitioning(place.mesh, arguments, results)


def _spec(sharding: Any) -> PartitionSpec | None:
    """What is asked for an array; a device of its own is all of a mesh of one."""
    if sharding is None:
        return None
    return sharding.spec if isinstance(sharding, NamedSharding) else PartitionSpec()


def _avals(s: Signature) -> list[Any]:
    return [*s.avals, *s.closed.out_avals]


def compile_ahead(
    s: Signature, place: Placement, text: str, options: Mapping[str, Any]
) -> AheadCompiled:
    """The compiled program of a function, whose module is `text`."""
    if refs_discharge.holds_refs(s.closed):
        raise UnsupportedError(f"{s.name} takes references, which are arrays of this process")
    if place.mesh is None and "sdy.sharding_constraint" in text:
        raise UnsupportedError(
            f"{s.name} constrains how values are spread over a mesh, but it is for one device: "
            "give the types of its arguments shardings of the mesh"
        )
    return AheadCompiled(s, place, place.topology.compile(text, place.devices, options))


class AheadCompiled(Stage):
    """A program compiled for devices that are not here: it can be looked at and kept, not called.

    `serialize` gives what the platform's plugin loads where the devices are.
    """

    def __init__(self, signature: Signature, place: Placement, program: Any) -> None:
        self._signature = signature
        self._place = place
        self._program = program

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raise, since the devices are not here."""
        raise UnsupportedError(
            f"{self.fun_name} is compiled for {self._place.topology.name or self._place.platform}, "
            "whose devices belong to a topology and are not here"
        )

    call = __call__

    def serialize(self) -> bytes:
        """The executable, as the plugin of its platform reads it."""
        return bytes(self._program.code)

    def runtime_executable(self) -> Any:
        """The executable with what its compiler says of it (`hlo.topology.AheadProgram`)."""
        return self._program

    def as_text(self) -> NoReturn:
        """Raise: plugins give compiled programs as bytes only."""
        raise UnsupportedError(
            "the text of a program compiled ahead of time: the plugin gives machine code "
            "(`serialize`); the StableHLO is lower(...).as_text()"
        )

    def cost_analysis(self) -> dict[str, float]:
        """The compiler's own counts of operations and bytes of one device, by XLA's names.

        XLA counts the body of a loop once. Where the plugin gives no counts without a device
        (CUDA's), all of the program is counted by us, with each turn of a `scan`.
        """
        found = self._program.cost
        if found is not None:
            return dict(found)
        return cost_analysis(program_jaxpr(self._signature.closed))

    @property
    def has_compiler_costs(self) -> bool:
        """Whether `cost_analysis` is the compiler's."""
        return self._program.cost is not None

    def memory_analysis(self) -> CompiledMemoryStats:
        """Bytes of code, arguments, results and scratch memory on one device, by its compiler."""
        sizes = self._program.memory
        names = ("generated_code", "argument", "output", "alias", "temp")
        return CompiledMemoryStats(
            **{f"{n}_size_in_bytes": sizes.get(f"{n}_size_in_bytes", 0) for n in names}
        )

    @property
    def peak_memory_in_bytes(self) -> int:
        """Memory that one device needs at most during a call."""
        return int(self._program.memory.get("peak_memory_in_bytes", 0))

    @property
    def num_devices(self) -> int:
        """How many devices the program is split among."""
        return len(self._place.devices)

    @property
    def input_shardings(self) -> Any:
        """Where arguments belong, as far as it was said; None where the partitioner chose."""
        return self._signature.arguments(list(self._signature.shardings))
