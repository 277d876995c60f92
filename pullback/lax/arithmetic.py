"""`lax`: element-wise functions, strict about dtypes.

Operands of one function have one dtype; Python scalars take that of the others.  Shapes are equal,
or scalar, or equal up to axes of length 1.  Results are weakly typed if all operands are.
"""

from __future__ import annotations

import operator
import warnings
from typing import Any

import numpy as np

from pullback import tree
from pullback.core import dtypes
from pullback.core.array import Array
from pullback.core.avals import aval_of
from pullback.errors import shapes_text
from pullback.lax.operands import broadcast_operands, operands
from pullback.ops import barrier, reductions, rng, structural
from pullback.ops import elementwise as ops
from pullback.ops.elementwise import RoundingMethod

__all__ = [
    "RoundingMethod",
    "add",
    "atan2",
    "bitwise_and",
    "bitwise_or",
    "bitwise_xor",
    "clamp",
    "complex",
    "conj",
    "convert_element_type",
    "div",
    "eq",
    "ge",
    "gt",
    "integer_pow",
    "le",
    "lt",
    "max",
    "min",
    "mul",
    "mulhi",
    "ne",
    "nextafter",
    "optimization_barrier",
    "pow",
    "reciprocal",
    "reduce_precision",
    "rem",
    "round",
    "select",
    "select_n",
    "shift_left",
    "shift_right_arithmetic",
    "shift_right_logical",
    "stop_gradient",
    "sub",
]


def add(x: Any, y: Any) -> Array:
    """Sum.

    >>> float(add(1.0, 2.0))
    3.0
    """
    return ops.add.bind(*operands("add", x, y))  # type: ignore[no-any-return]


def atan2(x: Any, y: Any) -> Array:
    """Angle of the point (y, x): the inverse tangent of x / y with the quadrant of both.

    >>> float(atan2(0.0, 1.0))
    0.0
    """
    return ops.atan2.bind(*operands("atan2", x, y))  # type: ignore[no-any-return]


def bitwise_and(x: Any, y: Any) -> Array:
    """Bitwise and; logical and of bools.

    >>> int(bitwise_and(6, 3))
    2
    """
    return ops.and_.bind(*operands("bitwise_and", x, y))  # type: ignore[no-any-return]


def bitwise_or(x: Any, y: Any) -> Array:
    """Bitwise or; logical or of bools.

    >>> int(bitwise_or(6, 3))
    7
    """
    return ops.or_.bind(*operands("bitwise_or", x, y))  # type: ignore[no-any-return]


def bitwise_xor(x: Any, y: Any) -> Array:
    """Bitwise exclusive or.

    >>> int(bitwise_xor(6, 3))
    5
    """
    return ops.xor.bind(*operands("bitwise_xor", x, y))  # type: ignore[no-any-return]


def complex(x: Any, y: Any) -> Array:
    """Complex numbers from their real and imaginary parts.

    >>> complex(1.0, 2.0).item()
    (1+2j)
    """
    return ops.complex_.bind(*operands("complex", x, y))  # type: ignore[no-any-return]


def div(x: Any, y: Any) -> Array:
    """Quotient; that of integers is rounded towards zero.

    >>> float(div(7.0, 2.0))
    3.5
    """
    return ops.div.bind(*operands("div", x, y))  # type: ignore[no-any-return]


def _are_keys(x: Any, y: Any) -> bool:
    dtype = aval_of(x).dtype
    return dtypes.is_extended(dtype) and dtype is aval_of(y).dtype


def same_keys(x: Any, y: Any) -> Any:
    """Whether keys have the same bits, element by element."""
    shape = aval_of(x).shape or aval_of(y).shape
    x, y = (
        v
        if aval_of(v).shape == shape
        else structural.broadcast_in_dim(v, shape=shape, broadcast_dimensions=(), sharding=None)
        for v in (x, y)
    )
    bits = ops.eq.bind(rng.random_unwrap(x), rng.random_unwrap(y))
    return reductions.reduce_and(bits, axes=(len(shape),))


def eq(x: Any, y: Any) -> Array:
    """x == y.

    >>> bool(eq(1.0, 1.0))
    True
    """
    x, y = operands("eq", x, y)
    return same_keys(x, y) if _are_keys(x, y) else ops.eq.bind(x, y)  # type: ignore[no-any-return]


def ge(x: Any, y: Any) -> Array:
    """x >= y.

    >>> bool(ge(1.0, 1.0))
    True
    """
    return ops.ge.bind(*operands("ge", x, y))  # type: ignore[no-any-return]


def gt(x: Any, y: Any) -> Array:
    """x > y.

    >>> bool(gt(1.0, 1.0))
    False
    """
    return ops.gt.bind(*operands("gt", x, y))  # type: ignore[no-any-return]


def le(x: Any, y: Any) -> Array:
    """x <= y.

    >>> bool(le(1.0, 1.0))
    True
    """
    return ops.le.bind(*operands("le", x, y))  # type: ignore[no-any-return]


