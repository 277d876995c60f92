"""Loop programs to LLVM modules.

    define i32 @NAME(ptr %args, ptr %outs, ptr %arena)

The body of the program is one function; loop nests that are worth a call become kernels

    define internal void @kernel(ptr %env, i64 %begin, i64 %end)

which do the steps [begin, end) of their outermost loop and find the addresses of buffers, and what
else they use from outside, in `env`.  Kernels with the same text are one.  Those with enough work
are called through `pb_parallel_for`.  A long program calls its sections (`emit_sections`), which
have the parameters of the program.
"""

from __future__ import annotations

import platform
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import numpy as np

from pullback.llvm import float_mode
from pullback.llvm.emit_memory import stack_slot
from pullback.llvm.emit_scopes import Module, Value
from pullback.llvm.emit_sections import cut
from pullback.llvm.emit_shapes import shape_of
from pullback.llvm.emit_statements import StatementWriter, turns
from pullback.llvm.emit_types import register_type
from pullback.llvm.emit_work import (
    ASLEEP,
    AWAKE,
    UNKNOWN_TURNS,
    Work,
)
from pullback.llvm.interrupts import POLL_WORK_NS
from pullback.llvm.jit import DATA_ALIGNMENT
from pullback.llvm.stacks import aligned_stack
from pullback.loops.expr import Axis, Expr, Local, Read
from pullback.loops.ir import (
    Block,
    Buffer,
    Call,
    Declare,
    Fold,
    Let,
    Loop,
    Poll,
    Program,
    Stmt,
    Swap,
    Var,
    While,
    expressions,
    inner_blocks,
    subexpressions,
    walk,
)
from pullback.loops.memory import own_buffers
from pullback.records import record, replaced

__all__ = ["EmittedModule", "emit_module"]

INLINE_NS: Final = 300.0
"""Nests inside a loop that do less than this are written in line."""
STACK_BYTES: Final = 512
STACK_TOTAL: Final = 1 << 15
INLINED_USES: Final = 12
WHILE_NS: Final = 1e6
"""A loop of unknown length is taken to be long: other Python threads run meanwhile."""
LONG_NS: Final = 1e7
"""Loops of more work look for signals, such as that of Ctrl-C."""
DATA_BYTES: Final = 4096
"""Larger constants are not part of the text."""


@record()
class EmittedModule:
    """LLVM text and what running it needs; `cost` estimates nanoseconds on one thread.

    `data` are large constants by the symbols that the text refers to them by.  The `parts` are the
    same program as several modules, which can be compiled at the same time.
    """

    text: str
    parts: tuple[str, ...]
    arena_bytes: int
    symbols: list[str]
    cost: float
    data: list[tuple[str, bytes]]


