"""What the writers of functions are made of: values, scopes, the module, appended instructions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from typing import Any, Protocol

from pullback.llvm.emit_types import lanes_type, splat
from pullback.loops.ir import Buffer
from pullback.records import record

__all__ = ["Instructions", "Module", "Scope", "Value"]


@record()
class Value:
    """An SSA name or a constant; `level` is the scope that computes it."""

    name: str
    level: int
    varying: bool = False


@record(frozen=False)
class Scope:
    """A stretch of code: what it computes is known until it ends."""

    lines: list[str]
    level: int
    label: str
    memo: list[Any] = field(default_factory=list)
    stored: frozenset[Buffer] = frozenset()
    """Buffers written inside: loads of them stay inside."""
    barrier: bool = False
    """Whether loads must not leave because this scope may not run."""


class Module:
    """What the functions of a module share: definitions by name, declarations, needed symbols."""

    def __init__(self, vector_bits: int = 512) -> None:
        self.vector_bits = vector_bits
        self.functions: list[str] = []
        self.declarations: dict[str, str] = {}
        self.globals: list[str] = []
        self.symbols: set[str] = set()
        self.data: dict[str, bytes] = {}
        self.kernels: dict[str, str] = {}
        self.math: set[tuple[str, str, int]] = set()
        self.quotients: set[str] = set()

    def declare(self, name: str, line: str) -> None:
        """Declare a function once."""
        self.declarations.setdefault(name, line)

    def external(self, name: str, line: str) -> None:
        """Declare a function that the linker has to find."""
        self.declare(name, line)
        self.symbols.add(name)


class Writer(Protocol):
    """What `Instructions` needs of the writer of a function."""

    module: Module

    def put(self, text: str, level: int) -> str: ...


class Instructions:
    """Appends instructions on values of a fixed number of lanes to one scope."""

    __slots__ = ("lanes", "level", "writer")

    def __init__(self, writer: Writer, level: int, lanes: int) -> None:
        self.writer = writer
        self.level = level
        self.lanes = lanes

    def put(self, text: str) -> str:
        """Append an instruction; the name of its result."""
        return self.writer.put(text, self.level)

    def type(self, scalar: str) -> str:
        """A vector type of these lanes."""
        return lanes_type(scalar, self.lanes)

    def splat(self, text: str, scalar: str) -> str:
        """A constant in every lane."""
        return splat(text, scalar, self.lanes)

    def suffix(self, scalar: str) -> str:
        """How intrinsics' names spell the type."""
        short = {"float": "f32", "double": "f64", "half": "f16"}.get(scalar, scalar)
        return short if self.lanes == 1 else f"v{self.lanes}{short}"

    def intrinsic(self, name: str, scalar: str, *args: str, extra: str = "") -> str:
        """Call an overloaded intrinsic whose operands and result have one type."""
        t = self.type(scalar)
        full = f"{name}.{self.suffix(scalar)}"
        kinds = ", ".join([t] * len(args)) + (", i1" if extra else "")
        self.writer.module.declare(full, f"declare {t} @{full}({kinds})")
        operands = ", ".join(f"{t} {a}" for a in args) + (f", {extra}" if extra else "")
        return self.put(f"call {t} @{full}({operands})")

    def pick(self, vectors: Sequence[str], wanted: Sequence[tuple[int, int]], scalar: str) -> str:
        """For each lane an element, by vector and place: a shuffle for each further vector."""
        t, made = self.type(scalar), vectors[0]
        for k, vector in enumerate(vectors[1:], 1):
            order = []
            for lane, (source, place) in enumerate(wanted):
                if source > k:
                    order.append("i32 poison")
                elif source == k:
                    order.append(f"i32 {self.lanes + place}")
                else:
                    order.append(f"i32 {place if k == 1 else lane}")
            mask = f"<{self.lanes} x i32> <{', '.join(order)}>"
            made = self.put(f"shufflevector {t} {made}, {t} {vector}, {mask}")
        return made

    @property
    def module(self) -> Module:
        """The module being written."""
        return self.writer.module
