"""Quicksort of long rows of unsigned integers by compressing vectors (AVX-512), as LLVM text.

    void pb_quick_T(T *keys, T *other, i64 rows, i64 n, i64 first, i64 last)         u32, u64

sorts rows from `keys`, which is overwritten, to `other`, as `pb_radix_T` of `llvm.sort_kernels`
does, as far as places from `first` to before `last` need it: those hold what they would hold of the
sorted row, smaller keys stand before them and larger ones behind them.  Only machines whose vectors
have 512 bits have it, and instructions that compress them.

A row is split at a pivot: the lanes below it are moved together and stored at one end of the other
buffer, the remaining ones at its other end; eight lanes by one permutation, stored at both ends.
Each part knows the range of its values.  A split shrinks it, so that equal keys need no care; after
many splits the pivot is the middle of the range, not the median of nine keys, which bounds the work
on any input.  What fits in as many vectors as they have lanes is sorted in registers: column by
column, then, transposed, by bitonic merges.  A single long row is split a few times first, into
parts for the threads.  What is sorted has one result, whoever sorts it.
"""

from __future__ import annotations

from typing import Final

from pullback.llvm import jit
from pullback.llvm.entry_ir import Function, Module, Value, i64
from pullback.llvm.sort_kernels import exchanges
from pullback.llvm.squares import transposed

__all__ = ["KERNELS", "available", "module_text"]

_BITS: Final = 512
"""Vectors that can be compressed."""
ROUNDS: Final = 4
"""How often a long row is split before threads share its parts; even, which leads back."""
LONG: Final = 1 << 17
"""Keys of a row that is worth several threads."""
GRAIN: Final = 1 << 15
"""Keys that are worth a task."""
MEDIANS: Final = 24
"""Splits at medians of samples; further ones are in the middle of the range."""
_TYPES: Final = {"u32": 4, "u64": 8}
KERNELS: Final = tuple(f"pb_quick_{name}" for name in _TYPES)


