"""The call path of jitted functions: from `f(x)` in Python to machine code without a Python frame.

A `FastCallable` (the base class of jitted functions) holds entries, one for each signature that
was compiled.  CPython calls it through a vectorcall pointer in the object, which leads to the
native routine of `entry_native.py`; that walks the tables of the entries, and comes back to Python
only when no entry fits.  Where the interpreter cannot be read natively, `__call__` does the same in
Python (`entry_python.py`).

Nothing is compiled for a new signature.  The routine itself is compiled when the first entry is
added, once a process.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import types
from collections.abc import Sequence
from functools import cache
from typing import Any, Final

import numpy as np

from pullback.core.tracebacks import shorten
from pullback.llvm import entry_python, jit
from pullback.llvm.entry_blocks import HANDLER_FUNCTIONS
from pullback.llvm.entry_layout import (
    HEADER,
    TYPE_DEALLOC,
    TYPE_FLAGS,
    TYPE_VECTORCALL,
    Layout,
    capsule_pointer,
    layout,
    slot_offset,
    supported,
)
from pullback.llvm.entry_native import CallableLayout, support_module
from pullback.llvm.entry_objects import ArrayLayout
from pullback.llvm.entry_spec import (
    EntrySpec,
    LeafSpec,
    Node,
    OutputSpec,
    array_leaf,
    constant_output,
    encode,
    fresh_output,
    input_output,
    ndarray_leaf,
    numpy_scalar_leaf,
    scalar_leaf,
)
from pullback.llvm.pool_text import EXPORTS as POOL_EXPORTS

__all__ = [
    "Entry",
    "EntrySpec",
    "FastCallable",
    "LeafSpec",
    "Node",
    "OutputSpec",
    "array_leaf",
    "cached_bytes",
    "constant_output",
    "fresh_output",
    "input_output",
    "make_entry",
    "native_module",
    "ndarray_leaf",
    "new_buffer",
    "numpy_scalar_leaf",
    "scalar_leaf",
    "set_cache_limit",
    "trim_memory",
    "use_again",
]

VECTORCALL_AT: Final = HEADER
HINT_AT: Final = HEADER + 8
NATIVE_SIZE: Final = HEADER + 16
"""Instances of FastCallable start with two words that Python does not see."""

HAVE_VECTORCALL: Final = 1 << 11
METHOD_DESCRIPTOR: Final = 1 << 17
BASE_TYPE_FLAGS: Final = (1 << 10) | (1 << 18)

NEW_FROM_DESCR: Final = 94
SET_HANDLER: Final = 304
"""Indices of PyArray_NewFromDescr and PyDataMem_SetHandler in NumPy's table of functions, fixed by
its binary interface."""


# ------------------------------------------------------------------------------------- base class


class _TypeSpec(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("basicsize", ctypes.c_int),
        ("itemsize", ctypes.c_int),
        ("flags", ctypes.c_uint),
        ("slots", ctypes.c_void_p),
    ]


def _native_base() -> type:
    """A class whose instances have two words for the native routine, or `object`."""
    if not supported():
        return object
    no_slots = (ctypes.c_void_p * 2)(0, 0)
    spec = _TypeSpec(
        b"pullback.llvm.entry.NativeBase",
        NATIVE_SIZE,
        0,
        BASE_TYPE_FLAGS,
        ctypes.addressof(no_slots),
    )
    make = ctypes.pythonapi.PyType_FromSpec
    make.restype, make.argtypes = ctypes.py_object, [ctypes.c_void_p]
    made: type = make(ctypes.addressof(spec))
    return made


_Base: Any = _native_base()


class Entry:
    """One signature with its compiled program.  Made by `make_entry`."""

    __slots__ = ("__weakref__", "_objects", "_table", "spec")

    _table: bytes | None

    def __init__(self, spec: EntrySpec, table: bytes | None, objects: list[Any]) -> None:
        self.spec, self._table, self._objects = spec, table, objects

    @property
    def native(self) -> bool:
        """Whether calls through this entry take the native route."""
        return self._table is not None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call through the Python route, whatever `active` holds.

        Raises TypeError where the arguments do not fit.
        """
        result = entry_python.call(self.spec, args, kwargs, gated=False)
        if result is entry_python.MISSED:
            raise TypeError("the arguments do not fit this entry")
        return result


