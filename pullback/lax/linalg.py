"""`lax.linalg`: decompositions and solvers of stacks of matrices, with JAX's signatures.

Operands are matrices in the last two axes, of float32, float64, complex64 or complex128.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pullback.control import symmetric
from pullback.core import dtypes
from pullback.core.avals import aval_of
from pullback.ops import arithmetic, linalg, structural
from pullback.ops import linalg_matrices as matrices
from pullback.ops.linalg import EighImplementation, EigImplementation, SvdAlgorithm

__all__ = [
    "EigImplementation",
    "EighImplementation",
    "SvdAlgorithm",
    "cholesky",
    "cholesky_p",
    "cholesky_update",
    "cholesky_update_p",
    "eig",
    "eig_p",
    "eigh",
    "eigh_p",
    "hessenberg",
    "hessenberg_p",
    "householder_product",
    "householder_product_p",
    "lu",
    "lu_p",
    "lu_pivots_to_permutation",
    "lu_pivots_to_permutation_p",
    "ormqr",
    "ormqr_p",
    "qdwh",
    "qr",
    "qr_p",
    "schur",
    "schur_p",
    "svd",
    "svd_p",
    "symmetric_product",
    "symmetric_product_p",
    "triangular_solve",
    "triangular_solve_p",
    "tridiagonal",
    "tridiagonal_p",
    "tridiagonal_solve",
    "tridiagonal_solve_p",
]

cholesky_p = linalg.cholesky
cholesky_update_p = linalg.cholesky_update
eig_p = linalg.eig
eigh_p = linalg.eigh
hessenberg_p = linalg.hessenberg
householder_product_p = linalg.householder_product
lu_p = linalg.lu
lu_pivots_to_permutation_p = linalg.lu_pivots_to_permutation
ormqr_p = linalg.ormqr
qr_p = linalg.qr
schur_p = linalg.schur
svd_p = linalg.svd
symmetric_product_p = symmetric.symmetric_product
triangular_solve_p = linalg.triangular_solve
tridiagonal_p = linalg.tridiagonal
tridiagonal_solve_p = linalg.tridiagonal_solve


def _symmetrized(name: str, x: Any) -> Any:
    aval = aval_of(x)
    matrices.check_matrix(name, aval)
    if aval.shape[-1] != aval.shape[-2]:
        raise TypeError(f"{name} takes square matrices, got {aval.str_short()}")
    return arithmetic.div(arithmetic.add(x, matrices.adjoint(x)), 2.0)


def cholesky(x: Any, *, symmetrize_input: bool = True) -> Any:
    """The lower triangle L with a positive diagonal and L L' = x, for a positive definite matrix.

    The result is NaN where the matrix is not positive definite. Without `symmetrize_input` the
    lower triangle of `x` is all that is read.

    >>> from pullback import lax
    >>> import numpy as np
    >>> lax.linalg.cholesky(np.array([[4., 2.], [2., 2.]], "float32"))
    Array([[2., 0.],
           [1., 1.]], dtype=float32)
    """
    if symmetrize_input:
        x = _symmetrized("cholesky", x)
    return cholesky_p.bind(x)


def cholesky_update(r_matrix: Any, w_vector: Any) -> Any:
    """The upper triangle R1 with R1' R1 = R' R + w w', from the triangle R and the vector w.

    >>> from pullback import lax
    >>> import numpy as np
    >>> bool(lax.linalg.cholesky_update(np.eye(2, dtype="float32"), np.zeros(2, "float32"))[0, 0])
    True
    """
    return cholesky_update_p.bind(r_matrix, w_vector)


def eig(
    x: Any,
    *,
    compute_left_eigenvectors: bool = True,
    compute_right_eigenvectors: bool = True,
    enable_eigvec_derivs: bool = False,
    implementation: EigImplementation | None = None,
    use_magma: bool | None = None,
) -> list[Any]:
    """Eigenvalues, left and right eigenvectors (as columns) of a general matrix; complex always.

    Derivatives of eigenvectors exist only where all eigenvalues differ: `enable_eigvec_derivs`
    promises that.

    >>> from pullback import lax
    >>> import numpy as np
    >>> w, vl, vr = lax.linalg.eig(np.array([[0., 1.], [-1., 0.]], "float32"))
    >>> w.dtype, np.abs(np.asarray(w)).tolist()
    (dtype('complex64'), [1.0, 1.0])
    """
    outs: list[Any] = eig_p.bind(
        x,
        compute_left_eigenvectors=compute_left_eigenvectors,
        compute_right_eigenvectors=compute_right_eigenvectors,
        enable_eigvec_derivs=enable_eigvec_derivs,
        implementation=implementation,
    )
    return outs


def eigh(
    x: Any,
    *,
    lower: bool = True,
    symmetrize_input: bool = True,
    sort_eigenvalues: bool = True,
    subset_by_index: tuple[int, int] | None = None,
    implementation: EighImplementation | None = None,
) -> tuple[Any, Any]:
    """Eigenvectors (as columns) and ascending eigenvalues of a symmetric or Hermitian matrix.

    Derivatives with respect to `x` are those for Hermitian perturbations; they stay finite where
    eigenvalues are equal.

    >>> from pullback import lax
    >>> import numpy as np
    >>> v, w = lax.linalg.eigh(np.diag(np.array([2., 1.], "float32")))
    >>> w
    Array([1., 2.], dtype=float32)
    """
    if symmetrize_input:
        x = _symmetrized("eigh", x)
    vectors, values = eigh_p.bind(
        x,
        lower=lower,
        sort_eigenvalues=sort_eigenvalues,
        subset_by_index=subset_by_index,
        algorithm=implementation,
    )
    return vectors, values


def hessenberg(a: Any) -> list[Any]:
    """A matrix reduced to upper Hessenberg form, as LAPACK packs it: reflectors below, and factors.

    `householder_product` makes the orthogonal factor of them.

    >>> from pullback import lax
    >>> import numpy as np
    >>> packed, taus = lax.linalg.hessenberg(np.eye(3, dtype="float32"))
    >>> taus.shape
    (2,)
    """
    return list(hessenberg_p.bind(a))


def householder_product(a: Any, taus: Any) -> Any:
    """The product of reflectors given by the columns of `a` below its diagonal, and their factors.

    >>> from pullback import lax
    >>> import numpy as np
    >>> lax.linalg.householder_product(np.zeros((2, 1), "float32"), np.zeros(1, "float32")).shape
    (2, 1)
    """
    return householder_product_p.bind(a, taus)


def lu(x: Any) -> list[Any]:
    """P x = L U: both triangles in one matrix, the row swaps, and the permutation they make.

    >>> from pullback import lax
    >>> import numpy as np
    >>> both, swaps, order = lax.linalg.lu(np.array([[0., 1.], [2., 4.]], "float32"))
    >>> both, order
    (Array([[2., 4.],
           [0., 1.]], dtype=float32), Array([1, 0], dtype=int32))
    """
    return list(lu_p.bind(x))


def lu_pivots_to_permutation(pivots: Any, permutation_size: int) -> Any:
    """The permutation that row swaps make: swap 0 with `pivots[0]`, then 1 with `pivots[1]`...

    >>> from pullback import lax
    >>> import numpy as np
    >>> lax.linalg.lu_pivots_to_permutation(np.array([2, 1], "int32"), 3)
    Array([2, 1, 0], dtype=int32)
    """
    return lu_pivots_to_permutation_p.bind(pivots, permutation_size=int(permutation_size))


def ormqr(a: Any, taus: Any, c: Any, *, left: bool = True, transpose: bool = False) -> Any:
    """A product with the square orthogonal matrix of reflectors, which is not formed.

    `Q c`, `Q' c` with `transpose`, `c Q` without `left`.

    >>> from pullback import lax
    >>> import numpy as np
    >>> c = np.ones((2, 1), "float32")
    >>> lax.linalg.ormqr(np.zeros((2, 2), "float32"), np.zeros(2, "float32"), c)
    Array([[1.],
           [1.]], dtype=float32)
    """
    return ormqr_p.bind(a, taus, c, left=bool(left), transpose=bool(transpose))


def qr(
    x: Any, *, pivoting: bool = False, full_matrices: bool = True, use_magma: bool | None = None
) -> tuple[Any, ...]:
    """Q and R with Q R = x, Q with orthonormal columns and R an upper triangle.

    With `pivoting` there is a third result, the order of columns: Q R = x[:, order].

    >>> from pullback import lax
    >>> import numpy as np
    >>> q, r = lax.linalg.qr(np.ones((3, 2), "float32"), full_matrices=False)
    >>> q.shape, r.shape
    ((3, 2), (2, 2))
    """
    outs = qr_p.bind(
        x, pivoting=bool(pivoting), full_matrices=bool(full_matrices), use_magma=use_magma
    )
    return tuple(outs)


def schur(
    x: Any,
    *,
    compute_schur_vectors: bool = True,
    sort_eig_vals: bool = False,
    select_callable: Callable[..., Any] | None = None,
) -> list[Any]:
    """T and Q with Q T Q' = x: T is a triangle, or of blocks of two for real matrices.

    >>> from pullback import lax
    >>> import numpy as np
    >>> t, q = lax.linalg.schur(np.eye(2, dtype="float32"))
    >>> t
    Array([[1., 0.],
           [0., 1.]], dtype=float32)
    """
    outs = schur_p.bind(
        x,
        compute_schur_vectors=bool(compute_schur_vectors),
        sort_eig_vals=bool(sort_eig_vals),
        select_callable=select_callable,
    )
    return list(outs)


def svd(
    x: Any,
    *,
    full_matrices: bool = True,
    compute_uv: bool = True,
    subset_by_index: tuple[int, int] | None = None,
    algorithm: SvdAlgorithm | None = None,
) -> Any:
    """U, the singular values in descending order, and V', with U diag(s) V' = x.

    Only the values without `compute_uv`. With `full_matrices` U and V' are square.

    >>> from pullback import lax
    >>> import numpy as np
    >>> lax.linalg.svd(np.diag(np.array([1., 3.], "float32")), compute_uv=False)
    Array([3., 1.], dtype=float32)
    """
    outs = svd_p.bind(
        x,
        full_matrices=bool(full_matrices),
        compute_uv=bool(compute_uv),
        subset_by_index=subset_by_index,
        algorithm=algorithm,
    )
    if not compute_uv:
        return outs[0]
    values, u, vt = outs
    return u, values, vt


def symmetric_product(
    a_matrix: Any,
    c_matrix: Any,
    *,
    alpha: float = 1.0,
    beta: float = 0.0,
    symmetrize_output: bool = False,
) -> Any:
    """alpha A A' + beta C, for a symmetric C.

    >>> from pullback import lax
    >>> import numpy as np
    >>> lax.linalg.symmetric_product(np.ones((2, 3), "float32"), np.zeros((2, 2), "float32"))
    Array([[3., 3.],
           [3., 3.]], dtype=float32)
    """
    a, c = aval_of(a_matrix).shape, aval_of(c_matrix).shape
    if (*a[:-1], *a[-2:-1]) != c:
        raise ValueError(
            f"symmetric_product takes matrices [..., m, n] and [..., m, m], got {a} and {c}"
        )
    return symmetric_product_p.bind(a_matrix, c_matrix, alpha=float(alpha), beta=float(beta))


def triangular_solve(
    a: Any,
    b: Any,
    *,
    left_side: bool = False,
    lower: bool = False,
    transpose_a: bool = False,
    conjugate_a: bool = False,
    unit_diagonal: bool = False,
) -> Any:
    """x with x a = b, or a x = b with `left_side`; one triangle of `a` is all that is read.

    `b` may be a vector. A zero on the diagonal gives infinities or NaN.

    >>> from pullback import lax
    >>> import numpy as np
    >>> a = np.array([[2., 0.], [2., 1.]], "float32")
    >>> lax.linalg.triangular_solve(a, np.array([2., 3.], "float32"), left_side=True, lower=True)
    Array([1., 1.], dtype=float32)
    """
    a_aval, b_aval = aval_of(a), aval_of(b)
    vector = b_aval.ndim == a_aval.ndim - 1
    if vector:
        shape = (*b_aval.shape, 1) if left_side else (*b_aval.shape[:-1], 1, b_aval.shape[-1])
        b = _reshaped(b, shape)
    conjugate = conjugate_a and dtypes.kind_of(a_aval.dtype) == "c"
    out = triangular_solve_p.bind(
        a,
        b,
        left_side=bool(left_side),
        lower=bool(lower),
        transpose_a=bool(transpose_a),
        conjugate_a=bool(conjugate),
        unit_diagonal=bool(unit_diagonal),
    )
    return _reshaped(out, b_aval.shape) if vector else out


def _reshaped(x: Any, shape: tuple[int, ...]) -> Any:
    return structural.reshape(x, new_sizes=shape, dimensions=None, sharding=None)


def tridiagonal(a: Any, *, lower: bool = True) -> list[Any]:
    """A Hermitian matrix reduced to tridiagonal form, as LAPACK packs it.

    The packed reflectors, the diagonal, the diagonal beside it, and the factors of the reflectors.

    >>> from pullback import lax
    >>> import numpy as np
    >>> lax.linalg.tridiagonal(np.eye(2, dtype="float32"))[1]
    Array([1., 1.], dtype=float32)
    """
    return list(tridiagonal_p.bind(a, lower=bool(lower)))


def tridiagonal_solve(dl: Any, d: Any, du: Any, b: Any, *, perturb_singular: bool = False) -> Any:
    """x with T x = b, for the matrix with diagonals `dl` (below), `d` and `du` (above), all [n].

    `dl[0]` and `du[-1]` lie outside of the matrix; `b` is [n, k].

    >>> from pullback import lax
    >>> import numpy as np
    >>> one, zero = np.ones(2, "float32"), np.zeros(2, "float32")
    >>> lax.linalg.tridiagonal_solve(zero, one, zero, np.ones((2, 1), "float32"))
    Array([[1.],
           [1.]], dtype=float32)
    """
    return tridiagonal_solve_p.bind(dl, d, du, b, perturb_singular=bool(perturb_singular))


def qdwh(
    x: Any,
    *,
    is_hermitian: bool = False,
    max_iterations: int | None = None,
    eps: float | None = None,
    dynamic_shape: tuple[int, int] | None = None,
) -> tuple[Any, Any, Any, Any]:
    """The polar decomposition x = u h: u with orthonormal columns, h positive semidefinite.

    It is made of singular values here, so that no iteration is counted (0) and it always converges
    (True).

    >>> from pullback import lax
    >>> import numpy as np
    >>> u, h, steps, converged = lax.linalg.qdwh(np.diag(np.array([2., -3.], "float32")))
    >>> h
    Array([[2., 0.],
           [0., 3.]], dtype=float32)
    """
    if dynamic_shape is not None:
        raise NotImplementedError("lax.linalg.qdwh: dynamic_shape is not supported")
    left, values, right = svd(x, full_matrices=False)
    values = matrices.as_dtype_of(values, right)
    unitary = matrices.matmul(left, right)
    scaled = matrices.rows_scaled(right, values)
    h = matrices.matmul(matrices.adjoint(right), scaled)
    zero, done = (structural.full((), v, d) for v, d in ((0, dtypes.int32), (True, dtypes.bool_)))
    return unitary, h, zero, done
