"""Arrays in the memory of a plugin's devices: copies to and from the host, views, DLPack.

    put -> DeviceBuffer -> start_copy -> PendingCopy.wait

A buffer may still be being computed; copies and waits are the only calls that wait for it.
"""

from __future__ import annotations

import ctypes
import importlib
import itertools
import weakref
from typing import Any, Final

import numpy as np

from pullback.core import dlpack
from pullback.core.devices import Device

__all__ = ["DeviceBuffer", "PendingCopy", "adopt", "put"]


def _event(plugin: Any, address: int) -> Any:
    return importlib.import_module("pypjrt.client").Event(plugin, address)


class PendingCopy:
    """Elements on their way to the host."""

    __slots__ = ("_event", "_out")

    def __init__(self, out: np.ndarray[Any, Any], event: Any) -> None:
        self._out, self._event = out, event

    def wait(self) -> np.ndarray[Any, Any]:
        """The elements, once they are there."""
        event, self._event = self._event, None
        if event is not None:
            event.consume()
        return self._out

    def __del__(self) -> None:
        self.wait()  # the plugin writes to memory that is about to go


class DeviceBuffer:
    """An array in the memory of a device; its memory is given back when the object dies."""

    __slots__ = ("__weakref__", "_lent", "address", "backend", "device", "dtype", "shape")

    def __init__(
        self,
        backend: Any,
        address: int,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        device: Device,
    ) -> None:
        self.backend, self.address, self.device = backend, address, device
        self.shape, self.dtype = shape, dtype
        self._lent: Any = None

    def __del__(self) -> None:
        address, self.address = self.address, 0
        if address:
            lent = None if self._lent is None else self._lent()
            if lent is None:
                self.backend.destroy(address)
            else:
                lent.is_last = True

    def delete(self) -> None:
        """Give the memory back now, or when nobody else uses it any more."""
        self.__del__()

    @property
    def nbytes(self) -> int:
        """Bytes on the device, with what its layout pads."""
        return int(self._ask("OnDeviceSizeInBytes").on_device_size_in_bytes)

    def _ask(self, what: str, **values: Any) -> Any:
        """The answer of the plugin's function `PJRT_Buffer_...`."""
        if not self.address:
            raise RuntimeError("the buffer of this array has been deleted or donated")
        plugin = self.backend.plugin
        args = plugin.args(f"PJRT_Buffer_{what}_Args", buffer=self.address, **values)
        plugin.call(f"PJRT_Buffer_{what}", args)
        return args

    # ------------------------------------------------------------------ waiting, copying

    def block_until_ready(self) -> None:
        """Wait until the elements are computed."""
        event = self._ask("ReadyEvent").event
        if event:
            _event(self.backend.plugin, event).consume()

    def is_ready(self) -> bool:
        """Whether the elements are computed."""
        event = self._ask("ReadyEvent").event
        return not event or bool(_event(self.backend.plugin, event).done)

    def start_copy(self) -> PendingCopy:
        """Begin to copy the elements to the host, in rows whatever their order on the device is."""
        if not self.address:
            raise RuntimeError("the buffer of this array has been deleted or donated")
        out = np.empty(self.shape, self.dtype)
        if not out.size:
            return PendingCopy(out, None)
        plugin = self.backend.plugin
        abi, rank = plugin.abi, len(self.shape)
        order = (ctypes.c_int64 * max(rank, 1))(*reversed(range(rank)))
        layout = plugin.args(
            "PJRT_Buffer_MemoryLayout", type=abi.PJRT_Buffer_MemoryLayout_Type_Tiled
        )
        layout.tiled.struct_size = abi.PJRT_Buffer_MemoryLayout_Tiled_STRUCT_SIZE
        layout.tiled.minor_to_major = ctypes.cast(order, ctypes.c_void_p)
        layout.tiled.minor_to_major_size = rank
        args = plugin.args(
            "PJRT_Buffer_ToHostBuffer_Args",
            src=self.address,
            host_layout=ctypes.addressof(layout),
            dst=out.ctypes.data,
            dst_size=out.nbytes,
        )
        plugin.call("PJRT_Buffer_ToHostBuffer", args)
        return PendingCopy(out, _event(plugin, args.event) if args.event else None)

    def to_host(self) -> np.ndarray[Any, Any]:
        """The elements; waits until they are computed."""
        return self.start_copy().wait()

    def copy_to(self, device: Device) -> DeviceBuffer:
        """The same elements on another device."""
        if device.client.backend is not self.backend:
            made: DeviceBuffer = device.client.backend.put(self.to_host(), device)
            return made
        address = self._ask("CopyToDevice", dst_device=device.handle.address).dst_buffer
        return DeviceBuffer(self.backend, address, self.shape, self.dtype, device)

    # ------------------------------------------------------------------ shared memory

    def pointer(self) -> int:
        """The address of the elements in the device's memory."""
        self.block_until_ready()
        found = self._ask("OpaqueDeviceMemoryDataPointer").device_memory_ptr
        return int(found or 0)

    @property
    def dlpack_device(self) -> tuple[int, int]:
        """DLPack's type and number of the device."""
        if self._ask("IsOnCpu").is_on_cpu:
            return dlpack.CPU_DEVICE
        kind = _DLPACK_TYPES.get(self.device.client.name)
        if kind is None:
            raise BufferError(f"DLPack has no type for the devices of {self.device.client.name}")
        return kind, self.device.local_hardware_id

    def to_dlpack(
        self,
        *,
        stream: Any = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        """A capsule that shares the memory; the elements are there when it is made.

        A copy, and what goes to the CPU from elsewhere, is made of the elements on the host.
        """
        here = self.dlpack_device
        wanted = here if dl_device is None else (int(dl_device[0]), int(dl_device[1]))
        if copy or (wanted == dlpack.CPU_DEVICE != here and copy is None):
            host = self.to_host()
            return dlpack.export(host, max_version=max_version, dl_device=dl_device)
        if wanted != here:
            raise BufferError(f"DLPack: the array is on {here}, and {wanted} was asked for")
        address = self.pointer()
        if not address and 0 not in self.shape:
            raise BufferError(f"DLPack: {self.device} does not say where its arrays are")
        lent = None if self._lent is None else self._lent()
        if lent is None:
            lent = _Lent(self)
            self._lent = weakref.ref(lent)
        return dlpack.export_memory(
            address, self.shape, self.dtype, here, owner=lent, max_version=max_version
        )


_DLPACK_TYPES: Final = {"cuda": 2, "rocm": 10}


class _Lent:
    """Keeps the memory of a buffer while others use it: programs cannot take it over."""

    __slots__ = ("__weakref__", "_address", "_backend", "is_last")

    def __init__(self, buffer: DeviceBuffer) -> None:
        buffer._ask("IncreaseExternalReferenceCount")
        self._backend, self._address = buffer.backend, buffer.address
        self.is_last = False
        """Whether the buffer itself is no longer used."""

    def __del__(self) -> None:
        backend = self._backend
        if not backend.is_open:
            return
        name = "PJRT_Buffer_DecreaseExternalReferenceCount"
        backend.plugin.call(name, backend.plugin.args(f"{name}_Args", buffer=self._address))
        if self.is_last:
            backend.destroy(self._address)


def put(backend: Any, data: np.ndarray[Any, Any], device: Device) -> DeviceBuffer:
    """A copy of host memory on a device."""
    data = np.ascontiguousarray(data).reshape(data.shape)
    plugin = backend.plugin
    dims = (ctypes.c_int64 * max(data.ndim, 1))(*data.shape)
    args = plugin.args(
        "PJRT_Client_BufferFromHostBuffer_Args",
        client=backend.client.address,
        data=data.ctypes.data,
        type=backend.code(data.dtype),
        dims=ctypes.addressof(dims),
        num_dims=data.ndim,
        host_buffer_semantics=plugin.abi.PJRT_HostBufferSemantics_kImmutableOnlyDuringCall,
        device=device.handle.address,
    )
    plugin.call("PJRT_Client_BufferFromHostBuffer", args)
    if args.done_with_host_buffer:
        _event(plugin, args.done_with_host_buffer).consume()
    return DeviceBuffer(backend, args.buffer, data.shape, data.dtype, device)


# --------------------------------------------------------------------------- memory of others

_Released: Final = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)
_owners: Final[dict[int, Any]] = {}
"""What keeps adopted memory alive, by the number that the plugin gives back."""
_numbers: Final = itertools.count(1)