class FastCallable(_Base):  # type: ignore[misc]
    """Base class of jitted functions.

    A call goes to the entry that fits the arguments, and otherwise to `_miss`, which subclasses
    define.  In a class body, instances behave as methods.

    >>> class Example(FastCallable):
    ...     def _miss(self, *args, **kwargs):
    ...         return "missed", args
    >>> Example()(1)
    ('missed', (1,))
    """

    __slots__ = ("_entries",)

    _entries: tuple[Entry, ...]

    def __new__(cls, *_args: Any, **_kwargs: Any) -> Any:
        made = _Base.__new__(cls)
        made._entries = ()
        return made

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        _enable_vectorcall(cls)

    def _miss(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} has no _miss")

    def _slow_call(self, *args: Any, **kwargs: Any) -> Any:
        """No native entry fits: the entries of the Python route, then `_miss`."""
        try:
            return self._python_call([e for e in self._entries if not e.native], args, kwargs)
        except Exception as error:
            shorten(error)
            raise

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        # CPython comes here only while the vectorcall pointer is null, or for `f.__call__(x)`.
        try:
            return self._python_call(self._entries, args, kwargs)
        except Exception as error:
            shorten(error)
            raise

    def _python_call(
        self, entries: Sequence[Entry], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        for entry in entries:
            result = entry_python.call(entry.spec, args, kwargs)
            if result is not entry_python.MISSED:
                return result
        return self._miss(*args, **kwargs)

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else types.MethodType(self, instance)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The entries, the newest first."""
        return self._entries

    def add_entry(self, entry: Entry) -> None:
        """Try `entry` first from now on."""
        self._entries = (entry, *self._entries)
        if entry.native:
            _attach(self)

    def remove_entry(self, entry: Entry) -> None:
        """Forget one entry; ValueError where it is not there."""
        if entry not in self._entries:
            raise ValueError("no such entry")
        self._entries = tuple(e for e in self._entries if e is not entry)

    def clear_entries(self) -> None:
        """Forget all entries.  Calls that are under way finish with the entry they have."""
        self._entries = ()


def _enable_vectorcall(cls: type) -> None:
    """Let CPython call instances of `cls` through their own pointer, and bind them as methods."""
    if _Base is object or cls.__call__ is not FastCallable.__call__:
        return
    ctypes.c_ssize_t.from_address(id(cls) + TYPE_VECTORCALL).value = VECTORCALL_AT
    flags = ctypes.c_ulong.from_address(id(cls) + TYPE_FLAGS)
    flags.value |= HAVE_VECTORCALL
    if cls.__get__ is FastCallable.__get__:  # type: ignore[attr-defined]
        flags.value |= METHOD_DESCRIPTOR
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(cls))


_enable_vectorcall(FastCallable)


def _attach(callable_: FastCallable) -> None:
    support = _support()
    ctypes.c_int64.from_address(id(callable_) + HINT_AT).value = 0
    ctypes.c_void_p.from_address(id(callable_) + VECTORCALL_AT).value = support.call


def make_entry(spec: EntrySpec) -> Entry:
    """An entry for `FastCallable.add_entry`; takes the native route where it can.

    Raises ValueError for a specification that contradicts itself.
    """
    if not supported():
        return Entry(spec, None, [])
    try:
        table, objects = encode(spec)
    except TypeError:
        return Entry(spec, None, [])
    return Entry(spec, table, objects)


# ---------------------------------------------------------------------------------- native routine


_array_class: list[type] = []
"""The class of arrays, once somebody has said which it is."""


def use_again(cls: type) -> None:
    """Let instances of `cls`, the class of arrays, be used again by the native route.

    Its slots are `aval`, `_data` and `__weakref__`. To be called before the first entry is added.
    """
    _array_class[:] = [cls]


def _own_the_end(cls: type, function: int) -> None:
    """Put `function` in the place of CPython's for the end of an instance."""
    place = ctypes.c_void_p.from_address(id(cls) + TYPE_DEALLOC)
    plain = ctypes.c_void_p.from_address(id(Entry) + TYPE_DEALLOC)
    if place.value == plain.value and plain.value is not None:
        place.value = function


def _array_layout(cls: type) -> ArrayLayout:
    return ArrayLayout(slot_offset(cls, "aval"), slot_offset(cls, "_data"), cls.__weakrefoffset__)


def _support_text(
    found: Layout, places: CallableLayout, arrays: ArrayLayout
) -> tuple[str, list[str]]:
    module = support_module(found, places, arrays)
    return module.text(), module.undefined


class _Support:
    """The support module in memory.  Lives until the process ends: arrays are freed through it."""

    def __init__(self) -> None:
        self.handler_struct, self.handler = _numpy_handler()
        self.slow_call_name = "_slow_call"
        self.no_exception_text = ctypes.create_string_buffer(
            b"a program failed, but no exception was raised"
        )
        places = CallableLayout(slot_offset(FastCallable, "_entries"), HINT_AT, _table_slot())
        arrays = _array_layout(_array_class[0])
        made = jit.stored_object(
            lambda: _support_text(layout(), places, arrays),
            name="pullback_call_path",
            variant=(layout(), places, arrays, sys.version, np.__version__),
        )
        symbols = {name: self.symbol(name) for name in made.symbols}
        exports = ["pb_call", "pb_block_alloc", "pb_block_free", "pb_blocks_trim"]
        exports += ["pb_array_dealloc"]
        exports += ["pb_cache_limit", "pb_cached_bytes", *HANDLER_FUNCTIONS, *POOL_EXPORTS]
        self.module = jit.load(made.code, symbols, exports=exports)
        self.call = self.module.address("pb_call")
        self.connect_numpy()
        _own_the_end(_array_class[0], self.module.address("pb_array_dealloc"))
        self.limit.value = _default_cache_limit()
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self))

    def symbol(self, name: str) -> int:
        ours = {
            "pb_numpy_handler": id(self.handler),
            "pb_array_class": id(_array_class[0]),
            "pb_slow_call_name": id(self.slow_call_name),
            "pb_no_exception_text": ctypes.addressof(self.no_exception_text),
            **_object_addresses(),
        }
        if name in ours:
            return ours[name]
        if name.startswith(("Py", "_Py")):
            return int(ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value or 0)
        return jit.process_address(name)

    def connect_numpy(self) -> None:
        """Fill in NumPy's allocator structure: context, malloc, calloc, realloc, free."""
        functions = (ctypes.c_void_p * 5).from_buffer(self.handler_struct, 128)
        for index, name in enumerate(HANDLER_FUNCTIONS):
            functions[index + 1] = self.module.address(name)

    @property
    def limit(self) -> ctypes.c_int64:
        return ctypes.c_int64.from_address(self.module.address("pb_cache_limit"))

    @property
    def cached(self) -> ctypes.c_int64:
        return ctypes.c_int64.from_address(self.module.address("pb_cached_bytes"))


