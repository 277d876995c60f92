"""Depthwise convolutions with features last, and gradients of their kernels, as LLVM text.

    void pb_depthwise_T(T *x, T *w, T *out, i64 *plan)
    void pb_depthwise_gradient_T(T *x, T *g, T *out, T *sums, i64 *plan)

Vectors of features go through the window, for several positions along a row at once, whose sums
stay in registers with what they share of the kernel; or, for the gradient, several elements of the
window along a row of the cotangent.  Where the window reaches out of the operand positions are
computed one by one, with zeros for what is outside.  If features are no whole vectors, the last
panel begins earlier.

`plan` (`ops.convolution_plan.DEPTHWISE`) has the tables of `pb_direct_T`, or of
`pb_direct_gradient_T`.
"""

from __future__ import annotations

from typing import Final

from pullback.llvm.direct_gradients import DirectGradients
from pullback.llvm.entry_ir import Function, Value, i64
from pullback.ops.convolution_plan import DEPTHWISE, TASKS

__all__ = ["Depthwise"]

_TOGETHER: Final = 4
"""Elements of the window, along its last axis, of which a gradient is summed at a time."""


class Depthwise(DirectGradients):
    """Writes the depthwise convolutions of one element type."""

    def write_depthwise(self) -> None:
        """All functions of this module."""
        for vectors in range(1, self.widest + 1):
            self.write_inside(vectors)
            self.write_border(vectors)
            self.write_line(vectors)
            for taps in range(1, _TOGETHER + 1):
                self.write_lanes(taps, vectors)
            self.write_gradient_line(vectors)
        for name in ("line", "gradient_line"):
            names = [f"{name}_{v}" for v in range(1, self.widest + 1)]
            self.m.table(f"pb_depthwise_{name}_{self.shape.name}", names)
        self.write_depthwise_tasks()
        self.write_depthwise_gradient_tasks()
        self.write_depthwise_entry()
        self.write_depthwise_gradient_entry()

    def plan_of(self, f: Function, plan: Value) -> dict[str, Value]:
        """The numbers of a plan, and what follows them."""
        v = {name: f.load("i64", plan, 8 * i) for i, name in enumerate(DEPTHWISE)}
        v["far"] = f.at(plan, 8 * len(DEPTHWISE))
        return v

    def multiplied(self, f: Function, x: Value, w: list[Value], slots: list[Value]) -> None:
        """Add vectors of features, times those of a kernel, to sums."""
        s = self.shape
        for i, (factor, slot) in enumerate(zip(w, slots, strict=True)):
            value = self.load_vector(f, f.at(x, i * s.lanes * s.size))
            f.store(self.fma(f, value, factor, f.load(s.vector, slot)), slot)

    def vectors_at(self, f: Function, place: Value, vectors: int) -> list[Value]:
        step = self.shape.lanes * self.shape.size
        return [self.load_vector(f, f.at(place, v * step)) for v in range(vectors)]

    # ------------------------------------------------------------------------------ results

    def write_inside(self, vectors: int) -> None:
        """`inside_V(rows, outer_taps, inner_taps, cell, w, row_w, c, cell_c)`: several positions.

        For each outer element of the window `rows` has the place of the operand that the first
        element of the window meets at cell 0, the step between cells, and that in the window.
        """
        height = self.heights[vectors - 1]
        types = ("ptr", "i64", "i64", "i64", "ptr", "i64", "ptr", "i64")
        f = self.m.function(f"inside_{vectors}", "void", *types)
        rows, outer_taps, inner_taps, cell, w, row_w, c, cell_c = f.parameters
        sums = self.new_sums(f, height, vectors)
        at_w, along = f.variable("ptr", w), f.variable("i64", i64(0))
        with f.loop(outer_taps) as t:
            row = f.item(rows, t, 24)
            base, step_x, tap_x = f.load("ptr", row), f.load("i64", row, 8), f.load("i64", row, 16)
            lines = [f.at(base, f.op("mul", cell, step_x))]
            for _ in range(height - 1):
                lines.append(f.at(lines[-1], step_x))
            lines = [f.opaque(line) for line in lines]
            f.store(i64(0), along)
            with f.loop(inner_taps):
                place, offset = f.load("ptr", at_w), f.load("i64", along)
                kernel = self.vectors_at(f, place, vectors)
                for line, slots in zip(lines, sums, strict=True):
                    self.multiplied(f, f.at(line, offset), kernel, slots)
                f.store(f.at(place, row_w), at_w)
                f.store(f.op("add", offset, tap_x), along)
        self.stored(f, sums, c, cell_c)
        f.ret()

    def stored(self, f: Function, sums: list[list[Value]], c: Value, step: Value) -> None:
        for row, slots in enumerate(sums):
            line = f.at(c, f.op("mul", step, row))
            for v, slot in enumerate(slots):
                place = f.at(line, v * self.shape.lanes * self.shape.size)
                self.store_vector(f, f.load(self.shape.vector, slot), place)

    def write_border(self, vectors: int) -> None:
        """`border_V(rows, outer_taps, inner_taps, near, w, row_w, c)`: one position.

        `near` has its places in a row, below zero where they are outside.
        """
        s = self.shape
        types = ("ptr", "i64", "i64", "ptr", "ptr", "i64", "ptr")
        f = self.m.function(f"border_{vectors}", "void", *types)
        rows, outer_taps, inner_taps, near, w, row_w, c = f.parameters
        sums = [f.variable(s.vector, self.zero) for _ in range(vectors)]
        at_w = f.variable("ptr", w)
        with f.loop(outer_taps) as t:
            row = f.item(rows, t, 24)
            first, cell_x = f.load("ptr", row), f.load("i64", row, 8)
            beyond = f.compare("eq", cell_x, 0)
            with f.loop(inner_taps) as u:
                beside, place = f.load("i64", f.item(near, u)), f.load("ptr", at_w)
                outside = f.op("or", beyond, f.compare("slt", beside, 0))
                met = f.at(first, beside)
                x = f.select(outside, self.zeros, met)
                self.multiplied(f, x, self.vectors_at(f, place, vectors), sums)
                f.store(f.at(place, row_w), at_w)
        self.stored(f, [sums], c, i64(0))
        f.ret()

    def write_line(self, vectors: int) -> None:
        """`line_V(plan, rows, starts, near, w, c)`: a row of cells, for one panel.

        `starts` are `rows` for cell 0; in `rows` places are those of near offset 0.
        """
        types = ("ptr", "ptr", "ptr", "ptr", "ptr", "ptr")
        f = self.m.function(f"line_{vectors}", "void", *types)
        plan, rows, starts, near, w, c = f.parameters
        v = self.plan_of(f, plan)
        height = self.heights[vectors - 1]
        near_step = f.op("mul", f.op("add", v["inner_taps"], 1), 8)
        window = (v["outer_taps"], v["inner_taps"])
        count = f.op("sub", v["end"], v["begin"])
        wide = f.compare("sge", count, height)
        begin = f.select(wide, v["begin"], v["inner"])
        end = f.select(wide, v["end"], v["inner"])

        def border(cell: Value) -> None:
            beside = f.at(near, f.op("mul", cell, near_step))
            out = f.at(c, f.load("i64", beside))
            f.call("void", f"border_{vectors}", rows, *window, f.at(beside, 8), w, v["row_w"], out)

        with f.loop(begin) as cell:
            border(cell)
        with f.loop(f.select(wide, self.parts(f, count, height), i64(0))) as q:
            last = f.op("sub", end, height)
            cell = self.smaller(f, f.op("add", begin, f.op("mul", q, height)), last)
            out = f.at(c, f.load("i64", f.at(near, f.op("mul", cell, near_step))))
            f.call(
                "void", f"inside_{vectors}", starts, *window, cell, w, v["row_w"], out, v["cell_c"]
            )  # fmt: skip
        with f.loop(f.op("sub", v["inner"], end)) as rest:
            border(f.op("add", end, rest))
        f.ret()

    def panels_of(self, f: Function, n: Value) -> tuple[Value, Value, Value]:
        """Vectors of a panel, features of one, and how many there are; the last may overlap."""
        whole = f.op("udiv", n, self.shape.lanes)
        vectors = self.smaller(f, self.width_of(f, n), whole)
        width = f.op("mul", vectors, self.shape.lanes)
        return vectors, width, self.parts(f, n, width)

    def panel_start(self, f: Function, n: Value, width: Value, p: Value) -> Value:
        """Bytes from the first feature to a panel."""
        column = self.smaller(f, f.op("mul", p, width), f.op("sub", n, width))
        return f.op("mul", column, self.shape.size)

    def write_depthwise_tasks(self) -> None:
        """`depthwise_tasks(env, begin, end)`: some rows of cells."""
        f = self.m.function("depthwise_tasks", "void", "ptr", "i64", "i64")
        env, begin, end = f.parameters
        x, w, out, plan = (f.load("ptr", env, 8 * i) for i in range(4))
        v = self.plan_of(f, plan)
        far_step = f.op("mul", f.op("add", v["outer_taps"], 1), 8)
        near = f.at(v["far"], f.op("mul", v["outer"], far_step))
        near_step = f.op("mul", f.op("add", v["inner_taps"], 1), 8)
        # A cell that is inside with all of the window tells where the others would be.
        inside = f.at(near, f.op("mul", v["begin"], near_step))
        back = f.op("mul", v["begin"], v["cell_x"])
        zeroth = f.op("sub", f.load("i64", inside, 8), back)
        vectors, width, panels = self.panels_of(f, v["n"])
        table = self.m.external(f"pb_depthwise_line_{self.shape.name}")
        kernel = f.load("ptr", f.item(table, f.op("sub", vectors, 1)))
        with self.scratch.held(f) as rows, f.loop(f.op("sub", end, begin)) as t:
            at = f.op("add", begin, t)
            cell, image = f.op("urem", at, v["outer"]), f.op("udiv", at, v["outer"])
            far = f.at(v["far"], f.op("mul", cell, far_step))
            base = f.at(x, f.op("mul", image, v["image_x"]))
            starts = f.item(rows, v["outer_taps"], 24)
            target = f.at(f.at(out, f.op("mul", image, v["image_c"])), f.load("i64", far))
            with f.loop(panels) as p:
                column = self.panel_start(f, v["n"], width, p)
                with f.loop(v["outer_taps"]) as tap:
                    above = f.load("i64", f.item(far, f.op("add", tap, 1)))
                    outside = f.compare("slt", above, 0)
                    row = f.select(outside, self.zeros, f.at(f.at(base, above), column))
                    first = f.select(outside, self.zeros, f.at(row, zeroth))
                    for table_at, place in ((rows, row), (starts, first)):
                        entry = f.item(table_at, tap, 24)
                        f.store(place, entry)
                        for i, name in ((8, "cell_x"), (16, "tap_x")):
                            f.store(f.select(outside, i64(0), v[name]), entry, i)
                kernel_at, target_at = f.at(w, column), f.at(target, column)
                f.call("void", kernel, plan, rows, starts, near, kernel_at, target_at)
        f.ret()

    def write_depthwise_entry(self) -> None:
        """`pb_depthwise_T`."""
        name = f"pb_depthwise_{self.shape.name}"
        f = self.m.function(name, "void", *["ptr"] * 4, exported=True)
        v = self.plan_of(f, f.parameters[3])
        self.run(f, "depthwise_tasks", f.op("mul", v["images"], v["outer"]))
        f.ret()

    def run(self, f: Function, tasks: str, count: Value) -> None:
        """Give tasks to the threads, with the arguments of the entry."""
        env = f.words(f.parameters)
        grain = f.op("add", f.op("udiv", count, 4 * TASKS), 1)
        f.call("void", "pb_parallel_for", Value("ptr", f"@{tasks}"), env, count, grain)

    # ------------------------------------------------------------------------------ gradients

    def write_lanes(self, taps: int, vectors: int) -> None:
        """`lanes_U_V(k, x, cell_x, tap_x, g, cell_c, c, row_c)`: add products along a row."""
        s = self.shape
        types = ("i64", "ptr", "i64", "i64", "ptr", "i64", "ptr", "i64")
        f = self.m.function(f"lanes_{taps}_{vectors}", "void", *types)
        k, x, cell_x, tap_x, g, cell_c, c, row_c = f.parameters
        lines, places = [x], [c]
        for _ in range(taps - 1):
            lines.append(f.at(lines[-1], tap_x))
            places.append(f.at(places[-1], row_c))
        lines = [f.opaque(line) for line in lines]
        sums = self.new_sums(f, len(lines), vectors)
        along, at_g = f.variable("i64", i64(0)), f.variable("ptr", g)
        with f.loop(k):
            place, offset = f.load("ptr", at_g), f.load("i64", along)
            cotangent = self.vectors_at(f, place, vectors)
            for line, slots in zip(lines, sums, strict=True):
                self.multiplied(f, f.at(line, offset), cotangent, slots)
            f.store(f.at(place, cell_c), at_g)
            f.store(f.op("add", offset, cell_x), along)
        for place, slots in zip(places, sums, strict=True):
            for v, slot in enumerate(slots):
                target = f.at(place, v * s.lanes * s.size)
                now = self.plus(f, f.load(s.vector, slot), self.load_vector(f, target))
                self.store_vector(f, now, target)
        f.ret()

    def write_gradient_line(self, vectors: int) -> None:
        """`gradient_line_V(plan, near, x, g, c)`: one row of the cotangent and of the window.

        Several elements of the window share the cells at which all of them meet the operand.
        """
        f = self.m.function(f"gradient_line_{vectors}", "void", *["ptr"] * 5)
        plan, near, x, g, c = f.parameters
        v = self.plan_of(f, plan)

        def part(taps: int, u: Value, first: Value, last: Value) -> None:
            """Some elements of the window from `u` on, at the cells from `first` to `last`."""
            entry = f.item(near, u, 32)
            place, begin, beside = (f.load("i64", entry, 8 * i) for i in (0, 1, 3))
            skipped = f.op("sub", first, begin)
            source = f.at(x, f.op("add", beside, f.op("mul", skipped, v["cell_x"])))
            cells = f.at(g, f.op("mul", first, v["cell_c"]))
            f.call(
                "void", f"lanes_{taps}_{vectors}", f.op("sub", last, first), source, v["cell_x"],
                v["tap_x"], cells, v["cell_c"], f.at(c, place), v["row_w"],
            )  # fmt: skip

        def together(taps: int, u: Value) -> None:
            entries = [f.item(near, f.op("add", u, i), 32) for i in range(taps)]
            begins = [f.load("i64", entry, 8) for entry in entries]
            ends = [f.op("add", b, f.load("i64", e, 16)) for b, e in zip(begins, entries)]  # noqa: B905
            first, last = begins[0], ends[0]
            for begin, end in zip(begins[1:], ends[1:], strict=True):
                first, last = self.larger(f, first, begin), self.smaller(f, last, end)
            last = self.larger(f, first, last)
            part(taps, u, first, last)
            if taps == 1:
                return
            for i, (begin, end) in enumerate(zip(begins, ends, strict=True)):
                tap = f.op("add", u, i)
                before = self.smaller(f, first, end)
                with f.when(f.compare("slt", begin, before)):
                    part(1, tap, begin, before)
                after = self.larger(f, last, begin)
                with f.when(f.compare("slt", after, end)):
                    part(1, tap, after, end)

        whole = f.op("udiv", v["inner_taps"], _TOGETHER)
        with f.loop(whole) as q:
            together(_TOGETHER, f.op("mul", q, _TOGETHER))
        rest = f.op("urem", v["inner_taps"], _TOGETHER)
        for taps in range(1, _TOGETHER):
            with f.when(f.compare("eq", rest, taps)):
                together(taps, f.op("mul", whole, _TOGETHER))
        f.ret()

    def write_depthwise_gradient_tasks(self) -> None:
        """`depthwise_gradient_tasks(env, begin, end)`: some panels of some parts."""
        s = self.shape
        f = self.m.function("depthwise_gradient_tasks", "void", "ptr", "i64", "i64")
        env, begin, end = f.parameters
        x, g, _, sums, plan = (f.load("ptr", env, 8 * i) for i in range(5))
        v = self.plan_of(f, plan)
        far_step = f.op("mul", f.op("add", v["outer"], 1), 8)
        cells = f.at(v["far"], f.op("mul", v["outer_taps"], far_step))
        near = f.item(cells, v["outer"])
        vectors, width, panels = self.panels_of(f, v["n"])
        table = self.m.external(f"pb_depthwise_gradient_line_{s.name}")
        kernel = f.load("ptr", f.item(table, f.op("sub", vectors, 1)))
        lines = f.op("mul", v["images"], v["outer"])
        share = self.parts(f, lines, v["parts"])
        with f.loop(f.op("sub", end, begin)) as number:
            part = f.op("add", begin, number)
            out = self.item(f, sums, f.op("mul", part, v["total"]))
            with f.loop(v["total"]) as i:
                f.store(Value(s.type, "0.0"), self.item(f, out, i))
            start = f.op("mul", part, share)
            count = self.smaller(f, f.op("sub", lines, start), share)
            with f.loop(panels) as p:
                # What two panels share is computed by the last one: the others' sums are cleared.
                column = self.panel_start(f, v["n"], width, p)
                self.clear_overlap(f, v, out, width, p, column)
                with f.loop(count) as r, f.loop(v["outer_taps"]) as t:
                    at = f.op("add", start, r)
                    cell, image = f.op("urem", at, v["outer"]), f.op("udiv", at, v["outer"])
                    far = f.at(v["far"], f.op("mul", t, far_step))
                    above = f.load("i64", f.item(far, f.op("add", cell, 1)))
                    with f.when(f.compare("sge", above, 0)):
                        row = f.op("add", f.op("mul", image, v["image_x"]), above)
                        place = f.load("i64", f.item(cells, cell))
                        line = f.op("add", f.op("mul", image, v["image_c"]), place)
                        target = f.at(f.at(out, f.load("i64", far)), column)
                        f.call(
                            "void", kernel, plan, near, f.at(f.at(x, row), column),
                            f.at(f.at(g, line), column), target,
                        )  # fmt: skip
        f.ret()

    def clear_overlap(
        self, f: Function, v: dict[str, Value], out: Value, width: Value, p: Value, column: Value
    ) -> None:
        """Clear the sums of features that a panel before has summed already."""
        size = self.shape.size
        before = f.op("mul", f.op("mul", p, width), size)
        shared = f.op("udiv", f.op("sub", before, column), size)
        with f.loop(f.op("udiv", v["total"], v["n"])) as tap, f.loop(shared) as i:
            place = self.item(f, self.at(f, out, tap, v["n"]), i)
            f.store(Value(self.shape.type, "0.0"), f.at(place, column))

    def write_depthwise_gradient_entry(self) -> None:
        """`pb_depthwise_gradient_T`."""
        name = f"pb_depthwise_gradient_{self.shape.name}"
        f = self.m.function(name, "void", *["ptr"] * 5, exported=True)
        v = self.plan_of(f, f.parameters[4])
        self.run(f, "depthwise_gradient_tasks", v["parts"])
        f.call("void", "add_parts", *f.parameters[2:4], v["parts"], v["total"])
        f.ret()
