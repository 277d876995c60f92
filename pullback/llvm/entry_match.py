"""The half of the native call path that looks at the arguments.

`pb_match` walks the records of a signature's table: it finds each object in its container, checks
it, and notes its memory as a parameter of the program.  It takes no references and calls nothing
that could run foreign code, apart from looking up plain keys in dictionaries.
"""

from __future__ import annotations

from typing import Final

from pullback.llvm.entry_ir import NULL, Function, Module, Value, i32
from pullback.llvm.entry_layout import (
    ARRAY_DATA,
    ARRAY_DESCR,
    ARRAY_DIMENSIONS,
    ARRAY_FLAGS,
    ARRAY_NDIM,
    HEADER,
    Layout,
)
from pullback.llvm.entry_spec import Fetch, Header, Kind, Scalar

__all__ = ["CONTIGUOUS_AND_ALIGNED", "region", "type_of", "word", "write_match"]

CONTIGUOUS_AND_ALIGNED: Final = 0x101
RECORD_BYTES: Final = 64
PY_EQ: Final = 2


def word(f: Function, table: Value, name: Header, type: str = "i64") -> Value:
    """A word of the table's header."""
    return f.load(type, table, 8 * name)


def region(f: Function, base: Value, table: Value, name: Header) -> Value:
    """The part of the table or frame whose offset is the word `name`."""
    return f.at(base, word(f, table, name))


def type_of(f: Function, obj: Value) -> Value:
    """The type of a Python object."""
    return f.load("ptr", obj, 8)


def write_match(m: Module, layout: Layout) -> None:
    """Add `pb_match` and `pb_same_layout`."""
    _write_same_layout(m)
    _Match(m, layout)


def _write_same_layout(m: Module) -> None:
    """`i1 pb_same_layout(ndarray, descr, ndim, shape)`: that type, contiguous and aligned."""
    f = m.function("pb_same_layout", "i1", "ptr", "ptr", "i64", "ptr")
    array, descr, ndim, shape = f.parameters
    different = f.new_label()
    f.goto_if(f.compare("ne", f.load("ptr", array, ARRAY_DESCR), descr), different)
    flags = f.op("and", f.load("i32", array, ARRAY_FLAGS), CONTIGUOUS_AND_ALIGNED)
    f.goto_if(f.compare("ne", flags, CONTIGUOUS_AND_ALIGNED), different)
    found = f.convert("sext", f.load("i32", array, ARRAY_NDIM), "i64")
    f.goto_if(f.compare("ne", found, ndim), different)
    dimensions = f.load("ptr", array, ARRAY_DIMENSIONS)
    with f.loop(ndim) as axis:
        expected = f.load("i64", f.item(shape, axis))
        length = f.load("i64", f.item(dimensions, axis))
        f.goto_if(f.compare("ne", length, expected), different)
    f.ret(Value("i1", "true"))
    f.label(different)
    f.ret(Value("i1", "false"))


