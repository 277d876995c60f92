"""DLPack: arrays shared with other libraries without a copy, in both directions.

The structures are those of dlpack.h (version 1.0 and the unversioned one before). NumPy's own
support knows neither bfloat16 and the small floats nor how to export what must not be written.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from pullback.core import dtypes

__all__ = [
    "CPU_DEVICE",
    "Foreign",
    "capsule_of",
    "export",
    "export_memory",
    "foreign_memory",
    "import_from",
    "is_supported_dtype",
]

CPU_DEVICE: Final = (1, 0)
READ_ONLY: Final = 1
VERSION: Final = (1, 0)

_CODES: Final = {"i": 0, "u": 1, "f": 2, "c": 5, "b": 6}
_OTHER_CODES: Final = {
    "bfloat16": 4,
    "float8_e3m4": 7,
    "float8_e4m3": 8,
    "float8_e4m3b11fnuz": 9,
    "float8_e4m3fn": 10,
    "float8_e4m3fnuz": 11,
    "float8_e5m2": 12,
    "float8_e5m2fnuz": 13,
    "float8_e8m0fnu": 14,
}


class _Device(ctypes.Structure):
    _fields_ = [("type", ctypes.c_int32), ("id", ctypes.c_int32)]


class _DataType(ctypes.Structure):
    _fields_ = [("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16)]


class _Tensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device", _Device),
        ("ndim", ctypes.c_int32),
        ("dtype", _DataType),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]


class _Managed(ctypes.Structure):
    _fields_ = [("tensor", _Tensor), ("context", ctypes.c_void_p), ("deleter", ctypes.c_void_p)]


class _Versioned(ctypes.Structure):
    _fields_ = [
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("context", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
        ("flags", ctypes.c_uint64),
        ("tensor", _Tensor),
    ]


_NAMES: Final = {False: b"dltensor", True: b"dltensor_versioned"}
_USED: Final = {False: b"used_dltensor", True: b"used_dltensor_versioned"}
_STRUCTS: Final[dict[bool, Any]] = {False: _Managed, True: _Versioned}


def _capsule_function(name: str, result: Any, *arguments: Any) -> Any:
    return ctypes.PYFUNCTYPE(result, *arguments)((name, ctypes.pythonapi))


# Capsules by address: one that is being destroyed must not be touched as an object.
_new = _capsule_function(
    "PyCapsule_New", ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p
)
_is_valid = _capsule_function("PyCapsule_IsValid", ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)
_pointer = _capsule_function(
    "PyCapsule_GetPointer", ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p
)
_rename = _capsule_function("PyCapsule_SetName", ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)
_Deleter: Final = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


# --------------------------------------------------------------------------- dtypes


def is_supported_dtype(dtype: Any) -> bool:
    """Whether DLPack can say this dtype.

    >>> is_supported_dtype("bfloat16"), is_supported_dtype("int4")
    (True, False)
    """
    return _code_of(dtypes.as_dtype(dtype)) is not None


def _code_of(dtype: Any) -> tuple[int, int] | None:
    """DLPack's code and number of bits."""
    if isinstance(dtype, dtypes.KeyDtype):
        return None
    code = _OTHER_CODES.get(dtype.name)
    if code is None and dtype.kind in _CODES and dtype.isbuiltin == 1:
        code = _CODES[dtype.kind]
    return None if code is None else (code, 8 * dtype.itemsize)


def _dtype_of(code: int, bits: int) -> np.dtype[Any]:
    for name, other in _OTHER_CODES.items():
        found = dtypes.as_dtype(name)
        if other == code and found.itemsize * 8 == bits:
            return found  # type: ignore[no-any-return]
    for kind, known in _CODES.items():
        if known == code:
            return np.dtype("bool") if kind == "b" else np.dtype(f"{kind}{bits // 8}")
    raise BufferError(f"DLPack: there is no dtype for code {code} of {bits} bits here")


# --------------------------------------------------------------------------- out


_exported: Final[dict[int, Any]] = {}
"""What exported tensors need, by the address of their structure."""


def _forget(address: int | None) -> None:
    _exported.pop(address or 0, None)


def _destroy(capsule: int | None) -> None:
    """The destructor of our capsules: nobody took the tensor over."""
    for name in _NAMES.values():
        if _is_valid(capsule, name):
            _forget(_pointer(capsule, name))


_deleter: Final = _Deleter(_forget)
_destructor: Final = ctypes.PYFUNCTYPE(None, ctypes.c_void_p)(_destroy)


