"""Eigenvalues and singular values: `eigh`, `svd`, `eig` and `schur`.

Derivatives divide by differences of eigenvalues.  Where two are equal the vectors are not unique,
and the quotient is taken as 0: functions that do not depend on the choice of vectors then have
finite derivatives, the true ones.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from typing import Any

import numpy as np

from pullback.core import dtypes
from pullback.core.avals import ShapedArray, aval_of
from pullback.core.primitive import Primitive, Sample, Zero
from pullback.ops import comparison, hlo_linalg, hlo_svd, kinds, linalg_lapack, rearrange
from pullback.ops.arithmetic import add, div, mul, sub
from pullback.ops.complexes import real
from pullback.ops.linalg_lapack import Routines, real_dtype
from pullback.ops.linalg_matrices import (
    adjoint,
    as_dtype_of,
    check_matrix,
    check_square,
    columns_scaled,
    decomposition,
    diagonal,
    eye_like,
    is_complex,
    matmul,
    matrix_samples,
    stripped,
    tangents_of,
)

__all__ = [
    "EigImplementation",
    "EighImplementation",
    "SvdAlgorithm",
    "eigh",
    "quotients",
    "svd",
]


class EighImplementation(enum.Enum):
    """How `eigh` is computed; on CPUs it is always QR, LAPACK's."""

    QR = "qr"
    JACOBI = "jacobi"
    QDWH = "qdwh"


class EigImplementation(enum.Enum):
    """How `eig` is computed; on CPUs it is always LAPACK's."""

    CUSOLVER = "cusolver"
    MAGMA = "magma"
    LAPACK = "lapack"


class SvdAlgorithm(enum.Enum):
    """How `svd` is computed: `QR` (gesvd) or, as `DEFAULT`, divide and conquer (gesdd)."""

    DEFAULT = "default"
    QR = "QR"
    JACOBI = "Jacobi"
    POLAR = "polar"


# --------------------------------------------------------------------------- shared


def real_part(x: Any) -> Any:
    """The real part; a real value itself."""
    return real(x) if is_complex(x) else x


def pairs_of(w: Any, matrix: Any) -> tuple[Any, Any]:
    """Matrices with w_i, and with w_j, at (i, j)."""
    shape = aval_of(matrix).shape
    lanes = range(len(shape) - 2)
    rows = kinds.broadcast(w, shape, (*lanes, len(shape) - 2))
    return rows, kinds.broadcast(w, shape, (*lanes, len(shape) - 1))


def quotients(gap: Any) -> Any:
    """1 / gap, and 0 where the gap is 0."""
    none = comparison.eq(gap, rearrange.full_like(gap, 0))
    one = rearrange.full_like(gap, 1)
    safe = comparison.select_n(none, gap, one)
    return comparison.select_n(none, div(one, safe), rearrange.full_like(gap, 0))


def _subset(name: str, n: int, subset_by_index: Any) -> int:
    """How many values are asked for."""
    if subset_by_index is None or tuple(subset_by_index) == (0, n):
        return n
    raise NotImplementedError(
        f"{name}: subset_by_index {subset_by_index} is not supported on CPUs; take all {n}"
    )


# --------------------------------------------------------------------------- eigh


def _eigh_abstract(x: ShapedArray, *, subset_by_index: Any, **_: Any) -> list[ShapedArray]:
    check_square("eigh", x)
    n = x.shape[-1]
    _subset("eigh", n, subset_by_index)
    return [stripped(x, (n, n)), stripped(x, (n,), real_dtype(x.dtype))]


def _eigh_reference(x: Any, *, lower: bool, **_: Any) -> list[Any]:
    def batched(a: Any) -> list[Any]:
        values, vectors = np.linalg.eigh(a, UPLO="L" if lower else "U")
        return [vectors, values]

    return linalg_lapack.guarded(x, batched)


def _eigh_lower(b: Any, x: Any, *, lower: bool, **_: Any) -> list[Any]:
    n, lanes = x.shape[-1], x.shape[:-2]
    call = Routines(b, x)
    if not np.prod(x.shape):
        return [x, b.full((*lanes, n), 0, call.real)]
    good = linalg_lapack.finite_lanes(b, x)
    vectors, status = linalg_lapack.by_columns(b, x), call.status()
    values = b.buffer((*lanes, n), call.real)
    room = 1 + 6 * n + 2 * n * n
    work, integers = call.work(room), call.work(3 + 5 * n, dtypes.int32)
    real_room = 1 + 5 * n + 2 * n * n
    real_work = [call.work(real_room, call.real), real_room] if call.complex else []
    name, part = "heevd" if call.complex else "syevd", "L" if lower else "U"
    job = "V" if b.wants(0) else "N"

    def lane(i: list[Any]) -> None:
        with b.if_(good.at(i)):
            call(name, job, part, n, b.part(vectors, i), n, b.part(values, i), work, room,
                 *real_work, integers, 3 + 5 * n, b.part(status, i))  # fmt: skip

    call.each_lane(lane)
    outs = [linalg_lapack.swapped(b, vectors), values]
    return [linalg_lapack.lanes_nan(b, out, status, good) for out in outs]


