"""The native call path: one routine, written as LLVM text, that walks the table of a signature.

A call of a jitted function arrives at `pb_call` without a Python frame.  It tries the entries of
the callable, the last one that matched first.  `pb_try` checks the arguments against the entry's
table (`entry_spec.py`), allocates the outputs, calls the program and builds the result.  If no
entry matches, the arguments go on to the callable's `_slow_call`.

Because the routine is driven by tables, a new signature needs no code of its own, and the routine
is compiled once a process.
"""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass

from pullback.llvm.entry_blocks import write_blocks
from pullback.llvm.entry_ir import NULL, Module, Value, i32, i64
from pullback.llvm.entry_layout import ARRAY_DATA, ARRAY_FLAGS, ARRAY_HANDLER, Layout
from pullback.llvm.entry_match import CONTIGUOUS_AND_ALIGNED, region, type_of, word, write_match
from pullback.llvm.entry_objects import OWNS_DATA, ArrayLayout, decref, incref, write_objects
from pullback.llvm.entry_spec import Build, Header, Out
from pullback.llvm.pool_text import write_pool

__all__ = ["CallableLayout", "support_module"]

MATCHED, MISSED = i32(0), i32(1)
STACK_FRAME_LIMIT = 16384
OUTPUT_BYTES, STEP_BYTES = 64, 32
VECTORCALL_COUNT = (1 << 63) - 1


@dataclass(frozen=True)
class CallableLayout:
    """Offsets in callables (`_entries`, and the index of the last match) and in entries."""

    entries: int
    hint: int
    table: int


def support_module(layout: Layout, places: CallableLayout, arrays: ArrayLayout) -> Module:
    """The module with `pb_call`, `pb_array_dealloc`, blocks of memory, and the thread pool."""
    m = Module()
    write_pool(m, platform.machine())
    write_blocks(m, huge_pages=sys.platform == "linux")
    write_objects(m, arrays)
    _write_wrap(m)
    _write_new_output(m)
    write_match(m, layout)
    _write_build(m, layout)
    _write_try(m)
    _write_call(m, layout, places)
    return m


# ------------------------------------------------------------------------------------------ outputs


def _write_wrap(m: Module) -> None:
    """`ptr pb_wrap(table, aval, ndarray)`: an array object; takes over the last reference."""
    f = m.function("pb_wrap", "ptr", "ptr", "ptr", "ptr")
    table, aval, data = f.parameters
    cls = word(f, table, Header.ARRAY_TYPE, "ptr")
    made = f.call("ptr", "pb_array_bare", cls)
    with f.when(f.is_null(made)):
        decref(f, data)
        f.ret(NULL)
    incref(f, aval)
    f.store(aval, made, word(f, table, Header.AVAL_SLOT))
    f.store(data, made, word(f, table, Header.DATA_SLOT))
    f.ret(made)


def _write_new_output(m: Module) -> None:
    """`ptr pb_new_output(table, record, ptr data)`: a new array object, its memory at `*data`."""
    f = m.function("pb_new_output", "ptr", "ptr", "ptr", "ptr")
    table, record, data = f.parameters
    block = f.call("ptr", "pb_block_alloc", f.load("i64", record, 40))
    with f.when(f.is_null(block)):
        f.call("ptr", "PyErr_NoMemory")
        f.ret(NULL)
    f.store(block, data)
    cls = word(f, table, Header.ARRAY_TYPE, "ptr")
    with f.when(f.compare("eq", cls, m.external("pb_array_class"))):
        again = f.call("ptr", "pb_array_again", table, record, block)
        with f.when(f.compare("ne", again, NULL)):
            f.ret(again)
    descr = f.load("ptr", record, 16)
    incref(f, descr)  # the next call takes it over, even if it fails
    ndim = f.convert("trunc", f.load("i64", record, 24), "i32")
    shape = f.at(table, f.load("i64", record, 32))
    flags = i32(CONTIGUOUS_AND_ALIGNED)
    array_type = m.external("PyArray_Type")
    made = f.call(
        "ptr", "PyArray_NewFromDescr", array_type, descr, ndim, shape, NULL, block, flags, NULL
    )
    with f.when(f.is_null(made)):
        f.call("void", "pb_block_free", block)
        f.ret(NULL)
    owned = f.op("or", f.load("i32", made, ARRAY_FLAGS), OWNS_DATA)
    f.store(owned, made, ARRAY_FLAGS)
    handler = m.external("pb_numpy_handler")
    incref(f, handler)
    f.store(handler, made, ARRAY_HANDLER)
    f.ret(f.call("ptr", "pb_wrap", table, f.load("ptr", record, 8), made))


