"""StableHLO of singular values: one-sided Jacobi rotations, for platforms without LAPACK.

Pairs of columns are made orthogonal until all are: A V = U S.  Half of the columns meet the other
half in one step; between steps they move on as in a round of a tournament, so that after n - 1
steps every two have met and all are back.

J. Demmel, K. Veselic, "Jacobi's method is more accurate than QR", SIAM J. Matrix Anal. Appl. 13
(1992); R. Brent, F. Luk, "The solution of singular-value and symmetric eigenvalue problems on
multiprocessor arrays", SIAM J. Sci. Stat. Comput. 6 (1985).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from pullback.core import dtypes
from pullback.core.stablehlo import Emitter, Value
from pullback.ops import hlo_linalg
from pullback.ops.hlo_linalg import lanes_nan, product, real_type, swapped, unit
from pullback.ops.hlo_reflectors import across, norm, positions, total

__all__ = ["svd"]

SWEEPS: Final = 40
"""More than ever needed: convergence is quadratic."""


def svd(b: Emitter, x: Value, *, full_matrices: bool, compute_uv: bool, **_: Any) -> list[Value]:
    """Singular values, descending, and the vectors of both sides."""
    (m, n), lanes = x.shape[-2:], x.shape[:-2]
    if 0 in x.shape:
        return _empty(b, x, full_matrices, compute_uv)
    if m < n:
        outs = svd(b, swapped(b, x, True), full_matrices=full_matrices, compute_uv=compute_uv)
        if not compute_uv:
            return outs
        values, u, vt = outs
        return [values, swapped(b, vt, True), swapped(b, u, True)]
    scale = _scale(b, x)
    small = b.s.div(x, b.s.convert(b.broadcast(scale, x.shape, range(len(lanes))), x.dtype))
    q = None
    if m > n:  # the rotations need the triangle only
        q, small = hlo_linalg.qr(
            b, small, pivoting=False, full_matrices=full_matrices, use_magma=None
        )
        small = b.slice(small, [0] * len(x.shape), (*lanes, n, n))
    turned, v = _rotated(b, small)
    values = norm(b, swapped(b, turned, False))
    order = _descending(b, values)
    values = total(b, b.s.mul(b.broadcast(values, order.shape, _rows(order)), order), -2)
    out = b.s.mul(values, b.broadcast(scale, values.shape, range(len(lanes))))
    outs = [out]
    if compute_uv:
        order = b.s.convert(order, x.dtype)
        u = _directions(b, product(b, turned, order))
        outs += [_completed(b, q, u), swapped(b, product(b, v, order), True)]
    return [lanes_nan(b, x, y) for y in outs]


def _rows(order: Value) -> Sequence[int]:
    return range(len(order.shape) - 1)


def _empty(b: Emitter, x: Value, full_matrices: bool, compute_uv: bool) -> list[Value]:
    (m, n), lanes = x.shape[-2:], x.shape[:-2]
    k = min(m, n)
    values = b.full((*lanes, k), 0, real_type(x.dtype))
    if not compute_uv:
        return [values]
    left, right = (m, n) if full_matrices else (k, k)
    return [values, unit(b, (*lanes, m, left), x.dtype), unit(b, (*lanes, right, n), x.dtype)]


def _scale(b: Emitter, x: Value) -> Value:
    """The largest element of each lane, 1 for zeros."""
    rank = len(x.shape)
    size = b.s.abs(x)
    big = b.reduce([size], [rank - 2, rank - 1], [0], lambda s, a, v: [s.max(a[0], v[0])])[0]
    return b.select(b.s.gt(big, 0.0), big, b.full((), 1, big.dtype))


def _rotated(b: Emitter, a: Value) -> tuple[Value, Value]:
    """(a V, V) with orthogonal columns of a V, for square matrices."""
    lanes, n = a.shape[:-2], a.shape[-1]
    rank, even = len(a.shape), n + n % 2
    work = b.concatenate([a, unit(b, a.shape, a.dtype)], rank - 2)
    if even > n:  # a column of zeros, which nothing turns
        work = b.concatenate([work, b.full((*lanes, 2 * n, 1), 0, a.dtype)], rank - 1)
    real = real_type(a.dtype)
    limit = n * float(np.finfo(real).eps)
    start = [work, b.full((), 1, real), b.full((), 0, dtypes.int32)]

    def going(_: Value, off: Value, sweep: Value) -> Value:
        go: Value = b.s.and_(b.s.gt(off, limit), b.s.lt(sweep, SWEEPS))
        return go

    def sweep(work: Value, _: Value, count: Value) -> list[Value]:
        zero = b.full((), 0, real)
        work, off = b.loop_n(max(even - 1, 1), [work, zero], lambda _, w, o: _met(b, w, o, n))
        return [work, off, b.s.add(count, 1)]

    work = b.loop(start, going, sweep)[0]
    low = [0] * rank
    above = b.slice(work, low, (*lanes, n, n))
    return above, b.slice(work, [*low[:-2], n, 0], (*lanes, 2 * n, n))


def _met(b: Emitter, work: Value, off: Value, rows: int) -> list[Value]:
    """Each column of the first half made orthogonal to its partner; then all move on."""
    s, lanes, (height, even) = b.s, work.shape[:-2], work.shape[-2:]
    half, rank = even // 2, len(work.shape)
    low = [0] * rank
    p = b.slice(work, low, (*lanes, height, half))
    q = b.slice(work, [*low[:-1], half], (*lanes, height, even))
    top = [b.slice(v, low, (*lanes, rows, half)) for v in (p, q)]
    alpha, beta = (total(b, s.square(s.abs(v)), -2) for v in top)
    left = s.conj(top[0]) if dtypes.kind_of(work.dtype) == "c" else top[0]
    gamma = total(b, s.mul(left, top[1]), -2)
    size = s.abs(gamma)
    whole = s.sqrt(s.mul(alpha, beta))
    eps = float(np.finfo(size.dtype).eps)
    turns = s.gt(size, s.mul(whole, eps))
    one, zero = b.full((), 1, size.dtype), b.full((), 0, size.dtype)
    safe = b.select(turns, size, one)
    zeta = s.div(s.sub(beta, alpha), s.mul(safe, 2.0))
    tangent = s.div(one, s.add(s.abs(zeta), s.sqrt(s.add(s.square(zeta), 1.0))))
    tangent = b.select(turns, s.copysign(tangent, zeta), zero)
    cosine = s.rsqrt(s.add(s.square(tangent), 1.0))
    sine = s.mul(cosine, tangent)
    phase = s.div(gamma, s.convert(safe, gamma.dtype))
    phase = b.select(turns, phase, b.full((), 1, gamma.dtype))
    if dtypes.kind_of(work.dtype) == "c":
        phase = s.conj(phase)
    q = s.mul(q, across(b, phase, q))
    c, d = (across(b, s.convert(v, work.dtype), p) for v in (cosine, sine))
    p, q = s.sub(s.mul(c, p), s.mul(d, q)), s.add(s.mul(d, p), s.mul(c, q))
    ratio = b.select(turns, s.div(size, b.select(turns, whole, one)), zero)
    most = b.reduce([ratio], range(len(ratio.shape)), [0], lambda s, a, v: [s.max(a[0], v[0])])[0]
    return [_moved_on(b, p, q), s.max(off, most)]


def _moved_on(b: Emitter, p: Value, q: Value) -> Value:
    """The next round: the first column stays, the others go around the table by one seat."""
    half, axis = p.shape[-1], len(p.shape) - 1

    def part(x: Value, start: int, stop: int) -> Value:
        low = [0] * len(x.shape)
        return b.slice(x, [*low[:-1], start], (*x.shape[:-1], stop))

    if half == 1:
        return b.concatenate([p, q], axis)
    first = [part(p, 0, 1), part(q, 0, 1), part(p, 1, half - 1)]
    seats = [*first, part(q, 1, half), part(p, half - 1, half)]
    return b.concatenate([x for x in seats if x.shape[-1]], axis)


def _descending(b: Emitter, values: Value) -> Value:
    """The permutation matrices that bring numbers into descending order."""
    s, n = b.s, values.shape[-1]
    square = (*values.shape, n)
    rank = len(square)
    rows = b.broadcast(values, square, range(rank - 1))
    columns = b.broadcast(values, square, (*range(rank - 2), rank - 1))
    i, j = (b.iota(square, dtypes.int32, rank - k) for k in (2, 1))
    before = s.or_(s.gt(columns, rows), s.and_(s.eq(columns, rows), s.lt(j, i)))
    place = total(b, s.convert(before, np.dtype(np.int32)), -1)
    chosen = s.eq(b.broadcast(place, square, range(rank - 1)), j)
    return b.convert(chosen, values.dtype)


def _directions(b: Emitter, x: Value) -> Value:
    """Orthogonal columns, descending, as orthonormal ones: those of zeros are made up."""
    s = b.s
    q, r = hlo_linalg.qr(b, x, pivoting=False, full_matrices=False, use_magma=None)
    on = s.eq(positions(b, r, -2), positions(b, r, -1))
    diagonal = total(b, b.select(on, r, b.full((), 0, r.dtype)), -2)
    size = s.abs(diagonal)
    zero = s.eq(size, 0.0)
    phase = s.div(diagonal, s.convert(b.select(zero, b.full((), 1, size.dtype), size), r.dtype))
    phase = b.select(zero, b.full((), 1, r.dtype), phase)
    return s.mul(q, across(b, phase, q))  # type: ignore[no-any-return]


def _completed(b: Emitter, q: Value | None, u: Value) -> Value:
    """The vectors of a matrix from those of its triangle."""
    if q is None:
        return u
    lanes, n, rank = u.shape[:-2], u.shape[-1], len(u.shape)
    m, k = q.shape[-2:]
    low = [0] * rank
    first = product(b, b.slice(q, low, (*lanes, m, n)), u)
    if k == n:
        return first
    return b.concatenate([first, b.slice(q, [*low[:-1], n], (*lanes, m, k))], rank - 1)