def _eigh_jvp(primals: Any, tangents: Any, **params: Any) -> tuple[Any, Any]:
    """dw = diag(V' dA V), dV = V (F * V' dA V) with F_ij = 1 / (w_j - w_i)."""
    (x,), (t,) = primals, tangents
    vectors, values = outs = eigh(x, **params)
    if type(t) is Zero:
        return outs, tangents_of(outs)
    inner = matmul(matmul(adjoint(vectors), t), vectors)
    w_i, w_j = pairs_of(values, inner)
    factors = as_dtype_of(quotients(sub(w_j, w_i)), inner)
    return outs, [matmul(vectors, mul(factors, inner)), real_part(diagonal(inner))]


def _hermitian(x: Any) -> Any:
    return (x + np.swapaxes(x, -1, -2).conj()) / 2


_SHAPES: tuple[tuple[int, ...], ...] = ((3, 3), (2, 5, 5), (1, 1), (0, 0), (0, 2, 2))


def _eigh_samples() -> Iterator[Sample]:
    # The derivative is that for Hermitian perturbations: tests of their own cover it.  In single
    # precision the signs of vectors depend on rounding, so few of those are compared.
    rest = {"sort_eigenvalues": True, "subset_by_index": None, "algorithm": None}
    for lower in (True, False):
        for names, shapes in ((("float64", "complex128"), _SHAPES), (("float32",), _SHAPES[2:])):
            yield from matrix_samples(
                shapes, _hermitian, names, False, 1000.0, lower=lower, **rest
            )()
    bad = np.stack([np.eye(3), np.full((3, 3), np.nan)]).astype(np.float32)
    yield Sample((bad,), {"lower": True, **rest}, smooth=False)


eigh: Primitive = decomposition(
    "eigh",
    abstract=_eigh_abstract,
    reference=_eigh_reference,
    jvp=_eigh_jvp,
    lower=_eigh_lower,
    hlo=hlo_linalg.eigh,
    samples=_eigh_samples,
    results=2,
)

# --------------------------------------------------------------------------- svd


def _svd_abstract(
    x: ShapedArray, *, full_matrices: bool, compute_uv: bool, subset_by_index: Any, algorithm: Any
) -> list[ShapedArray]:
    check_matrix("svd", x)
    m, n = x.shape[-2:]
    k = min(m, n)
    _subset("svd", k, subset_by_index)
    values = stripped(x, (k,), real_dtype(x.dtype))
    if not compute_uv:
        return [values]
    left, right = ((m, m), (n, n)) if full_matrices else ((m, k), (k, n))
    return [values, stripped(x, left), stripped(x, right)]


def _svd_reference(x: Any, *, full_matrices: bool, compute_uv: bool, **_: Any) -> list[Any]:
    def batched(a: Any) -> list[Any]:
        if not compute_uv:
            return [np.linalg.svd(a, compute_uv=False)]
        u, s, vt = np.linalg.svd(a, full_matrices=full_matrices)
        return [s, u, vt]

    return linalg_lapack.guarded(x, batched)


def _svd_room(m: int, n: int, is_complex_: bool) -> tuple[int, int]:
    """Sizes of gesdd's scratch arrays for all of its jobs, with room for blocks."""
    small, large = min(m, n), max(m, n)
    square = small * small
    blocks = 64 * (m + n)
    if is_complex_:
        return square + 3 * small + large + blocks + small * small, max(
            5 * square + 7 * small, 2 * large * small + 2 * square + small
        )
    return 4 * square + 7 * small + large + blocks, 1


def _svd_lower(
    b: Any, x: Any, *, full_matrices: bool, compute_uv: bool, subset_by_index: Any, algorithm: Any
) -> list[Any]:
    (m, n), lanes = x.shape[-2:], x.shape[:-2]
    k, call = min(m, n), Routines(b, x)
    if not np.prod(x.shape):
        return _svd_empty(b, x, full_matrices, compute_uv)
    good = linalg_lapack.finite_lanes(b, x)
    a, status = linalg_lapack.by_columns(b, x), call.status()
    left, right = (m, n) if full_matrices else (k, k)
    u, vt = b.buffer((*lanes, left, m), x.dtype), b.buffer((*lanes, n, right), x.dtype)
    values = b.buffer((*lanes, k), call.real)
    room, real_room = _svd_room(m, n, call.complex)
    work, integers = call.work(room), call.work(8 * k, dtypes.int32)
    real_work = [call.work(real_room, call.real)] if call.complex else []
    vectors = compute_uv and (b.wants(1) or b.wants(2))
    job = "N" if not vectors else "A" if full_matrices else "S"

    def lane(i: list[Any]) -> None:
        with b.if_(good.at(i)):
            call("gesdd", job, m, n, b.part(a, i), m, b.part(values, i), b.part(u, i), m,
                 b.part(vt, i), right, work, room, *real_work, integers,
                 b.part(status, i))  # fmt: skip

    call.each_lane(lane)
    outs = [values]
    if compute_uv:
        outs += [linalg_lapack.swapped(b, u), linalg_lapack.swapped(b, vt)]
    return [linalg_lapack.lanes_nan(b, out, status, good) for out in outs]


