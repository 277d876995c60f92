"""Text that is written by hand costs LLVM no more than what it says."""

from __future__ import annotations

import ctypes

from pullback.llvm import jit
from pullback.llvm.entry_ir import Module, i64


def test_blocks_of_words_are_written_once() -> None:
    m = Module()
    f = m.function("f", "void", *["i64"] * 40, exported=True)
    f.call("void", "g", f.words(f.parameters))
    f.ret()
    text = jit.disassemble(m.text())
    assert "memset" not in text
    assert "xor" not in text
    assert text.count("mov") < 40 * 2.5


def test_loops_add_up() -> None:
    m = Module()
    f = m.function("total", "i64", "ptr", "i64", "i64", exported=True)
    data, n, stride = f.parameters
    total = f.variable("i64", i64(0))
    with f.loop(n) as i, f.loop(n) as j:
        place = f.item(data, f.op("add", f.op("mul", i, stride), j))
        f.store(f.op("add", f.load("i64", total), f.load("i64", place)), total)
    f.ret(f.load("i64", total))
    loaded = jit.load(jit.compile_object(m.text(), name="total"), {}, exports=["total"])
    types = (ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
    function = loaded.function("total", ctypes.c_int64, *types)
    numbers = (ctypes.c_int64 * 12)(*range(12))
    assert function(ctypes.addressof(numbers), 3, 4) == sum((0, 1, 2, 4, 5, 6, 8, 9, 10))


def test_an_index_that_nobody_needs_costs_nothing() -> None:
    m = Module()
    f = m.function("f", "void", "i64", exported=True)
    with f.loop(f.parameters[0]):
        f.call("void", "g")
    f.ret()
    assert "#APP" not in jit.disassemble(m.text())


def test_a_module_has_a_division_once() -> None:
    m = Module()
    f = m.function("f", "i64", "i64", "i64", exported=True)
    a, b = f.parameters
    quotients = [f.op(name, f.op("add", a, k), b) for name in ("udiv", "urem") for k in range(9)]
    total = quotients[0]
    for quotient in quotients[1:]:
        total = f.op("add", f.op("mul", total, 3), quotient)
    f.ret(f.op("add", total, f.op("udiv", a, 10)))
    assert jit.disassemble(m.text()).count("divq") == 2
    loaded = jit.load(jit.compile_object(m.text(), name="f"), {}, exports=["f"])
    found = loaded.function("f", ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)(1 << 40, 7777)
    parts = [operation((1 << 40) + k, 7777) for operation in (int.__floordiv__, int.__mod__)
             for k in range(9)]  # fmt: skip
    expected = parts[0]
    for part in parts[1:]:
        expected = expected * 3 + part
    assert found == ctypes.c_int64(expected + (1 << 40) // 10).value
