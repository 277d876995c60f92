"""The largest numbers of rows as LLVM text: `pb_top_T` for floats and integers of 32 and 64 bits.

    void pb_top_T(T *src, T *values, i32 *order, i64 *work, i64 rows, i64 n, i64 k)

finds the `k` largest of each row of `[rows, n]`, largest first and equal ones as they stand, in the
order of the bits of floats (-0 below 0, NaNs outside of the infinities), and where they are.  `n`
is below 2^31.

A number becomes an unsigned key of the opposite order, and with its position one integer of twice
its width.  A row is read once, a vector at a time.  Keys below that of the k-th so far are put
aside; when there are as many as `k` (or `BLOCK`), they are sorted by merging and merged with the
best so far.  In random order few are put aside.  `work` has room for twice
`k + max(k, BLOCK) + WIDEST` such integers a row.
"""

from __future__ import annotations

from typing import Final

from pullback.llvm.entry_ir import Function, Module, Value, i64

__all__ = ["BLOCK", "KERNELS", "WIDEST", "module_text"]

BLOCK: Final = 16
"""Keys that are put aside at least before they are sorted."""
WIDEST: Final = 16
"""Lanes of the widest vectors."""
GRAIN: Final = 1 << 15
"""Numbers that are worth a task."""
_TYPES: Final = ("f32", "f64", "i32", "i64", "u32", "u64")
KERNELS: Final = tuple(f"pb_top_{name}" for name in _TYPES)


