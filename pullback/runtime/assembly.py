"""Arrays from the parts that devices hold; with one device there is one part, the whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pullback import tree
from pullback.core.array import Array
from pullback.core.avals import aval_of
from pullback.core.sharding import Sharding
from pullback.runtime.array import ArrayImpl
from pullback.runtime.placement import device_put

__all__ = [
    "copy_to_host_async",
    "make_array_from_callback",
    "make_array_from_process_local_data",
    "make_array_from_single_device_arrays",
]


def _whole(name: str, part: Any, shape: Sequence[int], sharding: Sharding, dtype: Any) -> ArrayImpl:
    found = aval_of(part)
    if found.shape != tuple(shape):
        raise ValueError(
            f"{name}: the part of the one device has the shape of the array, {tuple(shape)}, but "
            f"got {found.shape}"
        )
    if dtype is not None and found.dtype != np.dtype(dtype):
        raise ValueError(f"{name}: dtype={np.dtype(dtype)}, but the part has dtype {found.dtype}")
    out: ArrayImpl = device_put(part, sharding)
    return out


def make_array_from_callback(
    shape: Sequence[int],
    sharding: Sharding,
    data_callback: Callable[[Any], Any],
    dtype: Any = None,
) -> ArrayImpl:
    """An array whose parts are what `data_callback` returns for their indices (tuples of slices).

    Raises ValueError for a part of another shape or dtype.

    >>> import numpy as np, pullback as pb
    >>> place = pb.NamedSharding(pb.make_mesh((1,), ("x",)), pb.P("x"))
    >>> data = np.arange(4.0, dtype=np.float32)
    >>> pb.make_array_from_callback((4,), place, lambda index: data[index])
    Array([0., 1., 2., 3.], dtype=float32)
    """
    (index,) = sharding.devices_indices_map(tuple(shape)).values()
    part = data_callback(index)
    return _whole("make_array_from_callback", part, shape, sharding, dtype)


def make_array_from_single_device_arrays(
    shape: Sequence[int], sharding: Sharding, arrays: Sequence[Any], *, dtype: Any = None
) -> ArrayImpl:
    """An array from its parts, one for each device, of which there is one.

    >>> import pullback as pb, pullback.numpy as jnp
    >>> place = pb.NamedSharding(pb.make_mesh((1,), ("x",)), pb.P("x"))
    >>> pb.make_array_from_single_device_arrays((2,), place, [jnp.ones(2)])
    Array([1., 1.], dtype=float32)
    """
    name = "make_array_from_single_device_arrays"
    if len(arrays) != 1:
        raise ValueError(f"{name}: there is one device, and {len(arrays)} parts are given")
    if not isinstance(arrays[0], Array):
        raise TypeError(f"{name}: the parts must be Arrays, got {type(arrays[0]).__name__}")
    return _whole(name, arrays[0], shape, sharding, dtype)


def make_array_from_process_local_data(
    sharding: Any, local_data: Any, global_shape: Any = None
) -> Any:
    """Arrays from what this process has of them, which is all; pytrees of arrays are mapped.

    Raises ValueError if `global_shape` is another one than that of the data.

    >>> import numpy as np, pullback as pb
    >>> place = pb.NamedSharding(pb.make_mesh((1,), ("x",)), pb.P("x"))
    >>> pb.make_array_from_process_local_data(place, np.ones(2, np.float32)).shape
    (2,)
    """
    name = "make_array_from_process_local_data"
    leaves, structure = tree.flatten(local_data)
    if global_shape is not None:
        given = [global_shape] if leaves and leaves[0] is local_data else None
        shapes = given or structure.flatten_up_to(global_shape)
        for leaf, shape in zip(leaves, shapes, strict=True):
            if shape is not None and tuple(shape) != leaf.shape:
                raise ValueError(
                    f"{name}: this process has all of the array, so that global_shape must be None "
                    f"or {leaf.shape}, got {shape}"
                )
    return device_put(local_data, sharding)


def copy_to_host_async(x: Any) -> Any:
    """Begin to copy the arrays of a pytree to the host, if they are elsewhere; returns `x`.

    >>> import pullback as pb, pullback.numpy as jnp
    >>> pb.copy_to_host_async({"a": jnp.ones(2)})["a"].shape
    (2,)
    """
    for leaf in tree.leaves(x):
        if isinstance(leaf, ArrayImpl):
            leaf.copy_to_host_async()
    return x
