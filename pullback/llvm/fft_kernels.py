"""Fourier transforms as LLVM text: many at once, long ones, and real ones.

    void pb_fft_T(T *src, T *dst, T *turns, i64 *plan,
                  i64 n, i64 outer, i64 inner, i64 inverse, T scale)

transforms complex arrays `[outer, n, inner]` (pairs of T, contiguous) along the middle axis; `src`
and `dst` may be one array.  A lane of a vector takes one transform: neighbours, or rows if `inner`
is 1 (`llvm.fft_groups`).  `plan` holds the radices and a 0, and `turns` for each pass the powers
exp(-2 pi i j p / length), p outermost, j from 1.

    void pb_fft_real_T(T *src, T *dst, T *turns, i64 *plan, T *halves,
                       i64 n, i64 outer, i64 inverse, T scale)

transforms rows of 2n real numbers to n + 1 complex ones, or back, by complex transforms of length
n; `halves` holds the powers by which sums and differences of opposite numbers are folded.

    void pb_fft_long_T(T *src, T *dst, T *work, T *turns, i64 *plan, T *turns2, i64 *plan2,
                       T *lanes, double *roots, i64 n, i64 n2, i64 outer, i64 shift,
                       i64 inverse, T scale)

transforms `outer` rows of n n2 complex numbers, with x at [j, j2] for x_(j n2 + j2): columns first,
whose results go to `work` group by group, then rows, turned by exp(-2 pi i j2 k / (n n2)) on the
way to the scratch memory (D. H. Bailey, "FFTs in external or hierarchical memory", 1990).  These
powers are products of one in `roots`, found there as the product of a fine (2^`shift` of them) and
a coarse one in double precision, and one of the 16 in a row of `lanes`.

    void pb_fft_planes_T(T *src, T *mid, T *dst, T *turns, i64 *plan, T *halves,
                         T *turns2, i64 *plan2, i64 n, i64 n2, i64 outer,
                         i64 inverse, i64 real, T scale, T scale2)

does the rows and then the columns of `outer` matrices (`llvm.fft_planes`).

Lengths that are powers of two have kernels of their own, `pb_fft_twos_T` and so on, of the same
arguments: they are half the code, which is compiled when it is needed.

An element of the result is the same arithmetic whatever its lane, group and thread.
"""

from __future__ import annotations

from typing import Final

from pullback.llvm.entry_ir import FALSE, NULL, Function, Value, i64
from pullback.llvm.fft_groups import LONGEST
from pullback.llvm.fft_passes import RADICES, TWOS, Complex
from pullback.llvm.fft_planes import Planes
from pullback.llvm.squares import transposed

__all__ = ["KERNELS", "LONGEST", "RADICES", "WIDEST", "module_text"]

WIDEST: Final = 16
"""Lanes of the widest vectors, for which there are powers in `lanes`."""
_TYPES: Final = ("f32", "f64")
_NAMES: Final = ("pb_fft", "pb_fft_real", "pb_fft_long", "pb_fft_planes")
KERNELS: Final = tuple(
    f"{name}_{twos}{kind}" for name in _NAMES for twos in ("", "twos_") for kind in _TYPES
)


