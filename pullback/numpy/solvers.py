"""Solvers and decompositions of `jax.numpy.linalg`, over `lax.linalg`."""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

import numpy as np

from pullback import lax
from pullback.control.custom_jvp import custom_jvp
from pullback.core import dtypes
from pullback.lax import linalg as lax_linalg
from pullback.numpy import matrices, products, reductions, shaping
from pullback.numpy.arrays import broadcast_to_shape
from pullback.numpy.promotion import (
    broadcast_shapes,
    ensure_arraylike,
    promote_dtypes_inexact,
)
from pullback.ops import linalg_matrices, linalg_orthogonal
from pullback.ops.linalg_lu import rows_taken
from pullback.runtime.composites import compiled_when_eager

__all__ = [
    "EigResult",
    "EighResult",
    "QRResult",
    "SVDResult",
    "SlogdetResult",
    "adjoint",
    "cholesky",
    "det",
    "eig",
    "eigh",
    "eigvals",
    "eigvalsh",
    "inexact",
    "inv",
    "lu_solved",
    "product",
    "qr",
    "slogdet",
    "solve",
    "stack",
    "svd",
    "svdvals",
    "tensorinv",
    "tensorsolve",
]


class EigResult(NamedTuple):
    """Eigenvalues and eigenvectors, as columns."""

    eigenvalues: Any
    eigenvectors: Any


class EighResult(NamedTuple):
    """Eigenvalues and eigenvectors, as columns, of a Hermitian matrix."""

    eigenvalues: Any
    eigenvectors: Any


class QRResult(NamedTuple):
    """An orthogonal and a triangular factor."""

    Q: Any
    R: Any


class SlogdetResult(NamedTuple):
    """The sign of a determinant and the logarithm of its absolute value."""

    sign: Any
    logabsdet: Any


class SVDResult(NamedTuple):
    """Left vectors as columns, singular values, right vectors as rows."""

    U: Any
    S: Any
    Vh: Any


# --------------------------------------------------------------------------- operands


def inexact(name: str, *args: Any) -> Any:
    """Operands in one inexact dtype."""
    found = ensure_arraylike(f"jnp.linalg.{name}", *args)
    found = promote_dtypes_inexact(*(found if len(args) > 1 else (found,)))
    return found if len(args) > 1 else found[0]


_DECOMPOSITIONS: Final = ("eig", "eigh", "eigvals", "qr", "svd")


def stack(name: str, a: Any) -> Any:
    """An operand of two axes or more, in an inexact dtype; an error of JAX's class if it is not."""
    a = inexact(name, a)
    if a.ndim < 2:
        raise (TypeError if name in _DECOMPOSITIONS else ValueError)(
            f"jnp.linalg.{name}: {a.ndim}-dimensional array given. Array must be at least "
            "two-dimensional"
        )
    return a


def _squares(name: str, a: Any) -> Any:
    a = stack(name, a)
    if a.shape[-1] != a.shape[-2]:
        raise ValueError(
            f"jnp.linalg.{name}: argument to {name} must have shape [..., n, n], got {a.shape}"
        )
    return a


def adjoint(x: Any) -> Any:
    """The conjugate transpose."""
    return linalg_matrices.adjoint(x)


# --------------------------------------------------------------------------- decompositions


@compiled_when_eager("upper", "symmetrize_input")
def cholesky(a: Any, *, upper: bool = False, symmetrize_input: bool = True) -> Any:
    """The lower triangle L with L L' = a (the upper one, L', if `upper`); NaN if there is none.

    >>> import pullback.numpy as jnp
    >>> jnp.linalg.cholesky(jnp.array([[4., 2.], [2., 2.]]))
    Array([[2., 0.],
           [1., 1.]], dtype=float32)
    """
    a = inexact("cholesky", a)
    factor = lax_linalg.cholesky(adjoint(a) if upper else a, symmetrize_input=symmetrize_input)
    return adjoint(factor) if upper else factor


