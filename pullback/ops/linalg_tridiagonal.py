"""`tridiagonal_solve`: systems whose matrix has three diagonals, by LAPACK's gtsv.

The diagonals have one length; the first element of the lower and the last of the upper one lie
outside of the matrix and are not read.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from pullback.core.avals import ShapedArray, aval_of
from pullback.core.primitive import Primitive, Sample, Zero, is_linear
from pullback.ops import hlo_linalg, kinds, linalg_lapack
from pullback.ops.arithmetic import add, neg
from pullback.ops.joining import pad
from pullback.ops.linalg_lapack import Routines, routine
from pullback.ops.linalg_matrices import check_matrix, decomposition, draw_matrix, rows_scaled

__all__ = ["tridiagonal_solve"]


def _abstract(
    dl: ShapedArray, d: ShapedArray, du: ShapedArray, x: ShapedArray, **_: Any
) -> ShapedArray:
    check_matrix("tridiagonal_solve", x)
    if any(v.shape != x.shape[:-1] or v.dtype != x.dtype for v in (dl, d, du)):
        raise TypeError(
            "tridiagonal_solve: three diagonals [..., n] and right-hand sides [..., n, k] of one "
            f"dtype are needed, got {kinds.operand_types([dl, d, du, x])}"
        )
    return ShapedArray(x.shape, x.dtype)


def _reference(dl: Any, d: Any, du: Any, x: Any, *, perturb_singular: bool) -> Any:
    _no_perturbation(perturb_singular)
    if not x.size:
        return x.copy()
    gtsv, nan = routine("gtsv", x.dtype), np.full(x.shape[-2:], np.nan, x.dtype)

    def lane(dl: Any, d: Any, du: Any, x: Any) -> list[Any]:
        if len(d) == 1:
            return [x / d]
        *_, solution, info = gtsv(dl[1:], d, du[:-1], x)
        return [nan if info else solution]

    like = [(x.shape[-2:], x.dtype)]
    return linalg_lapack.per_lane(lane, dl, d, du, x, ranks=(1, 1, 1, 2), like=like)[0]


def _no_perturbation(perturb_singular: bool) -> None:
    if perturb_singular:
        raise NotImplementedError("tridiagonal_solve: perturb_singular is not supported on CPUs")


def _lower(b: Any, dl: Any, d: Any, du: Any, x: Any, *, perturb_singular: bool) -> Any:
    _no_perturbation(perturb_singular)
    n, columns = x.shape[-2:]
    if not np.prod(x.shape):
        return x
    call = Routines(b, x)
    out, status = linalg_lapack.by_columns(b, x), call.status()
    below = b.view(dl.shape, lambda i: dl.at([*i[:-1], b.s.index(i[-1] + 1, 0, n - 1)]))
    diagonals = [b.buffer(v.shape, v.dtype, v) for v in (below, d, du)]

    def lane(i: list[Any]) -> None:
        three = [b.part(v, i) for v in diagonals]
        call("gtsv", n, columns, *three, b.part(out, i), n, b.part(status, i))

    call.each_lane(lane)
    return linalg_lapack.lanes_nan(b, linalg_lapack.swapped(b, out), status)


def _rows_moved(x: Any, by: int) -> Any:
    """Row k of the result is row k - by; zeros come in."""
    rank = aval_of(x).ndim
    config = (*((0, 0, 0),) * (rank - 2), (by, -by, 0), (0, 0, 0))
    return pad(x, kinds.scalar_like(x, 0), padding_config=config)


def _jvp(primals: Any, tangents: Any, **params: Any) -> tuple[Any, Any]:
    """T X = B: dX = T^-1 (dB - dT X)."""
    *matrix, rhs = primals
    x = tridiagonal_solve(*matrix, rhs, **params)
    total = tangents[3]
    for t, shift in zip(tangents[:3], (1, 0, -1), strict=True):
        if type(t) is not Zero:
            term = neg(rows_scaled(_rows_moved(x, shift) if shift else x, t))
            total = term if type(total) is Zero else add(total, term)
    if type(total) is Zero:
        return x, Zero(aval_of(x))
    return x, tridiagonal_solve(*matrix, total, **params)


def _diagonal_moved(x: Any, by: int) -> Any:
    config = (*((0, 0, 0),) * (aval_of(x).ndim - 1), (by, -by, 0))
    return pad(x, kinds.scalar_like(x, 0), padding_config=config)


def _transpose(ct: Any, dl: Any, d: Any, du: Any, x: Any, **params: Any) -> list[Any]:
    if any(is_linear(v) for v in (dl, d, du)):
        raise TypeError("tridiagonal_solve is linear in its last operand alone")
    lower, upper = _diagonal_moved(du, 1), _diagonal_moved(dl, -1)
    return [None, None, None, tridiagonal_solve(lower, d, upper, ct, **params)]


def _samples() -> Iterator[Sample]:
    rng = np.random.default_rng(13)
    for dtype in ("float32", "float64", "complex64", "complex128"):
        for shape in ((5, 2), (2, 4, 3), (1, 2), (0, 3), (40, 1)):
            dl, d, du = (draw_matrix(rng, shape[:-1], dtype) / 3 for _ in range(3))
            args = (dl, d + d.dtype.type(2), du, draw_matrix(rng, shape, dtype))
            yield Sample(args, {"perturb_singular": False}, tol=100.0)


tridiagonal_solve: Primitive = decomposition(
    "tridiagonal_solve",
    abstract=_abstract,
    reference=_reference,
    jvp=_jvp,
    transpose=_transpose,
    lower=_lower,
    hlo=hlo_linalg.tridiagonal_solve,
    samples=_samples,
    results=0,
)