def _svd_empty(b: Any, x: Any, full_matrices: bool, compute_uv: bool) -> list[Any]:
    (m, n), lanes, s = x.shape[-2:], x.shape[:-2], b.s
    one, zero = s.const(1, x.dtype), s.const(0, x.dtype)

    def unit(rows: int, columns: int) -> Any:
        def at(i: tuple[Any, ...]) -> Any:
            return s.select(s.and_(i[-2] <= i[-1], i[-2] >= i[-1]), one, zero)

        return b.view((*lanes, rows, columns), at)

    k = min(m, n)
    values = b.full((*lanes, k), 0, real_dtype(x.dtype))
    if not compute_uv:
        return [values]
    return [values, unit(m, m if full_matrices else k), unit(n if full_matrices else k, n)]


def _svd_jvp(primals: Any, tangents: Any, **params: Any) -> tuple[Any, Any]:
    """From A = U S V': U' dA V = (U' dU) S + dS - S (V' dV), both brackets skew-Hermitian.

    J. Townsend, "Differentiating the singular value decomposition" (2016).
    """
    (x,), (t,) = primals, tangents
    outs = svd(x, **params)
    m, n = aval_of(x).shape[-2:]
    if type(t) is Zero or 0 in aval_of(x).shape:
        return outs, tangents_of(outs)
    if params["compute_uv"] and params["full_matrices"] and m != n:
        raise NotImplementedError(
            "the derivative of svd for full_matrices=True of a matrix that is not square is not "
            "implemented: the vectors that complete the bases are not unique"
        )
    thin = {**params, "full_matrices": False, "compute_uv": True}
    s, u, vt = outs if params["compute_uv"] else svd(x, **thin)
    inner = matmul(matmul(adjoint(u), t), adjoint(vt))
    s_dot = real_part(diagonal(inner))
    if not params["compute_uv"]:
        return outs, [s_dot]
    return outs, [s_dot, *_vector_slopes(t, s, u, vt, inner)]


def _vector_slopes(t: Any, s: Any, u: Any, vt: Any, inner: Any) -> tuple[Any, Any]:
    v, (m, n), k = adjoint(vt), aval_of(t).shape[-2:], aval_of(s).shape[-1]
    s_i, s_j = pairs_of(s, inner)
    gaps = as_dtype_of(quotients(mul(sub(s_j, s_i), add(s_j, s_i))), inner)
    s_i, s_j = as_dtype_of(s_i, inner), as_dtype_of(s_j, inner)
    other = adjoint(inner)
    left = mul(gaps, add(mul(inner, s_j), mul(s_i, other)))
    right = mul(gaps, add(mul(s_i, inner), mul(other, s_j)))
    inverse = as_dtype_of(quotients(s), inner)
    if is_complex(inner):  # the phase of a pair of vectors is free: the right one keeps its own
        skew = mul(sub(inner, other), kinds.scalar_like(inner, 0.5))
        left = add(left, mul(eye_like(inner), columns_scaled(skew, inverse)))
    u_dot, v_dot = matmul(u, left), matmul(v, right)
    if m > k:
        out_of_span = sub(matmul(t, v), matmul(u, inner))
        u_dot = add(u_dot, columns_scaled(out_of_span, inverse))
    if n > k:
        out_of_span = sub(matmul(adjoint(t), u), matmul(v, other))
        v_dot = add(v_dot, columns_scaled(out_of_span, inverse))
    return u_dot, adjoint(v_dot)


def _svd_samples() -> Iterator[Sample]:
    shapes: list[tuple[int, ...]] = [(4, 3), (2, 3, 3), (3, 5), (1, 1), (0, 0), (2, 0)]
    rest = {"subset_by_index": None, "algorithm": None}
    for full in (True, False):
        params: dict[str, Any] = {"full_matrices": full, **rest}
        yield from matrix_samples(shapes, tol=1000.0, compute_uv=False, **params)()
        for name, chosen in (("float64", shapes), ("complex128", shapes), ("float32", shapes[3:])):
            # The phases of complex vectors jump, and those of a completed basis are free.
            smooth = name != "complex128" and not full
            yield from matrix_samples(
                chosen, _plain, (name,), smooth, 1000.0, compute_uv=True, **params
            )()
    bad = np.stack([np.eye(3), np.full((3, 3), np.nan)]).astype(np.float32)
    yield Sample((bad,), {"full_matrices": True, "compute_uv": True, **rest}, smooth=False)


def _plain(x: Any) -> Any:
    return x


svd: Primitive = decomposition(
    "svd",
    abstract=_svd_abstract,
    reference=_svd_reference,
    jvp=_svd_jvp,
    lower=_svd_lower,
    hlo=hlo_svd.svd,
    samples=_svd_samples,
    results=lambda *, compute_uv, **_: 3 if compute_uv else 1,
)