@compiled_when_eager("UPLO", "symmetrize_input")
def eigh(a: Any, UPLO: str | None = None, symmetrize_input: bool = True) -> EighResult:
    """Ascending eigenvalues, and eigenvectors as columns, of a symmetric or Hermitian matrix.

    >>> import pullback.numpy as jnp
    >>> jnp.linalg.eigh(jnp.diag(jnp.array([2., 1.]))).eigenvalues
    Array([1., 2.], dtype=float32)
    """
    if UPLO not in (None, "L", "U"):
        raise ValueError(f"UPLO must be one of None, 'L', or 'U', got {UPLO!r}")
    a = stack("eigh", a)
    vectors, values = lax_linalg.eigh(a, lower=UPLO != "U", symmetrize_input=symmetrize_input)
    return EighResult(values, vectors)


@compiled_when_eager("UPLO", "symmetrize_input")
def eigvalsh(a: Any, UPLO: str | None = "L", *, symmetrize_input: bool = True) -> Any:
    """Ascending eigenvalues of a symmetric or Hermitian matrix.

    >>> import pullback.numpy as jnp
    >>> jnp.linalg.eigvalsh(jnp.diag(jnp.array([2., 1.])))
    Array([1., 2.], dtype=float32)
    """
    return eigh(a, UPLO, symmetrize_input).eigenvalues


@compiled_when_eager()
def eig(a: Any) -> EigResult:
    """Eigenvalues, and eigenvectors as columns, of a square matrix; complex always.

    >>> import pullback.numpy as jnp
    >>> jnp.linalg.eig(jnp.diag(jnp.array([2., 1.]))).eigenvalues
    Array([2.+0.j, 1.+0.j], dtype=complex64)
    """
    values, vectors = lax_linalg.eig(_squares("eig", a), compute_left_eigenvectors=False)
    return EigResult(values, vectors)


@compiled_when_eager()
def eigvals(a: Any) -> Any:
    """Eigenvalues of a square matrix; complex always.

    >>> import pullback.numpy as jnp
    >>> jnp.linalg.eigvals(jnp.diag(jnp.array([2., 1.])))
    Array([2.+0.j, 1.+0.j], dtype=complex64)
    """
    return lax_linalg.eig(
        _squares("eigvals", a), compute_left_eigenvectors=False, compute_right_eigenvectors=False
    )[0]


@compiled_when_eager("full_matrices", "compute_uv", "hermitian", "subset_by_index")
def svd(
    a: Any,
    full_matrices: bool = True,
    compute_uv: bool = True,
    hermitian: bool = False,
    subset_by_index: tuple[int, int] | None = None,
) -> Any:
    """U, descending singular values and V' with U diag(s) V' = a; the values without `compute_uv`.

    >>> import pullback.numpy as jnp
    >>> jnp.linalg.svd(jnp.diag(jnp.array([1., 3.])), compute_uv=False)
    Array([3., 1.], dtype=float32)
    """
    a = stack("svd", a)
    if hermitian:
        return _hermitian_svd(a, compute_uv)
    outs = lax_linalg.svd(
        a,
        full_matrices=full_matrices,
        compute_uv=compute_uv,
        subset_by_index=subset_by_index,
    )
    return SVDResult(*outs) if compute_uv else outs


def _hermitian_svd(a: Any, compute_uv: bool) -> Any:
    vectors, values = lax_linalg.eigh(a)
    size = lax.abs(values)
    rank = size.ndim
    order = lax.sort(
        (lax.neg(size), lax.broadcasted_iota(np.int32, size.shape, rank - 1)),
        dimension=rank - 1,
        num_keys=1,
    )
    descending = lax.neg(order[0])
    if not compute_uv:
        return descending
    rows = rows_taken(linalg_matrices.transposed(vectors), order[1])
    signs = rows_taken(lax.expand_dims(lax.sign(values), (rank,)), order[1])
    left = linalg_matrices.transposed(rows * lax.convert_element_type(signs, rows.dtype))
    return SVDResult(left, descending, linalg_matrices.conjugated(rows))


