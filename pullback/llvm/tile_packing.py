"""What kernels for narrow numbers share: packing into tiles of 1 KiB, and how work is cut.

A tile of the left operand has 16 rows of 64 bytes, neighbours along k.  A tile of the right operand
has 16 lines, each of 16 columns, as many numbers of a column side by side as fill a word of 32
bits.  What lies beyond an edge is zero.
"""

from __future__ import annotations

from typing import Final

from pullback.llvm.entry_ir import Function, Module, Value, i64
from pullback.llvm.squares import transposed

__all__ = ["LINE", "SIDE", "TILE", "WORD", "TilePacking"]

SIDE: Final = 16
LINE: Final = 64
"""Bytes of a row of a tile."""
WORD: Final = 4
TILE: Final = 1024
"""Bytes of a tile."""
_LEFT, _RIGHT = 0, 1


class TilePacking:
    """Writes the functions around `square`, which multiplies two strips of tiles.

    `size` is that of a number in bytes, `grain` the products of a task.
    """

    def __init__(self, name: str, size: int, grain: int) -> None:
        self.m = Module()
        self.name, self.size, self.grain = name, size, grain
        self.depth = LINE // size
        self.parts = WORD // size

    def write_all(self) -> None:
        """All functions of the module."""
        for turned in (False, True):
            self.write_lines(turned)
            self.write_steps(turned)
        self.write_slow()
        self.write_pack_tile()
        self.write_pack_tasks()
        self.write_square()
        self.write_tasks()
        self.write_entry()

    def write_square(self) -> None:
        """`square(a, b, blocks, c, row_c, rows, columns)`: up to 32 rows and columns."""
        raise NotImplementedError

    def packed_left(self, f: Function, tile: Value) -> None:
        """What is done to a tile of the left operand once it is packed."""

    def begin_tasks(self, f: Function) -> None:
        """What a thread does before its squares."""

    def end_tasks(self, f: Function) -> None:
        """What it does after them."""

    def finish(self, f: Function, words: list[Value], dst: Value, turned: bool) -> None:
        """Store a square of words, perhaps transposed."""
        if turned:
            words = transposed(f, words)
        for i, vector in enumerate(words):
            f.emit(f"store {vector}, {f.at(dst, i * LINE)}, align 64")
        f.ret()

    def write_lines(self, turned: bool) -> None:
        """`lines(dst, src, line)`: 16 lines, each of neighbours along k."""
        name = "lines_turned" if turned else "lines"
        f = self.m.function(name, "void", "ptr", "ptr", "i64")
        dst, src, line = f.parameters
        kind, words = f"<{SIDE} x i32>", []
        for _ in range(SIDE):
            words.append(f.value(kind, f"load {kind}, {src}, align 1"))
            src = f.item(src, line, self.size)
        self.finish(f, words, dst, turned)

    def write_steps(self, turned: bool) -> None:
        """`steps(dst, src, step)`: as many steps along k as fill a tile, each of 16 neighbours."""
        name = "steps_turned" if turned else "steps"
        f = self.m.function(name, "void", "ptr", "ptr", "i64")
        dst, src, step = f.parameters
        words = []
        for _ in range(SIDE):
            steps = []
            for _ in range(self.parts):
                kind = f"<{SIDE} x i{8 * self.size}>"
                steps.append(f.value(kind, f"load {kind}, {src}, align 1"))
                src = f.item(src, step, self.size)
            while len(steps) > 2:
                steps = [self.joined(f, *steps[i : i + 2]) for i in range(0, len(steps), 2)]
            count = SIDE * self.parts
            mixed = (part * SIDE + line for line in range(SIDE) for part in range(self.parts))
            mask = ", ".join(f"i32 {p}" for p in mixed)
            word = f.value(
                f"<{count} x i{8 * self.size}>",
                f"shufflevector {steps[0]}, {steps[1]}, <{count} x i32> <{mask}>",
            )
            words.append(f.convert("bitcast", word, f"<{SIDE} x i32>"))
        self.finish(f, words, dst, turned)

    def joined(self, f: Function, x: Value, y: Value) -> Value:
        """Two vectors of a step one behind the other."""
        mask = ", ".join(f"i32 {p}" for p in range(2 * SIDE))
        kind = f"<{2 * SIDE} x i{8 * self.size}>"
        return f.value(kind, f"shufflevector {x}, {y}, <{2 * SIDE} x i32> <{mask}>")

    def write_slow(self) -> None:
        """`slow(dst, src, line, step, lines, depth, side)`: a tile at an edge, number by number."""
        f = self.m.function("slow", "void", "ptr", "ptr", *["i64"] * 5)
        dst, src, line, step, lines, depth, side = f.parameters
        f.call("void", "llvm.memset.p0.i64", dst, Value("i8", "0"), i64(TILE), Value("i1", "false"))
        right, kind = f.compare("eq", side, _RIGHT), f"i{8 * self.size}"
        with f.loop(depth) as k, f.loop(lines) as j:
            word = f.item(dst, f.op("udiv", k, self.parts), LINE)
            place = f.item(f.item(word, j, WORD), f.op("urem", k, self.parts), self.size)
            plain = f.item(f.item(dst, j, LINE), k, self.size)
            far = f.op("add", f.op("mul", j, line), f.op("mul", k, step))
            number = f.load(kind, f.item(src, far, self.size))
            f.store(number, f.select(right, place, plain))
        f.ret()

    def write_pack_tile(self) -> None:
        """`pack_tile(dst, src, line, step, lines, depth, side)`"""
        f = self.m.function("pack_tile", "void", "ptr", "ptr", *["i64"] * 5)
        dst, src, line, step, lines, depth, side = f.parameters
        slow = f.new_label()
        f.goto_if(f.compare("slt", lines, SIDE), slow)
        f.goto_if(f.compare("slt", depth, self.depth), slow)
        for near, far, name in ((step, line, "lines"), (line, step, "steps")):
            with f.when(f.compare("eq", near, 1)):
                as_is = _LEFT if name == "lines" else _RIGHT
                with f.when(f.compare("eq", side, as_is)):
                    f.call("void", name, dst, src, far)
                    f.ret()
                f.call("void", f"{name}_turned", dst, src, far)
                f.ret()
        f.label(slow)
        f.call("void", "slow", *f.parameters)
        f.ret()

    def write_pack_tasks(self) -> None:
        """`pack_tasks(env, begin, end)`: some of the strips of 16 rows or columns of all lanes."""
        f = self.m.function("pack_tasks", "void", "ptr", "i64", "i64")
        env, begin, end = f.parameters
        src, dst = (f.load("ptr", env, 8 * i) for i in range(2))
        by_lane, extent, k, line, step, side = (f.load("i64", env, 8 * i) for i in range(2, 8))
        blocks, strips = self.blocks(f, k, self.depth), self.blocks(f, extent, SIDE)
        with f.loop(f.op("sub", end, begin)) as t, f.loop(blocks) as q:
            strip = f.op("add", t, begin)
            lane = f.item(src, f.op("mul", f.op("udiv", strip, strips), by_lane), self.size)
            first = f.op("mul", f.op("urem", strip, strips), SIDE)
            depth = f.op("mul", q, self.depth)
            target = f.item(dst, f.op("add", f.op("mul", strip, blocks), q), TILE)
            start = f.op("add", f.op("mul", first, line), f.op("mul", depth, step))
            source = f.item(lane, start, self.size)
            lines = self.smaller(f, f.op("sub", extent, first), SIDE)
            deep = self.smaller(f, f.op("sub", k, depth), self.depth)
            f.call("void", "pack_tile", target, source, line, step, lines, deep, side)
            with f.when(f.compare("eq", side, _LEFT)):
                self.packed_left(f, target)
        f.ret()

    def blocks(self, f: Function, n: Value, size: int) -> Value:
        return f.op("udiv", f.op("add", n, size - 1), size)

    def smaller(self, f: Function, a: Value, b: int) -> Value:
        return f.select(f.compare("slt", a, b), a, i64(b))

    # ------------------------------------------------------------------------------ products

    def write_tasks(self) -> None:
        """`tasks(env, begin, end)`: some squares of the result."""
        f = self.m.function("tasks", "void", "ptr", "i64", "i64")
        env, begin, end = f.parameters
        a, b, c = (f.load("ptr", env, 8 * i) for i in range(3))
        m, n, k, row_c, lane_c = (f.load("i64", env, 8 * i) for i in range(3, 8))
        blocks, across = self.blocks(f, k, self.depth), self.blocks(f, n, 2 * SIDE)
        down = self.blocks(f, m, 2 * SIDE)
        high, wide = (f.op("mul", self.blocks(f, x, SIDE), blocks) for x in (m, n))
        self.begin_tasks(f)
        with f.loop(f.op("sub", end, begin)) as t:
            task = f.op("add", t, begin)
            line, square = f.op("udiv", task, across), f.op("urem", task, across)
            lane = f.op("udiv", line, down)
            row = f.op("mul", f.op("urem", line, down), 2 * SIDE)
            column = f.op("mul", square, 2 * SIDE)
            left, right = (
                f.item(x, f.op("add", f.op("mul", lane, whole), self.strip(f, i, blocks)), TILE)
                for x, whole, i in ((a, high, row), (b, wide, column))
            )
            start = f.op("add", f.op("mul", lane, lane_c), f.op("mul", row, row_c))
            place = f.item(f.item(c, start, 4), column, 4)
            sizes = f.op("sub", m, row), f.op("sub", n, column)
            f.call("void", "square", left, right, blocks, place, row_c, *sizes)
        self.end_tasks(f)
        f.ret()

    def strip(self, f: Function, first: Value, blocks: Value) -> Value:
        """Tiles before the strip of a row or column."""
        return f.op("mul", f.op("udiv", first, SIDE), blocks)

    def parallel(
        self, f: Function, task: str, values: list[Value], count: Value, work: Value
    ) -> None:
        env = f.words(values)
        grain = f.op("add", f.op("udiv", i64(self.grain), f.op("or", work, 1)), 1)
        f.call("void", "pb_parallel_for", Value("ptr", f"@{task}"), env, count, grain)

    def write_entry(self) -> None:
        """The kernel: operands of all lanes are packed, and then multiplied."""
        f = self.m.function(self.name, "void", *["ptr"] * 4, *["i64"] * 12, exported=True)
        a, b, c, scratch, lanes, la, lb, lc, m, n, k, row_a, col_a, row_b, col_b, row_c = (
            f.parameters
        )
        high, wide = (f.op("mul", lanes, self.blocks(f, x, SIDE)) for x in (m, n))
        blocks = self.blocks(f, k, self.depth)
        right = f.item(scratch, f.op("mul", high, blocks), TILE)
        packing = f.op("mul", blocks, 64 * TILE)
        left = [a, scratch, la, m, k, row_a, col_a, i64(_LEFT)]
        self.parallel(f, "pack_tasks", left, high, packing)
        other = [b, right, lb, n, k, col_b, row_b, i64(_RIGHT)]
        self.parallel(f, "pack_tasks", other, wide, packing)
        area = f.op("mul", self.blocks(f, m, 2 * SIDE), self.blocks(f, n, 2 * SIDE))
        values = [scratch, right, c, m, n, k, row_c, lc]
        work = f.op("mul", k, 4 * SIDE * SIDE)
        self.parallel(f, "tasks", values, f.op("mul", lanes, area), work)
        f.ret()
