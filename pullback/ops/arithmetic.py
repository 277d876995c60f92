"""Sums, products, quotients, rounding and order: element-wise arithmetic on numbers."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any

import numpy as np

from pullback.core import dtypes
from pullback.core.avals import aval_of
from pullback.core.primitive import Primitive, Zero, instantiate
from pullback.ops import complex_references
from pullback.ops.comparison import eq, ge, where
from pullback.ops.kinds import (
    ANY,
    BY_ELEMENTS,
    COMPLEX,
    FLOAT,
    INEXACT,
    LINEAR,
    NONDIFF,
    NUMERIC,
    REAL,
    binary,
    scalar_like,
    unary,
    widened,
)
from pullback.ops.samples import ANYWHERE, inputs, joined

__all__ = [
    "RoundingMethod",
    "add",
    "add_any",
    "ceil",
    "div",
    "extremum",
    "floor",
    "integer_pow",
    "is_finite",
    "max_",
    "min_",
    "mul",
    "neg",
    "nextafter",
    "order_share",
    "rem",
    "round_",
    "sign",
    "square",
    "sub",
]

# --------------------------------------------------------------------------- one operand


neg: Primitive = unary(
    "neg",
    np.negative,
    NUMERIC,
    jvp=LINEAR,
    transpose=lambda ct, x: neg(ct),
    lower="neg",
    hlo="stablehlo.negate",
    samples=inputs(NUMERIC, ANYWHERE),
)
sign: Primitive = unary(
    "sign",
    complex_references.sign,
    NUMERIC,
    jvp=NONDIFF,
    lower="sign",
    hlo=BY_ELEMENTS,
    samples=inputs("iuf", ANYWHERE),
)
floor: Primitive = unary(
    "floor",
    np.floor,
    FLOAT,
    jvp=NONDIFF,
    lower="floor",
    hlo="stablehlo.floor",
    samples=inputs(FLOAT, ANYWHERE),
)
ceil: Primitive = unary(
    "ceil",
    np.ceil,
    FLOAT,
    jvp=NONDIFF,
    lower="ceil",
    hlo="stablehlo.ceil",
    samples=inputs(FLOAT, ANYWHERE),
)


class RoundingMethod(enum.IntEnum):
    """How `lax.round` treats halves."""

    AWAY_FROM_ZERO = 0
    TO_NEAREST_EVEN = 1


def _round(x: Any, *, rounding_method: int) -> Any:
    if rounding_method == RoundingMethod.TO_NEAREST_EVEN:
        return np.rint(x)
    whole = np.trunc(x)
    return np.where(np.abs(x - whole) >= 0.5, whole + np.copysign(np.ones_like(x), x), whole)


round_: Primitive = unary(
    "round",
    widened(_round),
    FLOAT,
    jvp=NONDIFF,
    lower=lambda s, x, rounding_method: (
        s.round_even(x) if rounding_method == RoundingMethod.TO_NEAREST_EVEN else s.round_away(x)
    ),
    hlo=BY_ELEMENTS,
    samples=joined(
        inputs(FLOAT, ANYWHERE, rounding_method=RoundingMethod.AWAY_FROM_ZERO),
        inputs(FLOAT, ANYWHERE, rounding_method=RoundingMethod.TO_NEAREST_EVEN),
    ),
)
is_finite: Primitive = unary(
    "is_finite",
    np.isfinite,
    FLOAT,
    jvp=NONDIFF,
    lower="is_finite",
    hlo="stablehlo.is_finite",
    samples=inputs(FLOAT, ANYWHERE),
    result=lambda dtype: dtypes.bool_,
)
square: Primitive = unary(
    "square",
    np.square,
    NUMERIC,
    jvp=lambda ans, x: lambda t: mul(t, mul(x, 2.0)),
    lower="square",
    hlo=BY_ELEMENTS,
    samples=inputs(NUMERIC, ANYWHERE),
)


def _integer_pow(x: Any, *, y: int) -> Any:
    if y == 2:
        return np.square(x)
    kind = dtypes.kind_of(x.dtype)
    if kind in "iu" and y < 0:
        raise TypeError(f"integers have no negative powers, got the exponent {y}")
    if kind == "c":
        return complex_references.power(x, y)
    return np.power(x, x.dtype.type(y)) if kind == "f" else np.power(x, y, dtype=x.dtype)


integer_pow: Primitive = unary(
    "integer_pow",
    widened(_integer_pow),
    NUMERIC,
    jvp=lambda ans, x, y: (
        lambda t: instantiate(Zero(aval_of(t))) if y == 0 else mul(t, _power_slope(x, y))
    ),
    lower=lambda s, x, y: s.integer_pow(x, y),
    hlo=BY_ELEMENTS,
    samples=joined(
        *(inputs("if", ANYWHERE, y=y, ints=(-3, 3), tol=4.0) for y in (0, 1, 2, 3, 7)),
        inputs(COMPLEX, (0.5, 2), y=3, tol=4.0),
        inputs(INEXACT, (0.5, 3), y=-1, tol=4.0),
        inputs(INEXACT, (0.5, 3), y=-2, specials="f", tol=4.0),
    ),
)


def _power_slope(x: Any, y: int) -> Any:
    return mul(x if y == 2 else integer_pow(x, y=y - 1), float(y))


# --------------------------------------------------------------------------- sums and products

add: Primitive = binary(
    "add",
    np.add,
    NUMERIC,
    jvp=(lambda ans, x, y: lambda t: t, lambda ans, x, y: lambda t: t),
    transpose=(lambda ct, x, y: ct, lambda ct, x, y: ct),
    lower="add",
    hlo="stablehlo.add",
    samples=inputs(NUMERIC, ANYWHERE, ANYWHERE),
)
add_any: Primitive = binary(
    "add_any",
    np.add,
    ANY,
    jvp=(lambda ans, x, y: lambda t: t, lambda ans, x, y: lambda t: t),
    transpose=(lambda ct, x, y: ct, lambda ct, x, y: ct),
    lower="add",
    hlo="stablehlo.add",
    samples=inputs(INEXACT, ANYWHERE, ANYWHERE),
)
sub: Primitive = binary(
    "sub",
    np.subtract,
    NUMERIC,
    jvp=(lambda ans, x, y: lambda t: t, lambda ans, x, y: neg),
    transpose=(lambda ct, x, y: ct, lambda ct, x, y: neg(ct)),
    lower="sub",
    hlo="stablehlo.subtract",
    samples=inputs(NUMERIC, ANYWHERE, ANYWHERE),
)
mul: Primitive = binary(
    "mul",
    np.multiply,
    NUMERIC,
    jvp=(lambda ans, x, y: lambda t: mul(t, y), lambda ans, x, y: lambda t: mul(x, t)),
    transpose=(lambda ct, x, y: mul(ct, y), lambda ct, x, y: mul(x, ct)),
    lower="mul",
    hlo="stablehlo.multiply",
    samples=inputs(NUMERIC, ANYWHERE, ANYWHERE),
)

# --------------------------------------------------------------------------- division


def _integer_div(x: Any, y: Any) -> Any:
    safe = np.where(y == 0, y.dtype.type(1), y)
    quotient = (x - np.fmod(x, safe)) // safe
    return np.where(y == 0, ~np.zeros_like(quotient), quotient)


_small_integer_div = widened(_integer_div)


def _div(x: Any, y: Any) -> Any:
    kind = x.dtype.kind
    if kind == "f" or kind == "c" or dtypes.kind_of(x.dtype) == "f":
        return np.true_divide(x, y)
    return _small_integer_div(x, y)


def _rem(x: Any, y: Any) -> Any:
    if x.dtype.kind in "iu":
        return np.where(y == 0, x, np.fmod(x, np.where(y == 0, y.dtype.type(1), y)))
    return np.fmod(x, y)


div: Primitive = binary(
    "div",
    _div,
    NUMERIC,
    jvp=(
        lambda ans, x, y: lambda t: div(t, y),
        lambda ans, x, y: lambda t: mul(mul(neg(t), x), integer_pow(y, y=-2)),
    ),
    transpose=(lambda ct, x, y: div(ct, y), None),
    lower="div",
    hlo="stablehlo.divide",
    samples=inputs(NUMERIC, ANYWHERE, (0.5, 3)),
)
rem: Primitive = binary(
    "rem",
    widened(_rem),
    REAL,
    jvp=(
        lambda ans, x, y: lambda t: t,
        lambda ans, x, y: lambda t: mul(neg(t), _truncated(div(x, y))),
    ),
    lower="rem",
    hlo="stablehlo.remainder",
    samples=inputs(REAL, ANYWHERE, (0.5, 3)),
)


def _truncated(x: Any) -> Any:
    return where(ge(x, 0.0), floor(x), ceil(x))


# --------------------------------------------------------------------------- order


def order_share(ans: Any, x: Any, y: Any) -> Any:
    """The weight of `x` in the derivative of max or min: 1, 0, or 1/2 on ties."""
    return div(where(eq(x, ans), scalar_like(ans, 1), 0), where(eq(y, ans), scalar_like(ans, 2), 1))


_order_jvp = (
    lambda ans, x, y: lambda t: mul(t, order_share(ans, x, y)),
    lambda ans, x, y: lambda t: mul(t, order_share(ans, y, x)),
)


def extremum(name: str) -> Callable[[Any, Any, Any], Any]:
    """The scalar max or min of generated code; complex numbers are ordered by their parts."""

    def lower(s: Any, x: Any, y: Any) -> Any:
        if x.dtype.kind != "c":
            return s.max(x, y) if name == "max" else s.min(x, y)
        before = s.gt if name == "max" else s.lt
        real = before(s.real(x), s.real(y))
        imag = s.and_(s.eq(s.real(x), s.real(y)), before(s.imag(x), s.imag(y)))
        nan = s.ne(x, x)
        return s.select(s.or_(nan, s.and_(s.eq(y, y), s.or_(real, imag))), x, y)

    return lower


max_: Primitive = binary(
    "max",
    widened(np.maximum),
    ANY,
    jvp=_order_jvp,
    lower=extremum("max"),
    hlo=BY_ELEMENTS,
    samples=inputs(ANY, ANYWHERE, ANYWHERE),
)
min_: Primitive = binary(
    "min",
    widened(np.minimum),
    ANY,
    jvp=_order_jvp,
    lower=extremum("min"),
    hlo=BY_ELEMENTS,
    samples=inputs(ANY, ANYWHERE, ANYWHERE),
)
nextafter: Primitive = binary(
    "nextafter",
    np.nextafter,
    FLOAT,
    jvp=NONDIFF,
    lower="nextafter",
    hlo="chlo.next_after",
    samples=inputs(FLOAT, ANYWHERE, ANYWHERE, smooth=False),
)
