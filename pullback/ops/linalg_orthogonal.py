"""Orthogonality: `qr`, `geqrf`, `householder_product`, `ormqr`, `hessenberg`, `tridiagonal`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from pullback.core import dtypes
from pullback.core.avals import ShapedArray, aval_of
from pullback.core.primitive import Primitive, Sample, Zero
from pullback.ops import hlo_linalg, hlo_reflectors, kinds, linalg_lapack, linalg_reflectors
from pullback.ops.arithmetic import add, mul, neg, sub
from pullback.ops.joining import concatenate
from pullback.ops.linalg_lapack import Routines, routine
from pullback.ops.linalg_lu import rows_taken
from pullback.ops.linalg_matrices import (
    NO_SLOPE,
    adjoint,
    check_matrix,
    check_square,
    decomposition,
    draw_matrix,
    eye_like,
    is_complex,
    matmul,
    matrix_samples,
    part,
    stripped,
    tangents_of,
    transposed,
    tril,
    triu,
)
from pullback.ops.linalg_triangular import solve_triangle

__all__ = ["geqrf", "hessenberg", "householder_product", "ormqr", "qr", "tridiagonal"]

_BLOCK = 64
"""Columns that LAPACK's blocked routines like to have scratch memory for."""

# --------------------------------------------------------------------------- qr


def _qr_abstract(
    x: ShapedArray, *, pivoting: bool, full_matrices: bool, use_magma: Any
) -> list[ShapedArray]:
    check_matrix("qr", x)
    m, n = x.shape[-2:]
    k = m if full_matrices else min(m, n)
    outs = [stripped(x, (m, k)), stripped(x, (k, n))]
    return [*outs, stripped(x, (n,), dtypes.int32)] if pivoting else outs


def _qr_reference(x: Any, *, pivoting: bool, full_matrices: bool, use_magma: Any) -> list[Any]:
    if not pivoting:
        q, r = np.linalg.qr(x, mode="complete" if full_matrices else "reduced")
        return [np.ascontiguousarray(q), np.ascontiguousarray(r)]
    m, n = x.shape[-2:]
    k = m if full_matrices else min(m, n)
    like = [((m, k), x.dtype), ((k, n), x.dtype), ((n,), np.dtype(np.int32))]
    if not x.size:
        q = np.broadcast_to(np.eye(m, k, dtype=x.dtype), (*x.shape[:-2], m, k)).copy()
        order = np.broadcast_to(np.arange(n, dtype=np.int32), (*x.shape[:-2], n)).copy()
        return [q, np.zeros((*x.shape[:-2], k, n), x.dtype), order]
    geqp3, orgqr = routine("geqp3", x.dtype), routine("orgqr", x.dtype)

    def lane(a: Any) -> list[Any]:
        packed, order, tau = geqp3(a)[:3]
        wide = np.zeros((m, k), x.dtype)
        wide[:, : min(m, n)] = packed[:, : min(k, n)]
        return [orgqr(wide, tau)[0], np.triu(packed)[:k], order - 1]

    return linalg_lapack.per_lane(lane, x, ranks=(2,), like=like)  # type: ignore[no-any-return]


def _qr_lower(b: Any, x: Any, *, pivoting: bool, full_matrices: bool, use_magma: Any) -> list[Any]:
    m, n = x.shape[-2:]
    lanes, k, small = x.shape[:-2], m if full_matrices else min(m, n), min(m, n)
    if not np.prod(x.shape):
        return _qr_empty(b, x, k, pivoting)
    if not pivoting and linalg_reflectors.is_large(x):
        reflectors = linalg_reflectors.Reflectors(b, x)
        q = reflectors.q(k) if b.wants(0) else b.full((*lanes, k, m), 0, x.dtype)
        return [_rows(b, q, m), _upper(b, reflectors.packed, k)]
    call = Routines(b, x)
    packed, status = linalg_lapack.by_columns(b, x), call.status()
    q = b.buffer((*lanes, k, m), x.dtype)
    tau, work = call.work(small), call.work((n + m) * _BLOCK + 2 * n)
    real_work = call.work(2 * n, call.real)
    order = b.buffer((*lanes, n), dtypes.int32, b.full((*lanes, n), 0, dtypes.int32))
    room = (n + m) * _BLOCK + 2 * n

    def lane(i: list[Any]) -> None:
        a, info = b.part(packed, i), b.part(status, i)
        if pivoting:
            extra = [real_work] if call.complex else []
            call("geqp3", m, n, a, m, b.part(order, i), tau, work, room, *extra, info)
        else:
            call("geqrf", m, n, a, m, tau, work, room, info)
        with b.loop(small) as c, b.loop(m) as r:
            b.store(q, [*i, c, r], b.load(packed, [*i, c, r]))
        call.unitary("gqr", m, k, small, b.part(q, i), m, tau, work, room, info)

    call.each_lane(lane)
    outs = [linalg_lapack.swapped(b, q), _upper(b, packed, k)]
    return [*outs, b.map(lambda s, e: s.sub(e, 1), order)] if pivoting else outs


