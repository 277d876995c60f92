"""StableHLO of what Householder reflectors do column by column, for platforms without LAPACK.

The reflectors are LAPACK's (larfg): H = I - tau v v', with v = (0, .., 0, 1, ..), takes a column to
(.., beta, 0, .., 0).  Each step is whole-array operations in a loop over the columns; lanes in
front are matrices side by side.
"""

from __future__ import annotations

from typing import Any

from pullback.core import dtypes
from pullback.core.stablehlo import Emitter, Value, int_array

__all__ = [
    "across",
    "along",
    "at",
    "hessenberg",
    "norm",
    "pivoted",
    "positions",
    "put",
    "total",
    "tridiagonal",
]


def positions(b: Emitter, x: Value, axis: int) -> Value:
    """The number of each element along one of the two last axes (-2 or -1), or of the last one."""
    return b.iota(x.shape, dtypes.int32, len(x.shape) + axis)


def along(b: Emitter, x: Value, like: Value) -> Value:
    """Vectors as columns of matrices."""
    return b.broadcast(x, like.shape, range(len(like.shape) - 1))


def across(b: Emitter, x: Value, like: Value) -> Value:
    """Vectors as rows of matrices."""
    rank = len(like.shape)
    return b.broadcast(x, like.shape, (*range(rank - 2), rank - 1))


def _each(b: Emitter, x: Value, like: Value) -> Value:
    """One number for each lane."""
    return b.broadcast(x, like.shape, range(len(x.shape)))


def total(b: Emitter, x: Value, axis: int = -1) -> Value:
    """Sums along an axis."""
    where = [len(x.shape) + axis]
    return b.reduce([x], where, [0], lambda s, a, v: [s.add(a[0], v[0])])[0]


def at(b: Emitter, x: Value, i: Value, axis: int) -> Value:
    """What stands at a number of an axis; the number is one, or one for each lane."""
    where = b.s.eq(positions(b, x, axis), _each(b, i, x) if i.shape else i)
    return total(b, b.select(where, x, b.full((), 0, x.dtype)), axis)


def put(b: Emitter, x: Value, i: Value, value: Value) -> Value:
    """Vectors with other numbers at a place."""
    return b.select(b.s.eq(positions(b, x, -1), i), _each(b, value, x), x)


def _is_complex(x: Value) -> bool:
    return bool(dtypes.kind_of(x.dtype) == "c")


def _conj(b: Emitter, x: Value) -> Value:
    out: Value = b.s.conj(x) if _is_complex(x) else x
    return out


def _real(b: Emitter, x: Value) -> Value:
    out: Value = b.s.real(x) if _is_complex(x) else x
    return out


def norm(b: Emitter, x: Value) -> Value:
    """Lengths of the vectors along the last axis, without overflow."""
    s = b.s
    size = s.abs(x)
    big = b.reduce([size], [len(x.shape) - 1], [0], lambda s, a, v: [s.max(a[0], v[0])])[0]
    scale = b.select(s.gt(big, 0.0), big, b.full((), 1, big.dtype))
    part = s.div(size, _each(b, scale, size))
    return s.mul(scale, s.sqrt(total(b, s.mul(part, part))))  # type: ignore[no-any-return]


def reflector(b: Emitter, column: Value, i: Value) -> tuple[Value, Value, Value]:
    """(v, tau, beta): what takes a column to (.., beta, 0, .., 0) with beta at number `i`."""
    s, numbers = b.s, positions(b, column, -1)
    zero = b.full((), 0, column.dtype)
    alpha = at(b, column, i, -1)
    tail = b.select(s.gt(numbers, i), column, zero)
    length = norm(b, b.select(s.ge(numbers, i), column, zero))
    alpha_real = _real(b, alpha)
    nothing = s.eq(norm(b, tail), 0.0)
    if _is_complex(column):
        nothing = s.and_(nothing, s.eq(s.imag(alpha), 0.0))
    beta = s.neg(s.copysign(length, alpha_real))
    beta = b.select(nothing, alpha_real, beta)
    safe = b.select(s.eq(beta, 0.0), b.full((), 1, beta.dtype), beta)
    wide = s.convert(beta, column.dtype) if _is_complex(column) else beta
    tau = s.div(s.sub(wide, alpha), s.convert(safe, column.dtype) if _is_complex(column) else safe)
    tau = b.select(nothing, zero, tau)
    gap = b.select(nothing, b.full((), 1, column.dtype), s.sub(alpha, wide))
    v = s.div(tail, _each(b, gap, tail))
    v = b.select(s.eq(numbers, i), b.full((), 1, column.dtype), v)
    return v, tau, beta


