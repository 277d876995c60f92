"""Convolutions with features last that make few features of many, as LLVM text.

    void pb_direct_few_T(T *x, T *w, T *out, i64 *plan)

Vectors are of the operand's features here, and a feature of the result is a sum of lanes: that of
one vector for each position and feature of a block, which stay in registers along the window.  The
kernel has rows `[out feature, *window, in feature]`, whole vectors of in features.  `plan` is that
of `pb_direct_T`.
"""

from __future__ import annotations

from typing import Final

from pullback.llvm.direct_blocks import MOST_ROWS, RUN
from pullback.llvm.direct_depthwise import Depthwise
from pullback.llvm.entry_ir import Function, Value, i64
from pullback.ops.convolution_plan import HEADER, MOST_RUNS

__all__ = ["FewFeatures"]

_FEATURES: Final = 3
"""Features of the result in a block, at most."""
_HEIGHTS: Final = {64: (8, 8, 8), 32: (8, 4, 4), 16: (8, 4, 4)}
"""Positions of a block by bytes of a vector, for blocks of one feature, two, three."""


class FewFeatures(Depthwise):
    """Writes such convolutions of one element type."""

    def write_few(self) -> None:
        """All functions of this module."""
        self.positions = _HEIGHTS[self.shape.lanes * self.shape.size]
        for features in range(1, _FEATURES + 1):
            self.write_sums_of_lanes(features)
        names = [f"few_{n}" for n in range(1, _FEATURES + 1)]
        self.few = self.m.table(f"pb_direct_few_table_{self.shape.name}", names)
        self.write_few_tasks()
        self.write_few_entry()

    def header(self, f: Function, plan: Value) -> dict[str, Value]:
        """The numbers of a plan, and its tables."""
        v = {name: f.load("i64", plan, 8 * i) for i, name in enumerate(HEADER)}
        v["far"] = f.at(plan, 8 * len(HEADER))
        v["far_step"] = f.op("mul", f.op("add", v["outer_taps"], 1), 8)
        v["near_step"] = f.op("mul", f.op("add", v["inner_taps"], 1), 8)
        v["near"] = f.at(v["far"], f.op("mul", v["outer"], v["far_step"]))
        v["taps"] = f.op("mul", v["outer_taps"], v["inner_taps"])
        return v

    # ------------------------------------------------------------------------------ micro-kernels

    def write_sums_of_lanes(self, features: int) -> None:
        """`few_N(table, runs, turns, w, row_w, places, skip)`: so many features of some positions.

        Runs have `turns` vectors each; rows of `w` are `row_w` bytes apart.
        """
        s, rows = self.shape, self.positions[features - 1]
        types = ("ptr", "i64", "i64", "ptr", "i64", "ptr", "i64")
        f = self.m.function(f"few_{features}", "void", *types)
        table, runs, turns, w, row_w, places, skip = f.parameters
        sums = self.new_sums(f, rows, features)
        lines = [w]
        for _ in range(features - 1):
            lines.append(f.at(lines[-1], row_w))
        along, at_w = f.variable("i64", i64(0)), f.variable("i64", i64(0))
        step = s.lanes * s.size
        with f.loop(runs) as r:
            run = f.item(table, r, RUN)
            left = [f.opaque(f.load("ptr", run, 8 * i)) for i in range(rows)]
            f.store(i64(0), along)
            with f.loop(turns):
                offset, here = f.load("i64", along), f.load("i64", at_w)
                kernel = [self.load_vector(f, f.at(line, here)) for line in lines]
                values = (self.load_vector(f, f.at(row, offset)) for row in left)
                self.multiply_add(f, values, kernel, sums)
                f.store(f.op("add", offset, step), along)
                f.store(f.op("add", here, step), at_w)
        group = min(rows, s.lanes)
        for feature in range(features):
            for first in range(0, rows, group):
                slots = [row[feature] for row in sums[first : first + group]]
                total = self.lanes_of(f, [f.load(s.vector, slot) for slot in slots])
                for i in range(group):
                    value = f.value(s.type, f"extractelement {total}, i64 {i}")
                    place = f.at(f.load("ptr", places, 8 * (first + i)), skip)
                    f.store(value, place, feature * s.size)
        f.ret()

    def lanes_of(self, f: Function, rows: list[Value]) -> Value:
        """The sums of the lanes of some vectors, a power of two of them, as the first lanes of one.

        Halves of vectors are added and interleaved with those of others, and then folded.
        """
        t, n = self.shape.vector, self.shape.lanes
        left = n
        while len(rows) > 1:
            middle, left = len(rows) // 2, left // 2
            masks = [
                ", ".join(f"i32 {start + k}, i32 {n + start + k}" for k in range(n // 2))
                for start in (0, n // 2)
            ]
            rows = [
                self.plus(
                    f, *(f.value(t, f"shufflevector {x}, {y}, <{n} x i32> <{m}>") for m in masks)
                )
                for x, y in zip(rows[:middle], rows[middle:], strict=True)
            ]
        (total,) = rows
        width = n // 2
        while left > 1:
            mask = ", ".join(f"i32 {(k + width) % n}" for k in range(n))
            other = f.value(t, f"shufflevector {total}, {total}, <{n} x i32> <{mask}>")
            total, left, width = self.plus(f, total, other), left // 2, width // 2
        return total

    # ------------------------------------------------------------------------------ tasks

    def block_of(self, f: Function, n: Value) -> tuple[Value, Value, Value]:
        """Features of a block, blocks, and positions of one."""
        blocks = self.parts(f, n, _FEATURES)
        features = self.parts(f, n, blocks)
        height = i64(self.positions[0])
        for index, rows in enumerate(self.positions[1:], 2):
            height = f.select(f.compare("eq", features, index), i64(rows), height)
        return features, blocks, height

    def write_few_tasks(self) -> None:
        """`few_tasks(env, begin, end)`: slivers of positions of some groups."""
        s = self.shape
        f = self.m.function("few_tasks", "void", "ptr", "i64", "i64")
        env, begin, end = f.parameters
        x, w, out, plan = (f.load("ptr", env, 8 * i) for i in range(4))
        v = self.header(f, plan)
        features, blocks, height = self.block_of(f, v["n"])
        positions = f.op("mul", v["batch"], f.op("mul", v["outer"], v["inner"]))
        slivers = self.parts(f, positions, height)
        kernel = f.load("ptr", f.item(self.few, f.op("sub", features, 1)))
        turns = f.op("udiv", v["k"], s.lanes)
        row_w = f.op("mul", f.op("mul", v["taps"], v["k"]), s.size)
        with self.scratch.held(f) as table, f.loop(f.op("sub", end, begin)) as number:
            places = f.at(table, RUN * MOST_RUNS)
            dump = f.at(places, 8 * MOST_ROWS)
            at = f.op("add", begin, number)
            sliver, lane = f.op("urem", at, slivers), f.op("udiv", at, slivers)
            first = f.op("mul", sliver, height)
            count = f.op("sub", positions, first)
            source = f.at(x, f.op("mul", lane, v["lane_x"]))
            target = f.at(out, f.op("mul", lane, v["lane_c"]))
            rows = f.at(w, f.op("mul", f.op("mul", lane, v["n"]), row_w))
            f.call("void", "find", source, target, plan, first, count, height, table, places, dump)
            with f.loop(blocks) as block:
                last = f.op("sub", v["n"], features)
                feature = self.smaller(f, f.op("mul", block, features), last)
                f.call(
                    "void", kernel, table, v["taps"], turns,
                    f.at(rows, f.op("mul", feature, row_w)), row_w, places,
                    f.op("mul", feature, s.size),
                )  # fmt: skip
        f.ret()

    def write_few_entry(self) -> None:
        """`pb_direct_few_T`."""
        name = f"pb_direct_few_{self.shape.name}"
        f = self.m.function(name, "void", *["ptr"] * 4, exported=True)
        v = self.header(f, f.parameters[3])
        _, _, height = self.block_of(f, v["n"])
        positions = f.op("mul", v["batch"], f.op("mul", v["outer"], v["inner"]))
        slivers = self.parts(f, positions, height)
        self.run(f, "few_tasks", f.op("mul", v["lanes"], slivers))
        f.ret()
