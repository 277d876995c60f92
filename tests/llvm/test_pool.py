"""The thread pool: coverage, nesting, concurrency, fork, exit."""

from __future__ import annotations

import ctypes
import itertools
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from pullback.llvm import entry, jit, pool

# env: ptr to int64 counts.  count: adds one to each element of the chunk.
# nested: runs `count` over the whole of [0, 100) from inside each chunk, for each index.
TEXT = """
declare void @pb_parallel_for(ptr, ptr, i64, i64)
define void @count(ptr %env, i64 %begin, i64 %end) nounwind {
entry:
  br label %head
head:
  %i = phi i64 [ %begin, %entry ], [ %next, %body ]
  %more = icmp slt i64 %i, %end
  br i1 %more, label %body, label %done
body:
  %p = getelementptr i64, ptr %env, i64 %i
  %old = atomicrmw add ptr %p, i64 1 monotonic
  %next = add i64 %i, 1
  br label %head
done:
  ret void
}
define void @nested(ptr %env, i64 %begin, i64 %end) nounwind {
entry:
  br label %head
head:
  %i = phi i64 [ %begin, %entry ], [ %next, %body ]
  %more = icmp slt i64 %i, %end
  br i1 %more, label %body, label %done
body:
  call void @pb_parallel_for(ptr @count, ptr %env, i64 100, i64 1)
  %next = add i64 %i, 1
  br label %head
done:
  ret void
}
define void @nothing(ptr %env, i64 %begin, i64 %end) nounwind {
  ret void
}
define i32 @many(ptr %env, i64 %times, i64 %n, i64 %grain) nounwind {
entry:
  br label %head
head:
  %i = phi i64 [ 0, %entry ], [ %next, %body ]
  %more = icmp slt i64 %i, %times
  br i1 %more, label %body, label %done
body:
  call void @pb_parallel_for(ptr @count, ptr %env, i64 %n, i64 %grain)
  %next = add i64 %i, 1
  br label %head
done:
  ret i32 0
}
"""


@pytest.fixture(scope="module")
def module() -> jit.LoadedModule:
    return jit.load(jit.compile_object(TEXT, name="loops"), pool.symbols())


@pytest.fixture(params=[1, 2, 3, 8])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    pool.set_num_threads(request.param)
    yield request.param
    pool.set_num_threads(None)


def counts(size: int) -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], int]:
    made = np.zeros(size, np.int64)
    return made, made.__array_interface__["data"][0]


@pytest.mark.parametrize(
    ("n", "grain"),
    [(0, 1), (-5, 1), (1, 1), (2, 1), (7, 2), (1000, 1), (1000, 0), (1001, 64), (10, 100)],
)
def test_each_index_once(module: jit.LoadedModule, threads: int, n: int, grain: int) -> None:
    data, address = counts(1100)
    for _ in range(50):
        pool.parallel_for(module.address("count"), address, n, grain)
    assert (data[: max(n, 0)] == 50).all()
    assert (data[max(n, 0) :] == 0).all()


def test_chunks_are_multiples_of_the_grain(threads: int) -> None:
    seen: list[tuple[int, int]] = []
    lock = threading.Lock()

    def note(env: int, begin: int, end: int) -> None:
        with lock:
            seen.append((begin, end))

    kind = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)(note)
    function = ctypes.cast(kind, ctypes.c_void_p).value
    assert function is not None
    pool.parallel_for(function, 0, 1000, 16)
    seen.sort()
    assert seen[0][0] == 0
    assert seen[-1][1] == 1000
    assert all(a[1] == b[0] and a[1] % 16 == 0 for a, b in itertools.pairwise(seen))


def test_many_regions(module: jit.LoadedModule, threads: int) -> None:
    data, address = counts(64)
    types = [ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64]
    module.function("many", ctypes.c_int32, *types)(address, 20_000, 64, 1)
    assert (data == 20_000).all()


def test_a_region_inside_a_region_is_serial(module: jit.LoadedModule, threads: int) -> None:
    data, address = counts(100)
    pool.parallel_for(module.address("nested"), address, 37, 1)
    assert (data == 37).all()


def test_several_python_threads(module: jit.LoadedModule, threads: int) -> None:
    results = [counts(500) for _ in range(4)]

    def work(address: int) -> None:
        for _ in range(200):
            pool.parallel_for(module.address("count"), address, 500, 3)

    running = [threading.Thread(target=work, args=(address,)) for _, address in results]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    assert all((data == 200).all() for data, _ in results)