def _table_slot() -> int:
    return slot_offset(Entry, "_table")


def _object_addresses() -> dict[str, int]:
    """Objects of the interpreter by the names of their C variables."""
    types_ = {
        "Float": float,
        "Long": int,
        "Bool": bool,
        "Complex": complex,
        "Unicode": str,
        "Bytes": bytes,
        "Tuple": tuple,
        "List": list,
        "Dict": dict,
        "Array": np.ndarray,
    }
    addresses = {f"Py{name}_Type": id(cls) for name, cls in types_.items()}
    addresses |= {"_Py_NoneStruct": id(None), "_Py_TrueStruct": id(True)}
    addresses["PyArray_NewFromDescr"] = _numpy_function(NEW_FROM_DESCR)
    return addresses


def _numpy_function(index: int) -> int:
    capsule = np._core._multiarray_umath._ARRAY_API  # type: ignore[attr-defined]
    table = capsule_pointer(capsule, None)
    return int(ctypes.c_void_p.from_address(table + 8 * index).value or 0)


def _numpy_handler() -> tuple[Any, Any]:
    """A memory handler of NEP 49: a name of 127 bytes, a version, an allocator; and its capsule."""
    struct = ctypes.create_string_buffer(128 + 5 * 8)
    struct.raw = b"pullback".ljust(127, b"\0") + b"\1" + bytes(40)
    make = ctypes.pythonapi.PyCapsule_New
    make.restype = ctypes.py_object
    make.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    name = ctypes.create_string_buffer(b"mem_handler")
    capsule = make(ctypes.addressof(struct), ctypes.cast(name, ctypes.c_char_p), None)
    _immortal.extend((struct, name, capsule))
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(struct))
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(name))
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(capsule))
    return struct, capsule


_immortal: list[Any] = []
_support_lock = threading.Lock()


@cache
def _make_support() -> _Support:
    return _Support()


def _support() -> _Support:
    with _support_lock:
        return _make_support()


@cache
def _set_handler() -> Any:
    """`PyDataMem_SetHandler`: who allocates for arrays that this thread makes; what was before."""
    return ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object)(_numpy_function(SET_HANDLER))


def new_buffer(shape: tuple[int, ...], dtype: Any) -> np.ndarray[Any, Any]:
    """An array that nothing was written to, as programs allocate their results.

    Its memory begins at a multiple of 64 bytes, so that no vector lies across two cache lines, and
    goes back to the pool.

    >>> new_buffer((2, 300), np.float32).ctypes.data % 64
    0
    """
    if not supported():
        return np.empty(shape, dtype)
    before = _set_handler()(_support().handler)
    try:
        return np.empty(shape, dtype)
    finally:
        _set_handler()(before)


def native_module() -> jit.LoadedModule | None:
    """The module of the call path and the thread pool; None where calls take the Python route."""
    return _support().module if supported() else None


def _default_cache_limit() -> int:
    """An eighth of the memory, at most 1 GiB."""
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return min(1 << 30, pages * size // 8)


def set_cache_limit(nbytes: int) -> None:
    """Keep at most `nbytes` of freed output memory for reuse."""
    if supported():
        _support().limit.value = nbytes


def cached_bytes() -> int:
    """Bytes of freed output memory that are kept for reuse."""
    return int(_support().cached.value) if supported() else 0


def trim_memory() -> None:
    """Give the memory that is kept for reuse back to the system."""
    if supported():
        ctypes.PYFUNCTYPE(None)(_support().module.address("pb_blocks_trim"))()
