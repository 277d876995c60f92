"""Complex numbers: their parts, modulus and conjugate.

Derivatives are JAX's: cotangents pair with tangents bilinearly, by Re(ct * t), so the transpose of
a product does not conjugate.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pullback.core import dtypes
from pullback.core.avals import ShapedArray, aval_of
from pullback.core.primitive import Primitive
from pullback.ops.arithmetic import div, mul, neg
from pullback.ops.comparison import eq, ge, where
from pullback.ops.kinds import (
    BY_ELEMENTS,
    COMPLEX,
    FLOAT,
    INEXACT,
    LINEAR,
    SIGNED,
    binary,
    check_accepts,
    element_wise,
    scalar_like,
    unary,
)
from pullback.ops.samples import ANYWHERE, inputs, joined

__all__ = ["abs_", "complex_", "conj", "imag", "real"]


def _abs_jvp(ans: Any, x: Any) -> Any:
    if dtypes.kind_of(aval_of(x).dtype) == "c":
        return lambda t: real(mul(t, _direction(ans, x)))
    return lambda t: where(ge(x, 0.0), t, neg(t))


def _direction(modulus: Any, x: Any) -> Any:
    """conj(x) / |x|, and 0 at 0."""
    scale = div(1.0, where(eq(modulus, 0.0), 1.0, modulus))
    return mul(_conjugate(x), complex_(scale, scalar_like(scale, 0)))


def _conjugate(x: Any) -> Any:
    return conj(x, input_dtype=aval_of(x).dtype)


abs_: Primitive = unary(
    "abs",
    np.abs,
    SIGNED,
    jvp=_abs_jvp,
    lower="abs",
    hlo=BY_ELEMENTS,
    samples=inputs(SIGNED, ANYWHERE),
    result=dtypes.to_real_dtype,
)
real: Primitive = unary(
    "real",
    np.real,
    COMPLEX,
    jvp=LINEAR,
    transpose=lambda ct, x: complex_(ct, scalar_like(ct, 0)),
    lower="real",
    hlo=BY_ELEMENTS,
    samples=inputs(COMPLEX, ANYWHERE),
    result=dtypes.to_real_dtype,
)
imag: Primitive = unary(
    "imag",
    np.imag,
    COMPLEX,
    jvp=LINEAR,
    transpose=lambda ct, x: complex_(scalar_like(ct, 0), neg(ct)),
    lower="imag",
    hlo=BY_ELEMENTS,
    samples=inputs(COMPLEX, ANYWHERE),
    result=dtypes.to_real_dtype,
)


def _complex_reference(x: Any, y: Any) -> Any:
    out = np.empty(np.broadcast_shapes(x.shape, y.shape), dtypes.to_complex_dtype(x.dtype))
    out.real, out.imag = x, y
    return out


def _complex_dtype(dtype: Any) -> Any:
    if dtype.itemsize < 4:
        raise TypeError(f"complex takes float32 or float64 parts, got {dtype.name}")
    return dtypes.to_complex_dtype(dtype)


complex_: Primitive = binary(
    "complex",
    _complex_reference,
    FLOAT,
    jvp=(
        lambda ans, x, y: lambda t: complex_(t, scalar_like(t, 0)),
        lambda ans, x, y: lambda t: complex_(scalar_like(t, 0), t),
    ),
    transpose=(lambda ct, x, y: real(ct), lambda ct, x, y: neg(imag(ct))),
    lower="complex",
    hlo="stablehlo.complex",
    samples=inputs(FLOAT, ANYWHERE, ANYWHERE, narrow=False),
    result=_complex_dtype,
)


def _conj_abstract(x: ShapedArray, *, input_dtype: Any) -> ShapedArray:
    check_accepts("conj", x, INEXACT)
    dtype = x.dtype if dtypes.kind_of(x.dtype) == "c" else _complex_dtype(x.dtype)
    return ShapedArray(x.shape, dtype, x.weak_type)


def _conj_reference(x: Any, *, input_dtype: Any) -> Any:
    return np.conj(x) if x.dtype.kind == "c" else x.astype(dtypes.to_complex_dtype(x.dtype))


def _conj_lower(s: Any, x: Any, *, input_dtype: Any) -> Any:
    if x.dtype.kind == "c":
        return s.conj(x)
    return s.convert(x, dtypes.to_complex_dtype(x.dtype))


def _conj_transpose(ct: Any, x: Any, *, input_dtype: Any) -> Any:
    return _conjugate(ct) if dtypes.kind_of(x.aval.dtype) == "c" else real(ct)


conj: Primitive = element_wise(
    "conj",
    _conj_reference,
    _conj_abstract,
    jvp=LINEAR,
    transpose=(_conj_transpose,),
    lower=_conj_lower,
    hlo=BY_ELEMENTS,
    samples=joined(
        inputs(COMPLEX, ANYWHERE, input_dtype=np.dtype(np.complex64)),
        inputs(FLOAT, ANYWHERE, narrow=False, specials="", input_dtype=np.dtype(np.float32)),
    ),
    literals=False,
)