def test_workers_sleep(module: jit.LoadedModule) -> None:
    pool.set_num_threads(4)
    try:
        _, address = counts(1000)
        pool.parallel_for(module.address("count"), address, 1000, 1)
        time.sleep(0.05)
        before = time.process_time()
        time.sleep(0.2)
        assert time.process_time() - before < 0.02
    finally:
        pool.set_num_threads(None)


def test_workers_start_only_when_wanted() -> None:
    code = (
        "from pullback.llvm import pool, jit\n"
        "pool.set_num_threads(3)\n"
        "text='define void @f(ptr %e, i64 %a, i64 %b) { ret void }'\n"
        "m = jit.load(jit.compile_object(text, name='f'), pool.symbols())\n"
        "assert pool.started_workers() == 0\n"
        "pool.parallel_for(m.address('f'), 0, 1, 1)\n"
        "pool.parallel_for(m.address('f'), 0, 100, 100)\n"
        "assert pool.started_workers() == 0\n"
        "pool.parallel_for(m.address('f'), 0, 100, 1)\n"
        "assert pool.started_workers() == 2\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.skipif(not entry.supported(), reason="calls take the Python route")
def test_the_pool_needs_no_file_of_its_own() -> None:
    code = (
        "from pullback.llvm import entry, jit, pool\n"
        "made = entry.native_module()\n"
        "jit.stored_object = None\n"
        "assert pool.address() == made.address('pb_parallel_for')\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_the_pool_alone() -> None:
    code = (
        "from pullback.llvm import entry, pool\n"
        "assert entry.native_module() is None\n"
        "assert pool.address() != 0 and pool.started_workers() == 0\n"
    )
    environment = os.environ | {"PULLBACK_PYTHON_CALLS": "1"}
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, env=environment)


MINCORE = """
import ctypes, mmap
from pullback.llvm import entry, pool
pool.set_num_threads({threads})
pool.address()
module = entry.native_module()
allocate = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_int64)(module.address("pb_block_alloc"))
start, size = allocate(8 << 21), 1 << 21
present = ctypes.create_string_buffer(1)
count = 0
for page in range(1, 8):
    place = (start & -size) + page * size
    assert ctypes.CDLL(None).mincore(ctypes.c_void_p(place), mmap.PAGESIZE, present) == 0
    count += present.raw[0] & 1
print(count)
"""


@pytest.mark.skipif(
    sys.platform != "linux" or not entry.supported(), reason="huge pages are asked for on Linux"
)
@pytest.mark.parametrize(("threads", "present"), [(1, 0), (2, 7)])
def test_large_new_blocks_are_filled_in_by_all_threads(threads: int, present: int) -> None:
    code = MINCORE.format(threads=threads)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert int(done.stdout) == present


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:os.fork")  # JAX, where it is loaded, warns of its own threads
def test_fork(module: jit.LoadedModule) -> None:
    pool.set_num_threads(3)
    try:
        data, address = counts(1000)
        pool.parallel_for(module.address("count"), address, 1000, 1)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                before = pool.started_workers()
                pool.parallel_for(module.address("count"), address, 1000, 1)
                good = before == 0 and pool.started_workers() == 2 and (data == 2).all()
                status = 0 if good else 2
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        pool.parallel_for(module.address("count"), address, 1000, 1)
        assert (data == 2).all()
    finally:
        pool.set_num_threads(None)


def test_exit_with_workers() -> None:
    code = (
        "from pullback.llvm import pool, jit\n"
        "pool.set_num_threads(4)\n"
        "text='define void @f(ptr %e, i64 %a, i64 %b) { ret void }'\n"
        "m = jit.load(jit.compile_object(text, name='f'), pool.symbols())\n"
        "for _ in range(100): pool.parallel_for(m.address('f'), 0, 1000, 1)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULLBACK_NUM_THREADS", "5")
    assert pool.num_threads() == 5
    pool.set_num_threads(2)
    assert pool.num_threads() == 2
    pool.set_num_threads(None)
    monkeypatch.setenv("PULLBACK_NUM_THREADS", "none")
    with pytest.raises(ValueError, match="PULLBACK_NUM_THREADS"):
        pool.num_threads()
    with pytest.raises(ValueError, match="at least 1"):
        pool.set_num_threads(0)
    monkeypatch.delenv("PULLBACK_NUM_THREADS")
    assert pool.num_threads() >= 1