def _rows(b: Any, columns: Any, m: int) -> Any:
    """A matrix of m rows that stands column by column, perhaps with more rows."""
    shape = (*columns.shape[:-2], m, columns.shape[-2])
    return b.view(shape, lambda i: columns.at([*i[:-2], i[-1], i[-2]]))


def _upper(b: Any, packed: Any, rows: int) -> Any:
    """The first rows of R, of a decomposition that stands column by column."""
    zero = b.s.const(0, packed.dtype)

    def at(i: tuple[Any, ...]) -> Any:
        return b.s.select(i[-2] <= i[-1], packed.at([*i[:-2], i[-1], i[-2]]), zero)

    return b.view((*packed.shape[:-2], rows, packed.shape[-2]), at)


def _qr_empty(b: Any, x: Any, k: int, pivoting: bool) -> list[Any]:
    m, n = x.shape[-2:]
    lanes, s = x.shape[:-2], b.s
    one, zero = s.const(1, x.dtype), s.const(0, x.dtype)
    unit = b.view(
        (*lanes, m, k), lambda i: s.select(s.and_(i[-2] <= i[-1], i[-2] >= i[-1]), one, zero)
    )
    outs = [unit, b.full((*lanes, k, n), 0, x.dtype)]
    return [*outs, b.iota((*lanes, n), dtypes.int32, len(lanes))] if pivoting else outs


def _qr_jvp(primals: Any, tangents: Any, *, pivoting: bool, **params: Any) -> tuple[Any, Any]:
    """dA R^-1 = dQ + Q dR R^-1: the lower triangle of Q' dA R^-1 is that of Q' dQ.

    S. F. Walter, L. Lehmann, R. Lamour, "On evaluating higher-order derivatives of the QR
    decomposition of tall matrices with full column rank", Optim. Methods Softw. 27 (2012).
    """
    (x,), (t,) = primals, tangents
    outs = qr(x, pivoting=pivoting, **params)
    if type(t) is Zero or 0 in aval_of(x).shape:
        return outs, tangents_of(outs)
    if pivoting:
        t = transposed(rows_taken(transposed(t), outs[2]))
    m, n = aval_of(x).shape[-2:]
    k = min(m, n)
    q, r = part(outs[0], None, (0, k)), part(outs[1], (0, k), None)
    dq, dr = _qr_slopes(q, part(r, None, (0, k)), part(t, None, (0, k)))
    if n > k:  # the other columns of R are Q' A
        rest, rest_dot = part(r, None, (k, n)), part(t, None, (k, n))
        rest = add(matmul(adjoint(dq), matmul(q, rest)), matmul(adjoint(q), rest_dot))
        dr = concatenate(dr, rest, dimension=aval_of(dr).ndim - 1)
    if aval_of(outs[0]).shape[-1] > k:
        dq, dr = _completed(outs[0], q, dq, dr, m - k)
    return outs, [dq, dr, *tangents_of(outs[2:])]


def _qr_slopes(q: Any, r: Any, t: Any) -> tuple[Any, Any]:
    scaled = solve_triangle(r, t, left=False, lower=False)
    inner = matmul(adjoint(q), scaled)
    below = tril(inner, -1)
    turn = sub(below, adjoint(below))
    if is_complex(q):  # the diagonal of R stays real
        on_diagonal = mul(eye_like(inner), inner)
        half = kinds.scalar_like(inner, 0.5)
        turn = add(turn, mul(sub(on_diagonal, adjoint(on_diagonal)), half))
    dq = add(matmul(q, sub(turn, inner)), scaled)
    return dq, triu(matmul(sub(inner, turn), r))


def _completed(full: Any, q: Any, dq: Any, dr: Any, count: int) -> tuple[Any, Any]:
    """The columns that complete Q turn only as far as those of the column space make them."""
    k, m = aval_of(q).shape[-1], aval_of(full).shape[-1]
    rest = part(full, None, (k, m))
    turned = neg(matmul(q, matmul(adjoint(dq), rest)))
    zeros = kinds.broadcast(
        kinds.scalar_like(dr, 0), (*aval_of(dr).shape[:-2], count, aval_of(dr).shape[-1])
    )
    rank = aval_of(dq).ndim
    return (
        concatenate(dq, turned, dimension=rank - 1),
        concatenate(dr, zeros, dimension=rank - 2),
    )


