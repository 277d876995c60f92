"""Groups of Fourier transforms in cache, as LLVM text: a part of `llvm.fft_kernels`.

A group is as many transforms as a vector has lanes.  It is copied to memory that stays in cache, a
vector for each place; if its lanes are rows, squares are transposed on the way.  Inverse transforms
exchange real and imaginary parts on the way in and out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from pullback.llvm.entry_ir import NULL, Function, Module, Value, i64
from pullback.llvm.fft_passes import RADICES, Complex, Passes
from pullback.llvm.scratch import Scratch
from pullback.llvm.squares import transposed

__all__ = ["LONGEST", "Groups"]

LONGEST: Final = 8192
"""The longest transform for which there is scratch memory."""


class Groups(Passes):
    """Writes the copies, and the function that runs all passes of a group."""

    def __init__(self, name: str, bits: int) -> None:
        super().__init__(Module(), name, bits)
        self.scratch = Scratch(self.m, f"pb_fft_{name}", (2 * LONGEST + 1) * self.step)
        self.write_slow_copy("slow_load", loads=True)
        self.write_slow_copy("slow_store", loads=False)
        self.write_neighbours("near_load", loads=True)
        self.write_neighbours("near_store", loads=False)
        self.write_rows("rows_load", loads=True)
        self.write_rows("rows_store", loads=False)
        self.write_group()

    # ------------------------------------------------------------------------------ copies

    def exchanged(self, f: Function, x: Complex, inverse: Value) -> Complex:
        """The parts, the other way round for an inverse transform."""
        return Complex(f.select(inverse, x.im, x.re), f.select(inverse, x.re, x.im))

    def write_slow_copy(self, name: str, loads: bool) -> None:
        """`slow_load(scratch, array, first, last, count, step, lane, inverse, scale)`

        copies places `first` to `last` of `count` lanes one by one; `step` and `lane` are bytes.
        """
        types = ("ptr", "ptr", "i64", "i64", "i64", "i64", "i64", "i1", self.type)
        f = self.m.function(name, "void", *types)
        scratch, array, first, last, count, step, lane, inverse, scale = f.parameters
        half = self.step // 2
        with f.loop(f.op("sub", last, first)) as i:
            k = f.op("add", i, first)
            place, line = f.item(scratch, k, self.step), f.at(array, f.op("mul", k, step))
            if loads:
                self.store(f, Complex(self.zero, self.zero), place)
            with f.loop(count) as j:
                inside = f.at(place, f.op("mul", j, self.size))
                outside = f.at(line, f.op("mul", j, lane))
                for part, other in ((0, 1), (1, 0)):
                    offset = f.select(inverse, i64(other * self.size), i64(part * self.size))
                    here, there = f.at(inside, part * half), f.at(outside, offset)
                    if loads:
                        f.store(f.load(self.type, there), here)
                    else:
                        value = f.value(self.type, f"fmul {f.load(self.type, here)}, {scale.text}")
                        f.store(value, there)
        f.ret()

    def halves(self, f: Function, x: Value, y: Value) -> Complex:
        """The parts of numbers that are interleaved in two vectors."""
        masks = (range(part, 2 * self.lanes, 2) for part in (0, 1))
        return Complex(*(self.shuffled(f, x, y, list(mask)) for mask in masks))

    def interleaved(self, f: Function, x: Complex) -> list[Value]:
        n = self.lanes
        masks = ([(k // 2) + n * (k % 2) for k in range(h * n, h * n + n)] for h in (0, 1))
        return [self.shuffled(f, *x, mask) for mask in masks]

    def shuffled(self, f: Function, x: Value, y: Value, picks: Sequence[int]) -> Value:
        mask = ", ".join(f"i32 {p}" for p in picks)
        kind = f"<{self.lanes} x i32>"
        return f.value(self.vector, f"shufflevector {x}, {y}, {kind} <{mask}>")

    def outside(self, f: Function, place: Value) -> Value:
        return f.value(self.vector, f"load {self.vector}, {place}, align {self.size}")

    def put(self, f: Function, value: Value, place: Value) -> None:
        f.emit(f"store {value}, {place}, align {self.size}")

    def write_neighbours(self, name: str, loads: bool) -> None:
        """`near_load(scratch, array, n, step, inverse, scale)`: lanes that are neighbours."""
        f = self.m.function(name, "void", "ptr", "ptr", "i64", "i64", "i1", self.type)
        scratch, array, n, step, inverse, scale = f.parameters
        factor, half = self.splat(f, scale), self.step // 2
        with f.loop(n) as k:
            place, line = f.item(scratch, k, self.step), f.at(array, f.op("mul", k, step))
            if loads:
                parts = self.halves(f, *(self.outside(f, f.at(line, h * half)) for h in (0, 1)))
                self.store(f, self.exchanged(f, parts, inverse), place)
            else:
                parts = self.exchanged(f, self.load(f, place), inverse)
                for h, vector in enumerate(self.interleaved(f, self.scaled(f, parts, factor))):
                    self.put(f, vector, f.at(line, h * half))
        f.ret()

    def write_rows(self, name: str, loads: bool) -> None:
        """`rows_load(scratch, array, blocks, lane, inverse, scale)`: lanes are rows.

        A block is as many places as half a vector has lanes: a vector of each row.
        """
        f = self.m.function(name, "void", "ptr", "ptr", "i64", "i64", "i1", self.type)
        scratch, array, blocks, lane, inverse, scale = f.parameters
        many, factor = self.lanes // 2, self.splat(f, scale)
        rows = [array]
        for _ in range(self.lanes - 1):
            rows.append(f.at(rows[-1], lane))
        with f.loop(blocks) as q:
            offset = f.op("mul", q, self.step // 2)
            base = f.item(scratch, q, many * self.step)
            places = [f.at(base, k * self.step) for k in range(many)]
            outside = [f.at(row, offset) for row in rows]
            if loads:
                vectors = [self.outside(f, place) for place in outside]
                low, high = (transposed(f, vectors[h * many :][:many], 2) for h in (0, 1))
                for place, pair in zip(places, zip(low, high, strict=True), strict=True):
                    self.store(f, self.exchanged(f, self.halves(f, *pair), inverse), place)
            else:
                parts = [self.exchanged(f, self.load(f, place), inverse) for place in places]
                pairs = [self.interleaved(f, self.scaled(f, part, factor)) for part in parts]
                for h in (0, 1):
                    vectors = transposed(f, [pair[h] for pair in pairs], 2)
                    for vector, place in zip(vectors, outside[h * many :], strict=False):
                        self.put(f, vector, place)
        f.ret()

    def copy(
        self, f: Function, what: str, scratch: Value, array: Value,
        ways: tuple[Value, Value], shape: tuple[Value, ...],
    ) -> None:  # fmt: skip
        """Bring the lanes in or out, by the fastest way for most of their places."""
        n, count, step, lane, inverse, scale = shape
        by_rows, near = ways
        many = self.lanes // 2
        blocks = f.select(by_rows, f.op("udiv", n, many), i64(0))
        done = f.select(near, n, f.op("mul", blocks, many))
        with f.when(near):
            f.call("void", f"near_{what}", scratch, array, n, step, inverse, scale)
        with f.when(by_rows):
            f.call("void", f"rows_{what}", scratch, array, blocks, lane, inverse, scale)
        f.call("void", f"slow_{what}", scratch, array, done, n, count, step, lane, inverse, scale)

    # ------------------------------------------------------------------------------ groups

    def write_group(self) -> None:
        """`group(scratch, turns, plan, n, final)`: all passes; where the result is.

        The last pass writes to `final`, or if it is null to one half of the memory.
        """
        f = self.m.function("group", "ptr", "ptr", "ptr", "ptr", "i64", "ptr")
        scratch, turns, plan, n, final = f.parameters
        other = f.at(scratch, f.op("mul", n, self.step))
        source, target = f.variable("ptr", scratch), f.variable("ptr", other)
        table, step = f.variable("ptr", turns), f.variable("ptr", plan)
        stride = f.variable("i64", i64(1))
        again, done = f.new_label(), f.new_label()
        f.label(again)
        r = f.load("i64", f.load("ptr", step))
        f.goto_if(f.compare("eq", r, 0), done)
        now = f.load("i64", stride)
        following = f.op("mul", now, r)
        m = f.op("udiv", n, following)
        here, there, powers = (f.load("ptr", slot) for slot in (source, target, table))
        last = f.compare("eq", m, 1)
        there = f.select(f.op("and", last, f.compare("ne", final, NULL)), final, there)

        def run(radix: int) -> Callable[[], None]:
            def body() -> None:
                arguments = (here, there, powers, m, now)
                with f.when(last):
                    f.call("void", f"last_{radix}", *arguments)
                with f.when(f.compare("ne", m, 1)):
                    f.call("void", f"pass_{radix}", *arguments)

            return body

        f.switch(r, {radix: run(radix) for radix in RADICES}, done)
        used = f.op("mul", f.op("mul", f.op("sub", r, 1), m), 2 * self.size)
        f.store(f.at(powers, used), table)
        f.store(there, source)
        f.store(here, target)
        f.store(following, stride)
        f.store(f.at(f.load("ptr", step), 8), step)
        f.goto(again)
        f.label(done)
        f.ret(f.load("ptr", source))
