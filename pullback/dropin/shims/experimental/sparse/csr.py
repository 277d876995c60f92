"""`jax.experimental.sparse.csr`: the functions on CSR and CSC matrices."""

from pullback.dropin.shims.experimental.sparse.primitives import (
    COOInfo,
    csr_fromdense_p,
    csr_matmat_p,
    csr_matvec_p,
    csr_todense_p,
)
from pullback.experimental.sparse import (
    CSC,
    CSR,
    csr_fromdense,
    csr_matmat,
    csr_matvec,
    csr_todense,
)

__all__ = [
    "CSC",
    "CSR",
    "COOInfo",
    "csr_fromdense",
    "csr_fromdense_p",
    "csr_matmat",
    "csr_matmat_p",
    "csr_matvec",
    "csr_matvec_p",
    "csr_todense",
    "csr_todense_p",
]
