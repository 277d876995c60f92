"""Operands of `jax.numpy` functions: checked, converted to common dtypes, broadcast.

Every function of this package begins here; what leaves is ready for a primitive: arrays, tracers
or NumPy scalars of one dtype, with Python scalars left alone where the result stays weakly typed.
"""

from __future__ import annotations

import operator
import warnings
from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
from numpy.exceptions import AxisError

from pullback import config
from pullback.core import dtypes
from pullback.core.array import Array
from pullback.core.avals import ShapedArray
from pullback.core.dimensions import DimExpr
from pullback.core.source import at_user_line
from pullback.core.trace import EVAL, concrete_or_error, current_trace
from pullback.numpy.arrays import (
    PYTHON_SCALARS,
    as_array,
    broadcast_to_shape,
    convert_with_weak_type,
    unwrap,
)
from pullback.runtime.array import from_numpy

__all__ = [
    "broadcast_shapes",
    "canonical_axes",
    "canonical_axis",
    "check_arraylike",
    "check_no_out",
    "convert",
    "ensure_arraylike",
    "is_arraylike",
    "literal_operand",
    "promote_args",
    "promote_args_inexact",
    "promote_args_numeric",
    "promote_dtypes",
    "promote_dtypes_complex",
    "promote_dtypes_inexact",
    "promote_dtypes_numeric",
    "promote_shapes",
    "shape_of",
    "static_shape",
    "unwrap",
]

_ARRAYLIKE = (Array, np.ndarray, bool, int, float, complex, np.generic, DimExpr)
_SCALAR_TYPES = (bool, int, float, complex, np.generic)


def is_arraylike(x: Any) -> bool:
    """Whether functions of this package take `x` as an operand: arrays and scalars, not lists."""
    return isinstance(x, _ARRAYLIKE) or getattr(x, "__jax_array__", None) is not None


def check_arraylike(name: str, *args: Any, emit_warning: bool = False) -> None:
    """Raise TypeError that names the function and the position of an operand it cannot take."""
    for position, x in enumerate(args):
        if not isinstance(x, _ARRAYLIKE) and not is_arraylike(x):
            raise TypeError(
                f"{name} requires ndarray or scalar arguments, got {type(x)} at position "
                f"{position}. Convert it with jnp.asarray first."
            )


def check_no_out(name: str, out: Any) -> None:
    """Arrays are immutable, so that `out=` is refused."""
    if out is not None:
        raise NotImplementedError(
            f"The 'out' argument to jnp.{name} is not supported: arrays are immutable."
        )


def shape_of(x: Any) -> tuple[int, ...]:
    """The shape of an operand; scalars have shape `()`."""
    return () if isinstance(x, _SCALAR_TYPES) else unwrap(x).shape


_NUMBERS: Final = {int: "iufc", float: "fc", complex: "c"}
"""The kinds of dtypes that a Python scalar takes without changing them."""

_SMALL_INTEGER: Final = 127


_literals: Final[dict[Any, Any]] = {}
"""Scalars of eager operations by type, value and dtype; a bounded cache."""
_LITERALS_LIMIT: Final = 1024


def _literal(x: Any, dtype: Any) -> Any:
    """A Python scalar in a dtype, or None where the general route has to decide."""
    kinds = _NUMBERS.get(type(x))
    if kinds is None:
        return None
    kind = dtypes.kind_of(dtype)
    if kind not in kinds or (kind in "iu" and not 0 <= x <= _SMALL_INTEGER):
        return None
    return dtype.type(x)


def literal_operand(x: Any, dtype: Any, trace: Any) -> Any:
    """`_literal` as an array where the operation runs now, from the cache if it was used before."""
    if trace is not EVAL:
        return _literal(x, dtype)
    key = (type(x), x, dtype)
    try:
        found = _literals.get(key)
    except TypeError:  # a list, say
        return None
    if found is None:
        found = _literal(x, dtype)
        if found is not None and x != 0:  # 0.0 and -0.0 are the same key
            found = from_numpy(found, ShapedArray((), dtype))
            if len(_literals) >= _LITERALS_LIMIT:
                _literals.clear()
            _literals[key] = found
    return found


def convert(x: Any, dtype: Any, weak: bool = False) -> Any:
    """`x` as an operand of `dtype`: an array if it was one, a typed scalar if it was a scalar.

    A Python scalar stays one where the result is weak, so that the primitive sees its weakness.
    """
    if type(x) in PYTHON_SCALARS:
        if weak and dtypes.python_scalar_dtype(type(x)) == dtype and type(x) is not bool:
            return x
        found = None if weak else literal_operand(x, dtype, current_trace())
        return _typed_scalar(x, dtype, weak) if found is None else found
    aval = getattr(x, "aval", None)
    if aval is not None and aval.dtype == dtype and aval.weak_type == weak:
        return x
    if aval is None and not weak and isinstance(x, np.ndarray) and x.dtype == dtype:
        return x
    if aval is None and isinstance(x, np.generic) and not weak:
        return np.asarray(x).astype(dtype)[()] if x.dtype != dtype else x
    return convert_with_weak_type(x, dtype, weak)


