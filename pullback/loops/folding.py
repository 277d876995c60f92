"""Constants: what the scalar builder knows already while it builds."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from pullback.core import dtypes
from pullback.loops.expr import Const, Expr

__all__ = ["COMPARISONS", "as_python", "convert_constant", "fold", "fold_floats", "rounded"]


def as_python(value: Any) -> Any:
    """A number of any library as a Python scalar."""
    if isinstance(value, (bool, int, float, complex)):
        return value
    item = np.asarray(value)
    kind = dtypes.kind_of(item.dtype)
    if kind == "b":
        return bool(item)
    if kind in "iu":
        return int(item)
    return complex(item) if kind == "c" else float(item)


COMPARISONS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "eq": lambda x, y: x == y,
    "ne": lambda x, y: x != y,
    "lt": lambda x, y: x < y,
    "le": lambda x, y: x <= y,
    "gt": lambda x, y: x > y,
    "ge": lambda x, y: x >= y,
}


def _typed(x: Expr) -> Any:
    assert isinstance(x, Const)
    return np.asarray(x.value).astype(x.dtype)[()]


_INTEGERS: Final[dict[str, Any]] = {
    "add": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
    "mul": lambda x, y: x * y,
    "max": max,
    "min": min,
}


def rounded(value: float, dtype: np.dtype[Any]) -> float:
    """The value as a float of this type would hold it."""
    if dtype.itemsize == 8:
        return value
    with np.errstate(all="ignore"):
        return float(np.asarray(value).astype(dtype))


def fold(name: str, x: Expr, y: Expr) -> Expr | None:
    """Integer identities and constants; None if there is nothing to fold."""
    if type(x) is not Const and type(y) is not Const:
        return None
    if type(y) is Const:
        if (y.value == 0 and name in ("add", "sub")) or (y.value == 1 and name in ("mul", "div")):
            return x
    elif type(x) is Const:
        if (x.value == 0 and name == "add") or (x.value == 1 and name == "mul"):
            return y
        return None
    if type(x) is Const and type(y) is Const and name in ("add", "sub", "mul", "max", "min"):
        with np.errstate(all="ignore"):
            value = _INTEGERS[name](_typed(x), _typed(y))
        return Const(int(value), x.dtype)
    return None


_FLOATS: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": operator.truediv,
}


def fold_floats(name: str, x: Expr, y: Expr) -> Expr | None:
    """The same for floats, where the result has the bits of the operation."""
    if type(x) is Const and type(y) is Const and name in _FLOATS:
        with np.errstate(all="ignore"):
            return Const(float(_FLOATS[name](_typed(x), _typed(y))), x.dtype)
    if type(y) is Const and _changes_nothing(name, y.value):
        return x
    if type(x) is Const and name in ("add", "mul") and _changes_nothing(name, x.value):
        return y
    return None


def _changes_nothing(name: str, value: float) -> bool:
    """Whether a right operand leaves every number as it is; 0 added to -0 is 0."""
    if name in ("mul", "div"):
        return value == 1
    return value == 0 and name in ("add", "sub") and math.copysign(1, value) == _NEUTRAL[name]


_NEUTRAL: Final = {"add": -1.0, "sub": 1.0}


def convert_constant(x: Const, dtype: np.dtype[Any]) -> Expr:
    """A constant of another type, as generated code would convert it."""
    kind = dtypes.kind_of(dtype)
    if kind == "f":
        return Const(rounded(float(x.value), dtype), dtype)
    bits = dtypes.itemsize_bits(dtype)
    if isinstance(x.value, float):
        if math.isnan(x.value):
            return Const(0, dtype)
        low, high = (
            (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if kind == "i" else (0, (1 << bits) - 1)
        )
        if math.isinf(x.value):
            return Const(high if x.value > 0 else low, dtype)
        return Const(min(max(int(x.value), low), high), dtype)
    wrapped = int(x.value) & ((1 << bits) - 1)
    if kind == "i" and wrapped >> (bits - 1):
        wrapped -= 1 << bits
    return Const(wrapped, dtype)