def emit_module(
    program: Program,
    vector_bits: int = 512,
    name: str = "pb_program",
    *,
    flush: bool = False,
    machine: str = "",
) -> EmittedModule:
    """The module of a program, whose entry point is called `name`.

    `vector_bits` is the length of the machine's vectors. With `flush` it takes subnormal numbers
    for zero. `machine` is the name of another architecture than that of this process.
    """
    module = Module(vector_bits)
    sections = cut(program.body)
    shapes: dict[Any, tuple[str, list[int], int]] = {}
    work = Work()
    mains = [_Main(module, program, b, sections.shared, shapes, work) for b in sections.blocks]
    texts = [main.write() for main in mains]
    kernels = [Routine(name, "void", _KERNEL, text) for text, name in module.kernels.items()]
    flush = flush and any(map(_uses_floats, [*texts, *(k.text for k in kernels)]))
    defined, declared = float_mode.definitions((machine or platform.machine()).lower())
    module.functions += defined.values()
    module.declarations |= declared
    if len(texts) > 1 or flush:
        kernels += [Routine(f"section{k}", "i32", _PROGRAM, t) for k, t in enumerate(texts)]
    calls = _calls(len(texts), flush) if len(texts) > 1 or flush else texts[0]
    body = Routine(name, "i32", _PROGRAM, calls, inlined=True)
    _call_often_used(module, [body, *kernels])
    pieces = _Pieces(module, kernels)
    text = pieces.text(kernels, body, "internal ")
    count = max(1, min(MOST_PARTS, len(text) // PART_BYTES))
    shares = _shares(kernels, len(body.text), count)
    parts = tuple(pieces.text(share, None if k else body) for k, share in enumerate(shares))
    return EmittedModule(
        text,
        parts if count > 1 else (text,),
        max(program.arena_bytes, 1),
        sorted(module.symbols),
        _cost(program.body, work),
        list(module.data.items()),
    )


def _cost(body: Block, work: Work) -> float:
    """Estimated nanoseconds of a program."""
    unknown = any(isinstance(s, While) for s in walk(body))
    return work.of_block(body) + (WHILE_NS if unknown else 0.0)


def _uses_floats(text: str) -> bool:
    return " float" in text or "double" in text


def _calls(count: int, flush: bool) -> str:
    """The body of a program of so many sections; a status that is not 0 ends it.

    If asked for, subnormal numbers are taken for zero meanwhile.
    """
    lines = ["entry:"]
    leave = [f"  call void @{float_mode.LEAVE}(i64 %mode)"] if flush else []
    if flush:
        lines.append(f"  %mode = call i64 @{float_mode.ENTER}()")
    for k in range(count):
        lines += [
            f"  %status{k} = call i32 @section{k}(ptr %args, ptr %outs, ptr %arena)",
            f"  %failed{k} = icmp ne i32 %status{k}, 0",
            f"  br i1 %failed{k}, label %leave{k}, label %next{k}",
            f"leave{k}:",
            *leave,
            f"  ret i32 %status{k}",
            f"next{k}:",
        ]
    return "\n".join([*lines, *leave, "  ret i32 0", ""])


@record()
class Routine:
    """A function of a module: its name, the type of its result, its parameters, its body."""

    name: str
    result: str
    parameters: str
    text: str
    inlined: bool = False

    def definition(self, linkage: str) -> str:
        """Its text in the module that has it."""
        head = f"define {linkage}{self.result} @{self.name}({self.parameters})"
        inlining = "" if self.inlined else " noinline"
        return f"{head}{inlining}{aligned_stack(self.text)} {{\n{self.text}}}"

    def declaration(self) -> str:
        """Its text in a module that calls it."""
        return f"declare {self.result} @{self.name}({self.parameters})"


class _Pieces:
    """Puts modules together from the functions of a program and what those refer to."""

    def __init__(self, module: Module, kernels: Sequence[Routine]) -> None:
        self.functions = {name: text for text in module.functions for name in _DEFINE.findall(text)}
        self.declarations = module.declarations
        self.kernels = {kernel.name: kernel for kernel in kernels}
        self.globals = {text.split(" ", 1)[0][1:]: text for text in module.globals}

    def text(self, kernels: Sequence[Routine], body: Routine | None, linkage: str = "") -> str:
        """A module of some kernels and perhaps the program itself."""
        defined = [kernel.definition(linkage) for kernel in kernels]
        defined += [] if body is None else [body.definition("")]
        used = self._used(defined)
        here = {kernel.name for kernel in kernels}
        functions = {self.functions[n]: None for n in used if n in self.functions}
        declared = sorted(n for n in used if n in self.declarations and n not in self.functions)
        outside = sorted(n for n in used if n in self.kernels and n not in here)
        parts = [
            *(self.declarations[n] for n in declared),
            *(self.kernels[n].declaration() for n in outside),
            *(self.globals[n] for n in used if n in self.globals),
        ]
        return "\n\n".join(["\n".join(parts), *functions, *defined])

    def _used(self, texts: Iterable[str]) -> dict[str, None]:
        """The names that some functions refer to, and those that these refer to, in order."""
        used: dict[str, None] = {}
        stack = list(texts)
        while stack:
            for name in _NAME.findall(stack.pop()):
                if name not in used:
                    used[name] = None
                    stack.append(self.functions.get(name) or self.declarations.get(name, ""))
        return used


_KERNEL: Final = "ptr %env, i64 %begin, i64 %end"
_PROGRAM: Final = "ptr %args, ptr %outs, ptr %arena"
_NAME: Final = re.compile(r"@([\w.]+)")
MOST_PARTS: Final = 8
PART_BYTES: Final = 24_000
"""Text from which a module of its own is worth its fixed cost, some two milliseconds."""


def _shares(kernels: Sequence[Routine], taken: int, count: int) -> list[list[Routine]]:
    """Kernels, in order, in shares of about equal length; `taken` is used of the first share."""
    shares: list[list[Routine]] = [[] for _ in range(count)]
    total = taken + sum(len(kernel.text) for kernel in kernels)
    at = taken
    for kernel in kernels:
        shares[min(count - 1, at * count // total)].append(kernel)
        at += len(kernel.text)
    return [shares[0], *(share for share in shares[1:] if share)]


def _call_often_used(module: Module, routines: Sequence[Routine]) -> None:
    """Elementary functions with many uses are called: inlining them all costs compile time."""
    texts = (*module.functions, *(routine.text for routine in routines))
    uses = Counter(name for text in texts for name in _MATH.findall(text))
    for k, text in enumerate(module.functions):
        found = _DEFINE.match(text)
        if found is not None and uses[found.group(1)] > INLINED_USES:
            module.functions[k] = text.replace(" alwaysinline ", " noinline ", 1)


_MATH: Final = re.compile(r" call \S+(?: x \S+)? @(pb_[\w]+)\(")
_DEFINE: Final = re.compile(r"^define [^@]*@([\w.]+)\(", re.MULTILINE)


# --------------------------------------------------------------------------- the program


class _Main(StatementWriter):
    """Writes the function of the program, or of one of its sections."""

    def __init__(
        self,
        module: Module,
        program: Program,
        body: Block,
        shared: frozenset[Buffer],
        shapes: dict[Any, tuple[str, list[int], int]],
        work: Work,
    ) -> None:
        super().__init__(module)
        self.program = program
        self.body = body
        self.depth = 0
        self.awake = False
        self.places: dict[str, str] = {}
        self.shapes = shapes
        self.work = work
        self.env_slots = 0
        self.stack = self._stack_buffers() - shared

    def write(self) -> str:
        """The text of the body."""
        for stmt in walk(self.body):
            if isinstance(stmt, Swap):
                self._move(stmt.first.root())
                self._move(stmt.second.root())
        self.block(self.body)
        if self.env_slots:
            self.entry.append(f"  %env = alloca [{self.env_slots} x i64], align 8")
            self.entry += [
                f"  %env.{k} = getelementptr i64, ptr %env, i64 {k}" for k in range(self.env_slots)
            ]
        body = "\n".join([*self.entry, *self.scopes[0].lines, "  ret i32 0"]).split("\n")
        return "\n".join(["entry:", *_placed(self.places, body), ""])

    def pointer(self, buffer: Buffer) -> str:
        """The address of a buffer, from the first block, or from where it may have changed."""
        root = buffer.root()
        if root in self.moving:
            key = ("pointer", root)
            now = self.values.get(key)
            if now is None:
                level = self.load_level(root)
                name = self.put(f"load ptr, ptr {self.moving[root]}", level)
                now = self.remember(key, Value(name, level))
            return now.name
        found = self.pointers.get(root)
        if found is None:
            found = self.pointers[root] = self._pointer(root)
        return found

    def _move(self, buffer: Buffer) -> None:
        """Keep the address of a buffer in a variable."""
        if buffer not in self.moving:
            name = self.fresh()
            self.entry.append(f"  {name} = alloca ptr")
            self.entry.append(f"  store ptr {self._pointer(buffer)}, ptr {name}")
            self.moving[buffer] = name

    def _pointer(self, buffer: Buffer) -> str:
        if buffer.kind == "const":
            return self._global(buffer)
        name = self.fresh()
        if buffer.kind in ("arg", "out"):
            slot = self.fresh()
            table = "%args" if buffer.kind == "arg" else "%outs"
            self.places[slot] = f"  {slot} = getelementptr ptr, ptr {table}, i64 {buffer.index}"
            self.places[name] = f"  {name} = load ptr, ptr {slot}, align 8"
        elif buffer in self.stack or buffer.kind == "local":
            self.entry += stack_slot(name, buffer.nbytes)
        else:
            text = f"getelementptr inbounds i8, ptr %arena, i64 {buffer.offset}"
            self.places[name] = f"  {name} = {text}"
        return name

    def _global(self, buffer: Buffer) -> str:
        """A constant array as data of the module, or beside it if it would make a long text."""
        name = f"@pb_data{buffer.index}"
        value = np.ascontiguousarray(self.program.const_values[buffer.index])
        if value.nbytes > DATA_BYTES:
            self.module.data[name[1:]] = value.tobytes()
            self.module.globals.append(
                f"{name} = external constant [{value.nbytes} x i8], align {DATA_ALIGNMENT}"
            )
            return name
        data = "".join(f"\\{byte:02X}" for byte in value.view(np.uint8).reshape(-1).tobytes())
        self.module.globals.append(
            f'{name} = private unnamed_addr constant [{value.nbytes} x i8] c"{data}", align 64'
        )
        return name

    def _poll(self, turn: Block) -> Poll:
        """What ends a turn of a loop that may run long."""
        return Poll(max(1, int(POLL_WORK_NS / max(self.work.of_block(turn), 1.0))))

    def _is_kernel(self, stmt: Loop, depth: int) -> bool:
        if stmt.width == 1 and not stmt.parallel:
            return False
        return self.work.of(stmt) > (INLINE_NS if depth else 20.0) and not _needs_program(stmt)

    # ---------------------------------------------------------------- temporaries

    def _stack_buffers(self) -> set[Buffer]:
        """Small temporaries that only code in line touches: LLVM keeps them in registers."""
        small: dict[Buffer, None] = {}
        escaping: set[Buffer] = set()
        self._find_small(self.body, 0, small, escaping)
        chosen: set[Buffer] = set()
        total = 0
        for buffer in small:
            if buffer not in escaping and total + buffer.nbytes <= STACK_TOTAL:
                chosen.add(buffer)
                total += buffer.nbytes
        return chosen

    def _find_small(
        self, block: Block, depth: int, small: dict[Buffer, None], escaping: set[Buffer]
    ) -> None:
        for stmt in block:
            if isinstance(stmt, Loop) and self._is_kernel(stmt, depth):
                for inner in walk((stmt,)):
                    escaping.update(own_buffers(inner))
                continue
            touched = set(own_buffers(stmt))
            if isinstance(stmt, Call):
                escaping.update(touched)
            for buffer in touched:
                if buffer.kind == "temp" and buffer.nbytes <= STACK_BYTES:
                    small[buffer] = None
            for inner_block in inner_blocks(stmt):
                deeper = depth + isinstance(stmt, (Loop, While))
                self._find_small(inner_block, deeper, small, escaping)

    # ---------------------------------------------------------------- loops

    def loop(self, stmt: Loop) -> None:
        """A kernel if it is worth a call, else in line."""
        if self.lanes == 1 and self._is_kernel(stmt, self.depth):
            self._kernel_call(stmt)
            return
        if self.lanes == 1 and self.work.of(stmt) > LONG_NS:
            stmt = replaced(stmt, body=(*stmt.body, self._poll(stmt.body)))
        with self._inside(stmt.body):
            super().loop(stmt)

    def while_(self, stmt: While) -> None:
        """The body of a loop of unknown length."""
        body = (*stmt.body, self._poll((*stmt.before, *stmt.body)))
        with self._inside(body):
            super().while_(replaced(stmt, body=body))

    @contextmanager
    def _inside(self, body: Block) -> Iterator[None]:
        """While the body of a loop is written."""
        before = self.awake
        self.depth, self.awake = self.depth + 1, self.work.keeps_awake(body)
        yield
        self.depth, self.awake = self.depth - 1, before

    def _kernel_call(self, stmt: Loop) -> None:
        name, buffers, outside = self._kernel(stmt)
        self.env_slots = max(self.env_slots, len(buffers) + len(outside), 1)
        self._fill_env(buffers, outside)
        count = turns(stmt)
        end = self.index(stmt.extent).name if count is None else str(count)
        total = self.work.of(stmt)
        share = AWAKE if self.awake and total < ASLEEP.least else ASLEEP
        if stmt.parallel and total >= share.least and count != 1:
            each = max(total / (count or UNKNOWN_TURNS), 0.01)
            grain = max(1, int(share.chunk / each))
            self.module.external(
                "pb_parallel_for", "declare void @pb_parallel_for(ptr, ptr, i64, i64)"
            )
            self.do(f"call void @pb_parallel_for(ptr @{name}, ptr %env, i64 {end}, i64 {grain})")
        else:
            self.do(f"call void @{name}(ptr %env, i64 0, i64 {end})")

    def _kernel(self, stmt: Loop) -> tuple[str, list[Buffer], list[Expr]]:
        """The function of a nest, and what its environment holds; nests of one shape share it."""
        shape = shape_of(stmt)
        found = None if shape is None else self.shapes.get(shape.key)
        if shape is not None and found is not None:
            name, numbers, split = found
            things = [shape.named[n] for n in numbers]
            return name, things[:split], things[split:]
        kernel = _Kernel(self.module)
        text = kernel.write(stmt)
        known = self.module.kernels.get(text)
        if known is None:
            known = self.module.kernels[text] = f"kernel{len(self.module.kernels)}"
        if shape is not None:
            numbers = [shape.numbers[id(x)] for x in (*kernel.buffers, *kernel.outside)]
            self.shapes[shape.key] = known, numbers, len(kernel.buffers)
        return known, kernel.buffers, kernel.outside

    def _fill_env(self, buffers: Sequence[Buffer], outside: Sequence[Expr]) -> None:
        for k, buffer in enumerate(buffers):
            self.do(f"store ptr {self.pointer(buffer)}, ptr {self._slot(k)}, align 8")
        for k, e in enumerate(outside, len(buffers)):
            value = self.value(e) if not isinstance(e, Axis) else self.atom(e)
            self.do(f"store {register_type(e.dtype)} {value.name}, ptr {self._slot(k)}, align 8")

    def _slot(self, k: int) -> str:
        return f"%env.{k}"


def _placed(places: dict[str, str], lines: list[str]) -> list[str]:
    """The body of a function with the addresses of buffers, each in front of its first use.

    All of them at the entry would be too many registers that live long: spilled, and slow to
    compile.  What the first block does not use is computed at its end.
    """
    labels = (k for k, line in enumerate(lines) if line.endswith(":"))
    end = next(labels, len(lines)) - 1  # where the first block is left
    waiting = dict(places)
    out: list[str] = []

    def place(name: str) -> None:
        line = waiting.pop(name, None)
        if line is not None:
            for operand in _REGISTER.findall(line):
                place(operand)
            out.append(line)

    for k, line in enumerate(lines[: end + 1]):
        for name in list(waiting) if k == end else _REGISTER.findall(line):
            place(name)
        out.append(line)
    return out + lines[end + 1 :]


_REGISTER: Final = re.compile(r"%[\w.]+")


def _needs_program(stmt: Loop) -> bool:
    """Whether a nest has variables from outside, or calls whose results the program looks at."""
    declared: set[Var] = set()
    read: set[Var] = set()
    for s in walk((stmt,)):
        if isinstance(s, Call) and (s.fails or s.result is not None):
            return True
        if isinstance(s, Declare):
            declared.add(s.var)
        read.update(e.var for e in _exprs(s) if type(e) is Read)
    return bool(read - declared)


def _exprs(stmt: Stmt) -> Any:
    return subexpressions(expressions(stmt))


# --------------------------------------------------------------------------- kernels


class _Kernel(StatementWriter):
    """Writes one kernel; afterwards `buffers` and `outside` say what its environment holds."""

    def __init__(self, module: Module) -> None:
        super().__init__(module)
        self.buffers: list[Buffer] = []
        self.outside: list[Expr] = []
        self.slots: list[str] = []

    def write(self, stmt: Loop) -> str:
        """The body of the function that does some steps of a loop."""
        self.outside = _free_names(stmt)
        self.scopes[0].stored = self._stored(stmt)
        for k, e in enumerate(self.outside):
            self.bind(e, Value(f"%outer.{k}", 0))
        self._loop(stmt, "%begin", "%end", None, last=True)
        scalars = []
        for k, e in enumerate(self.outside):
            slot = len(self.buffers) + k
            scalars += [
                f"  %slot.{k} = getelementptr i64, ptr %env, i64 {slot}",
                f"  %outer.{k} = load {register_type(e.dtype)}, ptr %slot.{k}, align 8",
            ]
        lines = ["entry:", *self.slots, *scalars, *self.entry, *self.scopes[0].lines]
        return "\n".join([*lines, "  ret void", ""])

    def pointer(self, buffer: Buffer) -> str:
        """The address of a buffer, loaded from the environment at the entry."""
        root = buffer.root()
        found = self.pointers.get(root)
        if found is None:
            found = self.pointers[root] = self._pointer(root)
        return found

    def _pointer(self, buffer: Buffer) -> str:
        if buffer.kind == "local":
            name = self.fresh()
            self.entry += stack_slot(name, buffer.nbytes)
            return name
        k = len(self.buffers)
        self.buffers.append(buffer)
        self.slots += [
            f"  %at.{k} = getelementptr i64, ptr %env, i64 {k}",
            f"  %buffer.{k} = load ptr, ptr %at.{k}, align 8",
        ]
        return f"%buffer.{k}"


def _free_names(stmt: Loop) -> list[Expr]:
    """Axes and names that a nest uses and does not define, in order of appearance."""
    defined: set[int] = set()
    used: dict[int, Expr] = {}
    for s in walk((stmt,)):
        if isinstance(s, Loop):
            defined.add(id(s.axis))
        elif isinstance(s, Let):
            defined.add(id(s.local))
        elif isinstance(s, Fold):
            names = (*s.results, *s.combine.left, *s.combine.right)
            defined.update(id(x) for x in names)
        for e in _exprs(s):
            if isinstance(e, (Axis, Local)):
                used.setdefault(id(e), e)
    return [e for key, e in used.items() if key not in defined]
