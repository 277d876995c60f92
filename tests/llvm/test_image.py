"""Images: objects linked by ourselves, as bytes and in memory."""

from __future__ import annotations

import ctypes
import gc
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from pullback.errors import LoweringError
from pullback.llvm import image, jit

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64", reason="for ELF and x86-64"
)

MODULE = """
@written = global i64 5
@table = internal constant [2 x ptr] [ptr @one, ptr @two]
@pointers = global [2 x ptr] [ptr @written, ptr @two]
@zeros = internal global [100 x i64] zeroinitializer
@far_data = external global i64
declare i64 @far(i64)
define internal i64 @one(i64 %x) {
  %y = call i64 @far(i64 %x)
  ret i64 %y
}
define i64 @two(i64 %x) {
  %y = mul i64 %x, 2
  ret i64 %y
}
define i64 @run(i64 %which, i64 %x) {
  %p = getelementptr ptr, ptr @table, i64 %which
  %f = load ptr, ptr %p
  %y = call i64 %f(i64 %x)
  %q = getelementptr ptr, ptr @pointers, i64 0
  %w = load ptr, ptr %q
  %old = load i64, ptr %w
  %next = add i64 %old, 1
  store i64 %next, ptr %w
  %z = getelementptr i64, ptr @zeros, i64 %which
  %seen = load i64, ptr %z
  %more = add i64 %seen, 1000
  store i64 %more, ptr %z
  %outside = load i64, ptr @far_data
  %s = add i64 %y, %next
  %t = add i64 %s, %more
  %u = add i64 %t, %outside
  ret i64 %u
}
"""


@pytest.fixture(scope="module")
def linked() -> image.Image:
    found = image.link([jit.compile_object(MODULE, name="module")])
    assert found is not None
    return found


def test_what_is_in_an_image(linked: image.Image) -> None:
    assert set(linked.externals) == {"far", "far_data"}
    assert set(linked.exports) == {"written", "pointers", "two", "run"}
    assert image.decode(image.encode(linked)) == linked


def test_calls_tables_and_data(linked: image.Image) -> None:
    far = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(lambda x: x + 100_000)
    address = ctypes.cast(far, ctypes.c_void_p).value or 0
    data = ctypes.c_int64(7_000_000)
    symbols = {"far": address, "far_data": ctypes.addressof(data)}
    module = jit.load(image.encode(linked), symbols)
    run = module.function("run", ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)
    assert run(0, 3) == 100_003 + 6 + 1000 + 7_000_000
    assert run(1, 3) == 6 + 7 + 1000 + 7_000_000
    assert run(1, 3) == 6 + 8 + 2000 + 7_000_000
    assert ctypes.c_int64.from_address(module.address("written")).value == 8
    with pytest.raises(KeyError, match="nothere"):
        module.address("nothere")


def test_code_cannot_be_written(linked: image.Image) -> None:
    placed = image.place(linked, {"far": 8, "far_data": 8})
    maps = Path("/proc/self/maps").read_text().splitlines()
    found = {}
    for line in maps:
        where, rights = line.split()[:2]
        start, end = (int(x, 16) for x in where.split("-"))
        found |= {n: rights for n, at in placed.addresses.items() if start <= at < end}
    assert found["run"].startswith("r-x")
    assert found["written"].startswith("rw-")


def test_memory_is_given_back(linked: image.Image) -> None:
    def mapped() -> int:
        return int(Path("/proc/self/statm").read_text().split()[0])

    placed = [image.place(linked, {"far": 8, "far_data": 8}) for _ in range(2000)]
    before = mapped()
    del placed
    gc.collect()
    assert before - mapped() >= 4000


def test_bytes_that_contradict_themselves(linked: image.Image) -> None:
    whole = image.encode(linked)
    with pytest.raises(LoweringError):
        image.decode(whole[:-1])
    for wrong in (
        linked._replace(table=linked.size),
        linked._replace(size=8),
        linked._replace(rebased=(linked.size - 4,)),
        linked._replace(exports={"run": linked.size}),
        linked._replace(writable=100),
    ):
        with pytest.raises(LoweringError, match="contradicts"):
            image.decode(image.encode(wrong))


def test_names_of_what_is_missing(linked: image.Image) -> None:
    with pytest.raises(LoweringError, match="far_data"):
        image.place(linked, {"far": 8})


@pytest.mark.parametrize(
    "text",
    [
        "@x = thread_local global i64 1\ndefine ptr @f() {\n ret ptr @x\n}",
        "@x = common global i64 0\ndefine ptr @f() {\n ret ptr @x\n}",
        "define weak i64 @f() {\n ret i64 1\n}",
    ],
)
def test_what_is_left_to_llvm(text: str) -> None:
    code = jit.compile_object(text, name="rare")
    assert image.link([code]) is None
    assert jit.linked([code]) == (code,)


def test_two_definitions_are_left_to_llvm() -> None:
    code = jit.compile_object("define i32 @f() { ret i32 1 }", name="f")
    assert image.link([code, code]) is None
    with pytest.raises(LoweringError, match="cannot be linked"):
        jit.load([code, code], {}, exports=["f"])


PROGRAM = """
import sys
import numpy as np
import pullback as pb, pullback.numpy as jnp
from pullback.llvm import jit
from pullback.runtime import cache

x = np.ones((40, 40), np.float32)
f = pb.jit(lambda x: (jnp.sin(x) @ x, jnp.sort(x.ravel()), x * 2))
f(x)
print(cache.stats().misses, jit._session is None, "llvmlite" in sys.modules)
"""


def test_programs_on_disk_need_no_compiler(tmp_path: Path) -> None:
    env = os.environ | {"PULLBACK_CACHE_DIR": str(tmp_path)}
    runs = [
        subprocess.run(
            [sys.executable, "-c", PROGRAM], env=env, capture_output=True, text=True, check=True
        ).stdout.split()
        for _ in range(2)
    ]
    assert int(runs[0][0]) > 0
    assert runs[0][2] == "True"
    assert runs[1] == ["0", "True", "False"]
