"""Text to machine code: compilation, external symbols, memory, threads, errors."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from pullback.errors import LoweringError
from pullback.llvm import jit

CALLS_FAR = """
declare double @far(double)
@table = internal constant [2 x double] [double 10.0, double 20.0]
define internal double @twice(double %x) alwaysinline nounwind {
  %y = fadd double %x, %x
  ret double %y
}
define double @run(double %x, i64 %i) nounwind {
  %y = call double @far(double %x)
  %z = call double @twice(double %y)
  %p = getelementptr double, ptr @table, i64 %i
  %c = load double, ptr %p
  %r = fadd double %z, %c
  ret double %r
}
"""


def resident_kilobytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4


def test_external_symbol_at_any_distance() -> None:
    made = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)(lambda x: x + 0.5)
    address = ctypes.cast(made, ctypes.c_void_p).value
    assert address is not None
    module = jit.load(jit.compile_object(CALLS_FAR, name="far"), {"far": address})
    run = module.function("run", ctypes.c_double, ctypes.c_double, ctypes.c_int64)
    assert run(1.0, 1) == 23.0


def test_library_function_by_address() -> None:
    code = jit.compile_object(CALLS_FAR, name="far")
    module = jit.load(code, {"far": jit.process_address("cos")}, exports=["run"])
    run = module.function("run", ctypes.c_double, ctypes.c_double, ctypes.c_int64)
    assert run(0.0, 0) == 12.0


def test_several_objects_call_each_other() -> None:
    first = jit.compile_object(
        "declare i32 @b(i32)\ndefine i32 @a(i32 %x) {\n %y = call i32 @b(i32 %x)\n ret i32 %y\n}",
        name="a",
    )
    second = jit.compile_object(
        "define i32 @b(i32 %x) {\n %y = add i32 %x, 1\n ret i32 %y\n}", name="b"
    )
    assert jit.load([first, second], {}).function("a", ctypes.c_int32, ctypes.c_int32)(41) == 42


def test_two_modules_may_use_the_same_names() -> None:
    texts = [f"define i32 @f() {{ ret i32 {i} }}" for i in range(2)]
    modules = [jit.load(jit.compile_object(t, name="f"), {}) for t in texts]
    assert [m.function("f", ctypes.c_int32)() for m in modules] == [0, 1]


def test_address_of_unknown_name() -> None:
    module = jit.load(jit.compile_object("define i32 @f() { ret i32 0 }", name="f"), {})
    with pytest.raises(KeyError, match="nothere"):
        module.address("nothere")


@pytest.mark.parametrize(
    ("text", "message"),
    [("define i32 @f() { ret i64 1 }", "line 1"), ("define i32 @f( {", "LLVM refuses")],
)
def test_bad_text_names_the_line(text: str, message: str) -> None:
    with pytest.raises(LoweringError, match=message):
        jit.compile_object(text, name="bad")


def test_missing_symbol_is_an_error() -> None:
    text = "declare i32 @missing()\ndefine i32 @f() {\n %r = call i32 @missing()\n ret i32 %r\n}"
    with pytest.raises((LoweringError, KeyError)):
        jit.load(jit.compile_object(text, name="f"), {}, exports=["f"])


def test_copies_need_no_symbol() -> None:
    text = (
        "declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)\n"
        "define void @f(ptr %a, ptr %b, i64 %n) {\n"
        " call void @llvm.memcpy.p0.p0.i64(ptr %a, ptr %b, i64 %n, i1 false)\n ret void\n}"
    )
    module = jit.load(jit.compile_object(text, name="f"), {})
    kinds = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)
    target = ctypes.create_string_buffer(1000)
    source = ctypes.create_string_buffer(b"x" * 999)
    module.function("f", None, *kinds)(ctypes.addressof(target), ctypes.addressof(source), 1000)
    assert target.raw == source.raw


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
def test_code_is_freed() -> None:
    code = jit.compile_object(CALLS_FAR, name="far")
    symbols = {"far": jit.process_address("cos")}

    def churn(count: int) -> None:
        for _ in range(count):
            jit.load(code, symbols).address("run")

    churn(200)
    before = resident_kilobytes()
    churn(1000)
    assert resident_kilobytes() - before < 1500


def test_module_outlives_its_session() -> None:
    code = jit.compile_object("define i32 @f() { ret i32 7 }", name="f")
    first = jit.load(code, {})
    run = first.function("f", ctypes.c_int32)
    for _ in range(2 * jit.LOADS_PER_JIT):
        jit.load(code, {})
    assert run() == 7


def test_compile_on_several_threads() -> None:
    results: dict[int, int] = {}

    def work(i: int) -> None:
        code = jit.compile_object(f"define i32 @f() {{ ret i32 {i} }}", name=f"t{i}")
        results[i] = jit.load(code, {}).function("f", ctypes.c_int32)()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {i: i for i in range(8)}


def test_fingerprint_and_width() -> None:
    assert jit.host_cpu() in jit.host_fingerprint()
    assert jit.vector_bits() in (128, 256, 512)


def test_dump(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jit.dump("unasked", ".ll", "text")
    monkeypatch.setenv("PULLBACK_DUMP", str(tmp_path / "d"))
    jit.compile_object("define i32 @f() { ret i32 0 }", name="a/b")
    names = sorted(p.name for p in (tmp_path / "d").iterdir())
    assert all(name.startswith("a_b-") for name in names)
    assert [name.partition(".")[2] for name in names] == ["ll", "opt.ll", "s"]


def test_vectors_as_wide_as_the_machine() -> None:
    lanes = jit.vector_bits() // 32
    text = (
        f"define void @f(ptr %p) {{\n %x = load <{lanes} x float>, ptr %p, align 4\n"
        f" %y = fadd <{lanes} x float> %x, %x\n store <{lanes} x float> %y, ptr %p, align 4\n"
        " ret void\n}"
    )
    assembly = jit.disassemble(text)
    register: Callable[[str], bool] = assembly.__contains__
    assert register({512: "zmm", 256: "ymm", 128: ""}[jit.vector_bits()])
