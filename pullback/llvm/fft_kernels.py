"""Fourier transforms of many neighbours at once, as LLVM text: `pb_fft_f32` and `pb_fft_f64`.

    void pb_fft_T(T *src, T *dst, T *turns, i64 *plan,
                  i64 n, i64 outer, i64 inner, i64 inverse, T scale)

transforms complex arrays `[outer, n, inner]` (pairs of T, contiguous) along the middle axis; `src`
and `dst` may be one array.  A group of as many transforms as a vector has lanes is copied to memory
that stays in cache, a vector for each place, real and imaginary parts apart; if `inner` is 1, the
lanes are rows, and squares are transposed on the way.  Every pass of Stockham's method then works
on whole vectors, with turns that are the same in all lanes.  `plan` holds the radices and a 0, and
`turns` for each pass the powers exp(-2 pi i j p / length), p outermost, j from 1.  Inverse
transforms exchange real and imaginary parts on the way in and out.

An element of the result is the same arithmetic whatever its lane, group and thread.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Final, NamedTuple

from pullback.llvm import jit, pool
from pullback.llvm.entry_ir import Function, Module, Value, i64
from pullback.llvm.scratch import CACHE_LINE, Scratch
from pullback.llvm.squares import transposed

__all__ = ["KERNELS", "LONGEST", "RADICES", "address", "module_text"]

RADICES: Final = (2, 3, 4, 5, 7, 8, 11, 13)
LONGEST: Final = 8192
"""The longest transform for which there is scratch memory."""
GRAIN: Final = 16_384
"""Complex numbers that are worth a task."""
KERNELS: Final = ("pb_fft_f32", "pb_fft_f64")


class _Complex(NamedTuple):
    """A vector of complex numbers."""

    re: Value
    im: Value


class _Writer:
    """Writes the functions of one element type."""

    def __init__(self, name: str, bits: int) -> None:
        self.m = Module()
        self.type, self.size = {"f32": ("float", 4), "f64": ("double", 8)}[name]
        self.lanes = bits // 8 // self.size
        self.vector = f"<{self.lanes} x {self.type}>"
        self.step = 2 * self.lanes * self.size
        """Bytes of a place: both parts of all lanes."""
        self.scratch = Scratch(self.m, f"pb_fft_{name}", 2 * LONGEST * self.step)
        for r in RADICES:
            self.write_pass(r, turned=True)
            self.write_pass(r, turned=False)
        self.write_slow_copy("slow_load", loads=True)
        self.write_slow_copy("slow_store", loads=False)
        self.write_neighbours("near_load", loads=True)
        self.write_neighbours("near_store", loads=False)
        self.write_rows("rows_load", loads=True)
        self.write_rows("rows_store", loads=False)
        self.write_group()
        self.write_tasks()
        self.write_entry(f"pb_fft_{name}")

    # ------------------------------------------------------------------------------ arithmetic

    def binary(self, f: Function, operation: str, x: Value, y: Value) -> Value:
        return f.value(self.vector, f"{operation} {x}, {y.text}")

    def plus(self, f: Function, x: _Complex, y: _Complex) -> _Complex:
        return _Complex(*(self.binary(f, "fadd", a, b) for a, b in zip(x, y, strict=True)))

    def minus(self, f: Function, x: _Complex, y: _Complex) -> _Complex:
        return _Complex(*(self.binary(f, "fsub", a, b) for a, b in zip(x, y, strict=True)))

    def negative(self, f: Function, x: Value) -> Value:
        return f.value(self.vector, f"fneg {x}")

    def fma(self, f: Function, x: Value, y: Value, z: Value) -> Value:
        return f.call(self.vector, f"llvm.fma.v{self.lanes}f{8 * self.size}", x, y, z)

    def splat(self, f: Function, scalar: Value) -> Value:
        first = f.value(self.vector, f"insertelement {self.vector} poison, {scalar}, i64 0")
        mask = f"<{self.lanes} x i32> zeroinitializer"
        return f.value(self.vector, f"shufflevector {first}, {self.vector} poison, {mask}")

    def number(self, f: Function, value: float) -> Value:
        """A constant in all lanes, rounded to the element type."""
        if self.size == 8:
            return self.splat(f, Value("double", repr(value)))
        return self.splat(f, f.convert("fptrunc", Value("double", repr(value)), "float"))

    def turned(self, f: Function, x: _Complex) -> _Complex:
        """The product with -i."""
        return _Complex(x.im, self.negative(f, x.re))

    def times(self, f: Function, x: _Complex, y: _Complex) -> _Complex:
        low = self.negative(f, self.binary(f, "fmul", x.im, y.im))
        cross = self.binary(f, "fmul", x.im, y.re)
        return _Complex(self.fma(f, x.re, y.re, low), self.fma(f, x.re, y.im, cross))

    def scaled(self, f: Function, x: _Complex, factor: Value) -> _Complex:
        return _Complex(*(self.binary(f, "fmul", part, factor) for part in x))

    # ------------------------------------------------------------------------------ butterflies

    def butterfly(self, f: Function, a: Sequence[_Complex]) -> list[_Complex]:
        """The forward transform of a few numbers."""
        if len(a) == 2:
            return [self.plus(f, *a), self.minus(f, *a)]
        if len(a) == 4:
            even, odd = self.plus(f, a[0], a[2]), self.plus(f, a[1], a[3])
            left = self.minus(f, a[0], a[2])
            right = self.turned(f, self.minus(f, a[1], a[3]))
            return [
                self.plus(f, even, odd), self.plus(f, left, right),
                self.minus(f, even, odd), self.minus(f, left, right),
            ]  # fmt: skip
        return self.eight(f, a) if len(a) == 8 else self.odd(f, a)

    def eight(self, f: Function, a: Sequence[_Complex]) -> list[_Complex]:
        even, odd = self.butterfly(f, a[::2]), self.butterfly(f, a[1::2])
        half = self.number(f, math.sqrt(0.5))
        one, three = odd[1], odd[3]
        total, gap = self.binary(f, "fadd", *one), self.binary(f, "fsub", one.im, one.re)
        odd[1] = self.scaled(f, _Complex(total, gap), half)
        odd[2] = self.turned(f, odd[2])
        total, gap = self.binary(f, "fadd", *three), self.binary(f, "fsub", three.im, three.re)
        odd[3] = self.scaled(f, _Complex(gap, self.negative(f, total)), half)
        pairs = list(zip(even, odd, strict=True))
        return [self.plus(f, x, y) for x, y in pairs] + [self.minus(f, x, y) for x, y in pairs]

    def odd(self, f: Function, a: Sequence[_Complex]) -> list[_Complex]:
        """Cosines of sums of opposite numbers, sines of their differences."""
        r = len(a)
        half = range(1, r // 2 + 1)
        sums = {k: self.plus(f, a[k], a[r - k]) for k in half}
        gaps = {k: self.turned(f, self.minus(f, a[k], a[r - k])) for k in half}
        total = a[0]
        for k in half:
            total = self.plus(f, total, sums[k])
        out = [total] * r
        for j in half:
            same, other = a[0], _Complex(self.zero, self.zero)
            for k in half:
                angle = 2 * math.pi * (j * k % r) / r
                cosine, sine = (self.number(f, g(angle)) for g in (math.cos, math.sin))
                same = self.multiplied(f, sums[k], cosine, same)
                other = self.multiplied(f, gaps[k], sine, other)
            out[j], out[r - j] = self.plus(f, same, other), self.minus(f, same, other)
        return out

    @property
    def zero(self) -> Value:
        return Value(self.vector, "zeroinitializer")

    def multiplied(self, f: Function, x: _Complex, factor: Value, to: _Complex) -> _Complex:
        return _Complex(*(self.fma(f, p, factor, q) for p, q in zip(x, to, strict=True)))

    # ------------------------------------------------------------------------------ passes

    def load(self, f: Function, place: Value) -> _Complex:
        """Both parts at a place of the scratch memory."""
        half = self.step // 2
        return _Complex(*(
            f.value(self.vector, f"load {self.vector}, {f.at(place, k * half)}, align {half}")
            for k in (0, 1)
        ))  # fmt: skip

    def store(self, f: Function, value: _Complex, place: Value) -> None:
        half = self.step // 2
        for k, part in enumerate(value):
            f.emit(f"store {part}, {f.at(place, k * half)}, align {half}")

    def write_pass(self, r: int, turned: bool) -> None:
        """`pass_R(src, dst, turns, m, stride)`; the last pass of a transform turns nothing."""
        name = f"pass_{r}" if turned else f"last_{r}"
        f = self.m.function(name, "void", "ptr", "ptr", "ptr", "i64", "i64")
        src, dst, turns, m, stride = f.parameters
        row = f.op("mul", stride, self.step)
        apart = f.op("mul", m, row)
        with f.loop(m if turned else i64(1)) as p:
            table = f.item(turns, p, 2 * (r - 1) * self.size)
            factors = []
            for j in range(r - 1) if turned else ():
                scalars = [f.load(self.type, table, (2 * j + k) * self.size) for k in (0, 1)]
                factors.append(_Complex(*(self.splat(f, x) for x in scalars)))
            source = f.at(src, f.op("mul", p, row))
            target = f.at(dst, f.op("mul", f.op("mul", p, r), row))
            with f.loop(stride) as q:
                offset = f.op("mul", q, self.step)
                at, to = f.at(source, offset), f.at(target, offset)
                inputs = []
                for k in range(r):
                    inputs.append(self.load(f, at))
                    at = f.at(at, apart) if k + 1 < r else at
                for j, value in enumerate(self.butterfly(f, inputs)):
                    value = self.times(f, value, factors[j - 1]) if j and turned else value
                    self.store(f, value, to)
                    to = f.at(to, row)
        f.ret()

    # ------------------------------------------------------------------------------ copies

    def exchanged(self, f: Function, x: _Complex, inverse: Value) -> _Complex:
        """The parts, the other way round for an inverse transform."""
        return _Complex(f.select(inverse, x.im, x.re), f.select(inverse, x.re, x.im))

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
                self.store(f, _Complex(self.zero, self.zero), place)
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

    def halves(self, f: Function, x: Value, y: Value) -> _Complex:
        """The parts of numbers that are interleaved in two vectors."""
        masks = (range(part, 2 * self.lanes, 2) for part in (0, 1))
        return _Complex(*(self.shuffled(f, x, y, list(mask)) for mask in masks))

    def interleaved(self, f: Function, x: _Complex) -> list[Value]:
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

    # ------------------------------------------------------------------------------ groups

    def write_group(self) -> None:
        """`group(scratch, turns, plan, n)`: all passes; where in the memory the result is."""
        f = self.m.function("group", "ptr", "ptr", "ptr", "ptr", "i64")
        scratch, turns, plan, n = f.parameters
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

    def write_tasks(self) -> None:
        """`tasks(env, begin, end)`: some groups of lanes."""
        f = self.m.function("tasks", "void", "ptr", "i64", "i64")
        env, begin, end = f.parameters
        src, dst, turns, plan = (f.load("ptr", env, 8 * k) for k in range(4))
        n, outer, inner, inverted = (f.load("i64", env, 8 * k) for k in range(4, 8))
        scale = f.load(self.type, env, 64)
        inverse = f.compare("ne", inverted, 0)
        pair = 2 * self.size
        single = f.compare("eq", inner, 1)
        wide = f.select(single, outer, inner)
        groups = f.op("udiv", f.op("add", wide, self.lanes - 1), self.lanes)
        step = f.op("mul", inner, pair)
        lane = f.select(single, f.op("mul", n, pair), i64(pair))
        with self.scratch.held(f) as scratch, f.loop(f.op("sub", end, begin)) as t:
            task = f.op("add", t, begin)
            place = f.op("mul", f.op("urem", task, groups), self.lanes)
            block = f.op("mul", f.op("udiv", task, groups), f.op("mul", n, step))
            offset = f.op("add", block, f.op("mul", place, lane))
            left = f.op("sub", wide, place)
            full = f.compare("sge", left, self.lanes)
            count = f.select(full, i64(self.lanes), left)
            ways = f.op("and", full, single), f.op("and", full, f.compare("ne", inner, 1))
            shape = (n, count, step, lane, inverse, scale)
            self.copy(f, "load", scratch, f.at(src, offset), ways, shape)
            result = f.call("ptr", "group", scratch, turns, plan, n)
            self.copy(f, "store", result, f.at(dst, offset), ways, shape)
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

    def write_entry(self, name: str) -> None:
        types = (*["ptr"] * 4, *["i64"] * 4, self.type)
        f = self.m.function(name, "void", *types, exported=True)
        n, outer, inner = f.parameters[4:7]
        env = f.variable("[9 x i64]", Value("[9 x i64]", "zeroinitializer"))
        for k, value in enumerate(f.parameters):
            f.store(value, env, 8 * k)
        single = f.compare("eq", inner, 1)
        wide = f.select(single, outer, inner)
        groups = f.op("udiv", f.op("add", wide, self.lanes - 1), self.lanes)
        tasks = f.op("mul", groups, f.select(single, i64(1), outer))
        work = f.op("mul", n, self.lanes)
        grain = f.op("add", f.op("udiv", i64(GRAIN), f.op("or", work, 1)), 1)
        f.call("void", "pb_parallel_for", Value("ptr", "@tasks"), env, tasks, grain)
        f.ret()


def module_text(symbol: str, bits: int) -> tuple[str, list[str]]:
    """LLVM text of the module that defines a kernel, and the symbols that it needs."""
    module = _Writer(symbol.rsplit("_", 1)[1], bits).m
    return module.text(), module.undefined


@cache
def _module(name: str, find: Callable[[str], int]) -> jit.LoadedModule:
    bits = jit.vector_bits()
    made = jit.stored_object(
        lambda: module_text(f"pb_fft_{name}", bits), name=f"fft_{name}", variant=(bits, CACHE_LINE)
    )
    symbols = {
        need: pool.address() if need == "pb_parallel_for" else find(need) for need in made.symbols
    }
    return jit.load(made.code, symbols, exports=[f"pb_fft_{name}"])


def address(symbol: str, find: Callable[[str], int]) -> int:
    """Address of one of `KERNELS`, 0 for another name; `find` gives addresses of C functions."""
    if symbol not in KERNELS:
        return 0
    return _module(symbol.rsplit("_", 1)[1], find).address(symbol)
