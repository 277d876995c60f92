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
from pullback.llvm.gemm_rows import Rows
from pullback.llvm.gemm_sums import FEW_SUMS, PARALLEL_WORK, Sums
from pullback.llvm.gemm_thin import Thin
from pullback.llvm.gemm_tiles import FEW_PANELS, Tiles
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


class _Writer(Tiles, Sums):
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
            "ra", "ca", "rb", "cb", "rc", "depth", "step", "mt", "nt", "it", "jt",
        )  # fmt: skip
        v = {name: f.load("i64", env, 24 + 8 * i) for i, name in enumerate(names)}
        by_k, by_n, by_m = (f.load("ptr", env, 24 + 8 * (len(names) + i)) for i in range(3))
        with self.scratch.held(f) as scratch, f.loop(f.op("sub", end, begin)) as t:
            task = f.op("add", t, begin)
            column, rest = f.op("urem", task, v["jt"]), f.op("udiv", task, v["jt"])
            row, lane = f.op("urem", rest, v["it"]), f.op("udiv", rest, v["it"])
            i, j = f.op("mul", row, v["mt"]), f.op("mul", column, v["nt"])
            f.call(
                "void", "blocked",
                self.at(f, self.at(f, a, lane, v["la"]), i, v["ra"]),
                self.at(f, self.at(f, b, lane, v["lb"]), j, v["cb"]),
                self.item(f, self.at(f, self.at(f, c, lane, v["lc"]), i, v["rc"]), j),
                self.smaller(f, f.op("sub", v["m"], i), v["mt"]),
                self.smaller(f, f.op("sub", v["n"], j), v["nt"]),
                v["k"], v["ra"], v["ca"], v["rb"], v["cb"], v["rc"], v["depth"], v["step"], scratch,
                by_k, self.moved(f, by_n, j), self.moved(f, by_m, i),
            )  # fmt: skip
        f.ret()

    def write_entry(self) -> None:
        """`pb_gemm_T`: see `llvm.gemm`."""
        name = f"pb_gemm_{self.shape.name}"
        f = self.m.function(name, "void", "ptr", "ptr", "ptr", *["i64"] * 12, exported=True)
        a, b, c, lanes, la, lb, lc, m, n, k, ra, ca, rb, cb, rc = f.parameters
        numbers = (la, lb, lc, m, n, k, ra, ca, rb, cb, rc, i64(DEPTH), i64(0))
        self.long_sums(f, name, lanes, (a, b, c), numbers, i64(FEW_SUMS))
        self.run_tasks(f, lanes, (a, b, c), numbers, (NULL, NULL, NULL))
        f.ret()

    def write_conv_entry(self) -> None:
        """`pb_conv_T`: see `llvm.gemm`."""
        name = f"pb_conv_{self.shape.name}"
        f = self.m.function(name, "void", *["ptr"] * 5, *["i64"] * 10, exported=True)
        a, b, c, by_k, by_n, lanes, la, lb, lc, m, n, k, ra, ca, rc = f.parameters
        numbers = (la, lb, lc, m, n, k, ra, ca, i64(0), i64(0), rc, i64(DEPTH), i64(0))
        self.run_tasks(f, lanes, (a, b, c), numbers, (by_k, by_n, NULL))
        f.ret()

    def write_rows_entry(self) -> None:
        """`pb_conv_rows_T`: see `llvm.gemm`."""
        name = f"pb_conv_rows_{self.shape.name}"
        f = self.m.function(name, "void", *["ptr"] * 5, *["i64"] * 12, exported=True)
        a, b, c, by_k, by_m, lanes, la, lb, lc, m, n, k, rb, cb, rc, depth, step = f.parameters
        numbers = (la, lb, lc, m, n, k, i64(0), i64(0), rb, cb, rc, depth, step)
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
                (tall, wide), self.tile_sizes(f, lanes, (m, n, k), threads), strict=True
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
        self.shared_work(f, env, count, tile_work)
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
        s, (m, n, k) = self.shape, numbers
        heights = [slivers * s.rows for slivers in (4, 8, 16, 24, 32, TALL_IN_PLACE, TALL)]
        widths = [2 * s.width, 4 * s.width, s.tile_columns]
        tiles = [(height, width) for height in heights for width in widths]
        tiles.sort(key=lambda tile: 1 / tile[0] + 1 / tile[1])
        candidates = ", ".join(f"i64 {size}" for tile in tiles for size in tile)
        table = self.m.variable("sizes", f"[{2 * len(tiles)} x i64]", f"[ {candidates} ]")
        work = f.op("mul", f.op("mul", lanes, k), f.op("mul", m, n))
        each = f.select(f.compare("slt", work, LARGE), i64(MORE_TILES), i64(FEW_TILES))
        wanted = f.op("mul", threads, each)
        tallest, found = self.tallest(f, n), f.new_label()
        height, width = (f.variable("i64", i64(size)) for size in tiles[-1])
        with f.loop(i64(len(tiles))) as t:
            place = f.item(table, t, 16)
            for at, slot in ((0, height), (8, width)):
                f.store(f.load("i64", place, at), slot)
            mt, nt = f.load("i64", height), f.load("i64", width)
            count = f.op("mul", lanes, f.op("mul", self.parts(f, m, mt), self.parts(f, n, nt)))
            rounds = f.op("mul", self.parts(f, count, threads), threads)
            spare = f.op("mul", f.op("sub", rounds, count), IDLE)
            even = f.op("and", f.compare("sle", spare, rounds), f.compare("sge", count, wanted))
            f.goto_if(f.op("and", even, f.compare("sge", tallest, mt)), found)
        f.label(found)
        mt, nt = f.load("i64", height), f.load("i64", width)
        mt, nt = self.evened(f, m, mt, s.rows), self.evened(f, n, nt, s.width)
        nt = self.shared(f, f.op("mul", lanes, self.parts(f, m, mt)), n, nt, threads)
        return mt, nt

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


def kernel_module(symbol: str, bits: int) -> Module:
    """The module that defines a kernel for real numbers: `pb_gemm_T`, `pb_row_T`, `pb_conv_T`, ...

    It needs malloc, free and the pool.  What windows of convolutions need is not in the first ones.
    """
    kind, name = symbol.rsplit("_", 1)
    shape = shape_of(name, bits)
    few = {"pb_row": Rows, "pb_thin": Thin}.get(kind)
    writer = few(shape) if few else _Writer(shape, windows=kind != "pb_gemm")
    return writer.m.only(symbol)
