"""Concrete arrays: an aval and a contiguous, read-only buffer, of the host or of a device."""

from __future__ import annotations

import operator
import sys
import weakref
from typing import Any, Final

import numpy as np

from pullback import config
from pullback.core import avals, dlpack, dtypes
from pullback.core.array import Array
from pullback.core.avals import ShapedArray
from pullback.core.devices import CPU, Device, default_device
from pullback.core.dtypes import KeyDtype
from pullback.core.layout import Format, contiguous
from pullback.core.sharding import NamedSharding, Sharding, SingleDeviceSharding
from pullback.core.trace import AMBIGUOUS, EMPTY, NO_SCALAR
from pullback.llvm import entry
from pullback.runtime import residence
from pullback.runtime.residence import living

__all__ = [
    "PLACED",
    "SPREAD",
    "ArrayImpl",
    "Shard",
    "asked_sharding",
    "device_of",
    "expect_absence",
    "from_numpy",
    "is_committed",
    "is_here",
    "make_array",
    "make_remote_array",
    "move",
    "place",
]


class ArrayImpl(Array):
    """An array that lives in host memory, or on a plugin's device.

    `_data` holds the elements: a C-contiguous, read-only NumPy array of the physical dtype.
    Generated code reads the two slots directly.  The slot is empty while the elements are on a
    device (`runtime.residence`); they come to the host when something asks for them.
    """

    __slots__ = ("__weakref__", "_data", "aval")

    aval: ShapedArray
    _data: np.ndarray[Any, Any]

    # Python's and NumPy's protocols; operators and methods come from the NumPy façade.

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        if self.aval.kind == "k":
            self._refuse_keys("a NumPy array")
        if copy:
            return np.array(self._data, dtype=dtype)
        return self._data if dtype is None else np.asarray(self._data, dtype=dtype)

    def _refuse_keys(self, what: str) -> None:
        if isinstance(self.aval.dtype, KeyDtype):
            raise TypeError(
                f"JAX array with PRNGKey dtype cannot be converted to {what}. Use "
                "jax.random.key_data(arr) if you wish to extract the underlying integer array: "
                f"its type is {self.aval}"
            )

    def _scalar(self, what: str) -> Any:
        self._refuse_keys(what)
        if self.aval.size != 1 or self.aval.shape != ():
            raise TypeError(
                f"{NO_SCALAR}{len(self.aval.shape)}: an array ({self.aval}) cannot become {what}"
            )
        return self._data[()]

    def __bool__(self) -> bool:
        self._refuse_keys("a bool")
        if self.aval.size != 1:
            raise ValueError(f"{AMBIGUOUS if self.aval.size else EMPTY}. Its type is {self.aval}.")
        return bool(self._data)

    def __int__(self) -> int:
        return int(self._scalar("a Python int"))

    def __float__(self) -> float:
        return float(self._scalar("a Python float"))

    def __complex__(self) -> complex:
        return complex(self._scalar("a Python complex"))

    def __index__(self) -> int:
        if self.aval.shape != () or self.aval.dtype.kind not in "iu":
            raise TypeError(
                f"Only integer scalar arrays can be converted to a scalar index. Got {self.aval}"
            )
        return operator.index(self._data[()])

    def __hash__(self) -> int:
        raise TypeError(
            f"unhashable type: {type(self).__name__!r}: an array ({self.aval}) is not hashable, "
            "since == compares element by element; to use it as a static argument or a dict key "
            "convert it to a tuple (x.tolist()) first"
        )

    def __repr__(self) -> str:
        if isinstance(self.aval.dtype, KeyDtype):
            bits = self._data[..., None].view(np.uint32)
            return f"Array({self.aval.shape}, dtype={self.aval.dtype.name}) overlaying:\n{bits}"
        prefix = "Array("
        body = np.array2string(self._data, prefix=prefix, separator=", ", suffix=")")
        weak = ", weak_type=True" if self.aval.weak_type else ""
        shape = f"shape={self.aval.shape}, " if self.aval.size == 0 else ""
        kind = f"{shape}dtype={self.aval.dtype.name}{weak})"
        # Where NumPy would break the line, JAX writes as many spaces as the prefix is long.
        last = len(body) - (body.rfind("\n") + 1)
        fits = last + len(", ") + len(kind) < np.get_printoptions()["linewidth"]
        return f"{prefix}{body},{' ' * (1 if fits else len(prefix))}{kind}"

    def __str__(self) -> str:
        return repr(self) if isinstance(self.aval.dtype, KeyDtype) else str(self._data)

    def __format__(self, spec: str) -> str:
        if self.aval.shape == () and not isinstance(self.aval.dtype, dtypes.KeyDtype):
            return format(self._data[()], spec)
        return format(str(self), spec)

    def __reduce__(self) -> Any:
        return _unpickle, (self._data, self.aval)

    def __copy__(self) -> ArrayImpl:
        return self

    def _alias(self) -> ArrayImpl:
        return make_array(self._data, self.aval)

    def __deepcopy__(self, memo: Any) -> ArrayImpl:
        return self

    def __dlpack__(self, **kwargs: Any) -> Any:
        self._refuse_keys("a DLPack capsule")
        found = living(self)
        if found is None:
            return dlpack.export(self._data, **kwargs)
        return found.buffer.to_dlpack(**kwargs)

    def __dlpack_device__(self) -> tuple[int, int]:
        found = living(self)
        if found is None:
            return dlpack.CPU_DEVICE
        device: tuple[int, int] = found.buffer.dlpack_device
        return device

    def __buffer__(self, flags: int) -> memoryview:
        self._refuse_keys("a buffer")
        return memoryview(self._data)  # type: ignore[arg-type]

    def item(self, *args: int) -> Any:
        """The element as a Python scalar; with arguments, the element at that index."""
        self._refuse_keys("a Python scalar")
        return self._data.item(*args)

    def tolist(self) -> Any:
        """The elements as nested Python lists."""
        self._refuse_keys("a list")
        return self._data.tolist()

    def block_until_ready(self) -> ArrayImpl:
        """The array itself, once it is computed: execution on plugins' devices is asynchronous."""
        found = living(self)
        if found is not None:
            found.buffer.block_until_ready()
        return self

    def copy_to_host_async(self) -> None:
        """Begin to copy the elements to the host, where a later use of them finds them."""
        found = living(self)
        if found is not None:
            found.start_copy(explicit=True)

    # Deletion: the slot of the buffer is empty.

    def delete(self) -> None:
        """Give the buffer back now; every later use of the elements is a RuntimeError."""
        expect_absence()
        residence.forget(self)
        if not self.is_deleted():
            del self._data

    def is_deleted(self) -> bool:
        """Whether the buffer was given away."""
        try:
            _buffer_of(self)
        except AttributeError:
            return living(self) is None
        return False

    def is_ready(self) -> bool:
        """Whether the value is computed."""
        found = living(self)
        return found is None or bool(found.buffer.is_ready())

    # Where it is.

    @property
    def sharding(self) -> Sharding:
        """How it is spread over devices: as `device_put` was told, or on one device."""
        found = asked_sharding(self)
        if found is not None:
            return found
        device = device_of(self)
        return _ON_CPU if device is CPU else SingleDeviceSharding(device)

    @property
    def format(self) -> Format:
        """How its elements lie in memory, and where."""
        return contiguous(self.ndim, self.sharding)

    @property
    def device(self) -> Any:
        """The device that holds it."""
        return device_of(self)

    def devices(self) -> set[Device]:
        """The devices that hold a part of it."""
        return {device_of(self)}

    @property
    def committed(self) -> bool:
        """Whether it was put on its device by `device_put`, or computed from such arrays."""
        return is_committed(self)

    @property
    def is_fully_addressable(self) -> bool:
        """Whether this process holds all of it; always."""
        return True

    @property
    def is_fully_replicated(self) -> bool:
        """Whether every device holds all of it; always."""
        return True

    @property
    def addressable_shards(self) -> list[Shard]:
        """The parts of this process: one."""
        return [Shard(device_of(self), self.sharding, self.shape, self)]

    global_shards = addressable_shards

    def addressable_data(self, index: int) -> ArrayImpl | None:
        """The part with this number."""
        return self.addressable_shards[index].data

    def on_device_size_in_bytes(self) -> int:
        """Size of the buffer in bytes."""
        found = living(self)
        return self.nbytes if found is None else int(found.buffer.nbytes)

    def unsafe_buffer_pointer(self) -> int:
        """Address of the elements, valid as long as the array lives and is not deleted."""
        found = living(self)
        if found is not None:
            return int(found.buffer.pointer())
        return int(self._data.__array_interface__["data"][0])