def _release(_: int | None, number: int | None) -> None:
    _owners.pop(number or 0, None)


_on_release: Final = _Released(_release)


def adopt(backend: Any, memory: dlpack.Foreign, device: Device) -> tuple[bool, Any]:
    """Whether memory that is there already can be used as it is, and the buffer of it.

    The plugin decides: it may want another alignment, or other devices' memory.
    """
    plugin, shape = backend.plugin, memory.shape
    dims = (ctypes.c_int64 * max(len(shape), 1))(*shape)
    number = next(_numbers)
    args = plugin.args(
        "PJRT_Client_CreateViewOfDeviceBuffer_Args",
        client=backend.client.address,
        device_buffer_ptr=memory.address,
        dims=ctypes.addressof(dims),
        num_dims=len(shape),
        element_type=backend.code(memory.dtype),
        device=device.handle.address,
        on_delete_callback=ctypes.cast(_on_release, ctypes.c_void_p),
        on_delete_callback_arg=number,
    )
    try:
        plugin.call("PJRT_Client_CreateViewOfDeviceBuffer", args)
    except importlib.import_module("pypjrt.errors").PjrtError:
        return False, None
    _owners[number] = memory.keep()
    return True, DeviceBuffer(backend, args.buffer, shape, memory.dtype, device)
