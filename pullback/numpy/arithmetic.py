"""Division, powers and logarithms: functions made of several primitives."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from pullback import lax
from pullback.core import dtypes
from pullback.core.avals import aval_of
from pullback.core.trace import is_concrete
from pullback.numpy.arrays import as_array, convert_with_weak_type
from pullback.numpy.operands import (
    kind,
    materialized,
    refuse_complex_type,
    select,
    strong_unless_scalar,
)
from pullback.numpy.promotion import (
    check_arraylike,
    promote_args,
    promote_args_inexact,
    promote_args_numeric,
    promote_shapes,
    shape_of,
    unwrap,
)
from pullback.runtime.composites import compiled_when_eager
from pullback.runtime.replays import replayed_when_eager

__all__ = [
    "divmod",
    "float_power",
    "floor_divide",
    "fmod",
    "gcd",
    "lcm",
    "log2",
    "log10",
    "mod",
    "pow",
    "power",
    "reciprocal",
    "remainder",
    "square",
]


@compiled_when_eager()
def floor_divide(x1: Any, x2: Any, /) -> Any:
    """The largest whole number not above the quotient.

    Shapes broadcast; integers stay integers. Raises TypeError for complex numbers.

    >>> import pullback.numpy as jnp
    >>> jnp.floor_divide(jnp.array([7, -7]), 2)
    Array([ 3, -4], dtype=int32)
    """
    x1, x2 = materialized(*promote_args_numeric("floor_divide", x1, x2))
    letter = kind(x1)
    if letter == "u":
        return lax.div(x1, x2)
    if letter == "i":
        quotient = lax.div(x1, x2)
        differ = lax.ne(lax.sign(x1), lax.sign(x2))
        inexact = lax.ne(lax.rem(x1, x2), 0)
        return select(
            lax.bitwise_and(differ, inexact),
            lax.sub(quotient, lax.full_like(quotient, 1)),
            quotient,
        )
    refuse_complex_type("floor_divide", x1)
    return _float_divmod(x1, x2)[0]


@compiled_when_eager()
def remainder(x1: Any, x2: Any, /) -> Any:
    """The remainder of floor division, which has the sign of `x2`.

    Shapes broadcast. An integer remainder by zero is zero, a floating one nan. Raises TypeError
    for complex numbers.

    >>> import pullback.numpy as jnp
    >>> jnp.remainder(jnp.array([7, -7]), 3)
    Array([1, 2], dtype=int32)
    """
    x1, x2 = materialized(*promote_args_numeric("remainder", x1, x2))
    refuse_complex_type("remainder", x1)
    if kind(x1) in "iu":
        x2 = select(lax.eq(x2, 0), 1, x2)
    truncated = lax.rem(x1, x2)
    if kind(x1) == "u":
        return truncated
    nonzero = lax.ne(truncated, 0)
    differ = lax.ne(lax.lt(truncated, 0), lax.lt(x2, 0))
    return select(lax.bitwise_and(nonzero, differ), lax.add(truncated, x2), truncated)


mod = remainder


@replayed_when_eager
def fmod(x1: Any, x2: Any, /) -> Any:
    """The remainder of division truncated towards zero, which has the sign of `x1`.

    Shapes broadcast. An integer remainder by zero is zero, a floating one nan.

    >>> import pullback.numpy as jnp
    >>> jnp.fmod(jnp.array([7, -7]), 3)
    Array([ 1, -1], dtype=int32)
    """
    given = kind(x1) + kind(x2)
    x1, x2 = materialized(*promote_args_numeric("fmod", x1, x2))
    refuse_complex_type("fmod", x1)
    if kind(x1) in "iu" and given != "bb":  # of bools it is the first, as in JAX
        x2 = select(lax.eq(x2, 0), 1, x2)
    return lax.rem(x1, x2)


def _float_divmod(x1: Any, x2: Any) -> tuple[Any, Any]:
    modulus = lax.rem(x1, x2)
    quotient = lax.div(lax.sub(x1, modulus), x2)
    wrong = lax.bitwise_and(lax.ne(modulus, 0), lax.ne(lax.sign(x2), lax.sign(modulus)))
    modulus = select(wrong, lax.add(modulus, x2), modulus)
    quotient = select(wrong, lax.sub(quotient, lax.full_like(quotient, 1)), quotient)
    return _round_half_away(_by_zero(quotient, x1, x2)), modulus


def _by_zero(quotient: Any, x1: Any, x2: Any) -> Any:
    return select(lax.eq(x2, 0), lax.div(x1, x2), quotient)


def _round_half_away(x: Any) -> Any:
    return lax.round(x)


@compiled_when_eager()
def divmod(x1: Any, x2: Any, /) -> tuple[Any, Any]:
    """The pair of `floor_divide` and `remainder`.

    Shapes broadcast. Raises TypeError for complex numbers.

    >>> import pullback.numpy as jnp
    >>> jnp.divmod(jnp.array([7]), 2)
    (Array([3], dtype=int32), Array([1], dtype=int32))
    """
    x1, x2 = materialized(*promote_args_numeric("divmod", x1, x2))
    refuse_complex_type("divmod", x1)
    if kind(x1) in "iu":
        return floor_divide(x1, x2), remainder(x1, x2)
    return _float_divmod(x1, x2)


def reciprocal(x: Any, /) -> Any:
    """1 / x; integers are computed in float32.

    >>> import pullback.numpy as jnp
    >>> jnp.reciprocal(jnp.array([2., 4.]))
    Array([0.5 , 0.25], dtype=float32)
    """
    (x,) = promote_args_inexact("reciprocal", x)
    return lax.integer_pow(x, -1)


@compiled_when_eager()
def gcd(x1: Any, x2: Any) -> Any:
    """The greatest common divisor of integers; `gcd(0, 0)` is 0. Shapes broadcast.

    Raises ValueError for other dtypes.

    >>> import pullback.numpy as jnp
    >>> jnp.gcd(jnp.array([12, -8]), 18)
    Array([6, 2], dtype=int32)
    """
    x1, x2 = promote_args("gcd", x1, x2)
    if kind(x1) not in "iu":
        raise ValueError("Arguments to jax.numpy.gcd must be integers.")
    x1, x2 = materialized(x1, x2)

    def step(state: Any) -> Any:
        a, b = state
        active = lax.ne(b, lax.full_like(b, 0))
        safe = lax.select(active, b, lax.full_like(b, 1))
        return lax.select(active, b, a), lax.select(active, lax.rem(a, safe), b)

    def unfinished(state: Any) -> Any:
        return lax.reduce_or(lax.ne(state[1], lax.full_like(state[1], 0)), tuple(range(x1.ndim)))

    unsigned = kind(x1) == "u"
    start = (x1, x2) if unsigned else (lax.abs(x1), lax.abs(x2))
    return strong_unless_scalar(lax.while_loop(unfinished, step, start)[0])


@compiled_when_eager()
def lcm(x1: Any, x2: Any) -> Any:
    """The least common multiple of integers; 0 where an operand is 0. Shapes broadcast.

    Raises ValueError for other dtypes.

    >>> import pullback.numpy as jnp
    >>> jnp.lcm(jnp.array([4, 6]), 10)
    Array([20, 30], dtype=int32)
    """
    x1, x2 = promote_args("lcm", x1, x2)
    if kind(x1) not in "iu":
        raise ValueError("Arguments to jax.numpy.lcm must be integers.")
    x1, x2 = materialized(x1, x2)
    divisor = gcd(x1, x2)
    if kind(x1) == "i":
        x1, x2 = lax.abs(x1), lax.abs(x2)
    zero = lax.eq(divisor, lax.full_like(divisor, 0))
    safe = lax.select(zero, lax.full_like(divisor, 1), divisor)
    return strong_unless_scalar(lax.mul(x1, lax.div(x2, safe)))


def power(x1: Any, x2: Any, /) -> Any:
    """`x1` raised to `x2`; shapes broadcast.

    A known integer exponent is expanded into multiplications. Raises TypeError for integers raised
    to a known negative power.

    >>> import pullback.numpy as jnp
    >>> jnp.power(jnp.array([2, 3]), 2), jnp.power(2.0, jnp.array([0.5, 1.0]))[1]
    (Array([4, 9], dtype=int32), Array(2., dtype=float32))
    """
    check_arraylike("power", x1, x2)
    x1, x2 = unwrap(x1), unwrap(x2)
    if kind(x2) in "iu" and shape_of(x2) == () and is_concrete(x2):
        (x1,) = promote_args_numeric("power", x1)
        return _integer_power(x1, operator.index(np.asarray(x2)[()]))
    if kind(x2) in "iub" and kind(x1) in "iub":
        x1, x2 = promote_args_numeric("power", x1, x2)
        if kind(x1) == "f":  # uint64 and int64
            return lax.pow(*promote_shapes("power", x1, x2))
        return strong_unless_scalar(_integer_array_power(*materialized(x1, x2)))
    if kind(x2) in "iu":
        weak = dtypes.is_weakly_typed(x1) and dtypes.is_weakly_typed(x2)
        x1 = convert_with_weak_type(x1, dtypes.result_type(x1, x2), weak)
        return lax.pow(*promote_shapes("power", x1, as_array(x2)))
    return lax.pow(*promote_args_numeric("power", x1, x2))


pow = power


def _integer_power(x: Any, n: int) -> Any:
    if n < 0 and kind(x) in "iu":
        raise TypeError(
            f"Integers cannot be raised to negative powers, got {aval_of(x)} raised to {n}; "
            "convert the base to a float."
        )
    return lax.integer_pow(x, n)


def _integer_array_power(base: Any, exponent: Any) -> Any:
    """Square and multiply over the bits of the exponent; 0 for negative exponents of |base| > 1."""
    one, zero = lax.full_like(base, 1), lax.full_like(base, 0)
    bits = dtypes.itemsize_bits(base.dtype) - (kind(base) == "i")
    result, square, rest = one, base, exponent
    if kind(base) == "i":
        rest = lax.abs(exponent)
    for bit in range(bits):
        odd = lax.ne(lax.bitwise_and(rest, one), zero)
        result = lax.select(odd, lax.mul(result, square), result)
        if bit + 1 < bits:
            square, rest = lax.mul(square, square), lax.shift_right_logical(rest, one)
    if kind(base) == "u":
        return result
    unit = lax.eq(lax.abs(base), one)
    return lax.select(lax.bitwise_and(lax.lt(exponent, zero), lax.bitwise_not(unit)), zero, result)


def float_power(x: Any, y: Any, /) -> Any:
    """`x` raised to `y` in floating point, whatever the dtypes; shapes broadcast.

    >>> import pullback.numpy as jnp
    >>> jnp.float_power(2, 3)
    Array(8., dtype=float32, weak_type=True)
    """
    return lax.pow(*promote_args_inexact("float_power", x, y))


def square(x: Any, /) -> Any:
    """x * x; bools are squared as integers.

    >>> import pullback.numpy as jnp
    >>> jnp.square(jnp.array([1., -3.]))
    Array([1., 9.], dtype=float32)
    """
    (x,) = promote_args_numeric("square", x)
    return lax.square(x)


@replayed_when_eager
def log2(x: Any, /) -> Any:
    """The logarithm to base 2; nan for negative reals.

    >>> import pullback.numpy as jnp
    >>> jnp.log2(jnp.float32(8))
    Array(3., dtype=float32)
    """
    return _log_to_base("log2", x, np.log(2))


@replayed_when_eager
def log10(x: Any, /) -> Any:
    """The logarithm to base 10; nan for negative reals.

    >>> import pullback.numpy as jnp
    >>> jnp.log10(jnp.float32(1))
    Array(0., dtype=float32)
    """
    return _log_to_base("log10", x, np.log(10))


def _log_to_base(name: str, x: Any, log_base: float) -> Any:
    (x,) = promote_args_inexact(name, x)
    if kind(x) == "c":
        real, imag = lax.real(lax.log(x)), lax.imag(lax.log(x))
        base = real.dtype.type(log_base)
        return lax.complex(lax.div(real, base), lax.div(imag, base))
    dtype = dtypes.dtype_of(x)
    return lax.div(lax.log(as_array(x)), dtype.type(log_base))
