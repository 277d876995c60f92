"""Predicates of numbers, rounding, the choice between numbers and nan, bits."""

from __future__ import annotations

import builtins
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from pullback import lax
from pullback.core import dtypes
from pullback.core.avals import aval_of
from pullback.numpy.arrays import as_array
from pullback.numpy.floats import imag
from pullback.numpy.operands import (
    kind,
    materialized,
    refuse_complex,
    strong_unless_scalar,
)
from pullback.numpy.promotion import (
    check_arraylike,
    check_no_out,
    ensure_arraylike,
    promote_args,
    promote_args_numeric,
)
from pullback.numpy.scalar_types import finfo
from pullback.runtime.composites import compiled_when_eager
from pullback.runtime.replays import replayed_when_eager

__all__ = [
    "around",
    "bitwise_count",
    "bitwise_left_shift",
    "bitwise_right_shift",
    "clip",
    "fmax",
    "fmin",
    "iscomplex",
    "isfinite",
    "isinf",
    "isnan",
    "isneginf",
    "isposinf",
    "isreal",
    "left_shift",
    "logical_not",
    "nan_to_num",
    "right_shift",
    "rint",
    "round",
    "to_bool",
]


def isfinite(x: Any, /) -> Any:
    """Whether elements are neither infinite nor nan.

    >>> import pullback.numpy as jnp
    >>> jnp.isfinite(jnp.array([1., jnp.inf, jnp.nan]))
    Array([ True, False, False], dtype=bool)
    """
    x = ensure_arraylike("isfinite", x)
    if kind(x) == "f":
        return lax.is_finite(x)
    if kind(x) == "c":
        return lax.bitwise_and(lax.is_finite(lax.real(x)), lax.is_finite(lax.imag(x)))
    return lax.full_like(x, True, dtype=np.dtype(bool))


def isinf(x: Any, /) -> Any:
    """Whether elements are infinite; complex ones, in either part.

    >>> import pullback.numpy as jnp
    >>> jnp.isinf(jnp.array([1., -jnp.inf, jnp.nan]))
    Array([False,  True, False], dtype=bool)
    """
    x = ensure_arraylike("isinf", x)
    if kind(x) == "f":
        return lax.convert_element_type(lax.eq(lax.abs(x), lax.full_like(x, np.inf)), bool)
    if kind(x) == "c":
        return lax.bitwise_or(isinf(lax.real(x)), isinf(lax.imag(x)))
    return lax.full_like(x, False, dtype=np.dtype(bool))


def isnan(x: Any, /) -> Any:
    """Whether elements are nan; complex ones, in either part.

    >>> import pullback.numpy as jnp
    >>> jnp.isnan(jnp.array([1., jnp.inf, jnp.nan]))
    Array([False, False,  True], dtype=bool)
    """
    x = ensure_arraylike("isnan", x)
    return lax.ne(x, x)


@replayed_when_eager
def isposinf(x: Any, /, out: None = None) -> Any:
    """Whether elements are positive infinity. Raises ValueError for complex numbers.

    >>> import pullback.numpy as jnp
    >>> jnp.isposinf(jnp.array([jnp.inf, -jnp.inf]))
    Array([ True, False], dtype=bool)
    """
    return _is_infinity("isposinf", x, np.inf, out)


@replayed_when_eager
def isneginf(x: Any, /, out: None = None) -> Any:
    """Whether elements are negative infinity. Raises ValueError for complex numbers.

    >>> import pullback.numpy as jnp
    >>> jnp.isneginf(jnp.array([jnp.inf, -jnp.inf]))
    Array([False,  True], dtype=bool)
    """
    return _is_infinity("isneginf", x, -np.inf, out)


def _is_infinity(name: str, x: Any, value: float, out: None) -> Any:
    check_no_out(name, out)
    x = ensure_arraylike(name, x)
    refuse_complex(name, x)
    if kind(x) == "f":
        return lax.convert_element_type(lax.eq(x, lax.full_like(x, value)), bool)
    return lax.full_like(x, False, dtype=np.dtype(bool))


def iscomplex(x: Any) -> Any:
    """Whether elements have an imaginary part other than zero.

    >>> import pullback.numpy as jnp
    >>> jnp.iscomplex(jnp.array([1 + 0j, 2 + 1j]))
    Array([False,  True], dtype=bool)
    """
    part = imag(ensure_arraylike("iscomplex", x))
    return strong_unless_scalar(lax.ne(part, lax.full_like(part, 0)))


