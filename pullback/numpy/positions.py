"""Positions of elements: of those that are not zero, and in flattened arrays."""

from __future__ import annotations

import builtins
import math
import operator
from typing import Any

import numpy as np

from pullback import lax
from pullback.core import dtypes
from pullback.core.trace import concrete_or_error
from pullback.numpy.arrays import array_of, broadcast_to_shape, convert_with_weak_type
from pullback.numpy.creation import asarray
from pullback.numpy.operands import lax_mod
from pullback.numpy.predicates import clip, to_bool
from pullback.numpy.promotion import (
    convert,
    ensure_arraylike,
    static_shape,
)
from pullback.numpy.shaping import ravel

__all__ = [
    "argwhere",
    "flatnonzero",
    "nonzero",
    "ravel_multi_index",
    "unravel_index",
]


def nonzero(a: Any, *, size: int | None = None, fill_value: Any = None) -> tuple[Any, ...]:
    """The positions of elements that are not zero: one array of indices an axis.

    Their number depends on the values; a static `size` cuts or fills it (with `fill_value`, or 0).

    >>> import pullback.numpy as jnp
    >>> jnp.nonzero(jnp.array([0, 3, 4]), size=3)
    (Array([1, 2, 0], dtype=int32),)
    """
    a = ensure_arraylike("nonzero", a)
    if a.ndim == 0:
        raise ValueError(
            "Calling nonzero on 0d arrays is not allowed. Use jnp.atleast_1d(scalar).nonzero() "
            "instead."
        )
    dtype = dtypes.default_int()
    if size is None:
        data = concrete_or_error(
            np.asarray,
            a,
            "The size of the result of jnp.nonzero (or where, argwhere, flatnonzero) depends on "
            "the values: pass a static size.",
        )
        return tuple(array_of(i, dtype) for i in np.nonzero(data))
    size = operator.index(concrete_or_error(None, size, "size of jnp.nonzero must be static."))
    return _nonzero_sized(to_bool(a), size, fill_value, dtype)


def _nonzero_sized(mask: Any, size: int, fill_value: Any, dtype: Any) -> tuple[Any, ...]:
    fills = fill_value if isinstance(fill_value, tuple) else (fill_value,) * mask.ndim
    if len(fills) != mask.ndim:
        raise ValueError(f"fill_value has {len(fills)} entries for an array of rank {mask.ndim}")
    if mask.size == 0 or size == 0:
        return tuple(lax.full((size,), 0 if f is None else f, dtype) for f in fills)
    flat = lax.reshape(mask, (mask.size,))
    marks = lax.convert_element_type(flat, dtype)
    counted = lax.cumsum(marks)
    total = lax.index_in_dim(counted, mask.size - 1, keepdims=False)
    # Element k of the result is the last place before which k are counted: no branches on the mask.
    slots = lax.min(lax.sub(counted, marks), lax.full_like(counted, size))
    found = lax.full((size + 1,), 0, dtype)
    found = found.at[slots].max(lax.iota(dtype, mask.size), mode="promise_in_bounds")[:size]
    inside = lax.lt(lax.iota(dtype, size), lax.broadcast(total, (size,)))
    result = []
    for k, fill in enumerate(fills):
        stride = math.prod(mask.shape[k + 1 :])
        index = lax.div(found, lax.full_like(found, stride))
        index = lax.rem(index, lax.full_like(index, mask.shape[k]))
        value = convert_with_weak_type(asarray(0 if fill is None else fill), dtype, False)
        result.append(lax.select(inside, index, broadcast_to_shape(value, (size,))))
    return tuple(result)


def flatnonzero(a: Any, *, size: int | None = None, fill_value: Any = None) -> Any:
    """The positions in the flattened array of elements that are not zero.

    >>> import pullback.numpy as jnp
    >>> jnp.flatnonzero(jnp.array([[0, 3], [4, 0]]))
    Array([1, 2], dtype=int32)
    """
    return nonzero(ravel(a), size=size, fill_value=fill_value)[0]


