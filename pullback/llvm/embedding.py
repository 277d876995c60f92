"""A program as one object file that needs no Python: what C programs link.

    text of a program (llvm/emit) + the kernels, the thread pool and the entry points that it needs
      -> one LLVM module -> an object file

Only the entry points are visible outside, so that several such files fit into one program; each
has a thread pool of its own.  The entry points of a program NAME are

    i32 NAME(inputs..., outputs...)                              allocates its scratch memory
    i32 NAME_with_workspace(inputs..., outputs..., workspace)    aligned to 64 bytes
    void NAME_set_threads(i32)

Code for another processor, and another architecture that LLVM knows, is written in the same way.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, NamedTuple

from pullback.errors import LoweringError, UnsupportedError
from pullback.llvm import jit, library, pool_text
from pullback.llvm.entry_ir import Module, Value, i32, i64

__all__ = [
    "OUT_OF_MEMORY",
    "Known",
    "Target",
    "data_text",
    "entry_text",
    "needed_texts",
    "object_code",
    "target",
]

OUT_OF_MEMORY: Final = 1
"""Status of a call whose scratch memory could not be had."""
ALIGNMENT: Final = 64
STACK_BYTES: Final = 4096
"""Scratch memory of up to so many bytes is on the stack."""
PROCESSORS_ONLINE: Final = 58 if sys.platform == "darwin" else 84
"""What `sysconf` calls the number of processors."""

# --------------------------------------------------------------------------- targets


@dataclass(frozen=True)
class Target:
    """A processor that code is for, as LLVM names it, and the width of its vectors in bits."""

    triple: str
    cpu: str
    features: str
    bits: int

    @property
    def machine(self) -> str:
        """The architecture."""
        return self.triple.split("-", 1)[0]

    @property
    def is_host(self) -> bool:
        """Whether this machine can link its code."""
        host = jit.binding.get_process_triple()
        return (self.machine, _system(self.triple)) == (host.split("-", 1)[0], _system(host))


def _system(triple: str) -> str:
    return next((s for s in ("linux", "darwin", "macosx", "windows") if s in triple), triple)


def target(cpu: str = "", triple: str = "") -> Target:
    """This machine's processor, or another one: `x86-64-v3`, `cortex-a72` of another triple.

    >>> target().bits == jit.vector_bits()
    True
    """
    host = str(jit.binding.get_process_triple())
    if _system(triple or host) not in ("linux", "darwin", "macosx"):
        raise UnsupportedError(f"the thread pool needs POSIX threads, which {triple} has not")
    if not cpu and not triple:
        return Target(host, jit.host_cpu(), jit.host_features(), jit.vector_bits())
    found = Target(triple or host, cpu, "", 128)
    if _system(found.triple) != _system(host):
        raise UnsupportedError(f"code for {found.triple} is not written on {host}")
    return Target(found.triple, cpu, "", _vector_bits(found))


_PROBE: Final = """
define void @probe(ptr %a) "min-legal-vector-width"="512" {
  %x = load <16 x float>, ptr %a
  %y = fadd <16 x float> %x, %x
  store <16 x float> %y, ptr %a
  ret void
}
"""


_PROBING: Final = """
import sys
import llvmlite.binding as binding
binding.initialize_all_targets()
binding.initialize_all_asmprinters()
triple, cpu, text = sys.argv[1:]
machine = binding.Target.from_triple(triple).create_target_machine(cpu=cpu, opt=2)
print(machine.emit_assembly(binding.parse_assembly(text)))
"""


def _vector_bits(wanted: Target) -> int:
    """The widest vectors that code for a processor uses.

    Asked in a process of its own: LLVM ends the process for processors that cannot be.
    """
    command = [sys.executable, "-c", _PROBING, wanted.triple, wanted.cpu, _PROBE]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode or "not a recognized processor" in done.stderr:
        told = done.stderr.strip().splitlines()[-1:]
        raise UnsupportedError(
            f"LLVM writes no code for {wanted.cpu or 'any processor'} ({wanted.triple}): "
            f"{''.join(told)}"
        )
    return 512 if "%zmm" in done.stdout else 256 if "%ymm" in done.stdout else 128


def _machine(wanted: Target) -> Any:
    """LLVM's machine for a target."""
    _initialise()
    found = jit.binding.Target.from_triple(wanted.triple)
    return found.create_target_machine(
        cpu=wanted.cpu, features=wanted.features, opt=2, reloc="pic", codemodel="small"
    )


