"""Attention, softmax(q k') v, in one kernel that stores few of the scores, as LLVM text.

    void pb_attention_T(T *q, T *k, T *v, T *out, i64 lanes, i64 group,
                        i64 lane_q, i64 lane_k, i64 lane_v,
                        i64 t, i64 s, i64 d, i64 e,
                        i64 row_q, i64 col_q, i64 row_k, i64 col_k, i64 row_v, i64 col_v,
                        i64 offset, T scale, T fill)

for T in f32, f64 computes for each lane, whose keys are those of lane `lane / group`,

    score[i, j]  = j <= i + offset ? (q[i] . k[j]) * scale : fill
    weight[i, j] = exp(score[i, j] - m[i])
    out[i]       = sum over j of weight[i, j] v[j] / sum over j of weight[i, j]

where m[i] is the largest score of a row; `out` is contiguous, `[lanes, t, e]`, and e at most
WIDEST.

A task is a block of rows.  It goes through the keys some at a time, and corrects sums and results
by a factor when a larger score appears (Milakov and Gimelshein, "Online normalizer calculation for
softmax", 2018; Dao et al., "FlashAttention", 2022).  What `offset` hides is left out, and the block
is computed again, with all keys, in the rare case that `fill` is not far below the largest score of
each row.  Blocks do not depend on the number of threads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pullback.llvm import math
from pullback.llvm.entry_ir import FALSE, NULL, TRUE, Function, Value, i64
from pullback.llvm.gemm_packing import DEPTH, Shape, shape_of
from pullback.llvm.gemm_tiles import Tiles
from pullback.llvm.gemm_vectors import Vectors
from pullback.llvm.scratch import Scratch
from pullback.ops.attention import WIDEST

__all__ = ["KERNELS", "module_text"]

KERNELS: Final = ("pb_attention_f32", "pb_attention_f64")
SLIVERS: Final = 16
"""Slivers of a block of rows."""
KEYS: Final = 2048
"""Bytes of the scores of a row that are there at a time."""
FAR: Final = 1000
"""exp(-FAR) is zero."""
_NUMBERS: Final = (
    "lanes", "group", "lane_q", "lane_k", "lane_v", "t", "s", "d", "e",
    "row_q", "col_q", "row_k", "col_k", "row_v", "col_v", "offset",
)  # fmt: skip


class _Writer(Tiles, Vectors):
    """Writes the functions of one element type."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        size = shape.size
        self.rows = SLIVERS * shape.rows
        self.keys = KEYS // size
        self.pitch = self.keys + shape.lanes  # rows do not compete for the same lines of a cache
        own = self.rows * (self.pitch + 2 * WIDEST + 3) * size
        self.scratch = Scratch(self.m, f"pb_attention_{shape.name}", self.scratch_bytes + own)
        self.lowest = Value(shape.type, "0xFFF0000000000000")
        self.include_exp()
        self.write_tiles()
        self.write_vectors()
        self.write_product()
        self.write_limit()
        self.write_weigh()
        self.write_rows()
        self.write_block()
        self.write_tasks()
        self.write_entry()

    # ------------------------------------------------------------------------------ arithmetic

    def include_exp(self) -> None:
        """The vector kernel of the exponential function."""
        s = self.shape
        todo = [("exp", s.name, s.lanes)]
        for key in todo:
            self.m.include(math.symbol(*key), math.define(*key), math.declarations(*key))
            todo += [other for other in math.dependencies(*key) if other not in todo]

    def exp(self, f: Function, x: Value) -> Value:
        return f.call(self.shape.vector, math.symbol("exp", self.shape.name, self.shape.lanes), x)

    def float_op(self, f: Function, operation: str, a: Value, b: Value) -> Value:
        return f.value(a.type, f"{operation} {a}, {b.text}")

    def larger(self, f: Function, a: Value, b: Value) -> Value:
        """The larger number; `b` if one is NaN."""
        bits = "i1" if a.type == self.shape.type else f"<{self.shape.lanes} x i1>"
        return f.select(f.value(bits, f"fcmp ogt {a}, {b.text}"), a, b)

    def halves(
        self, f: Function, x: Value, join: Callable[[Function, Value, Value], Value]
    ) -> Value:
        """All lanes of a vector as one number, halves joined first."""
        width = self.shape.lanes
        while width > 1:
            width //= 2
            order = [(i + width) % self.shape.lanes for i in range(self.shape.lanes)]
            mask = ", ".join(f"i32 {i}" for i in order)
            swapped = f.value(
                x.type, f"shufflevector {x}, {x}, <{self.shape.lanes} x i32> <{mask}>"
            )
            x = join(f, x, swapped)
        return self.first(f, x)

    def first(self, f: Function, x: Value) -> Value:
        """The first lane."""
        return f.value(self.shape.type, f"extractelement {x}, i64 0")

    def vectors_of(self, f: Function, count: Value) -> Value:
        """How many vectors hold so many elements."""
        lanes = self.shape.lanes
        return f.op("udiv", f.op("add", count, lanes - 1), lanes)

    # ------------------------------------------------------------------------------ rows

    def write_product(self) -> None:
        """`product(...)`, as `blocked`: a single row goes to the kernels for one where it can."""
        f = self.m.function("product", "void", "ptr", "ptr", "ptr", *["i64"] * 10, *["ptr"] * 4)
        a, b, c, m, n, k, _, col_a, row_b, col_b, *_ = f.parameters
        size, plain, by_rows = self.shape.size, f.new_label(), f.new_label()
        f.goto_if(f.compare("ne", m, 1), plain)
        f.goto_if(f.compare("eq", col_b, 1), by_rows)
        f.goto_if(f.compare("ne", row_b, 1), plain)
        f.goto_if(f.compare("ne", col_a, 1), plain)
        f.call("void", "dots", a, b, f.op("mul", col_b, size), c, k, n)
        f.ret()
        f.label(by_rows)
        f.call("void", "row", a, f.op("mul", col_a, size), b, f.op("mul", row_b, size), k, c, n)
        f.ret()
        f.label(plain)
        f.call("void", "blocked", *f.parameters)
        f.ret()

    def write_limit(self) -> None:
        """`limit(scores, keys, seen, scale, hidden) -> the largest`: the scores of one row.

        The first `seen` of `keys` are scaled; the others become `hidden`, and beyond them there is
        nothing.
        """
        s = self.shape
        f = self.m.function("limit", s.type, "ptr", "i64", "i64", s.type, s.type)
        scores, keys, seen, scale, hidden = f.parameters
        factor, behind = self.splat(f, scale), self.splat(f, hidden)
        nothing = self.splat(f, self.lowest)
        best = f.variable(s.vector, nothing)

        def keep(place: Value, value: Value) -> None:
            self.store_vector(f, value, place)
            f.store(self.larger(f, value, f.load(s.vector, best)), best)

        whole = f.op("udiv", seen, s.lanes)
        with f.loop(whole) as v:
            place = f.at(scores, f.op("mul", v, s.lanes * s.size))
            keep(place, self.float_op(f, "fmul", self.load_vector(f, place), factor))
        with f.loop(f.op("sub", self.vectors_of(f, keys), whole)) as rest:
            start = f.op("mul", f.op("add", whole, rest), s.lanes)
            place = self.item(f, scores, start)
            value = self.float_op(f, "fmul", self.load_vector(f, place), factor)
            there = self.first_lanes(f, f.op("sub", keys, start))
            visible = self.first_lanes(f, f.op("sub", seen, start))
            keep(place, f.select(visible, value, f.select(there, behind, nothing)))
        f.ret(self.halves(f, f.load(s.vector, best), self.larger))

    def write_weigh(self) -> None:
        """`weigh(scores, keys, top) -> their sum`: scores become exp(score - top)."""
        s = self.shape
        f = self.m.function("weigh", s.type, "ptr", "i64", s.type)
        scores, keys, top = f.parameters
        most, total = self.splat(f, top), f.variable(s.vector, self.zero)
        with f.loop(self.vectors_of(f, keys)) as v:
            place = f.at(scores, f.op("mul", v, s.lanes * s.size))
            weight = self.exp(f, self.float_op(f, "fsub", self.load_vector(f, place), most))
            self.store_vector(f, weight, place)
            f.store(self.float_op(f, "fadd", f.load(s.vector, total), weight), total)
        f.ret(
            self.halves(f, f.load(s.vector, total), lambda f, a, b: self.float_op(f, "fadd", a, b))
        )

    def write_rows(self) -> None:
        """`add_row(sums, new, factor, e)`: sums = sums * factor + new.

        `finish_row(out, sums, total, e)`: out = sums / total.
        """
        s = self.shape
        f = self.m.function("add_row", "void", "ptr", "ptr", s.type, "i64")
        sums, new, factor, e = f.parameters
        by = self.splat(f, factor)
        with f.loop(self.vectors_of(f, e)) as v:
            offset = f.op("mul", v, s.lanes * s.size)
            place = f.at(sums, offset)
            value = self.load_vector(f, f.at(new, offset))
            self.store_vector(f, self.fma(f, self.load_vector(f, place), by, value), place)
        f.ret()
        f = self.m.function("finish_row", "void", "ptr", "ptr", s.type, "i64")
        out, sums, total, e = f.parameters
        whole, by = f.op("udiv", e, s.lanes), self.splat(f, total)
        rest = f.op("urem", e, s.lanes)

        def quotient(offset: Value) -> Value:
            return self.float_op(f, "fdiv", self.load_vector(f, f.at(sums, offset)), by)

        with f.loop(whole) as v:
            offset = f.op("mul", v, s.lanes * s.size)
            self.store_vector(f, quotient(offset), f.at(out, offset))
        with f.when(f.compare("ne", rest, 0)):
            offset = f.op("mul", whole, s.lanes * s.size)
            mask = self.first_lanes(f, rest)
            self.store_lanes(f, quotient(offset), f.at(out, offset), mask)
        f.ret()

    # ------------------------------------------------------------------------------ blocks

    def clamped(self, f: Function, x: Value, most: Value) -> Value:
        """`x`, but at least 0 and at most `most`."""
        x = f.select(f.compare("sgt", x, 0), x, i64(0))
        return self.smaller(f, x, most)

    def environment(self, f: Function, env: Value) -> dict[str, Value]:
        """The arguments of the kernel by name."""
        pointers = ("q", "k", "v", "out")
        v = {name: f.load("ptr", env, 8 * i) for i, name in enumerate(pointers)}
        for i, name in enumerate(_NUMBERS, len(pointers)):
            v[name] = f.load("i64", env, 8 * i)
        for i, name in enumerate(("scale", "fill"), len(pointers) + len(_NUMBERS)):
            v[name] = f.load(self.shape.type, env, 8 * i)
        return v

    def memory(self, f: Function, scratch: Value) -> dict[str, Value]:
        """The arrays of a block."""
        rows, place, found = self.rows, f.at(scratch, self.scratch_bytes), {}
        for name, count in (
            ("scores", rows * self.pitch), ("new", rows * WIDEST), ("sums", rows * WIDEST),
            ("tops", rows), ("totals", rows), ("factors", rows),
        ):  # fmt: skip
            found[name], place = place, f.at(place, count * self.shape.size)
        return found

    def write_block(self) -> None:
        """`block(env, lane, first, whole, scratch) -> again`: a block of rows, from `first` on.

        With `whole` no score is left out; `again` tells that it has to be so.
        """
        s = self.shape
        f = self.m.function("block_of_rows", "i1", "ptr", "i64", "i64", "i1", "ptr")
        env, lane, first, whole, scratch = f.parameters
        v = self.environment(f, env) | self.memory(f, scratch)
        v |= {"lane": lane, "first": first, "scratch": scratch}
        v["rows"] = self.smaller(f, f.op("sub", v["t"], first), self.rows)
        v["seen"] = f.op("add", f.op("add", first, v["offset"]), 1)  # keys that the first row sees
        reach = self.clamped(f, f.op("sub", f.op("add", v["seen"], v["rows"]), 1), v["s"])
        limit = f.select(whole, v["s"], reach)
        v["hidden"] = f.select(whole, v["fill"], self.lowest)
        with f.loop(v["rows"]) as r:
            f.store(self.lowest, self.item(f, v["tops"], r))
            f.store(Value(s.type, "0.0"), self.item(f, v["totals"], r))
            line = self.item(f, v["sums"], f.op("mul", r, WIDEST))
            with f.loop(self.vectors_of(f, v["e"])) as c:
                self.store_vector(f, self.zero, f.at(line, f.op("mul", c, s.lanes * s.size)))
        parts = f.op("udiv", f.op("add", limit, self.keys - 1), self.keys)
        with f.loop(parts) as part:
            v["start"] = f.op("mul", part, self.keys)
            v["keys"] = self.smaller(f, f.op("sub", limit, v["start"]), self.keys)
            self.some_keys(f, v)
        again = f.variable("i1", FALSE)
        least = self.float_op(f, "fadd", v["fill"], Value(s.type, f"{FAR}.0"))
        row = f.op("add", f.op("mul", lane, v["t"]), first)
        with f.loop(v["rows"]) as r:
            out = self.at(f, v["out"], f.op("add", row, r), v["e"])
            line = self.item(f, v["sums"], f.op("mul", r, WIDEST))
            f.call("void", "finish_row", out, line, self.number(f, v["totals"], r), v["e"])
            far = f.value("i1", f"fcmp ogt {self.number(f, v['tops'], r)}, {least.text}")
            f.store(f.select(far, f.load("i1", again), TRUE), again)
        partial = f.op("and", f.compare("slt", v["seen"], v["s"]), f.compare("eq", whole, 0))
        f.ret(f.op("and", partial, f.load("i1", again)))

    def number(self, f: Function, array: Value, index: Value) -> Value:
        return f.load(self.shape.type, self.item(f, array, index))

    def product(self, f: Function, scratch: Value, *operands: Value) -> None:
        """`tile` of operands with strides."""
        f.call("void", "product", *operands, i64(DEPTH), i64(0), scratch, NULL, NULL, NULL)

    def some_keys(self, f: Function, v: dict[str, Value]) -> None:
        """Add what some of the keys contribute to a block of rows."""
        s, keys = self.shape, v["keys"]
        kv_lane = f.op("udiv", v["lane"], v["group"])
        q = self.at(f, self.at(f, v["q"], v["lane"], v["lane_q"]), v["first"], v["row_q"])
        k = self.at(f, self.at(f, v["k"], kv_lane, v["lane_k"]), v["start"], v["row_k"])
        values = self.at(f, self.at(f, v["v"], kv_lane, v["lane_v"]), v["start"], v["row_v"])
        pitch = i64(self.pitch)
        self.product(
            f, v["scratch"], q, k, v["scores"], v["rows"], keys, v["d"],
            v["row_q"], v["col_q"], v["col_k"], v["row_k"], pitch,
        )  # fmt: skip
        with f.loop(v["rows"]) as r:
            line = self.at(f, v["scores"], r, pitch)
            seen = f.op("sub", f.op("add", v["seen"], r), v["start"])
            seen = self.clamped(f, seen, keys)
            best = f.call(s.type, "limit", line, keys, seen, v["scale"], v["hidden"])
            tops, totals = self.item(f, v["tops"], r), self.item(f, v["totals"], r)
            old = f.load(s.type, tops)
            top = self.larger(f, best, old)
            none = f.value("i1", f"fcmp oeq {top}, {self.lowest.text}")
            base = f.select(none, Value(s.type, "0.0"), top)
            change = self.splat(f, self.float_op(f, "fsub", old, base))
            factor = self.first(f, self.exp(f, change))
            total = f.call(s.type, "weigh", line, keys, base)
            before = self.float_op(f, "fmul", f.load(s.type, totals), factor)
            f.store(self.float_op(f, "fadd", before, total), totals)
            f.store(top, tops)
            f.store(factor, self.item(f, v["factors"], r))
        self.product(
            f, v["scratch"], v["scores"], values, v["new"], v["rows"], v["e"], keys,
            pitch, i64(1), v["row_v"], v["col_v"], i64(WIDEST),
        )  # fmt: skip
        with f.loop(v["rows"]) as r:
            at = f.op("mul", r, WIDEST)
            sums, new = self.item(f, v["sums"], at), self.item(f, v["new"], at)
            f.call("void", "add_row", sums, new, self.number(f, v["factors"], r), v["e"])

    # ------------------------------------------------------------------------------ tasks

    def write_tasks(self) -> None:
        """`tasks(env, begin, end)`: some blocks, those that see most keys first."""
        f = self.m.function("tasks", "void", "ptr", "i64", "i64")
        env, begin, end = f.parameters
        v = self.environment(f, env)
        blocks = self.blocks(f, v["t"])
        with self.scratch.held(f) as scratch, f.loop(f.op("sub", end, begin)) as k:
            task = f.op("add", begin, k)
            lane, turn = f.op("urem", task, v["lanes"]), f.op("udiv", task, v["lanes"])
            first = f.op("mul", f.op("sub", f.op("sub", blocks, 1), turn), self.rows)
            again = f.call("i1", "block_of_rows", env, lane, first, FALSE, scratch)
            with f.when(again):
                f.call("i1", "block_of_rows", env, lane, first, TRUE, scratch)
        f.ret()

    def blocks(self, f: Function, rows: Value) -> Value:
        return f.op("udiv", f.op("add", rows, self.rows - 1), self.rows)

    def write_entry(self) -> None:
        """`pb_attention_T`: see the module."""
        numbers, kind = ["i64"] * len(_NUMBERS), self.shape.type
        name = f"pb_attention_{self.shape.name}"
        f = self.m.function(name, "void", *["ptr"] * 4, *numbers, kind, kind, exported=True)
        env = f.words(f.parameters)
        lanes, t = f.parameters[4], f.parameters[4 + _NUMBERS.index("t")]
        count = f.op("mul", lanes, self.blocks(f, t))
        f.call("void", "pb_parallel_for", Value("ptr", "@tasks"), env, count, i64(1))
        f.ret()


def module_text(symbol: str, bits: int) -> tuple[str, list[str]]:
    """LLVM text of the module that defines a kernel, and the symbols that it needs."""
    module = _Writer(shape_of(symbol.rsplit("_", 1)[1], bits)).m
    return module.text(), module.undefined
