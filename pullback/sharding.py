"""The namespace `jax.sharding`: how arrays are spread over devices, of which there is one."""

from __future__ import annotations

import functools
from typing import Any

from pullback.core.meshes import (
    AbstractDevice,
    AbstractMesh,
    AxisType,
    ManualAxisType,
    Mesh,
    PartitionSpec,
    current_mesh,
    get_abstract_mesh,
    get_mesh,
    set_mesh,
    use_abstract_mesh,
)
from pullback.core.sharding import (
    NamedSharding,
    Sharding,
    SingleDeviceSharding,
    make_single_device_sharding,
)
from pullback.runtime.placement import reshard
from pullback.runtime.shard_map import Infer

__all__ = [
    "AbstractDevice",
    "AbstractMesh",
    "AxisType",
    "Infer",
    "ManualAxisType",
    "Mesh",
    "NamedSharding",
    "PartitionSpec",
    "Sharding",
    "SingleDeviceSharding",
    "auto_axes",
    "explicit_axes",
    "get_abstract_mesh",
    "get_mesh",
    "make_single_device_sharding",
    "reshard",
    "set_mesh",
    "use_abstract_mesh",
]


def _check_mesh(name: str) -> None:
    if current_mesh() is None:
        raise ValueError(
            f"{name}: the context mesh cannot be empty. Use jax.set_mesh(mesh) to enter one"
        )


def auto_axes(f: Any = None, /, *, axes: Any = None, out_sharding: Any = None) -> Any:
    """`f`, within which the compiler decides how arrays are spread over `axes` of the mesh.

    The results are spread as `out_sharding` says, given here or in the call. There is one device,
    so that nothing moves.

    >>> import pullback as pb, pullback.numpy as jnp
    >>> with pb.set_mesh(pb.make_mesh((1,), ("x",))):
    ...     auto_axes(lambda a: a + 1, out_sharding=pb.P("x"))(jnp.zeros(2))
    Array([1., 1.], dtype=float32)
    """
    if f is None:
        return functools.partial(auto_axes, axes=axes, out_sharding=out_sharding)
    given = out_sharding

    @functools.wraps(f)
    def decorated(*args: Any, **kwargs: Any) -> Any:
        where = kwargs.pop("out_sharding", given)
        if where is None:
            raise TypeError("auto_axes: the keyword argument out_sharding is missing")
        _check_mesh("auto_axes")
        return reshard(f(*args, **kwargs), where)

    return decorated


def explicit_axes(f: Any = None, /, *, axes: Any = None, in_sharding: Any = None) -> Any:
    """`f`, within which types say how arrays are spread over `axes` of the mesh.

    The positional arguments are spread as `in_sharding` says, given here or in the call. There is
    one device, so that nothing moves.

    >>> import pullback as pb, pullback.numpy as jnp
    >>> with pb.set_mesh(pb.make_mesh((1,), ("x",))):
    ...     explicit_axes(lambda a: a + 1, in_sharding=pb.P("x"))(jnp.zeros(2))
    Array([1., 1.], dtype=float32)
    """
    if f is None:
        return functools.partial(explicit_axes, axes=axes, in_sharding=in_sharding)
    given = in_sharding

    @functools.wraps(f)
    def decorated(*args: Any, **kwargs: Any) -> Any:
        where = kwargs.pop("in_sharding", given)
        if where is None:
            raise TypeError("explicit_axes: the keyword argument in_sharding is missing")
        _check_mesh("explicit_axes")
        return f(*reshard(args, where), **kwargs)

    return decorated