def lt(x: Any, y: Any) -> Array:
    """x < y.

    >>> bool(lt(1.0, 1.0))
    False
    """
    return ops.lt.bind(*operands("lt", x, y))  # type: ignore[no-any-return]


def max(x: Any, y: Any) -> Array:
    """The greater of two; NaN if one is.

    >>> float(max(1.0, 2.0))
    2.0
    """
    return ops.max_.bind(*operands("max", x, y))  # type: ignore[no-any-return]


def min(x: Any, y: Any) -> Array:
    """The lesser of two; NaN if one is.

    >>> float(min(1.0, 2.0))
    1.0
    """
    return ops.min_.bind(*operands("min", x, y))  # type: ignore[no-any-return]


def mul(x: Any, y: Any, *, out_dtype: Any = None) -> Array:
    """Product; with `out_dtype` both are converted to that dtype before.

    >>> float(mul(2.0, 3.0))
    6.0
    """
    if out_dtype is not None:
        x, y = (convert_element_type(v, out_dtype) for v in (x, y))
    return ops.mul.bind(*operands("mul", x, y))  # type: ignore[no-any-return]


def mulhi(x: Any, y: Any, /) -> Array:
    """The high half of the product of two integers, of twice the bits.

    >>> int(mulhi(1 << 30, 8))
    2
    """
    return ops.mulhi.bind(*operands("mulhi", x, y))  # type: ignore[no-any-return]


def ne(x: Any, y: Any) -> Array:
    """x != y.

    >>> bool(ne(1.0, 1.0))
    False
    """
    x, y = operands("ne", x, y)
    return ops.not_(same_keys(x, y)) if _are_keys(x, y) else ops.ne.bind(x, y)  # type: ignore[no-any-return]


def nextafter(x1: Any, x2: Any) -> Array:
    """The next number after x1 in the direction of x2.

    >>> float(nextafter(0.0, 0.0))
    0.0
    """
    return ops.nextafter.bind(*operands("nextafter", x1, x2))  # type: ignore[no-any-return]


def rem(x: Any, y: Any) -> Array:
    """Remainder of the division rounded towards zero; it has the sign of x.

    >>> float(rem(-7.0, 3.0))
    -1.0
    """
    return ops.rem.bind(*operands("rem", x, y))  # type: ignore[no-any-return]


def shift_left(x: Any, y: Any) -> Array:
    """Bits moved left; 0 if y is as large as the width.

    >>> int(shift_left(1, 4))
    16
    """
    return ops.shift_left.bind(*operands("shift_left", x, y))  # type: ignore[no-any-return]


def shift_right_arithmetic(x: Any, y: Any) -> Array:
    """Bits moved right, the sign coming in.

    >>> int(shift_right_arithmetic(-8, 1))
    -4
    """
    return ops.shift_right_arithmetic.bind(*operands("shift_right_arithmetic", x, y))  # type: ignore[no-any-return]


def shift_right_logical(x: Any, y: Any) -> Array:
    """Bits moved right, zeros coming in.

    >>> int(shift_right_logical(8, 1))
    4
    """
    return ops.shift_right_logical.bind(*operands("shift_right_logical", x, y))  # type: ignore[no-any-return]


def sub(x: Any, y: Any) -> Array:
    """Difference.

    >>> float(sub(3.0, 2.0))
    1.0
    """
    return ops.sub.bind(*operands("sub", x, y))  # type: ignore[no-any-return]


# --------------------------------------------------------------------------- powers and roundings


def integer_pow(x: Any, y: int) -> Array:
    """`x` to a constant integer power; negative ones of floats only.

    >>> float(integer_pow(2.0, 3))
    8.0
    """
    if y < 0 and dtypes.kind_of(aval_of(x).dtype) in "iu":
        raise TypeError(f"Integers cannot be raised to negative powers, got integer_pow({x}, {y})")
    return ops.integer_pow.bind(x, y=int(y))  # type: ignore[no-any-return]


def pow(x: Any, y: Any) -> Array:
    """`x` to the power of `y`, which has the dtype of `x` or an integer one.

    >>> float(pow(2.0, 3))
    8.0
    """
    if dtypes.kind_of(aval_of(y).dtype) in "iu":
        return ops.pow_.bind(*broadcast_operands("pow", (x, y)))  # type: ignore[no-any-return]
    return ops.pow_.bind(*operands("pow", x, y))  # type: ignore[no-any-return]


def reciprocal(x: Any) -> Array:
    """1 / x.

    >>> float(reciprocal(4.0))
    0.25
    """
    return integer_pow(x, -1)


def round(x: Any, rounding_method: int = RoundingMethod.AWAY_FROM_ZERO) -> Array:
    """The nearest integer; halves as `rounding_method` says.

    >>> float(round(2.5)), float(round(2.5, RoundingMethod.TO_NEAREST_EVEN))
    (3.0, 2.0)
    """
    return ops.round_.bind(x, rounding_method=RoundingMethod(rounding_method))  # type: ignore[no-any-return]


