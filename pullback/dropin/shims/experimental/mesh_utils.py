"""`jax.experimental.mesh_utils`: arrays of devices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from pullback.core.devices import devices as all_devices

__all__ = ["create_device_mesh", "create_hybrid_device_mesh"]


def create_device_mesh(
    mesh_shape: Sequence[int],
    devices: Sequence[Any] | None = None,
    *,
    contiguous_submeshes: bool = False,
    allow_split_physical_axes: bool = False,
) -> np.ndarray[Any, Any]:
    """The devices as an array of this shape.

    Raises ValueError unless the shape has as many places as there are devices.

    >>> create_device_mesh((1, 1)).shape
    (1, 1)
    """
    given = list(all_devices() if devices is None else devices)
    if math.prod(mesh_shape) != len(given):
        raise ValueError(
            f"a mesh of shape {tuple(mesh_shape)} has {math.prod(mesh_shape)} places for "
            f"{len(given)} devices"
        )
    mesh = np.empty(len(given), dtype=object)
    mesh[:] = given
    return mesh.reshape(tuple(mesh_shape))


def create_hybrid_device_mesh(
    mesh_shape: Sequence[int],
    dcn_mesh_shape: Sequence[int],
    devices: Sequence[Any] | None = None,
    *,
    process_is_granule: bool = False,
    should_sort_granules_by_key: bool = True,
    allow_split_physical_axes: bool = False,
) -> np.ndarray[Any, Any]:
    """The devices of several hosts as an array; there is one host."""
    if math.prod(dcn_mesh_shape) != 1:
        raise ValueError(f"a mesh over {math.prod(dcn_mesh_shape)} hosts: there is one")
    return create_device_mesh(mesh_shape, devices)