def _qr_samples() -> Iterator[Sample]:
    shapes: list[tuple[int, ...]] = [(4, 3), (2, 3, 3), (3, 5), (1, 1), (0, 0), (2, 0), (21, 20)]
    for full in (False, True):
        for pivoting in (False, True):
            for names in (("float32", "float64"), ("complex64", "complex128")):
                # The phases of the columns that complete a complex basis are free.
                smooth = not (full and "complex64" in names)
                params: dict[str, Any] = {
                    "pivoting": pivoting,
                    "full_matrices": full,
                    "use_magma": None,
                }
                yield from matrix_samples(
                    shapes, dtype_names=names, smooth=smooth, tol=100.0, **params
                )()


qr: Primitive = decomposition(
    "qr",
    abstract=_qr_abstract,
    reference=_qr_reference,
    jvp=_qr_jvp,
    lower=_qr_lower,
    hlo=hlo_linalg.qr,
    samples=_qr_samples,
    results=lambda *, pivoting, **_: 3 if pivoting else 2,
)

# --------------------------------------------------------------------------- reflectors


def _geqrf_abstract(x: ShapedArray) -> list[ShapedArray]:
    check_matrix("geqrf", x)
    return [stripped(x, x.shape[-2:]), stripped(x, (min(x.shape[-2:]),))]


def _geqrf_reference(x: Any) -> list[Any]:
    k = min(x.shape[-2:])
    if not x.size:
        return [x.copy(), np.zeros((*x.shape[:-2], k), x.dtype)]
    factor = routine("geqrf", x.dtype)
    like = [(x.shape[-2:], x.dtype), ((k,), x.dtype)]
    return linalg_lapack.per_lane(  # type: ignore[no-any-return]
        lambda a: list(factor(a)[:2]), x, ranks=(2,), like=like
    )


def _geqrf_lower(b: Any, x: Any) -> list[Any]:
    (m, n), lanes = x.shape[-2:], x.shape[:-2]
    k = min(m, n)
    if not np.prod(x.shape):
        return [x, b.full((*lanes, k), 0, x.dtype)]
    if linalg_reflectors.is_large(x):
        reflectors = linalg_reflectors.Reflectors(b, x)
        return [_rows(b, reflectors.packed, m), reflectors.taus]
    call = Routines(b, x)
    packed, status = linalg_lapack.by_columns(b, x), call.status()
    taus, room = b.buffer((*lanes, k), x.dtype), (n + m) * _BLOCK
    work = call.work(room)

    def lane(i: list[Any]) -> None:
        call("geqrf", m, n, b.part(packed, i), m, b.part(taus, i), work, room, b.part(status, i))

    call.each_lane(lane)
    return [linalg_lapack.swapped(b, packed), taus]


geqrf: Primitive = decomposition(
    "geqrf",
    abstract=_geqrf_abstract,
    reference=_geqrf_reference,
    jvp=NO_SLOPE("geqrf"),
    lower=_geqrf_lower,
    hlo=hlo_linalg.geqrf,
    samples=matrix_samples(
        [(4, 3), (2, 3, 3), (3, 5), (1, 1), (0, 0), (2, 0), (21, 20)],
        dtype_names=("float32", "float64", "complex64"),
        smooth=False,
        tol=100.0,
    ),
    results=2,
)


def _product_abstract(a: ShapedArray, taus: ShapedArray) -> ShapedArray:
    check_matrix("householder_product", a)
    _check_taus("householder_product", a, taus)
    if a.shape[-1] > a.shape[-2]:
        raise ValueError(f"householder_product takes no wide matrices, got {a.str_short()}")
    return ShapedArray(a.shape, a.dtype)


def _check_taus(name: str, a: Any, taus: Any) -> None:
    if (
        taus.dtype != a.dtype
        or taus.shape[:-1] != a.shape[:-2]
        or taus.shape[-1] > min(a.shape[-2:])
    ):
        raise TypeError(
            f"{name}: reflectors {a.str_short()} and their factors {taus.str_short()} do not fit"
        )


def _product_reference(a: Any, taus: Any) -> Any:
    if not a.size:
        return a.copy()
    orgqr = routine("orgqr", a.dtype)
    like = [(a.shape[-2:], a.dtype)]
    return linalg_lapack.per_lane(
        lambda x, tau: [orgqr(x, tau)[0]], a, taus, ranks=(2, 1), like=like
    )[0]


