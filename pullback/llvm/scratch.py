"""Scratch memory of kernels, as LLVM text: a block a thread, kept from call to call.

A kernel that runs on the threads of the pool takes a block at the start of a task and gives it back
at its end.  Blocks are in slots that threads claim by an atomic exchange; with more threads than
slots, the further ones allocate theirs.  Memory that a kernel never touches is never mapped.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from pullback.llvm.entry_ir import Function, Module, Value, i64

__all__ = ["CACHE_LINE", "Scratch"]

SLOTS: Final = 64
"""Threads whose scratch memory is kept; further ones allocate theirs."""
CACHE_LINE: Final = 64


class Scratch:
    """Blocks of `size` bytes for the tasks of one module."""

    def __init__(self, module: Module, name: str, size: int) -> None:
        self._size = size
        self._flags = module.variable(f"{name}_flags", f"[{SLOTS} x i32]")
        self._blocks = module.variable(f"{name}_blocks", f"[{SLOTS} x ptr]")
        self._name = f"{name}_acquire"
        self._write_acquire(module)

    def _write_acquire(self, module: Module) -> None:
        """`acquire(index)`: memory that no other thread uses; `index` says which slot, or -1."""
        f = module.function(self._name, "ptr", "ptr")
        (index,) = f.parameters
        with f.loop(i64(SLOTS)) as k:
            flag = f.item(self._flags, k, 4)
            pair = f.value(
                "{ i32, i1 }", f"cmpxchg {flag}, i32 0, i32 1 acquire monotonic, align 4"
            )
            with f.when(f.value("i1", f"extractvalue {pair}, 1")):
                f.store(k, index)
                slot = f.item(self._blocks, k)
                with f.when(f.is_null(f.load("ptr", slot))):
                    f.store(self._fresh(f), slot)
                f.ret(f.load("ptr", slot))
        f.store(i64(-1), index)
        f.ret(self._fresh(f))

    def _fresh(self, f: Function) -> Value:
        return f.call("ptr", "malloc", i64(self._size + CACHE_LINE))

    @contextmanager
    def held(self, f: Function) -> Iterator[Value]:
        """Instructions that use a block, which begins at a cache line."""
        index = f.variable("i64", i64(0))
        memory = f.call("ptr", self._name, index)
        number = f.op("add", f.convert("ptrtoint", memory, "i64"), CACHE_LINE - 1)
        yield f.convert("inttoptr", f.op("and", number, -CACHE_LINE), "ptr")
        slot = f.load("i64", index)
        with f.when(f.compare("sge", slot, 0)):
            f.emit(f"store atomic i32 0, {f.item(self._flags, slot, 4)} release, align 4")
        with f.when(f.compare("slt", slot, 0)):
            f.call("void", "free", memory)