# --------------------------------------------------------------------------- selection


def clamp(min: Any, x: Any, max: Any) -> Array:
    """`x` limited to the interval from `min` to `max`, which are scalars or have its shape.

    >>> float(clamp(0.0, 3.0, 1.0))
    1.0
    """
    low, value, high = (aval_of(v) for v in (min, x, max))
    if any(a.shape not in ((), value.shape) for a in (low, high)):
        raise TypeError(
            f"clamp: min and max must be scalars or have the shape of x, got {low.str_short()}, "
            f"{value.str_short()} and {high.str_short()}"
        )
    return ops.clamp.bind(*operands("clamp", min, x, max))  # type: ignore[no-any-return]


def select_n(which: Any, *cases: Any) -> Array:
    """Elements of the cases, by number: `which` is int32, or bool for two cases.

    >>> float(select_n(True, 1.0, 2.0))
    2.0
    """
    if not cases:
        raise ValueError("select_n() must have at least one case")
    shape = aval_of(cases[0]).shape
    if any(aval_of(c).shape != shape for c in cases):
        texts = shapes_text([aval_of(c).str_short() for c in cases])
        raise TypeError(f"select_n: cases must have one shape, got {texts}")
    if aval_of(which).shape not in ((), shape):
        raise TypeError(
            f"select `which` must be scalar or have the same shape as cases, got `which` shape "
            f"{aval_of(which).shape} but case shape {shape}."
        )
    return ops.select_n.bind(which, *operands("select", *cases))  # type: ignore[no-any-return]


def select(pred: Any, on_true: Any, on_false: Any) -> Array:
    """`on_true` where `pred` holds, else `on_false`.

    >>> float(select(True, 1.0, 2.0))
    1.0
    """
    return select_n(pred, on_false, on_true)


# --------------------------------------------------------------------------- conversion


def conj(x: Any) -> Array:
    """Complex conjugate; real operands become complex.

    >>> conj(1 + 2j).item()
    (1-2j)
    """
    return ops.conj.bind(x, input_dtype=aval_of(x).dtype)  # type: ignore[no-any-return]


def convert_element_type(operand: Any, new_dtype: Any) -> Array:
    """`operand` as `new_dtype`; never weakly typed unless `new_dtype` is a Python type.

    Floats become integers by truncation, limited to the range; complex numbers lose their imaginary
    part.

    >>> int(convert_element_type(1.7, "int32"))
    1
    """
    if new_dtype is None:
        raise ValueError("convert_element_type needs a dtype")
    dtype = dtypes.check_user_dtype(new_dtype, "lax.convert_element_type")
    aval = aval_of(operand)
    if aval.dtype == dtype and not aval.weak_type and isinstance(operand, Array):
        return operand
    if dtypes.kind_of(aval.dtype) == "c" and dtypes.kind_of(dtype) not in "cb":
        warnings.warn(
            "Casting complex values to real discards the imaginary part",
            np.exceptions.ComplexWarning,
            stacklevel=dtypes.user_stacklevel(),
        )
    return ops.convert_element_type.bind(  # type: ignore[no-any-return]
        operand, new_dtype=dtype, weak_type=False, sharding=None
    )


def reduce_precision(operand: Any, exponent_bits: int, mantissa_bits: int) -> Array:
    """Floats rounded to those that the given numbers of bits can hold.

    >>> float(reduce_precision(1.2345, 8, 3))
    1.25
    """
    exponent_bits, mantissa_bits = operator.index(exponent_bits), operator.index(mantissa_bits)
    if exponent_bits < 1:
        raise ValueError(f"reduce_precision: exponent_bits must be positive; got {exponent_bits}")
    if mantissa_bits < 0:
        raise ValueError(
            f"reduce_precision: mantissa_bits must be non-negative; got {mantissa_bits}"
        )
    return ops.reduce_precision.bind(  # type: ignore[no-any-return]
        operand, exponent_bits=exponent_bits, mantissa_bits=mantissa_bits
    )


def stop_gradient(x: Any) -> Any:
    """A pytree unchanged, whose derivative is zero.

    >>> float(stop_gradient(2.0))
    2.0
    """
    return tree.map(_stop, x)


def optimization_barrier(operand: Any, /) -> Any:
    """A pytree unchanged; the compiler moves nothing from one side of it to the other.

    >>> float(optimization_barrier(2.0))
    2.0
    """
    leaves, structure = tree.flatten(operand)
    if not leaves:
        return operand
    return tree.unflatten(structure, barrier.optimization_barrier.bind(*leaves))


def _stop(x: Any) -> Any:
    if dtypes.kind_of(aval_of(x).dtype) not in "fc":
        return x
    return ops.stop_gradient.bind(x)
