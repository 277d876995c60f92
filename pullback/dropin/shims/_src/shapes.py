"""Lengths and shapes for `jax._src.core`: arithmetic that takes symbolic lengths too."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from pullback.core.dimensions import is_symbolic
from pullback.core.trace import Tracer
from pullback.errors import InconclusiveDimensionOperation
from pullback.numpy.promotion import static_shape

__all__ = [
    "cancel_divide_tracers",
    "canonicalize_dim",
    "canonicalize_shape",
    "definitely_equal",
    "definitely_equal_shape",
    "dilate_dim",
    "dimension_as_value",
    "divide_shape_sizes",
    "is_constant_dim",
    "is_constant_shape",
    "is_dim",
    "is_empty_shape",
    "is_symbolic_dim",
    "stride_dim",
]

is_symbolic_dim = is_symbolic


def canonicalize_shape(shape: Any, context: str = "") -> tuple[Any, ...]:
    """A shape as a tuple of lengths; TypeError if it is none.

    >>> canonicalize_shape((2, np.int64(3)))
    (2, 3)
    """
    return static_shape(shape, context) if context else static_shape(shape)


def canonicalize_dim(d: Any, context: str = "") -> Any:
    """A length; TypeError if it is none."""
    return canonicalize_shape((d,))[0]


def is_constant_dim(d: Any) -> bool:
    """Whether a length is a number."""
    return isinstance(d, (int, np.integer))


def is_dim(v: Any) -> bool:
    """Whether a value can be a length."""
    return is_symbolic(v) or is_constant_dim(v)


def is_constant_shape(s: Sequence[Any]) -> bool:
    """Whether all lengths are numbers."""
    return all(map(is_constant_dim, s))


def is_empty_shape(s: Sequence[Any]) -> bool:
    """Whether a length is zero."""
    return any(definitely_equal(d, 0) for d in s)


def definitely_equal(x: Any, y: Any) -> bool:
    """Whether two lengths are known to be equal."""
    if x is y:
        return True
    if isinstance(x, Tracer) or isinstance(y, Tracer):
        return False
    try:
        return bool(x == y)
    except InconclusiveDimensionOperation:
        return False


def definitely_equal_shape(s1: Sequence[Any], s2: Sequence[Any]) -> bool:
    """Whether two shapes are known to be equal."""
    return len(s1) == len(s2) and all(map(definitely_equal, s1, s2))


def divide_shape_sizes(s1: Sequence[Any], s2: Sequence[Any]) -> Any:
    """The number that the size of one shape is of the other's.

    >>> divide_shape_sizes((4,), (2,))
    2
    """
    size, by = math.prod(s1), math.prod(s2)
    if definitely_equal(by, 0) and definitely_equal(size, 0):
        return 1
    if definitely_equal(by, 0) or not definitely_equal(size % by, 0):
        rest = "" if definitely_equal(by, 0) else f" The remainder {size % by} should be 0."
        raise InconclusiveDimensionOperation(
            f"Cannot divide evenly the sizes of shapes {tuple(s1)} and {tuple(s2)}.{rest}"
        )
    return size // by


def cancel_divide_tracers(num: Sequence[Any], denom: Sequence[Any]) -> Any:
    """The quotient of the sizes if all of `denom` is traced lengths of `num`; else None."""
    left, by = list(num), list(denom)
    for d in denom:
        if isinstance(d, Tracer) and any(d is n for n in left):
            left = [n for n in left if n is not d]
            by = [n for n in by if n is not d]
    return None if by or len(by) == len(denom) else divide_shape_sizes(left, by)


def dilate_dim(d: Any, dilation: Any) -> Any:
    """The length with `dilation - 1` places after each element but the last.

    >>> dilate_dim(3, 2)
    5
    """
    if definitely_equal(dilation, 1):
        return d
    return 0 if definitely_equal(d, 0) else 1 + dilation * (d - 1)


def stride_dim(d: Any, window_size: Any, window_stride: Any) -> Any:
    """How many windows fit.

    >>> stride_dim(10, 3, 2)
    4
    """
    return max(0, (d - window_size) // window_stride + 1)


def dimension_as_value(d: Any) -> Any:
    """A length as a value to compute with."""
    return d.dimension_as_value() if is_symbolic(d) else d
