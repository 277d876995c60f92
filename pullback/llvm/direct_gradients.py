"""Gradients of kernels of convolutions with features last, as LLVM text (`llvm.direct_kernels`).

    void pb_direct_gradient_T(T *x, T *g, T *out, T *sums, i64 *plan)

Each element of the window has a matrix: products of the features of the operand `x` and of the
cotangent `g`, summed over all images and positions where that element meets the operand.  A run is
a row of an image, cut where the window reaches out of it; the micro-kernel walks through several
rows with its sums in registers.  Rows of the cotangent are packed, some at a time, and all elements
of the window are multiplied with them while they are in the cache.

`plan` (`ops.convolution_plan.GRADIENT`): numbers, then tables of offsets in bytes.  First a row for
each element of the outer axes of the window: its place in the result, then where it meets the
operand for each cell of the outer axes of the cotangent, below zero if it does not.  Then the place
of each such cell in the cotangent.  Then a row for each element of the innermost axis of the
window: its place in the result, the first cell of the cotangent at which it meets the operand, at
how many it does, and where it meets the first one.

The images are cut into `parts` by their number alone; each has sums of its own in `sums`, which are
added up in order.  With one part, `sums` is the result.
"""

from __future__ import annotations

import itertools
from typing import Final

from pullback.llvm.direct_blocks import AHEAD, DirectBlocks
from pullback.llvm.entry_ir import FALSE, NULL, Function, Value, i64
from pullback.ops.convolution_plan import CHUNK, GRADIENT, MOST_RUNS, PANEL, TASKS

__all__ = ["DirectGradients"]

_POINTERS: Final = ("x", "g", "out", "sums", "plan")
_SIZES: Final = ("vectors", "panels", "chunk", "share", "slices", "strips", "strip")
"""What the entry makes of a plan: vectors of a panel, panels, rows of images at a time, and in a
part; slices of the outer window, strips of features, features of a strip."""
_RUN: Final = 16
"""Bytes of a run: addresses in the operand and in the packed cotangent."""
BATCH: Final = 1 << 19
"""Bytes of a packed panel and what it meets, if rows of an image do not have more."""
FEATURES: Final = 32
"""Features of the operand that are worth packing the cotangent for."""


