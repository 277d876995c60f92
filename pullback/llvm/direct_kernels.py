"""Direct convolutions of real numbers with features last, as LLVM text.

    void pb_direct_T(T *x, T *w, T *out, i64 *plan)

for T in f32, f64.  Rows of features are multiplied where they are.  A sliver is a few positions of
the result; for each element of the window its row of features is met in the operand, or a row of
zeros where the window reaches out of the operand.  The addresses of these rows stand in a table,
made anew for each sliver, through which the micro-kernel walks with its sums in registers.  The
kernel of the convolution is packed, a block of it at a time.

`plan` (`ops.convolution_plan.HEADER`) says where things are: numbers, then two tables of offsets
in bytes.  The first one has a row for each cell of the outer spatial axes: its place in the result,
then its place in the operand for each element of the outer axes of the window, below zero where
that is outside.  The second one is the same for the innermost axis.

An element of the result is the sum over the window in order, and over features for each of its
elements; it is cut into blocks as the shapes say, so that threads and tiles change nothing.
"""

from __future__ import annotations

from typing import Final

from pullback.llvm.direct_blocks import MOST_ROWS, RUN
from pullback.llvm.direct_few import FewFeatures
from pullback.llvm.entry_ir import Function, Value, i64
from pullback.llvm.gemm_packing import Shape, shape_of
from pullback.llvm.scratch import Scratch
from pullback.ops.convolution_plan import (
    CHUNK,
    MOST_RUNS,
    PANEL,
    SLIVERS,
    TASKS,
    WIDEST,
    ZEROS,
)

__all__ = ["KERNELS", "module_text"]

_REAL: Final = ("f32", "f64")
KERNELS: Final = (
    *(f"pb_direct_{name}" for name in _REAL),
    *(f"pb_direct_gradient_{name}" for name in _REAL),
    *(f"pb_direct_few_{name}" for name in _REAL),
    *(f"pb_depthwise_{name}" for name in _REAL),
    *(f"pb_depthwise_gradient_{name}" for name in _REAL),
)
_POINTERS: Final = ("x", "w", "out", "plan")
_SIZES: Final = ("vectors", "height", "panels", "block", "blocks", "chunk", "tile", "tiles", "rows")
"""What the entry makes of a plan: vectors of a panel, rows of a sliver; panels, those of a block,
blocks; elements of the window summed at a time; positions of a tile, tiles; all positions."""


