"""Our matrix kernels for real numbers, as LLVM text: products cut into tiles for the threads.

Tiles (`llvm.gemm_tiles`) may depend on the number of threads, and do: each costs packing.  A large
product has one tile a thread if these are even.  Each thread packs all that it multiplies by: what
another core has packed comes no faster than memory does, and a product whose operands are in the
caches of all cores would lose them.  Nor does it pay to ask early for what is packed next: packing
runs at the rate of the last cache, and what asks takes the places of multiplications.
"""

from __future__ import annotations

from typing import Final

from pullback.llvm.entry_ir import NULL, Function, Module, Value, i64
from pullback.llvm.gemm_packing import DEPTH, Shape, shape_of
from pullback.llvm.gemm_thin import THIN
from pullback.llvm.gemm_tiles import FEW_PANELS, Tiles
from pullback.llvm.gemm_vectors import NARROW
from pullback.llvm.scratch import Scratch

__all__ = ["kernel_module"]

FEW_TILES: Final = 1
MORE_TILES: Final = 2
LARGE: Final = 8_000_000
"""Tiles a thread, at least: one of so many multiplications, and more of products that end before a
thread that comes late has begun.  What one more tile costs is packing, a twentieth of the time."""
IDLE: Final = 8
"""One in so many threads, or fewer, may have nothing to do while the last tiles are computed."""
TALL: Final = 64
"""Slivers of a tile, at most."""
TALL_IN_PLACE: Final = 48
"""Slivers of a tile whose left operand is not packed: each panel reads it from the second cache."""
ROW_COLUMNS: Final = 256
DOT_COLUMNS: Final = 32
"""Columns of a matrix that one thread multiplies a row by, at least: pieces of its rows, or columns
that are contiguous themselves."""
LONG_ROW: Final = 4096
"""Columns of it, at most, so that the sums stay in the first cache."""
PARALLEL_WORK: Final = 400_000
"""Multiplications from which waking up the pool pays."""
FEW_SUMS: Final = 4096
"""Elements of a result with too few tiles for all threads, where its sums may be cut instead."""
LONG_SUM: Final = 2048
"""Terms of a sum that may be cut, at least."""
PIECES: Final = 8
"""Pieces of a long sum, however many threads there are."""
PIECE_UNIT: Final = 16
"""Terms of a piece are a multiple; what is left over, one at least, is one more, short piece."""