@cache
def _initialise() -> None:
    jit.binding.initialize_all_targets()
    jit.binding.initialize_all_asmprinters()
    jit.binding.initialize_native_target()
    jit.binding.initialize_native_asmprinter()


# --------------------------------------------------------------------------- what is linked


class Known(NamedTuple):
    """A result that is an argument, or a constant by its symbol."""

    argument: int = -1
    symbol: str = ""


def needed_texts(
    symbols: Iterable[str], wanted: Target, missing: Callable[[str], Exception]
) -> tuple[list[str], bool]:
    """The modules that define what a program calls, and whether it has parallel loops.

    `missing` gives the error for a function that neither we nor the C library have.
    """
    texts: dict[str, str] = {}
    waiting, seen = list(symbols), set()
    while waiting:
        symbol = waiting.pop()
        if symbol in seen:
            continue
        seen.add(symbol)
        if symbol in pool_text.SYMBOLS:
            found: Any = pool_text.module_text(wanted.machine)
        elif symbol == "pb_poll":
            found = _POLL, []
        else:
            found = library.kernel_text(symbol, wanted.bits)
        if found is not None:
            text, needs = found
            texts[text] = symbol
            waiting += needs
        elif symbol.startswith("pb_") or library.provider(symbol) != "the C library":
            raise missing(symbol)
    return list(texts), not seen.isdisjoint(pool_text.SYMBOLS)


_POLL: Final = "define i32 @pb_poll(ptr %last) {\n  ret i32 0\n}\n"
"""No signals of an interpreter are waited for."""


def data_text(data: Iterable[tuple[str, bytes]]) -> str:
    """Constants by their symbols."""
    return "\n".join(
        f'@{name} = constant [{len(value)} x i8] c"{_escaped(value)}", align {ALIGNMENT}'
        for name, value in data
    )


_BYTES: Final = [f"\\{byte:02X}" for byte in range(256)]


def _escaped(value: bytes) -> str:
    return "".join(map(_BYTES.__getitem__, value))


# --------------------------------------------------------------------------- entry points


class _Entry(NamedTuple):
    """What the entry points of a program know of it."""

    name: str
    inputs: int
    used: Sequence[int]
    constants: Sequence[str]
    outputs: Sequence[Known | None]
    sizes: Sequence[int]
    arena_bytes: int


def entry_text(
    name: str,
    *,
    inputs: int,
    used: Sequence[int],
    constants: Sequence[str],
    outputs: Sequence[Known | None],
    sizes: Sequence[int],
    arena_bytes: int,
    threads: bool,
) -> str:
    """LLVM text of the entry points.

    The program takes the inputs `used` and then `constants`, and computes the outputs that are
    None; the others are copied. `sizes` are the bytes of all outputs.
    """
    e = _Entry(name, inputs, used, constants, outputs, sizes, arena_bytes)
    m = Module()
    for symbol in {*constants, *(o.symbol for o in outputs if o is not None and o.symbol)}:
        m.external(symbol)
    _write_with_workspace(m, e)
    _write_plain(m, e)
    start = _write_threads(m, name, threads)
    return m.text() + start


def _write_with_workspace(m: Module, e: _Entry) -> None:
    count = e.inputs + len(e.outputs)
    f = m.function(f"{e.name}_with_workspace", "i32", *["ptr"] * (count + 1), exported=True)
    inputs, outputs, workspace = (
        f.parameters[: e.inputs],
        f.parameters[e.inputs : count],
        f.parameters[count],
    )
    taken = [inputs[i] for i in e.used] + [Value("ptr", f"@{c}") for c in e.constants]
    given = [p for p, known in zip(outputs, e.outputs, strict=True) if known is None]
    tables = [f.words(pointers) for pointers in (taken, given)]
    status = f.call("i32", "pb_program", *tables, workspace)
    for p, known, size in zip(outputs, e.outputs, e.sizes, strict=True):
        if known is not None:
            source = (
                inputs[known.argument] if not known.symbol else Value("ptr", f"@{known.symbol}")
            )
            f.call("ptr", "memmove", p, source, i64(size))
    f.ret(status)