class _Match:
    """Writes `i1 pb_match(table, frame, args, kwnames)`: whether the arguments fit the table.

    Fills the frame's registers, leaves (borrowed references) and program parameters.
    """

    def __init__(self, m: Module, layout: Layout) -> None:
        self.m, self.layout = m, layout
        self.f = f = m.function("pb_match", "i1", "ptr", "ptr", "ptr", "ptr")
        self.table, self.frame, self.args, self.kwnames = f.parameters
        self.missed, self.next = f.new_label(), f.new_label()
        self.obj = f.variable("ptr", NULL)
        self.leaves = region(f, self.frame, self.table, Header.FRAME_LEAVES)
        self.scalars = region(f, self.frame, self.table, Header.FRAME_SCALARS)
        self.params = region(f, self.frame, self.table, Header.FRAME_PARAMS)
        self.cls = word(f, self.table, Header.ARRAY_TYPE, "ptr")
        self.aval_slot = word(f, self.table, Header.AVAL_SLOT)
        self.data_slot = word(f, self.table, Header.DATA_SLOT)
        f.store(self.args, self.frame)  # register 0: the positional arguments
        self.records = region(f, self.table, self.table, Header.RECORDS_AT)
        self.body()

    def body(self) -> None:
        f = self.f
        with f.loop(word(f, self.table, Header.RECORDS)) as index:
            self.record = f.item(self.records, index, RECORD_BYTES)
            self.fetch()
            self.now = f.load("ptr", self.obj)
            self.check()
        f.ret(Value("i1", "true"))
        f.label(self.missed)
        f.ret(Value("i1", "false"))

    def fetch(self) -> None:
        f, record = self.f, self.record
        source = f.load("ptr", f.item(self.frame, f.load("i64", record, 8)))

        def item() -> None:
            f.store(f.load("ptr", f.item(source, f.load("i64", record, 16))), self.obj)

        def key() -> None:
            found = f.call("ptr", "PyDict_GetItemWithError", source, f.load("ptr", record, 16))
            with f.when(f.is_null(found)):
                f.call("void", "PyErr_Clear")
                f.goto(self.missed)
            f.store(found, self.obj)

        cases = {Fetch.ITEM: item, Fetch.KEY: key, Fetch.KEYWORD: self.keyword}
        f.switch(f.load("i64", record), {int(k): v for k, v in cases.items()}, self.missed)

    def keyword(self) -> None:
        """Keyword names are interned; one that is not misses, and Python compares its text."""
        f = self.f
        name = f.load("ptr", self.record, 16)
        names = f.at(self.kwnames, self.layout.tuple_items)
        values = f.item(self.args, word(f, self.table, Header.ARGS))
        found = f.new_label()
        with f.loop(word(f, self.table, Header.KEYWORDS)) as index:
            f.store(f.load("ptr", f.item(values, index)), self.obj)
            f.goto_if(f.compare("eq", f.load("ptr", f.item(names, index)), name), found)
        f.goto(self.missed)
        f.label(found)

    def check(self) -> None:
        cases = {
            Kind.ARRAY: self.array_leaf,
            Kind.NONE: lambda: self.require_is(self.now, self.m.external("_Py_NoneStruct")),
            Kind.TUPLE: lambda: self.sequence("PyTuple_Type"),
            Kind.LIST: lambda: self.sequence("PyList_Type"),
            Kind.DICT: self.dict_node,
            Kind.STATIC: self.static_node,
            Kind.FLOAT: self.float_leaf,
            Kind.INT: self.int_leaf,
            Kind.BOOL: self.bool_leaf,
            Kind.COMPLEX: self.complex_leaf,
            Kind.NDARRAY: self.ndarray_leaf,
            Kind.NUMPY_SCALAR: self.numpy_scalar,
        }
        self.f.switch(
            self.f.load("i64", self.record, 24), {int(k): v for k, v in cases.items()}, self.missed
        )

    def require(self, condition: Value) -> None:
        self.f.goto_unless(condition, self.missed)

    def require_is(self, found: Value, expected: Value) -> None:
        self.require(self.f.compare("eq", found, expected))

    def require_type(self, name: str) -> None:
        self.require_is(type_of(self.f, self.now), self.m.external(name))

    def expected(self, type: str = "ptr") -> Value:
        return self.f.load(type, self.record, 32)

    def accept(self, pointer: Value) -> None:
        """Note the object as a leaf, and its memory as the parameter that it is, if any."""
        f = self.f
        f.store(self.now, f.item(self.leaves, f.load("i64", self.record, 48)))
        slot = f.load("i64", self.record, 56)
        with f.when(f.compare("sge", slot, 0)):
            f.store(pointer, f.item(self.params, slot))

    def array_leaf(self) -> None:
        f = self.f
        self.require_is(type_of(f, self.now), self.cls)
        self.require_is(f.load("ptr", self.now, self.aval_slot), self.expected())
        data = f.load("ptr", self.now, self.data_slot)
        self.require(f.compare("ne", data, NULL))
        self.require_is(type_of(f, data), self.m.external("PyArray_Type"))
        self.accept(f.load("ptr", data, ARRAY_DATA))

    def sequence(self, name: str) -> None:
        f = self.f
        self.require_type(name)
        self.require(
            f.compare("eq", f.load("i64", self.now, self.layout.size), self.expected("i64"))
        )
        if name == "PyTuple_Type":
            items = f.at(self.now, self.layout.tuple_items)
        else:
            items = f.load("ptr", self.now, self.layout.list_items)
        f.store(items, f.item(self.frame, f.load("i64", self.record, 40)))

    def dict_node(self) -> None:
        f = self.f
        self.require_type("PyDict_Type")
        size = f.call("i64", "PyDict_Size", self.now)
        self.require(f.compare("eq", size, self.expected("i64")))
        f.store(self.now, f.item(self.frame, f.load("i64", self.record, 40)))

    def static_node(self) -> None:
        """The same object; or an equal one, of types whose comparison runs no foreign code."""
        f, m = self.f, self.m
        accepted = f.new_label()
        expected = self.expected()
        f.goto_if(f.compare("eq", self.now, expected), accepted)
        cls = type_of(f, self.now)
        self.require_is(cls, type_of(f, expected))
        plain = [f.compare("eq", cls, m.external(n)) for n in ("PyLong_Type", "PyUnicode_Type")]
        self.require(f.op("or", plain[0], plain[1]))
        equal = f.call("i32", "PyObject_RichCompareBool", self.now, expected, i32(PY_EQ))
        self.require(f.compare("eq", equal, 1))
        f.label(accepted)

    def scalar_buffer(self) -> Value:
        return self.f.item(self.scalars, self.f.load("i64", self.record, 48), 16)

    def float_leaf(self) -> None:
        f = self.f
        self.require_type("PyFloat_Type")
        buffer = self.scalar_buffer()
        number = f.load("double", self.now, self.layout.float_value)
        self.real(number, f.compare("eq", f.load("i64", self.record, 40), Scalar.F32), buffer)
        self.accept(buffer)

    def real(self, number: Value, narrow: Value, buffer: Value, index: int = 0) -> None:
        """Store a float in one of two widths; the wide store comes first, where it does no harm."""
        f = self.f
        wide, done = f.new_label(), f.new_label()
        f.goto_unless(narrow, wide)
        f.store(f.convert("fptrunc", number, "float"), buffer, 4 * index)
        f.goto(done)
        f.label(wide)
        f.store(number, buffer, 8 * index)
        f.label(done)

    def complex_leaf(self) -> None:
        f = self.f
        self.require_type("PyComplex_Type")
        buffer = self.scalar_buffer()
        narrow = f.compare("eq", f.load("i64", self.record, 40), Scalar.C64)
        for index in range(2):
            part = f.load("double", self.now, self.layout.complex_value + 8 * index)
            self.real(part, narrow, buffer, index)
        self.accept(buffer)

    def int_leaf(self) -> None:
        f = self.f
        self.require_type("PyLong_Type")
        buffer = self.scalar_buffer()
        overflow = f.variable("i32", i32(0))
        number = f.call("i64", "PyLong_AsLongLongAndOverflow", self.now, overflow)
        self.require(f.compare("eq", f.load("i32", overflow), 0))
        low = f.convert("sext", f.convert("trunc", number, "i32"), "i64")
        narrow = f.compare("eq", f.load("i64", self.record, 40), Scalar.I32)
        fits = f.compare("eq", low, number)
        self.require(f.select(narrow, fits, Value("i1", "true")))
        f.store(number, buffer)  # little-endian: the low half comes first
        self.accept(buffer)

    def bool_leaf(self) -> None:
        f = self.f
        self.require_type("PyBool_Type")
        buffer = self.scalar_buffer()
        truth = f.compare("eq", self.now, self.m.external("_Py_TrueStruct"))
        f.store(f.convert("zext", truth, "i8"), buffer)
        self.accept(buffer)

    def ndarray_leaf(self) -> None:
        f = self.f
        self.require_type("PyArray_Type")
        expected = f.at(self.table, f.load("i64", self.record, 40))
        same = f.call(
            "i1",
            "pb_same_layout",
            self.now,
            self.expected(),
            f.load("i64", expected),
            f.at(expected, 8),
        )
        self.require(same)
        self.accept(f.load("ptr", self.now, ARRAY_DATA))

    def numpy_scalar(self) -> None:
        self.require_is(type_of(self.f, self.now), self.expected())
        self.accept(self.f.at(self.now, HEADER))
