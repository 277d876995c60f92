"""`jax.experimental.topologies`: devices that are described, to compile programs for them.

>>> import pullback as pb
>>> def compile_for_tpus(f, *types):  # needs the extra `tpu`, and no TPU
...     topology = get_topology_desc("v5e:2x2x1", "tpu")
...     whole = pb.sharding.SingleDeviceSharding(topology.devices[0])
...     args = [pb.ShapeDtypeStruct(t.shape, t.dtype, sharding=whole) for t in types]
...     return pb.jit(f).lower(*args).compile().cost_analysis()
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from pullback.core.devices import Device, devices
from pullback.core.meshes import Mesh
from pullback.hlo import topology

__all__ = ["TopologyDescription", "get_attached_topology", "get_topology_desc", "make_mesh"]


class TopologyDescription:
    """Devices that programs may be compiled for.

    >>> len(TopologyDescription(devices()).devices)
    1
    """

    def __init__(self, devices: list[Device]) -> None:
        self.devices = devices

    def __repr__(self) -> str:
        kinds = sorted({d.device_kind for d in self.devices})
        return f"TopologyDescription({len(self.devices)} devices: {', '.join(kinds)})"


def get_attached_topology(platform: str | None = None) -> TopologyDescription:
    """The devices of this process.

    >>> get_attached_topology("cpu")
    TopologyDescription(1 devices: cpu)
    """
    return TopologyDescription(devices(platform))


def get_topology_desc(
    topology_name: str = "", platform: str | None = None, **kwargs: Any
) -> TopologyDescription:
    """The devices of a name; none of them need be here, but the platform's plugin must be.

    For `platform="tpu"`, the default, the name is a slice such as `v5e:2x2x1`. For `"cuda"` it is
    that of a GPU (`h100`, and other keys of `pullback.hlo.gpu_targets.GPUS`), or of a file that
    describes one, which may be followed by slices, hosts and devices of a host (`h100:1x1x8`); the
    CUDA plugin's own options `target_config` and `topology` are keywords.

    Raises UnsupportedError where there is no plugin, and JaxRuntimeError where it knows no such
    topology.
    """
    described = topology.describe(platform or "tpu", topology_name, **kwargs)
    return TopologyDescription(list(described.devices))


def make_mesh(
    topo: TopologyDescription,
    mesh_shape: Sequence[int],
    axis_names: tuple[str, ...],
    *,
    contiguous_submeshes: bool = False,
) -> Mesh:
    """The devices of a topology as a mesh, in their order.

    Raises ValueError unless the mesh has as many places as there are devices.

    >>> make_mesh(get_attached_topology("cpu"), (1, 1), ("data", "model")).size
    1
    """
    if math.prod(mesh_shape) != len(topo.devices):
        raise ValueError(
            f"a mesh of shape {tuple(mesh_shape)} has {math.prod(mesh_shape)} places for "
            f"{len(topo.devices)} devices"
        )
    array = np.empty(len(topo.devices), dtype=object)
    array[:] = topo.devices
    return Mesh(array.reshape(tuple(mesh_shape)), axis_names)
