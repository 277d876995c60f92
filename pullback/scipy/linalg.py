"""`jax.scipy.linalg`: SciPy's solvers and functions of matrices.

Parameters such as `overwrite_a` and `check_finite` are accepted, and change nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pullback import lax
from pullback import numpy as jnp
from pullback.lax import linalg as lax_linalg
from pullback.numpy.promotion import ensure_arraylike, promote_dtypes_inexact
from pullback.numpy.solvers import lu_solved
from pullback.ops import linalg_matrices
from pullback.runtime.composites import compiled_when_eager
from pullback.scipy.matrix_equations import (
    eigh_tridiagonal,
    funm,
    qr_multiply,
    rsf2csf,
    solve_sylvester,
)
from pullback.scipy.matrix_functions import expm, expm_frechet, sqrtm
from pullback.scipy.special_matrices import (
    block_diag,
    circulant,
    companion,
    convolution_matrix,
    dft,
    fiedler,
    fiedler_companion,
    hadamard,
    hankel,
    helmert,
    hilbert,
    invhilbert,
    invpascal,
    leslie,
    pascal,
    toeplitz,
)

__all__ = [
    "block_diag",
    "cho_factor",
    "cho_solve",
    "cholesky",
    "circulant",
    "companion",
    "convolution_matrix",
    "det",
    "dft",
    "eigh",
    "eigh_tridiagonal",
    "expm",
    "expm_frechet",
    "fiedler",
    "fiedler_companion",
    "funm",
    "hadamard",
    "hankel",
    "helmert",
    "hessenberg",
    "hilbert",
    "inv",
    "invhilbert",
    "invpascal",
    "leslie",
    "lu",
    "lu_factor",
    "lu_solve",
    "pascal",
    "polar",
    "qr",
    "qr_multiply",
    "rsf2csf",
    "schur",
    "solve",
    "solve_sylvester",
    "solve_triangular",
    "sqrtm",
    "svd",
    "toeplitz",
]


def _inexact(name: str, *args: Any) -> Any:
    checked = ensure_arraylike(f"jax.scipy.linalg.{name}", *args)
    found = promote_dtypes_inexact(*(checked if len(args) > 1 else (checked,)))
    return found if len(args) > 1 else found[0]


def _adjoint(x: Any) -> Any:
    return linalg_matrices.adjoint(x)


# --------------------------------------------------------------------------- Cholesky


@compiled_when_eager("lower", "overwrite_a", "check_finite")
def cholesky(
    a: Any, lower: bool = False, overwrite_a: bool = False, check_finite: bool = True
) -> Any:
    """The upper triangle U with U' U = a, or the lower one L with L L' = a.

    >>> import pullback.numpy as jnp, pullback.scipy as jsp
    >>> jsp.linalg.cholesky(jnp.array([[4., 2.], [2., 2.]]))
    Array([[2., 1.],
           [0., 1.]], dtype=float32)
    """
    a = _inexact("cholesky", a)
    factor = lax_linalg.cholesky(a if lower else _adjoint(a), symmetrize_input=False)
    return factor if lower else _adjoint(factor)


def cho_factor(
    a: Any, lower: bool = False, overwrite_a: bool = False, check_finite: bool = True
) -> tuple[Any, bool]:
    """A Cholesky factor for `cho_solve`, and whether it is the lower one.

    >>> import pullback.numpy as jnp, pullback.scipy as jsp
    >>> jsp.linalg.cho_solve(jsp.linalg.cho_factor(4 * jnp.eye(2)), jnp.ones(2))
    Array([0.25, 0.25], dtype=float32)
    """
    return cholesky(a, lower=lower), lower


def cho_solve(
    c_and_lower: tuple[Any, bool], b: Any, overwrite_b: bool = False, check_finite: bool = True
) -> Any:
    """x with a x = b, from the factor of `a` that `cho_factor` gives.

    >>> import pullback.numpy as jnp, pullback.scipy as jsp
    >>> jsp.linalg.cho_solve((2 * jnp.eye(2), True), jnp.ones(2))
    Array([0.25, 0.25], dtype=float32)
    """
    factor, lower = c_and_lower
    return _cho_solved(factor, b, bool(lower))


@compiled_when_eager("lower")
def _cho_solved(factor: Any, b: Any, lower: bool) -> Any:
    factor, b = _inexact("cho_solve", factor, b)
    b, vector = _columns(factor, b)
    for turned in (not lower, lower):
        b = lax_linalg.triangular_solve(
            factor, b, left_side=True, lower=lower, transpose_a=turned, conjugate_a=turned
        )
    return b[..., 0] if vector else b


def _columns(a: Any, b: Any) -> tuple[Any, bool]:
    """Right-hand sides as matrices with the lanes of `a`, and whether there was one vector."""
    vector = b.ndim == 1
    b = b[:, None] if vector else b
    lanes = a.shape[:-2]
    return jnp.broadcast_to(b, (*lanes, *b.shape[-2:])) if b.ndim != a.ndim else b, vector


# --------------------------------------------------------------------------- solvers


@compiled_when_eager("trans", "lower", "unit_diagonal", "overwrite_b", "debug", "check_finite")
def solve_triangular(
    a: Any,
    b: Any,
    trans: int | str = 0,
    lower: bool = False,
    unit_diagonal: bool = False,
    overwrite_b: bool = False,
    debug: Any = None,
    check_finite: bool = True,
) -> Any:
    """x with a x = b for a triangle; `trans` 1 or "T" transposes it, 2 or "C" conjugates too.

    >>> import pullback.numpy as jnp, pullback.scipy as jsp
    >>> jsp.linalg.solve_triangular(jnp.array([[2., 2.], [0., 1.]]), jnp.array([4., 1.]))
    Array([1., 1.], dtype=float32)
    """
    kinds = {0: 0, "N": 0, 1: 1, "T": 1, 2: 2, "C": 2}
    if trans not in kinds:
        raise ValueError(f"Invalid 'trans' value {trans!r}")
    a, b = _inexact("solve_triangular", a, b)
    b, vector = _columns(a, b)
    x = lax_linalg.triangular_solve(
        a,
        b,
        left_side=True,
        lower=lower,
        transpose_a=kinds[trans] > 0,
        conjugate_a=kinds[trans] == 2,
        unit_diagonal=unit_diagonal,
    )
    return x[..., 0] if vector else x


@compiled_when_eager("lower", "overwrite_a", "overwrite_b", "debug", "check_finite", "assume_a")
def solve(
    a: Any,
    b: Any,
    lower: bool = False,
    overwrite_a: bool = False,
    overwrite_b: bool = False,
    debug: bool = False,
    check_finite: bool = True,
    assume_a: str = "gen",
) -> Any:
    """x with a x = b; `assume_a="pos"` takes a Cholesky factor, else an LU decomposition.

    >>> import pullback.numpy as jnp, pullback.scipy as jsp
    >>> jsp.linalg.solve(2 * jnp.eye(2), jnp.ones(2))
    Array([0.5, 0.5], dtype=float32)
    """
    if assume_a not in ("gen", "sym", "her", "pos"):
        raise ValueError(
            f"Expected assume_a to be one of ['gen', 'sym', 'her', 'pos']; got {assume_a!r}"
        )
    if assume_a != "pos":
        return jnp.linalg.solve(a, b)
    a, b = _inexact("solve", a, b)
    b, vector = _columns(a, b)
    factor = cho_factor(lax.stop_gradient(a), lower=lower)
    x = lax.custom_linear_solve(
        lambda x: jnp.matmul(a, x, precision=lax.Precision.HIGHEST),
        b,
        solve=lambda _, y: cho_solve(factor, y),
        transpose_solve=lambda _, y: (
            lax.conj(cho_solve(factor, lax.conj(y)))
            if jnp.iscomplexobj(y)
            else cho_solve(factor, y)
        ),
    )
    return x[..., 0] if vector else x


def inv(a: Any, overwrite_a: bool = False, check_finite: bool = True) -> Any:
    """The inverse.

    >>> import pullback.numpy as jnp, pullback.scipy as jsp
    >>> jsp.linalg.inv(jnp.array([[2.]]))
    Array([[0.5]], dtype=float32)
    """
    return jnp.linalg.inv(a)


def det(a: Any, overwrite_a: bool = False, check_finite: bool = True) -> Any:
    """The determinant.

    >>> import pullback.numpy as jnp, pullback.scipy as jsp
    >>> jsp.linalg.det(jnp.array([[1., 2.], [3., 4.]]))
    Array(-2., dtype=float32)
    """
    return jnp.linalg.det(a)


# --------------------------------------------------------------------------- LU


@compiled_when_eager("overwrite_a", "check_finite")
def lu_factor(a: Any, overwrite_a: bool = False, check_finite: bool = True) -> tuple[Any, Any]:
    """Both triangles of P a = L U in one matrix, and the row swaps, for `lu_solve`.

    >>> import pullback.numpy as jnp, pullback.scipy as jsp
    >>> jsp.linalg.lu_factor(jnp.array([[0., 1.], [2., 4.]]))[1]
    Array([1, 1], dtype=int32)
    """
    both, swaps, _ = lax_linalg.lu(_inexact("lu_factor", a))
    return both, swaps


def lu_solve(
    lu_and_piv: tuple[Any, Any],
    b: Any,
    trans: int = 0,
    overwrite_b: bool = False,
    check_finite: bool = True,
) -> Any:
    """x with a x = b from `lu_factor(a)`; `trans` 1 for the transposed, 2 for the adjoint matrix.

    >>> import pullback.numpy as jnp, pullback.scipy as jsp
    >>> jsp.linalg.lu_solve(jsp.linalg.lu_factor(2 * jnp.eye(2)), jnp.ones(2))
    Array([0.5, 0.5], dtype=float32)
    """
    both, swaps = lu_and_piv
    if trans not in (0, 1, 2):
        raise ValueError(f"'trans' value must be 0, 1, or 2, got {trans}")
    both, b = _inexact("lu_solve", both, b)
    order = lax_linalg.lu_pivots_to_permutation(swaps, both.shape[-1])
    b, vector = _columns(both, b)
    if b.shape[-2] != both.shape[-1]:
        raise ValueError(f"lu_solve: {both.aval} and a right-hand side {b.aval} do not fit")
    x = lu_solved(both, order, b, trans)
    return x[..., 0] if vector else x


@compiled_when_eager("permute_l", "overwrite_a", "check_finite")
def lu(
    a: Any, permute_l: bool = False, overwrite_a: bool = False, check_finite: bool = True
) -> tuple[Any, ...]:
    """P, L and U with P L U = a; (P L, U) with `permute_l`.

    >>> import pullback.numpy as jnp, pullback.scipy as jsp
    >>> p, l, u = jsp.linalg.lu(jnp.array([[0., 1.], [2., 4.]]))
    >>> p
    Array([[0., 1.],
           [1., 0.]], dtype=float32)
    """
    a = _inexact("lu", a)
    both, _, order = lax_linalg.lu(a)
    m, n = a.shape[-2:]
    k = min(m, n)
    lower = jnp.tril(both[..., :, :k], -1) + jnp.eye(m, k, dtype=a.dtype)
    upper = jnp.triu(both[..., :k, :])
    real = jnp.finfo(a.dtype).dtype
    columns = jnp.arange(m, dtype=order.dtype)[:, None]
    permutation = (order[..., None, :] == columns).astype(real)
    if permute_l:
        return jnp.matmul(permutation.astype(a.dtype), lower), upper
    return permutation, lower, upper


# --------------------------------------------------------------------------- factors


def qr(
    a: Any,
    overwrite_a: bool = False,
    lwork: Any = None,
    mode: str = "full",
    pivoting: bool = False,
    check_finite: bool = True,
) -> tuple[Any, ...]:
    """Q and R with Q R = a; modes "full", "economic" and "r"; the order of columns if `pivoting`.

    >>> import pullback.numpy as jnp, pullback.scipy as jsp
    >>> [x.shape for x in jsp.linalg.qr(jnp.ones((3, 2)))]
    [(3, 3), (3, 2)]
    """
    if mode not in ("full", "r", "economic"):
        raise ValueError(f"Unsupported QR decomposition mode '{mode}'")
    outs = lax_linalg.qr(_inexact("qr", a), pivoting=pivoting, full_matrices=mode != "economic")
    return tuple(outs[1:]) if mode == "r" else tuple(outs)


def svd(
    a: Any,
    full_matrices: bool = True,
    compute_uv: bool = True,
    overwrite_a: bool = False,
    check_finite: bool = True,
    lapack_driver: str = "gesdd",
) -> Any:
    """U, descending singular values and V'; the values alone without `compute_uv`.

    >>> import pullback.numpy as jnp, pullback.scipy as jsp
    >>> jsp.linalg.svd(2 * jnp.eye(2), compute_uv=False)
    Array([2., 2.], dtype=float32)
    """
    outs = jnp.linalg.svd(a, full_matrices=full_matrices, compute_uv=compute_uv)
    return tuple(outs) if compute_uv else outs


def eigh(
    a: Any,
    b: Any = None,
    lower: bool = True,
    eigvals_only: bool = False,
    overwrite_a: bool = False,
    overwrite_b: bool = False,
    turbo: bool = True,
    eigvals: None = None,
    type: int = 1,
    check_finite: bool = True,
) -> Any:
    """Ascending eigenvalues and eigenvectors of a Hermitian matrix, read from one triangle.

    >>> import pullback.numpy as jnp, pullback.scipy as jsp
    >>> jsp.linalg.eigh(jnp.diag(jnp.array([2., 1.])), eigvals_only=True)
    Array([1., 2.], dtype=float32)
    """
    if b is not None:
        raise NotImplementedError("Only the b=None case of eigh is implemented")
    if type != 1:
        raise NotImplementedError("Only the type=1 case of eigh is implemented.")
    if eigvals is not None:
        raise NotImplementedError("Only the eigvals=None case of eigh is implemented.")
    vectors, values = lax_linalg.eigh(_inexact("eigh", a), lower=lower)
    return values if eigvals_only else (values, vectors)


@compiled_when_eager("output")
def schur(a: Any, output: str = "real") -> list[Any]:
    """T and Z with Z T Z' = a, T a triangle (of blocks of two, for real output of real matrices).

    >>> import pullback.numpy as jnp, pullback.scipy as jsp
    >>> jsp.linalg.schur(jnp.eye(2))[0]
    Array([[1., 0.],
           [0., 1.]], dtype=float32)
    """
    if output not in ("real", "complex"):
        raise ValueError(
            f"Expected 'output' to be either 'real' or 'complex', got output={output!r}."
        )
    a = _inexact("schur", a)
    if output == "complex" and not jnp.iscomplexobj(a):
        a = lax.complex(a, lax.full_like(a, 0))
    return lax_linalg.schur(a)


def hessenberg(
    a: Any, *, calc_q: bool = False, overwrite_a: bool = False, check_finite: bool = True
) -> Any:
    """H, zero below its first subdiagonal, and with `calc_q` also Q, with Q H Q' = a.

    >>> import pullback.numpy as jnp, pullback.scipy as jsp
    >>> jsp.linalg.hessenberg(jnp.eye(2))
    Array([[1., 0.],
           [0., 1.]], dtype=float32)
    """
    packed, taus = lax_linalg.hessenberg(_inexact("hessenberg", a))
    h = jnp.triu(packed, -1)
    if not calc_q:
        return h
    inner = lax_linalg.householder_product(packed[..., 1:, :-1], taus)
    n, lanes = h.shape[-1], [(0, 0)] * (h.ndim - 2)
    q = jnp.pad(inner, [*lanes, (1, 0), (1, 0)])
    corner = np.zeros((n, n))
    corner[0, 0] = 1
    return h, q + jnp.asarray(corner, h.dtype)


def polar(
    a: Any,
    side: str = "right",
    *,
    method: str = "qdwh",
    eps: float | None = None,
    max_iterations: int | None = None,
) -> tuple[Any, Any]:
    """U and a positive semidefinite P with U P = a, or P U = a for `side="left"`.

    Both methods, "qdwh" and "svd", are computed by singular values here.

    >>> import pullback.numpy as jnp, pullback.scipy as jsp
    >>> jsp.linalg.polar(jnp.diag(jnp.array([2., -3.])))[1]
    Array([[2., 0.],
           [0., 3.]], dtype=float32)
    """
    if side not in ("right", "left"):
        raise ValueError(f"The argument `side` must be either 'right' or 'left', got {side!r}.")
    if method not in ("qdwh", "svd"):
        raise ValueError(f"Unknown polar decomposition method {method}.")
    a = _inexact("polar", a)
    if side == "right":
        return lax_linalg.qdwh(a)[:2]
    unitary, p = lax_linalg.qdwh(_adjoint(a))[:2]
    return _adjoint(unitary), p
