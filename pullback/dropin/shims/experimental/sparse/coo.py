"""`jax.experimental.sparse.coo`: the functions on COO matrices."""

from pullback.dropin.shims.experimental.sparse.primitives import (
    COOInfo,
    coo_fromdense_p,
    coo_matmat_p,
    coo_matvec_p,
    coo_todense_p,
)
from pullback.experimental.sparse import (
    COO,
    coo_fromdense,
    coo_matmat,
    coo_matvec,
    coo_todense,
)

__all__ = [
    "COO",
    "COOInfo",
    "coo_fromdense",
    "coo_fromdense_p",
    "coo_matmat",
    "coo_matmat_p",
    "coo_matvec",
    "coo_matvec_p",
    "coo_todense",
    "coo_todense_p",
]