def _product_lower(b: Any, a: Any, taus: Any) -> Any:
    if not np.prod(a.shape):
        return a
    (m, n), k = a.shape[-2:], taus.shape[-1]
    call = Routines(b, a)
    q, status, work = linalg_lapack.by_columns(b, a), call.status(), call.work(n * _BLOCK)
    taus = b.materialize(taus)

    def lane(i: list[Any]) -> None:
        call.unitary("gqr", m, n, k, b.part(q, i), m, b.part(taus, i), work, n * _BLOCK,
                     b.part(status, i))  # fmt: skip

    call.each_lane(lane)
    return linalg_lapack.swapped(b, q)


def _reflectors(shapes: Any, extra: Any = ()) -> Iterator[tuple[Any, ...]]:
    rng = np.random.default_rng(9)
    for dtype in ("float32", "float64", "complex64", "complex128"):
        for shape in shapes:
            a, k = draw_matrix(rng, shape, dtype) / 3, min(shape[-2:])
            taus = rng.uniform(0.2, 0.9, (*shape[:-2], k)).astype(dtype)
            yield a.astype(dtype), taus, rng


def _product_samples() -> Iterator[Sample]:
    for a, taus, _ in _reflectors([(4, 3), (2, 5, 5), (12, 9)]):
        yield Sample((a, taus), tol=50.0, smooth=False)


householder_product: Primitive = decomposition(
    "householder_product",
    abstract=_product_abstract,
    reference=_product_reference,
    jvp=NO_SLOPE("householder_product"),
    lower=_product_lower,
    hlo=hlo_linalg.householder_product,
    samples=_product_samples,
    results=0,
)


def _ormqr_abstract(
    a: ShapedArray, taus: ShapedArray, c: ShapedArray, *, left: bool, transpose: bool
) -> ShapedArray:
    check_matrix("ormqr", a)
    check_matrix("ormqr", c)
    _check_taus("ormqr", a, taus)
    if (
        c.dtype != a.dtype
        or c.shape[:-2] != a.shape[:-2]
        or c.shape[-2 if left else -1] != a.shape[-2]
    ):
        raise ValueError(f"ormqr: operands do not fit: {kinds.operand_types([a, taus, c])}")
    return ShapedArray(c.shape, c.dtype)


def _ormqr_reference(a: Any, taus: Any, c: Any, *, left: bool, transpose: bool) -> Any:
    if not c.size:
        return c.copy()
    ormqr_ = routine("ormqr", a.dtype)
    trans = "N" if not transpose else "C" if a.dtype.kind == "c" else "T"
    k, room = taus.shape[-1], max(c.shape[-2:]) * _BLOCK + 65 * _BLOCK

    def lane(x: Any, tau: Any, y: Any) -> list[Any]:
        return [ormqr_("L" if left else "R", trans, x[:, :k], tau, y, room)[0]]

    like = [(c.shape[-2:], c.dtype)]
    return linalg_lapack.per_lane(lane, a, taus, c, ranks=(2, 1, 2), like=like)[0]


def _ormqr_lower(b: Any, a: Any, taus: Any, c: Any, *, left: bool, transpose: bool) -> Any:
    if not np.prod(c.shape):
        return c
    (m, n), k = c.shape[-2:], taus.shape[-1]
    call = Routines(b, a)
    out, vectors = linalg_lapack.by_columns(b, c), linalg_lapack.by_columns(b, a)
    room = max(m, n) * _BLOCK + 65 * _BLOCK
    status, work, taus = call.status(), call.work(room), b.materialize(taus)
    trans = "N" if not transpose else "C" if call.complex else "T"

    def lane(i: list[Any]) -> None:
        call.unitary("mqr", "L" if left else "R", trans, m, n, k, b.part(vectors, i), a.shape[-2],
                     b.part(taus, i), b.part(out, i), m, work, room,
                     b.part(status, i))  # fmt: skip

    call.each_lane(lane)
    return linalg_lapack.swapped(b, out)


def _ormqr_samples() -> Iterator[Sample]:
    for a, taus, rng in _reflectors([(4, 3), (2, 5, 5), (12, 9)]):
        for bits in range(4):
            left, transpose = bool(bits & 1), bool(bits & 2)
            m = a.shape[-2]
            shape = (*a.shape[:-2], *((m, 2) if left else (2, m)))
            c = draw_matrix(rng, shape, a.dtype)
            params = {"left": left, "transpose": transpose}
            yield Sample((a, taus, c), params, tol=50.0, smooth=False)


ormqr: Primitive = decomposition(
    "ormqr",
    abstract=_ormqr_abstract,
    reference=_ormqr_reference,
    jvp=NO_SLOPE("ormqr"),
    lower=_ormqr_lower,
    hlo=hlo_linalg.ormqr,
    samples=_ormqr_samples,
    results=0,
)