def _from_left(b: Emitter, x: Value, v: Value, tau: Value) -> Value:
    """H' x."""
    s, wide = b.s, along(b, v, x)
    inner = total(b, s.mul(_conj(b, wide), x), -2)
    inner = s.mul(inner, _each(b, _conj(b, tau), inner))
    return s.sub(x, s.mul(wide, across(b, inner, x)))  # type: ignore[no-any-return]


def _from_right(b: Emitter, x: Value, v: Value, tau: Value) -> Value:
    """x H."""
    s, wide = b.s, across(b, v, x)
    inner = total(b, s.mul(x, wide), -1)
    inner = s.mul(inner, _each(b, tau, inner))
    return s.sub(x, s.mul(along(b, inner, x), _conj(b, wide)))  # type: ignore[no-any-return]


def _packed_column(b: Emitter, x: Value, i: Value, row: Value, v: Value, beta: Value) -> Value:
    """The matrix with column `i` from `row` on replaced by beta and the rest of the reflector."""
    s = b.s
    rows, columns = positions(b, x, -2), positions(b, x, -1)
    wide = s.convert(beta, x.dtype) if _is_complex(x) else beta
    x = b.select(s.and_(s.eq(columns, i), s.gt(rows, row)), along(b, v, x), x)
    return b.select(s.and_(s.eq(columns, i), s.eq(rows, row)), _each(b, wide, x), x)


# --------------------------------------------------------------------------- similar matrices


def hessenberg(b: Emitter, a: Value) -> list[Value]:
    """The reflectors below a Hessenberg matrix, and their factors."""
    n, lanes = a.shape[-1], a.shape[:-2]
    taus = b.full((*lanes, max(n - 1, 0)), 0, a.dtype)
    if 0 in a.shape:
        return [a, taus]

    def step(i: Value, x: Value, taus: Value) -> list[Value]:
        s = b.s
        row = s.add(i, 1)
        v, tau, beta = reflector(b, at(b, x, i, -1), row)
        later = s.gt(positions(b, x, -1), i)
        x = b.select(later, _from_left(b, x, v, tau), x)
        x = b.select(later, _from_right(b, x, v, tau), x)
        return [_packed_column(b, x, i, row, v, beta), put(b, taus, i, tau)]

    return b.loop_n(n - 1, [a, taus], step)


def tridiagonal(b: Emitter, a: Value, *, lower: bool) -> list[Value]:
    """Reflectors beside a real tridiagonal matrix, its diagonals, and the reflectors' factors.

    The upper triangle is the lower one of the matrix seen from its other end.
    """
    if not lower:
        flipped = tridiagonal(b, _flipped(b, a, 2), lower=True)
        return [_flipped(b, flipped[0], 2), *[_flipped(b, x, 1) for x in flipped[1:]]]
    s, n, lanes = b.s, a.shape[-1], a.shape[:-2]
    real = b.types[1][1]
    middle, beside = b.full((*lanes, n), 0, real), b.full((*lanes, n - 1), 0, real)
    taus = b.full((*lanes, n - 1), 0, a.dtype)
    if 0 in a.shape:
        return [a, middle, beside, taus]
    rows, columns = positions(b, a, -2), positions(b, a, -1)
    rank = len(a.shape)
    turned = _conj(b, b.transpose(a, (*range(rank - 2), rank - 1, rank - 2)))
    whole = b.select(s.ge(rows, columns), a, turned)
    if _is_complex(a):
        whole = b.select(s.eq(rows, columns), s.convert(s.real(whole), a.dtype), whole)

    def step(i: Value, x: Value, beside: Value, taus: Value) -> list[Value]:
        row = s.add(i, 1)
        v, tau, beta = reflector(b, at(b, x, i, -1), row)
        inside = s.and_(s.gt(columns, i), s.gt(rows, i))
        x = b.select(inside, _from_right(b, _from_left(b, x, v, tau), v, tau), x)
        x = _packed_column(b, x, i, row, v, beta)
        return [x, put(b, beside, i, beta), put(b, taus, i, tau)]

    x, beside, taus = b.loop_n(n - 1, [whole, beside, taus], step)
    on = s.eq(rows, columns)
    middle = _real(b, total(b, b.select(on, x, b.full((), 0, x.dtype)), -1))
    return [b.select(s.ge(rows, columns), x, a), middle, beside, taus]


