"""Compiles a function of primitives and calls the machine code, without the runtime."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pullback.core import dtypes
from pullback.core.avals import ShapedArray, aval_of
from pullback.core.jaxpr import ClosedJaxpr
from pullback.llvm import emit, jit, library, pool
from pullback.loops.program import lower_program
from pullback.loops.text import program_text
from pullback.transforms.staging import stage


class Compiled:
    """A program in memory; call it on NumPy arrays."""

    def __init__(self, closed: ClosedJaxpr, vector_bits: int | None = None) -> None:
        self.closed = closed
        bits = jit.vector_bits() if vector_bits is None else vector_bits
        start = time.perf_counter()
        self.program = lower_program(closed, vector_bits=bits)
        lowered = time.perf_counter()
        self.module = emit.emit_module(self.program, bits)
        emitted = time.perf_counter()
        code = jit.compile_object(self.module.text, name="test")
        compiled = time.perf_counter()
        needed = {s: pool.symbols().get(s) or library.address(s) for s in self.module.symbols}
        self.loaded = jit.load(code, needed, exports=["pb_program"])
        self.seconds = (lowered - start, emitted - lowered, compiled - emitted)
        signature = ctypes.CFUNCTYPE(
            ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p
        )
        self.entry = signature(self.loaded.address("pb_program"))
        self.arena = np.zeros(self.module.arena_bytes + 64, np.uint8)

    @property
    def loops(self) -> str:
        """The text of the loop program."""
        return program_text(self.program)

    def __call__(self, *args: Any) -> list[np.ndarray[Any, Any]]:
        outs = [np.empty(a.shape, dtypes.physical(a.dtype)) for a in self.closed.out_avals]
        self.into(outs, *args)
        return outs

    def into(self, outs: Sequence[np.ndarray[Any, Any]], *args: Any) -> None:
        """Call with outputs that exist."""
        consts = [getattr(c, "_data", c) for c in self.closed.consts]
        arrays = [np.ascontiguousarray(a) for a in (*args, *consts)]
        base = self.arena.ctypes.data
        status = self.entry(_table(arrays), _table(outs), base + -base % 64)
        assert status == 0

    def seconds_a_call(self, *args: Any, repeat: int = 5) -> float:
        """The best time of a few calls."""
        outs = self(*args)
        best = 1e9
        for _ in range(repeat):
            start = time.perf_counter()
            self.into(outs, *args)
            best = min(best, time.perf_counter() - start)
        return best


def _table(arrays: Sequence[np.ndarray[Any, Any]]) -> Any:
    return (ctypes.c_void_p * max(len(arrays), 1))(*(a.ctypes.data for a in arrays))


def compile_function(
    fun: Callable[..., Any], *args: Any, vector_bits: int | None = None
) -> Compiled:
    """`fun` compiled for arguments like these (arrays or avals)."""
    avals = [a if isinstance(a, ShapedArray) else aval_of(a) for a in args]

    def flat(*xs: Any) -> Sequence[Any]:
        out = fun(*xs)
        return out if isinstance(out, (list, tuple)) else [out]

    return Compiled(stage(flat, avals), vector_bits)


def run(fun: Callable[..., Any], *args: Any, vector_bits: int | None = None) -> list[Any]:
    """Compile and call."""
    arrays = [np.asarray(a) for a in args]
    return compile_function(fun, *arrays, vector_bits=vector_bits)(*arrays)
