"""Products of narrow numbers on the tile registers of a processor (Intel AMX), as LLVM text.

    void pb_tiles_AB(T *a, T *b, W *c, i8 *scratch,
                     i64 lanes, i64 lane_a, i64 lane_b, i64 lane_c,
                     i64 m, i64 n, i64 k,
                     i64 row_a, i64 col_a, i64 row_b, i64 col_b, i64 row_c)

computes `c[l] = a[l] @ b[l]` for each lane, as `pb_gemm_T` does: exactly, in 32-bit integers, for A
and B of s8, u8; in float32 for AB = bf16, where subnormal numbers count as zero.  `scratch` holds
both operands of a lane, their sizes rounded up: m and n to 16, k to what fills 64 bytes.

Operands are first packed into tiles of 1 KiB.  A tile of the left one has 16 rows of 64 bytes; one
of the right operand has 16 columns, as many numbers of each as fill a word side by side.  Squares
of four tiles of the result are then summed in registers, along all of k, so that threads change
nothing.  Only machines for which `jit.tile_types()` names the numbers have these kernels.
"""

from __future__ import annotations

from typing import Final

from pullback.llvm import jit
from pullback.llvm.entry_ir import Function, Module, Value, i64
from pullback.llvm.squares import transposed
from pullback.llvm.tile_convolutions import write_convolutions

__all__ = ["KERNELS", "available", "module_text"]

SIDE: Final = 16
LINE: Final = 64
"""Bytes of a row of a tile."""
WORD: Final = 4
TILE: Final = 1024
"""Bytes of a tile."""
GRAIN: Final = 4_000_000
"""Products of a task."""
_PRODUCTS: Final = {
    "s8s8": "tdpbssd", "u8u8": "tdpbuud", "s8u8": "tdpbsud", "u8s8": "tdpbusd",
    "bf16": "tdpbf16ps",
}  # fmt: skip
_DIRECT: Final = "pb_tiles_direct_bf16"
KERNELS: Final = (*(f"pb_tiles_{name}" for name in _PRODUCTS), _DIRECT)
_LEFT, _RIGHT = 0, 1


