"""How the processor treats subnormal numbers: programs with loops take them for zero.

Arithmetic on them takes a hundred times longer on many processors, and what decays in a loop (the
gradient of a long recurrence, the tail of a filter) becomes and stays one.  Such a program sets
the mode of its thread, and sets it back before it returns or calls Python; the workers of the pool
take over the mode of the thread that gives them work, so that bits do not depend on who computes.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from pullback.llvm.entry_ir import Function, Module, Value, i64

__all__ = ["ENTER", "KEEP", "LEAVE", "definitions", "read", "write"]

ENTER: Final = "pb_flush_subnormals"
"""`i64 ENTER()`: subnormal numbers are zero from now on; gives the mode before."""
KEEP: Final = "pb_keep_subnormals"
"""`i64 KEEP()`: subnormal numbers count from now on; gives the mode before."""
LEAVE: Final = "pb_set_float_mode"
"""`void LEAVE(i64)`: the mode that `ENTER` or `KEEP` gave."""

_X86: Final = ("x86_64", "amd64")
_ARM: Final = ("arm64", "aarch64")


def _flush(machine: str) -> int:
    """Results to zero and operands to zero: bits of MXCSR; both in one of FPCR."""
    return 0x8040 if machine in _X86 else 1 << 24 if machine in _ARM else 0


def read(f: Function, machine: str) -> Value:
    """The mode of this thread, on a machine as `platform.machine` names it."""
    if machine in _X86:
        place = f.variable("i32", Value("i32", "0"))
        f.call("void", "llvm.x86.sse.stmxcsr", place)
        return f.value("i64", f"zext {f.load('i32', place)} to i64")
    return f.call("i64", "llvm.aarch64.get.fpcr") if machine in _ARM else i64(0)


def write(f: Function, mode: Value, machine: str) -> None:
    """Set the mode of this thread."""
    if machine in _X86:
        place = f.variable("i32", Value("i32", "0"))
        f.store(f.value("i32", f"trunc {mode} to i32"), place)
        f.call("void", "llvm.x86.sse.ldmxcsr", place)
    elif machine in _ARM:
        f.call("void", "llvm.aarch64.set.fpcr", mode)


@cache
def definitions(machine: str) -> tuple[dict[str, str], dict[str, str]]:
    """The functions above for the module of a program, and what these declare."""
    module, flush = Module(), _flush(machine)
    made = {}
    for name, operation, bits in ((ENTER, "or", flush), (KEEP, "and", ~flush)):
        f = made[name] = module.function(name, "i64")
        before = read(f, machine)
        write(f, f.op(operation, before, i64(bits)), machine)
        f.ret(before)
    f = made[LEAVE] = module.function(LEAVE, "void", "i64")
    write(f, f.parameters[0], machine)
    f.ret()
    texts = {name: f.text() for name, f in made.items()}
    inlined = {n: t.replace(" nounwind ", " alwaysinline nounwind ", 1) for n, t in texts.items()}
    return inlined, module.declared
