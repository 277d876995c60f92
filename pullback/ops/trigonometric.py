"""Trigonometric and hyperbolic functions and their inverses, element by element."""

from __future__ import annotations

from typing import Any

import numpy as np

from pullback.core.primitive import Primitive
from pullback.ops.arithmetic import add, div, mul, neg, square, sub
from pullback.ops.complex_references import REFERENCES
from pullback.ops.exponential import rsqrt
from pullback.ops.kinds import COMPLEX, FLOAT, INEXACT, binary, unary
from pullback.ops.samples import ANYWHERE, inputs, joined

__all__ = [
    "acos",
    "acosh",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "cos",
    "cosh",
    "sin",
    "sinh",
    "tan",
    "tanh",
]

# --------------------------------------------------------------------------- circular

sin: Primitive = unary(
    "sin",
    REFERENCES["sin"],
    INEXACT,
    jvp=lambda ans, x: lambda t: mul(t, cos(x)),
    lower="sin",
    hlo="stablehlo.sine",
    samples=inputs(INEXACT, (-4, 4)),
)
cos: Primitive = unary(
    "cos",
    REFERENCES["cos"],
    INEXACT,
    jvp=lambda ans, x: lambda t: mul(t, neg(sin(x))),
    lower="cos",
    hlo="stablehlo.cosine",
    samples=inputs(INEXACT, (-4, 4)),
)
tan: Primitive = unary(
    "tan",
    REFERENCES["tan"],
    INEXACT,
    jvp=lambda ans, x: lambda t: mul(t, add(square(ans), 1.0)),
    lower="tan",
    hlo="stablehlo.tan",
    samples=inputs(INEXACT, (-1.2, 1.2)),
)
asin: Primitive = unary(
    "asin",
    REFERENCES["arcsin"],
    INEXACT,
    jvp=lambda ans, x: lambda t: mul(t, rsqrt(mul(sub(1.0, x), add(x, 1.0)))),
    lower="asin",
    hlo="chlo.asin",
    samples=inputs(INEXACT, (-0.9, 0.9)),
)
acos: Primitive = unary(
    "acos",
    REFERENCES["arccos"],
    INEXACT,
    jvp=lambda ans, x: lambda t: mul(t, neg(rsqrt(mul(sub(1.0, x), add(x, 1.0))))),
    lower="acos",
    hlo="chlo.acos",
    samples=inputs(INEXACT, (-0.9, 0.9)),
)
atan: Primitive = unary(
    "atan",
    REFERENCES["arctan"],
    INEXACT,
    jvp=lambda ans, x: lambda t: div(t, add(square(x), 1.0)),
    lower="atan",
    hlo="chlo.atan",
    samples=joined(inputs(FLOAT, ANYWHERE), inputs(COMPLEX, (-0.9, 0.9))),
)


def _atan2(y: Any, x: Any) -> Any:
    """That of complex numbers is -i log((x + i y) / sqrt(x² + y²))."""
    if x.dtype.kind != "c":
        return np.arctan2(y, x)
    return (-1j * np.log((x + 1j * y) / np.sqrt(x * x + y * y))).astype(x.dtype)


def _atan2_lower(s: Any, y: Any, x: Any) -> Any:
    if x.dtype.kind != "c":
        return s.math("atan2", y, x)
    i = s.const(1j, x.dtype)
    radius = s.sqrt(s.add(s.mul(x, x), s.mul(y, y)))
    return s.neg(s.mul(i, s.math("log", s.div(s.add(x, s.mul(i, y)), radius))))


atan2: Primitive = binary(
    "atan2",
    _atan2,
    INEXACT,
    jvp=(
        lambda ans, y, x: lambda t: mul(t, div(x, add(square(x), square(y)))),
        lambda ans, y, x: lambda t: mul(t, div(neg(y), add(square(x), square(y)))),
    ),
    lower=_atan2_lower,
    hlo="stablehlo.atan2",
    samples=joined(inputs(FLOAT, ANYWHERE, ANYWHERE), inputs(COMPLEX, (0.5, 2), (0.5, 2))),
)

# --------------------------------------------------------------------------- hyperbolic

sinh: Primitive = unary(
    "sinh",
    REFERENCES["sinh"],
    INEXACT,
    jvp=lambda ans, x: lambda t: mul(t, cosh(x)),
    lower="sinh",
    hlo="chlo.sinh",
    samples=inputs(INEXACT, ANYWHERE),
)
cosh: Primitive = unary(
    "cosh",
    REFERENCES["cosh"],
    INEXACT,
    jvp=lambda ans, x: lambda t: mul(t, sinh(x)),
    lower="cosh",
    hlo="chlo.cosh",
    samples=inputs(INEXACT, ANYWHERE),
)
tanh: Primitive = unary(
    "tanh",
    REFERENCES["tanh"],
    INEXACT,
    jvp=lambda ans, x: lambda t: mul(t, mul(add(ans, 1.0), sub(1.0, ans))),
    lower="tanh",
    hlo="stablehlo.tanh",
    samples=joined(inputs(FLOAT, ANYWHERE), inputs(COMPLEX, (-1, 1))),
)
asinh: Primitive = unary(
    "asinh",
    REFERENCES["arcsinh"],
    INEXACT,
    jvp=lambda ans, x: lambda t: mul(t, rsqrt(add(square(x), 1.0))),
    lower="asinh",
    hlo="chlo.asinh",
    samples=joined(inputs(FLOAT, ANYWHERE), inputs(COMPLEX, (-0.9, 0.9))),
)
acosh: Primitive = unary(
    "acosh",
    REFERENCES["arccosh"],
    INEXACT,
    jvp=lambda ans, x: lambda t: mul(t, mul(rsqrt(sub(x, 1.0)), rsqrt(add(x, 1.0)))),
    lower="acosh",
    hlo="chlo.acosh",
    samples=inputs(INEXACT, (1.2, 3)),
)
atanh: Primitive = unary(
    "atanh",
    REFERENCES["arctanh"],
    INEXACT,
    jvp=lambda ans, x: lambda t: div(t, mul(sub(1.0, x), add(x, 1.0))),
    lower="atanh",
    hlo="chlo.atanh",
    samples=inputs(INEXACT, (-0.8, 0.8)),
)