class DirectGradients(DirectBlocks):
    """Writes the gradients of one element type."""

    def write_gradients(self) -> None:
        """All functions of this module."""
        for vectors in range(1, self.widest + 1):
            for rows in self.counts_of(vectors):
                self.write_turned(rows, vectors)
            self.write_features(vectors)
        names = [f"features_{v}" for v in range(1, self.widest + 1)]
        self.by_width = self.m.table(f"pb_direct_features_{self.shape.name}", names)
        self.write_chunk()
        self.write_part()
        self.write_tasks("gradient_tasks", "part", _POINTERS.index("plan"))
        self.write_gradient_entry()

    def counts_of(self, vectors: int) -> list[int]:
        """Heights of register blocks; any number of rows is a sum of them."""
        return [self.heights[vectors - 1], 4, 3, 2, 1]

    # ------------------------------------------------------------------------------ micro-kernels

    def write_turned(self, rows: int, vectors: int) -> None:
        """`turned_R_V(runs, table, k, col_a, skip, c, row_c, add)`: rows are neighbours.

        Runs have `k` products each; the first row is `skip` bytes behind the places in the table.
        """
        s = self.shape
        step = s.lanes * s.size
        types = ("i64", "ptr", "i64", "i64", "i64", "ptr", "i64", "i1")
        f = self.m.function(f"turned_{rows}_{vectors}", "void", *types)
        runs, table, k, col_a, skip, c, row_c, add = f.parameters
        out = self.places(f, c, row_c, rows, vectors)
        for place in itertools.chain(*out):
            self.prefetch(f, place)
        sums = self.new_sums(f, rows, vectors)
        at_a, at_b = f.variable("ptr", NULL), f.variable("ptr", NULL)
        with f.loop(runs) as r:
            run = f.item(table, r, _RUN)
            f.store(f.at(f.load("ptr", run), skip), at_a)
            f.store(f.load("ptr", run, 8), at_b)
            with f.loop(k):
                pa, pb = f.load("ptr", at_a), f.load("ptr", at_b)
                for v in range(vectors):
                    self.prefetch(f, f.at(pb, (AHEAD * vectors + v) * step))
                right = [self.load_vector(f, f.at(pb, v * step)) for v in range(vectors)]
                factors = (self.splat(f, f.load(s.type, pa, i * s.size)) for i in range(rows))
                self.multiply_add(f, factors, right, sums)
                f.store(f.at(pa, col_a), at_a)
                f.store(f.at(pb, vectors * step), at_b)
        self.write_sums(f, out, sums, add)
        f.ret()

    def write_features(self, vectors: int) -> None:
        """`features_V(rows, columns, edge, runs, table, k, col_a, skip, c, row_c, add)`.

        Any number of rows; a panel with fewer columns than its vectors have goes through a buffer.
        """
        types = ("i64", "i64", "ptr", "i64", "ptr", "i64", "i64", "i64", "ptr", "i64", "i1")
        f = self.m.function(f"features_{vectors}", "void", *types)
        rows, columns, edge, runs, table, k, col_a, skip, c, row_c, add = f.parameters
        ragged = f.compare("ne", columns, vectors * self.shape.lanes)
        step = f.select(ragged, i64(PANEL), row_c)
        adding = f.select(ragged, FALSE, add)

        def some(count: int, first: Value) -> None:
            place = f.at(c, f.op("mul", first, row_c))
            out = f.select(ragged, edge, place)
            behind = f.op("add", skip, f.op("mul", first, self.shape.size))
            kernel = f"turned_{count}_{vectors}"
            f.call("void", kernel, runs, table, k, col_a, behind, out, step, adding)
            with f.when(ragged), f.loop(i64(count)) as r:
                source, target = (
                    f.at(x, f.op("mul", r, y)) for x, y in ((out, step), (place, row_c))
                )
                f.call("void", "move_row", source, target, columns, add)

        highest, *others = self.counts_of(vectors)
        whole = f.op("udiv", rows, highest)
        with f.loop(whole) as q:
            some(highest, f.op("mul", q, highest))
        at = f.variable("i64", f.op("mul", whole, highest))
        for count in others:  # 4, and then what is left: 3, 2 or 1
            first = f.load("i64", at)
            with f.when(f.compare("sge", f.op("sub", rows, first), count)):
                some(count, first)
                f.store(f.op("add", first, count), at)
        f.ret()

    # ------------------------------------------------------------------------------ some rows

    def gradient_header(self, f: Function, plan: Value) -> dict[str, Value]:
        """The numbers of a plan, and its tables."""
        v = {name: f.load("i64", plan, 8 * i) for i, name in enumerate(GRADIENT)}
        v["far"] = f.at(plan, 8 * len(GRADIENT))
        v["far_step"] = f.op("mul", f.op("add", v["outer"], 1), 8)
        v["cells"] = f.at(v["far"], f.op("mul", v["outer_taps"], v["far_step"]))
        v["near"] = f.item(v["cells"], v["outer"])
        return v

    def write_chunk(self) -> None:
        """`chunk(plan, env, x, g, c, first, runs, taps, tap, rows, row, columns, scratch, add)`.

        Rows `first` to `first + runs` of all images; `g` and `c` begin at the panel.  Elements
        `tap` to `tap + taps` of the outer window, features `row` to `row + rows` of the operand.
        """
        s = self.shape
        types = (*["ptr"] * 5, *["i64"] * 7, "ptr", "i1")
        f = self.m.function("chunk", "void", *types)
        plan, env, x, g, c, first, runs, taps, tap, rows, row, columns = f.parameters[:12]
        scratch, add = f.parameters[12:]
        v = self.gradient_header(f, plan) | self.gradient_environment(f, env)
        step = f.op("mul", v["vectors"], s.lanes * s.size)
        line = f.op("mul", v["inner"], step)
        table = f.at(scratch, CHUNK)
        edge = f.at(table, _RUN * MOST_RUNS)
        kernel = f.load("ptr", f.item(self.by_width, f.op("sub", v["vectors"], 1)))
        with f.loop(runs) as r:
            at = f.op("add", first, r)
            cell, image = f.op("urem", at, v["outer"]), f.op("udiv", at, v["outer"])
            place = f.load("i64", f.item(v["cells"], cell))
            source = f.at(f.at(g, f.op("mul", image, v["image_g"])), place)
            packed, row_g = f.at(scratch, f.op("mul", r, line)), v["col_g"]
            f.call("void", "pack", packed, step, source, row_g, i64(1), v["inner"], columns)
        with f.loop(taps) as t, f.loop(v["inner_taps"]) as u:
            far = f.at(v["far"], f.op("mul", f.op("add", tap, t), v["far_step"]))
            near = f.item(v["near"], u, 32)
            begin, count, beside = (f.load("i64", near, 8 * i) for i in (1, 2, 3))
            inside = f.op("mul", begin, step)
            found = f.variable("i64", i64(0))
            f.store(i64(0), found)
            with f.loop(f.select(f.compare("sgt", count, 0), runs, i64(0))) as r:
                at = f.op("add", first, r)
                cell, image = f.op("urem", at, v["outer"]), f.op("udiv", at, v["outer"])
                above = f.load("i64", f.item(far, f.op("add", cell, 1)))
                with f.when(f.compare("sge", above, 0)):
                    number = f.load("i64", found)
                    run = f.item(table, number, _RUN)
                    base = f.at(x, f.op("mul", image, v["image_x"]))
                    f.store(f.at(base, f.op("add", above, beside)), run)
                    f.store(f.at(f.at(scratch, f.op("mul", r, line)), inside), run, 8)
                    f.store(f.op("add", number, 1), found)
            place = f.op("add", f.load("i64", far), f.load("i64", near))
            out = f.at(f.at(c, place), f.op("mul", row, v["row_c"]))
            skip = f.op("mul", row, s.size)
            f.call(
                "void", kernel, rows, columns, edge, f.load("i64", found), table, count,
                v["col_x"], skip, out, v["row_c"], add,
            )  # fmt: skip
        f.ret()

    # ------------------------------------------------------------------------------ tasks

    def gradient_environment(self, f: Function, env: Value) -> dict[str, Value]:
        """What the entry put down for the tasks."""
        v = {name: f.load("ptr", env, 8 * i) for i, name in enumerate(_POINTERS)}
        at = len(_POINTERS)
        return v | {name: f.load("i64", env, 8 * (at + i)) for i, name in enumerate(_SIZES)}

    def write_part(self) -> None:
        """`part(env, plan, number, scratch)`: one panel of some of the result of one part."""
        s = self.shape
        f = self.m.function("part", "void", "ptr", "ptr", "i64", "ptr")
        env, plan, number, scratch = f.parameters
        v = self.gradient_header(f, plan) | self.gradient_environment(f, env)
        places, rest = {}, number
        for name in ("strips", "slices", "panels", "parts"):
            places[name], rest = f.op("urem", rest, v[name]), f.op("udiv", rest, v[name])
        width = f.op("mul", v["vectors"], s.lanes)
        column = f.op("mul", places["panels"], width)
        columns = self.smaller(f, f.op("sub", v["n"], column), width)
        x = f.at(v["x"], f.op("mul", rest, v["lane_x"]))
        g = self.item(f, f.at(v["g"], f.op("mul", rest, v["lane_g"])), column)
        c = self.item(f, f.at(v["sums"], f.op("mul", rest, v["lane_c"])), column)
        c = self.item(f, c, f.op("mul", places["parts"], v["total"]))
        taps = self.parts(f, v["outer_taps"], v["slices"])
        tap = f.op("mul", places["slices"], taps)
        some = self.smaller(f, f.op("sub", v["outer_taps"], tap), taps)
        row = f.op("mul", places["strips"], v["strip"])
        rows = self.smaller(f, f.op("sub", v["features"], row), v["strip"])
        all_runs = f.op("mul", v["images"], v["outer"])
        start = f.op("mul", places["parts"], v["share"])
        runs = self.smaller(f, f.op("sub", all_runs, start), v["share"])
        with f.loop(self.parts(f, runs, v["chunk"])) as q:
            done = f.op("mul", q, v["chunk"])
            first = f.op("add", start, done)
            now = self.smaller(f, f.op("sub", runs, done), v["chunk"])
            f.call(
                "void", "chunk", plan, env, x, g, c, first, now, some, tap, rows, row, columns,
                scratch, f.compare("sgt", q, 0),
            )  # fmt: skip
        f.ret()

    # ------------------------------------------------------------------------------ entry

    def write_gradient_entry(self) -> None:
        """`pb_direct_gradient_T`: cuts the sums into tasks, by the shapes alone."""
        name = f"pb_direct_gradient_{self.shape.name}"
        f = self.m.function(name, "void", *["ptr"] * 5, exported=True)
        v = self.gradient_header(f, f.parameters[4])
        sizes = self.gradient_sizes(f, v)
        env = f.words((*f.parameters, *(sizes[name] for name in _SIZES)))
        count = v["lanes"]
        for factor in (v["parts"], *(sizes[name] for name in ("panels", "slices", "strips"))):
            count = f.op("mul", count, factor)
        f.call("void", "pb_parallel_for", Value("ptr", "@gradient_tasks"), env, count, i64(1))
        f.call("void", "add_parts", *f.parameters[2:4], v["parts"], v["total"])
        f.ret()

    def gradient_sizes(self, f: Function, v: dict[str, Value]) -> dict[str, Value]:
        """`_SIZES`.  Parts and panels that are too few for the threads are cut further."""
        s = self.shape
        vectors = self.width_of(f, v["n"])
        width = f.op("mul", vectors, s.lanes)
        panels = self.parts(f, v["n"], width)
        both = f.op("add", width, v["features"])
        line = f.op("mul", v["inner"], f.op("mul", both, s.size))
        room = self.larger(f, f.op("udiv", i64(BATCH), line), 1)
        share = self.parts(f, f.op("mul", v["images"], v["outer"]), v["parts"])
        chunk = self.smaller(f, self.smaller(f, room, share), MOST_RUNS)
        chunk = self.parts(f, share, self.parts(f, share, chunk))
        tasks = f.op("mul", v["lanes"], f.op("mul", v["parts"], panels))
        slices = self.smaller(f, self.parts(f, i64(TASKS), tasks), v["outer_taps"])
        slices = self.parts(f, v["outer_taps"], self.parts(f, v["outer_taps"], slices))
        wanted = self.parts(f, i64(TASKS), f.op("mul", tasks, slices))
        most = self.larger(f, f.op("udiv", v["features"], FEATURES), 1)
        height = self.height_of(f, vectors)
        blocks = self.parts(f, v["features"], height)
        strip = f.op("mul", self.parts(f, blocks, self.smaller(f, wanted, most)), height)
        strips = self.parts(f, v["features"], strip)
        found = (vectors, panels, chunk, share, slices, strips, strip)
        return dict(zip(_SIZES, found, strict=True))
