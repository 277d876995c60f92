"""Array objects of results, which are used again: part of the module of `entry_native.py`.

An array is two objects of Python's, ours and the NumPy array around its memory, and a loop makes
and drops as many at each turn.  Those that die are kept, ours together with NumPy's if nobody else
refers to that, by the number of axes; so that a result costs a few words to fill in.  Their memory
goes back to the lists of `entry_blocks.py` at once.

The class of arrays gets a function of ours for the end of an instance, which does what CPython's
does for such a class.  Everything in this file runs with the GIL held.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Final

from pullback.llvm.entry_ir import FALSE, NULL, TRUE, Function, Module, Value, i64
from pullback.llvm.entry_layout import (
    ARRAY_BASE,
    ARRAY_BUFFER_INFO,
    ARRAY_DATA,
    ARRAY_DESCR,
    ARRAY_DIMENSIONS,
    ARRAY_FLAGS,
    ARRAY_HANDLER,
    ARRAY_NDIM,
    ARRAY_STRIDES,
    ARRAY_WEAK_LIST,
)

__all__ = ["OWNS_DATA", "ArrayLayout", "decref", "incref", "write_objects"]

OWNS_DATA: Final = 0x4
MOST_AXES: Final = 7
BARE: Final = MOST_AXES + 1
"""The list of objects of ours without one of NumPy's."""
KEPT: Final = 2048
"""How many objects are kept at most, of a quarter of a kilobyte each."""

PLAIN_COUNTS: Final = sys.version_info < (3, 12) and not hasattr(sys, "gettotalrefcount")
"""Whether reference counts are plain words at the start of objects: none is immortal, or traced."""


@dataclass(frozen=True)
class ArrayLayout:
    """Offsets in instances of the class of arrays, whose address is `pb_array_class`."""

    aval: int
    data: int
    weak_list: int


def incref(f: Function, obj: Value) -> None:
    """Take a reference."""
    if PLAIN_COUNTS:
        f.store(f.op("add", f.load("i64", obj), 1), obj)
    else:
        f.call("void", "Py_IncRef", obj)


def decref(f: Function, obj: Value) -> None:
    """Give a reference back."""
    if not PLAIN_COUNTS:
        f.call("void", "Py_DecRef", obj)
        return
    left = f.op("sub", f.load("i64", obj), 1)
    f.store(left, obj)
    with f.when(f.compare("eq", left, 0)):
        f.call("void", "_Py_Dealloc", obj)


def write_objects(m: Module, places: ArrayLayout) -> None:
    """Add `pb_array_again`, `pb_array_bare` and `pb_array_dealloc`."""
    m.variable("pb_kept_objects", f"[{BARE + 1} x ptr]")
    m.variable("pb_kept_count", "i64")
    _write_take(m, places)
    _write_again(m, places)
    _write_bare(m)
    _write_is_ours(m)
    _write_dealloc(m, places)


def _count(f: Function, change: int) -> None:
    count = Value("ptr", "@pb_kept_count")
    f.store(f.op("add", f.load("i64", count), change), count)


def _list(f: Function, number: Value | int) -> Value:
    return f.item(Value("ptr", "@pb_kept_objects"), number)


def _write_take(m: Module, places: ArrayLayout) -> None:
    """`ptr pb_array_take(i64 number)`: an object from a list, or null; its aval is not set.

    Objects in lists are linked by the slot of the aval, and keep their reference to the class.
    """
    f = m.function("pb_array_take", "ptr", "i64")
    head = _list(f, f.parameters[0])
    obj = f.load("ptr", head)
    with f.when(f.is_null(obj)):
        f.ret(NULL)
    f.store(f.load("ptr", obj, places.aval), head)
    f.store(NULL, obj, places.aval)
    _count(f, -1)
    f.call("void", "_Py_NewReference", obj)
    f.ret(obj)