# ------------------------------------------------------------------------------------------- result


def _write_build(m: Module, layout: Layout) -> None:
    """`ptr pb_build(table, frame)`: the result, from the frame's objects, which it takes over."""
    f = m.function("pb_build", "ptr", "ptr", "ptr")
    table, frame = f.parameters
    objects = region(f, frame, table, Header.FRAME_OBJECTS)
    stack = region(f, frame, table, Header.FRAME_STACK)
    steps = region(f, table, table, Header.STEPS_AT)
    depth = f.variable("i64", i64(0))
    failed = f.new_label()

    def push(obj: Value) -> None:
        now = f.load("i64", depth)
        f.store(obj, f.item(stack, now))
        f.store(f.op("add", now, 1), depth)

    def pop_base(count: Value) -> Value:
        f.store(f.op("sub", f.load("i64", depth), count), depth)
        return f.item(stack, f.load("i64", depth))

    def leaf(argument: Value) -> None:
        at = f.item(objects, argument)
        push(f.load("ptr", at))
        f.store(NULL, at)

    def borrowed(obj: Value) -> None:
        incref(f, obj)
        push(obj)

    def sequence(maker: str, count: Value) -> None:
        made = f.call("ptr", maker, count)
        f.goto_if(f.is_null(made), failed)
        base = pop_base(count)
        if maker == "PyTuple_New":
            items = f.at(made, layout.tuple_items)
        else:
            items = f.load("ptr", made, layout.list_items)
        with f.loop(count) as index:
            f.store(f.load("ptr", f.item(base, index)), f.item(items, index))
        push(made)

    def dictionary(count: Value, keys: Value, model: Value) -> None:
        made = f.call("ptr", "PyDict_Copy", model)
        f.goto_if(f.is_null(made), failed)
        base = f.item(stack, f.op("sub", f.load("i64", depth), count))
        names = f.at(keys, layout.tuple_items)
        with f.loop(count) as index:
            name, obj = f.load("ptr", f.item(names, index)), f.load("ptr", f.item(base, index))
            status = f.call("i32", "PyDict_SetItem", made, name, obj)
            with f.when(f.compare("ne", status, 0)):
                decref(f, made)
                f.goto(failed)
        base = pop_base(count)
        with f.loop(count) as index:
            decref(f, f.load("ptr", f.item(base, index)))
        push(made)

    with f.loop(word(f, table, Header.STEPS)) as index:
        step = f.item(steps, index, STEP_BYTES)
        argument = f.load("i64", step, 8)
        cases = {
            Build.LEAF: lambda: leaf(argument),
            Build.NONE: lambda: borrowed(m.external("_Py_NoneStruct")),
            Build.TUPLE: lambda: sequence("PyTuple_New", argument),
            Build.LIST: lambda: sequence("PyList_New", argument),
            Build.DICT: lambda: dictionary(
                argument, f.load("ptr", step, 16), f.load("ptr", step, 24)
            ),
            Build.STATIC: lambda: borrowed(f.load("ptr", step, 8)),
        }
        f.switch(f.load("i64", step), {int(k): v for k, v in cases.items()}, failed)
    f.ret(f.load("ptr", stack))
    f.label(failed)
    with f.loop(f.load("i64", depth)) as index:
        decref(f, f.load("ptr", f.item(stack, index)))
    f.ret(NULL)


# --------------------------------------------------------------------------------------------- call


