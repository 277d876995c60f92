"""Products for the threads: what kernels of matrices and of few rows have in common.

A few long sums have too few elements for all threads.  They are cut into pieces, by their shape
alone, and the pieces are added in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pullback.llvm.entry_ir import Function, Value, i64
from pullback.llvm.gemm_packing import Packing

__all__ = ["FEW_SUMS", "PARALLEL_WORK", "PIECES", "PIECE_UNIT", "Sums"]

PARALLEL_WORK: Final = 400_000
"""Multiplications from which waking up the pool pays."""
FEW_SUMS: Final = 4096
"""Elements of a result with too few tiles for all threads, where its sums may be cut instead."""
LONG_SUM: Final = 2048
"""Terms of a sum that may be cut, at least."""
PIECES: Final = 8
"""Pieces of a long sum, however many threads there are."""
PIECE_UNIT: Final = 16
"""Terms of a piece are a multiple; what is left over, one at least, is one more, short piece."""


class Sums(Packing):
    """Writes how products are cut."""

    def long_sums(
        self,
        f: Function,
        name: str,
        lanes: Value,
        pointers: Sequence[Value],
        numbers: Sequence[Value],
        most: Value,
    ) -> None:
        """Return at once if these are a few long sums: pieces of them are added, in order.

        There are `most` sums then, or fewer.  The pieces are lanes of a product of their own.  They
        depend on shapes alone.
        """
        a, b, c = pointers
        m, n, k, ra, ca, rb, cb, rc = numbers[3:11]
        size, area, otherwise = self.shape.size, f.op("mul", m, n), f.new_label()
        work = f.op("mul", area, k)
        f.goto_if(f.compare("ne", lanes, 1), otherwise)
        f.goto_if(f.compare("sgt", area, most), otherwise)
        f.goto_if(f.compare("slt", k, LONG_SUM), otherwise)
        f.goto_if(f.compare("slt", work, 2 * PARALLEL_WORK), otherwise)
        deep = f.op("and", f.op("udiv", f.op("sub", k, 1), PIECES), -PIECE_UNIT)
        done = f.op("mul", deep, PIECES)
        rest = f.op("sub", k, done)
        sums = f.call("ptr", "malloc", f.op("mul", area, (PIECES + 1) * size))
        strides = (ra, ca, rb, cb, n)
        left, right = f.op("mul", deep, ca), f.op("mul", deep, rb)
        shape = (m, n)
        f.call("void", name, a, b, sums, i64(PIECES), left, right, area, *shape, deep, *strides)
        last = self.at(f, sums, i64(PIECES), area)
        a, b = self.at(f, a, done, ca), self.at(f, b, done, rb)
        f.call("void", name, a, b, last, i64(1), *[i64(0)] * 3, *shape, rest, *strides)
        self.add_pieces(f, sums, area, (m, n), (c, rc))
        f.call("void", "free", sums)
        f.ret()
        f.label(otherwise)

    def add_pieces(
        self,
        f: Function,
        sums: Value,
        area: Value,
        shape: tuple[Value, Value],
        result: tuple[Value, Value],
    ) -> None:
        """The sum of matrices that follow one another in memory."""
        s, (m, n), (c, row_c) = self.shape, shape, result
        total = f.variable(s.type, Value(s.type, "0.0"))
        with f.loop(m) as i, f.loop(n) as j:
            place = self.item(f, self.at(f, sums, i, n), j)
            f.store(f.load(s.type, place), total)
            for piece in range(1, PIECES + 1):
                term = f.load(s.type, self.item(f, place, f.op("mul", area, piece)))
                now = f.load(s.type, total)
                f.store(f.value(s.type, f"fadd {now}, {term.text}"), total)
            f.store(f.load(s.type, total), self.item(f, self.at(f, c, i, row_c), j))

    def shared_work(self, f: Function, env: Value, count: Value, tile_work: Value) -> None:
        """Let the threads do `count` tasks of so many multiplications each."""
        grain = f.op("add", f.op("udiv", i64(PARALLEL_WORK // 4), f.op("or", tile_work, 1)), 1)
        f.call("void", "pb_parallel_for", Value("ptr", "@tasks"), env, count, grain)

    def parts(self, f: Function, size: Value, part: Value) -> Value:
        return f.op("udiv", f.op("add", size, f.op("sub", part, 1)), part)

    def evened(self, f: Function, size: Value, tile: Value, unit: int) -> Value:
        """As many tiles of more equal sizes, multiples of `unit`."""
        count = self.parts(f, size, tile)
        most = f.select(f.compare("sgt", count, 1), count, i64(1))
        units = self.parts(f, self.parts(f, size, most), i64(unit))
        return f.op("mul", f.select(f.compare("sgt", units, 1), units, i64(1)), unit)
