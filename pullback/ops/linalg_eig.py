"""Matrices without symmetry: `eig` and `schur`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from pullback.core import dtypes
from pullback.core.avals import ShapedArray, aval_of
from pullback.core.primitive import Primitive, Sample, Zero, registry
from pullback.ops import comparison, kinds, linalg_lapack, rearrange
from pullback.ops.arithmetic import mul, sub
from pullback.ops.complexes import abs_, complex_, imag, real
from pullback.ops.linalg_lapack import Routines, routine
from pullback.ops.linalg_lu import lu, rows_taken
from pullback.ops.linalg_matrices import (
    NO_SLOPE,
    adjoint,
    as_dtype_of,
    check_square,
    columns_scaled,
    conjugated,
    decomposition,
    diagonal,
    matmul,
    matrix_samples,
    stripped,
    tangents_of,
)
from pullback.ops.linalg_spectral import pairs_of, quotients
from pullback.ops.linalg_triangular import solve_triangle

__all__ = ["eig", "general_solve", "schur"]


def complex_dtype(dtype: Any) -> Any:
    """The complex dtype of the same precision."""
    return dtypes.complex64 if dtype in (dtypes.float32, dtypes.complex64) else dtypes.complex128


def general_solve(a: Any, rhs: Any) -> Any:
    """A^-1 B by an LU decomposition."""
    both, _, order = lu(a)
    x = solve_triangle(both, rows_taken(rhs, order), lower=True, unit=True)
    return solve_triangle(both, x, lower=False)


# --------------------------------------------------------------------------- eig


def _eig_abstract(
    x: ShapedArray,
    *,
    compute_left_eigenvectors: bool,
    compute_right_eigenvectors: bool,
    enable_eigvec_derivs: bool = False,
    implementation: Any = None,
) -> list[ShapedArray]:
    check_square("eig", x)
    n, dtype = x.shape[-1], complex_dtype(x.dtype)
    count = int(compute_left_eigenvectors) + int(compute_right_eigenvectors)
    return [stripped(x, (n,), dtype), *[stripped(x, (n, n), dtype)] * count]


def _eig_reference(
    x: Any, *, compute_left_eigenvectors: bool, compute_right_eigenvectors: bool, **_: Any
) -> list[Any]:
    n, dtype = x.shape[-1], complex_dtype(x.dtype)
    jobs = (compute_left_eigenvectors, compute_right_eigenvectors)
    like = [((n,), dtype), *[((n, n), dtype)] * sum(jobs)]
    if not x.size:
        return [np.zeros((*x.shape[:-2], *shape), dtype) for shape, dtype in like]
    geev = routine("geev", x.dtype)

    def lane(a: Any) -> list[Any]:
        outs = geev(a, compute_vl=jobs[0], compute_vr=jobs[1])
        if x.dtype.kind == "c":
            values, left, right = outs[:3]
        else:
            values = outs[0] + 1j * outs[1]
            left, right = (_unpacked(outs[1], v) if on else v
                           for v, on in zip(outs[2:4], jobs, strict=True))  # fmt: skip
        if outs[-1]:
            return [np.full(shape, complex(np.nan, np.nan)) for shape, _ in like]
        return [values, *[v for v, on in zip((left, right), jobs, strict=True) if on]]

    return linalg_lapack.guarded(
        x, lambda a: linalg_lapack.per_lane(lane, a, ranks=(2,), like=like)
    )


def _unpacked(imaginary: Any, packed: Any) -> Any:
    """Vectors of conjugate pairs stand as a real and an imaginary column."""
    out = packed.astype(complex_dtype(packed.dtype))
    for k in np.flatnonzero(imaginary > 0):
        out[:, k] = packed[:, k] + 1j * packed[:, k + 1]
        out[:, k + 1] = out[:, k].conj()
    return out


def _eig_lower(
    b: Any, x: Any, *, compute_left_eigenvectors: bool, compute_right_eigenvectors: bool, **_: Any
) -> list[Any]:
    n, lanes, dtype = x.shape[-1], x.shape[:-2], complex_dtype(x.dtype)
    jobs = (compute_left_eigenvectors, compute_right_eigenvectors)
    if not np.prod(x.shape):
        return [b.full((*lanes, n), 0, dtype), *[b.full(x.shape, 0, dtype)] * sum(jobs)]
    call = Routines(b, x)
    good = linalg_lapack.finite_lanes(b, x)
    a, status = linalg_lapack.by_columns(b, x), call.status()
    values = [b.buffer((*lanes, n), x.dtype) for _ in range(1 if call.complex else 2)]
    left, right = (b.buffer((*lanes, n, n) if on else (*lanes, 1, 1), x.dtype) for on in jobs)
    room = (4 + 64) * n
    work, real_work = call.work(room), [call.work(2 * n, call.real)] if call.complex else []
    letters = ["V" if on else "N" for on in jobs]

    def lane(i: list[Any]) -> None:
        with b.if_(good.at(i)):
            call("geev", *letters, n, b.part(a, i), n, *[b.part(v, i) for v in values],
                 b.part(left, i), n, b.part(right, i), n, work, room, *real_work,
                 b.part(status, i))  # fmt: skip

    call.each_lane(lane)
    if call.complex:
        outs = [values[0], *[linalg_lapack.swapped(b, v) for v, on in
                             zip((left, right), jobs, strict=True) if on]]  # fmt: skip
    else:
        outs = [b.map(s_complex, *values)]
        outs += [_unpacked_view(b, values[1], v) for v, on in
                 zip((left, right), jobs, strict=True) if on]  # fmt: skip
    return [linalg_lapack.lanes_nan(b, out, status, good) for out in outs]


def s_complex(s: Any, re: Any, im: Any) -> Any:
    """A complex number of its parts."""
    return s.complex(re, im)


def _unpacked_view(b: Any, imaginary: Any, packed: Any) -> Any:
    n, s = packed.shape[-1], b.s

    def at(i: tuple[Any, ...]) -> Any:
        lane, row, column = i[:-2], i[-2], i[-1]
        sign = imaginary.at([*lane, column])
        after = s.index(s.convert(column + 1, dtypes.int64), 0, n - 1)
        before = s.index(s.convert(column - 1, dtypes.int64), 0, n - 1)
        here = packed.at([*lane, column, row])
        first, second = s.gt(sign, 0.0), s.lt(sign, 0.0)
        re = s.select(second, packed.at([*lane, before, row]), here)
        zero = s.const(0, packed.dtype)
        im = s.select(first, packed.at([*lane, after, row]), s.select(second, s.neg(here), zero))
        return s.complex(re, im)

    return b.view(packed.shape, at)


def _eig_jvp(primals: Any, tangents: Any, **params: Any) -> tuple[Any, Any]:
    """dw = diag(V^-1 dA V), dV = V (F * V^-1 dA V) with F_ij = 1 / (w_j - w_i)."""
    (x,), (t,) = primals, tangents
    outs = eig(x, **params)
    if type(t) is Zero or 0 in aval_of(x).shape:
        return outs, tangents_of(outs)
    if len(outs) > 1 and not params.get("enable_eigvec_derivs"):
        raise NotImplementedError(
            "derivatives of eigenvectors of matrices without symmetry hold only if all "
            "eigenvalues differ, which cannot be checked; enable_eigvec_derivs=True of "
            "lax.linalg.eig asks for them, and derivatives of eigenvalues alone are always there"
        )
    every = {**params, "compute_left_eigenvectors": False, "compute_right_eigenvectors": True}
    values, right = outs[0], outs[-1]
    if not params["compute_right_eigenvectors"]:
        values, right = eig(x, **every)
    t = as_dtype_of(t, right)
    inner = general_solve(right, matmul(t, right))
    dots = [diagonal(inner)]
    if params["compute_left_eigenvectors"]:
        dots.append(_turned(outs[1], _left_inner(outs[1], t), values, conjugate=True))
    if params["compute_right_eigenvectors"]:
        dots.append(_turned(right, inner, values, conjugate=False))
    return outs, dots


def _left_inner(left: Any, t: Any) -> Any:
    """Left eigenvectors are the right ones of the adjoint."""
    return general_solve(left, matmul(adjoint(t), left))


def _turned(vectors: Any, inner: Any, values: Any, conjugate: bool) -> Any:
    """Tangents of vectors of length 1 whose largest component is real."""
    w = conjugated(values) if conjugate else values
    w_i, w_j = pairs_of(w, inner)
    dots = matmul(vectors, mul(quotients(sub(w_j, w_i)), inner))
    along = real(_column_sums(mul(conjugated(vectors), dots)))
    size = abs_(vectors)
    rank = aval_of(size).ndim
    largest = registry["reduce_max"](size, axes=(rank - 2,), out_sharding=None)
    peak = comparison.eq(size, kinds.broadcast(largest, aval_of(size).shape,
                                               (*range(rank - 2), rank - 1)))  # fmt: skip
    zero = rearrange.full_like(dots, 0)
    top, top_dot = (_column_sums(comparison.select_n(peak, zero, v)) for v in (vectors, dots))
    phase = mul(imag(top_dot), quotients(real(top)))
    factor = complex_(along, phase)
    return sub(dots, columns_scaled(vectors, as_dtype_of(factor, vectors)))


def _column_sums(x: Any) -> Any:
    return registry["reduce_sum"](x, axes=(aval_of(x).ndim - 2,), out_sharding=None)


def _eig_samples() -> Iterator[Sample]:
    shapes: list[tuple[int, ...]] = [(4, 4), (2, 3, 3), (1, 1), (0, 0), (12, 12)]
    for left in (False, True):
        for right in (False, True):
            yield from matrix_samples(
                shapes,
                smooth=not left and not right,
                tol=2000.0,
                compute_left_eigenvectors=left,
                compute_right_eigenvectors=right,
                enable_eigvec_derivs=False,
                implementation=None,
            )()


eig: Primitive = decomposition(
    "eig",
    abstract=_eig_abstract,
    reference=_eig_reference,
    jvp=_eig_jvp,
    lower=_eig_lower,
    samples=_eig_samples,
    results=lambda *, compute_left_eigenvectors, compute_right_eigenvectors, **_: (
        1 + int(compute_left_eigenvectors) + int(compute_right_eigenvectors)
    ),
)

# --------------------------------------------------------------------------- schur


def _schur_abstract(x: ShapedArray, *, compute_schur_vectors: bool, **_: Any) -> list[ShapedArray]:
    check_square("schur", x)
    return [ShapedArray(x.shape, x.dtype)] * (2 if compute_schur_vectors else 1)


def _no_order(sort_eig_vals: bool, select_callable: Any) -> None:
    if sort_eig_vals or select_callable is not None:
        raise NotImplementedError("schur: sort_eig_vals and select_callable are not supported")


def _schur_reference(
    x: Any, *, compute_schur_vectors: bool, sort_eig_vals: bool, select_callable: Any
) -> list[Any]:
    _no_order(sort_eig_vals, select_callable)
    count = 2 if compute_schur_vectors else 1
    like = [(x.shape[-2:], x.dtype)] * count
    if not x.size:
        return [x.copy() for _ in range(count)]
    gees = routine("gees", x.dtype)
    vectors_at = 2 if x.dtype.kind == "c" else 3  # T, sdim, w or (wr, wi), then the vectors

    def lane(a: Any) -> list[Any]:
        outs = gees(lambda *_: None, a, compute_v=compute_schur_vectors, sort_t=0)
        return [outs[0], outs[vectors_at + 1]][:count]

    return linalg_lapack.guarded(
        x, lambda a: linalg_lapack.per_lane(lane, a, ranks=(2,), like=like)
    )


def _schur_lower(
    b: Any, x: Any, *, compute_schur_vectors: bool, sort_eig_vals: bool, select_callable: Any
) -> list[Any]:
    _no_order(sort_eig_vals, select_callable)
    n = x.shape[-1]
    if not np.prod(x.shape):
        return [x] * (2 if compute_schur_vectors else 1)
    call, room = Routines(b, x), 70 * n
    good = linalg_lapack.finite_lanes(b, x)
    a, status = linalg_lapack.by_columns(b, x), call.status()
    values = [call.work(n) for _ in range(1 if call.complex else 2)]
    vectors = b.buffer(x.shape, x.dtype)
    work, real_work = call.work(room), [call.work(n, call.real)] if call.complex else []
    flags, kept = call.work(n, dtypes.int32), call.work(1, dtypes.int32)
    job = "V" if compute_schur_vectors else "N"

    def lane(i: list[Any]) -> None:
        with b.if_(good.at(i)):
            # Nothing is sorted, so the function that would choose is never called.
            call("gees", job, "N", work, n, b.part(a, i), n, kept, *values, b.part(vectors, i), n,
                 work, room, *real_work, flags, b.part(status, i))  # fmt: skip

    call.each_lane(lane)
    outs = [linalg_lapack.swapped(b, out) for out in (a, vectors)]
    outs = [linalg_lapack.lanes_nan(b, out, status, good) for out in outs]
    return outs if compute_schur_vectors else outs[:1]


def _schur_samples() -> Iterator[Sample]:
    for vectors in (True, False):
        yield from matrix_samples(
            [(4, 4), (2, 3, 3), (1, 1), (0, 0), (12, 12)],
            smooth=False,
            tol=2000.0,
            compute_schur_vectors=vectors,
            sort_eig_vals=False,
            select_callable=None,
        )()


schur: Primitive = decomposition(
    "schur",
    abstract=_schur_abstract,
    reference=_schur_reference,
    jvp=NO_SLOPE("schur"),
    lower=_schur_lower,
    samples=_schur_samples,
    results=lambda *, compute_schur_vectors, **_: 2 if compute_schur_vectors else 1,
)
