"""Large matrices by blocks of columns, on the threads of the program.

LAPACK factors a block of columns, and strips of the columns to the right of it are brought up to
date by products, of large matrices at the same time, while the thread that has the first strip
already factors the next block of an LU decomposition.  The strips are the same however many threads
there are, so that bits are.  Matrices lie row by row, with room for whole vectors at the ends of
rows: a triangle is then solved for a vector of columns at a time, some rows in registers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from pullback.core import dtypes
from pullback.ops import windows
from pullback.ops.linalg_lapack import Routines, swapped

__all__ = [
    "BLOCK",
    "PIECE_NS",
    "apart",
    "cholesky",
    "each_block",
    "each_strip",
    "is_large",
    "lu",
    "number",
]

BLOCK: Final = 32
"""Columns of a block."""
_ROWS: Final = 8
"""Rows of a block whose substitution is written out."""
_WIDE: Final = 512
"""Columns up to which strips have 64 of them, and beyond 128."""
_SHARED: Final = 4 << 20
"""Bytes of a matrix from which threads share the strips of a block.  Any thread takes any strip, so
that after each block one in two comes from another core's cache: where the matrix would stay in one
core's own, that takes longer than its product."""
PIECE_NS: Final = 20_000.0
_LEAST: Final = 64
"""Columns from which blocks are faster than LAPACK."""


def is_large(x: Any) -> bool:
    """Whether a matrix is worth blocks."""
    m, n = x.shape[-2:]
    return bool(m >= n >= _LEAST and x.dtype.kind == "f")


