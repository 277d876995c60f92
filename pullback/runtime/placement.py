"""Arrays and devices for users: `device_put` and its relatives, DLPack, what is alive."""

from __future__ import annotations

import functools
import gc
from collections.abc import Callable
from types import FunctionType
from typing import Any, ParamSpec, TypeVar

import numpy as np

from pullback import tree
from pullback.core import dlpack, dtypes
from pullback.core.avals import ShapedArray, aval_of
from pullback.core.devices import CPU, Device, check_device, client_of, default_device
from pullback.core.layout import Format, check_layout
from pullback.core.meshes import PartitionSpec, current_mesh, get_abstract_mesh
from pullback.core.sharding import (
    NamedSharding,
    Sharding,
    SingleDeviceSharding,
    check_fits,
    type_sharding,
)
from pullback.core.source import ASKED, name_scope
from pullback.core.trace import Tracer
from pullback.core.tracebacks import shorten
from pullback.errors import UnsupportedError
from pullback.ops import markers
from pullback.runtime import accelerator, transfers
from pullback.runtime.array import (
    ArrayImpl,
    device_of,
    from_numpy,
    is_committed,
    is_here,
    make_remote_array,
    move,
    place,
)
from pullback.runtime.dispatch import to_array
from pullback.runtime.residence import REMOTE
from pullback.transforms.arguments import check_operand

__all__ = [
    "as_asked",
    "constrained",
    "device_put",
    "device_put_replicated",
    "device_put_sharded",
    "from_dlpack",
    "inspect_array_sharding",
    "live_arrays",
    "places_of",
    "reshard",
    "takes_sharding",
    "where_asked",
    "with_sharding_constraint",
]


P = ParamSpec("P")
R = TypeVar("R")


def _is_place(x: Any) -> bool:
    return x is None or isinstance(x, (Device, Format, Sharding, PartitionSpec))


def _sharding_of(where: Any, name: str) -> Sharding | None:
    if isinstance(where, Format):
        if where.layout is not None:
            check_layout(where.layout, len(where.layout.major_to_minor), name)
        return _sharding_of(where.sharding, name)
    if isinstance(where, PartitionSpec):
        mesh = current_mesh() or get_abstract_mesh()
        if mesh.empty:
            if name in ("reshard", "out_sharding"):
                raise ValueError(
                    "Using PartitionSpec when you are not under a mesh context is not allowed. "
                    "Please pass a NamedSharding instance or enter into a mesh context via "
                    f"`jax.set_mesh`. Got {where}"
                )
            if name == "device_put":
                raise ValueError(
                    "Please set a mesh via `jax.set_mesh` if a PartitionSpec is passed to "
                    f"device_put; it is {where}"
                )
            function, _, parameter = name.partition(": ")
            raise RuntimeError(
                f"{function} requires a non-empty mesh in context if you are passing "
                f"`PartitionSpec`s to {parameter or 'shardings'}. You can define a context mesh "
                "via `jax.set_mesh(mesh)`. Alternatively, provide `Sharding`s to "
                f"{parameter or 'shardings'} and then the mesh context manager is not required."
            )
        return NamedSharding(mesh, where)
    if isinstance(where, Sharding):
        return where
    check_device(where, name)
    return SingleDeviceSharding(where) if isinstance(where, Device) else None


def places_of(x: Any, where: Any, name: str) -> tuple[list[Any], Any, list[Any]]:
    """Leaves of `x`, their structure, and the place of each; `where` may be a prefix."""
    leaves, structure = tree.flatten(x)
    if name.startswith("jit: "):
        _check_leaves(where, name[5:])
    if _is_place(where) or isinstance(where, str):
        return leaves, structure, [_sharding_of(where, name)] * len(leaves)
    spread = tree.flatten_axes(name, structure, where)
    return leaves, structure, [_sharding_of(w, name) for w in spread]


def _check_leaves(shardings: Any, name: str) -> None:
    for leaf in tree.leaves(shardings, is_leaf=lambda s: s is None):
        if not _is_place(leaf):
            raise TypeError(
                f"{name} leaf specifications are expected to be PartitionSpec instances or None, "
                f"but got {leaf}"
            )


