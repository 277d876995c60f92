"""`jax.experimental.sparse.coo`: the functions on COO matrices."""

from pullback.experimental.sparse import (
    COO,
    coo_fromdense,
    coo_matmat,
    coo_matvec,
    coo_todense,
)

__all__ = [
    "COO",
    "coo_fromdense",
    "coo_matmat",
    "coo_matvec",
    "coo_todense",
]
