"""All primitives of linear algebra, gathered from their families."""

from pullback.ops.linalg_eig import eig, schur
from pullback.ops.linalg_lu import lu, lu_pivots_to_permutation
from pullback.ops.linalg_orthogonal import (
    geqrf,
    hessenberg,
    householder_product,
    ormqr,
    qr,
    tridiagonal,
)
from pullback.ops.linalg_spectral import (
    EighImplementation,
    EigImplementation,
    SvdAlgorithm,
    eigh,
    svd,
)
from pullback.ops.linalg_triangular import cholesky, cholesky_update, triangular_solve
from pullback.ops.linalg_tridiagonal import tridiagonal_solve

__all__ = [
    "EigImplementation",
    "EighImplementation",
    "SvdAlgorithm",
    "cholesky",
    "cholesky_update",
    "eig",
    "eigh",
    "geqrf",
    "hessenberg",
    "householder_product",
    "lu",
    "lu_pivots_to_permutation",
    "ormqr",
    "qr",
    "schur",
    "svd",
    "triangular_solve",
    "tridiagonal",
    "tridiagonal_solve",
]