class _Writer:
    """Writes the functions of one pair of types."""

    def __init__(self, name: str) -> None:
        self.m = Module()
        self.product = f"llvm.x86.{_PRODUCTS[name]}"
        self.size = 2 if name == "bf16" else 1
        self.depth = LINE // self.size
        self.parts = WORD // self.size
        config = [1, *[0] * 15, *[LINE, 0] * 8, *[0] * 16, *[SIDE] * 8, *[0] * 8]
        bytes_ = ", ".join(f"i8 {b}" for b in config)
        self.config = self.m.variable("pb_tiles_config", "[64 x i8]", f"[ {bytes_} ]")
        for turned in (False, True):
            self.write_lines(turned)
            self.write_steps(turned)
        self.write_slow()
        self.write_pack_tile()
        self.write_pack_tasks()
        self.write_square()
        self.write_tasks()
        self.write_lane()
        self.write_entry(f"pb_tiles_{name}")
        if name == "bf16":
            write_convolutions(self.m, self.config)

    # ------------------------------------------------------------------------------ packing

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
        """`pack_tasks(env, begin, end)`: some of the strips of 16 rows or columns."""
        f = self.m.function("pack_tasks", "void", "ptr", "i64", "i64")
        env, begin, end = f.parameters
        src, dst = (f.load("ptr", env, 8 * i) for i in range(2))
        extent, k, line, step, side = (f.load("i64", env, 8 * i) for i in range(2, 7))
        blocks = self.blocks(f, k, self.depth)
        with f.loop(f.op("sub", end, begin)) as t, f.loop(blocks) as q:
            strip = f.op("add", t, begin)
            first, depth = f.op("mul", strip, SIDE), f.op("mul", q, self.depth)
            target = f.item(dst, f.op("add", f.op("mul", strip, blocks), q), TILE)
            start = f.op("add", f.op("mul", first, line), f.op("mul", depth, step))
            source = f.item(src, start, self.size)
            lines = self.smaller(f, f.op("sub", extent, first), SIDE)
            deep = self.smaller(f, f.op("sub", k, depth), self.depth)
            f.call("void", "pack_tile", target, source, line, step, lines, deep, side)
        f.ret()

    def blocks(self, f: Function, n: Value, size: int) -> Value:
        return f.op("udiv", f.op("add", n, size - 1), size)

    def smaller(self, f: Function, a: Value, b: int) -> Value:
        return f.select(f.compare("slt", a, b), a, i64(b))

    # ------------------------------------------------------------------------------ products

    def tile(self, f: Function, name: str, number: int, *rest: Value) -> None:
        f.call("void", f"llvm.x86.{name}", Value("i8", str(number)), *rest)

    def write_square(self) -> None:
        """`square(a, b, blocks, c, row_c, rows, columns)`: up to 32 rows and columns.

        Tiles 0 to 3 are sums; strips that do not exist repeat the first.
        """
        f = self.m.function("square", "void", "ptr", "ptr", "i64", "ptr", "i64", "i64", "i64")
        a, b, blocks, c, row_c, rows, columns = f.parameters
        strip, width = f.op("mul", blocks, TILE), i64(LINE)
        below = f.select(f.compare("sgt", rows, SIDE), strip, i64(0))
        beside = f.select(f.compare("sgt", columns, SIDE), strip, i64(0))
        for number in range(4):
            self.tile(f, "tilezero", number)
        with f.loop(blocks) as q:
            left, right = f.item(a, q, TILE), f.item(b, q, TILE)
            self.tile(f, "tileloadd64", 4, left, width)
            self.tile(f, "tileloadd64", 6, right, width)
            self.tile(f, "tileloadd64", 5, f.at(left, below), width)
            self.tile(f, "tileloadd64", 7, f.at(right, beside), width)
            for number, (x, y) in enumerate(((4, 6), (4, 7), (5, 6), (5, 7))):
                operands = (Value("i8", str(i)) for i in (number, x, y))
                f.call("void", self.product, *operands)
        edge = f.space(f"[{TILE} x i8]")
        for number in range(4):
            high, wide = (
                f.op("sub", size, SIDE * part)
                for size, part in ((rows, number // 2), (columns, number % 2))
            )
            place = f.at(f.item(c, f.op("mul", row_c, SIDE * (number // 2)), 4), 64 * (number % 2))
            full = f.op("and", f.compare("sge", high, SIDE), f.compare("sge", wide, SIDE))
            narrow, done = f.new_label(), f.new_label()
            f.goto_unless(full, narrow)
            self.tile(f, "tilestored64", number, place, f.op("mul", row_c, 4))
            f.goto(done)
            f.label(narrow)
            self.tile(f, "tilestored64", number, edge, width)
            with f.loop(self.smaller(f, high, SIDE)) as i, f.loop(self.smaller(f, wide, SIDE)) as j:
                value = f.load("i32", f.at(f.item(edge, j, 4), f.op("mul", i, LINE)))
                f.store(value, f.item(f.item(place, f.op("mul", i, row_c), 4), j, 4))
            f.label(done)
        f.ret()

    def write_tasks(self) -> None:
        """`tasks(env, begin, end)`: some squares of the result."""
        f = self.m.function("tasks", "void", "ptr", "i64", "i64")
        env, begin, end = f.parameters
        a, b, c = (f.load("ptr", env, 8 * i) for i in range(3))
        m, n, k, row_c = (f.load("i64", env, 8 * i) for i in range(3, 7))
        blocks, across = self.blocks(f, k, self.depth), self.blocks(f, n, 2 * SIDE)
        f.call("void", "llvm.x86.ldtilecfg", self.config)
        with f.loop(f.op("sub", end, begin)) as t:
            task = f.op("add", t, begin)
            row = f.op("mul", f.op("udiv", task, across), 2 * SIDE)
            column = f.op("mul", f.op("urem", task, across), 2 * SIDE)
            strips = [f.op("mul", f.op("udiv", i, SIDE), blocks) for i in (row, column)]
            left, right = (f.item(x, s, TILE) for x, s in zip((a, b), strips, strict=True))
            place = f.item(f.item(c, f.op("mul", row, row_c), 4), column, 4)
            sizes = f.op("sub", m, row), f.op("sub", n, column)
            f.call("void", "square", left, right, blocks, place, row_c, *sizes)
        f.call("void", "llvm.x86.tilerelease")
        f.ret()

    def parallel(
        self, f: Function, task: str, values: list[Value], count: Value, work: Value
    ) -> None:
        env = f.words(values)
        grain = f.op("add", f.op("udiv", i64(GRAIN // self.size), f.op("or", work, 1)), 1)
        f.call("void", "pb_parallel_for", Value("ptr", f"@{task}"), env, count, grain)

    def write_lane(self) -> None:
        """`lane(a, b, c, scratch, m, n, k, row_a, col_a, row_b, col_b, row_c)`"""
        f = self.m.function("lane", "void", *["ptr"] * 4, *["i64"] * 8)
        a, b, c, scratch, m, n, k, row_a, col_a, row_b, col_b, row_c = f.parameters
        strips, blocks = self.blocks(f, m, SIDE), self.blocks(f, k, self.depth)
        right = f.item(scratch, f.op("mul", strips, blocks), TILE)
        packing = f.op("mul", blocks, 64 * TILE)
        left = [a, scratch, m, k, row_a, col_a, i64(_LEFT)]
        self.parallel(f, "pack_tasks", left, strips, packing)
        other = [b, right, n, k, col_b, row_b, i64(_RIGHT)]
        self.parallel(f, "pack_tasks", other, self.blocks(f, n, SIDE), packing)
        squares = f.op("mul", self.blocks(f, m, 2 * SIDE), self.blocks(f, n, 2 * SIDE))
        values = [scratch, right, c, m, n, k, row_c]
        self.parallel(f, "tasks", values, squares, f.op("mul", k, 4 * SIDE * SIDE))
        f.ret()

    def write_entry(self, name: str) -> None:
        f = self.m.function(name, "void", *["ptr"] * 4, *["i64"] * 12, exported=True)
        a, b, c, scratch, lanes, la, lb, lc, *sizes = f.parameters
        with f.loop(lanes) as i:
            places = [f.item(x, f.op("mul", i, by), self.size) for x, by in ((a, la), (b, lb))]
            f.call("void", "lane", *places, f.item(c, f.op("mul", i, lc), 4), scratch, *sizes)
        f.ret()


def available() -> frozenset[str]:
    """Those of `KERNELS` that this machine has."""
    return frozenset(k for k in KERNELS if k.rsplit("_", 1)[1] in jit.tile_types())


def module_text(symbol: str, _bits: int) -> tuple[str, list[str]]:
    """LLVM text of the module that defines a kernel, and the symbols that it needs."""
    module = _Writer(symbol.rsplit("_", 1)[1]).m.only(symbol)
    return module.text(), module.undefined