class _Writer:
    """Writes the functions of one type."""

    def __init__(self, name: str, bits: int) -> None:
        self.m = Module()
        self.kind, self.bits = name[0], int(name[1:])
        self.size = self.bits // 8
        self.lanes = bits // self.bits
        self.key, self.pair = f"i{self.bits}", f"i{2 * self.bits}"
        self.keys = f"<{self.lanes} x {self.key}>"
        self.write_merge()
        self.write_sort()
        self.write_reduce()
        self.write_row()
        self.write_rows()
        self.write_entry(f"pb_top_{name}")

    # ------------------------------------------------------------------------------ keys

    def key_of(self, f: Function, bits: Value) -> Value:
        """The key of a number, or of a vector of them, of which these are the bits."""
        lanes = self.lanes if bits.type == self.keys else 1

        def constant(number: int) -> str:
            return f"splat ({self.key} {number})" if lanes > 1 else str(number)

        least = -(1 << (self.bits - 1))
        if self.kind == "u":
            return f.value(bits.type, f"xor {bits}, {constant(-1)}")
        if self.kind == "i":
            return f.value(bits.type, f"xor {bits}, {constant(-least - 1)}")
        signs = f.value(bits.type, f"ashr {bits}, {constant(self.bits - 1)}")
        flipped = f.value(bits.type, f"and {signs}, {constant(-least - 1)}")
        ascending = f.value(bits.type, f"xor {bits}, {flipped.text}")
        return f.value(bits.type, f"xor {ascending}, {constant(-least - 1)}")

    def splat(self, f: Function, scalar: Value) -> Value:
        return f.splat(scalar, self.lanes)

    def at(self, f: Function, base: Value, index: Value) -> Value:
        """The address of a key with its position."""
        return f.item(base, index, 2 * self.size)

    # ------------------------------------------------------------------------------ sorting

    def write_merge(self) -> None:
        """`merge(out, a, m, b, n, most)`: the first `most` of two ascending lists; how many."""
        f = self.m.function("merge", "i64", "ptr", "ptr", "i64", "ptr", "i64", "i64")
        out, a, m, b, n, most = f.parameters
        i, j, count = (f.variable("i64", i64(0)) for _ in range(3))
        again, rest = f.new_label(), f.new_label()
        f.label(again)
        x, y, done = f.load("i64", i), f.load("i64", j), f.load("i64", count)
        inside = f.op("and", f.compare("slt", x, m), f.compare("slt", y, n))
        f.goto_unless(f.op("and", inside, f.compare("slt", done, most)), rest)
        left, right = f.load(self.pair, self.at(f, a, x)), f.load(self.pair, self.at(f, b, y))
        second = f.compare("ult", right, left)
        f.store(f.select(second, right, left), self.at(f, out, done))
        step = f.convert("zext", second, "i64")
        f.store(f.op("add", y, step), j)
        f.store(f.op("sub", f.op("add", x, 1), step), i)
        f.store(f.op("add", done, 1), count)
        f.goto(again)
        f.label(rest)
        for source, slot, length in ((a, i, m), (b, j, n)):
            start, done = f.load("i64", slot), f.load("i64", count)
            left_over = f.op("sub", length, start)
            free = f.op("sub", most, done)
            taken = f.select(f.compare("slt", free, left_over), free, left_over)
            with f.loop(taken) as k:
                value = f.load(self.pair, self.at(f, source, f.op("add", start, k)))
                f.store(value, self.at(f, out, f.op("add", done, k)))
            more = f.compare("sgt", taken, 0)
            f.store(f.op("add", done, f.select(more, taken, i64(0))), count)
        f.ret(f.load("i64", count))

    def write_sort(self) -> None:
        """`sort(data, spare, n)`: ascending, by merging to and fro; where the result is."""
        f = self.m.function("sort", "ptr", "ptr", "ptr", "i64")
        data, spare, n = f.parameters
        source, target = f.variable("ptr", data), f.variable("ptr", spare)
        width = f.variable("i64", i64(1))
        again, done = f.new_label(), f.new_label()
        f.label(again)
        size, here, there = f.load("i64", width), f.load("ptr", source), f.load("ptr", target)
        f.goto_unless(f.compare("slt", size, n), done)
        both = f.op("shl", size, 1)
        runs = f.op("udiv", f.op("add", n, f.op("sub", both, 1)), both)
        with f.loop(runs) as run:
            start = f.op("mul", run, both)
            left = f.op("sub", n, start)
            first = f.select(f.compare("slt", left, size), left, size)
            rest = f.op("sub", left, first)
            second = f.select(f.compare("slt", rest, size), rest, size)
            base = self.at(f, here, start)
            out, other = self.at(f, there, start), self.at(f, base, first)
            f.call("i64", "merge", out, base, first, other, second, both)
        f.store(there, source)
        f.store(here, target)
        f.store(both, width)
        f.goto(again)
        f.label(done)
        f.ret(f.load("ptr", source))

    def write_reduce(self) -> None:
        """`reduce(best, spare, have, fresh, k)`: the best of `have` and of `fresh` ones behind `k`.

        They are written to `spare`; the result is how many.
        """
        f = self.m.function("reduce", "i64", "ptr", "ptr", "i64", "i64", "i64")
        best, spare, have, fresh, k = f.parameters
        ordered = f.call("ptr", "sort", self.at(f, best, k), self.at(f, spare, k), fresh)
        f.ret(f.call("i64", "merge", spare, best, have, ordered, fresh, k))

    # ------------------------------------------------------------------------------ rows

    def write_row(self) -> None:
        """`row(src, values, order, work, n, k)`."""
        f = self.m.function("row", "void", "ptr", "ptr", "ptr", "ptr", "i64", "i64")
        src, values, order, work, n, k = f.parameters
        block = f.select(f.compare("sgt", k, BLOCK), k, i64(BLOCK))
        room = f.op("add", f.op("add", k, block), WIDEST)
        best, spare = f.variable("ptr", work), f.variable("ptr", self.at(f, work, room))
        have, fresh = (f.variable("i64", i64(0)) for _ in range(2))
        bound = f.variable(self.key, Value(self.key, "-1"))
        lanes = f.variable(self.keys, Value(self.keys, "zeroinitializer"))
        count = f.op("udiv", n, self.lanes)

        def put(key: Value, place: Value) -> None:
            high = f.op("shl", f.convert("zext", key, self.pair), self.bits)
            low = place if self.pair == "i64" else f.convert("zext", place, self.pair)
            number = f.load("i64", fresh)
            into = self.at(f, f.load("ptr", best), f.op("add", k, number))
            f.store(f.op("or", high, low), into)
            f.store(f.op("add", number, 1), fresh)

        def reduce() -> None:
            old, new = f.load("ptr", best), f.load("ptr", spare)
            found = f.call("i64", "reduce", old, new, f.load("i64", have), f.load("i64", fresh), k)
            f.store(found, have)
            f.store(i64(0), fresh)
            f.store(new, best)
            f.store(old, spare)
            with f.when(f.compare("eq", found, k)):
                last = f.load(self.pair, self.at(f, new, f.op("sub", k, 1)))
                f.store(f.convert("trunc", f.op("lshr", last, self.bits), self.key), bound)

        def wanted_anyway() -> Value:
            return f.compare("slt", f.load("i64", have), k)

        with f.loop(count) as v:
            start = f.op("mul", v, self.lanes)
            place = f.item(src, start, self.size)
            bits = f.value(self.keys, f"load {self.keys}, {place}, align {self.size}")
            keys = self.key_of(f, bits)
            below = f.value(
                f"<{self.lanes} x i1>",
                f"icmp ult {keys}, {self.splat(f, f.load(self.key, bound)).text}",
            )
            word = f.convert("bitcast", below, f"i{self.lanes}")
            word = f.select(wanted_anyway(), Value(word.type, "-1"), word)
            with f.when(f.compare("ne", word, 0)):
                f.store(keys, lanes)
                left = f.variable(word.type, word)
                f.store(word, left)
                again, after = f.new_label(), f.new_label()
                f.label(again)
                now = f.load(word.type, left)
                f.goto_unless(f.compare("ne", now, 0), after)
                no = Value("i1", "true")
                first = f.call(word.type, f"llvm.cttz.{word.type}", now, no)
                lane = f.convert("zext", first, "i64")
                put(f.load(self.key, f.item(lanes, lane, self.size)), f.op("add", start, lane))
                f.store(f.op("and", now, f.op("sub", now, 1)), left)
                f.goto(again)
                f.label(after)
                with f.when(f.compare("sge", f.load("i64", fresh), block)):
                    reduce()
        done = f.op("mul", count, self.lanes)
        with f.loop(f.op("sub", n, done)) as t:  # fewer than lanes, for which there is room
            place = f.op("add", done, t)
            key = self.key_of(f, f.load(self.key, f.item(src, place, self.size)))
            below = f.compare("ult", key, f.load(self.key, bound))
            with f.when(f.op("or", below, wanted_anyway())):
                put(key, place)
        reduce()
        with f.loop(k) as j:
            item = f.load(self.pair, self.at(f, f.load("ptr", best), j))
            place = f.convert("trunc", item, "i32")
            number = f.load(self.key, f.item(src, f.convert("zext", place, "i64"), self.size))
            f.store(number, f.item(values, j, self.size))
            f.store(place, f.item(order, j, 4))
        f.ret()

    def write_rows(self) -> None:
        """`rows(env, begin, end)`."""
        f = self.m.function("rows", "void", "ptr", "i64", "i64")
        env, begin, end = f.parameters
        src, values, order, work = (f.load("ptr", env, 8 * i) for i in range(4))
        n, k = (f.load("i64", env, 8 * i) for i in (5, 6))
        block = f.select(f.compare("sgt", k, BLOCK), k, i64(BLOCK))
        room = f.op("shl", f.op("add", f.op("add", k, block), WIDEST), 1)
        with f.loop(f.op("sub", end, begin)) as t:
            r = f.op("add", t, begin)
            source = f.item(src, f.op("mul", r, n), self.size)
            first = f.op("mul", r, k)
            mine = self.at(f, work, f.op("mul", r, room))
            targets = f.item(values, first, self.size), f.item(order, first, 4)
            f.call("void", "row", source, *targets, mine, n, k)
        f.ret()

    def write_entry(self, name: str) -> None:
        types = (*["ptr"] * 4, *["i64"] * 3)
        f = self.m.function(name, "void", *types, exported=True)
        rows, n = f.parameters[4:6]
        env = f.words(f.parameters)
        grain = f.op("add", f.op("udiv", i64(GRAIN), f.op("or", n, 1)), 1)
        f.call("void", "pb_parallel_for", Value("ptr", "@rows"), env, rows, grain)
        f.ret()


def module_text(symbol: str, bits: int) -> tuple[str, list[str]]:
    """LLVM text of the module that defines a kernel, and the symbols that it needs."""
    module = _Writer(symbol.rsplit("_", 1)[1], bits).m
    return module.text(), module.undefined
