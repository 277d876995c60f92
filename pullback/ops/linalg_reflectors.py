"""QR decompositions of large matrices, by blocks of reflectors on the threads of the program.

LAPACK factors a block of columns and makes the triangle T of its compact form H = I - V T V'
(R. Schreiber, C. Van Loan, SIAM J. Sci. Stat. Comput. 10, 1989); strips of the columns to the right
are reflected at the same time.  Q is made of strips of the unit matrix in the same way.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pullback.core import dtypes
from pullback.ops.linalg_blocked import BLOCK, PIECE_NS, apart, each_block, each_strip, number
from pullback.ops.linalg_lapack import Routines

__all__ = ["Reflectors", "is_large"]

_LEAST = 64
"""Columns from which blocks are faster than LAPACK."""


def is_large(x: Any) -> bool:
    """Whether a QR decomposition is worth blocks."""
    return bool(min(x.shape[-2:]) >= _LEAST)


class Reflectors:
    """`packed[*lane, column, row]` holds R, and below it the reflectors; `taus` their factors.

    Columns may have some more rows, which mean nothing.
    """

    def __init__(self, b: Any, x: Any) -> None:
        self.b, self.call = b, Routines(b, x)
        self.call.work_ns = PIECE_NS
        (self.m, self.n), lanes = x.shape[-2:], x.shape[:-2]
        self.count = min(self.m, self.n)
        self.apart = apart(self.m, 64 // x.dtype.itemsize)
        whole = b.view(
            (*lanes, self.n, self.apart),
            lambda i: x.at([*i[:-2], b.s.index(i[-1], 0, self.m - 1), i[-2]]),
        )
        self.packed = b.buffer(whole.shape, x.dtype, whole)
        self.taus = b.buffer((*lanes, self.count), x.dtype)
        blocks = -(-self.count // BLOCK)
        self.triangles = b.buffer((*lanes, blocks, BLOCK * BLOCK), x.dtype)
        self.status, self.room = self.call.status(), BLOCK * BLOCK
        self.work = self.call.work(self.room)
        self.strips = b.buffer((self.call.slots, max(self.m, self.n), BLOCK), x.dtype)
        self.call.each_lane(self._factor, independent=self.call.few_threads)

    def _factor(self, i: list[Any]) -> None:
        each_block(self.b, self.count, lambda k, size: self._block(i, k, size))

    def _block(self, i: list[Any], k: Any, size: int) -> None:
        b, call, height = self.b, self.call, number(self.b, self.m - k)
        here, taus = b.part(self.packed, [*i, k, k]), b.part(self.taus, [*i, k])
        call("geqrf", height, size, here, self.apart, taus, self.work, self.room,
             b.part(self.status, i))  # fmt: skip
        triangle = self._triangle(i, k)
        call("larft", "F", "C", height, size, here, self.apart, taus, triangle, BLOCK)
        each_strip(b, k + size, self.n, lambda first, count: self._reflect(
            i, k, size, self.packed, first, count, adjoint=True
        ))  # fmt: skip

    def _triangle(self, i: list[Any], k: Any) -> Any:
        return self.b.part(self.triangles, [*i, k // BLOCK])

    def _reflect(
        self, i: list[Any], k: Any, size: int, c: Any, first: Any, count: Any, adjoint: bool
    ) -> None:
        """A strip of columns of `c`, from row k on, times a block of reflectors."""
        b, call = self.b, self.call
        trans = "N" if not adjoint else "C" if call.complex else "T"
        call("larfb", "L", trans, "F", "C", number(b, self.m - k), number(b, count), size,
             b.part(self.packed, [*i, k, k]), self.apart, self._triangle(i, k), BLOCK,
             b.part(c, [*i, first, k]), self.apart,
             b.part(self.strips, [call.slot, first]), number(b, count))  # fmt: skip

    def q(self, columns: int) -> Any:
        """The first columns of Q, `[*lane, column, row]`, with as many rows."""
        b, lanes = self.b, self.packed.shape[:-2]
        s, dtype = b.s, self.packed.dtype
        one, zero = s.const(1, dtype), s.const(0, dtype)
        unit = b.view(
            (*lanes, columns, self.apart),
            lambda i: s.select(s.and_(i[-2] <= i[-1], i[-2] >= i[-1]), one, zero),
        )
        out = b.buffer(unit.shape, dtype, unit)
        self.call.each_lane(
            lambda i: each_strip(b, 0, columns, lambda first, n: self._strip(i, out, first, n)),
            independent=self.call.few_threads,
        )
        return out

    def _strip(self, i: list[Any], out: Any, first: Any, count: Any) -> None:
        """Blocks from the last one on; those below the ones of the strip leave it as it is."""
        b, (full, rest) = self.b, divmod(self.count, BLOCK)

        def reflect(k: Any, size: int) -> None:
            with b.if_(b.s.lt(b.s.convert(k - first, dtypes.int64), b.s.convert(count, np.int64))):
                self._reflect(i, k, size, out, first, count, adjoint=False)

        if rest:
            reflect(full * BLOCK, rest)
        with b.loop(full) as p:
            reflect((full - 1 - p) * BLOCK, BLOCK)
