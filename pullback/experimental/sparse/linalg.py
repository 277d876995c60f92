"""`jax.experimental.sparse.linalg`: a sparse direct solver, and eigenvalues by products alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from pullback import lax
from pullback import numpy as jnp
from pullback.control.callbacks import pure_callback
from pullback.core.avals import ShapedArray
from pullback.experimental.sparse.bcsr import BCSR
from pullback.lazy import LazyModule
from pullback.numpy.promotion import promote_dtypes_inexact

__all__ = ["lobpcg_standard", "spsolve"]

_sp: Final = LazyModule("scipy.sparse")
_splinalg: Final = LazyModule("scipy.sparse.linalg")


def _on_host(transposed: bool, reorder: int) -> Callable[..., Any]:
    order = "NATURAL" if reorder == 0 else "COLAMD"

    def solve(data: Any, indices: Any, indptr: Any, b: Any) -> Any:
        n = b.shape[0]
        parts = tuple(np.asarray(x) for x in (data, indices, indptr))
        matrix = _sp.csr_matrix(parts, shape=(n, n))
        matrix.check_format()
        matrix = matrix.T if transposed else matrix
        found = _splinalg.spsolve(matrix.tocsc(), np.asarray(b), permc_spec=order)
        return np.asarray(found, b.dtype).reshape(b.shape)

    return solve


def spsolve(
    data: Any, indices: Any, indptr: Any, b: Any, tol: float = 1e-6, reorder: int = 1
) -> Any:
    """x with A x = b for a square matrix by compressed rows, by a sparse LU decomposition.

    SuperLU computes it, as SciPy has it, on the host; `reorder` 0 keeps the order of the columns.
    `tol` is accepted and not needed.  Derivatives reach the data and b.

    >>> import pullback.numpy as jnp
    >>> m = BCSR.fromdense(jnp.array([[2.0, 0.0], [1.0, 4.0]]))
    >>> spsolve(m.data, m.indices, m.indptr, jnp.array([2.0, 9.0]))
    Array([1., 2.], dtype=float32)
    """
    data, b = promote_dtypes_inexact(jnp.asarray(data), jnp.asarray(b))
    indices, indptr = jnp.asarray(indices), jnp.asarray(indptr)
    if b.ndim != 1 or indptr.shape != (b.shape[0] + 1,):
        raise ValueError(
            f"spsolve of a square matrix by rows: b of shape {b.shape} and row pointers of shape "
            f"{indptr.shape} do not fit"
        )
    n = b.shape[0]

    def product(x: Any) -> Any:
        return BCSR((data, indices, indptr), shape=(n, n)) @ x

    def solver(transposed: bool) -> Callable[..., Any]:
        host = _on_host(transposed, reorder)
        fixed = lax.stop_gradient(data)

        def solve(_: Any, y: Any) -> Any:
            shape = ShapedArray(y.shape, y.dtype)
            return pure_callback(host, shape, fixed, indices, indptr, y, vmap_method="sequential")

        return solve

    return lax.custom_linear_solve(product, b, solve=solver(False), transpose_solve=solver(True))


# --------------------------------------------------------------------------- LOBPCG


def lobpcg_standard(A: Any, X: Any, m: int = 100, tol: Any = None) -> tuple[Any, Any, Any]:
    """The k largest eigenvalues of a symmetric matrix, their eigenvectors, and the steps taken.

    `A` is a matrix or a function of matrices (n, k), `X` a start (n, k) with 5 k < n.  Each step
    solves the problem within the span of the vectors, their residuals and the last directions
    (Knyazev, SIAM J. Sci. Comput. 23, 2001), orthonormalised by QR.  The steps end after `m` of
    them, or when every residual is below `tol` times the size of the matrix in its vectors.

    >>> import pullback.numpy as jnp
    >>> values, _, _ = lobpcg_standard(jnp.diag(jnp.arange(1.0, 21.0)), jnp.eye(20, 2) + 0.1)
    >>> values.round(2)
    Array([20., 19.], dtype=float32)
    """
    product = A if callable(A) and not _is_matrix(A) else (lambda x: A @ x)
    X = jnp.asarray(X)
    if X.ndim != 2:
        raise ValueError(f"expected X to be a matrix, got shape {X.shape}")
    n, k = X.shape
    if k == 0 or 5 * k >= n:
        raise ValueError(f"expected 0 < k and 5 * k < n, got k={k} and n={n}")
    (X,) = promote_dtypes_inexact(X)
    eps = jnp.finfo(X.dtype).eps
    tol = eps * n if tol is None else tol

    def ritz(basis: Any) -> tuple[Any, Any]:
        values, vectors = jnp.linalg.eigh(basis.T @ product(basis))
        return values[::-1][:k], basis @ vectors[:, ::-1][:, :k]

    def residuals(values: Any, x: Any) -> tuple[Any, Any]:
        r = product(x) - x * values
        size = jnp.linalg.norm(product(x), axis=0) + jnp.abs(values)
        return r, jnp.sum(jnp.linalg.norm(r, axis=0) > tol * size)

    def more(state: Any) -> Any:
        *_, open_, i = state
        return (i < m) & (open_ > 0)

    def step(state: Any) -> Any:
        values, x, p, r, _, i = state
        basis = jnp.linalg.qr(jnp.concatenate([x, r, p], axis=1))[0]
        values, new = ritz(basis)
        p = new - x @ (x.T @ new)
        r, open_ = residuals(values, new)
        return values, new, p, r, open_, i + 1

    values, x = ritz(jnp.linalg.qr(X)[0])
    r, open_ = residuals(values, x)
    start = (values, x, jnp.zeros_like(x), r, open_, jnp.zeros((), int))
    values, x, *_, i = lax.while_loop(more, step, start)
    return values, x, i


def _is_matrix(x: Any) -> bool:
    """Whether `x` is a matrix rather than a function."""
    return getattr(x, "shape", None) is not None