def _put(x: Any, sharding: Sharding | None, name: str) -> Any:
    check_operand(x, name)
    if sharding is not None:
        what = f"One of {name} {'args' if name == 'device_put' else 'arguments'}"
        check_fits(sharding, aval_of(x).shape, what)
    if isinstance(x, Tracer):
        return constrained(x, sharding)
    return _placed(to_array(x), sharding, name)


def constrained(x: Any, sharding: Sharding | None) -> Any:
    """A value of a program; how it is spread matters to results, and to a topology's programs."""
    if not isinstance(sharding, NamedSharding):
        return x
    return markers.sharding_constraint.bind(
        x, sharding=sharding, layout=None, context_mesh=None, unconstrained_dims=frozenset()
    )


def _placed(x: ArrayImpl, sharding: Sharding | None, name: str) -> ArrayImpl:
    """The array where a sharding says; without one where it is, or on the default device."""
    if sharding is None:
        if accelerator.is_possible() and is_here(x) and not is_committed(x):
            device = default_device()
            if device is not CPU and id(x) not in REMOTE:
                transfers.check_to_device(x.aval, device, explicit=True)
                return make_remote_array(device.client.backend.put(x._data, device), x.aval)
        return x
    devices = sharding.device_set
    if len(devices) != 1:
        raise UnsupportedError(
            f"{name}: {sharding} spreads an array over {len(devices)} devices; programs run on one "
            "device at a time"
        )
    (device,) = devices
    found = REMOTE.get(id(x))
    if device is CPU:
        if found is not None and not found.is_copy:
            found.elements(explicit=True)
        return place(x, sharding)
    if found is not None and found.device is device:
        if found.committed:
            return x
        return move(found.buffer, x.aval, sharding)
    if found is None or found.is_copy:
        transfers.check_to_device(x.aval, device, explicit=True)
        return move(device.client.backend.put(x._data, device), x.aval, sharding)
    return move(accelerator.send(x, device, explicit=True), x.aval, sharding)


def device_put(
    x: Any, device: Any = None, *, src: Any = None, donate: Any = False, may_alias: Any = None
) -> Any:
    """The arrays of a pytree on a device, or spread as a sharding (of one device) says.

    `device` is a `Device`, a `Sharding`, None, or a pytree of these that is a prefix of `x`. NumPy
    arrays are copied unless they are read-only, or `may_alias` allows to share them. With `donate`
    the arrays in `x` are deleted.

    >>> import numpy as np, pullback as pb
    >>> pb.device_put(np.ones(2), pb.devices()[0]).tolist()
    [1.0, 1.0]
    """
    leaves, structure, places = places_of(x, device, "device_put")
    outs = []
    for leaf, sharding in zip(leaves, places, strict=True):
        if isinstance(leaf, np.ndarray) and leaf.flags.writeable and not may_alias:
            check_operand(leaf, "device_put")
            leaf = from_numpy(leaf, aval_of(leaf), copy=True)
        out = _put(leaf, sharding, "device_put")
        if donate is True and type(leaf) is ArrayImpl:
            if is_here(out):
                out = place(leaf, sharding or leaf.sharding)
            if out is not leaf:
                leaf.delete()
        outs.append(out)
    return structure.unflatten(outs)


def device_put_sharded(shards: Any, devices: Any) -> Any:
    """One array from its parts, one for each device, along a new first axis.

    >>> import numpy as np, pullback as pb
    >>> device_put_sharded([np.ones(2)], pb.devices()).shape
    (1, 2)
    """
    if len(shards) != len(devices):
        raise ValueError(f"device_put_sharded: {len(shards)} shards for {len(devices)} devices")
    return device_put(tree.map(lambda *parts: np.stack(list(map(np.asarray, parts))), *shards))


def device_put_replicated(x: Any, devices: Any) -> Any:
    """The arrays of a pytree once for each device, along a new first axis.

    >>> import numpy as np, pullback as pb
    >>> device_put_replicated(np.ones(2), pb.devices()).shape
    (1, 2)
    """
    return device_put_sharded([x] * len(devices), devices)


