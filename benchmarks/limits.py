"""The limits of this machine: bandwidth of the memory and rate of fused multiply-adds.

Both are measured by loops written as LLVM text, wide and without dependencies, so that they say
what the machine gives and not what a library makes of it.  STREAM's triad `a = b + s c` counts
three arrays, as STREAM does; the arithmetic loop keeps sixteen registers busy and counts two
operations for each multiply-add.  Each runs on as many threads as the workloads, pinned to none.
"""

from __future__ import annotations

import ctypes
import json
import threading
import time
from collections.abc import Callable
from typing import Final

import numpy as np

from pullback.llvm import jit as native

__all__ = ["main", "measure"]

ELEMENTS: Final = 1 << 24
"""Of float32, a thread and array: 64 MiB, far above what a core's own caches hold."""

REGISTERS: Final = 16
STEPS: Final = 2_000_000
REPEATS: Final = 12


def _triad(lanes: int) -> str:
    vector = f"<{lanes} x float>"
    return f"""
define void @triad(ptr %a, ptr %b, ptr %c, i64 %n) {{
entry:
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %loop ]
  %pa = getelementptr float, ptr %a, i64 %i
  %pb = getelementptr float, ptr %b, i64 %i
  %pc = getelementptr float, ptr %c, i64 %i
  %x = load {vector}, ptr %pb, align 4
  %y = load {vector}, ptr %pc, align 4
  %s = insertelement {vector} poison, float 3.0, i64 0
  %t = shufflevector {vector} %s, {vector} poison, <{lanes} x i32> zeroinitializer
  %z = call {vector} @llvm.fma.v{lanes}f32({vector} %y, {vector} %t, {vector} %x)
  store {vector} %z, ptr %pa, align 4
  %next = add i64 %i, {lanes}
  %more = icmp slt i64 %next, %n
  br i1 %more, label %loop, label %done
done:
  ret void
}}
declare {vector} @llvm.fma.v{lanes}f32({vector}, {vector}, {vector})
"""


def _multiply_adds(lanes: int, element: str, suffix: str) -> str:
    vector = f"<{lanes} x {element}>"
    numbers = range(REGISTERS)
    starts = "\n".join(
        f"  %p{k} = getelementptr {vector}, ptr %a, i64 {k}\n"
        f"  %s{k} = load {vector}, ptr %p{k}, align 4"
        for k in numbers
    )
    phis = "\n".join(f"  %x{k} = phi {vector} [ %s{k}, %entry ], [ %y{k}, %loop ]" for k in numbers)
    body = "\n".join(
        f"  %y{k} = call {vector} @llvm.fma.v{lanes}{suffix}"
        f"({vector} %x{k}, {vector} %u, {vector} %v)"
        for k in numbers
    )
    ends = "\n".join(f"  store {vector} %y{k}, ptr %p{k}, align 4" for k in numbers)
    return f"""
define void @adds_{suffix}(ptr %a, i64 %n) {{
entry:
{starts}
  %pu = getelementptr {vector}, ptr %a, i64 {REGISTERS}
  %pv = getelementptr {vector}, ptr %a, i64 {REGISTERS + 1}
  %u = load {vector}, ptr %pu, align 4
  %v = load {vector}, ptr %pv, align 4
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %loop ]
{phis}
{body}
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %n
  br i1 %more, label %loop, label %done
done:
{ends}
  ret void
}}
declare {vector} @llvm.fma.v{lanes}{suffix}({vector}, {vector}, {vector})
"""


def _best(threads: int, work: Callable[[int], None]) -> float:
    """The shortest time in which all threads do their work, begun at once."""
    best = float("inf")
    for _ in range(REPEATS):
        barrier = threading.Barrier(threads + 1)

        def run(k: int, barrier: threading.Barrier = barrier) -> None:
            barrier.wait()
            work(k)

        workers = [threading.Thread(target=run, args=(k,)) for k in range(threads)]
        for worker in workers:
            worker.start()
        barrier.wait()
        start = time.perf_counter()
        for worker in workers:
            worker.join()
        best = min(best, time.perf_counter() - start)
    return best


def _bandwidth(threads: int) -> float:
    code = native.compile_object(_triad(native.vector_bits() // 32), name="triad")
    pointer, count = ctypes.c_void_p, ctypes.c_int64
    module = native.load(code, {})
    call = module.function("triad", None, pointer, pointer, pointer, count)
    arrays = [np.ones((3, ELEMENTS), np.float32) for _ in range(threads)]

    def work(k: int) -> None:
        call(*(arrays[k][j].ctypes.data for j in range(3)), ELEMENTS)

    return threads * 3 * 4 * ELEMENTS / _best(threads, work)


def _arithmetic(threads: int, element: str, suffix: str, bits: int) -> float:
    lanes = native.vector_bits() // bits
    code = native.compile_object(_multiply_adds(lanes, element, suffix), name="adds")
    module = native.load(code, {})
    call = module.function(f"adds_{suffix}", None, ctypes.c_void_p, ctypes.c_int64)
    # The fixed point of x/2 + 1/2: neither overflow nor subnormals slow the loop down.
    memory = [np.full((REGISTERS + 2) * lanes, 0.5, f"float{bits}") for _ in range(threads)]

    def work(k: int) -> None:
        call(memory[k].ctypes.data, STEPS)

    return threads * 2.0 * REGISTERS * lanes * STEPS / _best(threads, work)


def measure(threads: int) -> dict[str, float]:
    """Bytes a second of the triad, operations a second of float32 and float64."""
    return {
        "bandwidth": _bandwidth(threads),
        "float32": _arithmetic(threads, "float", "f32", 32),
        "float64": _arithmetic(threads, "double", "f64", 64),
    }


def main() -> None:
    """Print the limits of two threads as JSON."""
    print(json.dumps(measure(2)))


if __name__ == "__main__":
    main()
