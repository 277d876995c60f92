"""Our matrix kernels for real numbers, as LLVM text, blocked for registers and caches.

A tile of the result is computed by `tile`: the right operand is packed, one block of DEPTH rows at
a time, into panels as wide as the register block; a micro-kernel then sweeps the rows of the left
operand, packed sliver by sliver, one broadcast element at a time.  An element of the result
is the sum over k in order, whatever the tiles, so that the number of threads changes nothing.
"""

from __future__ import annotations

from typing import Final

from pullback.llvm.entry_ir import FALSE, NULL, Function, Module, Value, i64
from pullback.llvm.gemm_packing import DEPTH, Shape
from pullback.llvm.gemm_vectors import Vectors
from pullback.llvm.scratch import Scratch

__all__ = ["kernel_module"]

TILES: Final = 8
"""Tiles that keep a few threads busy."""
PARALLEL_WORK: Final = 400_000
"""Multiplications from which waking up the pool pays."""


def _row_counts(shape: Shape) -> list[int]:
    """Heights of micro-kernels: any number of rows is a sum of few of them."""
    return [r for r in (shape.rows, 4, 2, 1) if r <= shape.rows]


def _micro_kernels(shape: Shape) -> list[tuple[bool, int, int]]:
    """Whether the sliver is packed by columns, its rows, the vectors of a row of the panel."""
    widths = range(1, shape.vectors + 1)
    return [(c, r, v) for c in (False, True) for r in _row_counts(shape) for v in widths]


def _micro_name(by_columns: bool, rows: int, vectors: int) -> str:
    return f"micro_{'columns' if by_columns else 'rows'}_{rows}_{vectors}"


