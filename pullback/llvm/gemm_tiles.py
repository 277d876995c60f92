"""Tiles of matrix products of real numbers, as LLVM text, blocked for registers and caches.

A tile of the result is computed by `blocked`: the right operand is packed, one block of rows at a
time, into panels as wide as the register block; a micro-kernel then sweeps the rows of the left
operand, one broadcast element at a time.  It takes any steps, so that operands are packed only
where what is packed is used often: the right one by many rows, the left one by many panels.

An element of the result is the sum over k in order, whatever the tiles and whatever is packed.
"""

from __future__ import annotations

import itertools
from typing import Final

from pullback.llvm.entry_ir import FALSE, NULL, Function, Value, i64
from pullback.llvm.gemm_packing import DEPTH, Packing, Shape

__all__ = ["FEW_PANELS", "Tiles"]

FEW_PANELS: Final = 4
"""Fewer are not worth packing the left operand for."""
FEW_ROWS: Final = 32
"""No more are not worth packing the right operand for."""
NEAR: Final = 32768
"""Bytes of a right operand that need not be packed, since they stay in the first cache."""
AHEAD: Final = 8
"""Rows of a panel that are asked for before the one that is multiplied."""


def _row_counts(shape: Shape) -> list[int]:
    """Heights of micro-kernels: any number of rows is a sum of few of them."""
    return [r for r in (shape.rows, 4, 2, 1) if r <= shape.rows]


def _micro_kernels(shape: Shape) -> list[tuple[int, int]]:
    """Rows of the left operand, and vectors of a row of the right one."""
    return [(r, v) for r in _row_counts(shape) for v in range(1, shape.vectors + 1)]


def _micro_name(rows: int, vectors: int) -> str:
    return f"micro_{rows}_{vectors}"