class Writer(Planes):
    """Writes the functions of one element type."""

    def __init__(self, symbol: str, bits: int) -> None:
        name = symbol.rsplit("_", 1)[1]
        only_twos = "_twos_" in symbol
        suffix = f"twos_{name}" if only_twos else name
        super().__init__(name, bits, TWOS if only_twos else RADICES)
        self.write_tasks()
        self.write_entry(f"pb_fft_{suffix}")
        self.write_fold()
        self.write_real_tasks()
        self.write_real_entry(f"pb_fft_real_{suffix}")
        self.write_turned_load()
        self.write_columns()
        self.write_lines()
        self.write_long_entry(f"pb_fft_long_{suffix}")
        self.write_planes()
        self.write_planes_entry(f"pb_fft_planes_{suffix}")

    # ------------------------------------------------------------------------------ many at once

    def write_tasks(self) -> None:
        """`tasks(env, begin, end)`: some groups of lanes."""
        f = self.m.function("tasks", "void", "ptr", "i64", "i64")
        env, begin, end = f.parameters
        src, dst, turns, plan = (f.load("ptr", env, 8 * k) for k in range(4))
        n, outer, inner, inverted = (f.load("i64", env, 8 * k) for k in range(4, 8))
        scale = f.load(self.type, env, 64)
        sign, pair = self.sign(f, inverted), 2 * self.size
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
            source, target = f.at(src, offset), f.at(dst, offset)
            with f.when(single):
                ways, shape = (full, FALSE), (n, count, step, lane, sign, scale)
                self.copy(f, "load", scratch, source, ways, shape)
                result = f.call("ptr", "group", scratch, turns, plan, n, NULL)
                self.copy(f, "store", result, target, ways, shape)
            with f.when(f.compare("ne", inner, 1)):
                transform = (turns, plan, n, sign, scale)
                f.call("void", "near_task", scratch, source, target, count, step, *transform)
        f.ret()

    def sign(self, f: Function, inverted: Value) -> Value:
        """1, or -1 for an inverse transform, which takes and gives conjugates."""
        one, minus = (Value(self.type, text) for text in ("1.0", "-1.0"))
        return f.select(f.compare("ne", inverted, 0), minus, one)

    def write_entry(self, name: str) -> None:
        types = (*["ptr"] * 4, *["i64"] * 4, self.type)
        f = self.m.function(name, "void", *types, exported=True)
        n, outer, inner = f.parameters[4:7]
        env = f.words(f.parameters)
        single = f.compare("eq", inner, 1)
        count = self.groups(f, f.select(single, outer, inner))
        count = f.op("mul", count, f.select(single, i64(1), outer))
        tasks = Value("ptr", "@tasks")
        f.call("void", "pb_parallel_for", tasks, env, count, self.grain(f, n))
        f.ret()

    # ------------------------------------------------------------------------------ real numbers

    def conjugate(self, f: Function, x: Complex) -> Complex:
        return Complex(x.re, self.negative(f, x.im))

    def write_fold(self) -> None:
        """`fold(places, n, halves, factor, sign)`: c S + D t and its partner, for k <= n / 2.

        S and D are the sum and the difference of a number and its opposite's conjugate, t the power
        of k.  Numbers 0 and n are there both before and after.
        """
        f = self.m.function("fold", "void", "ptr", "i64", "ptr", *[self.type] * 2)
        places, n, halves, scalar, sign = f.parameters
        factor, signs = self.splat(f, scalar), self.splat(f, sign)
        count = f.op("add", f.op("lshr", n, 1), 1)
        with f.loop(count) as k:
            here = f.item(places, k, self.step)
            there = f.item(places, f.op("sub", n, k), self.step)
            x, y = self.load(f, here), self.conjugate(f, self.load(f, there))
            table = f.item(halves, k, 2 * self.size)
            powers = [f.load(self.type, table, part * self.size) for part in (0, 1)]
            total = self.scaled(f, self.plus(f, x, y), factor)
            turn = Complex(*(self.splat(f, p) for p in powers))
            turned = self.times(f, self.minus(f, x, y), turn)
            left = self.plus(f, total, turned)
            right = self.conjugate(f, self.minus(f, total, turned))
            self.store(f, self.signed(f, left, signs), here)
            self.store(f, self.signed(f, right, signs), there)
        f.ret()

    def write_real_tasks(self) -> None:
        """`real_tasks(env, begin, end)`: some groups of rows."""
        f = self.m.function("real_tasks", "void", "ptr", "i64", "i64")
        env, begin, end = f.parameters
        src, dst, turns, plan, halves = (f.load("ptr", env, 8 * k) for k in range(5))
        n, outer, inverted = (f.load("i64", env, 8 * k) for k in range(5, 8))
        scale = f.load(self.type, env, 64)
        back = f.compare("ne", inverted, 0)
        pair = i64(2 * self.size)
        more = f.op("add", n, 1)
        whole, half = (f.op("mul", count, pair) for count in (more, n))
        one, minus, half_of = (Value(self.type, text) for text in ("1.0", "-1.0", "0.5"))
        with self.scratch.held(f) as scratch, f.loop(f.op("sub", end, begin)) as t:
            row = f.op("mul", f.op("add", t, begin), self.lanes)
            left = f.op("sub", outer, row)
            full = f.compare("sge", left, self.lanes)
            count = f.select(full, i64(self.lanes), left)
            ways = full, FALSE
            complex_rows = (more, count, pair, whole)
            real_rows = (n, count, pair, half)
            with f.when(f.compare("eq", inverted, 0)):
                source = f.at(src, f.op("mul", row, half))
                target = f.at(dst, f.op("mul", row, whole))
                self.copy(f, "load", scratch, source, ways, (*real_rows, one, one))
                result = f.call("ptr", "group", scratch, turns, plan, n, NULL)
                first = self.load(f, result)
                self.store(f, first, f.item(result, n, self.step))
                f.call("void", "fold", result, n, halves, half_of, one)
                self.copy(f, "store", result, target, ways, (*complex_rows, one, scale))
            with f.when(back):
                source = f.at(src, f.op("mul", row, whole))
                target = f.at(dst, f.op("mul", row, half))
                self.copy(f, "load", scratch, source, ways, (*complex_rows, one, one))
                for place in (scratch, f.item(scratch, n, self.step)):
                    alone = self.load(f, place)
                    self.store(f, Complex(alone.re, self.zero), place)
                f.call("void", "fold", scratch, n, halves, one, minus)
                result = f.call("ptr", "group", scratch, turns, plan, n, NULL)
                self.copy(f, "store", result, target, ways, (*real_rows, minus, scale))
        f.ret()

    def write_real_entry(self, name: str) -> None:
        types = (*["ptr"] * 5, *["i64"] * 3, self.type)
        f = self.m.function(name, "void", *types, exported=True)
        n, outer = f.parameters[5:7]
        env, tasks = f.words(f.parameters), Value("ptr", "@real_tasks")
        count = self.groups(f, outer)
        f.call("void", "pb_parallel_for", tasks, env, count, self.grain(f, n))
        f.ret()

    # ------------------------------------------------------------------------------ long ones

    def write_turned_load(self) -> None:
        """`turned_load(scratch, work, blocks, apart, first, n, lanes, roots, shift)`

        brings rows `first` and further ones of `work` to lanes, and turns them.  A block is as many
        places as lanes; blocks are `apart` bytes apart.
        """
        types = (*["ptr"] * 2, *["i64"] * 4, *["ptr"] * 2, "i64")
        f = self.m.function("turned_load", "void", *types)
        scratch, work, blocks, apart, first, n, table, roots, shift = f.parameters
        fine = f.op("shl", i64(1), shift)
        mask, coarse = f.op("sub", fine, 1), f.at(roots, f.op("shl", fine, 4))
        power, half = f.variable("i64", i64(0)), self.step // 2
        with f.loop(blocks) as q:
            base = f.at(work, f.op("mul", q, apart))
            rows = [f.at(base, k * self.step) for k in range(self.lanes)]
            parts = (
                transposed(f, [self.outside(f, f.at(row, h * half)) for row in rows])
                for h in (0, 1)
            )
            start = f.op("mul", q, self.lanes)
            block = f.item(scratch, start, self.step)
            for k, pair in enumerate(zip(*parts, strict=True)):
                self.store(f, Complex(*pair), f.at(block, k * self.step))
            with f.loop(i64(self.lanes)) as i:
                place, here = f.op("add", start, i), f.item(block, i, self.step)
                exponent = f.load("i64", power)
                line = f.item(table, place, 2 * WIDEST * self.size)
                steps = Complex(*(
                    self.outside(f, f.at(line, h * WIDEST * self.size)) for h in (0, 1)
                ))  # fmt: skip
                turn = self.root(
                    f,
                    f.item(roots, f.op("and", exponent, mask), 16),
                    f.item(coarse, f.op("lshr", exponent, shift), 16),
                )
                value = self.times(f, self.load(f, here), self.times(f, steps, turn))
                self.store(f, value, here)
                following = f.op("add", exponent, first)
                wrapped = f.op("sub", following, n)
                f.store(f.select(f.compare("sge", wrapped, 0), wrapped, following), power)
        f.ret()

    def root(self, f: Function, fine: Value, coarse: Value) -> Complex:
        """The product of two powers in double precision, in all lanes."""
        a, b, c, d = (f.load("double", p, 8 * k) for p in (fine, coarse) for k in (0, 1))

        def times(x: Value, y: Value) -> Value:
            return f.value("double", f"fmul {x}, {y.text}")

        re = f.value("double", f"fsub {times(a, c)}, {times(b, d).text}")
        im = f.value("double", f"fadd {times(a, d)}, {times(b, c).text}")
        if self.size == 4:
            re, im = (f.convert("fptrunc", x, "float") for x in (re, im))
        return Complex(self.splat(f, re), self.splat(f, im))

    def long_environment(self, f: Function, env: Value) -> tuple[list[Value], list[Value], Value]:
        """Pointers, numbers, and the scale, of a long transform."""
        pointers = [f.load("ptr", env, 8 * k) for k in range(9)]
        numbers = [f.load("i64", env, 8 * k) for k in range(9, 14)]
        return pointers, numbers, f.load(self.type, env, 8 * 14)

    def write_columns(self) -> None:
        """`columns(env, begin, end)`: some groups of columns, to `work`."""
        f = self.m.function("columns", "void", "ptr", "i64", "i64")
        env, begin, end = f.parameters
        pointers, numbers, scale = self.long_environment(f, env)
        src, _, work, turns, plan = pointers[:5]
        n, n2, _, _, inverted = numbers
        sign, pair = self.sign(f, inverted), i64(2 * self.size)
        step, block = f.op("mul", n2, pair), f.op("mul", n, self.step)
        with self.scratch.held(f) as scratch, f.loop(f.op("sub", end, begin)) as t:
            group = f.op("add", t, begin)
            place = f.op("mul", group, self.lanes)
            left = f.op("sub", n2, place)
            full = f.compare("sge", left, self.lanes)
            count = f.select(full, i64(self.lanes), left)
            ways = FALSE, full
            source = f.at(src, f.op("mul", place, pair))
            self.copy(f, "load", scratch, source, ways, (n, count, step, pair, sign, scale))
            final = f.at(work, f.op("mul", group, block))
            f.call("ptr", "group", scratch, turns, plan, n, final)
        f.ret()

    def write_lines(self) -> None:
        """`lines(env, begin, end)`: some groups of rows of `work`, to columns of the result."""
        f = self.m.function("lines", "void", "ptr", "i64", "i64")
        env, begin, end = f.parameters
        pointers, numbers, scale = self.long_environment(f, env)
        dst, work = pointers[1:3]
        turns, plan, table, roots = pointers[5:]
        n, n2, _, shift, inverted = numbers
        sign, pair = self.sign(f, inverted), i64(2 * self.size)
        step, block, whole = f.op("mul", n, pair), f.op("mul", n, self.step), f.op("mul", n, n2)
        blocks = self.groups(f, n2)
        with self.scratch.held(f) as scratch, f.loop(f.op("sub", end, begin)) as t:
            first = f.op("mul", f.op("add", t, begin), self.lanes)
            left = f.op("sub", n, first)
            full = f.compare("sge", left, self.lanes)
            count = f.select(full, i64(self.lanes), left)
            ways = FALSE, full
            source = f.at(work, f.op("mul", first, self.step))
            arguments = (scratch, source, blocks, block, first, whole, table, roots, shift)
            f.call("void", "turned_load", *arguments)
            result = f.call("ptr", "group", scratch, turns, plan, n2, NULL)
            target = f.at(dst, f.op("mul", first, pair))
            self.copy(f, "store", result, target, ways, (n2, count, step, pair, sign, scale))
        f.ret()

    def write_long_entry(self, name: str) -> None:
        types = (*["ptr"] * 9, *["i64"] * 5, self.type)
        f = self.m.function(name, "void", *types, exported=True)
        src, dst = f.parameters[:2]
        n, n2, outer = f.parameters[9:12]
        env = f.words(f.parameters)
        row = f.op("mul", f.op("mul", n, n2), 2 * self.size)
        with f.loop(outer) as k:
            offset = f.op("mul", k, row)
            f.store(f.at(src, offset), env, 0)
            f.store(f.at(dst, offset), env, 8)
            for tasks, lanes, length in (("columns", n2, n), ("lines", n, n2)):
                function, count = Value("ptr", f"@{tasks}"), self.groups(f, lanes)
                f.call("void", "pb_parallel_for", function, env, count, self.grain(f, length))
        f.ret()


def module_text(symbol: str, bits: int) -> tuple[str, list[str]]:
    """LLVM text of the module that defines a kernel, and the symbols that it needs."""
    module = Writer(symbol, bits).m.only(symbol)
    return module.text(), module.undefined
