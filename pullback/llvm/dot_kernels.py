"""Products of bytes by dot products of four (AVX-512 VNNI): `pb_tiles_AB` without tile registers.

An instruction multiplies the four bytes of each of 16 words by those of another, one without and
one with a sign, and adds the products to 16 numbers of 32 bits.  Where both operands have the same
kind of sign, the left one is packed with its upper bits flipped, as a number that is larger or
smaller by 128; sums then begin with 128 times those of the columns of the right operand, taken away
or added.  Sums may pass over the range of 32 bits on the way: what is right modulo 2**32 is right.

The intrinsic is described in Intel's Intrinsics Guide, `_mm512_dpbusd_epi32`.
"""

from __future__ import annotations

from typing import Final

from pullback.llvm.emit_types import splat
from pullback.llvm.entry_ir import Function, Value, i64
from pullback.llvm.tile_packing import LINE, SIDE, TILE, WORD, TilePacking

__all__ = ["ByteProducts"]

GRAIN: Final = 1_000_000
"""Products of a task."""
ROWS: Final = 8
"""Rows of a register block, of two vectors."""
UNROLLED: Final = 4
"""Words of a line that are multiplied before a loop turns."""
_VECTOR: Final = f"<{SIDE} x i32>"


def _every(word: int) -> Value:
    return Value(_VECTOR, splat(str(word), "i32", SIDE))


_FLIPPED: Final = _every(0x80808080)
_ONES: Final = _every(0x01010101)
_SHIFT: Final = 7
"""Sums of columns are multiplied by 128."""


class ByteProducts(TilePacking):
    """Writes the functions of one pair of types: `s8s8`, `s8u8`, `u8s8` or `u8u8`."""

    def __init__(self, name: str) -> None:
        super().__init__(f"pb_tiles_{name}", 1, GRAIN)
        left, right = name[:2], name[2:]
        self.flips = left == right
        self.right_has_sign = right == "s8"
        self.write_column_sums()
        self.write_block()
        self.write_all()

    def dot(self, f: Function, now: Value, left: Value, right: Value) -> Value:
        """`now` and the products of four bytes for each word; the first of them has no sign."""
        pair = (left, right) if self.right_has_sign else (right, left)
        return f.call(_VECTOR, "llvm.x86.avx512.vpdpbusd.512", now, *pair)

    def load(self, f: Function, place: Value) -> Value:
        return f.value(_VECTOR, f"load {_VECTOR}, {place}, align 4")

    def packed_left(self, f: Function, tile: Value) -> None:
        """Flip upper bits, if both operands have the same kind of sign."""
        if self.flips:
            with f.loop(i64(SIDE)) as i:
                line = f.item(tile, i, LINE)
                f.store(f.op("xor", self.load(f, line), _FLIPPED), line)

    def write_column_sums(self) -> None:
        """`column_sums(dst, b, words)`: with what sums of 16 columns begin."""
        f = self.m.function("column_sums", "void", "ptr", "ptr", "i64")
        dst, b, words = f.parameters
        total = f.variable(_VECTOR, Value(_VECTOR, "zeroinitializer"))
        if self.flips:
            with f.loop(words) as k:
                line = self.load(f, f.item(b, k, LINE))
                f.store(self.dot(f, f.load(_VECTOR, total), _ONES, line), total)
            larger = f.op("shl", f.load(_VECTOR, total), _every(_SHIFT))
            zero = Value(_VECTOR, "zeroinitializer")
            f.store(f.op("sub", zero, larger) if self.right_has_sign else larger, total)
        f.emit(f"store {f.load(_VECTOR, total)}, {dst}, align 64")
        f.ret()

    def write_block(self) -> None:
        """`block(a, b, beside, blocks, first, c, step)`: eight rows and 32 columns.

        The second 16 columns lie `beside` bytes behind the first, and rows of the result `step`.
        """
        f = self.m.function("block", "void", "ptr", "ptr", "i64", "i64", "ptr", "ptr", "i64")
        a, b, beside, blocks, first, c, step = f.parameters
        begin = [self.load(f, f.at(first, LINE * v)) for v in range(2)]
        sums = [[f.variable(_VECTOR, begin[v]) for v in range(2)] for _ in range(ROWS)]
        with f.loop(blocks) as q, f.loop(i64(SIDE // UNROLLED)) as part:
            words = f.op("mul", part, UNROLLED)
            left = f.item(f.item(a, q, TILE), words, WORD)
            right = f.item(f.item(b, q, TILE), words, LINE)
            for k in range(UNROLLED):
                line = f.at(right, k * LINE)
                vectors = [self.load(f, line), self.load(f, f.at(line, beside))]
                for i, row in enumerate(sums):
                    word = f.splat(f.load("i32", left, i * LINE + k * WORD), SIDE)
                    for vector, slot in zip(vectors, row, strict=True):
                        f.store(self.dot(f, f.load(_VECTOR, slot), word, vector), slot)
        for i, row in enumerate(sums):
            line = f.at(c, f.op("mul", step, i))
            for v, slot in enumerate(row):
                f.emit(f"store {f.load(_VECTOR, slot)}, {f.at(line, v * LINE)}, align 4")
        f.ret()

    def write_square(self) -> None:
        """`square(a, b, blocks, c, row_c, rows, columns)`: up to 32 rows and columns.

        Strips that do not exist repeat the first.
        """
        f = self.m.function("square", "void", "ptr", "ptr", "i64", "ptr", "i64", "i64", "i64")
        a, b, blocks, c, row_c, rows, columns = f.parameters
        strip = f.op("mul", blocks, TILE)
        beside = f.select(f.compare("sgt", columns, SIDE), strip, i64(0))
        first, edge = (f.space(f"[{2 * n} x {_VECTOR}]") for n in (1, ROWS))
        for v, by in enumerate((i64(0), beside)):
            words = f.op("mul", blocks, SIDE)
            f.call("void", "column_sums", f.at(first, v * LINE), f.at(b, by), words)
        masks = [f.first_lanes(f.op("sub", columns, v * SIDE), SIDE) for v in range(2)]
        high = self.smaller(f, rows, 2 * SIDE)
        step = f.op("mul", row_c, WORD)
        with f.loop(self.blocks(f, high, ROWS)) as part:
            top = f.op("mul", part, ROWS)
            tile = f.op("mul", f.op("udiv", top, SIDE), strip)
            left = f.item(f.at(a, tile), f.op("urem", top, SIDE), LINE)
            count = self.smaller(f, f.op("sub", high, top), ROWS)
            place = f.at(c, f.op("mul", top, step))
            full = f.op(
                "and", f.compare("eq", count, ROWS), f.compare("sge", columns, 2 * SIDE)
            )  # fmt: skip
            target = f.select(full, place, edge)
            target_step = f.select(full, step, i64(2 * LINE))
            f.call("void", "block", left, b, beside, blocks, first, target, target_step)
            with f.loop(f.select(full, i64(0), count)) as i:
                line, out = f.item(edge, i, 2 * LINE), f.at(place, f.op("mul", i, step))
                for v, mask in enumerate(masks):
                    self.copy_part(f, f.at(line, v * LINE), f.at(out, v * LINE), mask)
        f.ret()

    def copy_part(self, f: Function, source: Value, target: Value, mask: Value) -> None:
        """Those of 16 sums whose columns exist."""
        name = "llvm.masked.store.v16i32.p0"
        self.m.declare(name, "void", (_VECTOR, "ptr", mask.type))
        place = f"ptr align 4 {target.text}"
        f.emit(f"call void @{name}({self.load(f, source)}, {place}, {mask})")