def _flipped(b: Emitter, x: Value, axes: int) -> Value:
    """An array with its last axes backwards."""
    rank = len(x.shape)
    attributes = {"dimensions": int_array(range(rank - axes, rank))}
    return b.op("stablehlo.reverse", [x], x.shape, x.dtype, attributes)


# --------------------------------------------------------------------------- pivoting


def pivoted(b: Emitter, x: Value) -> list[Value]:
    """Reflectors below R, their factors and the order of columns: always the longest next."""
    s, lanes, (m, n) = b.s, x.shape[:-2], x.shape[-2:]
    taus = b.full((*lanes, min(m, n)), 0, x.dtype)
    order = b.iota((*lanes, n), dtypes.int32, len(lanes))

    def step(i: Value, x: Value, taus: Value, order: Value) -> list[Value]:
        rows, rank = positions(b, x, -2), len(x.shape)
        rest = b.select(s.ge(rows, i), x, b.full((), 0, x.dtype))
        turned = b.transpose(rest, (*range(rank - 2), rank - 1, rank - 2))
        lengths = norm(b, turned)
        numbers = positions(b, lengths, -1)
        lengths = b.select(s.ge(numbers, i), lengths, b.full((), -1, lengths.dtype))
        pivot = s.min(_first_largest(b, lengths, numbers), n - 1)
        x = _exchanged(b, x, i, pivot)
        order = _exchanged(b, order, i, pivot)
        v, tau, beta = reflector(b, at(b, x, i, -1), i)
        later = s.gt(positions(b, x, -1), i)
        x = b.select(later, _from_left(b, x, v, tau), x)
        return [_packed_column(b, x, i, i, v, beta), put(b, taus, i, tau), order]

    return b.loop_n(min(m, n), [x, taus, order], step)


def _first_largest(b: Emitter, values: Value, numbers: Value) -> Value:
    """The number of the largest element of each lane, the first one of equal ones."""

    def better(s: Any, a: Any, v: Any) -> list[Any]:
        first = s.and_(s.eq(v[0], a[0]), s.lt(v[1], a[1]))
        take = s.or_(s.gt(v[0], a[0]), first)
        return [s.select(take, new, old) for new, old in zip(v, a, strict=True)]

    last = values.shape[-1]
    return b.reduce([values, numbers], [len(values.shape) - 1], [-2, last], better)[1]


def _exchanged(b: Emitter, x: Value, i: Value, other: Value) -> Value:
    """Two elements of the last axis exchanged, one of them with a number for each lane."""
    s, numbers = b.s, positions(b, x, -1)
    lanes = x.shape[: len(other.shape)]
    here, there = at(b, x, i, -1), at(b, x, other, -1)
    rank = len(x.shape)
    spread = [b.broadcast(v, x.shape, range(rank - 1)) for v in (here, there)]
    at_other = s.eq(numbers, b.broadcast(other, x.shape, range(len(lanes))))
    return b.select(s.eq(numbers, i), spread[1], b.select(at_other, spread[0], x))