class Shard:
    """The part of an array that one device holds.

    >>> from pullback import numpy as jnp
    >>> jnp.ones(2).addressable_shards[0].index
    (slice(None, None, None),)
    """

    __slots__ = ("_global_shape", "_sharding", "data", "device")

    def __init__(
        self,
        device: Device,
        sharding: Sharding,
        global_shape: tuple[int, ...],
        data: ArrayImpl | None = None,
    ) -> None:
        self.device = device
        self.data = data
        self._sharding = sharding
        self._global_shape = global_shape

    @property
    def index(self) -> tuple[slice, ...]:
        """Which part of the array it is."""
        return self._sharding.devices_indices_map(self._global_shape)[self.device]

    @property
    def replica_id(self) -> int:
        """Its number among the devices that hold the same part."""
        return 0

    def __repr__(self) -> str:
        return (
            f"Shard(device={self.device!r}, index={self.index}, replica_id={self.replica_id}, "
            f"data={self.data})"
        )


_buffer_of: Final[Any] = ArrayImpl.__dict__["_data"].__get__
_ON_CPU: Final = SingleDeviceSharding(CPU)
PLACED: Final[dict[int, tuple[Any, Sharding]]] = {}
"""Shardings that were asked for, by the identity of the array: few arrays have one."""
SPREAD: Final[set[int]] = set()
"""Which of them are NamedShardings: while there is one, calls take the route through Python."""


