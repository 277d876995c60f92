"""How `dot_general` multiplies matrices of narrow numbers: what is exact, what this machine has.

Sums of products of small integers are exact in float32 or float64, for which there are matrix
kernels.  Bytes and bfloat16 go to tile registers or vectors of dot products where the machine has
them (`llvm.tile_kernels`), and bfloat16 else to the kernels for float32.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from pullback.core import dtypes

__all__ = ["by_tiles", "exact_floats", "tile_kernel"]

_SIGNIFICANT: Final = ((dtypes.float32, 24), (dtypes.float64, 53))
"""Bits of the integers that floats hold exactly."""
_BYTES: Final = {np.dtype(np.int8): "s8", np.dtype(np.uint8): "u8"}
_TILE_WORK: Final = 1 << 15
_TILE_SIDE: Final = 8
"""With fewer rows or columns most of a tile would be empty."""


def exact_floats(lhs: Any, rhs: Any, depth: int) -> Any:
    """The floats in which sums of `depth` products of these integers are exact, or None."""
    if dtypes.kind_of(lhs) not in "iu" or dtypes.kind_of(rhs) not in "iu":
        return None
    largest = depth * math.prod(max(-int(i.min), int(i.max)) for i in map(dtypes.iinfo, (lhs, rhs)))
    fitting = (dtype for dtype, bits in _SIGNIFICANT if largest <= 2**bits)
    return next(fitting, None)


def tile_kernel(
    b: Any, lhs: Any, rhs: Any, sums: Any, rows: int, columns: int, depth: int
) -> str | None:
    """The symbol of the kernel for tile registers, if there is one and it is worth its packing."""
    if min(rows, columns) < _TILE_SIDE or rows * columns * depth < _TILE_WORK:
        return None
    if lhs == rhs == dtypes.bfloat16 and sums == dtypes.float32:
        symbol = "pb_tiles_bf16"
    elif lhs in _BYTES and rhs in _BYTES and depth < 2**31 // 2**16:
        symbol = f"pb_tiles_{_BYTES[lhs]}{_BYTES[rhs]}"
    else:
        return None
    return symbol if b.has(symbol) else None


def by_tiles(b: Any, symbol: str, lhs: Any, rhs: Any, lanes: int, m: int, n: int, k: int) -> Any:
    """A tensor `[lanes, m, n]` of int32 or float32 from matrices (`contractions.Matrix`)."""
    narrow = symbol == "pb_tiles_bf16"
    out = b.buffer((lanes, m, n), np.float32 if narrow else np.int32)
    tiles = (-(-m // 16) + -(-n // 16)) * -(-k // (32 if narrow else 64))
    scratch = b.buffer((1024 * lanes * tiles,), np.int8)
    numbers = (
        lanes, lhs.lane, rhs.lane, m * n,
        m, n, k,
        lhs.row, lhs.column, rhs.row, rhs.column, n,
    )  # fmt: skip
    b.call(symbol, lhs.buffer, rhs.buffer, out, scratch, *map(np.int64, numbers))
    return out
