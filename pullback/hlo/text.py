"""How StableHLO's text writes types and constants."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from pullback.core import dtypes, element_types
from pullback.core.dimensions import is_symbolic
from pullback.core.stablehlo import Type
from pullback.errors import UnsupportedError

__all__ = [
    "dense",
    "element_name",
    "element_type",
    "function_type",
    "physical_type",
    "splat",
    "tensor",
]

_SMALL_FLOAT_NAMES: Final = {
    dtype: "f" + name.removeprefix("float").replace("_", "").upper()
    for name, dtype in element_types.SMALL_FLOATS.items()
}


def _names() -> dict[Any, str]:
    names: dict[Any, str] = {dtypes.bool_: "i1", np.dtype(dtypes.bfloat16): "bf16"}
    for bits in (8, 16, 32, 64):
        names[np.dtype(f"int{bits}")] = f"i{bits}"
        names[np.dtype(f"uint{bits}")] = f"ui{bits}"
    for bits in (16, 32, 64):
        names[np.dtype(f"float{bits}")] = f"f{bits}"
    names[dtypes.complex64] = "complex<f32>"
    names[dtypes.complex128] = "complex<f64>"
    for name, dtype in element_types.SMALL_SIGNED.items():
        names[dtype] = f"i{name.removeprefix('int')}"
    for name, dtype in element_types.SMALL_UNSIGNED.items():
        names[dtype] = f"ui{name.removeprefix('uint')}"
    return names | _SMALL_FLOAT_NAMES


_NAMES: Final = _names()
_TYPES: Final = {
    **{name: dtype for dtype, name in _NAMES.items()},
    "i1": dtypes.bool_,
    "index": np.dtype(np.int64),
}
_BY_ELEMENTS: Final = frozenset(
    (dtypes.bool_, *element_types.SMALL_SIGNED.values(), *element_types.SMALL_UNSIGNED.values())
)
"""Types whose elements in text are not bytes in memory."""


def element_name(dtype: Any) -> str:
    """The name of an element type.

    >>> element_name(np.dtype("uint8")), element_name(dtypes.complex64)
    ('ui8', 'complex<f32>')
    """
    name = _NAMES.get(dtype)
    if name is None:
        raise UnsupportedError(f"StableHLO has no elements of type {dtype}")
    return name


def element_type(name: str) -> np.dtype[Any]:
    """The element type with a name, which may be `index`.

    >>> element_type("bf16"), element_type("index")
    (dtype(bfloat16), dtype('int64'))
    """
    found: np.dtype[Any] | None = _TYPES.get(name)
    if found is None:
        raise UnsupportedError(f"elements of type {name} are not known here")
    return found


def tensor(type_: Type) -> str:
    """The type of an array.

    >>> tensor(((2, 3), np.dtype("float32")))
    'tensor<2x3xf32>'
    """
    shape, dtype = type_
    lengths = "".join("?x" if is_symbolic(n) else f"{n}x" for n in shape)
    return f"tensor<{lengths}{element_name(dtype)}>"


def function_type(operands: Sequence[Type], results: Sequence[Type]) -> str:
    """The type of an operation on arrays."""
    left = ", ".join(map(tensor, operands))
    right = ", ".join(map(tensor, results))
    return f"({left}) -> {right if len(results) == 1 else f'({right})'}"


def physical_type(aval: Any) -> Type:
    """Shape and physical element type of values of an aval; trivial tangents are bools."""
    dtype = dtypes.bool_ if aval.dtype == dtypes.float0 else dtypes.physical(aval.dtype)
    return tuple(aval.shape), dtype


def splat(value: Any, dtype: Any) -> str:
    """One element, exactly.

    >>> splat(1.5, np.dtype("float32")), splat(np.nan, np.dtype("float32")), splat(1, dtypes.bool_)
    ('1.5', '0x7FC00000', 'true')
    """
    if dtype == dtypes.bool_:
        return "true" if value else "false"
    kind = dtypes.kind_of(dtype)
    if kind in "iu":
        return str(int(value))
    if kind == "c":
        part = np.dtype(f"float{dtype.itemsize * 4}")
        number = np.asarray(value, dtype)
        return f"({splat(number.real, part)}, {splat(number.imag, part)})"
    return _float(np.asarray(value).astype(dtype), dtype)


def _float(number: Any, dtype: Any) -> str:
    if dtype in (dtypes.float32, dtypes.float64) and math.isfinite(float(number)):
        text = repr(float(number)) if dtype == dtypes.float64 else str(number)
        return text if "." in text else text.replace("e", ".0e") if "e" in text else text + ".0"
    bits = number.reshape(1).view(f"uint{8 * dtype.itemsize}")[0]
    return f"0x{int(bits):0{2 * dtype.itemsize}X}"


def dense(value: np.ndarray[Any, Any]) -> str:
    """The attribute of a constant array.

    >>> dense(np.asarray([1, 2], np.int32))
    'dense<[1, 2]> : tensor<2xi32>'
    """
    type_ = tensor((value.shape, value.dtype))
    if value.size == 0:
        return f"dense<> : {type_}"
    if value.shape == () or _is_constant(value):
        return f"dense<{splat(value.flat[0], value.dtype)}> : {type_}"
    if value.size <= _FEW or value.dtype in _BY_ELEMENTS:
        return f"dense<{_nested(value)}> : {type_}"
    return f'dense<"0x{np.ascontiguousarray(value).tobytes().hex().upper()}"> : {type_}'


_FEW: Final = 16


def _is_constant(value: np.ndarray[Any, Any]) -> bool:
    if value.dtype in _BY_ELEMENTS:
        return bool((value == value.flat[0]).all())
    elements = np.ascontiguousarray(value).reshape(-1).view(np.uint8)
    rows = elements.reshape(value.size, value.dtype.itemsize)
    return bool((rows == rows[0]).all())


def _nested(value: np.ndarray[Any, Any]) -> str:
    if value.ndim == 0:
        return splat(value[()], value.dtype)
    return f"[{', '.join(map(_nested, value))}]"
