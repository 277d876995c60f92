"""`jax.experimental.sparse.random`: random sparse arrays."""

from pullback.experimental.sparse import (
    random_bcoo,
)

__all__ = [
    "random_bcoo",
]