def _typed_scalar(x: Any, dtype: Any, weak: bool) -> Any:
    kind = dtypes.kind_of(dtype)
    if weak:
        return _WEAK_PYTHON[kind](x)
    if dtypes.is_extended(dtype):
        raise TypeError(f"a Python scalar cannot be converted to {dtype}")
    if kind in "iu" and type(x) is int:
        return python_int(x).astype(dtype)[()]
    return dtype.type(x)


_WEAK_PYTHON: dict[str, Any] = {"i": int, "u": int, "f": float, "c": complex}


def python_int(x: int) -> Any:
    """A Python int as an array of the default width; OverflowError where it does not fit."""
    dtype = dtypes.default_int()
    try:
        return np.array(x, dtype)
    except OverflowError:
        raise OverflowError(f"Python int {x} too large to convert to {dtype.name}") from None


def ensure_arraylike(name: str, *args: Any) -> Any:
    """The operands as arrays (one, or a tuple of several), after `check_arraylike`."""
    if len(args) == 1 and isinstance(args[0], Array):
        return args[0]
    check_arraylike(name, *args)
    arrays = tuple(as_array(x) for x in args)
    return arrays[0] if len(arrays) == 1 else arrays


def promote_dtypes(*args: Any) -> list[Any]:
    """Convert all operands to their common dtype; weak if all are weak.

    >>> [x.dtype for x in promote_dtypes(np.ones(2, np.float16), 1)]
    [dtype('float16'), dtype('float16')]
    """
    if len(args) < 2:
        return [as_array(x) if type(x) in PYTHON_SCALARS else x for x in args]
    dtype, weak = dtypes.result_type_and_weak(*args)
    return [convert(x, dtype, weak) for x in args]


def promote_dtypes_inexact(*args: Any) -> list[Any]:
    """Convert all operands to their common floating or complex dtype: integers to float32."""
    dtype, weak = dtypes.result_type_and_weak(*args)
    return [convert(x, dtypes.to_inexact_dtype(dtype), weak) for x in args]


def promote_dtypes_numeric(*args: Any) -> list[Any]:
    """Convert all operands to their common dtype, bools to integers."""
    dtype, weak = dtypes.result_type_and_weak(*args)
    return [convert(x, dtypes.int32 if dtype == dtypes.bool_ else dtype, weak) for x in args]


def promote_dtypes_complex(*args: Any) -> list[Any]:
    """Convert all operands to their common complex dtype."""
    dtype, weak = dtypes.result_type_and_weak(*args)
    return [convert(x, dtypes.to_complex_dtype(dtype), weak) for x in args]


def broadcast_shapes(*shapes: Any) -> tuple[int, ...]:
    """The shape to which arrays of the given shapes broadcast.

    >>> broadcast_shapes((2, 1), (3,), ())
    (2, 3)

    Raises ValueError if they do not fit.
    """
    if len(shapes) == 1:
        return static_shape(shapes[0])
    tuples = [s if type(s) is tuple else static_shape(s) for s in shapes]
    rank = max((len(s) for s in tuples), default=0)
    result = [1] * rank
    for s in tuples:
        for axis, length in enumerate(s, rank - len(s)):
            if result[axis] == 1:
                result[axis] = length
            elif length not in (1, result[axis]):
                raise ValueError(
                    f"Incompatible shapes for broadcasting: shapes={[tuple(s) for s in tuples]}"
                )
    return tuple(result)


def promote_shapes(name: str, *args: Any) -> list[Any]:
    """Broadcast operands of different shapes to a common one.

    Scalars stay scalars: element-wise primitives take them next to arrays.
    """
    shapes = [shape_of(x) for x in args]
    first = max(shapes, key=len)
    if all([s == first or not s for s in shapes]):
        return list(args)
    _check_rank_promotion(name, shapes)
    try:
        shape = broadcast_shapes(*shapes)
    except ValueError:
        texts = ", ".join(map(str, shapes))
        raise TypeError(
            at_user_line(f"{name} got incompatible shapes for broadcasting: {texts}.")
        ) from None
    return [
        x if s in (shape, ()) else broadcast_to_shape(x, shape)
        for x, s in zip(args, shapes, strict=True)
    ]


def _check_rank_promotion(name: str, shapes: Sequence[tuple[int, ...]]) -> None:
    mode = config.numpy_rank_promotion()
    if mode == "allow":
        return
    ranks = {len(s) for s in shapes if s}
    if len(ranks) < 2:
        return
    text = (
        f"Operands could not be broadcast together for {name} on shapes "
        f"{' '.join(map(str, shapes))} and with the config option jax_numpy_rank_promotion={mode!r}"
    )
    if mode == "raise":
        raise ValueError(text + ": reshape the operands to equal rank.")
    warnings.warn(text, stacklevel=dtypes.user_stacklevel())