def _write_plain(m: Module, e: _Entry) -> None:
    f = m.function(e.name, "i32", *["ptr"] * (e.inputs + len(e.outputs)), exported=True)
    size = e.arena_bytes + ALIGNMENT
    small = size <= STACK_BYTES
    if small:
        kind = f"[{size} x i8]"
        memory = f.variable(kind, Value(kind, "poison"))
    else:
        memory = f.call("ptr", "malloc", i64(size))
        with f.when(f.is_null(memory)):
            f.ret(i32(OUT_OF_MEMORY))
    number = f.op("add", f.convert("ptrtoint", memory, "i64"), ALIGNMENT - 1)
    workspace = f.convert("inttoptr", f.op("and", number, -ALIGNMENT), "ptr")
    status = f.call("i32", f"{e.name}_with_workspace", *f.parameters, workspace)
    if not small:
        f.call("void", "free", memory)
    f.ret(status)


def _write_threads(m: Module, name: str, threads: bool) -> str:
    """`NAME_set_threads`, and what starts the pool when the file is loaded."""
    f = m.function(f"{name}_set_threads", "void", "i32", exported=True)
    if not threads:
        f.ret()
        return ""
    state = m.external("pb_pool")
    count = f.convert("sext", f.parameters[0], "i64")
    least = f.select(f.compare("sgt", count, 1), count, i64(1))
    f.emit(f"store atomic {least}, {f.at(state, pool_text.THREADS)} release, align 8")
    f.ret()
    start = m.function(f"{name}_start", "void")
    start.call("void", "pb_pool_reset")
    found = start.call("i64", "sysconf", i32(PROCESSORS_ONLINE))
    narrow = start.convert("trunc", found, "i32")
    start.call("void", f"{name}_set_threads", narrow)
    reset = Value("ptr", "@pb_pool_reset")
    start.call("i32", "pthread_atfork", Value("ptr", "null"), Value("ptr", "null"), reset)
    start.ret()
    return (
        "@llvm.global_ctors = appending global [1 x { i32, ptr, ptr }] "
        f"[{{ i32, ptr, ptr }} {{ i32 65535, ptr @{name}_start, ptr null }}]\n"
    )


# --------------------------------------------------------------------------- object code


def _parsed(text: str, context: Any) -> Any:
    try:
        return jit.binding.parse_assembly(text, context)
    except RuntimeError as error:
        raise LoweringError(f"LLVM refuses a module that we generated: {error}") from None


def object_code(texts: Sequence[str], exports: Iterable[str], wanted: Target) -> bytes:
    """The object file of modules that call each other; `exports` alone are visible outside."""
    context = jit.binding.create_context()
    module = _parsed(texts[0], context)
    for text in texts[1:]:
        module.link_in(_parsed(text, context))
    visible = set(exports)
    for thing in (*module.functions, *module.global_variables):
        if not thing.is_declaration and not thing.name.startswith("llvm."):
            thing.linkage = "external" if thing.name in visible else "internal"
    machine = _machine(wanted)
    module.triple = wanted.triple
    module.data_layout = str(machine.target_data)
    try:
        module.verify()
    except RuntimeError as error:
        raise LoweringError(f"LLVM refuses the linked program: {error}") from None
    _run_passes(module, machine)
    return bytes(machine.emit_object(module))


def _run_passes(module: Any, machine: Any) -> None:
    manager = jit.binding.create_new_module_pass_manager()
    for add in jit.LEVELS["light"]:
        getattr(manager, add)()
    options = jit.binding.create_pipeline_tuning_options(speed_level=1)
    manager.run(module, jit.binding.create_pass_builder(machine, options))