@compiled_when_eager()
def svdvals(x: Any, /) -> Any:
    """Descending singular values.

    >>> import pullback.numpy as jnp
    >>> jnp.linalg.svdvals(jnp.diag(jnp.array([1., 3.])))
    Array([3., 1.], dtype=float32)
    """
    return svd(x, compute_uv=False)


@compiled_when_eager("mode")
def qr(a: Any, mode: str = "reduced") -> Any:
    """Q and R with Q R = a; modes "reduced", "complete", "r" (R alone) and "raw" (LAPACK's).

    >>> import pullback.numpy as jnp
    >>> q, r = jnp.linalg.qr(jnp.ones((3, 2)))
    >>> q.shape, r.shape
    ((3, 2), (2, 2))
    """
    a = stack("qr", a)
    if mode == "raw":
        packed, taus = linalg_orthogonal.geqrf.bind(a)
        return QRResult(linalg_matrices.transposed(packed), taus)
    if mode not in ("reduced", "r", "full", "complete"):
        raise ValueError(f"Unsupported QR decomposition mode '{mode}'")
    q, r = lax_linalg.qr(a, pivoting=False, full_matrices=mode in ("full", "complete"))
    return r if mode == "r" else QRResult(q, r)


# --------------------------------------------------------------------------- solvers


def product(x: Any, y: Any) -> Any:
    """The product of matrices in full precision."""
    return products.matmul(x, y, precision=lax.Precision.HIGHEST)


def lu_solved(both: Any, order: Any, b: Any, trans: int = 0) -> Any:
    """A^-1 b, of the transposed (`trans` 1) or adjoint (2) matrix, from A = P' L U.

    Lanes and dtypes of `both` and `b` agree.
    """
    if both.shape[-1] == 0:
        return b
    steps = [{"lower": True, "unit_diagonal": True}, {"lower": False, "unit_diagonal": False}]
    if trans == 0:
        b = rows_taken(b, order)
        for step in steps:
            b = lax_linalg.triangular_solve(both, b, left_side=True, **step)
        return b
    for step in reversed(steps):
        b = lax_linalg.triangular_solve(
            both, b, left_side=True, transpose_a=True, conjugate_a=trans == 2, **step
        )
    rank = order.ndim
    numbers = lax.broadcasted_iota(np.int32, order.shape, rank - 1)
    return rows_taken(b, lax.sort((order, numbers), dimension=rank - 1, num_keys=1)[1])


def _solved(a: Any, b: Any) -> Any:
    """A^-1 B for matrices with the same lanes; derivatives use the decomposition again."""
    both, _, order = lax_linalg.lu(lax.stop_gradient(a))
    return lax.custom_linear_solve(
        lambda x: product(a, x),
        b,
        solve=lambda _, y: lu_solved(both, order, y),
        transpose_solve=lambda _, y: lu_solved(both, order, y, trans=1),
    )


@compiled_when_eager()
def solve(a: Any, b: Any) -> Any:
    """x with a x = b; `b` is a vector if it has one axis, else matrices.

    Infinities or NaN where `a` is singular.

    >>> import pullback.numpy as jnp
    >>> jnp.linalg.solve(jnp.array([[2., 0.], [0., 4.]]), jnp.array([2., 4.]))
    Array([1., 1.], dtype=float32)
    """
    a, b = inexact("solve", a, b)
    if a.ndim < 2:
        raise ValueError(f"left hand array must be at least two dimensional; got a.shape={a.shape}")
    if b.ndim < 1:
        raise ValueError(
            f"right hand array must be at least one dimensional; got b.shape={b.shape}"
        )
    a = _squares("solve", a)
    vector = b.ndim == 1
    b = lax.expand_dims(b, (1,)) if vector else b
    if a.shape[-1] != b.shape[-2]:
        raise ValueError(
            f"jnp.linalg.solve: a of shape {a.shape} and b of shape {b.shape} do not fit"
        )
    lanes = broadcast_shapes(a.shape[:-2], b.shape[:-2])
    a = broadcast_to_shape(a, (*lanes, *a.shape[-2:]))
    b = broadcast_to_shape(b, (*lanes, *b.shape[-2:]))
    x = _solved(a, b)
    return lax.squeeze(x, (x.ndim - 1,)) if vector else x


