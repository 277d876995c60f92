"""`jax.experimental.sparse.util`: warnings and errors."""

from pullback.dropin.shims.experimental.sparse.primitives import SparseInfo
from pullback.experimental.sparse import (
    CuSparseEfficiencyWarning,
    SparseEfficiencyError,
    SparseEfficiencyWarning,
)

__all__ = [
    "CuSparseEfficiencyWarning",
    "SparseEfficiencyError",
    "SparseEfficiencyWarning",
    "SparseInfo",
]
