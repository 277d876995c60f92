"""Element types: NumPy's, those of `ml_dtypes`, and keys; canonical widths; the promotion lattice.

Everything that holds or describes an array says its element type with a `DType`: a `numpy.dtype`
or a `KeyDtype`.  Dtypes enter here as users write them (`"float64"`, `float`, `jnp.bfloat16`) and
leave canonical: with 64-bit types off, `float64` is `float32`.
"""

from __future__ import annotations

import sys
import warnings
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Final, TypeAlias

import ml_dtypes
import numpy as np

from pullback import config
from pullback.core.dimensions import is_symbolic
from pullback.core.element_types import (
    BFLOAT16,
    KEY,
    KINDS,
    ML_DTYPES,
    SIGNED,
    SMALL_FLOATS,
    SMALL_SIGNED,
    SMALL_UNSIGNED,
    SUPPORTED,
    UNSIGNED,
    DType,
    KeyDtype,
    bfloat16,
    bool_,
    complex64,
    complex128,
    extended,
    float0,
    float16,
    float32,
    float64,
    int32,
    int64,
    is_extended,
    kind_of,
    physical,
    prng_key,
    short_name,
    uint32,
    uint64,
)
from pullback.errors import TypePromotionError

__all__ = [
    "KEY",
    "SUPPORTED",
    "DType",
    "KeyDtype",
    "as_dtype",
    "bfloat16",
    "bool_",
    "canonical",
    "canonicalize_dtype",
    "check_user_dtype",
    "complex64",
    "complex128",
    "default_complex",
    "default_float",
    "default_int",
    "default_uint",
    "dtype_and_weak_type",
    "dtype_of",
    "extended",
    "finfo",
    "float0",
    "float16",
    "float32",
    "float64",
    "iinfo",
    "int32",
    "int64",
    "is_extended",
    "is_python_scalar",
    "is_weakly_typed",
    "isdtype",
    "issubdtype",
    "itemsize_bits",
    "kind_of",
    "physical",
    "prng_key",
    "promote_types",
    "python_scalar_dtype",
    "result_type",
    "result_type_and_weak",
    "scalar_type_of",
    "short_name",
    "tangent_dtype",
    "to_complex_dtype",
    "to_inexact_dtype",
    "to_real_dtype",
    "uint32",
    "uint64",
    "user_stacklevel",
]

# --------------------------------------------------------------------------- conversion

_PYTHON: Final[dict[Any, np.dtype[Any]]] = {
    bool: bool_,
    int: int64,
    float: float64,
    complex: complex128,
}
_NARROW: Final[dict[Any, np.dtype[Any]]] = {
    int64: int32,
    uint64: uint32,
    float64: float32,
    complex128: complex64,
}


def as_dtype(dtype: Any) -> Any:
    """`numpy.dtype(dtype)` that also knows `KeyDtype` and the names of `ml_dtypes`.

    >>> as_dtype("bfloat16"), as_dtype(KeyDtype("fry"))
    (dtype(bfloat16), key<fry>)
    """
    if isinstance(dtype, np.dtype | KeyDtype):
        return dtype
    if isinstance(dtype, str) and dtype in ML_DTYPES:
        return ML_DTYPES[dtype]
    own = getattr(dtype, "dtype", None)
    return own if isinstance(own, np.dtype | KeyDtype) else np.dtype(dtype)


def canonicalize_dtype(dtype: Any, allow_extended_dtype: bool = False) -> Any:
    """The dtype that arrays have when `dtype` is asked for: 64-bit ones narrowed unless enabled.

    >>> canonicalize_dtype("float64"), canonicalize_dtype(int)
    (dtype('float32'), dtype('int32'))
    """
    if type(dtype) is not KeyDtype:
        dtype = as_dtype(dtype)
        return dtype if config.x64() else _NARROW.get(dtype, dtype)
    if not allow_extended_dtype:
        raise ValueError(f"a dtype of numbers is needed here, got the extended dtype {dtype}")
    return dtype


