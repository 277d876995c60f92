"""The way from Python and NumPy values to arrays, and conversion with control of weak types."""

from __future__ import annotations

from typing import Any

import numpy as np

from pullback import lax
from pullback.core import dtypes
from pullback.core.array import Array
from pullback.core.avals import ShapedArray, aval_of
from pullback.core.dimensions import is_symbolic
from pullback.ops import conversion
from pullback.ops.dimensions import dim_as_value
from pullback.runtime.array import from_numpy

__all__ = [
    "PYTHON_SCALARS",
    "array_of",
    "as_array",
    "broadcast_to_shape",
    "convert_with_weak_type",
    "unwrap",
]

PYTHON_SCALARS = frozenset((bool, int, float, complex))


def unwrap(x: Any) -> Any:
    """The array behind an object that offers one by `__jax_array__`."""
    if isinstance(x, (Array, np.ndarray)) or type(x) in PYTHON_SCALARS:
        return x
    offered = getattr(x, "__jax_array__", None)
    return x if offered is None else offered()


def array_of(data: Any, dtype: Any = None, weak: bool = False) -> Any:
    """A concrete array with the elements of a NumPy array; copied if that can be written to."""
    data = np.asarray(data)
    dtype = dtypes.canonical(data.dtype) if dtype is None else dtype
    return from_numpy(data, ShapedArray(data.shape, dtype, weak), copy=data.flags.writeable)


def as_array(x: Any) -> Any:
    """An operand as an array: scalars of Python keep their weak type, objects may offer one."""
    if isinstance(x, Array):
        return x
    x = unwrap(x)
    if isinstance(x, Array):
        return x
    if is_symbolic(x):
        return dim_as_value.bind(dim=x)
    aval = aval_of(x)
    return array_of(np.asarray(x), aval.dtype, aval.weak_type)


def broadcast_to_shape(x: Any, shape: tuple[int, ...]) -> Any:
    """`x` broadcast by NumPy's rules to a shape of the same or a higher rank."""
    have = aval_of(x).shape
    if have == shape:
        return x
    return lax.broadcast_in_dim(x, shape, tuple(range(len(shape) - len(have), len(shape))))


def convert_with_weak_type(x: Any, dtype: Any, weak: bool) -> Any:
    """`x` as an array of `dtype`, weak or not."""
    if isinstance(x, Array) and x.aval.dtype is dtype and x.aval.weak_type == weak:
        return x
    dtype = dtypes.canonical(dtype)
    aval = aval_of(x)
    if aval.dtype == dtype and aval.weak_type == weak:
        return as_array(x)
    return conversion.convert_element_type(
        as_array(x), new_dtype=dtype, weak_type=weak, sharding=None
    )
