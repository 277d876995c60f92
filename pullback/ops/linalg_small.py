"""Small matrices without LAPACK: the loops over rows and columns are written out.

Every element of a matrix is an expression, which stays in registers.  Of many matrices, each takes
a lane of a vector: their elements are then *planes*, `[row, column, lane]`, so that a vector reads
neighbours.  Few matrices are read where they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from pullback.core import dtypes
from pullback.ops import windows

__all__ = ["SMALL", "cholesky", "is_small_lu", "lu", "solve"]

SMALL: Final = 8
"""Size up to which loops in place beat a call."""
_MANY: Final = 8
"""Matrices that are worth a vector."""


# --------------------------------------------------------------------------- lanes


class _Lanes:
    """The lanes of operands: how elements are read and written, and the loops over lanes."""

    def __init__(self, b: Any, lanes: Sequence[int]) -> None:
        self.b, self.lanes, self.count = b, tuple(lanes), math.prod(lanes)
        self.many = self.count >= _MANY

    def read(self, x: Any) -> Callable[[list[Any], int, int], Any]:
        """`element(lane, row, column)` of an operand, to be used inside of the loops."""
        if not self.many:
            return lambda i, r, c: x.at([*i, r, c])
        b, (rows, columns) = self.b, x.shape[-2:]
        flat = b.reshape(x, (self.count, rows, columns))
        planes = b.materialize(
            b.view((rows, columns, self.count), lambda i: flat.at([i[2], i[0], i[1]]))
        )
        return lambda i, r, c: planes.at([r, c, *i])

    def result(self, shape: Sequence[int], dtype: Any) -> tuple[Callable[..., None], Any]:
        """`put(lane, index, value)`, and the tensor that results from it."""
        b, lanes = self.b, self.lanes
        if not self.many:
            out = b.buffer((*lanes, *shape), dtype)
            return lambda i, at, value: b.store(out, [*i, *at], value), out
        planes = b.buffer((*shape, self.count), dtype)
        rank = len(lanes)

        def at(i: tuple[Any, ...]) -> Any:
            lane: Any = 0
            for index, extent in zip(i[:rank], lanes, strict=True):
                lane = lane * extent + index
            return planes.at([*i[rank:], lane])

        return (
            lambda i, at, value: b.store(planes, [*at, *i], value),
            b.view((*lanes, *shape), at),
        )

    def loop(self, body: Callable[[list[Any]], None], before: Sequence[int] = ()) -> None:
        """`body([*before, *lane])` for all lanes, inside of independent loops before."""
        extents = [*before, *((self.count,) if self.many else self.lanes)]
        windows.loop_nest(self.b, extents, body, [True] * len(extents))


# --------------------------------------------------------------------------- arithmetic


def _conj(s: Any, x: Any) -> Any:
    return s.conj(x) if x.dtype.kind == "c" else x


def _real_part(s: Any, x: Any) -> Any:
    return s.real(x) if x.dtype.kind == "c" else x


def _squared(s: Any, x: Any) -> Any:
    if x.dtype.kind == "c":
        return s.add(s.mul(s.real(x), s.real(x)), s.mul(s.imag(x), s.imag(x)))
    return s.mul(x, x)


def _size(s: Any, x: Any) -> Any:
    """What LAPACK compares pivots by."""
    return s.add(s.abs(s.real(x)), s.abs(s.imag(x))) if x.dtype.kind == "c" else s.abs(x)


# --------------------------------------------------------------------------- cholesky


def cholesky(b: Any, x: Any) -> Any:
    """The lower triangle L with L L' = x, row by row."""
    n, s, lanes = x.shape[-1], b.s, _Lanes(b, x.shape[:-2])
    element = lanes.read(b.materialize(x) if lanes.many else x)  # it often is (a + a') / 2
    put, out = lanes.result((n, n), x.dtype)

    def lane(i: list[Any]) -> None:
        rows: list[list[Any]] = []
        for r in range(n):
            row: list[Any] = []
            for c in range(r):
                value = element(i, r, c)
                for k in range(c):
                    value = s.sub(value, s.mul(row[k], _conj(s, rows[c][k])))
                row.append(b.let(s.div(value, rows[c][c])))
            square = _real_part(s, element(i, r, r))
            for k in range(r):
                square = s.sub(square, _squared(s, row[k]))
            # A negative pivot gives NaN, which spreads to all later ones; so does a zero one.
            root = s.select(s.gt(square, 0.0), s.sqrt(square), s.const(np.nan, square.dtype))
            row.append(b.let(s.convert(root, x.dtype)))
            rows.append(row)
        bad = s.is_nan(_real_part(s, rows[-1][-1])) if n else None
        nan = s.const(complex(np.nan, np.nan) if x.dtype.kind == "c" else np.nan, x.dtype)
        for r in range(n):
            for c in range(n):
                value = s.select(bad, nan, rows[r][c]) if c <= r else s.const(0, x.dtype)
                put(i, [r, c], value)

    lanes.loop(lane)
    return out