def canonical(dtype: Any) -> Any:
    """`canonicalize_dtype` that lets extended dtypes through."""
    if type(dtype) is KeyDtype or config.x64():
        return as_dtype(dtype)
    dtype = as_dtype(dtype)
    return _NARROW.get(dtype, dtype)


_PACKAGE: Final = str(Path(__file__).parents[1])


def user_stacklevel() -> int:
    """The `stacklevel` with which the caller's `warnings.warn` points at the user's line."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame, level = frame.f_back, level + 1
    return level


def check_user_dtype(dtype: Any, where: str = "array creation") -> Any:
    """The canonical form of a dtype that a user asked for in the function named `where`.

    `None` gives the default float.  Without 64-bit types, asking for one warns; the Python types
    `int`, `float` and `complex` mean the default width and never warn.

    >>> check_user_dtype(float, "zeros"), check_user_dtype(None)
    (dtype('float32'), dtype('float32'))

    Raises TypeError for what arrays cannot hold (objects, strings, dates, structures).
    """
    asked = as_dtype(float if dtype is None else dtype)
    if asked not in KINDS and not is_extended(asked) and asked != float0:
        name = dtype if isinstance(dtype, str | type) else asked.name
        raise TypeError(
            f"JAX only supports number, bool, and string dtypes, got dtype {name} in {where}; "
            "strings are not supported here"
        )
    result = canonical(asked)
    if result is not asked and result != asked and dtype is not None and not _is_python(dtype):
        if config.explicit_x64_dtypes() == "error":
            raise ValueError(
                f"Explicitly requested dtype {asked.name} requested in {where} is not available. "
                "To enable more dtypes, set the jax_enable_x64 or jax_explicit_x64_dtypes "
                "configuration options."
            )
        warnings.warn(
            f"Explicitly requested dtype {asked.name} requested in {where} is not available, and "
            f"will be truncated to dtype {result.name}. To enable more dtypes, set the "
            "jax_enable_x64 configuration option or the PULLBACK_ENABLE_X64 environment variable.",
            stacklevel=user_stacklevel(),
        )
    return result


def _is_python(dtype: Any) -> bool:
    return isinstance(dtype, type) and dtype in _PYTHON


def python_scalar_dtype(kind: Any, value: Any = None) -> np.dtype[Any]:
    """The canonical dtype of Python's `bool`, `int`, `float` or `complex`.

    >>> python_scalar_dtype(int), python_scalar_dtype(complex)
    (dtype('int32'), dtype('complex64'))

    Raises OverflowError for an int `value` that does not fit.
    """
    dtype = _PYTHON[kind if kind in _PYTHON else _python_base(kind)]
    dtype = dtype if config.x64() else _NARROW.get(dtype, dtype)
    if value is not None and dtype.kind == "i" and not -1 <= value >> (8 * dtype.itemsize - 1) <= 0:
        raise OverflowError(f"Python int {value} too large to convert to {dtype.name}")
    return dtype


def _python_base(kind: type) -> type:
    return next(base for base in (bool, int, float, complex) if issubclass(kind, base))


def default_int() -> np.dtype[Any]:
    """`int32`, or `int64` with 64-bit types."""
    return int64 if config.x64() else int32


def default_uint() -> np.dtype[Any]:
    """`uint32`, or `uint64` with 64-bit types."""
    return uint64 if config.x64() else uint32


def default_float() -> np.dtype[Any]:
    """`float32`, or `float64` with 64-bit types."""
    return float64 if config.x64() else float32


def default_complex() -> np.dtype[Any]:
    """`complex64`, or `complex128` with 64-bit types."""
    return complex128 if config.x64() else complex64


def to_inexact_dtype(dtype: Any) -> Any:
    """The float dtype in which functions such as `sin` compute for arguments of `dtype`.

    >>> to_inexact_dtype("int8"), to_inexact_dtype("float16")
    (dtype('float32'), dtype('float16'))
    """
    dtype = as_dtype(dtype)
    if kind_of(dtype) in "biu":
        return canonical(float64) if dtype in (int64, uint64) else float32
    return dtype


_REAL_OF: Final = {complex64: float32, complex128: float64}
_COMPLEX_OF: Final = {float32: complex64, float64: complex128}


def to_real_dtype(dtype: Any) -> Any:
    """The dtype of the real part of elements of `dtype`.

    >>> to_real_dtype("complex64"), to_real_dtype("float16")
    (dtype('float32'), dtype('float16'))
    """
    dtype = as_dtype(dtype)
    return _REAL_OF.get(dtype, dtype)


def to_complex_dtype(dtype: Any) -> Any:
    """The complex dtype whose parts hold elements of `dtype`.

    >>> to_complex_dtype("float32"), to_complex_dtype("int8")
    (dtype('complex64'), dtype('complex64'))
    """
    dtype = to_inexact_dtype(dtype)
    return dtype if kind_of(dtype) == "c" else _COMPLEX_OF.get(dtype, complex64)


def tangent_dtype(dtype: DType) -> Any:
    """The dtype of tangents of arrays of `dtype`: itself if inexact, otherwise `float0`.

    >>> tangent_dtype(np.dtype("float32")), tangent_dtype(np.dtype("int32")) == float0
    (dtype('float32'), True)
    """
    return dtype if kind_of(dtype) in "fc" else float0


def itemsize_bits(dtype: Any) -> int:
    """Bits that carry an element's value.

    >>> itemsize_bits("float32"), itemsize_bits(bool), itemsize_bits("int4")
    (32, 8, 4)
    """
    dtype = as_dtype(dtype)
    if is_extended(dtype):
        raise ValueError(f"the elements of {dtype} have no width of their own")
    if dtype in ML_DTYPES.values():
        digits = dtype.name.lstrip("abcdefghijklmnopqrstuvwxyz").split("_")[0]
        return int(digits)
    return int(dtype.itemsize) * 8


# --------------------------------------------------------------------------- dtypes of values


def dtype_and_weak_type(x: Any) -> tuple[Any, bool]:
    """Canonical dtype of a value (not of a dtype), and whether it yields to other operands.

    >>> dtype_and_weak_type(1.0), dtype_and_weak_type(np.int64(3))
    ((dtype('float32'), True), (dtype('int32'), False))
    """
    kind = type(x)
    if kind in _PYTHON:
        return python_scalar_dtype(kind), kind is not bool
    aval = getattr(x, "aval", None)
    if aval is not None:
        return aval.dtype, aval.weak_type
    if isinstance(x, np.ndarray | np.generic):
        return _checked(x.dtype, x), False
    return _unusual(x)


def _unusual(x: Any) -> tuple[Any, bool]:
    if is_symbolic(x):
        return python_scalar_dtype(int), True
    for kind in (bool, int, float, complex):
        if isinstance(x, kind):
            return python_scalar_dtype(kind), kind is not bool
    dtype = getattr(x, "dtype", None)
    if isinstance(dtype, np.dtype | KeyDtype):
        return _checked(dtype, x), bool(getattr(x, "weak_type", False))
    offered = getattr(x, "__jax_array__", None)
    if offered is not None:
        return dtype_and_weak_type(offered())
    raise TypeError(f"cannot determine the dtype of {x!r} of type {type(x).__name__}")


def _checked(dtype: Any, x: Any) -> Any:
    if dtype not in KINDS and not is_extended(dtype) and dtype != float0:
        raise TypeError(
            f"Value {str(x)!r} with dtype {dtype} is not a valid JAX array type. Only arrays of "
            "numeric types are supported by JAX."
        )
    return canonical(dtype)


def dtype_of(x: Any) -> Any:
    """Canonical dtype of a value: a Python or NumPy scalar, an array, a tracer.

    >>> dtype_of(1), dtype_of(np.ones(3))
    (dtype('int32'), dtype('float32'))
    """
    return dtype_and_weak_type(x)[0]


def is_weakly_typed(x: Any) -> bool:
    """Whether the dtype of `x` yields to that of other operands, as that of Python scalars does.

    >>> is_weakly_typed(1), is_weakly_typed(True), is_weakly_typed(np.float32(1))
    (True, False, False)
    """
    return dtype_and_weak_type(x)[1]


def is_python_scalar(x: Any) -> bool:
    """Whether `x` is exactly a Python bool, int, float or complex.

    >>> is_python_scalar(1.5), is_python_scalar(np.float64(1.5))
    (True, False)
    """
    return type(x) in _PYTHON


_SCALAR_TYPES: Final = {"b": bool, "i": int, "u": int, "f": float, "c": complex}


def scalar_type_of(x: Any) -> type:
    """The Python type of numbers like the elements of `x`.

    >>> scalar_type_of(np.float16(1)), scalar_type_of(True)
    (<class 'float'>, <class 'bool'>)
    """
    kind = kind_of(dtype_of(x))
    if kind not in _SCALAR_TYPES:
        raise TypeError(f"no Python number is like the elements of {x!r}")
    return _SCALAR_TYPES[kind]


# --------------------------------------------------------------------------- promotion

# A node is a dtype, or int, float or complex for values of weak type.  An edge leads to a node
# into which every value of the first converts implicitly; the common type of two nodes is their
# least upper bound.
_Node: TypeAlias = Any


def _standard_edges() -> dict[_Node, list[_Node]]:
    i1, i2, i4, i8 = SIGNED
    u1, u2, u4, u8 = UNSIGNED
    edges: dict[_Node, list[_Node]] = {
        bool_: [int],
        int: [u1, i1, *SMALL_SIGNED.values(), *SMALL_UNSIGNED.values()],
        u1: [i2, u2],
        u2: [i4, u4],
        u4: [i8, u8],
        u8: [float],
        i1: [i2],
        i2: [i4],
        i4: [i8],
        i8: [float],
        float: [BFLOAT16, float16, complex, *SMALL_FLOATS.values()],
        BFLOAT16: [float32],
        float16: [float32],
        float32: [float64, complex64],
        float64: [complex128],
        complex: [complex64],
        complex64: [complex128],
        complex128: [],
    }
    small = (*SMALL_SIGNED.values(), *SMALL_UNSIGNED.values(), *SMALL_FLOATS.values())
    return edges | {dtype: [] for dtype in small}


def _strict_edges() -> dict[_Node, list[_Node]]:
    edges: dict[_Node, list[_Node]] = {dtype: [] for dtype in SUPPORTED}
    edges[int] = [float, *(d for d in SUPPORTED if KINDS[d] in "iu")]
    edges[float] = [complex, *(d for d in SUPPORTED if KINDS[d] == "f")]
    edges[complex] = [complex64, complex128]
    return edges


def _upper_bounds(edges: dict[_Node, list[_Node]]) -> dict[_Node, frozenset[_Node]]:
    bounds = {node: frozenset([node]) for node in edges}
    while True:
        grown = {n: b.union(*(bounds[m] for m in b)) for n, b in bounds.items()}
        grown = {n: b.union(*(edges[m] for m in b)) for n, b in grown.items()}
        if grown == bounds:
            return bounds
        bounds = grown


_LATTICES: Final = {
    "standard": _upper_bounds(_standard_edges()),
    "strict": _upper_bounds(_strict_edges()),
}


@cache
def _join(mode: str, nodes: frozenset[_Node]) -> _Node:
    """The least upper bound of the nodes; raises TypePromotionError where there is none."""
    bounds = _LATTICES[mode]
    for node in nodes:
        if node not in bounds:
            raise ValueError(f"dtype={node!r} is not a valid dtype for JAX type promotion.")
    common = frozenset.intersection(*(bounds[node] for node in nodes))
    for node in common:
        if bounds[node] == common:
            return node
    raise TypePromotionError(_no_common_type(mode, nodes))


def _no_common_type(mode: str, nodes: frozenset[_Node]) -> str:
    names = tuple(sorted(str(n) if isinstance(n, type) else str(n.name) for n in nodes))
    text = f"Input dtypes {names} have no available implicit dtype promotion path"
    if mode == "strict":
        return (
            f"{text} when jax_numpy_dtype_promotion=strict. Try explicitly casting inputs to the "
            "desired output type, or set jax_numpy_dtype_promotion=standard."
        )
    if nodes & frozenset(SMALL_FLOATS.values()):
        return f"{text}. {_explicitly('8-bit floats', 'float32')}"
    if nodes & {*SMALL_SIGNED.values(), *SMALL_UNSIGNED.values()}:
        return f"{text}. {_explicitly('1-bit, 2-bit and 4-bit integers', 'int32')}"
    return f"{text}. Try explicitly casting inputs to the desired output type."


def _explicitly(narrow: str, dtype: str) -> str:
    return (
        f"To avoid unintended promotion, {narrow} do not support implicit promotion. If you'd like "
        "your inputs to be promoted to another type, you can do so explicitly using e.g. "
        f"x.astype('{dtype}')"
    )


_WEAK_NODE: Final = {"i": int, "u": int, "f": float, "c": complex}


def _node_of(dtype: Any, weak: bool) -> _Node:
    return _WEAK_NODE.get(kind_of(dtype), dtype) if weak else dtype


def _node_of_argument(x: Any) -> _Node:
    """The node of an argument of `result_type`: a value, a dtype, or a name of a dtype."""
    kind = type(x)
    if kind in _PYTHON:
        return bool_ if kind is bool else kind
    aval = getattr(x, "aval", None)
    if aval is not None:
        return _WEAK_NODE.get(kind_of(aval.dtype), aval.dtype) if aval.weak_type else aval.dtype
    if isinstance(x, type):
        if x in _PYTHON:
            return bool_ if x is bool else x
        return canonical(x)
    if x is None or isinstance(x, np.dtype | str | KeyDtype):
        return canonical(float if x is None else x)
    return _node_of(*dtype_and_weak_type(x))


def _dtype_of_node(node: _Node) -> Any:
    return _PYTHON[node] if isinstance(node, type) else node


def _narrow(nodes: frozenset[_Node]) -> bool:
    return all(isinstance(n, np.dtype) and n.itemsize < 8 for n in nodes)


def promote_types(a: Any, b: Any) -> Any:
    """The dtype to which operands of the dtypes `a` and `b` are converted before an operation.

    >>> promote_types("int32", "float16"), promote_types("uint8", "int8")
    (dtype('float16'), dtype('int16'))

    `int`, `float` and `complex` stand for Python scalars, which yield to the other dtype.
    Raises TypePromotionError if there is no common type.
    """
    nodes = frozenset(
        x if _is_python(x) and x is not bool else as_dtype(float if x is None else x)
        for x in (a, b)
    )
    if len(nodes) == 1 and KEY in nodes:
        return KEY
    joined = _dtype_of_node(_join(config.numpy_dtype_promotion(), nodes))
    # Asked for 64 bits, one gets them, but two narrow types do not widen to what is disabled.
    return canonical(joined) if joined == int64 and _narrow(nodes) else joined


def result_type_and_weak(*args: Any) -> tuple[Any, bool]:
    """Canonical common dtype of values and dtypes, and whether the result is weakly typed.

    >>> result_type_and_weak(1, 2.0), result_type_and_weak(np.float16(1), 2.0)
    ((dtype('float32'), True), (dtype('float16'), False))
    """
    if not args:
        raise ValueError("at least one array or dtype is required")
    nodes = tuple([_node_of_argument(x) for x in args])
    return _common(config.numpy_dtype_promotion(), config.x64(), nodes)


@cache
def _common(mode: str, x64: bool, nodes: tuple[_Node, ...]) -> tuple[Any, bool]:
    distinct = frozenset(nodes)
    node = nodes[0] if len(distinct) == 1 else _join(mode, distinct)
    dtype = _dtype_of_node(node)
    return (dtype if x64 else _NARROW.get(dtype, dtype)), isinstance(node, type)


def result_type(*args: Any, return_weak: bool = False) -> Any:
    """The dtype of the result of an operation on `args`: values, dtypes or names of dtypes.

    >>> result_type(np.float16(1), 2.5), result_type("int32", "uint32"), result_type(1, 2.0)
    (dtype('float16'), dtype('int32'), dtype('float32'))

    With `return_weak`, a pair of the dtype and whether it is weak.
    """
    dtype, weak = result_type_and_weak(*args)
    return (dtype, weak) if return_weak else dtype


# --------------------------------------------------------------------------- categories

finfo: Final = ml_dtypes.finfo
iinfo: Final[Any] = ml_dtypes.iinfo

_CATEGORY: Final = {
    "b": np.bool_,
    "i": np.signedinteger,
    "u": np.unsignedinteger,
    "f": np.floating,
    "c": np.complexfloating,
}


def _type_or_category(x: Any) -> type:
    if isinstance(x, type) and issubclass(x, np.generic):
        return x
    dtype = as_dtype(x)
    kind: type = dtype.type
    return kind


def issubdtype(a: Any, b: Any) -> bool:
    """Whether dtype or category `a` lies in dtype or category `b`.

    Categories are NumPy's abstract types (`np.floating`), `extended` and `prng_key`; the types of
    `ml_dtypes` lie in the categories of their kind.

    >>> issubdtype(bfloat16, np.floating), issubdtype(KeyDtype("fry"), prng_key)
    (True, True)
    >>> issubdtype("int32", np.floating)
    False
    """
    try:
        return _lies_in(a, b)
    except TypeError:  # not hashable, or no dtype
        return _lies_in.__wrapped__(a, b)


@lru_cache(4096)
def _lies_in(a: Any, b: Any) -> bool:
    first, second = _type_or_category(a), _type_or_category(b)
    if issubclass(first, second):
        return True
    if issubclass(first, np.generic) and first not in _ML_TYPES:
        return False
    category = _CATEGORY[KINDS[np.dtype(first)]]
    return issubclass(category, second)


_ML_TYPES: Final = frozenset(dtype.type for dtype in ML_DTYPES.values())

_DTYPE_KINDS: Final = {
    "bool": "b",
    "signed integer": "i",
    "unsigned integer": "u",
    "integral": "iu",
    "real floating": "f",
    "complex floating": "c",
    "numeric": "iufc",
}


def isdtype(dtype: Any, kind: Any) -> bool:
    """Whether `dtype` is of a kind: a name of the array API standard, a dtype, or a tuple of them.

    >>> isdtype("float32", "real floating"), isdtype("int8", ("bool", "numeric"))
    (True, True)
    """
    dtype = as_dtype(dtype)
    return any(_is_of_kind(dtype, k) for k in (kind if isinstance(kind, tuple) else (kind,)))


def _is_of_kind(dtype: DType, kind: Any) -> bool:
    if isinstance(kind, str) and kind in _DTYPE_KINDS:
        return kind_of(dtype) in _DTYPE_KINDS[kind]
    if not isinstance(kind, str | type | np.dtype | KeyDtype) and getattr(kind, "dtype", 0) == 0:
        raise TypeError(f"kind must be a dtype, a string or a tuple of them, got {kind!r}")
    try:
        return bool(dtype == as_dtype(kind))
    except TypeError:
        kinds = ", ".join(map(repr, _DTYPE_KINDS))
        raise ValueError(f"unknown kind {kind!r}: expected one of {kinds}, or a dtype") from None
