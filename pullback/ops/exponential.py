"""Exponentials, logarithms, powers and roots, element by element."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from pullback.core import dtypes
from pullback.core.avals import ShapedArray, aval_of
from pullback.core.primitive import Primitive, Sample
from pullback.ops import complex_references
from pullback.ops.arithmetic import add, div, integer_pow, mul, sub
from pullback.ops.comparison import eq, where
from pullback.ops.complex_references import REFERENCES
from pullback.ops.conversion import convert_like
from pullback.ops.kinds import (
    BY_ELEMENTS,
    COMPLEX,
    FLOAT,
    INEXACT,
    NONLINEAR,
    check_accepts,
    element_wise,
    element_wise_shape,
    operand_types,
    scalar_like,
    unary,
    widened,
)
from pullback.ops.samples import draw, generator, inputs, joined

__all__ = [
    "cbrt",
    "exp",
    "exp2",
    "expm1",
    "log",
    "log1p",
    "logistic",
    "pow_",
    "rsqrt",
    "sqrt",
]

_LOG2 = math.log(2.0)

# --------------------------------------------------------------------------- exponentials

exp: Primitive = unary(
    "exp",
    REFERENCES["exp"],
    INEXACT,
    jvp=lambda ans, x: lambda t: mul(t, ans),
    lower="exp",
    hlo="stablehlo.exponential",
    samples=inputs(INEXACT, (-4, 4)),
)


exp2: Primitive = unary(
    "exp2",
    complex_references.exp2,
    INEXACT,
    jvp=lambda ans, x: lambda t: mul(t, mul(ans, _LOG2)),
    lower="exp2",
    hlo=BY_ELEMENTS,
    samples=inputs(INEXACT, (-4, 4)),
)
expm1: Primitive = unary(
    "expm1",
    complex_references.expm1,
    INEXACT,
    jvp=lambda ans, x: lambda t: mul(t, add(ans, 1.0)),
    lower="expm1",
    hlo="stablehlo.exponential_minus_one",
    samples=inputs(INEXACT, (-2, 2)),
)


def _logistic(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


logistic: Primitive = unary(
    "logistic",
    widened(_logistic),
    INEXACT,
    jvp=lambda ans, x: lambda t: mul(t, mul(ans, sub(1.0, ans))),
    lower="logistic",
    hlo="stablehlo.logistic",
    samples=inputs(INEXACT, (-5, 5)),
)

# --------------------------------------------------------------------------- logarithms

log: Primitive = unary(
    "log",
    np.log,
    INEXACT,
    jvp=lambda ans, x: lambda t: div(t, x),
    lower="log",
    hlo="stablehlo.log",
    samples=joined(inputs(FLOAT, (0.1, 9)), inputs(COMPLEX, (0.1, 3))),
)
log1p: Primitive = unary(
    "log1p",
    np.log1p,
    INEXACT,
    jvp=lambda ans, x: lambda t: div(t, add(x, 1.0)),
    lower="log1p",
    hlo="stablehlo.log_plus_one",
    samples=inputs(INEXACT, (-0.5, 3)),
)

# --------------------------------------------------------------------------- roots

sqrt: Primitive = unary(
    "sqrt",
    np.sqrt,
    INEXACT,
    jvp=lambda ans, x: lambda t: mul(t, div(0.5, ans)),
    lower="sqrt",
    hlo="stablehlo.sqrt",
    samples=inputs(INEXACT, (0.1, 4)),
)


def _rsqrt(x: Any) -> Any:
    return 1 / np.sqrt(x)


rsqrt: Primitive = unary(
    "rsqrt",
    widened(_rsqrt),
    INEXACT,
    jvp=lambda ans, x: lambda t: mul(t, mul(div(ans, x), -0.5)),
    lower="rsqrt",
    hlo="stablehlo.rsqrt",
    samples=inputs(INEXACT, (0.2, 4)),
)
cbrt: Primitive = unary(
    "cbrt",
    np.cbrt,
    FLOAT,
    jvp=lambda ans, x: lambda t: mul(t, mul(integer_pow(ans, y=-2), 1 / 3)),
    lower="cbrt",
    hlo="stablehlo.cbrt",
    samples=inputs(FLOAT, (0.2, 4)),
)

# --------------------------------------------------------------------------- power


def _pow_abstract(x: ShapedArray, y: ShapedArray) -> ShapedArray:
    check_accepts("pow", x, INEXACT, 0)
    if y.dtype != x.dtype and dtypes.kind_of(y.dtype) not in "iu":
        raise TypeError(
            "pow: the exponent must have the dtype of the base or be an integer, got "
            f"{operand_types((x, y))}"
        )
    weak = x.weak_type and (y.weak_type or x.dtype != y.dtype)
    return ShapedArray(element_wise_shape("pow", (x, y)), x.dtype, weak)


def _pow(x: Any, y: Any) -> Any:
    return np.power(x, y, dtype=x.dtype) if x.dtype == y.dtype else np.power(x, y.astype(x.dtype))


def _pow_reference(x: Any, y: Any) -> Any:
    return _narrow_pow(x, y) if x.dtype.itemsize < 4 else _pow(x, y)


def _narrow_pow(x: Any, y: Any) -> Any:
    return np.power(x.astype(np.float32), y.astype(np.float32)).astype(x.dtype)


def _base_slope(x: Any, y: Any) -> Any:
    if dtypes.kind_of(aval_of(y).dtype) in "iu":
        slope = mul(convert_like(y, x), pow_(x, sub(y, 1)))
        return where(eq(y, scalar_like(y, 0)), 0.0, slope)
    return mul(y, pow_(x, sub(y, 1.0)))


def _exponent_slope(ans: Any, x: Any) -> Any:
    return mul(log(where(eq(x, 0.0), 1.0, x)), ans)


def _pow_lower(s: Any, x: Any, y: Any) -> Any:
    return s.math("pow", x, y if y.dtype == x.dtype else s.convert(y, x.dtype))


def _integer_exponents() -> Iterator[Sample]:
    rng = generator()
    for dtype in (np.float32, np.float64, np.complex64):
        for shape in ((), (5,), (2, 3)):
            base = draw(rng, np.dtype(dtype), shape, (0.3, 2))
            for exponent in (np.int32, np.int8):
                args = base, draw(rng, np.dtype(exponent), shape, (-2, 4))
                yield Sample(args, tol=4.0, differentiable=(0,))


pow_: Primitive = element_wise(
    "pow",
    _pow_reference,
    _pow_abstract,
    jvp=(
        lambda ans, x, y: lambda t: mul(t, _base_slope(x, y)),
        lambda ans, x, y: lambda t: mul(t, _exponent_slope(ans, x)),
    ),
    transpose=NONLINEAR,
    lower=_pow_lower,
    hlo=lambda b, x, y: b.apply("stablehlo.power", x, b.s.convert(y, x.dtype)),
    samples=joined(inputs(INEXACT, (0.2, 3), (-2, 2), tol=4.0), _integer_exponents),
    literals=False,
)