def _write_again(m: Module, places: ArrayLayout) -> None:
    """`ptr pb_array_again(table, record, block)`: an array around a block, or null if none is kept.

    Takes the block over.
    """
    f = m.function("pb_array_again", "ptr", "ptr", "ptr", "ptr")
    table, record, block = f.parameters
    ndim = f.load("i64", record, 24)
    with f.when(f.compare("ugt", ndim, MOST_AXES)):
        f.ret(NULL)
    obj = f.call("ptr", "pb_array_take", ndim)
    with f.when(f.is_null(obj)):
        f.ret(NULL)
    array = f.load("ptr", obj, places.data)
    lengths = f.at(table, f.load("i64", record, 32))
    steps = f.item(lengths, ndim)
    dimensions, strides = (f.load("ptr", array, at) for at in (ARRAY_DIMENSIONS, ARRAY_STRIDES))
    with f.loop(ndim) as axis:
        f.store(f.load("i64", f.item(lengths, axis)), f.item(dimensions, axis))
        f.store(f.load("i64", f.item(steps, axis)), f.item(strides, axis))
    f.store(f.convert("trunc", f.load("i64", record, 56), "i32"), array, ARRAY_FLAGS)
    f.store(block, array, ARRAY_DATA)
    descr, before = f.load("ptr", record, 16), f.load("ptr", array, ARRAY_DESCR)
    with f.when(f.compare("ne", descr, before)):
        incref(f, descr)
        f.store(descr, array, ARRAY_DESCR)
        decref(f, before)
    aval = f.load("ptr", record, 8)
    incref(f, aval)
    f.store(aval, obj, places.aval)
    f.call("void", "PyObject_GC_Track", obj)
    f.ret(obj)


def _write_bare(m: Module) -> None:
    """`ptr pb_array_bare(cls)`: an instance with empty slots, of any class; or null."""
    f = m.function("pb_array_bare", "ptr", "ptr")
    (cls,) = f.parameters
    with f.when(f.compare("eq", cls, m.external("pb_array_class"))):
        obj = f.call("ptr", "pb_array_take", i64(BARE))
        with f.when(f.compare("ne", obj, NULL)):
            f.call("void", "PyObject_GC_Track", obj)
            f.ret(obj)
    f.ret(f.call("ptr", "PyType_GenericAlloc", cls, i64(0)))


def _write_is_ours(m: Module) -> None:
    """`i1 pb_is_ours(ndarray)`: an array as `pb_call` makes them, to which nobody else refers."""
    f = m.function("pb_is_ours", "i1", "ptr")
    (array,) = f.parameters
    no = f.new_label()

    def require(condition: Value) -> None:
        f.goto_unless(condition, no)

    require(f.compare("eq", f.load("ptr", array, 8), m.external("PyArray_Type")))
    require(f.compare("eq", f.load("i32", array), 1))
    handler = m.external("pb_numpy_handler")
    require(f.compare("eq", f.load("ptr", array, ARRAY_HANDLER), handler))
    for at in (ARRAY_BASE, ARRAY_WEAK_LIST, ARRAY_BUFFER_INFO):
        require(f.is_null(f.load("ptr", array, at)))
    owned = f.op("and", f.load("i32", array, ARRAY_FLAGS), OWNS_DATA)
    require(f.compare("ne", owned, 0))
    require(f.compare("ule", f.load("i32", array, ARRAY_NDIM), MOST_AXES))
    f.ret(TRUE)
    f.label(no)
    f.ret(FALSE)


def _write_dealloc(m: Module, places: ArrayLayout) -> None:
    """`void pb_array_dealloc(obj)`: the end of an instance of the class, or of a subclass."""
    f = m.function("pb_array_dealloc", "void", "ptr", exported=True)
    (obj,) = f.parameters
    which = f.variable("i64", i64(BARE))
    cls = f.load("ptr", obj, 8)
    f.call("void", "PyObject_GC_UnTrack", obj)
    with f.when(f.compare("ne", f.load("ptr", obj, places.weak_list), NULL)):
        f.call("void", "PyObject_ClearWeakRefs", obj)
    exact = f.compare("eq", cls, m.external("pb_array_class"))
    room = f.compare("slt", f.load("i64", Value("ptr", "@pb_kept_count")), KEPT)
    keep = f.op("and", exact, room)
    data, aval = f.load("ptr", obj, places.data), f.load("ptr", obj, places.aval)
    with f.when(f.compare("ne", data, NULL)):
        gone, done = f.new_label(), f.new_label()
        f.goto_unless(keep, gone)
        f.goto_unless(f.call("i1", "pb_is_ours", data), gone)
        f.call("void", "pb_block_free", f.load("ptr", data, ARRAY_DATA))
        f.store(NULL, data, ARRAY_DATA)
        f.store(f.convert("zext", f.load("i32", data, ARRAY_NDIM), "i64"), which)
        f.goto(done)
        f.label(gone)
        f.store(NULL, obj, places.data)
        decref(f, data)
        f.label(done)
    f.store(NULL, obj, places.aval)
    with f.when(f.compare("ne", aval, NULL)):
        decref(f, aval)
    with f.when(keep):
        head = _list(f, f.load("i64", which))
        f.store(f.load("ptr", head), obj, places.aval)
        f.store(obj, head)
        _count(f, 1)
        f.ret()
    f.call("void", "PyObject_GC_Del", obj)
    decref(f, cls)
    f.ret()
