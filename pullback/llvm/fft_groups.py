"""Groups of Fourier transforms in cache, as LLVM text: a part of `llvm.fft_kernels`.

A group is as many transforms as a vector has lanes.  It is copied to memory that stays in cache, a
vector for each place; if its lanes are rows, squares are transposed on the way.  Inverse transforms
have conjugates, on the way in and out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from pullback.llvm.entry_ir import NULL, Function, Module, Value, i64
from pullback.llvm.fft_passes import Complex, Passes
from pullback.llvm.scratch import Scratch
from pullback.llvm.squares import transposed

__all__ = ["LONGEST", "Groups"]

LONGEST: Final = 8192
"""The longest transform for which there is scratch memory."""


class Groups(Passes):
    """Writes the copies, and the function that runs all passes of a group."""

    def __init__(self, name: str, bits: int, radices: Sequence[int]) -> None:
        super().__init__(Module(), name, bits, radices)
        self.scratch = Scratch(self.m, f"pb_fft_{name}", (2 * LONGEST + 1) * self.step)
        self.write_slow_copy("slow_load", loads=True)
        self.write_slow_copy("slow_store", loads=False)
        self.write_neighbours("near_load", loads=True)
        self.write_neighbours("near_store", loads=False)
        self.write_rows("rows_load", loads=True)
        self.write_rows("rows_store", loads=False)
        self.write_group()
        self.write_some("some_load", loads=True)
        self.write_some("some_store", loads=False)
        self.write_near_group()
        self.write_near_task()

    # ------------------------------------------------------------------------------ copies

    def write_slow_copy(self, name: str, loads: bool) -> None:
        """`slow_load(scratch, array, first, last, count, step, lane, sign, scale)`

        copies places `first` to `last` of `count` lanes one by one; `step` and `lane` are bytes.
        """
        types = ("ptr", "ptr", "i64", "i64", "i64", "i64", "i64", *[self.type] * 2)
        f = self.m.function(name, "void", *types)
        scratch, array, first, last, count, step, lane, sign, scale = f.parameters
        half = self.step // 2
        one = Value(self.type, "1.0")
        signed = f.value(self.type, f"fmul {sign}, {(one if loads else scale).text}")
        factors = (one if loads else scale, signed)
        with f.loop(f.op("sub", last, first)) as i:
            k = f.op("add", i, first)
            place, line = f.item(scratch, k, self.step), f.at(array, f.op("mul", k, step))
            if loads:
                self.store(f, Complex(self.zero, self.zero), place)
            with f.loop(count) as j:
                inside = f.at(place, f.op("mul", j, self.size))
                outside = f.at(line, f.op("mul", j, lane))
                for part, factor in enumerate(factors):
                    here, there = f.at(inside, part * half), f.at(outside, part * self.size)
                    source, target = (there, here) if loads else (here, there)
                    number = f.load(self.type, source)
                    f.store(f.value(self.type, f"fmul {number}, {factor.text}"), target)
        f.ret()

    def write_neighbours(self, name: str, loads: bool) -> None:
        """`near_load(scratch, array, n, step, sign, scale)`: lanes that are neighbours."""
        f = self.m.function(name, "void", "ptr", "ptr", "i64", "i64", *[self.type] * 2)
        scratch, array, n, step, sign, scale = f.parameters
        signs, factors = self.splat(f, sign), self.factors(f, scale, sign)
        with f.loop(n) as k:
            place, line = f.item(scratch, k, self.step), f.at(array, f.op("mul", k, step))
            if loads:
                self.store(f, self.signed(f, self.near(f, line), signs), place)
            else:
                self.put_near(f, self.weighted(f, self.load(f, place), factors), line)
        f.ret()

    def write_some(self, name: str, loads: bool) -> None:
        """`some_load(scratch, array, n, count, pitch)`: fewer neighbours than lanes, as they are.

        Numbers are interleaved in the scratch memory, too; others are 0.
        """
        f = self.m.function(name, "void", "ptr", "ptr", "i64", "i64", "i64")
        scratch, array, n, count, pitch = f.parameters
        half, kind = self.step // 2, f"v{self.lanes}f{8 * self.size}"
        masks = []
        for h in (0, 1):
            left = f.op("sub", f.op("mul", count, 2), h * self.lanes)
            masks.append(f.first_lanes(left, self.lanes))
        align = Value("i32", str(self.size))
        with f.loop(n) as k:
            place, line = f.item(scratch, k, self.step), f.at(array, f.op("mul", k, pitch))
            for h, mask in enumerate(masks):
                inside, outside = f.at(place, h * half), f.at(line, h * half)
                if loads:
                    name = f"llvm.masked.load.{kind}.p0"
                    vector = f.call(self.vector, name, outside, align, mask, self.zero)
                    self.put(f, vector, inside)
                else:
                    name = f"llvm.masked.store.{kind}.p0"
                    f.call("void", name, self.outside(f, inside), outside, align, mask)
        f.ret()

    def write_rows(self, name: str, loads: bool) -> None:
        """`rows_load(scratch, array, blocks, lane, sign, scale)`: lanes are rows.

        A block is as many places as half a vector has lanes: a vector of each row.
        """
        f = self.m.function(name, "void", "ptr", "ptr", "i64", "i64", *[self.type] * 2)
        scratch, array, blocks, lane, sign, scale = f.parameters
        many, signs, factors = self.lanes // 2, self.splat(f, sign), self.factors(f, scale, sign)
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
                    self.store(f, self.signed(f, self.halves(f, *pair), signs), place)
            else:
                parts = [self.weighted(f, self.load(f, place), factors) for place in places]
                pairs = [self.interleaved(f, part) for part in parts]
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
        n, count, step, lane, sign, scale = shape
        by_rows, near = ways
        many = self.lanes // 2
        blocks = f.select(by_rows, f.op("udiv", n, many), i64(0))
        done = f.select(near, n, f.op("mul", blocks, many))
        with f.when(near):
            f.call("void", f"near_{what}", scratch, array, n, step, sign, scale)
        with f.when(by_rows):
            f.call("void", f"rows_{what}", scratch, array, blocks, lane, sign, scale)
        f.call("void", f"slow_{what}", scratch, array, done, n, count, step, lane, sign, scale)

    # ------------------------------------------------------------------------------ groups

    def by_radix(self, f: Function, r: Value, write: Callable[[int], None], other: str) -> None:
        """What `write` writes for the radix that `r` turns out to be."""
        f.switch(r, {radix: partial(write, radix) for radix in self.radices}, other)

    def behind(self, f: Function, powers: Value, r: Value, m: Value) -> Value:
        """Where the powers of the next pass are, behind those of one of radix `r`."""
        return f.at(powers, f.op("mul", f.op("mul", f.op("sub", r, 1), m), 2 * self.size))

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

        def run(radix: int) -> None:
            arguments = (here, there, powers, m, now)
            with f.when(last):
                f.call("void", f"last_{radix}", *arguments)
            with f.when(f.compare("ne", m, 1)):
                f.call("void", f"pass_{radix}", *arguments)

        self.by_radix(f, r, run, done)
        f.store(self.behind(f, powers, r, m), table)
        f.store(there, source)
        f.store(here, target)
        f.store(following, stride)
        f.store(f.at(f.load("ptr", step), 8), step)
        f.goto(again)
        f.label(done)
        f.ret(f.load("ptr", source))

    def write_near_group(self) -> None:
        """`near_group(scratch, src, dst, pitch, turns, plan, n, sign, scale)`

        transforms neighbours from array to array: the first pass reads the one, the last pass
        writes the other.  If `dst` is null, the last pass writes to the scratch memory, as to an
        array; the result is where.
        """
        types = (*["ptr"] * 3, "i64", "ptr", "ptr", "i64", *[self.type] * 2)
        f = self.m.function("near_group", "ptr", *types)
        scratch, src, dst, pitch, turns, plan, n, sign, scale = f.parameters
        other = f.at(scratch, f.op("mul", n, self.step))
        source, target = f.variable("ptr", scratch), f.variable("ptr", other)
        r = f.load("i64", plan)
        m = f.op("udiv", n, r)
        table = f.variable("ptr", self.behind(f, turns, r, m))
        step = f.variable("ptr", f.at(plan, 8))
        stride = f.variable("i64", r)
        again, last = f.new_label(), f.new_label()

        def first(radix: int) -> None:
            f.call("void", f"first_{radix}", src, scratch, turns, m, pitch, sign)

        with f.when(f.compare("eq", m, 1)):
            f.call("void", "near_load", scratch, src, n, pitch, sign, scale)
            f.store(i64(1), stride)
            f.store(plan, step)
            f.goto(last)
        self.by_radix(f, r, first, last)
        f.label(again)
        at = f.load("ptr", step)
        r, now = f.load("i64", at), f.load("i64", stride)
        following = f.op("mul", now, r)
        m = f.op("udiv", n, following)
        f.goto_if(f.compare("eq", m, 1), last)
        here, there, powers = (f.load("ptr", slot) for slot in (source, target, table))

        def middle(radix: int) -> None:
            f.call("void", f"pass_{radix}", here, there, powers, m, now)

        self.by_radix(f, r, middle, last)
        f.store(self.behind(f, powers, r, m), table)
        f.store(there, source)
        f.store(here, target)
        f.store(following, stride)
        f.store(f.at(at, 8), step)
        f.goto(again)
        f.label(last)
        here, free, now = f.load("ptr", source), f.load("ptr", target), f.load("i64", stride)
        to = f.select(f.compare("eq", dst, NULL), free, dst)
        r, end = f.load("i64", f.load("ptr", step)), f.new_label()

        def final(radix: int) -> None:
            f.call("void", f"final_{radix}", here, to, now, pitch, sign, scale)

        self.by_radix(f, r, final, end)
        f.label(end)
        f.ret(to)

    def write_near_task(self) -> None:
        """`near_task(scratch, src, dst, count, pitch, turns, plan, n, sign, scale)`

        transforms `count` neighbours, at most as many as there are lanes.
        """
        types = (*["ptr"] * 3, "i64", "i64", "ptr", "ptr", "i64", *[self.type] * 2)
        f = self.m.function("near_task", "void", *types)
        scratch, src, dst, count, pitch, *transform = f.parameters
        with f.when(f.compare("sge", count, self.lanes)):
            f.call("ptr", "near_group", scratch, src, dst, pitch, *transform)
            f.ret()
        n = transform[2]
        lines = f.at(scratch, f.op("mul", n, self.step))
        f.call("void", "some_load", lines, src, n, count, pitch)
        result = f.call("ptr", "near_group", scratch, lines, NULL, i64(self.step), *transform)
        f.call("void", "some_store", result, dst, n, count, pitch)
        f.ret()
