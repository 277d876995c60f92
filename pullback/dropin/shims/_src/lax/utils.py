"""`jax._src.lax.utils`: dtypes of operands."""

from __future__ import annotations

from typing import Any

import numpy as np

from pullback.core import dtypes

__all__ = ["dtype_to_string", "input_dtype", "int_dtype_for_dim"]


def input_dtype(x: Any, *_: Any, **__: Any) -> Any:
    """The dtype of an operand."""
    return dtypes.dtype_of(x)


def dtype_to_string(dtype: Any) -> str:
    """The name of a dtype."""
    return str(np.dtype(dtype).name) if not isinstance(dtype, np.dtype) else str(dtype.name)


def int_dtype_for_dim(d: int, *, signed: bool) -> np.dtype[Any]:
    """The integers of 32 bits, or of 64 where a length needs them.

    >>> int_dtype_for_dim(3, signed=True)
    dtype('int32')
    """
    small = np.int32 if signed else np.uint32
    large = np.int64 if signed else np.uint64
    return np.dtype(small if d <= np.iinfo(small).max else large)