def isreal(x: Any) -> Any:
    """Whether elements have imaginary part zero.

    >>> import pullback.numpy as jnp
    >>> jnp.isreal(jnp.array([1 + 0j, 2 + 1j]))
    Array([ True, False], dtype=bool)
    """
    part = imag(ensure_arraylike("isreal", x))
    return strong_unless_scalar(lax.eq(part, lax.full_like(part, 0)))


@replayed_when_eager
def logical_not(x: Any, /) -> Any:
    """Whether elements are zero or false.

    >>> import pullback.numpy as jnp
    >>> jnp.logical_not(jnp.array([0, 2]))
    Array([ True, False], dtype=bool)
    """
    return lax.bitwise_not(to_bool(ensure_arraylike("logical_not", x)))


def to_bool(x: Any) -> Any:
    """Whether elements are not zero."""
    return x if x.dtype == bool else strong_unless_scalar(lax.ne(x, lax.full_like(x, 0)))


@replayed_when_eager
def rint(x: Any, /) -> Any:
    """The nearest whole number, halves to even.

    >>> import pullback.numpy as jnp
    >>> jnp.rint(jnp.array([0.5, 1.5]))
    Array([0., 2.], dtype=float32)
    """
    x = ensure_arraylike("rint", x)
    if kind(x) in "biu":
        return lax.convert_element_type(x, dtypes.default_float())
    return _round_to_even(x)


def _round_to_even(x: Any) -> Any:
    if kind(x) == "c":
        return lax.complex(_round_to_even(lax.real(x)), _round_to_even(lax.imag(x)))
    return lax.round(x, lax.RoundingMethod.TO_NEAREST_EVEN)


@compiled_when_eager("decimals")
def round(a: Any, decimals: int = 0, out: None = None) -> Any:
    """The nearest number with so many decimals, halves to even.

    Raises NotImplementedError for integers and negative `decimals`.

    >>> import pullback.numpy as jnp
    >>> jnp.round(jnp.array([1.25, 2.5]), 0)
    Array([1., 2.], dtype=float32)
    """
    check_no_out("round", out)
    a = ensure_arraylike("round", a)
    decimals = operator.index(decimals)
    if kind(a) in "iu":
        if decimals < 0:
            raise NotImplementedError("integer np.round not implemented for decimals < 0")
        return a
    if kind(a) == "b":
        raise ValueError(f"round takes numbers, got {aval_of(a)}")
    return _round_decimals(a, decimals)


def _round_decimals(x: Any, decimals: int) -> Any:
    if decimals == 0:
        return _round_to_even(x)
    if kind(x) == "c":
        return lax.complex(
            _round_decimals(lax.real(x), decimals), _round_decimals(lax.imag(x), decimals)
        )
    work = dtypes.float32 if x.dtype.itemsize < 4 else x.dtype
    y = lax.convert_element_type(x, work) if work != x.dtype else x
    factor = lax.full_like(y, 10.0 ** abs(decimals))
    scale, back = (lax.mul, lax.div) if decimals > 0 else (lax.div, lax.mul)
    y = back(_round_to_even(scale(y, factor)), factor)
    return lax.convert_element_type(y, x.dtype) if work != x.dtype else strong_unless_scalar(y)


around = round


@compiled_when_eager("copy")
def nan_to_num(
    x: Any, copy: bool = True, nan: Any = 0.0, posinf: Any = None, neginf: Any = None
) -> Any:
    """Replace nan and infinities: by default with 0 and the largest finite numbers.

    >>> import pullback.numpy as jnp
    >>> jnp.nan_to_num(jnp.array([1., jnp.nan, jnp.inf]), posinf=9.)
    Array([1., 0., 9.], dtype=float32)
    """
    x = ensure_arraylike("nan_to_num", x)
    if kind(x) in "biu":
        return x
    if kind(x) == "c":
        parts = (nan_to_num(p, copy, nan, posinf, neginf) for p in (lax.real(x), lax.imag(x)))
        return lax.complex(*parts)
    info = finfo(x.dtype)
    posinf = info.max if posinf is None else posinf
    neginf = info.min if neginf is None else neginf
    for condition, value in (
        (isnan, nan),
        (isposinf, posinf),
        (isneginf, neginf),
    ):
        value = lax.convert_element_type(as_array(value), x.dtype)
        value = lax.broadcast_in_dim(value, x.shape, tuple(range(x.ndim - value.ndim, x.ndim)))
        x = lax.select(condition(x), value, x)
    return lax.convert_element_type(x, x.dtype)