class Tiles(Packing):
    """Writes the functions of one element type that compute a tile."""

    def write_tiles(self) -> None:
        """All functions of this module, and those that they call."""
        for kernel in _micro_kernels(self.shape):
            self.write_micro(*kernel)
        self.write_packing()
        self.write_sweep()
        self.write_blocked()

    # ------------------------------------------------------------------------------ micro-kernels

    def write_micro(self, rows: int, vectors: int) -> None:
        """`micro_R_V(a, row_a, col_a, b, row_b, k, c, row_c, add)`, with all steps in bytes.

        c[R, V * lanes] = (add ? c : 0) + a[R, k] b[k, V * lanes]

        The rows of `a` have addresses of their own, with one offset: additions for addresses would
        take the places of multiplications.  What is read of `b` soon is asked for early, since
        panels are in the second cache, and so is the part of `c`, which may be anywhere.
        """
        s = self.shape
        types = ("ptr", "i64", "i64", "ptr", "i64", "i64", "ptr", "i64", "i1")
        f = self.m.function(_micro_name(rows, vectors), "void", *types)
        a, row_a, col_a, b, row_b, k, c, row_c, add = f.parameters
        lines = [a]
        for _ in range(rows - 1):
            lines.append(f.at(lines[-1], row_a))
        lines = [f.opaque(line) for line in lines]
        sums = self.new_sums(f, rows, vectors)
        along, at_b = f.variable("i64", i64(0)), f.variable("ptr", b)
        places = self.places(f, c, row_c, rows, vectors)
        for place in itertools.chain(*places):
            self.prefetch(f, place)
        ahead = f.op("mul", row_b, AHEAD)
        with f.loop(k):
            offset, pb = f.load("i64", along), f.load("ptr", at_b)
            soon = f.at(pb, ahead)
            for v in range(vectors):
                self.prefetch(f, f.at(soon, v * s.lanes * s.size))
            right = [self.load_vector(f, f.at(pb, v * s.lanes * s.size)) for v in range(vectors)]
            factors = (self.splat(f, f.load(s.type, line, offset)) for line in lines)
            self.multiply_add(f, factors, right, sums)
            f.store(f.op("add", offset, col_a), along)
            f.store(f.at(pb, row_b), at_b)
        self.write_sums(f, places, sums, add)
        f.ret()

    # ------------------------------------------------------------------------------ tiles

    def write_sweep(self) -> None:
        """`block(rows, a, row_a, col_a, b, row_b, k, c, row_c, add, vectors)`: rows times a panel.

        The micro-kernels stand in a table, by height and width; all steps are in bytes.
        """
        s, heights = self.shape, _row_counts(self.shape)
        names = [_micro_name(*kernel) for kernel in _micro_kernels(s)]
        table = self.m.table(f"pb_gemm_table_{s.name}", names)
        types = ("i64", "ptr", "i64", "i64", "ptr", "i64", "i64", "ptr", "i64", "i1", "i64")
        f = self.m.function("block", "void", *types)
        rows, a, row_a, col_a, b, row_b, k, c, row_c, add, vectors = f.parameters
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
        entry = f.op("add", f.op("mul", line, s.vectors), f.op("sub", vectors, 1))
        lines, out = f.at(a, f.op("mul", i, row_a)), f.at(c, f.op("mul", i, row_c))
        kernel = f.load("ptr", f.item(table, entry))
        f.call("void", kernel, lines, row_a, col_a, b, row_b, k, out, row_c, add)
        f.store(f.op("add", i, height), at)
        f.goto(again)
        f.label(after)
        f.ret()

    def write_blocked(self) -> None:
        """`blocked(a, b, c, m, n, k, steps..., depth, step, scratch, tables...)`: one tile.

        Blocks of rows of the right operand; panels, slivers.
        """
        s = self.shape
        f = self.m.function("blocked", "void", "ptr", "ptr", "ptr", *["i64"] * 10, *["ptr"] * 4)
        names = "a b c m n k row_a col_a row_b col_b row_c depth step scratch by_k by_n by_m"
        v = dict(zip(names.split(), f.parameters, strict=True))
        m, n, k, depth = (v[name] for name in ("m", "n", "k", "depth"))
        v["panels"] = f.op("udiv", f.op("add", n, s.width - 1), s.width)
        v["narrow"] = self.narrow_panels(f, n)
        v["edge"] = f.at(v["scratch"], s.tile_columns * DEPTH * s.size)
        v["sliver"] = f.at(v["edge"], s.rows * s.width * s.size)
        v["few"] = f.compare("slt", v["panels"], FEW_PANELS)
        v["as_is"] = self.right_as_is(f, v)
        plain = f.op("and", v["few"], f.is_null(v["by_m"]))
        whole = f.compare("eq", f.op("urem", n, s.lanes), 0)
        v["at_once"] = f.op("and", plain, whole)  # all rows have one step, and no edge is needed
        with f.loop(f.op("udiv", f.op("add", k, f.op("sub", depth, 1)), depth)) as q:
            v["first"] = f.op("mul", q, depth)
            v["deep"] = self.smaller(f, f.op("sub", k, v["first"]), depth)
            v["add"] = f.compare("sgt", q, 0)
            v["block"] = self.at(f, v["b"], v["first"], v["row_b"])
            with f.when(f.compare("eq", v["as_is"], 0)):
                self.pack_panels(f, v)
            with f.when(v["at_once"]), f.loop(v["panels"]) as p:
                left = self.at(f, v["a"], v["first"], v["col_a"])
                steps = f.op("mul", v["row_a"], s.size), f.op("mul", v["col_a"], s.size)
                self.one_block(f, v, m, (left, *steps), v["c"], p)
            slivers = f.op("udiv", f.op("add", m, s.rows - 1), s.rows)
            with f.loop(f.select(v["at_once"], i64(0), slivers)) as r:
                self.one_sliver(f, v, f.op("mul", r, s.rows))
        f.ret()

    def narrow_panels(self, f: Function, n: Value) -> Value:
        """1 if the last two panels have one vector less, so that none has a single vector."""
        s = self.shape
        vectors = f.op("udiv", f.op("add", n, s.lanes - 1), s.lanes)
        single = f.compare("eq", f.op("urem", vectors, s.vectors), 1)
        several = f.compare("sgt", vectors, s.vectors)
        split = f.op("and", single, several) if s.vectors > 2 else FALSE
        return f.select(split, i64(1), i64(0))

    def panel_at(self, f: Function, v: dict[str, Value], p: Value) -> tuple[Value, Value]:
        """The first column of a panel, and how many it has."""
        s = self.shape
        left = f.op("sub", v["panels"], p)
        moved = f.select(f.compare("eq", left, 1), v["narrow"], i64(0))
        less = f.select(f.compare("sle", left, 2), v["narrow"], i64(0))
        column = f.op("sub", f.op("mul", p, s.width), f.op("mul", moved, s.lanes))
        width = f.op("sub", i64(s.width), f.op("mul", less, s.lanes))
        return column, self.smaller(f, f.op("sub", v["n"], column), width)

    def right_as_is(self, f: Function, v: dict[str, Value]) -> Value:
        """Whether the right operand is read where it is: whole vectors, few rows or a small one."""
        s = self.shape
        plain = f.op("and", f.is_null(v["by_n"]), f.compare("eq", v["col_b"], 1))
        whole = f.compare("eq", f.op("urem", v["n"], s.lanes), 0)
        span = f.op("mul", f.op("mul", v["k"], v["row_b"]), s.size)
        near = f.op("or", f.compare("sle", v["m"], FEW_ROWS), f.compare("ule", span, NEAR))
        return f.op("and", f.op("and", plain, whole), near)

    def pack_panels(self, f: Function, v: dict[str, Value]) -> None:
        """A block of the right operand as panels."""
        s = self.shape
        full = f.op("sub", f.op("udiv", v["n"], s.width), v["narrow"])
        plain = f.op("and", f.is_null(v["by_n"]), f.compare("eq", v["col_b"], 1))
        whole = f.select(plain, full, i64(0))
        with f.when(f.compare("sgt", whole, 0)):
            f.call("void", "pack_rows", v["scratch"], v["block"], v["row_b"], v["deep"], whole)
        with f.loop(f.op("sub", v["panels"], whole)) as rest:
            p = f.op("add", whole, rest)
            column, columns = self.panel_at(f, v, p)
            place = f.at(v["scratch"], f.op("mul", p, self.panel_bytes))
            packed = f.new_label()
            if self.windows:
                with f.when(f.compare("ne", v["by_n"], NULL)):
                    tables = f.item(v["by_k"], v["first"], 4), f.item(v["by_n"], column, 4)
                    f.call("void", "gather", place, v["b"], *tables, v["deep"], columns)
                    f.goto(packed)
            source = self.at(f, v["block"], column, v["col_b"])
            strides = v["row_b"], v["col_b"]
            vectors = f.op("udiv", f.op("add", columns, s.lanes - 1), s.lanes)
            step = f.op("mul", vectors, s.lanes * s.size)
            f.call("void", "pack", place, step, source, *strides, v["deep"], columns)
            f.label(packed)

    def one_sliver(self, f: Function, v: dict[str, Value], i: Value) -> None:
        """Some rows of the left operand, packed or where they are, times all panels."""
        s = self.shape
        rows = self.smaller(f, f.op("sub", v["m"], i), s.rows)
        place = f.variable("ptr", NULL)
        row, column = (f.variable("i64", i64(0)) for _ in range(2))
        ready = f.new_label()

        def found(at: Value, steps: tuple[Value, Value]) -> None:
            f.store(at, place)
            for slot, value in zip((row, column), steps, strict=True):
                f.store(value, slot)
            f.goto(ready)

        def packed(by_columns: bool) -> tuple[Value, Value]:
            row_step, column_step = self.sliver_steps(by_columns)
            return i64(row_step), i64(column_step)

        if self.windows:
            with f.when(f.compare("ne", v["by_m"], NULL)):
                rows_at, columns_at = f.item(v["by_m"], i, 4), f.item(v["by_k"], v["first"], 4)
                start = self.offset(f, rows_at, 0)
                steady, step = self.spacing(f, rows_at, rows, start)
                regular = f.op("and", f.op("and", v["few"], steady), f.compare("ne", v["step"], 0))
                with f.when(regular):
                    corner = f.op("add", start, self.offset(f, columns_at, 0))
                    steps = f.op("mul", step, s.size), f.op("mul", v["step"], s.size)
                    found(self.item(f, v["a"], corner), steps)
                f.call("void", "sliver", v["sliver"], v["a"], rows_at, columns_at, rows, v["deep"])
                found(v["sliver"], packed(False))
        left = self.at(f, self.at(f, v["a"], i, v["row_a"]), v["first"], v["col_a"])
        with f.when(v["few"]):
            found(left, (f.op("mul", v["row_a"], s.size), f.op("mul", v["col_a"], s.size)))
        f.call(
            "void", "pack_sliver", v["sliver"], left, v["row_a"], v["col_a"], rows, v["deep"]
        )  # fmt: skip
        with f.when(f.compare("eq", v["col_a"], 1)):
            found(v["sliver"], packed(False))
        found(v["sliver"], packed(True))
        f.label(ready)
        out = self.at(f, v["c"], i, v["row_c"])
        with f.loop(v["panels"]) as p:
            self.one_block(
                f,
                v,
                rows,
                (f.load("ptr", place), f.load("i64", row), f.load("i64", column)),
                out,
                p,
            )

    def spacing(self, f: Function, table: Value, rows: Value, start: Value) -> tuple[Value, Value]:
        """Whether a whole sliver of offsets is equally spaced, and by how much."""
        steady, step = f.variable("i1", FALSE), f.variable("i64", i64(0))
        with f.when(f.compare("eq", rows, self.shape.rows)):
            by = f.op("sub", self.offset(f, table, 1), start)
            same = Value("i1", "true")
            for j in range(2, self.shape.rows):
                expected = f.op("add", start, f.op("mul", by, j))
                same = f.op("and", same, f.compare("eq", self.offset(f, table, j), expected))
            f.store(same, steady)
            f.store(by, step)
        return f.load("i1", steady), f.load("i64", step)

    def one_block(
        self,
        f: Function,
        v: dict[str, Value],
        rows: Value,
        left: tuple[Value, Value, Value],
        out: Value,
        p: Value,
    ) -> None:
        """Some rows times one panel, through a buffer where the last vector would be too wide.

        `left` are the address of the rows and their steps.
        """
        s, add, edge = self.shape, v["add"], v["edge"]
        column, columns = self.panel_at(f, v, p)
        vectors = f.op("udiv", f.op("add", columns, s.lanes - 1), s.lanes)
        packed = f.at(v["scratch"], f.op("mul", p, self.panel_bytes))
        panel = f.select(v["as_is"], self.item(f, v["block"], column), packed)
        packed_step = f.op("mul", vectors, s.lanes * s.size)
        row_b = f.select(v["as_is"], f.op("mul", v["row_b"], s.size), packed_step)
        target = self.item(f, out, column)
        ragged = f.compare("ne", f.op("urem", columns, s.lanes), 0)
        narrow, done = f.new_label(), f.new_label()
        f.goto_if(ragged, narrow)
        operands = (*left, panel, row_b, v["deep"])
        row_c = f.op("mul", v["row_c"], s.size)
        f.call("void", "block", rows, *operands, target, row_c, add, vectors)
        f.goto(done)
        f.label(narrow)
        row_edge = i64(s.width * s.size)
        f.call("void", "block", rows, *operands, edge, row_edge, FALSE, vectors)
        self.copy_edge(f, edge, target, v["row_c"], rows, columns, add)
        f.label(done)

    def copy_edge(
        self,
        f: Function,
        edge: Value,
        target: Value,
        row_c: Value,
        rows: Value,
        columns: Value,
        add: Value,
    ) -> None:
        """Write, or add, rows of the buffer to the result: the last vector of each in part."""
        s = self.shape
        step = s.lanes * s.size
        whole = f.op("udiv", columns, s.lanes)
        last = self.first_lanes(f, f.op("urem", columns, s.lanes))
        keep = f.select(add, last, Value(last.type, "zeroinitializer"))
        with f.loop(rows) as i:
            line, out = f.at(edge, f.op("mul", i, s.width * s.size)), self.at(f, target, i, row_c)
            with f.loop(whole) as v:
                offset = f.op("mul", v, step)
                place = f.at(out, offset)
                value = f.variable(s.vector, self.zero)
                f.store(self.load_vector(f, f.at(line, offset)), value)
                with f.when(add):
                    now, old = f.load(s.vector, value), self.load_vector(f, place)
                    f.store(f.value(s.vector, f"fadd {now}, {old.text}"), value)
                self.store_vector(f, f.load(s.vector, value), place)
            offset = f.op("mul", whole, step)
            now, old = (
                self.load_vector(f, f.at(line, offset)),
                self.load_lanes(f, f.at(out, offset), keep),
            )
            total = f.value(s.vector, f"fadd {now}, {old.text}")
            self.store_lanes(f, total, f.at(out, offset), last)

    @property
    def scratch_bytes(self) -> int:
        """A packed block, an edge block, and a packed sliver."""
        s = self.shape
        return (s.tile_columns * DEPTH + s.rows * s.width) * s.size + s.rows * self.sliver_step