# --------------------------------------------------------------------------- triangular systems


def solve(
    b: Any, a: Any, x: Any, left: bool, lower: bool, trans: bool, conjugate: bool, unit: bool
) -> Any:
    """Substitution, written out over the rows of the triangle; one column after the other."""
    n, s = a.shape[-1], b.s
    forward = (lower != trans) == left
    order = range(n) if forward else range(n - 1, -1, -1)
    others = x.shape[-1 if left else -2]
    lanes = _Lanes(b, x.shape[:-2])
    lanes.many = lanes.many and not (left and others >= 2 * _MANY)  # else vectors of columns
    coefficient = lanes.read(a if lanes.many else b.materialize(a))
    element = lanes.read(x)
    put, out = lanes.result(x.shape[-2:], x.dtype)

    def factor(lane: list[Any], r: int, c: int) -> Any:
        """The coefficient of unknown c in equation r."""
        flip = trans != (not left)
        value = coefficient(lane, c, r) if flip else coefficient(lane, r, c)
        return _conj(s, value) if conjugate else value

    def substitute(lane: list[Any], other: Any) -> None:
        known: dict[int, Any] = {}
        for r in order:
            place = [r, other] if left else [other, r]
            value = element(lane, *place)
            for c, found in known.items():
                value = s.sub(value, s.mul(factor(lane, r, c), found))
            known[r] = b.let(value if unit else s.div(value, factor(lane, r, r)))
            put(lane, place, known[r])

    if lanes.many:
        lanes.loop(lambda i: substitute(i[1:], i[0]), [others])
    else:
        extents = (*lanes.lanes, others)
        windows.loop_nest(b, extents, lambda i: substitute(i[:-1], i[-1]), [True] * len(extents))
    return out


# --------------------------------------------------------------------------- lu


def is_small_lu(x: Any) -> bool:
    """Whether a vector of matrices is better than a call for each."""
    return bool(max(x.shape[-2:]) <= SMALL and math.prod(x.shape[:-2]) >= _MANY)


def lu(b: Any, x: Any) -> list[Any]:
    """Both triangles in one matrix, row swaps (from 0), the order of rows; pivots as LAPACK's.

    Rows are exchanged by selections, since each lane has a pivot of its own.
    """
    (m, n), s, lanes = x.shape[-2:], b.s, _Lanes(b, x.shape[:-2])
    element = lanes.read(x)
    put, both = lanes.result((m, n), x.dtype)
    put_swap, swaps = lanes.result((min(m, n),), dtypes.int32)
    put_order, order = lanes.result((m,), dtypes.int32)

    def lane(i: list[Any]) -> None:
        rows = [[*(element(i, r, c) for c in range(n)), s.const(r, dtypes.int32)] for r in range(m)]
        for k in range(min(m, n)):
            pivot = _pivot(b, [row[k] for row in rows], k)
            put_swap(i, [k], pivot)
            _exchange(b, rows, k, pivot)
            _eliminate(b, rows, k)
        for r, (*row, number) in enumerate(rows):
            put_order(i, [r], number)
            for c, value in enumerate(row):
                put(i, [r, c], value)

    lanes.loop(lane)
    return [both, swaps, order]


def _pivot(b: Any, column: Sequence[Any], k: int) -> Any:
    """The row of the first of the largest elements from row k on."""
    s = b.s
    best, found = _size(s, column[k]), s.const(k, dtypes.int32)
    for r in range(k + 1, len(column)):
        size = b.let(_size(s, column[r]))
        larger = b.let(s.gt(size, best))
        best = b.let(s.select(larger, size, best))
        found = b.let(s.select(larger, s.const(r, dtypes.int32), found))
    return found


def _exchange(b: Any, rows: list[list[Any]], k: int, pivot: Any) -> None:
    """Row k and the row of the pivot change places."""
    s, first = b.s, rows[k]
    for r in range(k + 1, len(rows)):
        here = b.let(s.eq(pivot, r))
        top = zip(rows[r], rows[k], strict=True)
        below = zip(first, rows[r], strict=True)
        rows[k], rows[r] = (
            [b.let(s.select(here, taken, kept)) for taken, kept in pairs] for pairs in (top, below)
        )


def _eliminate(b: Any, rows: list[list[Any]], k: int) -> None:
    """The rows below row k without column k, where their factors stay; none if the pivot is 0."""
    s, top = b.s, rows[k]
    none = b.let(s.eq(top[k], 0))
    divisor = b.let(s.select(none, s.const(1, top[k].dtype), top[k]))
    for r in range(k + 1, len(rows)):
        factor = b.let(s.div(rows[r][k], divisor))
        right = [
            b.let(s.sub(value, s.mul(factor, above)))
            for value, above in zip(rows[r][k + 1 : -1], top[k + 1 : -1], strict=True)
        ]
        rows[r] = [*rows[r][:k], factor, *right, rows[r][-1]]
