"""Products of narrow numbers on the tile registers of a processor (Intel AMX), as LLVM text.

    void pb_tiles_AB(T *a, T *b, W *c, i8 *scratch,
                     i64 lanes, i64 lane_a, i64 lane_b, i64 lane_c,
                     i64 m, i64 n, i64 k,
                     i64 row_a, i64 col_a, i64 row_b, i64 col_b, i64 row_c)

computes `c[l] = a[l] @ b[l]` for each lane, as `pb_gemm_T` does: exactly, in 32-bit integers, for A
and B of s8, u8; in float32 for AB = bf16, where subnormal numbers count as zero.  `scratch` holds
both operands of all lanes, their sizes rounded up: m and n to 16, k to what fills 64 bytes.

Operands are first packed into tiles (`llvm.tile_packing`).  Squares of four tiles of the result are
then summed in registers, along all of k, so that threads change nothing.  Only machines for which
`jit.tile_types()` names the numbers have tile registers; those that `jit.has_byte_products()` have
the same kernels for bytes in `llvm.dot_kernels`.
"""

from __future__ import annotations

from typing import Final

from pullback.llvm import jit
from pullback.llvm.dot_kernels import ByteProducts
from pullback.llvm.entry_ir import Function, Value, i64
from pullback.llvm.tile_convolutions import write_convolutions
from pullback.llvm.tile_packing import LINE, SIDE, TILE, TilePacking

__all__ = ["KERNELS", "available", "module_text"]

GRAIN: Final = 4_000_000
"""Bytes that a task multiplies."""
_PRODUCTS: Final = {
    "s8s8": "tdpbssd", "u8u8": "tdpbuud", "s8u8": "tdpbsud", "u8s8": "tdpbusd",
    "bf16": "tdpbf16ps",
}  # fmt: skip
_DIRECT: Final = "pb_tiles_direct_bf16"
KERNELS: Final = (*(f"pb_tiles_{name}" for name in _PRODUCTS), _DIRECT)


class _TileProducts(TilePacking):
    """Writes the functions of one pair of types."""

    def __init__(self, name: str) -> None:
        size = 2 if name == "bf16" else 1
        super().__init__(f"pb_tiles_{name}", size, GRAIN // size)
        self.product = f"llvm.x86.{_PRODUCTS[name]}"
        config = [1, *[0] * 15, *[LINE, 0] * 8, *[0] * 16, *[SIDE] * 8, *[0] * 8]
        bytes_ = ", ".join(f"i8 {b}" for b in config)
        self.config = self.m.variable("pb_tiles_config", "[64 x i8]", f"[ {bytes_} ]")
        self.write_all()
        if name == "bf16":
            write_convolutions(self.m, self.config)

    def begin_tasks(self, f: Function) -> None:
        """Tell the processor the sizes of tiles."""
        f.call("void", "llvm.x86.ldtilecfg", self.config)

    def end_tasks(self, f: Function) -> None:
        """Leave no tiles to whoever runs on this thread."""
        f.call("void", "llvm.x86.tilerelease")

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


def available() -> frozenset[str]:
    """Those of `KERNELS` that this machine has."""
    bytes_ = frozenset(_PRODUCTS) - {"bf16"} if jit.has_byte_products() else frozenset()
    return frozenset(k for k in KERNELS if k.rsplit("_", 1)[1] in bytes_.union(jit.tile_types()))


def module_text(symbol: str, _bits: int) -> tuple[str, list[str]]:
    """LLVM text of the module that defines a kernel, and the symbols that it needs."""
    name = symbol.rsplit("_", 1)[1]
    writer = _TileProducts(name) if name in jit.tile_types() else ByteProducts(name)
    module = writer.m.only(symbol)
    return module.text(), module.undefined
