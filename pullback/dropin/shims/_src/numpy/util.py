"""`jax._src.numpy.util`: operands of functions of arrays."""

from __future__ import annotations

from pullback.numpy.operands import select as _where
from pullback.numpy.promotion import (
    check_arraylike,
    ensure_arraylike,
    promote_args,
    promote_args_inexact,
    promote_args_numeric,
    promote_dtypes,
    promote_dtypes_complex,
    promote_dtypes_inexact,
    promote_dtypes_numeric,
    promote_shapes,
)
from pullback.numpy.promotion import is_arraylike as _arraylike

__all__ = [
    "_arraylike",
    "_where",
    "check_arraylike",
    "ensure_arraylike",
    "promote_args",
    "promote_args_inexact",
    "promote_args_numeric",
    "promote_dtypes",
    "promote_dtypes_complex",
    "promote_dtypes_inexact",
    "promote_dtypes_numeric",
    "promote_shapes",
]