class _Writer(Tiles):
    """Writes the products of one element type."""

    def __init__(self, shape: Shape, windows: bool) -> None:
        super().__init__(shape, windows)
        self.scratch = Scratch(self.m, f"pb_gemm_{shape.name}", self.scratch_bytes)
        self.write_tiles()
        self.write_tasks()
        if windows:
            self.write_conv_entry()
            self.write_rows_entry()
        else:
            self.write_entry()

    def moved(self, f: Function, table: Value, by: Value) -> Value:
        """A table of offsets from an element on, if there is a table."""
        return f.select(f.is_null(table), table, f.item(table, by, 4))

    def write_tasks(self) -> None:
        """`tasks(env, begin, end)`: tiles `begin` to `end` of the grid that `env` describes."""
        f = self.m.function("tasks", "void", "ptr", "i64", "i64")
        env, begin, end = f.parameters
        a, b, c = (f.load("ptr", env, 8 * i) for i in range(3))
        names = (
            "la", "lb", "lc", "m", "n", "k",
            "ra", "ca", "rb", "cb", "rc", "cc", "depth", "step", "mt", "nt", "it", "jt",
        )  # fmt: skip
        v = {name: f.load("i64", env, 24 + 8 * i) for i, name in enumerate(names)}
        by_k, by_n, by_m = (f.load("ptr", env, 24 + 8 * (len(names) + i)) for i in range(3))
        # One row is a matter of the product: a tile of one row, at the end of many, is like others.
        tile, part, blocked = (Value("ptr", f"@{name}") for name in ("tile", "part", "blocked"))
        short = f.compare("sle", v["n"], NARROW * self.shape.lanes)
        one_row = f.select(short, tile, part)
        kernel = f.select(f.compare("eq", v["m"], 1), one_row, blocked)
        thin = self.is_thin(f, v["m"], v["k"], v["rb"], v["cb"])
        with self.scratch.held(f) as scratch, f.loop(f.op("sub", end, begin)) as t:
            task = f.op("add", t, begin)
            column, rest = f.op("urem", task, v["jt"]), f.op("udiv", task, v["jt"])
            row, lane = f.op("urem", rest, v["it"]), f.op("udiv", rest, v["it"])
            i, j = f.op("mul", row, v["mt"]), f.op("mul", column, v["nt"])
            operands = (
                self.at(f, self.at(f, a, lane, v["la"]), i, v["ra"]),
                self.at(f, self.at(f, b, lane, v["lb"]), j, v["cb"]),
                self.at(f, self.at(f, self.at(f, c, lane, v["lc"]), i, v["rc"]), j, v["cc"]),
                self.smaller(f, f.op("sub", v["m"], i), v["mt"]),
                self.smaller(f, f.op("sub", v["n"], j), v["nt"]),
                v["k"], v["ra"], v["ca"],
            )  # fmt: skip
            other, done = f.new_label(), f.new_label()
            if not self.windows:
                f.goto_unless(thin, other)
                f.call("void", "thin", *operands, v["cb"], v["rc"], v["cc"], scratch)
                f.goto(done)
                f.label(other)
            f.call(
                "void", kernel, *operands, v["rb"], v["cb"], v["rc"], v["depth"], v["step"],
                scratch, by_k, self.moved(f, by_n, j), self.moved(f, by_m, i),
            )  # fmt: skip
            if not self.windows:
                f.goto(done)
                f.label(done)
        f.ret()

    def write_entry(self) -> None:
        """`pb_gemm_T`: see `llvm.gemm`.

        A matrix times a vector, or times a few, is a thin matrix times a matrix.  Few are at most
        half a vector: of more, broadcast elements times rows are faster.
        """
        name = f"pb_gemm_{self.shape.name}"
        f = self.m.function(name, "void", "ptr", "ptr", "ptr", *["i64"] * 12, exported=True)
        a, b, c, lanes, la, lb, lc, m, n, k, ra, ca, rb, cb, rc = f.parameters
        vector = f.op("and", f.compare("eq", n, 1), f.compare("eq", rc, 1))
        few = f.op("and", self.is_thin(f, n, k, ca, ra), f.compare("sgt", m, THIN))
        few = f.op("and", few, f.compare("sle", n, self.shape.lanes // 2))
        swap = f.op("or", vector, few)

        def pick(yes: Value, no: Value) -> Value:
            return f.select(swap, yes, no)

        pointers = (pick(b, a), pick(a, b), c)
        numbers = (
            pick(lb, la), pick(la, lb), lc, pick(n, m), pick(m, n), k,
            pick(cb, ra), pick(rb, ca), pick(ca, rb), pick(ra, cb),
            pick(i64(1), rc), pick(rc, i64(1)), i64(DEPTH), i64(0),
        )  # fmt: skip
        self.small_row(f, lanes, pointers, numbers)
        self.long_sums(f, name, lanes, pointers, numbers)
        self.run_tasks(f, lanes, pointers, numbers, (NULL, NULL, NULL))
        f.ret()

    def small_row(
        self, f: Function, lanes: Value, pointers: tuple[Value, ...], numbers: tuple[Value, ...]
    ) -> None:
        """Return at once if this is a small vector-matrix product: it needs no scratch memory."""
        a, b, c = pointers
        m, n, k, _, ca, rb, cb = numbers[3:10]
        size, otherwise = self.shape.size, f.new_label()
        f.goto_if(f.compare("ne", f.op("mul", lanes, m), 1), otherwise)
        f.goto_if(f.compare("sge", f.op("mul", n, k), PARALLEL_WORK), otherwise)
        step_a = f.op("mul", ca, size)
        with f.when(f.compare("eq", cb, 1)):
            f.call("void", "row", a, step_a, b, f.op("mul", rb, size), k, c, n)
            f.ret()
        apart = f.op("and", f.compare("eq", rb, 1), f.compare("ne", cb, 1))
        with f.when(f.op("and", apart, f.compare("eq", ca, 1))):
            f.call("void", "dots", a, b, f.op("mul", cb, size), c, k, n)
            f.ret()
        f.label(otherwise)

    def long_sums(
        self,
        f: Function,
        name: str,
        lanes: Value,
        pointers: tuple[Value, ...],
        numbers: tuple[Value, ...],
    ) -> None:
        """Return at once if these are a few long sums: pieces of them are added, in order.

        The pieces are lanes of a product of their own.  They depend on shapes alone.
        """
        a, b, c = pointers
        m, n, k, ra, ca, rb, cb, rc, cc = numbers[3:12]
        size, area, otherwise = self.shape.size, f.op("mul", m, n), f.new_label()
        least = f.select(f.compare("eq", cb, 1), i64(ROW_COLUMNS), i64(DOT_COLUMNS))
        few = f.select(f.compare("eq", m, 1), f.op("mul", least, 2), i64(FEW_SUMS + 1))
        work = f.op("mul", area, k)
        f.goto_if(f.compare("ne", lanes, 1), otherwise)
        f.goto_if(f.compare("sge", area, few), otherwise)
        f.goto_if(f.compare("slt", k, LONG_SUM), otherwise)
        f.goto_if(f.compare("slt", work, 2 * PARALLEL_WORK), otherwise)
        deep = f.op("and", f.op("udiv", f.op("sub", k, 1), PIECES), -PIECE_UNIT)
        done = f.op("mul", deep, PIECES)
        rest = f.op("sub", k, done)
        sums = f.call("ptr", "malloc", f.op("mul", area, (PIECES + 1) * size))
        strides = (ra, ca, rb, cb, n)
        left, right = f.op("mul", deep, ca), f.op("mul", deep, rb)
        shape = (m, n)
        f.call("void", name, a, b, sums, i64(PIECES), left, right, area, *shape, deep, *strides)
        last = self.at(f, sums, i64(PIECES), area)
        a, b = self.at(f, a, done, ca), self.at(f, b, done, rb)
        f.call("void", name, a, b, last, i64(1), *[i64(0)] * 3, *shape, rest, *strides)
        self.add_pieces(f, sums, area, (m, n), (c, rc, cc))
        f.call("void", "free", sums)
        f.ret()
        f.label(otherwise)

    def add_pieces(
        self,
        f: Function,
        sums: Value,
        area: Value,
        shape: tuple[Value, Value],
        result: tuple[Value, Value, Value],
    ) -> None:
        """The sum of matrices that follow one another in memory."""
        s, (m, n), (c, row_c, col_c) = self.shape, shape, result
        total = f.variable(s.type, Value(s.type, "0.0"))
        with f.loop(m) as i, f.loop(n) as j:
            place = self.item(f, self.at(f, sums, i, n), j)
            f.store(f.load(s.type, place), total)
            for piece in range(1, PIECES + 1):
                term = f.load(s.type, self.item(f, place, f.op("mul", area, piece)))
                now = f.load(s.type, total)
                f.store(f.value(s.type, f"fadd {now}, {term.text}"), total)
            f.store(f.load(s.type, total), self.at(f, self.at(f, c, i, row_c), j, col_c))

    def write_conv_entry(self) -> None:
        """`pb_conv_T`: see `llvm.gemm`."""
        name = f"pb_conv_{self.shape.name}"
        f = self.m.function(name, "void", *["ptr"] * 5, *["i64"] * 10, exported=True)
        a, b, c, by_k, by_n, lanes, la, lb, lc, m, n, k, ra, ca, rc = f.parameters
        numbers = (la, lb, lc, m, n, k, ra, ca, i64(0), i64(0), rc, i64(1), i64(DEPTH), i64(0))
        self.run_tasks(f, lanes, (a, b, c), numbers, (by_k, by_n, NULL))
        f.ret()

    def write_rows_entry(self) -> None:
        """`pb_conv_rows_T`: see `llvm.gemm`."""
        name = f"pb_conv_rows_{self.shape.name}"
        f = self.m.function(name, "void", *["ptr"] * 5, *["i64"] * 12, exported=True)
        a, b, c, by_k, by_m, lanes, la, lb, lc, m, n, k, rb, cb, rc, depth, step = f.parameters
        numbers = (la, lb, lc, m, n, k, i64(0), i64(0), rb, cb, rc, i64(1), depth, step)
        self.run_tasks(f, lanes, (a, b, c), numbers, (by_k, NULL, by_m))
        f.ret()

    def run_tasks(
        self,
        f: Function,
        lanes: Value,
        pointers: tuple[Value, ...],
        numbers: tuple[Value, ...],
        tables: tuple[Value, Value, Value],
    ) -> None:
        """Cut the result into tiles, and compute them here or by the pool."""
        m, n, k = numbers[3:6]
        threads = f.call("i64", "pb_pool_threads")
        total = f.op("mul", f.op("mul", lanes, m), f.op("mul", n, k))
        alone = f.op(
            "or", f.compare("slt", total, PARALLEL_WORK), f.compare("slt", threads, 2)
        )  # fmt: skip
        tall = f.variable("i64", self.tallest(f, n))
        wide = f.variable("i64", i64(self.shape.tile_columns))
        with f.when(f.compare("eq", alone, 0)):
            for slot, size in zip(
                (tall, wide), self.tile_sizes(f, lanes, numbers[3:10], threads), strict=True
            ):
                f.store(size, slot)
        mt, nt = f.load("i64", tall), f.load("i64", wide)
        it, jt = self.parts(f, m, mt), self.parts(f, n, nt)
        env = f.words((*pointers, *numbers, mt, nt, it, jt, *tables))
        count = f.op("mul", lanes, f.op("mul", it, jt))
        tile_work = f.op("mul", f.op("mul", mt, nt), k)
        serial, done = f.new_label(), f.new_label()
        f.goto_if(alone, serial)
        f.goto_if(f.compare("slt", count, 2), serial)
        grain = f.op("add", f.op("udiv", i64(PARALLEL_WORK // 4), f.op("or", tile_work, 1)), 1)
        f.call("void", "pb_parallel_for", Value("ptr", "@tasks"), env, count, grain)
        f.goto(done)
        f.label(serial)
        f.call("void", "tasks", env, i64(0), count)
        f.label(done)

    def tile_sizes(
        self, f: Function, lanes: Value, numbers: tuple[Value, ...], threads: Value
    ) -> tuple[Value, Value]:
        """Rows and columns of a tile: those that need the least packing and keep threads busy.

        The right operand is packed once for each row of tiles, the left one for each column.
        """
        s, (m, n, k, *strides) = self.shape, numbers
        heights = [slivers * s.rows for slivers in (4, 8, 16, 24, 32, TALL_IN_PLACE, TALL)]
        widths = [2 * s.width, 4 * s.width, s.tile_columns]
        tiles = [(height, width) for height in heights for width in widths]
        tiles.sort(key=lambda tile: -1 / tile[0] - 1 / tile[1])
        work = f.op("mul", f.op("mul", lanes, k), f.op("mul", m, n))
        each = f.select(f.compare("slt", work, LARGE), i64(MORE_TILES), i64(FEW_TILES))
        wanted = f.op("mul", threads, each)
        mt, nt = i64(tiles[0][0]), i64(tiles[0][1])
        tallest = self.tallest(f, n)
        for height, width in tiles[1:]:
            count = f.op("mul", self.parts(f, m, i64(height)), self.parts(f, n, i64(width)))
            count = f.op("mul", count, lanes)
            rounds = f.op("mul", self.parts(f, count, threads), threads)
            spare = f.op("mul", f.op("sub", rounds, count), IDLE)
            even = f.compare("sle", spare, rounds)
            enough = f.op("and", even, f.compare("sge", count, wanted))
            if height > TALL_IN_PLACE * s.rows:
                enough = f.op("and", enough, f.compare("sge", tallest, height))
            mt, nt = f.select(enough, i64(height), mt), f.select(enough, i64(width), nt)
        mt, nt = self.evened(f, m, mt, s.rows), self.evened(f, n, nt, s.width)
        nt = self.shared(f, f.op("mul", lanes, self.parts(f, m, mt)), n, nt, threads)
        if self.windows:  # they are always packed, as many columns as there is room for
            return mt, nt
        part = self.row_part(f, n, (strides[1], strides[2], strides[3]), threads)
        return mt, f.select(f.compare("eq", m, 1), part, nt)

    def row_part(
        self, f: Function, n: Value, strides: tuple[Value, Value, Value], threads: Value
    ) -> Value:
        """Columns of a part of a single row: equal ones, as many as threads where that pays.

        No more than a tile has, if the matrix is packed: what else walks it needs no memory.
        """
        by_rows, by_columns, plain = (f.compare("eq", stride, 1) for stride in reversed(strides))
        in_place = f.op("or", by_rows, f.op("and", by_columns, plain))
        least = f.select(by_rows, i64(ROW_COLUMNS), i64(DOT_COLUMNS))
        most = self.smaller(f, threads, f.op("udiv", n, least))
        longest = f.select(in_place, i64(LONG_ROW), i64(self.shape.tile_columns))
        long = self.parts(f, n, longest)
        count = f.select(f.compare("sgt", most, long), most, long)
        return self.evened(f, n, self.parts(f, n, count), self.shape.lanes)

    def tallest(self, f: Function, n: Value) -> Value:
        """Rows of a tile, at most."""
        s = self.shape
        in_place = f.compare("sle", n, (FEW_PANELS - 1) * s.width)
        return f.select(in_place, i64(TALL_IN_PLACE * s.rows), i64(TALL * s.rows))

    def shared(self, f: Function, high: Value, n: Value, nt: Value, threads: Value) -> Value:
        """Columns of a tile; of few in one row each thread gets as much, to a vector.

        Elsewhere tiles are whole register blocks, which a step of a loop may have too few of.
        """
        s = self.shape
        count = f.op("mul", high, self.parts(f, n, nt))
        few = f.compare("sle", count, f.op("mul", threads, 2))
        rounds = self.parts(f, count, threads)
        vectors = self.parts(f, self.parts(f, n, f.op("mul", threads, rounds)), i64(s.lanes))
        vectors = f.select(f.compare("sgt", vectors, 2), vectors, i64(2))
        even = self.smaller(f, f.op("mul", vectors, s.lanes), nt)
        return f.select(f.op("and", few, f.compare("eq", high, 1)), even, nt)

    def parts(self, f: Function, size: Value, part: Value) -> Value:
        return f.op("udiv", f.op("add", size, f.op("sub", part, 1)), part)

    def evened(self, f: Function, size: Value, tile: Value, unit: int) -> Value:
        """As many tiles of more equal sizes, multiples of `unit`."""
        count = self.parts(f, size, tile)
        most = f.select(f.compare("sgt", count, 1), count, i64(1))
        units = self.parts(f, self.parts(f, size, most), i64(unit))
        return f.op("mul", f.select(f.compare("sgt", units, 1), units, i64(1)), unit)


def kernel_module(symbol: str, bits: int) -> Module:
    """The module that defines one of `pb_gemm_T`, `pb_conv_T`, `pb_conv_rows_T` for real numbers.

    It needs malloc, free and the pool.  What windows of convolutions need is not in the first.
    """
    kind, name = symbol.rsplit("_", 1)
    return _Writer(shape_of(name, bits), kind != "pb_gemm").m.only(symbol)
