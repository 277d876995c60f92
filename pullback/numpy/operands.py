"""Small helpers on the operands of element-wise functions."""

from __future__ import annotations

import builtins
from typing import Any

from pullback import lax
from pullback.core import dtypes
from pullback.core.array import Array
from pullback.core.avals import aval_of
from pullback.numpy.arrays import as_array
from pullback.numpy.promotion import shape_of

__all__ = [
    "constant_like",
    "kind",
    "lax_mod",
    "materialized",
    "refuse_complex",
    "refuse_complex_type",
    "select",
    "strong",
    "strong_unless_scalar",
]


def kind(x: Any) -> str:
    """The kind of the element type: "b", "i", "u", "f" or "c"."""
    return dtypes.kind_of(dtypes.dtype_of(x))


def refuse_complex(name: str, *args: Any) -> None:
    """Raise ValueError for a complex operand."""
    for x in args:
        if kind(x) == "c":
            raise ValueError(f"{name} does not support complex-valued inputs, got {aval_of(x)}")


def refuse_complex_type(name: str, *args: Any) -> None:
    """Raise TypeError for a complex operand."""
    for x in args:
        if kind(x) == "c":
            raise TypeError(f"{name} does not support complex-valued inputs, got {aval_of(x)}")


def select(pred: Any, a: Any, b: Any) -> Any:
    """`a` where `pred`, else `b`: operands of one dtype, some of which may be scalars."""
    shape = builtins.max((shape_of(x) for x in (pred, a, b)), key=len)
    like = next(x for x in (a, b) if isinstance(x, Array))
    a, b = (
        x if isinstance(x, Array) and x.shape == shape else lax.full_like(like, x, shape=shape)
        for x in (a, b)
    )
    return lax.select(pred, a, b)


def materialized(*args: Any) -> list[Any]:
    """Operands as arrays of one shape."""
    shape = builtins.max((shape_of(x) for x in args), key=len)
    return [
        as_array(x) if shape_of(x) == shape else lax.broadcast(as_array(x), shape) for x in args
    ]


def strong(x: Any) -> Any:
    """An array of the same elements that is not weakly typed."""
    aval = aval_of(x)
    return lax.convert_element_type(x, aval.dtype) if aval.weak_type else x


def strong_unless_scalar(x: Any) -> Any:
    """As most functions that compare with, or multiply by, a constant: scalars alone stay weak."""
    return strong(x) if shape_of(x) else x


def constant_like(x: Any, value: Any) -> Any:
    """A scalar like `x` in dtype and weakness."""
    aval: Any = aval_of(x)
    if not aval.weak_type:
        return aval.dtype.type(value)
    return complex(value) if dtypes.kind_of(aval.dtype) == "c" else value


def lax_mod(i: Any, n: int) -> Any:
    """`i` modulo `n`, not negative."""
    size = lax.full_like(i, n)
    r = lax.rem(i, size)
    return lax.select(lax.lt(r, lax.full_like(r, 0)), lax.add(r, size), r)
