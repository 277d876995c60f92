"""The namespace `jax.dtypes`: dtypes beyond NumPy's, promotion, limits of number types.

>>> from pullback import dtypes
>>> dtypes.result_type("int32", "float16"), dtypes.canonicalize_dtype("float64")
(dtype('float16'), dtype('float32'))
"""

from __future__ import annotations

from typing import Any

from pullback.core.dtypes import (
    bfloat16,
    canonicalize_dtype,
    extended,
    finfo,
    float0,
    iinfo,
    issubdtype,
    itemsize_bits,
    prng_key,
    result_type_and_weak,
    scalar_type_of,
)
from pullback.errors import TypePromotionError

__all__ = [
    "TypePromotionError",
    "bfloat16",
    "canonicalize_dtype",
    "extended",
    "finfo",
    "float0",
    "iinfo",
    "issubdtype",
    "itemsize_bits",
    "prng_key",
    "result_type",
    "scalar_type_of",
]


def result_type(*args: Any, return_weak_type_flag: bool = False) -> Any:
    """The dtype of the result of an operation on `args`: values, dtypes or names of dtypes.

    >>> result_type(1, 2.0, return_weak_type_flag=True)
    (dtype('float32'), True)
    """
    dtype, weak = result_type_and_weak(*args)
    return (dtype, weak) if return_weak_type_flag else dtype
