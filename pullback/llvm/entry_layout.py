"""Where CPython and NumPy keep things: offsets found by looking, and refused where they surprise.

The native call path reads a few objects' memory directly.  Nothing is assumed from a version
number: each offset is found in, or checked against, objects of this interpreter, once a process.
`supported()` is false for interpreters that cannot be read this way (PyPy, free-threaded builds)
or when a check fails; calls then take the Python route of `entry_python.py`.
"""

from __future__ import annotations

import ctypes
import os
import sys
import sysconfig
import weakref
from functools import cache
from typing import Any, Final, NamedTuple

import numpy as np

__all__ = ["Layout", "capsule_pointer", "layout", "slot_offset", "supported"]

HEADER: Final = 16
"""Bytes of a plain object header: reference count and type."""

TYPE_DEALLOC, TYPE_VECTORCALL, TYPE_CALL, TYPE_FLAGS = 48, 56, 128, 168
"""Members of PyTypeObject; the same in every CPython since 3.8."""

ARRAY_DATA, ARRAY_NDIM, ARRAY_DIMENSIONS, ARRAY_STRIDES, ARRAY_BASE = 16, 24, 32, 40, 48
ARRAY_DESCR, ARRAY_FLAGS, ARRAY_WEAK_LIST, ARRAY_BUFFER_INFO, ARRAY_HANDLER = 56, 64, 72, 80, 88
"""Members of PyArrayObject_fields; part of NumPy's stable binary interface since 1.22."""


class Layout(NamedTuple):
    """Byte offsets inside built-in objects."""

    tuple_items: int
    list_items: int
    size: int
    float_value: int
    complex_value: int
    bytes_data: int


class _Slots:
    """Any class with slots; where the first two lie is looked up."""

    __slots__ = ("a", "b")


def _word(address: int) -> int:
    return int(ctypes.c_int64.from_address(address).value)


def _find(obj: object, target: int, size: int) -> int:
    """Offset of the only word of `obj` that equals `target`."""
    found = [at for at in range(HEADER, size, 8) if _word(id(obj) + at) == target]
    if len(found) != 1:
        raise RuntimeError(f"the layout of {type(obj).__name__} is unknown")
    return found[0]


@cache
def slot_offset(cls: type, name: str) -> int:
    """Offset of the slot `name` (from `__slots__`) in instances of `cls`.

    >>> slot_offset(_Slots, "a") >= 16
    True
    """
    descriptor: Any = next(c.__dict__[name] for c in cls.__mro__ if name in c.__dict__)
    if type(descriptor).__name__ != "member_descriptor":
        raise TypeError(f"{cls.__name__}.{name} is not a slot")
    instance: Any = object.__new__(cls)
    marker = object()
    descriptor.__set__(instance, marker)
    offset = _find(instance, id(marker), cls.__basicsize__)
    descriptor.__delete__(instance)
    if _word(id(instance) + offset) != 0:
        raise RuntimeError(f"the layout of {cls.__name__} is unknown")
    return offset


def capsule_pointer(capsule: Any, name: bytes | None) -> int:
    """The address inside a PyCapsule."""
    read = ctypes.pythonapi.PyCapsule_GetPointer
    read.restype, read.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return int(read(capsule, name) or 0)


def _complex_offset() -> int:
    number = complex(1.5, -2.5)
    pair = (ctypes.c_double * 2).from_address(id(number) + HEADER)
    _expect(tuple(pair) == (1.5, -2.5))
    return HEADER


def _float_offset() -> int:
    number = 1234.5
    _expect(ctypes.c_double.from_address(id(number) + HEADER).value == number)
    return HEADER


def _list_offset() -> int:
    marker = object()
    boxed = [marker]
    _expect(_word(_word(id(boxed) + 24)) == id(marker))
    _expect(_word(id(boxed) + HEADER) == 1)
    return 24


def _tuple_offset() -> int:
    first, second = object(), object()
    boxed = (first, second)
    offset = tuple.__basicsize__
    _expect(_word(id(boxed) + offset) == id(first) and _word(id(boxed) + offset + 8) == id(second))
    _expect(_word(id(boxed) + HEADER) == 2)
    return offset


def _bytes_offset() -> int:
    data = b"an example of some length"
    offset = bytes.__basicsize__ - 1
    _expect(ctypes.string_at(id(data) + offset, len(data)) == data)
    return offset


def _check_type_object() -> None:
    _expect(ctypes.c_uint64.from_address(id(_Slots) + TYPE_FLAGS).value == _Slots.__flags__)
    basicsize = _word(id(_Slots) + 32)
    _expect(basicsize == _Slots.__basicsize__)


def _check_array() -> None:
    array = np.zeros((3, 5), np.float32)
    base = id(array)
    _expect(_word(base + ARRAY_DATA) == array.__array_interface__["data"][0])
    _expect(ctypes.c_int32.from_address(base + ARRAY_NDIM).value == 2)
    dimensions = _word(base + ARRAY_DIMENSIONS)
    _expect((_word(dimensions), _word(dimensions + 8)) == (3, 5))
    strides = _word(base + ARRAY_STRIDES)
    _expect((_word(strides), _word(strides + 8)) == (20, 4))
    _expect(_word(base + ARRAY_DESCR) == id(array.dtype))
    flags = ctypes.c_int32.from_address(base + ARRAY_FLAGS).value
    _expect(flags == array.flags.num)
    noted = ARRAY_BASE, ARRAY_WEAK_LIST, ARRAY_BUFFER_INFO
    _expect(not any(_word(base + at) for at in noted))
    users = array[1:], weakref.ref(array), array.data
    _expect(_word(id(users[0]) + ARRAY_BASE) == base)
    _expect(all(_word(base + at) for at in noted[1:]))
    del users
    handler = _word(base + ARRAY_HANDLER)
    capsule = ctypes.pythonapi.PyCapsule_New
    capsule.restype = ctypes.py_object
    capsule.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    _expect(handler != 0 and _word(handler + 8) == id(type(capsule(1, None, None))))


def _expect(condition: bool) -> None:
    if not condition:
        raise RuntimeError("an object is not laid out as expected")


@cache
def layout() -> Layout:
    """The offsets in this interpreter; RuntimeError where a check fails."""
    _check_type_object()
    _check_array()
    return Layout(
        tuple_items=_tuple_offset(),
        list_items=_list_offset(),
        size=HEADER,
        float_value=_float_offset(),
        complex_value=_complex_offset(),
        bytes_data=_bytes_offset(),
    )


@cache
def supported() -> bool:
    """Whether calls can take the native route in this interpreter.

    `PULLBACK_PYTHON_CALLS=1` forces the Python route.
    """
    plain = (
        sys.implementation.name == "cpython"
        and not sysconfig.get_config_var("Py_GIL_DISABLED")
        and not sysconfig.get_config_var("Py_DEBUG")
        and sys.maxsize > 2**32
        and os.name == "posix"
        and os.environ.get("PULLBACK_PYTHON_CALLS", "0") in ("", "0")
    )
    if not plain:
        return False
    try:
        layout()
        slot_offset(_Slots, "b")
    except (RuntimeError, TypeError, AttributeError):
        return False
    return True
