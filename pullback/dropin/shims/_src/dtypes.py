"""`jax._src.dtypes`: what libraries use of it beyond `jax.dtypes`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import ml_dtypes
import numpy as np

from pullback import dtypes
from pullback.core import dtypes as _core
from pullback.core.dtypes import (
    check_user_dtype as check_and_canonicalize_user_dtype,
)
from pullback.core.dtypes import (
    default_complex as default_complex_dtype,
)
from pullback.core.dtypes import (
    default_float as default_float_dtype,
)
from pullback.core.dtypes import (
    default_int as default_int_dtype,
)
from pullback.core.dtypes import (
    default_uint as default_uint_dtype,
)
from pullback.core.dtypes import dtype_and_weak_type as _dtype_and_weaktype
from pullback.core.dtypes import dtype_of as dtype
from pullback.core.dtypes import is_weakly_typed, to_inexact_dtype
from pullback.core.element_types import short_name
from pullback.dtypes import *  # noqa: F403
from pullback.errors import TypePromotionError

__all__ = [
    "DType",
    "ExtendedDType",
    "TypePromotionError",
    "_dtype_and_weaktype",
    "check_and_canonicalize_user_dtype",
    "default_complex_dtype",
    "default_float_dtype",
    "default_int_dtype",
    "default_uint_dtype",
    "dtype",
    "is_weakly_typed",
    "python_scalar_types",
    "short_dtype_name",
    "supports_inf",
    "to_complex_dtype",
    "to_floating_dtype",
    "to_inexact_dtype",
    "to_numeric_dtype",
]

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


python_scalar_types = {bool, int, float, complex}
default_types = {
    "b": lambda: np.dtype(bool),
    "i": default_int_dtype,
    "u": default_uint_dtype,
    "f": default_float_dtype,
    "c": default_complex_dtype,
}


def short_dtype_name(dtype: Any) -> str:
    """The name of a dtype in printed programs.

    >>> short_dtype_name("float32"), short_dtype_name(bool)
    ('f32', 'bool')
    """
    return str(short_name(np.dtype(dtype)))


def to_numeric_dtype(dtype: Any) -> Any:
    """The dtype itself, of integers for truth values."""
    dtype = np.dtype(dtype)
    return default_int_dtype() if dtype.kind == "b" else dtype


def to_floating_dtype(dtype: Any) -> Any:
    """The real dtype for numbers of a dtype.

    >>> to_floating_dtype("complex64"), to_floating_dtype("int32")
    (dtype('float32'), dtype('float32'))
    """
    return _core.to_real_dtype(to_inexact_dtype(np.dtype(dtype)))


_CUSTOM_FLOATS: Final = (
    "float4_e2m1fn",
    "float6_e2m3fn",
    "float6_e3m2fn",
    "float8_e3m4",
    "float8_e4m3",
    "float8_e8m0fnu",
    "float8_e4m3b11fnuz",
    "float8_e4m3fn",
    "float8_e4m3fnuz",
    "float8_e5m2",
    "float8_e5m2fnuz",
    "bfloat16",
)
_INTN: Final = ["int2", "uint2", "int4", "uint4", "int1", "uint1"]


def _dtypes_of(names: Sequence[str]) -> list[Any]:
    return [np.dtype(getattr(ml_dtypes, name)) for name in names]


_custom_float_dtypes: Final = _dtypes_of(_CUSTOM_FLOATS)
_intn_dtypes: Final = _dtypes_of(_INTN)
_float8_dtypes: Final = [d for d in _custom_float_dtypes if d.name.startswith("float8")]
_weak_types: Final = [int, float, complex]


def __getattr__(name: str) -> Any:
    if name in _CUSTOM_FLOATS or name in _INTN:
        return getattr(ml_dtypes, name)
    raise AttributeError(f"pullback lacks jax._src.dtypes.{name}", name=name)