class _Writer(Vectors):
    """Writes the functions of one element type."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.scratch = Scratch(self.m, f"pb_gemm_{shape.name}", self.scratch_bytes)
        for kernel in _micro_kernels(shape):
            self.write_micro(*kernel)
        self.write_packing()
        self.write_vectors()
        self.write_sweep()
        self.write_blocked()
        self.write_tile()
        self.write_tasks()
        self.write_entry()
        self.write_conv_entry()
        self.write_rows_entry()

    # ------------------------------------------------------------------------------ micro-kernels

    def write_micro(self, by_columns: bool, rows: int, vectors: int) -> None:
        """`micro_L_R_V(a, b, k, c, row_c, add)`: a packed sliver times a packed panel.

        c[R, V * lanes] = (add ? c : 0) + a[R, k] b[k, V * lanes]

        The sliver is packed by rows or by columns (L); row_c is in bytes.  All other steps are
        known here: addresses that wait for one another would take longer than the arithmetic.
        """
        s = self.shape
        types = ("ptr", "ptr", "i64", "ptr", "i64", "i1")
        f = self.m.function(_micro_name(by_columns, rows, vectors), "void", *types)
        a, b, k, c, row_c, add = f.parameters
        row_a, col_a = self.sliver_steps(by_columns)
        sums = [[f.variable(s.vector, self.zero) for _ in range(vectors)] for _ in range(rows)]
        at_a, at_b = f.variable("ptr", a), f.variable("ptr", b)
        with f.loop(k):
            pa, pb = f.load("ptr", at_a), f.load("ptr", at_b)
            right = [self.load_vector(f, f.at(pb, v * s.lanes * s.size)) for v in range(vectors)]
            for i in range(rows):
                left = self.splat(f, f.load(s.type, pa, i * row_a))
                for v in range(vectors):
                    slot = sums[i][v]
                    f.store(self.fma(f, left, right[v], f.load(s.vector, slot)), slot)
            f.store(f.at(pa, col_a), at_a)
            f.store(f.at(pb, vectors * s.lanes * s.size), at_b)
        self.write_results(f, sums, c, row_c, add)
        f.ret()

    def write_results(
        self, f: Function, sums: list[list[Value]], c: Value, row_c: Value, add: Value
    ) -> None:
        s = self.shape
        rows = [c]
        for _ in sums[1:]:
            rows.append(f.at(rows[-1], row_c))
        places = [[f.at(row, v * s.lanes * s.size) for v in range(len(sums[0]))] for row in rows]
        with f.when(add):
            for row, values in zip(places, sums, strict=True):
                for place, slot in zip(row, values, strict=True):
                    now, old = f.load(s.vector, slot), self.load_vector(f, place)
                    f.store(f.value(s.vector, f"fadd {now}, {old.text}"), slot)
        for row, values in zip(places, sums, strict=True):
            for place, slot in zip(row, values, strict=True):
                self.store_vector(f, f.load(s.vector, slot), place)

    # ------------------------------------------------------------------------------ tiles

    def write_sweep(self) -> None:
        """`block(rows, a, by_columns, b, k, c, row_c, add, vectors)`: rows times a panel.

        The micro-kernels stand in a table, by packing (0: by rows, 1: by columns), height, width.
        """
        s, heights = self.shape, _row_counts(self.shape)
        names = [_micro_name(*kernel) for kernel in _micro_kernels(s)]
        kernels = ", ".join(f"ptr @{name}" for name in names)
        kind = f"[{len(names)} x ptr]"
        table = self.m.variable(f"pb_gemm_table_{s.name}", kind, f"[ {kernels} ]")
        types = ("i64", "ptr", "i64", "ptr", "i64", "ptr", "i64", "i1", "i64")
        f = self.m.function("block", "void", *types)
        rows, a, by_columns, b, k, c, row_c, add, vectors = f.parameters
        by_row, by_column = (i64(self.sliver_steps(packing)[0]) for packing in (False, True))
        row_a = f.select(f.compare("eq", by_columns, 0), by_row, by_column)
        at = f.variable("i64", i64(0))
        again, after = f.new_label(), f.new_label()
        f.label(again)
        i = f.load("i64", at)
        left = f.op("sub", rows, i)
        f.goto_if(f.compare("slt", left, 1), after)
        height, line = i64(1), i64(len(heights) - 1)
        for index in range(len(heights) - 2, -1, -1):
            fits = f.compare("sge", left, heights[index])
            height = f.select(fits, i64(heights[index]), height)
            line = f.select(fits, i64(index), line)
        line = f.op("add", line, f.op("mul", by_columns, len(heights)))
        entry = f.op("add", f.op("mul", line, s.vectors), f.op("sub", vectors, 1))
        f.call(
            "void", f.load("ptr", f.item(table, entry)),
            f.at(a, f.op("mul", i, row_a)), b, k, f.at(c, f.op("mul", i, row_c)), row_c, add,
        )  # fmt: skip
        f.store(f.op("add", i, height), at)
        f.goto(again)
        f.label(after)
        f.ret()

    def write_tile(self) -> None:
        """`tile(a, b, c, m, n, k, row_a, col_a, row_b, col_b, row_c, scratch)`: one tile."""
        f = self.m.function("tile", "void", "ptr", "ptr", "ptr", *["i64"] * 8, *["ptr"] * 4)
        a, b, c, m, n, k, row_a, col_a, row_b, col_b, row_c, scratch, by_k, by_n, by_m = (
            f.parameters
        )
        s = self.shape
        plain, by_rows = f.new_label(), f.new_label()
        f.goto_if(f.compare("ne", m, 1), plain)
        f.goto_unless(f.is_null(by_k), plain)
        f.goto_if(f.compare("eq", col_b, 1), by_rows)
        f.goto_if(f.compare("ne", row_b, 1), plain)
        f.goto_if(f.compare("ne", col_a, 1), plain)
        f.call("void", "dots", a, b, f.op("mul", col_b, s.size), c, k, n)
        f.ret()
        f.label(by_rows)
        step_a, step_b = f.op("mul", col_a, s.size), f.op("mul", row_b, s.size)
        f.call("void", "row", a, step_a, b, step_b, k, c, n)
        f.ret()
        f.label(plain)
        strides = (row_a, col_a, row_b, col_b, row_c)
        f.call("void", "blocked", a, b, c, m, n, k, *strides, scratch, by_k, by_n, by_m)
        f.ret()

    def write_blocked(self) -> None:
        """`blocked(...)`, as `tile`: blocks of DEPTH; pack panels, sweep slivers of rows."""
        s, f = (
            self.shape,
            self.m.function("blocked", "void", "ptr", "ptr", "ptr", *["i64"] * 8, *["ptr"] * 4),
        )
        a, b, c, m, n, k, row_a, col_a, row_b, col_b, row_c, scratch, by_k, by_n, by_m = (
            f.parameters
        )
        panels = f.op("udiv", f.op("add", n, s.width - 1), s.width)
        edge = f.at(scratch, s.tile_columns * DEPTH * s.size)
        sliver = f.at(edge, s.rows * s.width * s.size)
        strided = f.op("and", f.is_null(by_m), f.compare("ne", col_a, 1))
        by_columns = f.select(strided, i64(1), i64(0))
        with f.loop(f.op("udiv", f.op("add", k, DEPTH - 1), DEPTH)) as q:
            first = f.op("mul", q, DEPTH)
            depth = self.smaller(f, f.op("sub", k, first), DEPTH)
            add = f.compare("sgt", q, 0)
            block = self.at(f, b, first, row_b)
            whole = f.select(
                f.op("and", f.is_null(by_n), f.compare("eq", col_b, 1)),
                f.op("udiv", n, s.width), i64(0),
            )  # fmt: skip
            with f.when(f.compare("sgt", whole, 0)):
                f.call("void", "pack_rows", scratch, block, row_b, depth, whole)
            with f.loop(f.op("sub", panels, whole)) as rest:
                p = f.op("add", whole, rest)
                column = f.op("mul", p, s.width)
                columns = self.smaller(f, f.op("sub", n, column), s.width)
                place = f.at(scratch, f.op("mul", p, self.panel_bytes))
                with f.when(f.is_null(by_n)):
                    source = self.at(f, block, column, col_b)
                    f.call("void", "pack", place, source, row_b, col_b, depth, columns)
                with f.when(f.compare("ne", by_n, NULL)):
                    rows_at, columns_at = f.item(by_k, first, 4), f.item(by_n, column, 4)
                    f.call("void", "gather", place, b, rows_at, columns_at, depth, columns)
            slivers = f.op("udiv", f.op("add", m, s.rows - 1), s.rows)
            with f.loop(slivers) as r:
                i = f.op("mul", r, s.rows)
                rows = self.smaller(f, f.op("sub", m, i), s.rows)
                with f.when(f.is_null(by_m)):
                    left = self.at(f, self.at(f, a, i, row_a), first, col_a)
                    f.call("void", "pack_sliver", sliver, left, row_a, col_a, rows, depth)
                with f.when(f.compare("ne", by_m, NULL)):
                    rows_at, columns_at = f.item(by_m, i, 4), f.item(by_k, first, 4)
                    f.call("void", "sliver", sliver, a, rows_at, columns_at, rows, depth)
                out = self.at(f, c, i, row_c)
                with f.loop(panels) as p:
                    self.one_block(
                        f, sliver, by_columns, f.at(scratch, f.op("mul", p, self.panel_bytes)),
                        rows, depth, out, row_c, f.op("mul", p, s.width), n, add, edge,
                    )  # fmt: skip
        f.ret()

    def one_block(
        self,
        f: Function,
        sliver: Value,
        by_columns: Value,
        panel: Value,
        rows: Value,
        depth: Value,
        out: Value,
        row_c: Value,
        column: Value,
        n: Value,
        add: Value,
        edge: Value,
    ) -> None:
        """Some rows times one panel, through a buffer where the last vector would be too wide."""
        s = self.shape
        columns = self.smaller(f, f.op("sub", n, column), s.width)
        vectors = f.op("udiv", f.op("add", columns, s.lanes - 1), s.lanes)
        target = self.item(f, out, column)
        ragged = f.compare("ne", f.op("urem", columns, s.lanes), 0)
        narrow, done = f.new_label(), f.new_label()
        f.goto_if(ragged, narrow)
        f.call(
            "void", "block", rows, sliver, by_columns, panel, depth, target,
            f.op("mul", row_c, s.size), add, vectors,
        )  # fmt: skip
        f.goto(done)
        f.label(narrow)
        f.call(
            "void", "block", rows, sliver, by_columns, panel, depth, edge,
            i64(s.width * s.size), FALSE, vectors,
        )  # fmt: skip
        with f.loop(rows) as i, f.loop(columns) as j:
            value = f.variable(s.type, Value(s.type, "0.0"))
            spot = f.op("add", f.op("mul", i, s.width), j)
            f.store(f.load(s.type, self.item(f, edge, spot)), value)
            place = self.item(f, self.at(f, target, i, row_c), j)
            with f.when(add):
                now, old = f.load(s.type, value), f.load(s.type, place)
                f.store(f.value(s.type, f"fadd {now}, {old.text}"), value)
            f.store(f.load(s.type, value), place)
        f.label(done)

    # ------------------------------------------------------------------------------ memory, tasks

    @property
    def scratch_bytes(self) -> int:
        """A packed block, an edge block, and a packed sliver."""
        s = self.shape
        return (s.tile_columns * DEPTH + s.rows * s.width) * s.size + s.rows * self.sliver_step

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
            "ra", "ca", "rb", "cb", "rc", "mt", "nt", "it", "jt",
        )  # fmt: skip
        v = {name: f.load("i64", env, 24 + 8 * i) for i, name in enumerate(names)}
        by_k, by_n, by_m = (f.load("ptr", env, 24 + 8 * (len(names) + i)) for i in range(3))
        with self.scratch.held(f) as scratch, f.loop(f.op("sub", end, begin)) as t:
            task = f.op("add", t, begin)
            column, rest = f.op("urem", task, v["jt"]), f.op("udiv", task, v["jt"])
            row, lane = f.op("urem", rest, v["it"]), f.op("udiv", rest, v["it"])
            i, j = f.op("mul", row, v["mt"]), f.op("mul", column, v["nt"])
            f.call(
                "void", "tile",
                self.at(f, self.at(f, a, lane, v["la"]), i, v["ra"]),
                self.at(f, self.at(f, b, lane, v["lb"]), j, v["cb"]),
                self.item(f, self.at(f, self.at(f, c, lane, v["lc"]), i, v["rc"]), j),
                self.smaller(f, f.op("sub", v["m"], i), v["mt"]),
                self.smaller(f, f.op("sub", v["n"], j), v["nt"]),
                v["k"], v["ra"], v["ca"], v["rb"], v["cb"], v["rc"], scratch,
                by_k, self.moved(f, by_n, j), self.moved(f, by_m, i),
            )  # fmt: skip
        f.ret()

    def write_entry(self) -> None:
        """`pb_gemm_T`: see `llvm.gemm`.  A matrix times a vector is a vector times a matrix."""
        name = f"pb_gemm_{self.shape.name}"
        f = self.m.function(name, "void", "ptr", "ptr", "ptr", *["i64"] * 12, exported=True)
        a, b, c, lanes, la, lb, lc, m, n, k, ra, ca, rb, cb, rc = f.parameters
        swap = f.op("and", f.compare("eq", n, 1), f.compare("eq", rc, 1))

        def pick(yes: Value, no: Value) -> Value:
            return f.select(swap, yes, no)

        pointers = (pick(b, a), pick(a, b), c)
        numbers = (
            pick(lb, la), pick(la, lb), lc, pick(n, m), pick(m, n), k,
            pick(cb, ra), pick(rb, ca), pick(ca, rb), pick(ra, cb), rc,
        )  # fmt: skip
        self.small_row(f, lanes, pointers, numbers)
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

    def write_conv_entry(self) -> None:
        """`pb_conv_T`: see `llvm.gemm`."""
        name = f"pb_conv_{self.shape.name}"
        f = self.m.function(name, "void", *["ptr"] * 5, *["i64"] * 10, exported=True)
        a, b, c, by_k, by_n, lanes, la, lb, lc, m, n, k, ra, ca, rc = f.parameters
        numbers = (la, lb, lc, m, n, k, ra, ca, i64(0), i64(0), rc)
        self.run_tasks(f, lanes, (a, b, c), numbers, (by_k, by_n, NULL))
        f.ret()

    def write_rows_entry(self) -> None:
        """`pb_conv_rows_T`: see `llvm.gemm`."""
        name = f"pb_conv_rows_{self.shape.name}"
        f = self.m.function(name, "void", *["ptr"] * 5, *["i64"] * 10, exported=True)
        a, b, c, by_k, by_m, lanes, la, lb, lc, m, n, k, rb, cb, rc = f.parameters
        numbers = (la, lb, lc, m, n, k, i64(0), i64(0), rb, cb, rc)
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
        mt, nt = self.tile_sizes(f, m, n)
        it = f.op("udiv", f.op("add", m, f.op("sub", mt, 1)), mt)
        jt = f.op("udiv", f.op("add", n, f.op("sub", nt, 1)), nt)
        env = f.variable("[21 x i64]", Value("[21 x i64]", "zeroinitializer"))
        for i, value in enumerate((*pointers, *numbers, mt, nt, it, jt, *tables)):
            f.store(value, env, 8 * i)
        count = f.op("mul", lanes, f.op("mul", it, jt))
        tile_work = f.op("mul", f.op("mul", mt, nt), k)
        tile_work = self.smaller(f, tile_work, f.op("mul", f.op("mul", m, n), k))
        work = f.op("mul", tile_work, count)
        serial, done = f.new_label(), f.new_label()
        f.goto_if(f.compare("slt", work, PARALLEL_WORK), serial)
        f.goto_if(f.compare("slt", count, 2), serial)
        grain = f.op("add", f.op("udiv", i64(PARALLEL_WORK // 4), f.op("or", tile_work, 1)), 1)
        f.call("void", "pb_parallel_for", Value("ptr", "@tasks"), env, count, grain)
        f.goto(done)
        f.label(serial)
        f.call("void", "tasks", env, i64(0), count)
        f.label(done)

    def tile_sizes(self, f: Function, m: Value, n: Value) -> tuple[Value, Value]:
        """Rows and columns of a tile: those that need the least packing and are not few.

        The right operand is packed once for each row of tiles, the left one for each column.
        """
        s = self.shape
        heights = [k * s.rows for k in (8, 16, 24)]
        widths = [2 * s.width, 4 * s.width, s.tile_columns]
        tiles = [(height, width) for height in heights for width in widths]
        tiles.sort(key=lambda tile: -1 / tile[0] - 1 / tile[1])
        mt, nt = i64(tiles[0][0]), i64(tiles[0][1])
        for height, width in tiles[1:]:
            count = f.op(
                "mul",
                f.op("udiv", f.op("add", m, height - 1), height),
                f.op("udiv", f.op("add", n, width - 1), width),
            )
            enough = f.compare("sge", count, TILES)
            mt, nt = f.select(enough, i64(height), mt), f.select(enough, i64(width), nt)
        return mt, f.select(f.compare("eq", m, 1), i64(s.tile_columns), nt)


def kernel_module(shape: Shape) -> Module:
    """The module that defines `pb_gemm_<name>`; it needs malloc, free and pb_parallel_for."""
    return _Writer(shape).m