class _Try:
    """Writes `i32 pb_try(table, args, kwnames, ptr result)`.

    MISSED means that nothing happened.  MATCHED means that the call was made: `*result` is a new
    reference, or null with an exception set.
    """

    def __init__(self, m: Module) -> None:
        self.m = m
        self.f = f = m.function("pb_try", "i32", "ptr", "ptr", "ptr", "ptr")
        self.table, self.args, self.kwnames, self.result = f.parameters
        self.block = f.variable("ptr", NULL)
        self.frame = self.make_frame()
        matched = f.call("i1", "pb_match", self.table, self.frame, self.args, self.kwnames)
        with f.when(f.compare("eq", matched, 0)):
            f.call("void", "pb_block_free", f.load("ptr", self.block))
            f.ret(MISSED)
        self.leaves = region(f, self.frame, self.table, Header.FRAME_LEAVES)
        self.params = region(f, self.frame, self.table, Header.FRAME_PARAMS)
        self.outs = region(f, self.frame, self.table, Header.FRAME_OUTS)
        self.objects = region(f, self.frame, self.table, Header.FRAME_OBJECTS)
        self.cleanup = f.new_label()
        self.arena = f.variable("ptr", NULL)
        f.store(NULL, self.result)
        self.hold_inputs()
        self.make_outputs()
        self.run()
        self.delete_inputs()
        self.finish()
        f.label(self.cleanup)
        self.clean()
        f.ret(MATCHED)

    def make_frame(self) -> Value:
        """Scratch memory: on the stack, or a block where there are very many leaves."""
        f = self.f
        size = word(f, self.table, Header.FRAME)
        large = f.compare("ugt", size, STACK_FRAME_LIMIT)
        with f.when(large):
            block = f.call("ptr", "pb_block_alloc", size)
            with f.when(f.is_null(block)):
                f.ret(MISSED)
            f.store(block, self.block)
        on_stack = f.value("ptr", f"alloca i8, {f.select(large, i64(16), size)}, align 16")
        return f.select(large, f.load("ptr", self.block), on_stack)

    def count(self, name: Header) -> Value:
        return word(self.f, self.table, name)

    def hold_inputs(self) -> None:
        """From here on foreign code may run; the arguments' containers cannot be relied upon."""
        f = self.f
        with f.loop(self.count(Header.LEAVES)) as index:
            incref(f, f.load("ptr", f.item(self.leaves, index)))
        constants = self.count(Header.CONSTANTS)
        source = region(f, self.table, self.table, Header.CONSTANTS_AT)
        target = f.item(self.params, self.count(Header.PARAMS))
        with f.loop(constants) as index:
            f.store(f.load("ptr", f.item(source, index)), f.item(target, index))
        with f.loop(self.count(Header.OUTPUTS)) as index:
            f.store(NULL, f.item(self.objects, index))

    def make_outputs(self) -> None:
        """Results with their memory.  Meanwhile the arguments' buffers are counted by a reference
        each, if some are given away: one that came in twice then has more than it should.
        """
        f = self.f
        failed, done = f.new_label(), f.new_label()
        donating = f.compare("ne", self.count(Header.DELETED), 0)
        with f.when(donating):
            self.keep_memory(True)
        self.fill_outputs(failed)
        with f.when(donating):
            self.keep_memory(False)
        f.goto(done)
        f.label(failed)
        with f.when(donating):
            self.keep_memory(False)
        f.goto(self.cleanup)
        f.label(done)

    def fill_outputs(self, failed: str) -> None:
        f = self.f
        records = region(f, self.table, self.table, Header.OUTPUTS_AT)
        fresh = f.variable("i64", i64(0))
        pointer = f.variable("ptr", NULL)
        with f.loop(self.count(Header.OUTPUTS)) as index:
            record = f.item(records, index, OUTPUT_BYTES)
            place = f.item(self.objects, index)

            def note(made: Value, place: Value = place) -> None:
                f.goto_if(f.is_null(made), failed)
                f.store(made, place)
                f.store(f.load("ptr", pointer), f.item(self.outs, f.load("i64", fresh)))
                f.store(f.op("add", f.load("i64", fresh), 1), fresh)

            def new(record: Value = record) -> None:
                note(f.call("ptr", "pb_new_output", self.table, record, pointer))

            def donated(record: Value = record) -> None:
                other, done = f.new_label(), f.new_label()
                note(self.taken_over(record, pointer, other))
                f.goto(done)
                f.label(other)
                new(record)
                f.label(done)

            def shared(data: Value, record: Value = record, place: Value = place) -> None:
                made = self.around(record, data)
                f.goto_if(f.is_null(made), failed)
                f.store(made, place)

            def argument(record: Value = record, place: Value = place) -> None:
                deleted, done = f.new_label(), f.new_label()
                leaf = self.leaf_of(record)
                data = f.load("ptr", leaf, self.count(Header.DATA_SLOT))
                f.goto_if(f.is_null(data), deleted)
                shared(data)
                f.goto(done)
                f.label(deleted)  # by a finalizer, while results were made
                incref(f, leaf)
                f.store(leaf, place)
                f.label(done)

            def constant(record: Value = record) -> None:
                shared(f.load("ptr", record, 16))

            cases = {
                Out.FRESH: new,
                Out.INPUT: argument,
                Out.CONSTANT: constant,
                Out.DONATED: donated,
            }
            f.switch(f.load("i64", record), {int(k): v for k, v in cases.items()}, failed)

    def taken_over(self, record: Value, pointer: Value, other: str) -> Value:
        """A new array object around a donated buffer that nothing but one argument refers to."""
        f = self.f
        array = f.load("ptr", self.leaf_of(record), self.count(Header.DATA_SLOT))
        f.goto_if(f.compare("ne", f.load("i32", array), 2), other)  # and `keep_memory` has one
        owned = f.op("and", f.load("i32", array, ARRAY_FLAGS), OWNS_DATA)
        f.goto_if(f.compare("eq", owned, 0), other)
        shape = f.at(self.table, f.load("i64", record, 32))
        descr, ndim = f.load("ptr", record, 16), f.load("i64", record, 24)
        same = f.call("i1", "pb_same_layout", array, descr, ndim, shape)
        f.goto_unless(same, other)
        data = f.load("ptr", array, ARRAY_DATA)
        f.store(data, pointer)
        return self.around(record, array)

    def leaf_of(self, record: Value) -> Value:
        """The argument that an output is made of."""
        return self.f.load("ptr", self.f.item(self.leaves, self.f.load("i64", record, 48)))

    def around(self, record: Value, data: Value) -> Value:
        """A new array object around a NumPy array that others refer to as well."""
        incref(self.f, data)
        return self.f.call("ptr", "pb_wrap", self.table, self.f.load("ptr", record, 8), data)

    def run(self) -> None:
        f, m = self.f, self.m
        arena_bytes = self.count(Header.ARENA)
        with f.when(f.compare("ne", arena_bytes, 0)):
            block = f.call("ptr", "pb_block_alloc", arena_bytes)
            with f.when(f.is_null(block)):
                f.call("ptr", "PyErr_NoMemory")
                f.goto(self.cleanup)
            f.store(block, self.arena)
        program = word(f, self.table, Header.PROGRAM, "ptr")
        arguments = (self.params, self.outs, f.load("ptr", self.arena))
        status = f.variable("i32", i32(0))
        holding, done = f.new_label(), f.new_label()
        f.goto_if(f.compare("eq", self.count(Header.RELEASE_GIL), 0), holding)
        self.keep_memory(True)
        state = f.call("ptr", "PyEval_SaveThread")
        f.store(f.call("i32", program, *arguments), status)
        f.call("void", "PyEval_RestoreThread", state)
        self.keep_memory(False)
        f.goto(done)
        f.label(holding)
        f.store(f.call("i32", program, *arguments), status)
        f.label(done)
        with f.when(f.compare("ne", f.load("i32", status), 0)):
            f.call("void", "pb_report", self.table, f.load("i32", status))
            # The program may have written to arguments that were given away.
            self.delete_inputs()
            f.goto(self.cleanup)
        _write_report(m)

    def keep_memory(self, hold: bool) -> None:
        """Hold (or let go) the buffers of arrays, which other Python code may delete meanwhile.

        They are noted in the memory for scalars, which leaves that are arrays do not use.
        """
        f = self.f
        places = region(f, self.frame, self.table, Header.FRAME_SCALARS)
        array_type = word(f, self.table, Header.ARRAY_TYPE, "ptr")
        with f.loop(self.count(Header.LEAVES)) as index:
            leaf = f.load("ptr", f.item(self.leaves, index))
            place = f.item(places, index, 16)
            with f.when(f.compare("eq", type_of(f, leaf), array_type)):
                if hold:
                    data = f.load("ptr", leaf, self.count(Header.DATA_SLOT))
                    incref(f, data)
                    f.store(data, place)
                else:
                    decref(f, f.load("ptr", place))

    def delete_inputs(self) -> None:
        f = self.f
        deleted = region(f, self.table, self.table, Header.DELETED_AT)
        with f.loop(self.count(Header.DELETED)) as index:
            leaf = f.load("ptr", f.item(self.leaves, f.load("i64", f.item(deleted, index))))
            place = f.at(leaf, self.count(Header.DATA_SLOT))
            data = f.load("ptr", place)
            with f.when(f.compare("ne", data, NULL)):
                f.store(NULL, place)
                decref(f, data)

    def finish(self) -> None:
        """The result from the table's steps, or from the Python callable `finish`."""
        f = self.f
        call = word(f, self.table, Header.FINISH, "ptr")
        with f.when(f.is_null(call)):
            f.store(f.call("ptr", "pb_build", self.table, self.frame), self.result)
            f.goto(self.cleanup)
        count = self.count(Header.OUTPUTS)
        listed = f.call("ptr", "PyList_New", count)
        f.goto_if(f.is_null(listed), self.cleanup)
        with f.loop(count) as index:
            place = f.item(self.objects, index)
            f.call("i32", "PyList_SetItem", listed, index, f.load("ptr", place))
            f.store(NULL, place)
        f.store(f.call("ptr", "PyObject_CallOneArg", call, listed), self.result)
        decref(f, listed)

    def clean(self) -> None:
        f = self.f
        with f.loop(self.count(Header.OUTPUTS)) as index:
            obj = f.load("ptr", f.item(self.objects, index))
            with f.when(f.compare("ne", obj, NULL)):
                decref(f, obj)
        with f.loop(self.count(Header.LEAVES)) as index:
            decref(f, f.load("ptr", f.item(self.leaves, index)))
        f.call("void", "pb_block_free", f.load("ptr", self.arena))
        f.call("void", "pb_block_free", f.load("ptr", self.block))


