"""Element-wise functions that are one primitive after promotion, from tables.

What needs more than one primitive is in `arithmetic`; the ufunc objects are in `ufuncs`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from pullback import lax
from pullback.core import dtypes
from pullback.core.array import Array
from pullback.core.tracebacks import shorten
from pullback.numpy.arrays import as_array
from pullback.numpy.promotion import (
    check_arraylike,
    promote_args,
    promote_args_inexact,
    unwrap,
)
from pullback.ops import elementwise as ops
from pullback.runtime.composites import compiled_when_eager
from pullback.runtime.replays import replayed_when_eager

__all__ = ["BINARY_NOTE", "FUNCTIONS", "IMPORT", "KEPT_NOTE", "publish"]

Function = Callable[..., Any]
Row = tuple[str, Function, str, str]

IMPORT: Final = ">>> import pullback.numpy as jnp"

FUNCTIONS: Final[dict[str, Function]] = {}
"""Public functions of this module by name."""

INEXACT_NOTE: Final = (
    "Takes arrays and scalars of any shape; integers and bools are computed in float32, other\n"
    "dtypes keep theirs. The result has the shape of `x`. Raises TypeError for lists."
)
KEPT_NOTE: Final = (
    "Takes arrays and scalars of any shape; the result has the shape and the dtype of `x`.\n"
    "Raises TypeError for lists and for dtypes that the operation does not have."
)
BINARY_NOTE: Final = (
    "Operands are converted to their common dtype and broadcast against each other. Raises\n"
    "TypeError for lists, for dtypes that the operation does not have, and for shapes that do not\n"
    "broadcast."
)


def publish(function: Function, names: str, summary: str, note: str, example: str) -> None:
    """Name and document a function of a family, and put it among `FUNCTIONS`."""
    name, *aliases = names.split()
    function.__name__ = function.__qualname__ = name
    alias = f"  Also named {', '.join(f'`{a}`' for a in aliases)}." if aliases else ""
    call, result = example.split(" -> ")
    function.__doc__ = f"{summary}{alias}\n\n{note}\n\n{IMPORT}\n>>> jnp.{call}\n{result}\n"
    for each in (name, *aliases):
        FUNCTIONS[each] = function


def _inexact(operation: Function) -> Function:
    @replayed_when_eager
    def converted(x: Any) -> Any:
        return operation(promote_args_inexact(function.__name__, x)[0])

    def function(x: Any, /) -> Any:
        try:
            if isinstance(x, Array) and x.aval.kind in "fc":
                return operation(x)
            return converted(x)
        except Exception as error:
            shorten(error)
            raise

    return function


def _kept(operation: Function) -> Function:
    def function(x: Any, /) -> Any:
        try:
            if not isinstance(x, Array):
                check_arraylike(function.__name__, x)
                x = unwrap(x)
            return operation(x)
        except Exception as error:
            shorten(error)
            raise

    return function


def _whole(operation: Function) -> Function:
    """Rounding: integers and bools are whole already."""

    def rounded(x: Any) -> Any:
        return as_array(x) if dtypes.kind_of(dtypes.dtype_of(x)) in "biu" else operation(x)

    return _kept(rounded)


@compiled_when_eager()
def _trunc(x: Any) -> Any:
    if not isinstance(x, Array):
        check_arraylike("trunc", x)
        x = unwrap(x)
    if dtypes.kind_of(dtypes.dtype_of(x)) in "biu":
        return as_array(x)
    return lax.select(lax.lt(x, lax.full_like(x, 0)), lax.ceil(x), lax.floor(x))


_INEXACT: Final[tuple[Row, ...]] = (
    (
        "sin",
        lax.sin,
        "The sine of angles in radians.",
        "sin(0.0) -> Array(0., dtype=float32, weak_type=True)",
    ),
    (
        "cos",
        lax.cos,
        "The cosine of angles in radians.",
        "cos(0) -> Array(1., dtype=float32, weak_type=True)",
    ),
    (
        "tan",
        lax.tan,
        "The tangent of angles in radians.",
        "tan(jnp.float32(0)) -> Array(0., dtype=float32)",
    ),
    (
        "arcsin asin",
        lax.asin,
        "The angle whose sine is `x`, in [-pi/2, pi/2]; nan for reals outside [-1, 1].",
        "arcsin(jnp.float32(0)) -> Array(0., dtype=float32)",
    ),
    (
        "arccos acos",
        lax.acos,
        "The angle whose cosine is `x`, in [0, pi]; nan for reals outside [-1, 1].",
        "arccos(jnp.float32(1)) -> Array(0., dtype=float32)",
    ),
    (
        "arctan atan",
        lax.atan,
        "The angle whose tangent is `x`, in [-pi/2, pi/2].",
        "arctan(jnp.float32(0)) -> Array(0., dtype=float32)",
    ),
    (
        "sinh",
        lax.sinh,
        "The hyperbolic sine.",
        "sinh(jnp.float32(0)) -> Array(0., dtype=float32)",
    ),
    (
        "cosh",
        lax.cosh,
        "The hyperbolic cosine.",
        "cosh(jnp.float32(0)) -> Array(1., dtype=float32)",
    ),
    (
        "tanh",
        lax.tanh,
        "The hyperbolic tangent.",
        "tanh(jnp.float32(0)) -> Array(0., dtype=float32)",
    ),
    (
        "arcsinh asinh",
        lax.asinh,
        "The inverse hyperbolic sine.",
        "arcsinh(jnp.float32(0)) -> Array(0., dtype=float32)",
    ),
    (
        "arccosh acosh",
        lax.acosh,
        "The inverse hyperbolic cosine; nan for reals below 1.",
        "arccosh(jnp.float32(1)) -> Array(0., dtype=float32)",
    ),
    (
        "arctanh atanh",
        lax.atanh,
        "The inverse hyperbolic tangent; nan for reals outside [-1, 1].",
        "arctanh(jnp.float32(0)) -> Array(0., dtype=float32)",
    ),
    (
        "exp",
        lax.exp,
        "e raised to `x`.",
        "exp(jnp.float32(0)) -> Array(1., dtype=float32)",
    ),
    (
        "exp2",
        lax.exp2,
        "2 raised to `x`.",
        "exp2(jnp.array([3, -1])) -> Array([8. , 0.5], dtype=float32)",
    ),
    (
        "expm1",
        lax.expm1,
        "exp(x) - 1 without cancellation for small `x`.",
        "expm1(jnp.float32(0)) -> Array(0., dtype=float32)",
    ),
    (
        "log",
        lax.log,
        "The natural logarithm; nan for negative reals.",
        "log(jnp.float32(1)) -> Array(0., dtype=float32)",
    ),
    (
        "log1p",
        lax.log1p,
        "log(1 + x) without cancellation for small `x`.",
        "log1p(jnp.float32(0)) -> Array(0., dtype=float32)",
    ),
    (
        "sqrt",
        lax.sqrt,
        "The square root; nan for negative reals.",
        "sqrt(jnp.array([4., 9.])) -> Array([2., 3.], dtype=float32)",
    ),
    (
        "cbrt",
        lax.cbrt,
        "The real cube root.",
        "cbrt(jnp.float32(0)) -> Array(0., dtype=float32)",
    ),
)

_KEPT: Final[tuple[Row, ...]] = (
    (
        "absolute abs",
        lambda x: as_array(x) if dtypes.kind_of(dtypes.dtype_of(x)) in "bu" else lax.abs(x),
        "The absolute value; of complex numbers the modulus, as a real array.",
        "absolute(jnp.array([-1, 2])) -> Array([1, 2], dtype=int32)",
    ),
    (
        "bitwise_not invert bitwise_invert",
        lax.bitwise_not,
        "All bits flipped; of bools the logical negation.",
        "bitwise_not(jnp.array([0, 5])) -> Array([-1, -6], dtype=int32)",
    ),
    (
        "sign",
        lax.sign,
        "-1, 0 or 1 by the sign; of complex numbers `x / abs(x)`.",
        "sign(jnp.array([-2., 0., 3.])) -> Array([-1.,  0.,  1.], dtype=float32)",
    ),
)

_WHOLE: Final[tuple[Row, ...]] = (
    (
        "floor",
        lax.floor,
        "The largest whole number that is not greater.",
        "floor(jnp.array([1.5, -1.5])) -> Array([ 1., -2.], dtype=float32)",
    ),
    (
        "ceil",
        lax.ceil,
        "The smallest whole number that is not less.",
        "ceil(jnp.array([1.5, -1.5])) -> Array([ 2., -1.], dtype=float32)",
    ),
)


def _binary_inexact(operation: Function) -> Function:
    def function(x1: Any, x2: Any, /) -> Any:
        return operation(*promote_args_inexact(function.__name__, x1, x2))

    return function


def _ordered(real: Function) -> Function:
    """A comparison, lexicographic in (real, imaginary) for complex numbers."""

    def compare(x1: Any, x2: Any) -> Any:
        if dtypes.kind_of(dtypes.dtype_of(x1)) != "c":
            return real(x1, x2)
        r1, r2 = lax.real(x1), lax.real(x2)
        ties = lax.bitwise_and(lax.eq(r1, r2), real(lax.imag(x1), lax.imag(x2)))
        strictly = lax.bitwise_and(lax.ne(r1, r2), real(r1, r2))
        return lax.bitwise_or(strictly, ties)

    return _comparison(compare)


def _comparison(operation: Function) -> Function:
    def function(x: Any, y: Any, /) -> Any:
        return operation(*promote_args(function.__name__, x, y))

    return function


def _equality(operation: Function, of_keys: Function) -> Function:
    def compare(x: Any, y: Any) -> Any:
        keys = dtypes.is_extended(dtypes.dtype_of(x)) and dtypes.dtype_of(x) is dtypes.dtype_of(y)
        return (of_keys if keys else operation)(x, y)

    return _comparison(compare)


def _next_after(x: Any, y: Any, /) -> Any:
    return ops.nextafter.bind(*promote_args_inexact("nextafter", x, y))


_COMPARISONS: Final[tuple[Row, ...]] = (
    (
        "greater",
        _ordered(ops.gt.bind),
        "Whether `x > y`, element by element.",
        "greater(jnp.arange(3), 1) -> Array([False, False,  True], dtype=bool)",
    ),
    (
        "greater_equal",
        _ordered(ops.ge.bind),
        "Whether `x >= y`, element by element.",
        "greater_equal(jnp.arange(3), 1) -> Array([False,  True,  True], dtype=bool)",
    ),
    (
        "less",
        _ordered(ops.lt.bind),
        "Whether `x < y`, element by element.",
        "less(jnp.arange(3), 1) -> Array([ True, False, False], dtype=bool)",
    ),
    (
        "less_equal",
        _ordered(ops.le.bind),
        "Whether `x <= y`, element by element.",
        "less_equal(jnp.arange(3), 1) -> Array([ True,  True, False], dtype=bool)",
    ),
    (
        "equal",
        _equality(ops.eq.bind, lax.eq),
        "Whether `x == y`, element by element.",
        "equal(jnp.arange(3), 1) -> Array([False,  True, False], dtype=bool)",
    ),
    (
        "not_equal",
        _equality(ops.ne.bind, lax.ne),
        "Whether `x != y`, element by element.",
        "not_equal(jnp.arange(3), 1) -> Array([ True, False,  True], dtype=bool)",
    ),
)

_BINARY_INEXACT: Final[tuple[Row, ...]] = (
    (
        "true_divide divide",
        _binary_inexact(ops.div.bind),
        "The quotient; integers are divided in float32.",
        "true_divide(jnp.array([1, 3]), 2) -> Array([0.5, 1.5], dtype=float32)",
    ),
    (
        "nextafter",
        _next_after,
        "The next representable number after `x` towards `y`.",
        "nextafter(jnp.float32(0), jnp.float32(1)) -> Array(1.e-45, dtype=float32)",
    ),
)


def _build() -> None:
    publish(
        _trunc,
        "trunc",
        "The next whole number towards zero.",
        KEPT_NOTE,
        "trunc(jnp.array([1.5, -1.5])) -> Array([ 1., -1.], dtype=float32)",
    )
    for rows, make, note in (
        (_INEXACT, _inexact, INEXACT_NOTE),
        (_KEPT, _kept, KEPT_NOTE),
        (_WHOLE, _whole, KEPT_NOTE),
    ):
        for names, operation, summary, example in rows:
            publish(make(operation), names, summary, note, example)
    for names, function, summary, example in (*_COMPARISONS, *_BINARY_INEXACT):
        publish(function, names, summary, BINARY_NOTE, example)


_build()