# --------------------------------------------------------------------------- similar matrices


def _hessenberg_abstract(a: ShapedArray) -> list[ShapedArray]:
    check_square("hessenberg", a)
    return [stripped(a, a.shape[-2:]), stripped(a, (max(a.shape[-1] - 1, 0),))]


def _hessenberg_reference(a: Any) -> list[Any]:
    n = a.shape[-1]
    if not a.size:
        return [a.copy(), np.zeros((*a.shape[:-2], max(n - 1, 0)), a.dtype)]
    gehrd = routine("gehrd", a.dtype)
    like = [((n, n), a.dtype), ((n - 1,), a.dtype)]
    return linalg_lapack.per_lane(  # type: ignore[no-any-return]
        lambda x: gehrd(x, lo=0, hi=n - 1)[:2], a, ranks=(2,), like=like
    )


def _hessenberg_lower(b: Any, a: Any) -> list[Any]:
    n, lanes = a.shape[-1], a.shape[:-2]
    if not np.prod(a.shape):
        return [a, b.full((*lanes, max(n - 1, 0)), 0, a.dtype)]
    call = Routines(b, a)
    out, status, room = linalg_lapack.by_columns(b, a), call.status(), n * _BLOCK
    taus, work = b.buffer((*lanes, n - 1), a.dtype), call.work(room)

    def lane(i: list[Any]) -> None:
        call("gehrd", n, 1, n, b.part(out, i), n, b.part(taus, i), work, room, b.part(status, i))

    call.each_lane(lane)
    return [linalg_lapack.swapped(b, out), taus]


hessenberg: Primitive = decomposition(
    "hessenberg",
    abstract=_hessenberg_abstract,
    reference=_hessenberg_reference,
    jvp=NO_SLOPE("hessenberg"),
    lower=_hessenberg_lower,
    hlo=hlo_reflectors.hessenberg,
    samples=matrix_samples([(4, 4), (2, 6, 6), (1, 1), (0, 0)], smooth=False, tol=100.0),
    results=2,
)


def _tridiagonal_abstract(a: ShapedArray, *, lower: bool) -> list[ShapedArray]:
    check_square("tridiagonal", a)
    n, real = a.shape[-1], linalg_lapack.real_dtype(a.dtype)
    if not n:
        raise TypeError("tridiagonal takes matrices of one row or more")
    return [
        stripped(a, (n, n)),
        stripped(a, (n,), real),
        stripped(a, (n - 1,), real),
        stripped(a, (n - 1,)),
    ]


def _tridiagonal_reference(a: Any, *, lower: bool) -> list[Any]:
    n, real = a.shape[-1], linalg_lapack.real_dtype(a.dtype)
    sytrd = routine("hetrd" if a.dtype.kind == "c" else "sytrd", a.dtype)
    like = [((n, n), a.dtype), ((n,), real), ((n - 1,), real), ((n - 1,), a.dtype)]
    return linalg_lapack.per_lane(  # type: ignore[no-any-return]
        lambda x: sytrd(x, lower=lower)[:4], a, ranks=(2,), like=like
    )


def _tridiagonal_lower(b: Any, a: Any, *, lower: bool) -> list[Any]:
    n, lanes = a.shape[-1], a.shape[:-2]
    call = Routines(b, a)
    out, status, room = linalg_lapack.by_columns(b, a), call.status(), n * _BLOCK
    work, parts = call.work(room), [(call.real, n), (call.real, n - 1), (a.dtype, n - 1)]
    results = [b.buffer((*lanes, size), dtype) for dtype, size in parts]
    name = "hetrd" if call.complex else "sytrd"

    def lane(i: list[Any]) -> None:
        call(name, "L" if lower else "U", n, b.part(out, i), n, *[b.part(v, i) for v in results],
             work, room, b.part(status, i))  # fmt: skip

    call.each_lane(lane)
    return [linalg_lapack.swapped(b, out), *results]


def _tridiagonal_samples() -> Iterator[Sample]:
    for lower in (True, False):
        yield from matrix_samples(
            [(4, 4), (2, 6, 6), (1, 1)], smooth=False, tol=100.0, lower=lower
        )()


tridiagonal: Primitive = decomposition(
    "tridiagonal",
    abstract=_tridiagonal_abstract,
    reference=_tridiagonal_reference,
    jvp=NO_SLOPE("tridiagonal"),
    lower=_tridiagonal_lower,
    hlo=hlo_reflectors.tridiagonal,
    samples=_tridiagonal_samples,
    results=4,
)
