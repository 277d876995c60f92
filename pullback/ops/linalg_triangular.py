"""Triangular matrices: `cholesky`, `triangular_solve` and `cholesky_update`.

Both are called on row-major buffers as they are: read by columns, a matrix is its transpose, so
the other triangle is named, and the operand of a solve stands on the other side.  Small matrices
are `linalg_small`'s.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from pullback.core.avals import ShapedArray, aval_of
from pullback.core.primitive import Primitive, Sample, Zero, is_linear
from pullback.ops import hlo_linalg, kinds, linalg_blocked, linalg_lapack, linalg_small, windows
from pullback.ops.arithmetic import add, mul, neg, sub
from pullback.ops.linalg_lapack import Routines, routine
from pullback.ops.linalg_matrices import (
    NO_SLOPE,
    check_matrix,
    check_square,
    conjugated,
    decomposition,
    draw_matrix,
    eye_like,
    matmul,
    matrix_samples,
    transposed,
    tril,
    triu,
)

__all__ = ["cholesky", "cholesky_update", "half_triangle", "solve_triangle", "triangular_solve"]

# --------------------------------------------------------------------------- cholesky


def _cholesky_abstract(x: ShapedArray) -> ShapedArray:
    check_square("cholesky", x)
    return ShapedArray(x.shape, x.dtype)


def _cholesky_reference(x: Any) -> Any:
    try:
        return np.linalg.cholesky(x) if x.size else x.copy()
    except np.linalg.LinAlgError:
        return _cholesky_by_lane(x)


def _cholesky_by_lane(x: Any) -> Any:
    out = np.tril(np.full(x.shape, np.nan, x.dtype))
    for lane in np.ndindex(*x.shape[:-2]):
        try:
            out[lane] = np.linalg.cholesky(x[lane])
        except np.linalg.LinAlgError:
            continue
    return out


def half_triangle(x: Any) -> Any:
    """The lower triangle with half of the diagonal."""
    return sub(tril(x), mul(eye_like(x), mul(x, kinds.scalar_like(x, 0.5))))


def _cholesky_jvp(primals: Any, tangents: Any) -> tuple[Any, Any]:
    """dL = L phi(L^-1 dA L^-H), I. Murray, arXiv:1602.07527."""
    (x,), (t,) = primals, tangents
    factor = cholesky(x)
    if type(t) is Zero:
        return factor, Zero(aval_of(factor))
    right = triangular_solve(
        factor, t, left_side=False, lower=True, transpose_a=True, conjugate_a=True,
        unit_diagonal=False,
    )  # fmt: skip
    inner = solve_triangle(factor, right, lower=True)
    return factor, matmul(factor, half_triangle(inner))


def _cholesky_lower(b: Any, x: Any) -> Any:
    n = x.shape[-1]
    if n <= linalg_small.SMALL:
        return linalg_small.cholesky(b, x)
    call = Routines(b, x)
    if linalg_blocked.is_large(x):
        factor, status = linalg_blocked.cholesky(b, x)
    else:
        factor, status = b.buffer(x.shape, x.dtype, x), call.status()
        call.each_lane(lambda i: call("potrf", "U", n, b.part(factor, i), n, b.part(status, i)))
    nan = complex(np.nan, np.nan) if call.complex else np.nan

    def at(i: tuple[Any, ...]) -> Any:
        ok = b.s.eq(status.at([*i[:-2], 0]), 0)
        value = b.s.select(ok, factor.at(i), b.s.const(nan, x.dtype))
        return b.s.select(i[-2] >= i[-1], value, b.s.const(0, x.dtype))

    return b.view(x.shape, at)


def _positive(x: Any) -> Any:
    return x @ np.swapaxes(x, -1, -2).conj() + np.eye(x.shape[-1])


def _cholesky_samples() -> Iterator[Sample]:
    # The derivative is that for Hermitian perturbations, as JAX's: tests of their own cover it.
    shapes = [(3, 3), (2, 9, 9), (1, 1), (0, 0), (2, 3, 5, 5), (0, 4, 4), (20, 20), (70, 70)]
    shapes += [(11, 3, 3), (2, 8, 4, 4)]
    yield from matrix_samples(shapes, _positive, smooth=False)()
    yield Sample((np.array([[1, 0], [0, -1]], np.float32),), smooth=False)
    mixed = np.stack([np.eye(10), -np.eye(10), 4 * np.eye(10)]).astype(np.float32)
    yield Sample((mixed,), smooth=False)


cholesky: Primitive = decomposition(
    "cholesky",
    abstract=_cholesky_abstract,
    reference=_cholesky_reference,
    jvp=_cholesky_jvp,
    lower=_cholesky_lower,
    hlo=hlo_linalg.cholesky,
    samples=_cholesky_samples,
    results=0,
)

# --------------------------------------------------------------------------- triangular_solve


def solve_triangle(
    a: Any, x: Any, *, left: bool = True, lower: bool, adjoint: bool = False, unit: bool = False
) -> Any:
    """`triangular_solve` in the words of the rules here: with A, or with its adjoint."""
    return triangular_solve(
        a,
        x,
        left_side=left,
        lower=lower,
        transpose_a=adjoint,
        conjugate_a=adjoint,
        unit_diagonal=unit,
    )


def _solve_abstract(a: ShapedArray, x: ShapedArray, *, left_side: bool, **_: Any) -> ShapedArray:
    check_square("triangular_solve", a)
    check_matrix("triangular_solve", x)
    n = x.shape[-2 if left_side else -1]
    if a.dtype != x.dtype or a.shape[:-2] != x.shape[:-2] or a.shape[-1] != n:
        side = "a x = b" if left_side else "x a = b"
        raise (TypeError if a.dtype != x.dtype else ValueError)(
            f"triangular_solve: operands of {side} do not fit: {kinds.operand_types([a, x])}; they "
            "must have one dtype and the same lanes"
        )
    return ShapedArray(x.shape, x.dtype)


def _solve_reference(
    a: Any,
    x: Any,
    *,
    left_side: bool,
    lower: bool,
    transpose_a: bool,
    conjugate_a: bool,
    unit_diagonal: bool,
) -> Any:
    if not x.size:
        return x.copy()
    if conjugate_a and not transpose_a:
        a = a.conj()
    trsm = routine("trsm", x.dtype)
    trans = 0 if not transpose_a else 2 if conjugate_a else 1

    def lane(a: Any, x: Any) -> list[Any]:
        return [trsm(1.0, a, x, side=not left_side, lower=lower, trans_a=trans, diag=unit_diagonal)]

    return linalg_lapack.per_lane(lane, a, x, ranks=(2, 2), like=[(x.shape[-2:], x.dtype)])[0]


def _solve_jvp(primals: Any, tangents: Any, **params: Any) -> tuple[Any, Any]:
    """A X = B: dX = A^-1 (dB - dA X)."""
    (a, rhs), (a_dot, rhs_dot) = primals, tangents
    x = triangular_solve(a, rhs, **params)
    if type(a_dot) is not Zero:
        triangle = tril if params["lower"] else triu
        k = int(params["unit_diagonal"])
        da = triangle(a_dot, -k if params["lower"] else k)
        da = transposed(da) if params["transpose_a"] else da
        da = conjugated(da) if params["conjugate_a"] else da
        moved = neg(matmul(da, x) if params["left_side"] else matmul(x, da))
        rhs_dot = moved if type(rhs_dot) is Zero else add(rhs_dot, moved)
    if type(rhs_dot) is Zero:
        return x, Zero(aval_of(x))
    return x, triangular_solve(a, rhs_dot, **params)


def _solve_transpose(ct: Any, a: Any, rhs: Any, **params: Any) -> list[Any]:
    if is_linear(a):
        raise TypeError("triangular_solve is linear in its second operand alone")
    params["transpose_a"] = not params["transpose_a"]
    return [None, triangular_solve(a, ct, **params)]


def _solve_lower(
    b: Any,
    a: Any,
    x: Any,
    *,
    left_side: bool,
    lower: bool,
    transpose_a: bool,
    conjugate_a: bool,
    unit_diagonal: bool,
) -> Any:
    if not np.prod(x.shape):
        return x
    if conjugate_a and not transpose_a:
        a = b.map("conj", a) if a.dtype.kind == "c" else a
    if a.shape[-1] <= linalg_small.SMALL:
        flags = (lower, transpose_a, conjugate_a and transpose_a, unit_diagonal)
        return linalg_small.solve(b, a, x, left_side, *flags)
    if linalg_blocked.is_large_system(a, x.shape[-1 if left_side else -2]):
        if left_side:
            return linalg_blocked.solve(b, a, x, lower, transpose_a, unit_diagonal)
        x = linalg_lapack.swapped(b, x)
        x = linalg_blocked.solve(b, a, x, lower, not transpose_a, unit_diagonal)
        return linalg_lapack.swapped(b, x)
    out, (rows, columns) = b.buffer(x.shape, x.dtype, x), x.shape[-2:]
    a, n = b.materialize(a), a.shape[-1]
    call = Routines(b, x)
    trans = "N" if not transpose_a else "C" if conjugate_a else "T"
    flags_text = ("R" if left_side else "L", "U" if lower else "L", trans)
    diagonal_text = "U" if unit_diagonal else "N"
    alpha = b.materialize(b.constant(np.ones((1,), x.dtype)))

    def lane(i: list[Any]) -> None:
        right = b.part(out, i)
        call("trsm", *flags_text, diagonal_text, columns, rows, alpha, b.part(a, i), n,
             right, columns)  # fmt: skip

    call.each_lane(lane)
    return out


def _solve_samples() -> Iterator[Sample]:
    rng = np.random.default_rng(5)

    def sample(dtype: str, a: tuple[int, ...], x: tuple[int, ...], bits: int) -> Sample:
        names = ("left_side", "lower", "transpose_a", "conjugate_a", "unit_diagonal")
        params = {name: bool(bits >> k & 1) for k, name in enumerate(names)}
        matrix = draw_matrix(rng, a, dtype) / 4 + 2 * np.eye(a[-1])
        return Sample((matrix.astype(dtype), draw_matrix(rng, x, dtype)), params, tol=100.0)

    for bits in range(32):
        dtype = ("float32", "complex64", "float64", "complex128")[bits % 4]
        shape = (3, 5) if bits & 1 else (5, 3)
        yield sample(dtype, (3, 3), shape, bits)
        yield sample(dtype, (9, 3, 3), (9, *((3, 2) if bits & 1 else (2, 3))), bits)
        shape = (11, 2) if bits & 1 else (2, 11)
        yield sample(("complex64", "float64", "float32")[bits % 3], (11, 11), shape, bits)
    yield sample("float32", (2, 12, 12), (2, 12, 3), 3)
    yield sample("float32", (2, 3, 2, 2), (2, 3, 2, 1), 1)
    yield sample("float32", (0, 0), (0, 3), 1)
    yield sample("float32", (2, 2), (2, 0), 1)


triangular_solve: Primitive = decomposition(
    "triangular_solve",
    abstract=_solve_abstract,
    reference=_solve_reference,
    jvp=_solve_jvp,
    transpose=_solve_transpose,
    lower=_solve_lower,
    hlo=hlo_linalg.triangular_solve,
    samples=_solve_samples,
    results=0,
)

# --------------------------------------------------------------------------- cholesky_update


def _update_abstract(r: ShapedArray, w: ShapedArray) -> ShapedArray:
    check_square("cholesky_update", r)
    if w.shape != r.shape[:-1] or w.dtype != r.dtype or r.dtype.kind == "c":
        raise ValueError(
            "cholesky_update takes a real upper triangle [..., n, n] and a vector [..., n], got "
            f"{kinds.operand_types([r, w])}"
        )
    return ShapedArray(r.shape, r.dtype)


def _update_reference(r: Any, w: Any) -> Any:
    """Givens rotations of (R; w) to a triangle."""
    r, w = np.triu(r), w.copy()
    for k in range(r.shape[-1]):
        norm = np.hypot(r[..., k, k], w[..., k])
        safe = np.where(norm == 0, 1, norm)
        c, s = np.where(norm == 0, 1, r[..., k, k] / safe), w[..., k] / safe
        row = r[..., k, :].copy()
        r[..., k, :] = c[..., None] * row + s[..., None] * w
        w = c[..., None] * w - s[..., None] * row
    return r.astype(w.dtype)


def _update_lower(b: Any, r: Any, w: Any) -> Any:
    n, s = r.shape[-1], b.s
    zero = s.const(0, r.dtype)
    upper = b.view(r.shape, lambda i: s.select(i[-1] >= i[-2], r.at(i), zero))
    out, rest = b.buffer(r.shape, r.dtype, upper), b.buffer(w.shape, w.dtype, w)

    def lane(i: list[Any]) -> None:
        with b.loop(n) as k:
            x, y = b.load(out, [*i, k, k]), b.load(rest, [*i, k])
            big = b.let(s.max(s.abs(x), s.abs(y)))
            scale = b.let(s.select(s.gt(big, 0.0), big, s.const(1, r.dtype)))
            p, q = b.let(s.div(x, scale)), b.let(s.div(y, scale))
            norm = b.let(s.sqrt(s.add(s.mul(p, p), s.mul(q, q))))
            zero_norm = s.eq(norm, 0.0)
            cosine = b.let(s.select(zero_norm, s.const(1, r.dtype), s.div(p, norm)))
            sine = b.let(s.select(zero_norm, zero, s.div(q, norm)))
            with b.loop(n) as j:
                row, other = b.load(out, [*i, k, j]), b.load(rest, [*i, j])
                b.store(out, [*i, k, j], s.add(s.mul(cosine, row), s.mul(sine, other)))
                b.store(rest, [*i, j], s.sub(s.mul(cosine, other), s.mul(sine, row)))

    windows.loop_nest(b, r.shape[:-2], lane, [True] * (len(r.shape) - 2))
    return out


def _update_samples() -> Iterator[Sample]:
    rng = np.random.default_rng(6)
    for dtype, n in (("float32", 4), ("float64", 7)):
        r = np.triu(draw_matrix(rng, (n, n), dtype)) + 2 * np.eye(n, dtype=dtype)
        yield Sample((r, draw_matrix(rng, (n,), dtype)), tol=20.0, smooth=False)


cholesky_update: Primitive = decomposition(
    "cholesky_update",
    abstract=_update_abstract,
    reference=_update_reference,
    jvp=NO_SLOPE("cholesky_update"),
    lower=_update_lower,
    hlo=hlo_linalg.cholesky_update,
    samples=_update_samples,
    results=0,
)
