"""Register blocks of direct convolutions (`llvm.direct_kernels`, `llvm.direct_gradients`).

A micro-kernel multiplies rows of the left operand, which stand anywhere, with rows of vectors of
the right one.  It walks through a table of runs: each has the addresses of its part of every row,
and of its part of the right operand.
"""

from __future__ import annotations

import itertools
from typing import Final

from pullback.llvm.entry_ir import FALSE, NULL, Function, Value, i64
from pullback.llvm.gemm_packing import Packing, Shape
from pullback.llvm.scratch import Scratch
from pullback.ops.convolution_plan import PANEL

__all__ = ["AHEAD", "MOST_ROWS", "RUN", "DirectBlocks"]

MOST_ROWS: Final = 8
RUN: Final = 8 * (MOST_ROWS + 1)
"""Bytes of a run in the table: addresses of the rows, and of the right operand."""
ADDED: Final = 8192
"""Numbers of a task that adds up parts."""
AHEAD: Final = 8
"""Rows of the right operand that are asked for before the one that is multiplied."""
_HEIGHTS: Final = {64: (8, 8, 8, 6), 32: (8, 6), 16: (8, 6)}
"""Rows of a register block by bytes of a vector, for blocks of one vector, two, ..."""


class DirectBlocks(Packing):
    """Writes the micro-kernels of one element type."""

    scratch: Scratch
    zeros: Value

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.heights = _HEIGHTS[shape.lanes * shape.size]
        self.widest = len(self.heights)

    def write_blocks(self) -> None:
        """All functions of this module."""
        for vectors in range(1, self.widest + 1):
            self.write_micro(vectors)
        names = [f"direct_{v}" for v in range(1, self.widest + 1)]
        self.kernels = self.m.table(f"pb_direct_table_{self.shape.name}", names)
        self.write_move_row()
        self.write_block()
        self.write_additions()
        self.write_add_parts()

    # ------------------------------------------------------------------------------ sizes

    def width_of(self, f: Function, columns: Value) -> Value:
        """Vectors of a panel: those of all columns, spread evenly over the fewest panels."""
        vectors = self.parts(f, columns, self.shape.lanes)
        return self.parts(f, vectors, self.parts(f, vectors, self.widest))

    def height_of(self, f: Function, vectors: Value) -> Value:
        """Rows of a register block that has so many vectors."""
        height = i64(self.heights[0])
        for index, rows in enumerate(self.heights[1:], 2):
            height = f.select(f.compare("eq", vectors, index), i64(rows), height)
        return height

    def parts(self, f: Function, size: Value, part: Value | int) -> Value:
        """How many parts of a size there are, the last one perhaps smaller."""
        part = i64(part) if isinstance(part, int) else part
        return f.op("udiv", f.op("add", size, f.op("sub", part, 1)), part)

    def larger(self, f: Function, a: Value, b: Value | int) -> Value:
        b = i64(b) if isinstance(b, int) else b
        return f.select(f.compare("sgt", a, b), a, b)

    # ------------------------------------------------------------------------------ micro-kernels

    def write_micro(self, vectors: int) -> None:
        """`direct_V(table, runs, k, col_a, row_b, places, add)`, with steps in bytes.

        The rows at `places` become, or grow by, the sums over all runs of `k` products each.
        """
        s, rows = self.shape, self.heights[vectors - 1]
        types = ("ptr", "i64", "i64", "i64", "i64", "ptr", "i1")
        f = self.m.function(f"direct_{vectors}", "void", *types)
        table, runs, k, col_a, row_b, places, add = f.parameters
        step = s.lanes * s.size
        lines = [f.load("ptr", places, 8 * r) for r in range(rows)]
        out = [[f.at(line, v * step) for v in range(vectors)] for line in lines]
        for place in itertools.chain(*out):
            self.prefetch(f, place)
        sums = self.new_sums(f, rows, vectors)
        along, at_b, at_run = (f.variable(t, z) for t, z in (("i64", i64(0)), *[("ptr", NULL)] * 2))
        f.store(table, at_run)
        ahead = f.op("mul", row_b, AHEAD)
        with f.loop(runs):
            run = f.load("ptr", at_run)
            left = [f.opaque(f.load("ptr", run, 8 * r)) for r in range(rows)]
            f.store(f.load("ptr", run, 8 * MOST_ROWS), at_b)
            f.store(f.at(run, RUN), at_run)
            f.store(i64(0), along)
            with f.loop(k):
                offset, pb = f.load("i64", along), f.load("ptr", at_b)
                for v in range(vectors):
                    self.prefetch(f, f.at(f.at(pb, ahead), v * step))
                right = [self.load_vector(f, f.at(pb, v * step)) for v in range(vectors)]
                factors = (self.splat(f, f.load(s.type, line, offset)) for line in left)
                self.multiply_add(f, factors, right, sums)
                f.store(f.op("add", offset, col_a), along)
                f.store(f.at(pb, row_b), at_b)
        self.write_sums(f, out, sums, add)
        f.ret()

    # ------------------------------------------------------------------------------ ragged panels

    def write_block(self) -> None:
        """`direct(vectors, columns, edge, table, runs, k, col_a, row_b, places, add)`.

        A panel with fewer columns than its vectors have goes through a buffer.
        """
        s = self.shape
        types = ("i64", "i64", "ptr", "ptr", "i64", "i64", "i64", "i64", "ptr", "i1")
        f = self.m.function("direct", "void", *types)
        vectors, columns, edge, *operands, places, add = f.parameters
        micro = f.load("ptr", f.item(self.kernels, f.op("sub", vectors, 1)))
        whole = f.compare("eq", columns, f.op("mul", vectors, s.lanes))
        with f.when(whole):
            f.call("void", micro, *operands, places, add)
            f.ret()
        rows = [f.at(edge, PANEL * r) for r in range(MOST_ROWS)]
        own = f.words(rows)
        f.call("void", micro, *operands, own, FALSE)
        height = self.height_of(f, vectors)
        with f.loop(height) as r:
            source, target = f.load("ptr", f.item(own, r)), f.load("ptr", f.item(places, r))
            f.call("void", "move_row", source, target, columns, add)
        f.ret()

    def write_move_row(self) -> None:
        """`move_row(source, target, columns, add)`: write some sums, or add them."""
        s = self.shape
        f = self.m.function("move_row", "void", "ptr", "ptr", "i64", "i1")
        source, target, columns, add = f.parameters
        full, step = f.op("udiv", columns, s.lanes), s.lanes * s.size
        start = f.op("mul", full, s.lanes)
        with f.loop(full) as v:
            at = f.op("mul", v, step)
            self.move(f, f.at(source, at), f.at(target, at), s.vector, add)
        with f.loop(f.op("sub", columns, start)) as j:
            at = f.op("mul", f.op("add", start, j), s.size)
            self.move(f, f.at(source, at), f.at(target, at), s.type, add)
        f.ret()

    # ------------------------------------------------------------------------------ tasks

    def write_tasks(self, name: str, task: str, plan_at: int) -> None:
        """`name(env, begin, end)`: some tasks, with scratch memory and the plan in `env`."""
        f = self.m.function(name, "void", "ptr", "i64", "i64")
        env, begin, end = f.parameters
        plan = f.load("ptr", env, 8 * plan_at)
        with self.scratch.held(f) as scratch, f.loop(f.op("sub", end, begin)) as t:
            f.call("void", task, env, plan, f.op("add", begin, t), scratch)
        f.ret()

    # ------------------------------------------------------------------------------ sums of parts

    def write_add_parts(self) -> None:
        """`add_parts(out, sums, parts, total)`: sums over several parts, in order."""
        f = self.m.function("add_parts", "void", "ptr", "ptr", "i64", "i64")
        env = f.words(f.parameters)
        with f.when(f.compare("sgt", f.parameters[2], 1)):
            count = self.parts(f, f.parameters[3], ADDED)
            f.call("void", "pb_parallel_for", Value("ptr", "@additions"), env, count, i64(1))
        f.ret()

    def write_additions(self) -> None:
        """`additions(env, begin, end)`: the tasks of `add_parts`."""
        s = self.shape
        f = self.m.function("additions", "void", "ptr", "i64", "i64")
        env, begin, end = f.parameters
        out, sums = f.load("ptr", env), f.load("ptr", env, 8)
        parts, total = f.load("i64", env, 16), f.load("i64", env, 24)
        first = f.op("mul", begin, ADDED)
        count = f.op("sub", self.smaller(f, f.op("mul", end, ADDED), total), first)
        done = f.op("mul", f.op("udiv", count, s.lanes), s.lanes)
        for kind, start, stop, width in (
            (s.vector, i64(0), done, s.lanes),
            (s.type, done, count, 1),
        ):
            zero = Value(kind, "zeroinitializer" if width > 1 else "0.0")
            with f.loop(f.op("udiv", f.op("sub", stop, start), width)) as i:
                at = f.op("add", first, f.op("add", start, f.op("mul", i, width)))
                sum_ = f.variable(kind, zero)
                f.store(zero, sum_)
                with f.loop(parts) as p:
                    source = self.item(f, sums, f.op("add", at, f.op("mul", p, total)))
                    term = f.value(kind, f"load {kind}, {source}, align {s.size}")
                    f.store(self.plus(f, f.load(kind, sum_), term), sum_)
                f.emit(f"store {f.load(kind, sum_)}, {self.item(f, out, at)}, align {s.size}")
        f.ret()

    def move(self, f: Function, source: Value, target: Value, kind: str, add: Value) -> None:
        """Write, or add, what is at `source`."""
        align = f"align {self.shape.size}"
        slot = f.variable(kind, Value(kind, "zeroinitializer" if "<" in kind else "0.0"))
        f.store(f.value(kind, f"load {kind}, {source}, {align}"), slot)
        with f.when(add):
            old = f.value(kind, f"load {kind}, {target}, {align}")
            f.store(self.plus(f, f.load(kind, slot), old), slot)
        f.emit(f"store {f.load(kind, slot)}, {target}, {align}")