def _write_report(m: Module) -> None:
    """`void pb_report(table, status)`: call `on_error`, and see to it that an exception is set."""
    f = m.function("pb_report", "void", "ptr", "i32")
    table, status = f.parameters
    number = f.call("ptr", "PyLong_FromLong", f.convert("sext", status, "i64"))
    with f.when(f.is_null(number)):
        f.ret()
    answer = f.call("ptr", "PyObject_CallOneArg", word(f, table, Header.ON_ERROR, "ptr"), number)
    decref(f, number)
    with f.when(f.compare("ne", answer, NULL)):
        decref(f, answer)
        cls = f.load("ptr", m.external("PyExc_SystemError"))
        f.call("void", "PyErr_SetString", cls, m.external("pb_no_exception_text"))
    f.ret()


def _write_try(m: Module) -> None:
    _Try(m)


def _write_call(m: Module, layout: Layout, places: CallableLayout) -> None:
    """`ptr pb_call(self, args, nargsf, kwnames)`: the vectorcall function of jitted callables."""
    f = m.function("pb_call", "ptr", "ptr", "ptr", "i64", "ptr", exported=True)
    callable_, args, nargsf, kwnames = f.parameters
    missed = f.new_label()
    result = f.variable("ptr", NULL)
    keywords = f.variable("i64", i64(0))
    entries = f.load("ptr", callable_, places.entries)
    f.goto_if(f.is_null(entries), missed)
    f.goto_if(f.compare("ne", type_of(f, entries), m.external("PyTuple_Type")), missed)
    count = f.load("i64", entries, layout.size)
    positional = f.op("and", nargsf, VECTORCALL_COUNT)
    with f.when(f.compare("ne", kwnames, NULL)):
        f.store(f.load("i64", kwnames, layout.size), keywords)
    named = f.load("i64", keywords)
    hint = f.load("i64", callable_, places.hint)
    first = f.select(f.compare("ult", hint, count), hint, i64(0))
    incref(f, entries)  # keeps the entries alive while one of them is tried
    with f.loop(count) as index:
        again = f.new_label()
        turn = f.op("add", first, index)
        wrapped = f.op("sub", turn, count)
        at = f.select(f.compare("slt", turn, count), turn, wrapped)
        entry = f.load("ptr", f.at(entries, layout.tuple_items), f.op("mul", at, 8))
        table_object = f.load("ptr", entry, places.table)
        is_table = f.compare("eq", type_of(f, table_object), m.external("PyBytes_Type"))
        f.goto_unless(is_table, again)
        table = f.at(table_object, layout.bytes_data)
        f.goto_if(f.compare("ne", word(f, table, Header.ARGS), positional), again)
        f.goto_if(f.compare("ne", word(f, table, Header.KEYWORDS), named), again)
        active = word(f, table, Header.ACTIVE, "ptr")
        f.goto_if(f.compare("ne", f.load("i64", active, layout.size), 0), again)
        outcome = f.call("i32", "pb_try", table, args, kwnames, result)
        f.goto_if(f.compare("ne", outcome, 0), again)
        f.store(at, callable_, places.hint)
        decref(f, entries)
        f.ret(f.load("ptr", result))
        f.label(again)
    decref(f, entries)
    f.label(missed)
    method = f.call("ptr", "PyObject_GetAttr", callable_, m.external("pb_slow_call_name"))
    with f.when(f.is_null(method)):
        f.ret(NULL)
    answer = f.call("ptr", "PyObject_Vectorcall", method, args, nargsf, kwnames)
    decref(f, method)
    f.ret(answer)