def argwhere(a: Any, *, size: int | None = None, fill_value: Any = None) -> Any:
    """The positions of elements that are not zero, as the rows of a matrix.

    >>> import pullback.numpy as jnp
    >>> jnp.argwhere(jnp.array([[0, 3], [4, 0]]))
    Array([[0, 1],
           [1, 0]], dtype=int32)
    """
    a = ensure_arraylike("argwhere", a)
    flat = a if a.ndim else lax.reshape(a, (1,))
    found = nonzero(flat, size=size, fill_value=fill_value)
    if a.ndim == 0:
        return lax.full((found[0].shape[0], 0), 0, found[0].dtype)
    return lax.concatenate([lax.expand_dims(i, (1,)) for i in found], 1)


# --------------------------------------------------------------------------- flat indices


def unravel_index(indices: Any, shape: Any) -> tuple[Any, ...]:
    """The index of each axis for positions in the flattened array of a shape; clamped to it.

    >>> import pullback.numpy as jnp
    >>> jnp.unravel_index(jnp.array([5]), (2, 3))
    (Array([1], dtype=int32), Array([2], dtype=int32))
    """
    indices = ensure_arraylike("unravel_index", indices)
    lengths = static_shape(shape)
    total = math.prod(lengths)
    indices = lax.select(
        lax.lt(indices, lax.full_like(indices, 0)),
        lax.add(indices, lax.full_like(indices, total)),
        indices,
    )
    indices = clip(indices, 0, builtins.max(total - 1, 0))
    result = []
    for n in builtins.reversed(lengths):
        size = lax.full_like(indices, builtins.max(n, 1))
        result.append(lax.rem(indices, size))
        indices = lax.div(indices, size)
    return tuple(builtins.reversed(result))


def ravel_multi_index(
    multi_index: Any, dims: Any, mode: str = "raise", order: str = "C", *, dtype: Any = None
) -> Any:
    """Positions in the flattened array of a shape for indices of each axis.

    Mode "raise" needs concrete indices; "clip" and "wrap" bring them into range.

    >>> import pullback.numpy as jnp
    >>> jnp.ravel_multi_index((jnp.array([1]), jnp.array([2])), (2, 3))
    Array([5], dtype=int32)
    """
    lengths = static_shape(dims)
    if len(multi_index) != len(lengths):
        raise ValueError(f"len(multi_index)={len(multi_index)} != len(dims)={len(lengths)}")
    arrays = [ensure_arraylike("ravel_multi_index", i) for i in multi_index]
    if builtins.any(dtypes.kind_of(i.dtype) not in "iu" for i in arrays):
        wrong = next(i.dtype for i in arrays if dtypes.kind_of(i.dtype) not in "iu")
        raise ValueError(f"{wrong=!r} is not an integer type.".replace("wrong", "dtype"))
    arrays = [_in_range(i, n, mode) for i, n in zip(arrays, lengths, strict=True)]
    if order not in ("C", "F"):
        raise ValueError(f"invalid order={order!r}. Expected 'C' or 'F'")
    steps = [
        math.prod(lengths[k + 1 :] if order == "C" else lengths[:k]) for k in range(len(lengths))
    ]
    result: Any = lax.full((), 0, dtypes.default_int())
    for i, step in zip(arrays, steps, strict=True):
        result = result + convert(i, dtypes.default_int()) * step
    return (
        result if dtype is None else convert_with_weak_type(result, dtypes.canonical(dtype), False)
    )


def _in_range(i: Any, n: int, mode: str) -> Any:
    if mode == "raise":
        data = concrete_or_error(
            np.asarray, i, "ravel_multi_index(mode='raise') needs concrete values."
        )
        if data.size and (data.min() < 0 or data.max() >= n):
            raise ValueError("invalid entry in coordinates array")
        return i
    if mode == "clip":
        return clip(i, 0, n - 1)
    if mode == "wrap":
        return lax_mod(i, n)
    raise ValueError(f"invalid mode={mode!r}. Expected 'raise', 'wrap', 'clip', or 'ignore'.")
