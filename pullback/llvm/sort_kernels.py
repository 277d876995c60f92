"""Sorting of numbers without anything attached to them, as LLVM text.

    void pb_sort_rows_T(T *src, T *dst, i64 rows, i64 n)        f32, f64, i32, i64

sorts rows of 16 to LONGEST_ROW numbers, of which there are at least as many as a vector has lanes.
Every lane has a row: squares are transposed on the way to memory that stays in cache, where a
network of minima and maxima sorts whole vectors.  Runs of 16 are sorted by K. Batcher's odd-even
merge sort in registers; bitonic merges of twice the length follow, two or four of whose steps are
done at a time ("Sorting networks and their applications", 1968).  -0 becomes 0, and NaN infinite.

    void pb_radix_T(T *keys, T *other, i64 rows, i64 n)         u32, u64

sorts long rows, eleven bits a pass, from `keys` to `other` and back; the result is in `other`.
A long row is cut into pieces that are counted and moved by several threads; each piece has its own
places, so that the order is stable, and the result the same, however many there are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pullback.llvm.entry_ir import Function, Module, Value, i64
from pullback.llvm.scratch import Scratch
from pullback.llvm.squares import transposed

__all__ = ["KERNELS", "LONGEST_ROW", "exchanges", "module_text"]

LONGEST_ROW: Final = 4096
RUN: Final = 16
"""Vectors that are sorted in registers."""
BITS: Final = 11
PIECES: Final = 16
PIECE: Final = 1 << 16
"""Numbers of a long row that are worth a thread."""
_ROWS: Final = {"f32": ("float", 4), "f64": ("double", 8), "i32": ("i32", 4), "i64": ("i64", 8)}
_RADIX: Final = {"u32": ("i32", 4), "u64": ("i64", 8)}
KERNELS: Final = (*(f"pb_sort_rows_{t}" for t in _ROWS), *(f"pb_radix_{t}" for t in _RADIX))


def exchanges(n: int) -> Iterator[tuple[int, int]]:
    """Batcher's odd-even merge sort of `n` numbers, a power of two."""
    p = 1
    while p < n:
        k = p
        while k:
            for j in range(k % p, n - k, 2 * k):
                for i in range(min(k, n - j - k)):
                    if (i + j) // (2 * p) == (i + j + k) // (2 * p):
                        yield i + j, i + j + k
            k //= 2
        p *= 2


# --------------------------------------------------------------------------- networks


