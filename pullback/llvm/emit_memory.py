"""Loads to LLVM text: scalars, runs, reversed runs, gathers, transposed tiles, complex parts."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from pullback.llvm import emit_operations as operations
from pullback.llvm.emit_scopes import Instructions, Value
from pullback.llvm.emit_types import lanes_type, storage_type
from pullback.llvm.emit_values import ValueWriter
from pullback.loops.expr import Affine, Axis, Expr, Load, Op, affine
from pullback.loops.ir import Buffer
from pullback.loops.nests import NEAR

__all__ = ["MemoryWriter", "stack_slot", "storage_bytes"]

LONGEST_RUN: Final = 128
"""Short elements of one load of which every second to fourth is taken."""
MOST_RUNS: Final = 8
"""Steps from one element to the next up to which all that lies between is loaded, too."""
_PROMOTED_BYTES: Final = 1024
"""Larger arrays on the stack are never loaded as one vector."""


def storage_bytes(dtype: np.dtype[Any]) -> int:
    """Alignment of an element, of a complex number's part."""
    return dtype.itemsize // 2 if dtype.kind == "c" else dtype.itemsize


def stack_slot(name: str, nbytes: int) -> list[str]:
    """An array on the stack, at first undefined.

    That is said by a store: SROA of LLVM 22 joins vectors stored one beside the other, which a
    wider load reads, where the vector of the highest address is stored, though others may be
    stored after it.  It leaves arrays alone that something else writes, too; the other ways of
    keeping them in registers do not mind the store.
    """
    lines = [f"  {name} = alloca [{max(nbytes, 1)} x i8], align 64"]
    if 1 < nbytes <= _PROMOTED_BYTES:
        lines.append(f"  store i{8 * nbytes} poison, ptr {name}, align 64")
    return lines


def _each_lane(atom: Expr, axis: Axis, numbers: Sequence[int]) -> list[int] | None:
    """What an atom of an index is in each lane of an axis, where quotients are all that is made."""
    if atom is axis:
        return list(numbers)
    if type(atom) is not Op or atom.name not in ("floordiv", "mod"):
        return None
    divided = affine(atom.args[0])
    total = [divided.const] * len(numbers)
    for inner, k in divided.terms.items():
        each = _each_lane(inner, axis, numbers)
        if each is None:
            return None
        total = [t + k * n for t, n in zip(total, each, strict=True)]
    divide = operator.floordiv if atom.name == "floordiv" else operator.mod
    return [divide(n, atom.attr) for n in total]


