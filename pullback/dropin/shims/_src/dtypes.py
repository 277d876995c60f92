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
from pullback.core.dtypes import is_weakly_typed, isdtype, promote_types, to_inexact_dtype
from pullback.core.dtypes import result_type_and_weak as lattice_result_type
from pullback.core.element_types import short_name
from pullback.dtypes import *  # noqa: F403
from pullback.errors import TypePromotionError

__all__ = [
    "DType",
    "ExtendedDType",
    "TypePromotionError",
    "_dtype_and_weaktype",
    "check_and_canonicalize_user_dtype",
    "check_valid_dtype",
    "coerce_to_array",
    "default_complex_dtype",
    "default_float_dtype",
    "default_int_dtype",
    "default_uint_dtype",
    "dtype",
    "is_weakly_typed",
    "isdtype",
    "lattice_result_type",
    "promote_types",
    "python_scalar_types",
    "safe_to_cast",
    "scalar_type_to_dtype",
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


def _of_kind(kind: str) -> list[Any]:
    found = [d for d in _core.SUPPORTED if _core.kind_of(d) == kind]
    return sorted(found, key=_core.itemsize_bits)


_bool_types: Final = _of_kind("b")
_unsigned_types: Final = _of_kind("u")
_signed_types: Final = _of_kind("i")
_int_types: Final = _unsigned_types + _signed_types
_float_types: Final = _of_kind("f")
_complex_types: Final = _of_kind("c")
_jax_types: Final = _bool_types + _int_types + _float_types + _complex_types
_jax_dtype_set: Final = {_core.float0, *_jax_types}


def scalar_type_to_dtype(typ: type, value: Any = None) -> Any:
    """The dtype of Python numbers of a type; OverflowError for a value that does not fit.

    >>> scalar_type_to_dtype(float)
    dtype('float32')
    """
    found = _core.python_scalar_dtype(typ)
    if typ is int and value is not None:
        limits = np.iinfo(found)
        if not limits.min <= value <= limits.max:
            raise OverflowError(f"Python int {value} too large to convert to {found.name}")
    return found


def coerce_to_array(x: Any, dtype: Any = None) -> Any:
    """`x` as an array of NumPy's, Python numbers with their dtype in arrays."""
    is_number = type(x) in python_scalar_types
    return np.asarray(x, _core.dtype_of(x) if dtype is None and is_number else dtype)


def check_valid_dtype(dtype: Any) -> None:
    """Raise TypeError for a dtype that arrays do not have."""
    if dtype not in _jax_dtype_set:
        raise TypeError(f"Dtype {dtype} is not a valid JAX array type.")


def safe_to_cast(input_dtype_or_value: Any, output_dtype_or_value: Any) -> bool:
    """Whether values are promoted to another type implicitly.

    >>> safe_to_cast("int8", "float32"), safe_to_cast("int32", "int8"), safe_to_cast(1, "int8")
    (True, False, True)
    """
    wanted = lattice_result_type(output_dtype_or_value)[0]
    if lattice_result_type(input_dtype_or_value)[0] == wanted:
        return True
    return bool(lattice_result_type(input_dtype_or_value, wanted)[0] == wanted)


def __getattr__(name: str) -> Any:
    if name in _CUSTOM_FLOATS or name in _INTN:
        return getattr(ml_dtypes, name)
    raise AttributeError(f"pullback lacks jax._src.dtypes.{name}", name=name)