class _Writer:
    """Writes the functions of one type."""

    def __init__(self, name: str) -> None:
        self.m = Module()
        self.size = _TYPES[name]
        self.type = f"i{8 * self.size}"
        self.lanes = 64 // self.size
        self.vector = f"<{self.lanes} x {self.type}>"
        self.bits = f"<{self.lanes} x i1>"
        self.vectors = f"{{ {', '.join([self.vector] * self.lanes)} }}"
        self.registers = f"x86_regcallcc {self.vectors}"
        """What a function returns that is called with all vectors in registers."""
        self.ranked = self.lanes == 8
        """Whether there is a table of lanes, by which one permutation divides a vector."""
        if self.ranked:
            self.write_ranks()
        self.write_split()
        self.write_pivot()
        self.write_lanes()
        self.write_small()
        self.write_quick()
        self.write_split_tasks()
        self.write_quick_tasks()
        self.write_row_tasks()
        self.write_entry(f"pb_quick_{name}")

    # ------------------------------------------------------------------------------ vectors

    def splat(self, f: Function, scalar: Value) -> Value:
        return f.splat(scalar, self.lanes)

    def first_lanes(self, f: Function, count: Value) -> Value:
        """A mask of the first `count` lanes, at most all of them."""
        one = f.op("shl", i64(1), count)
        word = f.convert("trunc", f.op("sub", one, 1), f"i{self.lanes}")
        return f.convert("bitcast", word, self.bits)

    def load_some(self, f: Function, place: Value, mask: Value, rest: Value) -> Value:
        name = f"llvm.masked.load.v{self.lanes}{self.type}.p0"
        return f.call(self.vector, name, place, Value("i32", str(self.size)), mask, rest)

    def exchanged(self, f: Function, x: Value, y: Value) -> tuple[Value, Value]:
        """The smaller and the larger of two in each lane."""
        kind = f"v{self.lanes}{self.type}"
        return (
            f.call(self.vector, f"llvm.umin.{kind}", x, y),
            f.call(self.vector, f"llvm.umax.{kind}", x, y),
        )

    def permuted(self, f: Function, x: Value, y: Value, lanes: list[int]) -> Value:
        mask = ", ".join(f"i32 {k}" for k in lanes)
        return f.value(self.vector, f"shufflevector {x}, {y}, <{self.lanes} x i32> <{mask}>")

    def item(self, f: Function, base: Value, index: Value) -> Value:
        return f.item(base, index, self.size)

    def move(self, f: Function, to: Value, keys: Value, n: Value) -> None:
        size = f.op("mul", n, self.size)
        f.call("void", "llvm.memcpy.p0.p0.i64", to, keys, size, Value("i1", "false"))

    # ------------------------------------------------------------------------------ splitting

    def together(self, f: Function, values: Value, mask: Value) -> Value:
        """The chosen lanes, one beside the other."""
        name = f"llvm.experimental.vector.compress.v{self.lanes}{self.type}"
        return f.call(self.vector, name, values, mask, Value(self.vector, "zeroinitializer"))

    def store_some(self, f: Function, values: Value, place: Value, count: Value) -> None:
        """Store the first `count` lanes."""
        store = f"llvm.masked.store.v{self.lanes}{self.type}.p0"
        align = Value("i32", str(self.size))
        f.call("void", store, values, place, align, self.first_lanes(f, count))

    def count(self, f: Function, mask: Value) -> Value:
        word = f.convert("bitcast", mask, f"i{self.lanes}")
        return f.convert("zext", f.call(word.type, f"llvm.ctpop.{word.type}", word), "i64")

    def write_split(self) -> None:
        """`split(src, dst, n, pivot)`: keys below the pivot first; how many they are.

        As many places of `dst` are free as keys are left, so that a whole vector may be written at
        the front as long as a whole vector is left, and at either end as long as two are.
        """
        f = self.m.function("split", "i64", "ptr", "ptr", "i64", self.type)
        src, dst, n, pivot = f.parameters
        pivots = self.splat(f, pivot)
        low, high = f.variable("i64", i64(0)), f.variable("i64", n)
        rest = 2 if self.ranked else 1
        """Vectors that are stored in part."""

        def moved(less: Value, more: Value) -> tuple[Value, Value]:
            front, back = f.load("i64", low), f.op("sub", f.load("i64", high), more)
            f.store(f.op("add", front, less), low)
            f.store(back, high)
            return self.item(f, dst, front), self.item(f, dst, back)

        def divide(keys: Value) -> None:
            below = f.value(self.bits, f"icmp ult {keys}, {pivots.text}")
            less = self.count(f, below)
            more = f.op("sub", i64(self.lanes), less)
            front, back = moved(less, more)
            if self.ranked:
                both = self.divided(f, keys, below)
                for place in (front, f.at(back, f.op("mul", less, -self.size))):
                    f.emit(f"store {both}, {place}, align {self.size}")
                return
            f.emit(f"store {self.together(f, keys, below)}, {front}, align {self.size}")
            above = f.value(self.bits, f"xor {below}, splat (i1 true)")
            self.store_some(f, self.together(f, keys, above), back, more)

        def divide_some(keys: Value, here: Value) -> None:
            below = f.value(self.bits, f"icmp ult {keys}, {pivots.text}")
            above = f.value(self.bits, f"icmp uge {keys}, {pivots.text}")
            below, above = (f.value(self.bits, f"and {x}, {here.text}") for x in (below, above))
            less, more = self.count(f, below), self.count(f, above)
            for mask, place, count in zip(
                (below, above), moved(less, more), (less, more), strict=True
            ):
                self.store_some(f, self.together(f, keys, mask), place, count)

        whole = f.op("sub", f.op("udiv", n, self.lanes), rest - 1)
        whole = f.call("i64", "llvm.smax.i64", whole, i64(0))
        with f.loop(whole) as q:
            place = f.item(src, q, 64)
            divide(f.value(self.vector, f"load {self.vector}, {place}, align {self.size}"))
        done = f.op("mul", whole, self.lanes)
        for k in range(rest):
            start = f.op("add", done, k * self.lanes)
            left = f.call("i64", "llvm.smax.i64", f.op("sub", n, start), i64(0))
            here = self.first_lanes(f, f.call("i64", "llvm.smin.i64", left, i64(self.lanes)))
            zero = Value(self.vector, "zeroinitializer")
            divide_some(self.load_some(f, self.item(f, src, start), here, zero), here)
        f.ret(f.load("i64", low))

    def divided(self, f: Function, keys: Value, below: Value) -> Value:
        """The chosen lanes, and the other ones after them."""
        word = f.convert("zext", f.convert("bitcast", below, "i8"), "i64")
        lanes = f.value("<8 x i8>", f"load <8 x i8>, {f.item(Value('ptr', '@ranks'), word)}")
        index = f.convert("zext", lanes, "<8 x i64>")
        return f.call(self.vector, "llvm.x86.avx512.permvar.di.512", keys, index)

    def write_ranks(self) -> None:
        """For each choice of eight lanes these lanes, and the other ones after them."""
        rows = []
        for word in range(256):
            chosen = [k for k in range(8) if word >> k & 1]
            order = chosen + [k for k in range(8) if k not in chosen]
            rows.append("<8 x i8> <" + ", ".join(f"i8 {k}" for k in order) + ">")
        self.m.variable("ranks", "[256 x <8 x i8>]", f"[{', '.join(rows)}]")

    def median(self, f: Function, keys: list[Value]) -> Value:
        a, b, c = keys
        low, high = (f"llvm.{name}.{self.type}" for name in ("umin", "umax"))
        least, most = f.call(self.type, low, a, b), f.call(self.type, high, a, b)
        return f.call(self.type, high, least, f.call(self.type, low, most, c))

    def write_pivot(self) -> None:
        """`pivot(keys, n, least, most, splits)`: where to split keys of a range; above `least`.

        The keys of an empty part, which may lie at the end of its memory, are not looked at.
        """
        types = ("ptr", "i64", self.type, self.type, "i64")
        f = self.m.function("pivot", self.type, *types)
        keys, n, least, most, splits = f.parameters
        with f.when(f.op("or", f.compare("sge", splits, MEDIANS), f.compare("eq", n, 0))):
            half = f.op("lshr", f.op("sub", most, least), 1)
            f.ret(f.op("add", f.op("add", least, half), 1))
        step = f.op("udiv", n, 9)
        found = [f.load(self.type, self.item(f, keys, f.op("mul", step, k))) for k in range(9)]
        median = self.median(f, [self.median(f, found[k : k + 3]) for k in (0, 3, 6)])
        above = f.compare("ugt", median, least)
        f.ret(f.select(above, median, f.op("add", least, 1)))

    # ------------------------------------------------------------------------------ sorting

    def merged(self, f: Function, rows: list[Value]) -> list[Value]:
        """Two ascending halves of vectors as one whose vectors ascend, but for their lanes."""
        half, n = len(rows) // 2, self.lanes
        backwards = [self.permuted(f, x, x, list(range(n))[::-1]) for x in rows[half:][::-1]]
        pairs = [self.exchanged(f, x, y) for x, y in zip(rows[:half], backwards, strict=True)]
        found = [x for x, _ in pairs] + [y for _, y in pairs]
        step = half // 2
        while step:
            for i in range(len(found)):
                if not i & step:
                    found[i], found[i + step] = self.exchanged(f, found[i], found[i + step])
            step //= 2
        return found

    def write_lanes(self) -> None:
        """`lanes(vectors)`: the last steps of a merge, between the lanes of each vector.

        Every merge ends with them.  All vectors come and go in registers.
        """
        n = self.lanes
        f = self.m.function("lanes", self.registers, *[self.vector] * n)
        found = list(f.parameters)
        step = n // 2
        while step:
            for i, x in enumerate(found):
                other = self.permuted(f, x, x, [k ^ step for k in range(n)])
                less, more = self.exchanged(f, x, other)
                lanes = [k + n if k & step else k for k in range(n)]
                found[i] = self.permuted(f, less, more, lanes)
            step //= 2
        whole = Value(self.vectors, "poison")
        for i, x in enumerate(found):
            whole = f.value(self.vectors, f"insertvalue {whole}, {x}, {i}")
        f.ret(whole)

    def lanes_merged(self, f: Function, rows: list[Value]) -> list[Value]:
        whole = f.call(self.registers, "lanes", *rows)
        parts = (f"extractvalue {self.vectors} {whole.text}, {i}" for i in range(self.lanes))
        return [f.value(self.vector, part) for part in parts]

    def write_small(self) -> None:
        """`small(src, dst, n)`: as many keys as fit in registers, or fewer."""
        f = self.m.function("small", "void", "ptr", "ptr", "i64")
        src, dst, n = f.parameters
        largest = Value(self.vector, f"splat ({self.type} -1)")
        masks, rows = [], []
        for k in range(self.lanes):
            start = k * self.lanes
            left = f.call("i64", "llvm.smax.i64", f.op("sub", n, start), i64(0))
            left = f.call("i64", "llvm.smin.i64", left, i64(self.lanes))
            masks.append(self.first_lanes(f, left))
            rows.append(self.load_some(f, f.at(src, start * self.size), masks[-1], largest))
        for i, j in exchanges(self.lanes):
            rows[i], rows[j] = self.exchanged(f, rows[i], rows[j])
        rows = transposed(f, rows)
        width = 2
        while width <= self.lanes:
            parts = [self.merged(f, rows[k : k + width]) for k in range(0, self.lanes, width)]
            rows = self.lanes_merged(f, [row for part in parts for row in part])
            width *= 2
        store, align = (
            f"llvm.masked.store.v{self.lanes}{self.type}.p0",
            Value("i32", str(self.size)),
        )
        for k, (row, mask) in enumerate(zip(rows, masks, strict=True)):
            f.call("void", store, row, f.at(dst, k * 64), align, mask)
        f.ret()

    def write_quick(self) -> None:
        """`quick(keys, other, n, least, most, splits, there, first, last)`: sort into a buffer.

        It is `other` if it shall be `there`.  What lies outside of the places that are wanted is
        moved as it is, and so are equal keys.
        """
        types = ("ptr", "ptr", "i64", self.type, self.type, "i64", "i1", "i64", "i64")
        f = self.m.function("quick", "void", *types)
        keys, other, n, least, most, splits, there, start, stop = f.parameters
        target = f.select(there, other, keys)
        with f.when(f.compare("sle", n, self.lanes * self.lanes)):
            f.call("void", "small", keys, target, n)
            f.ret()
        outside = f.op("or", f.compare("sle", stop, 0), f.compare("sge", start, n))
        with f.when(f.op("or", f.compare("eq", least, most), outside)):
            with f.when(there):
                self.move(f, other, keys, n)
            f.ret()
        pivot = f.call(self.type, "pivot", keys, n, least, most, splits)
        below = f.call("i64", "split", keys, other, n, pivot)
        more, back = f.op("add", splits, 1), f.op("xor", there, -1)
        ranges = (least, f.op("sub", pivot, 1)), (pivot, most)
        f.call("void", "quick", other, keys, below, *ranges[0], more, back, start, stop)
        left, right = (self.item(f, x, below) for x in (keys, other))
        rest, places = f.op("sub", n, below), (f.op("sub", x, below) for x in (start, stop))
        f.call("void", "quick", right, left, rest, *ranges[1], more, back, *places)
        f.ret()

    # ------------------------------------------------------------------------------ threads

    def parts(self, f: Function, table: Value, part: Value) -> list[Value]:
        """Where the fields of a part stand: first key, number of keys, least, most."""
        place = f.item(table, part, 32)
        return [f.at(place, 8 * k) for k in range(4)]

    def write_split_tasks(self) -> None:
        """`split_tasks(env, begin, end)`: parts of one table become two in another each.

        Of a part in which no place is wanted one is empty.
        """
        f = self.m.function("split_tasks", "void", "ptr", "i64", "i64")
        env, begin, end = f.parameters
        src, dst, old, new = (f.load("ptr", env, 8 * k) for k in range(4))
        start, stop = (f.load("i64", env, 8 * k) for k in (4, 5))
        with f.loop(f.op("sub", end, begin)) as t:
            part = f.op("add", t, begin)
            fields = self.parts(f, old, part)
            first, n = (f.load("i64", place) for place in fields[:2])
            least, most = (f.load(self.type, place) for place in fields[2:])
            keys, other = self.item(f, src, first), self.item(f, dst, first)
            pivot = f.call(self.type, "pivot", keys, n, least, most, i64(0))
            pivot = f.select(f.compare("eq", least, most), most, pivot)
            before = f.compare("sle", f.op("add", first, n), start)
            outside, count = f.op("or", before, f.compare("sge", first, stop)), f.variable("i64", n)
            with f.when(outside):
                self.move(f, other, keys, n)
            with f.when(f.op("xor", outside, -1)):
                f.store(f.call("i64", "split", keys, other, n, pivot), count)
            below = f.load("i64", count)
            twice = f.op("mul", part, 2)
            halves = (
                (twice, (first, below, least, f.op("sub", pivot, 1))),
                (
                    f.op("add", twice, 1),
                    (f.op("add", first, below), f.op("sub", n, below), pivot, most),
                ),
            )
            for index, values in halves:
                for value, place in zip(values, self.parts(f, new, index), strict=True):
                    f.store(value, place)
        f.ret()

    def write_quick_tasks(self) -> None:
        """`quick_tasks(env, begin, end)`: sort parts of a table."""
        f = self.m.function("quick_tasks", "void", "ptr", "i64", "i64")
        env, begin, end = f.parameters
        src, dst, table = (f.load("ptr", env, 8 * k) for k in range(3))
        wanted = [f.load("i64", env, 8 * k) for k in (4, 5)]
        with f.loop(f.op("sub", end, begin)) as t:
            fields = self.parts(f, table, f.op("add", t, begin))
            first, n = (f.load("i64", place) for place in fields[:2])
            least, most = (f.load(self.type, place) for place in fields[2:])
            places = self.item(f, src, first), self.item(f, dst, first)
            part = f.op("sub", wanted[0], first), f.op("sub", wanted[1], first)
            f.call("void", "quick", *places, n, least, most, i64(0), Value("i1", "true"), *part)
        f.ret()

    def write_row_tasks(self) -> None:
        """`row_tasks(env, begin, end)`: sort rows."""
        f = self.m.function("row_tasks", "void", "ptr", "i64", "i64")
        env, begin, end = f.parameters
        src, dst = (f.load("ptr", env, 8 * k) for k in range(2))
        n, whole = f.load("i64", env, 16), (Value(self.type, "0"), Value(self.type, "-1"))
        wanted = [f.load("i64", env, 8 * k) for k in (4, 5)]
        with f.loop(f.op("sub", end, begin)) as t:
            first = f.op("mul", f.op("add", t, begin), n)
            places = self.item(f, src, first), self.item(f, dst, first)
            f.call("void", "quick", *places, n, *whole, i64(0), Value("i1", "true"), *wanted)
        f.ret()

    def write_entry(self, name: str) -> None:
        f = self.m.function(name, "void", "ptr", "ptr", *["i64"] * 4, exported=True)
        keys, other, rows, n, *wanted = f.parameters
        env = f.space("[6 x i64]")
        for k, place in enumerate(wanted):
            f.store(place, env, 8 * (4 + k))
        tables = [f.space(f"[{4 << ROUNDS} x i64]") for _ in range(2)]
        several = f.new_label()

        def run(task: str, values: tuple[Value, ...], count: Value, grain: Value) -> None:
            for k, value in enumerate(values):
                f.store(value, env, 8 * k)
            f.call("void", "pb_parallel_for", Value("ptr", f"@{task}"), env, count, grain)

        f.goto_if(f.compare("ne", rows, 1), several)
        f.goto_if(f.compare("slt", n, LONG), several)
        start = (i64(0), n, Value(self.type, "0"), Value(self.type, "-1"))
        for value, place in zip(start, self.parts(f, tables[0], i64(0)), strict=True):
            f.store(value, place)
        buffers = [keys, other]
        for k in range(ROUNDS):
            run("split_tasks", (*buffers, *tables), i64(1 << k), i64(1))
            buffers, tables = buffers[::-1], tables[::-1]
        run("quick_tasks", (*buffers, tables[0]), i64(1 << ROUNDS), i64(1))
        f.ret()
        f.label(several)
        grain = f.op("add", f.op("udiv", i64(GRAIN), f.op("add", n, 1)), 1)
        run("row_tasks", (keys, other, n), rows, grain)
        f.ret()


def available() -> frozenset[str]:
    """Those of `KERNELS` that this machine has."""
    return frozenset(KERNELS if jit.vector_bits() == _BITS else ())


def module_text(symbol: str, bits: int) -> tuple[str, list[str]]:
    """LLVM text of the module that defines a kernel, and the symbols that it needs."""
    if bits != _BITS:
        raise ValueError(f"{symbol} is for vectors of {_BITS} bits, not of {bits}")
    module = _Writer(symbol.rsplit("_", 1)[1]).m
    return module.text(), module.undefined
