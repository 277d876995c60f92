"""Whole-array comparisons, facts about values, and bits packed into bytes."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from pullback import lax
from pullback.core import dtypes
from pullback.core.array import Array
from pullback.numpy.arrays import as_array, broadcast_to_shape, convert_with_weak_type
from pullback.numpy.creation import asarray
from pullback.numpy.predicates import isinf, isnan, to_bool
from pullback.numpy.promotion import (
    broadcast_shapes,
    canonical_axis,
    ensure_arraylike,
    promote_args,
)
from pullback.numpy.shaping import moveaxis, ravel
from pullback.runtime.composites import compiled_when_eager

__all__ = [
    "allclose",
    "array_equal",
    "array_equiv",
    "isclose",
    "iscomplexobj",
    "isrealobj",
    "isscalar",
    "iterable",
    "packbits",
    "unpackbits",
]

_BOOL = np.dtype(bool)


@compiled_when_eager("equal_nan")
def isclose(a: Any, b: Any, rtol: Any = 1e-05, atol: Any = 1e-08, equal_nan: bool = False) -> Any:
    """Whether |a - b| <= atol + rtol * |b|, element by element; infinities are close if equal.

    >>> import pullback.numpy as jnp
    >>> jnp.isclose(jnp.array([1.0, 2.0]), jnp.array([1.000001, 2.1]))
    Array([ True, False], dtype=bool)
    """
    a, b = (as_array(x) for x in promote_args("isclose", a, b))
    shape = broadcast_shapes(a.shape, b.shape)
    a, b = broadcast_to_shape(a, shape), broadcast_to_shape(b, shape)
    if dtypes.kind_of(a.dtype) == "b" or dtypes.is_extended(a.dtype):
        return lax.eq(a, b)
    if dtypes.kind_of(a.dtype) in "iu":
        work = dtypes.to_inexact_dtype(a.dtype)
        a, b = (convert_with_weak_type(x, work, False) for x in (a, b))
    real = dtypes.to_real_dtype(a.dtype)
    rtol, atol = (
        broadcast_to_shape(convert_with_weak_type(asarray(t), real, False), shape)
        for t in (rtol, atol)
    )
    distance = lax.abs(lax.sub(a, b))
    close = lax.le(distance, lax.add(atol, lax.mul(rtol, lax.abs(b))))
    infinite = lax.bitwise_or(isinf(a), isinf(b))
    close = lax.select(infinite, lax.eq(a, b), close)
    if equal_nan:
        close = lax.bitwise_or(close, lax.bitwise_and(isnan(a), isnan(b)))
    return close


@compiled_when_eager("equal_nan")
def allclose(a: Any, b: Any, rtol: Any = 1e-05, atol: Any = 1e-08, equal_nan: bool = False) -> Any:
    """Whether all elements are close; see `isclose`.

    >>> import pullback.numpy as jnp
    >>> jnp.allclose(jnp.array([1.0, 2.0]), jnp.array([1.000001, 2.0]))
    Array(True, dtype=bool)
    """
    close = isclose(a, b, rtol, atol, equal_nan)
    return lax.reduce_and(close, tuple(range(close.ndim)))


def array_equal(a1: Any, a2: Any, equal_nan: bool = False) -> Any:
    """Whether two arrays have one shape and equal elements.

    >>> import pullback.numpy as jnp
    >>> jnp.array_equal(jnp.arange(2), jnp.array([0., 1.]))
    Array(True, dtype=bool)
    """
    a1, a2 = asarray(a1), asarray(a2)
    if a1.shape != a2.shape:
        return lax.full((), False, _BOOL)
    same = a1 == a2
    if equal_nan:
        same = lax.bitwise_or(same, lax.bitwise_and(isnan(a1), isnan(a2)))
    return lax.reduce_and(same, tuple(range(same.ndim)))


def array_equiv(a1: Any, a2: Any) -> Any:
    """Whether two arrays broadcast to equal ones.

    >>> import pullback.numpy as jnp
    >>> jnp.array_equiv(jnp.arange(2), jnp.array([[0, 1], [0, 1]]))
    Array(True, dtype=bool)
    """
    a1, a2 = asarray(a1), asarray(a2)
    try:
        broadcast_shapes(a1.shape, a2.shape)
    except ValueError:
        return lax.full((), False, _BOOL)
    same = a1 == a2
    return lax.reduce_and(same, tuple(range(same.ndim)))


def iscomplexobj(x: Any) -> bool:
    """Whether the dtype is complex.

    >>> import pullback.numpy as jnp
    >>> jnp.iscomplexobj(jnp.array([1 + 0j]))
    True
    """
    if x is None or isinstance(x, (str, bytes)):
        return False
    dtype = getattr(x, "dtype", None)
    return dtypes.kind_of(dtypes.dtype_of(asarray(x)) if dtype is None else dtype) == "c"


def isrealobj(x: Any) -> bool:
    """Whether the dtype is not complex.

    >>> import pullback.numpy as jnp
    >>> jnp.isrealobj(jnp.array([1.0]))
    True
    """
    return not iscomplexobj(x)


def isscalar(element: Any) -> bool:
    """Whether a value is a number, a string or an array of rank 0.

    >>> import pullback.numpy as jnp
    >>> jnp.isscalar(2.5), jnp.isscalar(jnp.ones(1))
    (True, False)
    """
    if isinstance(element, (Array, np.ndarray)):
        return element.ndim == 0
    offered = getattr(element, "__jax_array__", None)
    if offered is not None:
        return bool(offered().ndim == 0)
    return np.isscalar(element)


def iterable(y: Any) -> bool:
    """Whether a value can be iterated over.

    >>> import pullback.numpy as jnp
    >>> jnp.iterable(jnp.ones(1)), jnp.iterable(3)
    (True, False)
    """
    return np.iterable(y)


# --------------------------------------------------------------------------- bits

_WEIGHTS = 2 ** np.arange(7, -1, -1, dtype=np.uint8)


def _bit_order(bitorder: str) -> Any:
    if bitorder not in ("big", "little"):
        raise ValueError("'order' must be either 'little' or 'big'")
    return _WEIGHTS if bitorder == "big" else _WEIGHTS[::-1]


@compiled_when_eager("axis", "bitorder")
def packbits(a: Any, axis: int | None = None, bitorder: str = "big") -> Any:
    """Eight truth values into each byte, filled with zeros.

    >>> import pullback.numpy as jnp
    >>> jnp.packbits(jnp.array([1, 0, 1]))
    Array([160], dtype=uint8)
    """
    a = ensure_arraylike("packbits", a)
    if dtypes.kind_of(a.dtype) not in "iub":
        raise TypeError("Expected an input array of integer or boolean data type")
    weights = _bit_order(bitorder)
    bits = to_bool(a)
    if axis is None:
        bits, axis = ravel(bits), 0
    axis = canonical_axis(axis, bits.ndim)
    bits = moveaxis(bits, axis, -1)
    missing = -bits.shape[-1] % 8
    config = [(0, 0, 0)] * (bits.ndim - 1) + [(0, missing, 0)]
    bits = lax.pad(bits, np.False_, config)
    bits = lax.reshape(bits, (*bits.shape[:-1], bits.shape[-1] // 8, 8))
    bits = lax.convert_element_type(bits, np.dtype(np.uint8))
    scaled = lax.mul(bits, broadcast_to_shape(asarray(weights), bits.shape))
    return moveaxis(lax.reduce_sum(scaled, (scaled.ndim - 1,)), -1, axis)


@compiled_when_eager("axis", "count", "bitorder")
def unpackbits(
    a: Any, axis: int | None = None, count: int | None = None, bitorder: str = "big"
) -> Any:
    """The eight bits of each byte, as zeros and ones.

    >>> import pullback.numpy as jnp
    >>> jnp.unpackbits(jnp.array([5], dtype=jnp.uint8))
    Array([0, 0, 0, 0, 0, 1, 0, 1], dtype=uint8)
    """
    a = ensure_arraylike("unpackbits", a)
    if a.dtype != np.uint8:
        raise TypeError("Expected an input array of unsigned byte data type")
    weights = _bit_order(bitorder)
    if axis is None:
        a, axis = ravel(a), 0
    axis = canonical_axis(axis, a.ndim)
    a = moveaxis(a, axis, -1)
    shape = (*a.shape, 8)
    wide = lax.broadcast_in_dim(a, shape, tuple(range(a.ndim)))
    bits = lax.bitwise_and(wide, broadcast_to_shape(asarray(weights), shape))
    bits = lax.convert_element_type(lax.ne(bits, lax.full_like(bits, 0)), np.dtype(np.uint8))
    bits = lax.reshape(bits, (*a.shape[:-1], a.shape[-1] * 8))
    if count is not None:
        n = bits.shape[-1]
        stop = operator.index(count)
        stop = n + stop if stop < 0 else stop
        if stop > n:
            config = [(0, 0, 0)] * (bits.ndim - 1) + [(0, stop - n, 0)]
            bits = lax.pad(bits, np.uint8(0), config)
        else:
            bits = lax.slice_in_dim(bits, 0, stop, axis=bits.ndim - 1)
    return moveaxis(bits, -1, axis)