def expect_absence() -> None:
    """From now on arrays may be without elements: these are on a device, or were given away.

    Then alone has the class a `__getattr__`, which makes every attribute slower, and doubles the
    cost of conversions by NumPy, since it asks for three attributes that are not there.
    """
    if "__getattr__" not in ArrayImpl.__dict__:
        ArrayImpl.__getattr__ = _absent  # type: ignore[attr-defined]


def _absent(x: ArrayImpl, name: str) -> Any:
    """What is missing: elements that are on a device, or were deleted, if nothing else."""
    if name in _ASKED_BY_NUMPY:
        raise AttributeError(name)  # at each conversion: a text would double its cost
    if name == "_data":
        found = living(x)
        if found is not None:
            return found.elements()
        raise RuntimeError(
            f"Array has been deleted with shape={x.aval.str_short(short_dtypes=False)}. Its "
            "buffer was given away, by .delete() or as an argument in donate_argnums."
        )
    raise AttributeError(f"{type(x).__name__!r} object has no attribute {name!r}")


_ASKED_BY_NUMPY: Final = frozenset(("__array_interface__", "__array_struct__", "__array_wrap__"))


def is_here(x: ArrayImpl) -> bool:
    """Whether an array lives on the host."""
    return living(x) is None


def device_of(x: ArrayImpl) -> Device:
    """Where an array is; one of the host that nobody placed counts as on the default device."""
    found = living(x)
    if found is not None:
        return found.device
    placed = PLACED.get(id(x))
    return default_device() if placed is None else next(iter(placed[1].device_set))


def is_committed(x: ArrayImpl) -> bool:
    """Whether the user has said where an array is."""
    found = living(x)
    return id(x) in PLACED if found is None else found.committed


def make_remote_array(buffer: Any, aval: ShapedArray, committed: bool = False) -> ArrayImpl:
    """An array whose elements are on a device until they are asked for."""
    expect_absence()
    x = _new(ArrayImpl)
    x.aval = aval
    residence.remember(x, buffer, committed=committed)
    return x


def place(x: ArrayImpl, sharding: Sharding) -> ArrayImpl:
    """The same elements, which are in host memory, in an array that knows this sharding."""
    return _with_sharding(make_array(x._data, x.aval), sharding)


def move(buffer: Any, aval: ShapedArray, sharding: Sharding) -> ArrayImpl:
    """An array of a device's buffer that was put there, spread as `sharding` says."""
    made = make_remote_array(buffer, aval, committed=True)
    return made if isinstance(sharding, SingleDeviceSharding) else _with_sharding(made, sharding)


def asked_sharding(x: ArrayImpl) -> Sharding | None:
    """The sharding that was asked for an array, or that it got from others; usually None."""
    found = PLACED.get(id(x))
    return found[1] if found is not None and found[0]() is x else None


def _with_sharding(x: ArrayImpl, sharding: Sharding) -> ArrayImpl:
    key = id(x)
    ended = sys.is_finalizing

    def died(_: Any) -> None:
        if not ended():
            _forget_sharding(key)

    PLACED[key] = weakref.ref(x, died), sharding
    if isinstance(sharding, NamedSharding):
        SPREAD.add(key)
        config.look_at_calls(PLACED, True)
    return x


def _forget_sharding(key: int) -> None:
    PLACED.pop(key, None)
    if key in SPREAD:
        SPREAD.discard(key)
        if not SPREAD:
            config.look_at_calls(PLACED, False)


def _unpickle(data: np.ndarray[Any, Any], aval: ShapedArray) -> ArrayImpl:
    return make_array(np.ascontiguousarray(data), aval)


_new: Final = object.__new__


def make_array(data: np.ndarray[Any, Any], aval: ShapedArray) -> ArrayImpl:
    """Wrap a buffer that nobody else writes to; `data` is contiguous and of the physical dtype."""
    x = _new(ArrayImpl)
    x.aval = aval
    x._data = data
    data.setflags(write=False)
    return x


_ALIGNED_FROM: Final = 1024
"""Bytes of a copy that is worth an allocation of its own kind."""


def from_numpy(value: Any, aval: ShapedArray, *, copy: bool = False) -> ArrayImpl:
    """An array of type `aval` with the elements of `value`, copied if needed or asked for."""
    dtype = dtypes.physical(aval.dtype)
    if (
        type(value) is np.ndarray
        and value.size * dtype.itemsize >= _ALIGNED_FROM
        and (copy or value.dtype != dtype or not value.flags.c_contiguous)
    ):
        data = entry.new_buffer(aval.shape, dtype)
        np.copyto(data, value.reshape(aval.shape), casting="unsafe")
        return make_array(data, aval)
    data = np.array(value, dtype=dtype, order="C", copy=True if copy else None)
    if data.flags.writeable and not copy and data is value:
        data = data.view()
    if not data.flags.c_contiguous:
        data = np.ascontiguousarray(data)
    return make_array(data.reshape(aval.shape), aval)


avals.register_aval(ArrayImpl, avals.own_aval)
entry.use_again(ArrayImpl)