def with_sharding_constraint(x: Any, shardings: Any) -> Any:
    """`x`, whose arrays are to be spread as the shardings say; checks that they can be.

    With one device nothing moves; over the devices of a topology, the programs that are compiled
    for it keep the constraint. A PartitionSpec refers to the mesh of the `with` block around.

    >>> import pullback as pb, pullback.numpy as jnp
    >>> from pullback.sharding import NamedSharding, PartitionSpec
    >>> mesh = pb.make_mesh((1,), ("data",), axis_types=pb.sharding.AxisType.Auto)
    >>> with_sharding_constraint(jnp.ones(2), NamedSharding(mesh, PartitionSpec("data"))).shape
    (2,)
    """
    name = "with_sharding_constraint"
    _check_leaves(shardings, "shardings")
    leaves, structure, places = places_of(x, shardings, name)
    for sharding in places:
        if sharding is None:
            raise ValueError(
                f"One of {name} arguments got sharding None which is not allowed. Please only "
                "pass `jax.sharding.Sharding` instances."
            )
        _check_automatic(sharding)
    return structure.unflatten(
        [_put(leaf, place, name) for leaf, place in zip(leaves, places, strict=True)]
    )


def _check_automatic(sharding: Any) -> None:
    if not isinstance(sharding, NamedSharding) or not all(
        d.is_attached for d in sharding.device_set
    ):
        return
    explicit = type_sharding(sharding, len(sharding.spec))
    if explicit is not None and any(explicit.spec):
        raise ValueError(
            "The spec of NamedSharding passed to with_sharding_constraint can only refer to Auto "
            f"axes of the mesh. Got spec={sharding.spec} and mesh={explicit.mesh}. You probably "
            "meant to use `reshard` API?"
        )


def from_dlpack(external_array: Any, device: Any = None, copy: bool | None = None) -> ArrayImpl:
    """An array that shares the memory of an object with `__dlpack__`, or of a DLPack capsule.

    Copied where `copy` asks for it, and where the elements are not contiguous or have a type that
    the x64 setting excludes (ValueError with `copy=False`). Whoever writes to shared memory
    changes the array. Memory of an accelerator becomes an array on that device; `device` is where
    the array is wanted, by default where the memory is.

    >>> import numpy as np
    >>> from_dlpack(np.arange(3, dtype=np.int32))
    Array([0, 1, 2], dtype=int32)
    """
    if not isinstance(device, Sharding):
        check_device(device, "from_dlpack")
    where = _sharding_of(device, "from_dlpack") if isinstance(device, (Device, Sharding)) else None
    if type(external_array) is ArrayImpl and not copy:
        return external_array if where is None else _put(external_array, where, "from_dlpack")
    wanted = None if where is None else next(iter(where.device_set))
    if wanted not in (None, CPU) or _is_elsewhere(external_array):
        return _from_device_memory(external_array, wanted, copy)
    data = dlpack.import_from(external_array)
    aval = ShapedArray(data.shape, dtypes.canonicalize_dtype(data.dtype))
    shared = data.dtype == aval.dtype and data.flags.c_contiguous and data.flags.aligned
    if copy is False and not shared:
        raise ValueError(
            f"from_dlpack: {data.dtype}{list(data.shape)} cannot be used without a copy"
        )
    return from_numpy(data, aval, copy=bool(copy) or not shared)


def _is_elsewhere(external_array: Any) -> bool:
    """Whether an object says that its memory is on an accelerator."""
    ask = getattr(external_array, "__dlpack_device__", None)
    return ask is not None and int(ask()[0]) != dlpack.CPU_DEVICE[0]


def _from_device_memory(external_array: Any, wanted: Device | None, copy: bool | None) -> ArrayImpl:
    """An array on a plugin's device that shares memory there, or a copy of what is elsewhere."""
    if type(external_array) is ArrayImpl:
        external_array = external_array.block_until_ready()
    device = wanted or _device_of_dlpack(*external_array.__dlpack_device__())
    stream = device.client.backend.external_stream(device)
    options = {} if stream is None else {"stream": stream}
    found = dlpack.foreign_memory(dlpack.capsule_of(external_array, **options))
    aval = ShapedArray(found.shape, dtypes.canonicalize_dtype(found.dtype))
    shared = found.dtype == aval.dtype and found.is_dense and not copy and aval.size > 0
    if shared:
        shared, buffer = device.client.backend.adopt(found, device)
    if shared:
        return make_remote_array(buffer, aval, committed=wanted is not None)
    if copy is False or found.device[0] != dlpack.CPU_DEVICE[0]:
        raise ValueError(
            f"from_dlpack: {found.dtype}{list(found.shape)} on {found.device} cannot be used on "
            f"{device} without a copy"
        )
    data = from_numpy(dlpack.import_from(found.capsule), aval, copy=True)
    return _placed(data, SingleDeviceSharding(device), "from_dlpack")


