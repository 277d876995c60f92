"""`jnp.float32` and its kin: usable as dtypes, as constructors of arrays, and with `isinstance`.

They are classes whose metaclass makes them equal to NumPy's scalar types; calling one gives an
array. The categories (`jnp.floating`) and the constants are NumPy's own.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from pullback.core import dtypes
from pullback.core.array import Array

__all__ = ["CATEGORIES", "SCALAR_TYPES", "ScalarType", "constructor_hook"]

constructor_hook: Final[list[Any]] = []
"""Filled by `creation`: `asarray(x, dtype=...)`."""


class ScalarType(type):
    """Metaclass of the scalar types.

    `jnp.float32(2)` is an array, `np.dtype(jnp.float32)` the NumPy dtype, and
    `isinstance(np.float32(1), jnp.float32)` is true.
    """

    dtype: np.dtype[Any]

    def __hash__(cls) -> int:
        return hash(cls.dtype.type)

    def __eq__(cls, other: object) -> bool:
        return (
            cls is other
            or bool(cls.dtype.type == other)
            or (isinstance(other, (ScalarType, np.dtype)) and _own_dtype(other) == cls.dtype)
        )

    def __ne__(cls, other: object) -> bool:
        return not cls == other

    def __call__(cls, x: Any) -> Any:
        return constructor_hook[0](x, dtype=cls.dtype)

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, cls.dtype.type)


def _own_dtype(x: Any) -> Any:
    return x.dtype if isinstance(x, ScalarType) else x


def _scalar_type(dtype: np.dtype[Any]) -> ScalarType:
    name = "bool" if dtype == dtypes.bool_ else dtype.name
    doc = f"The dtype `{name}`; called with a value, an array of it."
    body = {"dtype": dtype, "__doc__": doc, "__module__": "jax.numpy"}
    return ScalarType(name, (), body)


SCALAR_TYPES: Final[dict[str, ScalarType]] = {
    ("bool" if dtype == dtypes.bool_ else dtype.name): _scalar_type(dtype)
    for dtype in dtypes.SUPPORTED
}
_ALIASES: Final = {
    "bool_": "bool",
    "uint": "uint64",
    "int_": "int64",
    "float_": "float64",
    "complex_": "complex128",
    "single": "float32",
    "double": "float64",
    "csingle": "complex64",
    "cdouble": "complex128",
}
SCALAR_TYPES.update({alias: SCALAR_TYPES[name] for alias, name in _ALIASES.items()})

CATEGORIES: Final[dict[str, Any]] = {
    name: getattr(np, name)
    for name in (
        "generic",
        "number",
        "integer",
        "signedinteger",
        "unsignedinteger",
        "inexact",
        "floating",
        "complexfloating",
        "flexible",
        "character",
        "object_",
    )
}

CONSTANTS: Final[dict[str, Any]] = {
    "pi": np.pi,
    "e": np.e,
    "inf": np.inf,
    "nan": np.nan,
    "euler_gamma": np.euler_gamma,
    "newaxis": None,
}


def can_cast(from_: Any, to: Any, casting: Any = "safe") -> bool:
    """Whether a cast between dtypes is allowed under NumPy's casting rule.

    >>> can_cast("int16", "int32"), can_cast("float32", "int32")
    (True, False)
    """
    if isinstance(from_, Array):
        from_ = from_.dtype
    return np.can_cast(dtypes.as_dtype(from_), dtypes.as_dtype(to), casting=casting)


def promote_types(a: Any, b: Any) -> Any:
    """The dtype to which operands of the dtypes `a` and `b` are converted.

    >>> promote_types("int32", "float16")
    dtype('float16')
    """
    return dtypes.promote_types(a, b)


def result_type(*args: Any) -> Any:
    """The dtype of a result of operands `args`: arrays, scalars, dtypes.

    >>> import numpy as np
    >>> result_type(np.float32(1), 2), result_type("int8", "uint8")
    (dtype('float32'), dtype('int16'))
    """
    return dtypes.result_type(*args)


def issubdtype(arg1: Any, arg2: Any) -> bool:
    """Whether a dtype lies in another dtype or a category such as `jnp.floating`.

    >>> import numpy as np
    >>> import pullback.numpy as jnp
    >>> issubdtype("bfloat16", np.floating)
    True
    """
    return dtypes.issubdtype(arg1, arg2)


def isdtype(dtype: Any, kind: Any) -> bool:
    """Whether a dtype is of a kind: a dtype, a name of the array API, or a tuple of them.

    >>> isdtype("float32", "real floating"), isdtype("int8", ("bool", "integral"))
    (True, True)
    """
    return dtypes.isdtype(dtype, kind)


finfo: Final[Any] = dtypes.finfo
iinfo: Final[Any] = dtypes.iinfo