@compiled_when_eager()
def inv(a: Any) -> Any:
    """The inverse of a square matrix; infinities or NaN where it is singular.

    >>> import pullback.numpy as jnp
    >>> jnp.linalg.inv(jnp.array([[2., 0.], [0., 4.]]))
    Array([[0.5 , 0.  ],
           [0.  , 0.25]], dtype=float32)
    """
    a = _squares("inv", a)
    return _solved(a, broadcast_to_shape(matrices.eye(a.shape[-1], dtype=a.dtype), a.shape))


@compiled_when_eager("ind")
def tensorinv(a: Any, ind: int = 2) -> Any:
    """The inverse for `tensordot(..., ind)` of an array whose first `ind` axes are the rows.

    >>> import pullback.numpy as jnp
    >>> jnp.linalg.tensorinv(jnp.eye(4).reshape(2, 2, 4)).shape
    (4, 2, 2)
    """
    a = ensure_arraylike("jnp.linalg.tensorinv", a)
    if ind <= 0:
        raise ValueError(f"ind must be a positive integer; got {ind=}")
    rows, columns = a.shape[:ind], a.shape[ind:]
    if math.prod(rows) != math.prod(columns):
        raise ValueError(
            f"product of dimensions before ind must match that after; got {rows} and {columns}"
        )
    return inv(a.reshape(math.prod(rows), -1)).reshape(*columns, *rows)


@compiled_when_eager("axes")
def tensorsolve(a: Any, b: Any, axes: tuple[int, ...] | None = None) -> Any:
    """x with `tensordot(a, x, x.ndim) == b`; `axes` of `a` are moved to its end first.

    >>> import pullback.numpy as jnp
    >>> jnp.linalg.tensorsolve(jnp.eye(4).reshape(2, 2, 4), jnp.ones((2, 2)))
    Array([1., 1., 1., 1.], dtype=float32)
    """
    a, b = ensure_arraylike("jnp.linalg.tensorsolve", a, b)
    if axes is not None:
        a = (
            shaping.moveaxis(a, axes, len(axes) * (a.ndim - 1,))
            if len(axes) == 1
            else (shaping.moveaxis(a, axes, range(a.ndim - len(axes), a.ndim)))
        )
    unknowns = a.shape[b.ndim :]
    if a.shape[: b.ndim] != b.shape or math.prod(unknowns) != b.size:
        raise ValueError(
            f"tensorsolve: a of shape {a.shape} is no square matrix over b of shape {b.shape}"
        )
    return solve(a.reshape(b.size, b.size), b.ravel()).reshape(unknowns)


# --------------------------------------------------------------------------- determinants


def _sign_and_log(a: Any) -> tuple[Any, Any]:
    both, swaps, _ = lax_linalg.lu(a)
    pivots = linalg_matrices.diagonal(both)
    place = lax.broadcasted_iota(np.int32, swaps.shape, swaps.ndim - 1)
    odd = reductions.sum(lax.ne(swaps, place), axis=-1) % 2
    parity = lax.convert_element_type(1 - 2 * odd, a.dtype)
    return parity, pivots


@custom_jvp
def _slogdet(a: Any) -> tuple[Any, Any]:
    parity, pivots = _sign_and_log(a)
    sign = parity * reductions.prod(lax.sign(pivots), axis=-1)
    return sign, reductions.sum(lax.log(lax.abs(pivots)), axis=-1)


