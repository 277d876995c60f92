"""`jax._src.dtypes`: what libraries use of it beyond `jax.dtypes`."""

from __future__ import annotations

from typing import Any

import numpy as np

from pullback import dtypes
from pullback.dtypes import *  # noqa: F403
from pullback.errors import TypePromotionError

__all__ = ["DType", "ExtendedDType", "TypePromotionError", "supports_inf", "to_complex_dtype"]

DType = np.dtype


class ExtendedDType:
    """Base of element types that libraries define; arrays cannot have them here."""


def supports_inf(dtype: Any) -> bool:
    """Whether a float dtype has infinities.

    >>> supports_inf("float32"), supports_inf("float8_e4m3fn")
    (True, False)
    """
    with np.errstate(all="ignore"):
        return bool(
            np.isinf(np.asarray(np.inf, dtypes.canonicalize_dtype(dtype)).astype("float32"))
        )


def to_complex_dtype(dtype: Any) -> Any:
    """The complex dtype for numbers of a dtype, with parts of 64 bits where those have as many.

    >>> to_complex_dtype("int32"), to_complex_dtype("float64"), to_complex_dtype("complex64")
    (dtype('complex64'), dtype('complex128'), dtype('complex64'))
    """
    dtype = np.dtype(dtype)
    bytes_of_part = dtype.itemsize // (2 if dtype.kind == "c" else 1)
    return np.dtype("complex128" if bytes_of_part == 8 else "complex64")