def export(
    data: np.ndarray[Any, Any],
    *,
    stream: Any = None,
    max_version: tuple[int, int] | None = None,
    dl_device: tuple[int, int] | None = None,
    copy: bool | None = None,
) -> Any:
    """A DLPack capsule that shares the memory of an array, which must not be written."""
    if dl_device is not None and tuple(map(int, dl_device)) != CPU_DEVICE:
        raise BufferError(f"DLPack: the array is on the CPU, and {dl_device} was asked for")
    if max_version is not None and max_version[0] >= 1 and data.dtype.kind in "biufc":
        return data.__dlpack__(max_version=max_version, copy=copy)  # NumPy's own is quicker
    data = data.copy() if copy else data
    return export_memory(
        data.__array_interface__["data"][0],
        data.shape,
        data.dtype,
        CPU_DEVICE,
        owner=data,
        steps=[s // data.itemsize for s in data.strides],
        max_version=max_version,
        flags=0 if copy else READ_ONLY,
    )


def export_memory(
    address: int,
    shape: tuple[int, ...],
    dtype: Any,
    device: tuple[int, int],
    *,
    owner: Any,
    steps: Sequence[int] | None = None,
    max_version: tuple[int, int] | None = None,
    flags: int = READ_ONLY,
) -> Any:
    """A DLPack capsule of memory that `owner` keeps alive; `steps` are strides in elements."""
    code = _code_of(dtype)
    if code is None:
        raise BufferError(f"DLPack cannot say the dtype {dtype}")
    if steps is None:
        steps = [math.prod(shape[k + 1 :]) for k in range(len(shape))]
    versioned = max_version is not None and max_version[0] >= 1
    lengths = (ctypes.c_int64 * max(1, len(shape)))(*shape)
    strides = (ctypes.c_int64 * max(1, len(shape)))(*steps)
    made = _STRUCTS[versioned]()
    made.deleter = ctypes.cast(_deleter, ctypes.c_void_p).value
    tensor = made.tensor
    tensor.data = address
    tensor.device = _Device(*device)
    tensor.ndim, tensor.byte_offset = len(shape), 0
    tensor.dtype = _DataType(*code, 1)
    tensor.shape, tensor.strides = lengths, strides
    if versioned:
        made.major, made.minor = VERSION
        made.flags = flags
    key = ctypes.addressof(made)
    _exported[key] = made, owner, lengths, strides
    return _new(key, _NAMES[versioned], ctypes.cast(_destructor, ctypes.c_void_p).value)


# --------------------------------------------------------------------------- in


class _Imported:
    """Foreign memory as NumPy sees it; gives it back when it is no longer used."""

    __slots__ = ("__array_interface__", "_address", "_versioned")

    def __init__(self, address: int, versioned: bool) -> None:
        self._address, self._versioned = address, versioned
        tensor = _STRUCTS[versioned].from_address(address).tensor
        shape = tuple(tensor.shape[i] for i in range(tensor.ndim))
        itemsize = tensor.dtype.bits // 8
        strides = None
        if tensor.strides:
            strides = tuple(tensor.strides[i] * itemsize for i in range(tensor.ndim))
        self.__array_interface__ = {
            "version": 3,
            "shape": shape,
            "typestr": f"|u{itemsize}" if itemsize == 1 else f"|V{itemsize}",
            "data": ((tensor.data or 0) + tensor.byte_offset, True),
            "strides": strides,
        }

    def __del__(self) -> None:
        made = _STRUCTS[self._versioned].from_address(self._address)
        if made.deleter:
            _Deleter(made.deleter)(self._address)


def _take_over(capsule: Any) -> np.ndarray[Any, Any]:
    """The memory of a capsule, which is used up."""
    found = foreign_memory(capsule)
    if found.device[0] != CPU_DEVICE[0]:
        raise BufferError(
            f"DLPack: the memory is on a device of type {found.device[0]}, not the CPU"
        )
    if 0 in found.shape:
        return np.empty(found.shape, found.dtype)
    return np.asarray(found.keep()).view(found.dtype)


@dataclass(frozen=True)
class Foreign:
    """Memory of another library, as an unused capsule describes it."""

    capsule: Any
    address: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    steps: tuple[int, ...] | None
    """Strides in elements; None for rows."""
    device: tuple[int, int]
    _versioned: bool

    def keep(self) -> Any:
        """Use the capsule up: what this gives keeps the memory alive."""
        key = _pointer(id(self.capsule), _NAMES[self._versioned])
        _rename(id(self.capsule), _USED[self._versioned])
        return _Imported(key, self._versioned)

    @property
    def is_dense(self) -> bool:
        """Whether the elements lie in rows without gaps."""
        rows = tuple(math.prod(self.shape[k + 1 :]) for k in range(len(self.shape)))
        return self.steps is None or self.steps == rows


def foreign_memory(capsule: Any) -> Foreign:
    """What an unused capsule describes."""
    for versioned, name in _NAMES.items():
        if _is_valid(id(capsule), name):
            tensor = _STRUCTS[versioned].from_address(_pointer(id(capsule), name)).tensor
            if tensor.dtype.lanes != 1 or tensor.dtype.bits % 8:
                raise BufferError("DLPack: packed elements are not supported")
            axes = range(tensor.ndim)
            return Foreign(
                capsule,
                (tensor.data or 0) + tensor.byte_offset,
                tuple(tensor.shape[i] for i in axes),
                _dtype_of(tensor.dtype.code, tensor.dtype.bits),
                tuple(tensor.strides[i] for i in axes) if tensor.strides else None,
                (tensor.device.type, tensor.device.id),
                versioned,
            )
    raise TypeError(f"DLPack: expected an unused capsule, got {capsule!r}")


def capsule_of(x: Any, **options: Any) -> Any:
    """The capsule that an object with `__dlpack__` gives; a capsule is one itself."""
    export = getattr(x, "__dlpack__", None)
    if export is None:
        return x
    try:
        return export(max_version=VERSION, **options)
    except TypeError:  # an exporter from before DLPack 1.0
        return export(**options)


def import_from(x: Any) -> np.ndarray[Any, Any]:
    """The memory of an object with `__dlpack__`, or of a capsule, as a read-only array.

    >>> import_from(np.arange(3)).tolist()
    [0, 1, 2]
    """
    return _take_over(capsule_of(x))
