"""`jax._src.dtypes`: what libraries use of it beyond `jax.dtypes`."""

from __future__ import annotations

from typing import Any

import numpy as np

from pullback import dtypes
from pullback.dtypes import *  # noqa: F403
from pullback.errors import TypePromotionError

__all__ = ["DType", "ExtendedDType", "TypePromotionError", "supports_inf"]

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