@compiled_when_eager()
def fmax(x1: Any, x2: Any) -> Any:
    """The larger element, preferring numbers over nan; shapes broadcast.

    >>> import pullback.numpy as jnp
    >>> jnp.fmax(jnp.array([1., jnp.nan]), 0.0)
    Array([1., 0.], dtype=float32)
    """
    return _prefer_numbers("fmax", lax.gt, x1, x2)


@compiled_when_eager()
def fmin(x1: Any, x2: Any) -> Any:
    """The smaller element, preferring numbers over nan; shapes broadcast.

    >>> import pullback.numpy as jnp
    >>> jnp.fmin(jnp.array([1., jnp.nan]), 0.0)
    Array([0., 0.], dtype=float32)
    """
    return _prefer_numbers("fmin", lax.lt, x1, x2)


def _prefer_numbers(name: str, better: Any, x1: Any, x2: Any) -> Any:
    x1, x2 = materialized(*promote_args(name, x1, x2))
    if kind(x1) == "c":
        better = _complex_better(better)
    return lax.select(lax.bitwise_or(better(x1, x2), lax.ne(x2, x2)), x1, x2)


def _complex_better(better: Any) -> Any:
    def compare(x: Any, y: Any) -> Any:
        tie = lax.eq(lax.real(x), lax.real(y))
        on_imag = lax.bitwise_and(tie, better(lax.imag(x), lax.imag(y)))
        return lax.bitwise_or(better(lax.real(x), lax.real(y)), on_imag)

    return compare


def bitwise_count(x: Any, /) -> Any:
    """The number of set bits of the absolute value, as uint8. Raises TypeError for floats.

    >>> import pullback.numpy as jnp
    >>> jnp.bitwise_count(jnp.array([7, 8]))
    Array([3, 1], dtype=uint8)
    """
    x = ensure_arraylike("bitwise_count", x)
    if kind(x) == "b":
        return lax.convert_element_type(x, np.dtype("uint8"))
    if kind(x) not in "iu":
        raise TypeError(f"bitwise_count takes integers, got {aval_of(x)}")
    x = lax.abs(x) if kind(x) == "i" else x
    return lax.convert_element_type(lax.population_count(x), np.dtype("uint8"))


@replayed_when_eager
def left_shift(x: Any, y: Any, /) -> Any:
    """The bits of `x` shifted left by `y`, zeros coming in; shapes broadcast.

    >>> import pullback.numpy as jnp
    >>> jnp.left_shift(jnp.array([1, 3]), 2)
    Array([ 4, 12], dtype=int32)
    """
    return lax.shift_left(*materialized(*promote_args_numeric("left_shift", x, y)))


@replayed_when_eager
def right_shift(x1: Any, x2: Any, /) -> Any:
    """The bits of `x1` shifted right by `x2`; the sign is kept. Shapes broadcast.

    >>> import pullback.numpy as jnp
    >>> jnp.right_shift(jnp.array([-8, 12]), 2)
    Array([-2,  3], dtype=int32)
    """
    x1, x2 = materialized(*promote_args_numeric("right_shift", x1, x2))
    unsigned = kind(x1) == "u"
    return (lax.shift_right_logical if unsigned else lax.shift_right_arithmetic)(x1, x2)


bitwise_left_shift = left_shift
bitwise_right_shift = right_shift


@compiled_when_eager()
def clip(arr: Any = None, /, min: Any = None, max: Any = None) -> Any:
    """Elements below `min` raised to it, above `max` lowered to it; bounds broadcast.

    Raises ValueError for complex numbers.

    >>> import pullback.numpy as jnp
    >>> jnp.clip(jnp.array([-1, 2, 9]), 0, 5)
    Array([0, 2, 5], dtype=int32)
    """
    if arr is None:
        raise ValueError("No input was provided to the clip function.")
    check_arraylike("clip", *(v for v in (arr, min, max) if v is not None))
    if builtins.any(
        v is not None and dtypes.kind_of(dtypes.dtype_of(v)) == "c" for v in (arr, min, max)
    ):
        raise ValueError(
            "Clip received a complex value either through the input or the min/max keywords."
        )
    if max is not None:
        arr = _bounded("clip", lax.min, arr, max)
    if min is not None:
        arr = _bounded("clip", lax.max, arr, min)
    return as_array(arr)


def _bounded(name: str, bound: Callable[[Any, Any], Any], x: Any, limit: Any) -> Any:
    return bound(*promote_args(name, x, limit))
