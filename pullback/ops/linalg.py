"""All primitives of linear algebra, gathered from their families."""

from pullback.ops.linalg_triangular import cholesky, cholesky_update, triangular_solve

__all__ = ["cholesky", "cholesky_update", "triangular_solve"]