class _Network:
    """Writes `pb_sort_rows_T`."""

    def __init__(self, name: str, bits: int) -> None:
        self.m = Module()
        self.type, self.size = _ROWS[name]
        self.lanes, self.step = bits // 8 // self.size, bits // 8
        self.vector = f"<{self.lanes} x {self.type}>"
        self.scratch = Scratch(self.m, f"pb_sort_{name}", LONGEST_ROW * self.step)
        self.write_runs("sort_runs", list(exchanges(RUN)))
        halves = [(i, i + d) for d in (8, 4, 2, 1) for i in range(RUN) if not i & d]
        self.write_runs("merge_runs", halves)
        self.write_mirror()
        self.write_mirror_and_half()
        self.write_halves()
        self.write_two_halves()
        self.write_network()
        self.write_copy("load_rows", loads=True)
        self.write_copy("store_rows", loads=False)
        self.write_tasks()
        self.write_entry(f"pb_sort_rows_{name}")

    @property
    def largest(self) -> Value:
        text = {
            "float": "0x7FF0000000000000", "double": "0x7FF0000000000000",
            "i32": str(2**31 - 1), "i64": str(2**63 - 1),
        }  # fmt: skip
        return Value(self.vector, f"splat ({self.type} {text[self.type]})")

    def load(self, f: Function, place: Value) -> Value:
        return f.value(self.vector, f"load {self.vector}, {place}, align {self.step}")

    def store(self, f: Function, value: Value, place: Value) -> None:
        f.emit(f"store {value}, {place}, align {self.step}")

    def exchanged(self, f: Function, x: Value, y: Value) -> tuple[Value, Value]:
        """The smaller and the larger of two in each lane."""
        compare = "icmp slt" if self.type.startswith("i") else "fcmp olt"
        less = f.value(f"<{self.lanes} x i1>", f"{compare} {y}, {x.text}")
        return f.select(less, y, x), f.select(less, x, y)

    def place(self, f: Function, base: Value, index: Value) -> Value:
        return f.item(base, index, self.step)

    def write_runs(self, name: str, exchanges: list[tuple[int, int]]) -> None:
        """`NAME(data, runs)`: the same exchanges in each run, in registers."""
        f = self.m.function(name, "void", "ptr", "i64")
        data, runs = f.parameters
        with f.loop(runs) as r:
            base = f.item(data, r, RUN * self.step)
            places = [f.at(base, i * self.step) for i in range(RUN)]
            values = [self.load(f, place) for place in places]
            for i, j in exchanges:
                values[i], values[j] = self.exchanged(f, values[i], values[j])
            for value, place in zip(values, places, strict=True):
                self.store(f, value, place)
        f.ret()

    def rearrange(self, f: Function, places: list[Value], pairs: list[tuple[int, int]]) -> None:
        values = [self.load(f, place) for place in places]
        for i, j in pairs:
            values[i], values[j] = self.exchanged(f, values[i], values[j])
        for value, place in zip(values, places, strict=True):
            self.store(f, value, place)

    def write_mirror(self) -> None:
        """`mirror(data, blocks, size)`: the first step of a merge of two ascending halves."""
        f = self.m.function("mirror", "void", "ptr", "i64", "i64")
        data, blocks, size = f.parameters
        with f.loop(blocks) as q, f.loop(f.op("lshr", size, 1)) as i:
            base = self.place(f, data, f.op("mul", q, size))
            last = f.op("sub", f.op("sub", size, 1), i)
            self.rearrange(f, [self.place(f, base, k) for k in (i, last)], [(0, 1)])
        f.ret()

    def write_mirror_and_half(self) -> None:
        """`mirror_and_half(data, blocks, size)`: the first two steps of a merge."""
        f = self.m.function("mirror_and_half", "void", "ptr", "i64", "i64")
        data, blocks, size = f.parameters
        quarter = f.op("lshr", size, 2)
        with f.loop(blocks) as q, f.loop(quarter) as i:
            base = self.place(f, data, f.op("mul", q, size))
            last = f.op("sub", f.op("sub", size, 1), i)
            indices = [i, f.op("add", i, quarter), f.op("sub", last, quarter), last]
            places = [self.place(f, base, k) for k in indices]
            self.rearrange(f, places, [(0, 3), (1, 2), (0, 1), (2, 3)])
        f.ret()

    def write_halves(self) -> None:
        """`halves(data, blocks, distance)`: one step of a merge of bitonic blocks."""
        f = self.m.function("halves", "void", "ptr", "i64", "i64")
        data, blocks, distance = f.parameters
        step = f.op("mul", distance, self.step)
        with f.loop(blocks) as q:
            block = f.at(data, f.op("mul", q, f.op("mul", step, 2)))
            with f.loop(distance) as i:
                base = self.place(f, block, i)
                self.rearrange(f, [base, f.at(base, step)], [(0, 1)])
        f.ret()

    def write_two_halves(self) -> None:
        """`two_halves(data, blocks, distance)`: steps of twice the distance and of the distance."""
        f = self.m.function("two_halves", "void", "ptr", "i64", "i64")
        data, blocks, distance = f.parameters
        step = f.op("mul", distance, self.step)
        with f.loop(blocks) as q:
            block = f.at(data, f.op("mul", q, f.op("mul", step, 4)))
            with f.loop(distance) as i:
                places = [self.place(f, block, i)]
                for _ in range(3):
                    places.append(f.at(places[-1], step))
                self.rearrange(f, places, [(0, 2), (1, 3), (0, 1), (2, 3)])
        f.ret()

    def write_network(self) -> None:
        """`network(data, n)`: sort a power of two of vectors, RUN or more."""
        f = self.m.function("network", "void", "ptr", "i64")
        data, n = f.parameters
        runs = f.op("udiv", n, RUN)
        f.call("void", "sort_runs", data, runs)
        size, distance = f.variable("i64", i64(2 * RUN)), f.variable("i64", i64(0))
        merge, done, steps, finish = (f.new_label() for _ in range(4))
        f.label(merge)
        now = f.load("i64", size)
        f.goto_if(f.compare("sgt", now, n), done)
        blocks = f.op("udiv", n, now)
        with f.when(f.compare("eq", now, 2 * RUN)):
            f.call("void", "mirror", data, blocks, now)
        with f.when(f.compare("ne", now, 2 * RUN)):
            f.call("void", "mirror_and_half", data, blocks, now)
        f.store(f.op("lshr", now, 3), distance)
        f.label(steps)
        gap = f.load("i64", distance)
        f.goto_if(f.compare("slt", gap, RUN), finish)
        with f.when(f.compare("eq", gap, RUN)):
            f.call("void", "halves", data, f.op("udiv", n, 2 * RUN), gap)
        with f.when(f.compare("ne", gap, RUN)):
            half = f.op("lshr", gap, 1)
            f.call("void", "two_halves", data, f.op("udiv", n, f.op("mul", gap, 2)), half)
        f.store(f.op("lshr", gap, 2), distance)
        f.goto(steps)
        f.label(finish)
        f.call("void", "merge_runs", data, runs)
        f.store(f.op("mul", now, 2), size)
        f.goto(merge)
        f.label(done)
        f.ret()

    def write_copy(self, name: str, loads: bool) -> None:
        """`load_rows(data, array, n)`: lanes that are rows; the last square begins earlier."""
        f = self.m.function(name, "void", "ptr", "ptr", "i64")
        data, array, n = f.parameters
        rows = [array]
        for _ in range(self.lanes - 1):
            rows.append(f.at(rows[-1], f.op("mul", n, self.size)))
        with f.loop(f.op("udiv", f.op("add", n, self.lanes - 1), self.lanes)) as q:
            first, last = f.op("mul", q, self.lanes), f.op("sub", n, self.lanes)
            first = f.select(f.compare("slt", first, last), first, last)
            base = self.place(f, data, first)
            inside = [f.at(base, k * self.step) for k in range(self.lanes)]
            outside = [f.item(row, first, self.size) for row in rows]
            source, target = (outside, inside) if loads else (inside, outside)
            kind = self.vector
            values = [f.value(kind, f"load {kind}, {at}, align {self.size}") for at in source]
            if loads and not self.type.startswith("i"):
                values = [self.plain(f, value) for value in values]
            for value, at in zip(transposed(f, values), target, strict=True):
                f.emit(f"store {value}, {at}, align {self.size}")
        f.ret()

    def plain(self, f: Function, x: Value) -> Value:
        """Numbers without -0, and without NaN: it becomes infinite."""
        is_nan = f.value(f"<{self.lanes} x i1>", f"fcmp uno {x}, zeroinitializer")
        return f.select(is_nan, self.largest, f.value(self.vector, f"fadd {x}, zeroinitializer"))

    def write_tasks(self) -> None:
        """`tasks(env, begin, end)`: some groups of rows; the last one begins earlier."""
        f = self.m.function("tasks", "void", "ptr", "i64", "i64")
        env, begin, end = f.parameters
        src, dst = (f.load("ptr", env, 8 * k) for k in range(2))
        rows, n, padded = (f.load("i64", env, 8 * k) for k in range(2, 5))
        with self.scratch.held(f) as scratch, f.loop(f.op("sub", end, begin)) as t:
            first = f.op("mul", f.op("add", t, begin), self.lanes)
            last = f.op("sub", rows, self.lanes)
            first = f.select(f.compare("slt", first, last), first, last)
            offset = f.op("mul", f.op("mul", first, n), self.size)
            f.call("void", "load_rows", scratch, f.at(src, offset), n)
            with f.loop(f.op("sub", padded, n)) as k:
                self.store(f, self.largest, self.place(f, scratch, f.op("add", n, k)))
            f.call("void", "network", scratch, padded)
            f.call("void", "store_rows", scratch, f.at(dst, offset), n)
        f.ret()

    def write_entry(self, name: str) -> None:
        f = self.m.function(name, "void", "ptr", "ptr", "i64", "i64", exported=True)
        src, dst, rows, n = f.parameters
        zeros = f.call("i64", "llvm.ctlz.i64", f.op("sub", n, 1), Value("i1", "false"))
        padded = f.op("shl", i64(1), f.op("sub", i64(64), zeros))
        padded = f.select(f.compare("slt", padded, RUN), i64(RUN), padded)
        env = f.words((src, dst, rows, n, padded))
        groups = f.op("udiv", f.op("add", rows, self.lanes - 1), self.lanes)
        grain = f.op("add", f.op("udiv", i64(8192 // self.lanes), padded), 1)
        f.call("void", "pb_parallel_for", Value("ptr", "@tasks"), env, groups, grain)
        f.ret()


# --------------------------------------------------------------------------- radix sort


class _Radix:
    """Writes `pb_radix_T`."""

    def __init__(self, name: str) -> None:
        self.m = Module()
        self.type, self.size = _RADIX[name]
        self.passes = -(-8 * self.size // BITS)
        self.table = 4 << BITS
        """Bytes of the counts of a piece."""
        self.scratch = Scratch(self.m, f"pb_radix_{name}", PIECES * self.table)
        self.write_count()
        self.write_move()
        self.write_places()
        self.write_row()
        self.write_rows()
        self.write_entry(f"pb_radix_{name}")

    def bucket(self, f: Function, key: Value, shift: Value) -> Value:
        digit = f.op("and", f.op("lshr", key, shift), (1 << BITS) - 1)
        return digit if self.size == 8 else f.convert("zext", digit, "i64")

    def pieces(self, f: Function) -> Iterator[tuple[Value, Value, Value, Value, Value, Value]]:
        """For each piece of a task: both arrays, its counts, its begin and end, the shift."""
        env, begin, end = f.parameters
        src, dst, counts = (f.load("ptr", env, 8 * k) for k in range(3))
        n, length, shift = (f.load("i64", env, 8 * k) for k in range(3, 6))
        shift = shift if self.size == 8 else f.convert("trunc", shift, "i32")
        with f.loop(f.op("sub", end, begin)) as t:
            piece = f.op("add", t, begin)
            first = f.op("mul", piece, length)
            after = f.op("add", first, length)
            after = f.select(f.compare("slt", after, n), after, n)
            yield src, dst, f.item(counts, piece, self.table), first, after, shift

    def write_count(self) -> None:
        f = self.m.function("count", "void", "ptr", "i64", "i64")
        for src, _, table, first, after, shift in self.pieces(f):
            f.call("void", "llvm.memset.p0.i64", table, Value("i8", "0"), i64(self.table), _NO)
            with f.loop(f.op("sub", after, first)) as i:
                key = f.load(self.type, f.item(src, f.op("add", first, i), self.size))
                slot = f.item(table, self.bucket(f, key, shift), 4)
                f.store(f.op("add", f.load("i32", slot), 1), slot)
        f.ret()

    def write_move(self) -> None:
        f = self.m.function("move", "void", "ptr", "i64", "i64")
        for src, dst, table, first, after, shift in self.pieces(f):
            with f.loop(f.op("sub", after, first)) as i:
                key = f.load(self.type, f.item(src, f.op("add", first, i), self.size))
                slot = f.item(table, self.bucket(f, key, shift), 4)
                place = f.load("i32", slot)
                f.store(f.op("add", place, 1), slot)
                f.store(key, f.item(dst, f.convert("zext", place, "i64"), self.size))
        f.ret()

    def write_places(self) -> None:
        """`places(counts, pieces, n)`: from counts to first places; 1 if all are in one bucket."""
        f = self.m.function("places", "i1", "ptr", "i64", "i32")
        counts, pieces, n = f.parameters
        total, single = f.variable("i32", Value("i32", "0")), f.variable("i1", Value("i1", "0"))
        with f.loop(i64(1 << BITS)) as k:
            before = f.load("i32", total)
            with f.loop(pieces) as p:
                slot = f.item(f.item(counts, p, self.table), k, 4)
                here, now = f.load("i32", slot), f.load("i32", total)
                f.store(now, slot)
                f.store(f.op("add", now, here), total)
            whole = f.compare("eq", f.op("sub", f.load("i32", total), before), n)
            f.store(f.op("or", f.load("i1", single), whole), single)
        f.ret(f.load("i1", single))

    def write_row(self) -> None:
        """`row(keys, other, n, counts)`"""
        f = self.m.function("row", "void", "ptr", "ptr", "i64", "ptr")
        keys, other, n, counts = f.parameters
        pieces = f.op("add", f.op("udiv", n, PIECE), 1)
        pieces = f.select(f.compare("slt", pieces, PIECES), pieces, i64(PIECES))
        length = f.op("udiv", f.op("add", n, f.op("sub", pieces, 1)), pieces)
        source, target = f.variable("ptr", keys), f.variable("ptr", other)
        env = f.space("[6 x i64]")
        narrow = f.convert("trunc", n, "i32")
        with f.loop(i64(self.passes)) as k:
            here, there = f.load("ptr", source), f.load("ptr", target)
            shift = f.op("mul", k, BITS)
            for i, value in enumerate((here, there, counts, n, length, shift)):
                f.store(value, env, 8 * i)
            f.call("void", "pb_parallel_for", Value("ptr", "@count"), env, pieces, i64(1))
            single = f.call("i1", "places", counts, pieces, narrow)
            with f.when(f.value("i1", f"xor {single}, true")):
                f.call("void", "pb_parallel_for", Value("ptr", "@move"), env, pieces, i64(1))
                f.store(there, source)
                f.store(here, target)
        result = f.load("ptr", source)
        with f.when(f.compare("ne", result, other)):
            size = f.op("mul", n, self.size)
            f.call("void", "llvm.memcpy.p0.p0.i64", other, result, size, _NO)
        f.ret()

    def write_rows(self) -> None:
        f = self.m.function("rows", "void", "ptr", "i64", "i64")
        env, begin, end = f.parameters
        keys, other = (f.load("ptr", env, 8 * k) for k in range(2))
        n = f.load("i64", env, 16)
        with self.scratch.held(f) as counts, f.loop(f.op("sub", end, begin)) as t:
            offset = f.op("mul", f.op("mul", f.op("add", t, begin), n), self.size)
            f.call("void", "row", f.at(keys, offset), f.at(other, offset), n, counts)
        f.ret()

    def write_entry(self, name: str) -> None:
        f = self.m.function(name, "void", "ptr", "ptr", "i64", "i64", exported=True)
        keys, other, rows, n = f.parameters
        env = f.words((keys, other, n))
        with f.when(f.compare("eq", rows, 1)):  # its pieces may have the threads
            f.call("void", "rows", env, i64(0), i64(1))
            f.ret()
        grain = f.op("add", f.op("udiv", i64(PIECE // 4), f.op("add", n, 1)), 1)
        f.call("void", "pb_parallel_for", Value("ptr", "@rows"), env, rows, grain)
        f.ret()


_NO: Final = Value("i1", "false")


def module_text(symbol: str, bits: int) -> tuple[str, list[str]]:
    """LLVM text of the module that defines a kernel, and the symbols that it needs."""
    kind, name = symbol.removeprefix("pb_").rsplit("_", 1)
    module = (_Radix(name) if kind == "radix" else _Network(name, bits)).m
    return module.text(), module.undefined