def _prepared(name: str, args: Sequence[Any]) -> Sequence[Any]:
    check_arraylike(name, *args)
    return [unwrap(x) for x in args]


def _refuse_keys(name: str, args: Any) -> None:
    """Raise TypeError for keys among other dtypes, which have no common one."""
    found = [dtypes.dtype_of(x) for x in args]
    if any(map(dtypes.is_extended, found)):
        names = ", ".join(d.name for d in found)
        raise TypeError(f"{name} does not accept dtypes {names}.") from None


def promote_args(name: str, *args: Any) -> list[Any]:
    """Check operands, convert them to their common dtype and broadcast them."""
    if len(args) == 2 and isinstance(args[0], Array) and isinstance(args[1], Array):
        first, second = args
        if first.aval is second.aval:
            return [first, second]
    prepared = _prepared(name, args)
    try:
        converted = promote_dtypes(*prepared)
    except ValueError:
        _refuse_keys(name, prepared)
        raise
    return promote_shapes(name, *converted)


def _are_alike(args: Sequence[Any], kinds: str) -> bool:
    """Whether the operands are arrays of one type that needs no conversion."""
    first = args[0]
    if not isinstance(first, Array) or first.aval.kind not in kinds:
        return False
    return len(args) == 1 or (
        len(args) == 2 and isinstance(args[1], Array) and args[1].aval is first.aval
    )


def promote_args_inexact(name: str, *args: Any) -> list[Any]:
    """`promote_args` to a floating or complex dtype."""
    if _are_alike(args, "fc"):
        return list(args)
    return promote_shapes(name, *promote_dtypes_inexact(*_prepared(name, args)))


def promote_args_numeric(name: str, *args: Any) -> list[Any]:
    """`promote_args` to a dtype of numbers, bools becoming integers."""
    if _are_alike(args, "iufc"):
        return list(args)
    return promote_shapes(name, *promote_dtypes_numeric(*_prepared(name, args)))


def canonical_axis(axis: Any, ndim: int, name: str = "axis") -> int:
    """A non-negative axis.

    >>> canonical_axis(-1, 3)
    2

    Raises NumPy's AxisError (a ValueError and an IndexError) if it is out of bounds, TypeError if
    it is not an integer.
    """
    axis = operator.index(axis)
    if not -ndim <= axis < ndim:
        raise AxisError(f"{name} {axis} is out of bounds for array of dimension {ndim}")
    return axis + ndim if axis < 0 else axis  # type: ignore[no-any-return]


def canonical_axes(axis: Any, ndim: int) -> tuple[int, ...]:
    """Non-negative axes from None (all), one, or several.

    >>> canonical_axes(None, 2), canonical_axes((-1, 0), 3)
    ((0, 1), (2, 0))

    Raises ValueError on duplicates.
    """
    if axis is None:
        return tuple(range(ndim))
    given = axes_given(axis)
    axes = tuple(
        canonical_axis(concrete_or_error(None, a, "Axes must be static."), ndim) for a in given
    )
    if len(set(axes)) != len(axes):
        raise ValueError(f"duplicate value in 'axis': {given}")
    return axes


def axes_given(axis: Any) -> tuple[Any, ...]:
    """One axis, or any sequence of axes, as a tuple.

    >>> axes_given(1), axes_given(range(2))
    ((1,), (0, 1))
    """
    if isinstance(axis, (tuple, list)):
        return tuple(axis)
    if isinstance(axis, np.ndarray):
        return tuple(axis.ravel())
    several = isinstance(axis, Iterable) and not isinstance(axis, Array)
    return tuple(axis) if several else (axis,)


_SHAPES: Final = "Shapes must be 1D sequences of concrete values of integer type."


def static_shape(shape: Any, context: str = _SHAPES) -> tuple[int, ...]:
    """A shape as a tuple of Python ints, from an int or a sequence of integers.

    >>> static_shape(3), static_shape([2, np.int64(4)])
    ((3,), (2, 4))

    Raises TypeError on what is not an integer.
    """
    if isinstance(shape, np.ndarray):
        shape = shape.tolist() if shape.ndim else shape.item()
    if isinstance(shape, (int, np.integer, DimExpr)) or (
        isinstance(shape, Array) and shape.ndim == 0
    ):
        return (_static_length(shape, context),)
    try:
        return tuple(_static_length(d, context) for d in shape)
    except TypeError as error:
        told = "" if context is _SHAPES else f" {context}"
        raise TypeError(
            f"Shapes must be 1D sequences of concrete values of integer type, got {shape!r}.{told}"
        ) from error


def _static_length(length: Any, context: str) -> Any:
    if type(length) is int or type(length) is DimExpr:
        return length
    return int(operator.index(concrete_or_error(None, length, context)))