@_slogdet.defjvp
def _slogdet_jvp(primals: Any, tangents: Any) -> Any:
    """d log det A = tr(A^-1 dA); its imaginary part turns the sign."""
    (a,), (t,) = primals, tangents
    sign, log = _slogdet(a)
    slope = reductions.sum(linalg_matrices.diagonal(_solved(a, t)), axis=-1)
    if dtypes.kind_of(a.dtype) != "c":
        return (sign, log), (lax.full_like(sign, 0), slope)
    turn = lax.complex(lax.full_like(log, 0), lax.imag(slope))
    return (sign, log), (sign * turn, lax.real(slope))


@compiled_when_eager("method")
def slogdet(a: Any, *, method: str | None = None) -> SlogdetResult:
    """The sign of the determinant and the logarithm of its absolute value.

    >>> import pullback.numpy as jnp
    >>> jnp.linalg.slogdet(jnp.array([[0., 1.], [1., 0.]]))
    SlogdetResult(sign=Array(-1., dtype=float32), logabsdet=Array(0., dtype=float32))
    """
    if method not in (None, "lu", "qr"):
        raise ValueError(f"Unknown slogdet method '{method}'. Supported methods are 'lu' and 'qr'.")
    return SlogdetResult(*_slogdet(_squares("slogdet", a)))


@custom_jvp
def _det(a: Any) -> Any:
    parity, pivots = _sign_and_log(a)
    return parity * reductions.prod(pivots, axis=-1)


@_det.defjvp
def _det_jvp(primals: Any, tangents: Any) -> Any:
    """d det A = tr(adj(A) dA); the adjugate is det(A) A^-1 unless the matrix is singular."""
    (a,), (t,) = primals, tangents
    value = _det(a)

    def regular(a: Any, t: Any, value: Any) -> Any:
        return value * reductions.sum(linalg_matrices.diagonal(_solved(a, t)), axis=-1)

    def singular(a: Any, t: Any, value: Any) -> Any:
        return reductions.sum(linalg_matrices.diagonal(product(_adjugate(a), t)), axis=-1)

    exists = reductions.all(lax.ne(value, lax.full_like(value, 0)))
    return value, lax.cond(exists, regular, singular, a, t, value)


def _adjugate(a: Any) -> Any:
    """V diag(products of all other singular values) U' det(U V'), which exists for any matrix."""
    u, s, vt = lax_linalg.svd(a)
    n = s.shape[-1]
    others = lax.broadcast_in_dim(s, (*s.shape, n), (*range(s.ndim - 1), s.ndim))
    kept = elementwise_where(matrices.eye(n, dtype=bool), lax.full_like(others, 1), others)
    cofactors = lax.convert_element_type(reductions.prod(kept, axis=-1), a.dtype)
    turn = _det(product(u, vt))[..., None, None]
    return turn * product(linalg_matrices.columns_scaled(adjoint(vt), cofactors), adjoint(u))


def elementwise_where(mask: Any, x: Any, y: Any) -> Any:
    """`x` where the mask, of the last axes, holds, else `y`."""
    return lax.select(broadcast_to_shape(mask, x.shape), x, y)


@compiled_when_eager()
def det(a: Any) -> Any:
    """The determinant of a square matrix; its derivative exists for singular matrices too.

    >>> import pullback.numpy as jnp
    >>> jnp.linalg.det(jnp.array([[1., 2.], [3., 4.]]))
    Array(-2., dtype=float32)
    """
    a = _squares("det", a)
    n = a.shape[-1]
    if n == 2:
        return a[..., 0, 0] * a[..., 1, 1] - a[..., 0, 1] * a[..., 1, 0]
    if n == 3:
        minors = [
            a[..., 0, i] * (a[..., 1, j] * a[..., 2, k] - a[..., 1, k] * a[..., 2, j])
            for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1))
        ]
        return minors[0] + minors[1] + minors[2]
    return _det(a)