def _device_of_dlpack(kind: int, number: int) -> Device:
    name = {2: "cuda", 10: "rocm"}.get(int(kind))
    if name is None:
        raise ValueError(f"from_dlpack: there is no platform for devices of type {kind}")
    for device in client_of(name).devices():
        if device.local_hardware_id == number:
            return device
    raise ValueError(f"from_dlpack: there is no device {number} of {name}")


def live_arrays(platform: str | None = None) -> list[ArrayImpl]:
    """All arrays that are alive and not deleted, found by a walk over all objects.

    >>> import pullback.numpy as jnp
    >>> x = jnp.ones(3)
    >>> any(y is x for y in live_arrays())
    True
    """
    check_device(platform, "live_arrays")
    found = [x for x in gc.get_objects() if type(x) is ArrayImpl and not x.is_deleted()]
    if platform is None:
        return found
    return [x for x in found if device_of(x).client is client_of(platform)]


def reshard(xs: Any, out_shardings: Any) -> Any:
    """`xs`, whose arrays are spread as the shardings say.

    >>> import pullback as pb, pullback.numpy as jnp
    >>> from pullback.sharding import NamedSharding, PartitionSpec
    >>> mesh = pb.make_mesh((1,), ("data",))
    >>> reshard(jnp.ones(2), NamedSharding(mesh, PartitionSpec("data"))).sharding.spec
    P('data',)
    """
    return _resharded(xs, out_shardings, "reshard")


def _resharded(xs: Any, shardings: Any, name: str) -> Any:
    leaves, structure, places = places_of(xs, shardings, name)
    return structure.unflatten(
        [
            _put(leaf, _in_full(place, leaf), name)
            for leaf, place in zip(leaves, places, strict=True)
        ]
    )


def _in_full(sharding: Any, x: Any) -> Any:
    """A sharding over explicit axes as types write it, with an entry for each axis of the array."""
    if not isinstance(sharding, NamedSharding) or not sharding.mesh.explicit_axes:
        return sharding
    missing = len(aval_of(x).shape) - len(sharding.spec)
    return sharding.update(spec=PartitionSpec(*sharding.spec, *[None] * missing))


def where_asked(fun: Callable[P, R]) -> Callable[P, R]:
    """A public function whose results are spread as its keyword `out_sharding` says."""

    @functools.wraps(fun)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            if kwargs.get("out_sharding") is None:
                return fun(*args, **kwargs)
            return as_asked(kwargs.pop("out_sharding"), fun, *args, **kwargs)  # type: ignore[no-any-return]
        except Exception as error:
            shorten(error)
            raise

    return call


def takes_sharding(value: Any) -> bool:
    """Whether a function has a parameter `out_sharding` that it leaves to `where_asked`."""
    if type(value) is not FunctionType:
        return False
    code = value.__code__
    count = code.co_argcount + code.co_kwonlyargcount
    return "out_sharding" in code.co_varnames[:count] and "placed" not in code.co_names


def as_asked(out_sharding: Any, fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What a function returns, spread as asked; what would be ambiguous otherwise is not."""
    with name_scope(ASKED):
        out = fun(*args, **kwargs)
    return _resharded(out, out_sharding, "out_sharding")


def inspect_array_sharding(value: Any, *, callback: Callable[[Sharding], None]) -> None:
    """Call `callback` with the sharding of each array of a pytree.

    >>> import pullback as pb, pullback.numpy as jnp
    >>> pb.debug.inspect_array_sharding(jnp.ones(2), callback=lambda s: print(s.num_devices))
    1
    """
    for leaf in tree.leaves(value):
        check_operand(leaf, "inspect_array_sharding")
        here = type(leaf) is ArrayImpl
        callback(leaf.sharding if here else SingleDeviceSharding(default_device()))
