"""`jax._src.lax.utils`: names and widths of types."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pullback import dtypes
from pullback.core.avals import ShapedArray

__all__ = [
    "dtype_to_string",
    "ensure_shaped",
    "input_dtype",
    "int_dtype_for_dim",
    "int_dtype_for_shape",
]


def dtype_to_string(dtype: Any) -> str:
    """The name of a dtype.

    >>> dtype_to_string(np.float32), dtype_to_string("bfloat16")
    ('float32', 'bfloat16')
    """
    return str(getattr(dtype, "name", None) or np.dtype(dtype).name)


def ensure_shaped(*avals: Any) -> tuple[ShapedArray, ...]:
    """The types, all of which must be those of arrays."""
    for aval in avals:
        if not isinstance(aval, ShapedArray):
            raise TypeError(f"Expected ShapedArray, got {aval}")
    return avals


def input_dtype(x: Any, *_: Any, out_dtype: Any = None, **__: Any) -> Any:
    """The dtype of the first operand, or the one that is asked for."""
    return dtypes.canonicalize_dtype(x.dtype if out_dtype is None else out_dtype)


def int_dtype_for_dim(d: Any, *, signed: bool) -> np.dtype[Any]:
    """An integer dtype that counts to a length.

    >>> int_dtype_for_dim(10, signed=True), int_dtype_for_dim(2**31, signed=True)
    (dtype('int32'), dtype('int64'))
    """
    small = np.iinfo(np.int32 if signed else np.uint32)
    bits = 64 if d > small.max else 32
    return np.dtype(f"{'' if signed else 'u'}int{bits}")


def int_dtype_for_shape(shape: Sequence[Any], *, signed: bool) -> np.dtype[Any]:
    """An integer dtype that counts to every length of a shape."""
    return int_dtype_for_dim(max(shape, default=0), signed=signed)