def _up(n: int, unit: int) -> int:
    return -(-n // unit) * unit


def apart(size: int, tile: int) -> int:
    """A stride for vectors of a size: at powers of two they would share few sets of the cache."""
    return size + (0 if size % 128 else tile)


def int32(b: Any, index: Any) -> Any:
    """An index as LAPACK's integer."""
    if isinstance(index, int):
        return b.s.const(index, dtypes.int32)
    return b.s.convert(index, dtypes.int32)


def number(b: Any, index: Any) -> Any:
    """An index as an argument of LAPACK."""
    return b.ref(int32(b, index))


def each_block(b: Any, columns: int, body: Callable[[Any, int], None]) -> None:
    """`body(first, size)` for blocks of columns, one after the other."""
    full, rest = divmod(columns, BLOCK)
    with b.loop(full) as p:
        body(p * BLOCK, BLOCK)
    if rest:
        body(full * BLOCK, rest)


def each_strip(
    b: Any, start: Any, stop: int, body: Callable[[Any, Any], None], at_once: bool = True
) -> None:
    """`body(first, size)` for strips of the columns [start, stop), which may run at once."""
    most = 64 if stop <= _WIDE else 128
    with b.loop((stop + most - 1 - start) // most, independent=at_once) as strip:
        first = b.let(start + strip * most)
        body(first, b.let(b.s.min(stop - first, most)))


class _Blocks:
    """A matrix that is factored in place: `a[*lane, row, column]`, with room at the ends."""

    def __init__(self, b: Any, x: Any) -> None:
        self.b, self.s, self.call = b, b.s, Routines(b, x)
        self.call.work_ns = PIECE_NS
        self.rows, self.columns = x.shape[-2:]
        self.tile = 64 // x.dtype.itemsize
        self.height, self.width = _up(self.rows, self.tile), _up(self.columns, self.tile)
        self.stride = apart(self.width, self.tile)
        shape = (*x.shape[:-2], self.height, self.stride)
        self.a = b.buffer(shape, x.dtype, x if x.shape == shape else _padded(b, x, shape))
        self.at_once = self.height * self.stride * x.dtype.itemsize >= _SHARED
        self.minus, self.one = (
            b.materialize(b.constant(np.full((1,), value, x.dtype))) for value in (-1, 1)
        )

    def each_vector(self, first: Any, size: Any, body: Callable[[Any], None]) -> None:
        """`body(column)` for some columns, a vector at a time."""
        with self.b.loop(size // self.tile) as t, self.b.loop(self.tile, independent=True) as v:
            body(first + t * self.tile + v)

    def at(self, i: list[Any], row: Any, column: Any) -> Any:
        """The address of an element."""
        return self.b.part(self.a, [*i, row, column])

    def solve(
        self, i: list[Any], k: Any, first: Any, size: Any, factor: Callable[[Any, Any], Any],
        inverse: Callable[[Any], Any] | None = None, forward: bool = True,
    ) -> None:  # fmt: skip
        """Substitution in some columns of a block of rows: `factor(r, c)` times row c goes off.

        A few rows at a time, which is a quarter of the code of all of them written out.
        """
        b, parts = self.b, BLOCK // _ROWS
        with b.loop(size // self.tile) as t, b.loop(parts) as p:
            column, now = first + t * self.tile, _ROWS * (p if forward else parts - 1 - p)
            with b.loop(p) as q:
                before = _ROWS * (q if forward else parts - 1 - q)
                with b.loop(self.tile, independent=True) as v:
                    self.go_off(i, k, column + v, now, before, factor, forward)
            with b.loop(self.tile, independent=True) as v:
                self.substitute(i, k, column + v, now, factor, inverse, forward)

    def go_off(
        self, i: list[Any], k: Any, column: Any, now: Any, before: Any,
        factor: Callable[[Any, Any], Any], forward: bool,
    ) -> None:  # fmt: skip
        """Multiples of a few known rows go off a few rows."""
        b, s, order = self.b, self.s, _in_order(forward)
        known = {c: b.let(b.load(self.a, [*i, k + before + c, column])) for c in order}
        values = {}
        for r in order:
            value = b.load(self.a, [*i, k + now + r, column])
            for c, found in known.items():
                value = s.sub(value, s.mul(factor(now + r, before + c), found))
            values[r] = b.let(value)
        for r, value in values.items():
            b.store(self.a, [*i, k + now + r, column], value)

    def substitute(
        self, i: list[Any], k: Any, column: Any, now: Any, factor: Callable[[Any, Any], Any],
        inverse: Callable[[Any], Any] | None, forward: bool,
    ) -> None:  # fmt: skip
        """A few rows, of which each has multiples of those before it."""
        b, s = self.b, self.s
        known: dict[int, Any] = {}
        for r in _in_order(forward):
            value = b.load(self.a, [*i, k + now + r, column])
            for c, found in known.items():
                value = s.sub(value, s.mul(factor(now + r, now + c), found))
            known[r] = b.let(value if inverse is None else s.mul(value, inverse(now + r)))
            b.store(self.a, [*i, k + now + r, column], known[r])


def _in_order(forward: bool) -> range:
    return range(_ROWS) if forward else range(_ROWS - 1, -1, -1)


def _padded(b: Any, x: Any, shape: tuple[int, ...]) -> Any:
    m, n = x.shape[-2:]
    zero = b.s.const(0, x.dtype)

    def at(i: tuple[Any, ...]) -> Any:
        row, column = b.s.index(i[-2], 0, m - 1), b.s.index(i[-1], 0, n - 1)
        inside = b.s.and_(i[-2] < m, i[-1] < n)
        return b.s.select(inside, x.at([*i[:-2], row, column]), zero)

    return b.view(shape, at)


# --------------------------------------------------------------------------- lu


def lu(b: Any, x: Any) -> tuple[Any, Any]:
    """Both triangles in one matrix, and LAPACK's row swaps (from 1)."""
    lu_ = _Lu(b, x)
    lu_.call.each_lane(lu_.lane, independent=lu_.call.few_threads)
    return b.view(x.shape, lu_.a.at), lu_.swaps


class _Lu(_Blocks):
    def __init__(self, b: Any, x: Any) -> None:
        super().__init__(b, x)
        self.swaps = b.buffer((*x.shape[:-2], self.columns), dtypes.int32)
        self.apart = apart(self.height, self.tile)
        self.panel, self.status = self.call.work(BLOCK * self.apart), self.call.status()

    def lane(self, i: list[Any]) -> None:
        with self.b.loop(_up(self.columns, BLOCK) // BLOCK) as p:
            self.block(i, p * BLOCK)
        self.swap_left(i)

    def block(self, i: list[Any], k: Any) -> None:
        """Bring columns from k on up to date with the block before, and factor the first ones.

        One thread factors as soon as its strip is ready, while others are at theirs.
        """
        b = self.b
        size = BLOCK if self.columns % BLOCK == 0 else b.let(self.s.min(self.columns - k, BLOCK))

        def strip(first: Any, count: Any) -> None:
            with b.if_(k > 0):
                self.strip(i, k - BLOCK, first, count)
            with b.if_(first <= k):
                self.factor(i, k, size)

        each_strip(b, k, self.width, strip, self.at_once)

    def factor(self, i: list[Any], k: Any, size: Any) -> None:
        """Factor `size` columns from column k on."""
        b, s, call = self.b, self.s, self.call
        self.move_panel(i, k, size, back=False)
        call("getrf", number(b, self.rows - k), number(b, size), self.panel, self.apart,
             b.part(self.swaps, [*i, k]), b.part(self.status, i))  # fmt: skip
        with b.loop(size) as j:
            row = b.load(self.swaps, [*i, k + j])
            b.store(self.swaps, [*i, k + j], s.add(row, int32(b, k)))
        self.move_panel(i, k, size, back=True)

    def move_panel(self, i: list[Any], k: Any, size: Any, back: bool) -> None:
        """Columns of the matrix go into LAPACK's order, or come back, in square tiles."""
        b, tile, panel, slot = self.b, self.tile, self.panel.slots, self.call.slot
        extents = ((self.height - k) // tile, (size + tile - 1) // tile, tile, tile)

        def move(place: list[Any]) -> None:
            t, q, v, u = place
            r, c = (t * tile + u, q * tile + v) if back else (t * tile + v, q * tile + u)
            ours, theirs = [*i, k + r, k + c], [slot, c * self.apart + r]
            if back:
                b.store(self.a, ours, b.load(panel, theirs))
            else:
                b.store(panel, theirs, b.load(self.a, ours))

        windows.loop_nest(b, extents, move, [False, False, True, True])

    def strip(self, i: list[Any], k: Any, first: Any, count: Any) -> None:
        b = self.b
        with b.loop(BLOCK) as j:
            self.swap(i, k + j, first, count)
        self.solve(i, k, first, count, lambda r, c: b.load(self.a, [*i, k + r, k + c]))
        below = k + BLOCK
        self.call("gemm", "N", "N", number(b, count), number(b, self.rows - below), BLOCK,
                  self.minus, self.at(i, k, first), self.stride, self.at(i, below, k), self.stride,
                  self.one, self.at(i, below, first), self.stride)  # fmt: skip

    def swap(self, i: list[Any], row: Any, first: Any, count: Any) -> None:
        """A row and that of its pivot change places in some columns."""
        b = self.b
        pivot = b.let(self.s.index(b.load(self.swaps, [*i, row]), 1, self.rows))

        def exchange(column: Any) -> None:
            here, there = [*i, row, column], [*i, pivot - 1, column]
            x, y = b.load(self.a, here), b.load(self.a, there)
            b.store(self.a, here, y)
            b.store(self.a, there, x)

        self.each_vector(first, count, exchange)

    def swap_left(self, i: list[Any]) -> None:
        """What later blocks exchange, in the columns before them."""
        b = self.b
        with b.loop(_up(self.columns, BLOCK) // BLOCK - 1, independent=self.at_once) as p:
            start = (p + 1) * BLOCK
            with b.loop(self.columns - start, start=start) as row:
                self.swap(i, row, p * BLOCK, BLOCK)


# --------------------------------------------------------------------------- cholesky


def cholesky(b: Any, x: Any) -> tuple[Any, Any]:
    """The lower triangle L with L L' = x, undefined above it, and a status, 0 for success."""
    factor = _Cholesky(b, swapped(b, x))
    factor.call.each_lane(factor.lane, independent=factor.call.few_threads)
    lower = b.view(x.shape, lambda i: factor.a.at([*i[:-2], i[-1], i[-2]]))
    return lower, factor.status


class _Cholesky(_Blocks):
    """U with U' U = x, row by row."""

    def __init__(self, b: Any, x: Any) -> None:
        super().__init__(b, x)
        self.status, self.found = self.call.status(), self.call.work(1, dtypes.int32)
        self.inverses = self.call.work(BLOCK)

    def lane(self, i: list[Any]) -> None:
        self.b.store(self.status, [*i, 0], 0)
        each_block(self.b, self.columns, lambda k, size: self.block(i, k, size))

    def block(self, i: list[Any], k: Any, size: int) -> None:
        b, s, slot = self.b, self.s, self.call.slot
        self.call("potrf", "L", size, self.at(i, k, k), self.stride, self.found)
        failed = b.load(self.found.slots, [slot, 0])
        b.store(self.status, [*i, 0], s.add(b.load(self.status, [*i, 0]), failed))
        if size < BLOCK:
            return
        with b.loop(size) as r:
            pivot = b.load(self.a, [*i, k + r, k + r])
            b.store(self.inverses.slots, [slot, r], s.div(s.const(1, pivot.dtype), pivot))
        each_strip(b, k + size, self.width, lambda first, count: self.solve(
            i, k, first, count,
            lambda r, c: b.load(self.a, [*i, k + c, k + r]),
            lambda r: b.load(self.inverses.slots, [slot, r]),
        ), self.at_once)  # fmt: skip
        each_strip(
            b, k + size, self.width, lambda first, count: self.update(i, k, first, count),
            self.at_once,
        )  # fmt: skip

    def update(self, i: list[Any], k: Any, first: Any, count: Any) -> None:
        """A strip of what is left, down to the diagonal."""
        b, below = self.b, k + BLOCK
        rows = self.s.min(first + count - below, self.rows - below)
        self.call("gemm", "N", "T", number(b, count), number(b, rows), BLOCK,
                  self.minus, self.at(i, k, first), self.stride,
                  self.at(i, k, below), self.stride, self.one, self.at(i, below, first),
                  self.stride)  # fmt: skip


# --------------------------------------------------------------------------- triangular systems


def is_large_system(a: Any, others: int) -> bool:
    """Whether systems with a triangle are worth blocks, for so many right-hand sides."""
    n = a.shape[-1]
    return bool(n >= _LEAST and others >= _LEAST and a.dtype.kind == "f")


def solve(b: Any, a: Any, x: Any, lower: bool, trans: bool, unit: bool) -> Any:
    """X with A X = x, or with the transposed triangle: strips of columns at the same time."""
    systems = _Systems(b, b.materialize(a), x, lower, trans, unit)
    systems.call.each_lane(systems.lane, independent=systems.call.few_threads)
    return b.view(x.shape, systems.a.at)


class _Systems(_Blocks):
    def __init__(self, b: Any, triangle: Any, x: Any, lower: bool, trans: bool, unit: bool) -> None:
        super().__init__(b, x)
        self.triangle, self.lower, self.trans, self.unit = triangle, lower, trans, unit
        self.forward, self.n = lower != trans, triangle.shape[-1]
        self.inverses = self.call.work(self.n)

    def lane(self, i: list[Any]) -> None:
        b, slot = self.b, self.call.slot
        with b.loop(0 if self.unit else self.n) as r:
            pivot = b.load(self.triangle, [*i, r, r])
            inverse = self.s.div(self.s.const(1, pivot.dtype), pivot)
            b.store(self.inverses.slots, [slot, r], inverse)
        each_strip(b, 0, self.width, lambda first, count: self.strip(i, first, count))

    def strip(self, i: list[Any], first: Any, count: Any) -> None:
        """Blocks of rows in the order of substitution; the last few rows are LAPACK's."""
        full, rest = divmod(self.n, BLOCK)
        last = full * BLOCK
        if rest and not self.forward:
            self.end(i, last, rest, first, count)
        with self.b.loop(full) as p:
            self.block(i, (p if self.forward else full - 1 - p) * BLOCK, first, count)
        if rest and self.forward:
            self.end(i, last, rest, first, count)

    def at_triangle(self, i: list[Any], row: Any, column: Any) -> Any:
        """The address of the coefficient of an unknown (column) in an equation (row)."""
        return self.b.part(self.triangle, [*i, *((column, row) if self.trans else (row, column))])

    def block(self, i: list[Any], k: Any, first: Any, count: Any) -> None:
        b, slot = self.b, self.call.slot

        def factor(r: Any, c: Any) -> Any:
            r, c = (c, r) if self.trans else (r, c)
            return b.load(self.triangle, [*i, k + r, k + c])

        def inverse(r: Any) -> Any:
            return b.load(self.inverses.slots, [slot, k + r])

        known = None if self.unit else inverse
        self.solve(i, k, first, count, factor, known, self.forward)
        self.update(i, k, BLOCK, first, count)

    def end(self, i: list[Any], k: int, size: int, first: Any, count: Any) -> None:
        """The rows that are no whole block."""
        self.call("trsm", "R", "U" if self.lower else "L", "T" if self.trans else "N",
                  "U" if self.unit else "N", number(self.b, count), size, self.one,
                  self.at_triangle(i, k, k), self.n, self.at(i, k, first), self.stride)  # fmt: skip
        self.update(i, k, size, first, count)

    def update(self, i: list[Any], k: Any, size: int, first: Any, count: Any) -> None:
        """What is known of a strip goes off the rows that are not."""
        b = self.b
        row, rows = (k + size, self.n - (k + size)) if self.forward else (0, k)
        self.call("gemm", "N", "T" if self.trans else "N", number(b, count), number(b, rows), size,
                  self.minus, self.at(i, k, first), self.stride, self.at_triangle(i, row, k),
                  self.n, self.one, self.at(i, row, first), self.stride)  # fmt: skip
