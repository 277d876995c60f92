"""A small structured writer of LLVM text, for the support code that we write by hand.

The native call path and the thread pool are a few functions full of loads, branches and calls.
Here they are written as Python (`with f.when(...)`, `with f.loop(...)`), and come out as text for
`jit.compile_object`.  Local variables are stack slots, which LLVM turns into registers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple

from pullback.llvm.stacks import aligned_stack

__all__ = ["FALSE", "NULL", "TRUE", "Function", "Module", "Value", "i32", "i64"]


class Value(NamedTuple):
    """An operand: its LLVM type and its name or literal."""

    type: str
    text: str

    def __str__(self) -> str:
        return f"{self.type} {self.text}"


NULL: Final = Value("ptr", "null")
TRUE: Final = Value("i1", "true")
FALSE: Final = Value("i1", "false")


def i64(number: int) -> Value:
    """A 64-bit literal."""
    return Value("i64", str(number))


def i32(number: int) -> Value:
    """A 32-bit literal."""
    return Value("i32", str(number))


_DIVISIONS: Final = {
    operation: f"define internal i64 @long_{operation}(i64 %a, i64 %b) noinline nounwind {{\n"
    f"  %c = {operation} i64 %a, %b\n  ret i64 %c\n}}"
    for operation in ("udiv", "urem")
}
_GLOBAL: Final = re.compile(r"@([\w.]+)")


class Module:
    """Functions, globals and the declarations they need."""

    def __init__(self) -> None:
        self._parts: dict[str, str] = {}
        self._defined: set[str] = set()
        self._declared: dict[str, str] = {}
        self._functions: list[Function] = []

    def function(self, name: str, result: str, *types: str, exported: bool = False) -> Function:
        """Start a function; its parameters are `f.parameters`."""
        made = Function(self, name, result, types, exported)
        self._defined.add(name)
        self._functions.append(made)
        return made

    def variable(
        self, name: str, type: str, initial: str = "zeroinitializer", *, exported: bool = False
    ) -> Value:
        """A global of this module, visible outside if it is `exported`."""
        self._defined.add(name)
        linkage = "" if exported else "internal "
        self._parts[name] = f"@{name} = {linkage}global {type} {initial}, align 64"
        return Value("ptr", f"@{name}")

    def table(self, name: str, functions: Sequence[str]) -> Value:
        """A global with the addresses of functions of this module."""
        addresses = ", ".join(f"ptr @{function}" for function in functions)
        return self.variable(name, f"[{len(functions)} x ptr]", f"[ {addresses} ]")

    def external(self, name: str) -> Value:
        """The address of a symbol that the loader provides."""
        if name not in self._defined:
            self._declared.setdefault(name, f"@{name} = external global i8")
        return Value("ptr", f"@{name}")

    def declare(self, name: str, result: str, types: tuple[str, ...]) -> None:
        """Note that `name` is called with this signature."""
        if name not in self._defined:
            self._declared[name] = f"declare {result} @{name}({', '.join(types)})"

    def include(self, name: str, text: str, declarations: Iterable[str]) -> None:
        """A function given as text, and lines that declare what it calls."""
        self._defined.add(name)
        self._parts[name] = text
        for line in declarations:
            self._declared.setdefault(line.split("@")[1].split("(")[0], line)

    @property
    def declared(self) -> dict[str, str]:
        """The declarations of what is called and not defined here, by name."""
        return {n: d for n, d in self._declared.items() if n not in self._defined}

    @property
    def undefined(self) -> list[str]:
        """External symbols that the loader has to provide."""
        return [n for n in self._declared if n not in self._defined and not n.startswith("llvm.")]

    def text(self) -> str:
        """The module as LLVM text."""
        declared = list(self.declared.values())
        return "\n".join([*declared, *self._texts().values()]) + "\n"

    def _texts(self) -> dict[str, str]:
        """What is defined here, by name."""
        return self._parts | {f.name: f.text() for f in self._functions}

    def only(self, *names: str) -> Module:
        """The module of these functions, and of what they need.

        >>> m = Module()
        >>> for name in ("f", "g"):
        ...     m.function(name, "void", exported=True).ret()
        >>> m.only("g").text()
        'define void @g() nounwind {\\nentry:\\n  ret void\\n}\\n'
        """
        texts, needed, waiting = self._texts(), set[str](), list(names)
        while waiting:
            name = waiting.pop()
            if name not in needed:
                needed.add(name)
                waiting += _GLOBAL.findall(texts.get(name, ""))
        made = Module()
        made._parts = {name: text for name, text in texts.items() if name in needed}
        made._defined = set(made._parts)
        made._declared = {name: line for name, line in self._declared.items() if name in needed}
        return made


class Function:
    """One function under construction.  Instructions go to the end of the current block."""

    def __init__(
        self, module: Module, name: str, result: str, types: tuple[str, ...], exported: bool
    ) -> None:
        self.module = module
        self.parameters = [Value(t, f"%p{i}") for i, t in enumerate(types)]
        self.name = name
        linkage = "" if exported else "internal "
        arguments = ", ".join(str(p) for p in self.parameters)
        self._head = f"define {linkage}{result} @{name}({arguments}) nounwind"
        self._slots: list[str] = []
        self._lines: list[str] = []
        self._count = 0
        self._terminated = False

    def text(self) -> str:
        """The function as LLVM text."""
        body = "\n".join(["entry:", *self._slots, *self._lines, "}"])
        return f"{self._head}{aligned_stack(body)} {{\n{body}"

    # ------------------------------------------------------------------------------ instructions

    def emit(self, line: str) -> None:
        """Add one instruction that has no result."""
        if self._terminated:
            self.label(self.new_label())
        self._lines.append(f"  {line}")

    def value(self, type: str, expression: str) -> Value:
        """Add one instruction that has a result."""
        self._count += 1
        name = f"%v{self._count}"
        self.emit(f"{name} = {expression}")
        return Value(type, name)

    def at(self, base: Value, offset: Value | int) -> Value:
        """The address `offset` bytes after `base`."""
        if offset == 0:
            return base
        step = i64(offset) if isinstance(offset, int) else offset
        return self.value("ptr", f"getelementptr i8, {base}, {step}")

    def item(self, base: Value, index: Value | int, size: int = 8) -> Value:
        """The address of the `index`-th element of an array of `size`-byte elements."""
        if isinstance(index, int):
            return self.at(base, index * size)
        return self.at(base, self.op("mul", index, size))

    def load(self, type: str, base: Value, offset: Value | int = 0) -> Value:
        """Read a value of `type` at `base + offset`."""
        return self.value(type, f"load {type}, {self.at(base, offset)}")

    def store(self, value: Value, base: Value, offset: Value | int = 0) -> None:
        """Write `value` at `base + offset`."""
        self.emit(f"store {value}, {self.at(base, offset)}")

    def splat(self, scalar: Value, lanes: int) -> Value:
        """A vector with the same number in all lanes."""
        kind = f"<{lanes} x {scalar.type}>"
        first = self.value(kind, f"insertelement {kind} poison, {scalar}, i64 0")
        mask = f"<{lanes} x i32> zeroinitializer"
        return self.value(kind, f"shufflevector {first}, {kind} poison, {mask}")

    def first_lanes(self, count: Value, lanes: int) -> Value:
        """Which lanes of a vector are among the first `count`, a number of any size and sign."""
        every, numbers = self.splat(count, lanes), ", ".join(f"i64 {k}" for k in range(lanes))
        return self.value(f"<{lanes} x i1>", f"icmp slt <{lanes} x i64> <{numbers}>, {every.text}")

    def op(self, operation: str, a: Value, b: Value | int) -> Value:
        """A binary operation on integers: add, sub, mul, and, or, shl, lshr, udiv, urem.

        LLVM writes a division out as one of 32 bits, one of 64 bits and a choice.  It takes that
        fifty times the time of an addition, so that a module has it once.
        """
        varies = isinstance(b, Value) and not b.text.isdigit()
        if operation in _DIVISIONS and varies and a.type == "i64":
            self.module.include(f"long_{operation}", _DIVISIONS[operation], ())
            return self.value("i64", f"call i64 @long_{operation}({a}, i64 {_text(b)})")
        return self.value(a.type, f"{operation} {a}, {_text(b)}")

    def compare(self, predicate: str, a: Value, b: Value | int) -> Value:
        """An integer or pointer comparison: eq, ne, ult, slt, ..."""
        return self.value("i1", f"icmp {predicate} {a}, {_text(b)}")

    def convert(self, operation: str, value: Value, type: str) -> Value:
        """A conversion: trunc, zext, sext, fptrunc, sitofp, inttoptr, ..."""
        return self.value(type, f"{operation} {value} to {type}")

    def is_null(self, value: Value) -> Value:
        """Whether a pointer is null."""
        return self.compare("eq", value, NULL)

    def select(self, condition: Value, yes: Value, no: Value) -> Value:
        """`yes if condition else no`."""
        return self.value(yes.type, f"select {condition}, {yes}, {no}")

    def opaque(self, value: Value) -> Value:
        """A value in a register, of which LLVM does not know what it was computed from.

        It may still be left out where nobody needs it.
        """
        asm = f'asm "", "=r,0"({value}) memory(none) willreturn'
        return self.value(value.type, f"call {value.type} {asm}")

    def call(self, returns: str, target: str | Value, *arguments: Value) -> Value:
        """Call a function by name, or by address."""
        listed = ", ".join(str(a) for a in arguments)
        if isinstance(target, str):
            self.module.declare(target, returns, tuple(a.type for a in arguments))
        name = f"@{target}" if isinstance(target, str) else target.text
        if returns == "void":
            self.emit(f"call void {name}({listed})")
            return NULL
        return self.value(returns, f"call {returns} {name}({listed})")

    def variable(self, type: str, initial: Value) -> Value:
        """A local variable: the address of a stack slot."""
        slot = self.space(type)
        self.store(initial, slot)
        return slot

    def space(self, type: str) -> Value:
        """The address of a stack slot that holds nothing yet.

        LLVM writes zeros to a large one element by element, which takes it longer than the rest.
        """
        self._count += 1
        slot = Value("ptr", f"%s{self._count}")
        self._slots.append(f"  {slot.text} = alloca {type}")
        return slot

    def words(self, values: Sequence[Value]) -> Value:
        """Values in memory, eight bytes each: the address of a block on the stack."""
        block = self.space(f"[{len(values)} x i64]")
        for k, value in enumerate(values):
            self.store(value, block, 8 * k)
        return block

    # ------------------------------------------------------------------------------------ control

    def new_label(self) -> str:
        """A fresh name of a block."""
        self._count += 1
        return f"b{self._count}"

    def label(self, name: str) -> None:
        """Start a block; the one before runs into it."""
        if not self._terminated:
            self._lines.append(f"  br label %{name}")
        self._lines.append(f"{name}:")
        self._terminated = False

    def goto(self, name: str) -> None:
        """End the block with a jump."""
        self._end(f"br label %{name}")

    def goto_if(self, condition: Value, name: str) -> None:
        """Jump if the condition holds, else go on."""
        after = self.new_label()
        self._end(f"br {condition}, label %{name}, label %{after}")
        self.label(after)

    def goto_unless(self, condition: Value, name: str) -> None:
        """Jump if the condition does not hold, else go on."""
        after = self.new_label()
        self._end(f"br {condition}, label %{after}, label %{name}")
        self.label(after)

    def ret(self, value: Value | None = None) -> None:
        """Return."""
        self._end(f"ret {value}" if value is not None else "ret void")

    def _end(self, line: str) -> None:
        self.emit(line)
        self._terminated = True

    @contextmanager
    def when(self, condition: Value) -> Iterator[None]:
        """Instructions that run only if the condition holds."""
        inside, after = self.new_label(), self.new_label()
        self._end(f"br {condition}, label %{inside}, label %{after}")
        self.label(inside)
        yield
        self.label(after)

    @contextmanager
    def loop(self, count: Value) -> Iterator[Value]:
        """Instructions that run for each index in `[0, count)`.

        What they compute from the index is left as they say it: LLVM would look for other ways to
        step through addresses, for a third of the time that it takes, and find few better ones.
        """
        index = self.variable("i64", i64(0))
        head, after = self.new_label(), self.new_label()
        self.store(i64(0), index)
        self.label(head)
        now = self.load("i64", index)
        self.goto_unless(self.compare("slt", now, count), after)
        yield self.opaque(now)
        self.store(self.op("add", now, 1), index)
        self.goto(head)
        self.label(after)

    def switch(self, value: Value, cases: Mapping[int, Callable[[], None]], other: str) -> None:
        """One of several pieces of code; after each, control goes on behind the switch."""
        labels = {number: self.new_label() for number in cases}
        after = self.new_label()
        arms = " ".join(f"{value.type} {n}, label %{name}" for n, name in labels.items())
        self._end(f"switch {value}, label %{other} [ {arms} ]")
        for number, body in cases.items():
            self.label(labels[number])
            body()
            self.goto(after)
        self.label(after)


def _text(operand: Value | int) -> str:
    return str(operand) if isinstance(operand, int) else operand.text