class MemoryWriter(ValueWriter):
    """Writes addresses and loads."""

    def pointer(self, buffer: Buffer) -> str:
        """The address of a buffer."""
        raise NotImplementedError

    def address(self, buffer: Buffer, offset: Value, scalar: str) -> Value:
        """The address of an element."""
        pointer = self.pointer(buffer)
        moving = self.values.get(("pointer", buffer.root()))
        if moving is not None:
            offset = Value(offset.name, max(offset.level, moving.level), offset.varying)
        if offset.name == "0":
            return Value(pointer, offset.level)
        key = ("address", pointer, offset.name, scalar)
        found = self.values.get(key)
        if found is None:
            text = f"getelementptr inbounds {scalar}, ptr {pointer}, i64 {offset.name}"
            found = self.remember(key, Value(self.put(text, offset.level), offset.level))
        # The same address may be known further out; the expression still belongs to this step.
        return Value(found.name, max(found.level, offset.level))

    def load_level(self, buffer: Buffer) -> int:
        """The outermost scope that a load of a buffer may move to."""
        root = buffer.root()
        for scope in reversed(self.scopes):
            if scope.barrier or root in scope.stored:
                return scope.level
        return 0

    def load(self, e: Load) -> Value:
        """An element: a scalar, a vector of consecutive ones, or gathered ones."""
        buffer = e.buffer.root()
        scalar = storage_type(buffer.dtype)
        floor = self.load_level(buffer)
        stride = self.stride(e.offset)
        offset, part = e.offset, e.part
        if part is not None and stride not in (None, -1, 0, 1) and self.lanes > 1:
            found = self._transposed(buffer, scalar, offset, stride, max(floor, self.vector_level))
            if found is not None:
                step = max(found.level, self.index(offset).level)
                return self._part_of(found.name, buffer, part, step)
        if part is not None and (stride is None or abs(stride) != 1 or self.lanes == 1):
            offset, part = e.offset * 2 + part, None
            stride = None if stride is None else 2 * stride
        size = storage_bytes(buffer.dtype)
        if self.lanes == 1 or stride == 0:
            at = self.address(buffer, self.index(offset), scalar)
            level = max(at.level, floor)
            name = self.put(f"load {scalar}, ptr {at.name}, align {size}", level)
            return self._loaded(name, buffer, level, False)
        level = max(floor, self.vector_level)
        if stride is None:
            known = self._known_places(offset)
            if known is not None:
                return self._load_pattern(buffer, scalar, *known, floor)
            bits = self._narrow(offset)
            index = self.index_value(offset, bits)
            level = max(level, index.level)
            where = self.pointers_to(buffer, scalar, index.name, level, bits)
            return self._loaded(
                self._gather_from(buffer, scalar, where, level), buffer, level, True
            )
        if part is not None:
            return self._load_part(buffer, e.offset, part, stride, level)
        if stride not in (1, -1):
            found = self._transposed(buffer, scalar, offset, stride, level)
            if found is not None:
                step = max(found.level, self.index(offset).level)
                return self._loaded(found.name, buffer, step, True)
            name, level = self._gather_strided(buffer, scalar, offset, stride, level)
            return self._loaded(name, buffer, level, True)
        name, level = self._load_run(buffer, scalar, offset, stride, level)
        return self._loaded(name, buffer, level, True)

    def _load_run(
        self, buffer: Buffer, scalar: str, offset: Affine, stride: int, level: int
    ) -> tuple[str, int]:
        first = offset if stride == 1 else offset - (self.lanes - 1)
        at = self.address(buffer, self.index(first), scalar)
        level = max(level, at.level)
        t = lanes_type(scalar, self.lanes)
        size = storage_bytes(buffer.dtype)
        name = self.put(f"load {t}, ptr {at.name}, align {size}", level)
        if stride == -1:
            order = ", ".join(f"i32 {k}" for k in range(self.lanes - 1, -1, -1))
            mask = f"<{self.lanes} x i32> <{order}>"
            name = self.put(f"shufflevector {t} {name}, {t} poison, {mask}", level)
        return name, level

    def _known_places(self, offset: Affine) -> tuple[Affine, list[int]] | None:
        """An index as what all lanes share and what each lane adds, if that is known and near."""
        axis = self.vector_axis
        if axis is None or self.values[id(axis)].name[0] == "%":
            return None
        first = self.values[id(axis)].name
        numbers, added = range(int(first), int(first) + self.lanes), [0] * self.lanes
        rest: dict[Expr, int] = {}
        for atom, k in offset.terms.items():
            if atom is not axis and not self._is_varying(atom):
                rest[atom] = k
                continue
            each = _each_lane(atom, axis, numbers)
            if each is None:
                return None
            added = [a + k * n for a, n in zip(added, each, strict=True)]
        low = min(added)
        if max(added) - low >= NEAR * self.lanes:
            return None
        return Affine(offset.const + low, rest), [a - low for a in added]

    def _load_pattern(
        self, buffer: Buffer, scalar: str, first: Affine, picks: list[int], level: int
    ) -> Value:
        """Near elements in an order known now: a load of all between, and a shuffle.

        Of complex numbers whole ones are loaded: LLVM 22 gives up on some shuffles of vectors of
        three, and the load of the other part is the same one.
        """
        if buffer.dtype.kind == "c":
            part = first.const % 2
            first, picks = first - part, [p + part for p in picks]
        at = self.address(buffer, self.index(first), scalar)
        level = max(level, at.level, self.vector_level)
        span, size = max(picks) + 1, storage_bytes(buffer.dtype)
        if buffer.dtype.kind == "c":
            span += span % 2
        t = lanes_type(scalar, span) if span > 1 else f"<1 x {scalar}>"
        run = self.put(f"load {t}, ptr {at.name}, align {size}", level)
        mask = f"<{self.lanes} x i32> <{', '.join(f'i32 {p}' for p in picks)}>"
        name = self.put(f"shufflevector {t} {run}, {t} poison, {mask}", level)
        return self._loaded(name, buffer, level, True)

    def _load_part(
        self, buffer: Buffer, offset: Affine, part: int, stride: int, level: int
    ) -> Value:
        """The real or imaginary parts of consecutive complex numbers."""
        scalar = storage_type(buffer.dtype)
        first = offset if stride == 1 else offset - (self.lanes - 1)
        at = self.address(buffer, self.index(first * 2), scalar)
        level = max(level, at.level)
        wide = lanes_type(scalar, 2 * self.lanes)
        key = ("pairs", at.name, wide)
        found = self.values.get(key)
        if found is None:
            size = storage_bytes(buffer.dtype)
            name = self.put(f"load {wide}, ptr {at.name}, align {size}", level)
            found = self.remember(key, Value(name, level))
        lanes = range(self.lanes) if stride == 1 else range(self.lanes - 1, -1, -1)
        order = ", ".join(f"i32 {2 * k + part}" for k in lanes)
        mask = f"<{self.lanes} x i32> <{order}>"
        name = self.put(f"shufflevector {wide} {found.name}, {wide} poison, {mask}", level)
        return Value(name, level, True)

    def pointers_to(self, buffer: Buffer, scalar: str, index: str, level: int, bits: int) -> str:
        """A vector of addresses, for indices of so many bits."""
        t = lanes_type(f"i{bits}", self.lanes)
        return self.put(
            f"getelementptr inbounds {scalar}, ptr {self.pointer(buffer)}, {t} {index}", level
        )

    def _gather_from(self, buffer: Buffer, scalar: str, addresses: str, level: int) -> str:
        t = lanes_type(scalar, self.lanes)
        text = Instructions(self, level, self.lanes)
        name = f"llvm.masked.gather.{text.suffix(scalar)}.v{self.lanes}p0"
        flags = lanes_type("i1", self.lanes)
        pointers = lanes_type("ptr", self.lanes)
        self.module.declare(name, f"declare {t} @{name}({pointers}, {flags}, {t})")
        size = storage_bytes(buffer.dtype)
        return self.put(
            f"call {t} @{name}({pointers} align {size} {addresses}, {flags} splat (i1 true), "
            f"{t} poison)",
            level,
        )

    def _transposed(
        self, buffer: Buffer, scalar: str, offset: Affine, stride: int, level: int
    ) -> Value | None:
        """Elements across the rows of a square tile: the tile is loaded by rows and transposed."""
        axis = next((a for a in self.unrolled if offset.terms.get(a) == 1), None)
        if axis is None or self.unrolled[axis][0] != self.lanes:
            return None
        terms = {a: k for a, k in offset.terms.items() if a is not axis}
        base = Affine(offset.const, terms)
        key = ("tile", buffer, base, stride, self.lanes)
        column = self.unrolled[axis][1]
        if (*key, 0) not in self.values:
            level = max(level, self.index(base).level)
            names = self._tile(buffer, scalar, base, stride, level)
            for k, name in enumerate(names):
                self.remember((*key, k), Value(name, level, True))
        return self.values[*key, column]

    def _tile(
        self, buffer: Buffer, scalar: str, base: Affine, stride: int, level: int
    ) -> list[str]:
        """Load rows of a square and transpose them: each round interleaves the two halves.

        The parts of a complex number stay side by side.
        """
        n, parts = self.lanes, 2 if buffer.dtype.kind == "c" else 1
        t, size = lanes_type(scalar, n * parts), storage_bytes(buffer.dtype)
        rows = []
        for k in range(n):
            at = self.address(buffer, self.index((base + k * stride) * parts), scalar)
            rows.append(self.put(f"load {t}, ptr {at.name}, align {size}", level))
        masks = []
        for first in (0, n // 2):
            pairs = [first + k + half for k in range(n // 2) for half in (0, n)]
            order = ", ".join(f"i32 {parts * p + part}" for p in pairs for part in range(parts))
            masks.append(f"<{n * parts} x i32> <{order}>")
        for _ in range(n.bit_length() - 1):
            halves = zip(rows[: n // 2], rows[n // 2 :], strict=True)
            rows = [
                self.put(f"shufflevector {t} {a}, {t} {b}, {mask}", level)
                for a, b in halves
                for mask in masks
            ]
        return rows

    def _part_of(self, pairs: str, buffer: Buffer, part: int, level: int) -> Value:
        """The real or imaginary parts of complex numbers in a vector."""
        t = lanes_type(storage_type(buffer.dtype), 2 * self.lanes)
        order = ", ".join(f"i32 {2 * k + part}" for k in range(self.lanes))
        mask = f"<{self.lanes} x i32> <{order}>"
        text = f"shufflevector {t} {pairs}, {t} poison, {mask}"
        return Value(self.put(text, level), level, True)

    def _gather_strided(
        self, buffer: Buffer, scalar: str, offset: Affine, stride: int, level: int
    ) -> tuple[str, int]:
        first = self.address(buffer, self.index(offset), scalar)
        level = max(level, first.level)
        size = storage_bytes(buffer.dtype)
        whole = min(self.lanes, self.module.vector_bits // (8 * size))
        if 1 < stride <= MOST_RUNS and size >= 4 and whole >= 4:
            return self._pick_from_runs(scalar, first, stride, level, size, whole), level
        if 1 < stride <= 4 and stride * (self.lanes - 1) < LONGEST_RUN:
            return self._gather_short(buffer, scalar, first, stride, level), level
        steps = ", ".join(f"i64 {lane * stride}" for lane in range(self.lanes))
        t = lanes_type("i64", self.lanes)
        addresses = self.put(
            f"getelementptr inbounds {scalar}, ptr {first.name}, {t} <{steps}>", level
        )
        return self._gather_from(buffer, scalar, addresses, level), level

    def _pick_from_runs(
        self, scalar: str, first: Value, stride: int, level: int, size: int, lanes: int
    ) -> str:
        """Elements at a small stride: vectors of so many lanes side by side, and shuffles of two.

        The last of them begins earlier, so that nothing after the last element is touched.
        """
        t = lanes_type(scalar, lanes)
        begins = [min(k * lanes, (stride - 1) * (lanes - 1)) for k in range(stride)]
        at_run = ((lane * stride, lane * stride // lanes) for lane in range(lanes))
        wanted = [(run, place - begins[run]) for place, run in at_run]
        parts = []
        for start in range(0, self.lanes * stride, lanes * stride):
            runs = []
            for begin in begins:
                place = f"getelementptr inbounds {scalar}, ptr {first.name}, i64 {start + begin}"
                at = self.put(place, level) if start + begin else first.name
                runs.append(self.put(f"load {t}, ptr {at}, align {size}", level))
            parts.append(Instructions(self, level, lanes).pick(runs, wanted, scalar))
        while len(parts) > 1:
            t, lanes = lanes_type(scalar, lanes), 2 * lanes
            mask = f"<{lanes} x i32> <{', '.join(f'i32 {k}' for k in range(lanes))}>"
            parts = [
                self.put(f"shufflevector {t} {a}, {t} {b}, {mask}", level)
                for a, b in zip(parts[::2], parts[1::2], strict=True)
            ]
        return parts[0]

    def _gather_short(
        self, buffer: Buffer, scalar: str, first: Value, stride: int, level: int
    ) -> str:
        """Elements at a small stride: one long load and a shuffle."""
        span = stride * (self.lanes - 1) + 1
        t = lanes_type(scalar, span)
        size = storage_bytes(buffer.dtype)
        run = self.put(f"load {t}, ptr {first.name}, align {size}", level)
        order = ", ".join(f"i32 {k * stride}" for k in range(self.lanes))
        mask = f"<{self.lanes} x i32> <{order}>"
        return self.put(f"shufflevector {t} {run}, {t} poison, {mask}", level)

    def _loaded(self, name: str, buffer: Buffer, level: int, varying: bool) -> Value:
        text = Instructions(self, level, self.lanes if varying else 1)
        if buffer.dtype.kind == "c":
            return Value(name, level, varying)
        return Value(operations.from_storage(text, name, buffer.dtype), level, varying)