class _Writer(FewFeatures):
    """Writes one kernel, without its element type in its name, and what some of them share."""

    def __init__(self, kernel: str, shape: Shape) -> None:
        super().__init__(shape)
        size = CHUNK + RUN * MOST_RUNS + PANEL * MOST_ROWS + WIDEST + 8 * MOST_ROWS
        self.scratch = Scratch(self.m, f"pb_direct_{shape.name}", size)
        self.zeros = self.m.variable(f"pb_direct_zeros_{shape.name}", f"[{ZEROS} x i8]")
        self.write_transpose()
        self.write_pack()
        self.write_blocks()
        self.write_find()
        if kernel == "pb_direct":
            self.write_task()
            self.write_tasks("tasks", "task", _POINTERS.index("plan"))
            self.write_entry()
        elif kernel == "pb_direct_gradient":
            self.write_gradients()
        elif kernel == "pb_direct_few":
            self.write_few()
        else:
            self.write_depthwise()

    # ------------------------------------------------------------------------------ addresses

    def write_find(self) -> None:
        """`find(x, out, plan, position, count, height, table, places, dump)`: a sliver's addresses.

        Positions beyond `count` are computed like the first, and written where nobody looks.
        """
        types = ("ptr", "ptr", "ptr", "i64", "i64", "i64", "ptr", "ptr", "ptr")
        f = self.m.function("find", "void", *types)
        x, out, plan, position, count, height, table, places, dump = f.parameters
        v = self.header(f, plan)
        with f.loop(height) as r:
            exists = f.compare("slt", r, count)
            at = f.select(exists, f.op("add", position, r), position)
            cell, rest = f.op("urem", at, v["inner"]), f.op("udiv", at, v["inner"])
            line, image = f.op("urem", rest, v["outer"]), f.op("udiv", rest, v["outer"])
            far = f.at(v["far"], f.op("mul", line, v["far_step"]))
            near = f.at(v["near"], f.op("mul", cell, v["near_step"]))
            place = f.op("add", f.load("i64", far), f.load("i64", near))
            target = f.at(f.at(out, f.op("mul", image, v["image_c"])), place)
            f.store(f.select(exists, target, dump), f.item(places, r))
            base, column = f.at(x, f.op("mul", image, v["image_x"])), f.item(table, r)
            with f.loop(v["outer_taps"]) as t:
                above = f.load("i64", f.item(far, f.op("add", t, 1)))
                first = f.op("mul", f.op("mul", t, v["inner_taps"]), RUN)
                runs = f.at(column, first)
                with f.loop(v["inner_taps"]) as u:
                    beside = f.load("i64", f.item(near, f.op("add", u, 1)))
                    outside = f.compare("slt", f.op("or", above, beside), 0)
                    met = f.at(base, f.op("add", above, beside))
                    found = f.select(outside, self.zeros, met)
                    f.store(found, f.at(runs, f.op("mul", u, RUN)))
        f.ret()

    # ------------------------------------------------------------------------------ tasks

    def write_task(self) -> None:
        """`task(env, plan, number, scratch)`: some panels of some positions of a group."""
        s = self.shape
        f = self.m.function("task", "void", "ptr", "ptr", "i64", "ptr")
        env, plan, number, scratch = f.parameters
        v = self.header(f, plan) | self.environment(f, env)
        tile, rest = f.op("urem", number, v["tiles"]), f.op("udiv", number, v["tiles"])
        block, lane = f.op("urem", rest, v["blocks"]), f.op("udiv", rest, v["blocks"])
        start = f.op("mul", tile, v["tile"])
        count = self.smaller(f, f.op("sub", v["rows"], start), v["tile"])
        panel = f.op("mul", block, v["block"])
        panels = self.smaller(f, f.op("sub", v["panels"], panel), v["block"])
        v["width"] = f.op("mul", v["vectors"], s.lanes)
        column = f.op("mul", panel, v["width"])
        x = f.at(v["x"], f.op("mul", lane, v["lane_x"]))
        w = self.at(f, self.at(f, v["w"], lane, v["lane_w"]), column, v["col_w"])
        out = self.item(f, f.at(v["out"], f.op("mul", lane, v["lane_c"])), column)
        table = f.at(scratch, CHUNK)
        edge = f.at(table, RUN * MOST_RUNS)
        dump = f.at(edge, PANEL * MOST_ROWS)
        places = f.at(dump, WIDEST)
        left = f.op("sub", v["n"], column)
        with f.loop(self.parts(f, v["taps"], v["chunk"])) as q:
            first = f.op("mul", q, v["chunk"])
            runs = self.smaller(f, f.op("sub", v["taps"], first), v["chunk"])
            add = f.compare("sgt", q, 0)
            self.pack_block(f, v, scratch, w, f.op("mul", first, v["k"]), runs, panels, left)
            with f.loop(self.parts(f, count, v["height"])) as sliver:
                done = f.op("mul", sliver, v["height"])
                here, there = f.op("add", start, done), f.op("sub", count, done)
                f.call(
                    "void", "find", x, out, plan, here, there, v["height"], table, places, dump
                )  # fmt: skip
                rows = f.at(table, f.op("mul", first, RUN))
                with f.loop(panels) as p:
                    self.one_panel(f, v, scratch, rows, runs, places, edge, add, p, left)
        f.ret()

    def environment(self, f: Function, env: Value) -> dict[str, Value]:
        """What the entry put down for the tasks."""
        v = {name: f.load("ptr", env, 8 * i) for i, name in enumerate(_POINTERS)}
        at = len(_POINTERS)
        return v | {name: f.load("i64", env, 8 * (at + i)) for i, name in enumerate(_SIZES)}

    def panel_bytes_of(self, f: Function, v: dict[str, Value], runs: Value) -> Value:
        rows = f.op("mul", runs, v["k"])
        return f.op("mul", rows, f.op("mul", v["width"], self.shape.size))

    def pack_block(
        self,
        f: Function,
        v: dict[str, Value],
        scratch: Value,
        w: Value,
        first: Value,
        runs: Value,
        panels: Value,
        left: Value,
    ) -> None:
        """Rows of the kernel from `first` on, as panels."""
        step = f.op("mul", v["width"], self.shape.size)
        size = self.panel_bytes_of(f, v, runs)
        rows = f.op("mul", runs, v["k"])
        with f.loop(panels) as p:
            column = f.op("mul", p, v["width"])
            source = self.at(f, self.at(f, w, first, v["row_w"]), column, v["col_w"])
            columns = self.smaller(f, f.op("sub", left, column), v["width"])
            place = f.at(scratch, f.op("mul", p, size))
            f.call("void", "pack", place, step, source, v["row_w"], v["col_w"], rows, columns)

    def one_panel(
        self,
        f: Function,
        v: dict[str, Value],
        scratch: Value,
        table: Value,
        runs: Value,
        places: Value,
        edge: Value,
        add: Value,
        p: Value,
        left: Value,
    ) -> None:
        """A sliver times a panel; places move on to the columns of the next one."""
        s = self.shape
        step = f.op("mul", v["width"], s.size)
        run_bytes = f.op("mul", step, v["k"])
        panel = f.at(scratch, f.op("mul", p, self.panel_bytes_of(f, v, runs)))
        with f.loop(runs) as t:
            at = f.at(panel, f.op("mul", t, run_bytes))
            f.store(at, f.at(table, f.op("mul", t, RUN)), 8 * MOST_ROWS)
        columns = self.smaller(f, f.op("sub", left, f.op("mul", p, v["width"])), v["width"])
        f.call(
            "void", "direct", v["vectors"], columns, edge, table, runs, v["k"], i64(s.size), step,
            places, add,
        )  # fmt: skip
        with f.loop(v["height"]) as r:
            place = f.item(places, r)
            f.store(f.at(f.load("ptr", place), step), place)

    # ------------------------------------------------------------------------------ entry

    def write_entry(self) -> None:
        """`pb_direct_T`: cuts the result into tiles, by its shape alone."""
        name = f"pb_direct_{self.shape.name}"
        f = self.m.function(name, "void", *["ptr"] * 4, exported=True)
        v = self.header(f, f.parameters[3])
        sizes = self.sizes(f, v)
        env = f.words((*f.parameters, *(sizes[name] for name in _SIZES)))
        count = f.op("mul", v["lanes"], f.op("mul", sizes["blocks"], sizes["tiles"]))
        f.call("void", "pb_parallel_for", Value("ptr", "@tasks"), env, count, i64(1))
        f.ret()

    def sizes(self, f: Function, v: dict[str, Value]) -> dict[str, Value]:
        """`_SIZES`.  Blocks have one panel where there are few positions, else as many as fit."""
        s = self.shape
        rows = f.op("mul", v["batch"], f.op("mul", v["outer"], v["inner"]))
        vectors = self.width_of(f, v["n"])
        height = self.height_of(f, vectors)
        panels = self.parts(f, self.parts(f, v["n"], s.lanes), vectors)
        run = f.op("mul", v["k"], f.op("mul", vectors, s.lanes * s.size))
        fitting = self.larger(f, f.op("udiv", i64(CHUNK), f.op("mul", run, v["taps"])), 1)
        most = self.parts(f, rows, f.op("mul", height, SLIVERS))
        few = f.compare("slt", f.op("mul", most, v["lanes"]), TASKS)
        block = f.select(few, i64(1), self.smaller(f, fitting, panels))
        blocks = self.parts(f, panels, block)
        room = self.larger(f, f.op("udiv", i64(CHUNK), f.op("mul", run, block)), 1)
        chunk = self.parts(f, v["taps"], self.parts(f, v["taps"], room))
        wanted = self.parts(f, i64(TASKS), f.op("mul", v["lanes"], blocks))
        tiles = self.smaller(f, most, wanted)
        slivers = self.parts(f, self.parts(f, rows, height), tiles)
        tile = f.op("mul", slivers, height)
        found = (vectors, height, panels, block, blocks, chunk, tile, self.parts(f, rows, tile))
        return dict(zip(_SIZES, (*found, rows), strict=True))


def module_text(symbol: str, bits: int) -> tuple[str, list[str]]:
    """LLVM text of the module that defines a kernel, and the symbols that it needs."""
    kernel, name = symbol.rsplit("_", 1)
    module = _Writer(kernel, shape_of(name, bits)).m.only(symbol)
    return module.text(), module.undefined
