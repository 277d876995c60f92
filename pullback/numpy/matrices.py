"""Matrices by pattern: unit, triangular and diagonal ones, and the indices of such patterns."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from pullback import lax
from pullback.core import dtypes
from pullback.core.dimensions import is_symbolic
from pullback.core.trace import concrete_or_error
from pullback.numpy.arrays import array_of, as_array
from pullback.numpy.creation import placed, zeros
from pullback.numpy.operands import strong
from pullback.numpy.promotion import canonical_axis, check_no_out, ensure_arraylike, shape_of
from pullback.runtime.composites import compiled_when_eager

__all__ = [
    "diag",
    "diag_indices",
    "diag_indices_from",
    "diagflat",
    "diagonal",
    "eye",
    "fill_diagonal",
    "identity",
    "mask_indices",
    "trace",
    "tri",
    "tril",
    "tril_indices",
    "tril_indices_from",
    "triu",
    "triu_indices",
    "triu_indices_from",
    "vander",
]


def _static(name: str, x: Any, what: str) -> Any:
    if is_symbolic(x):
        return x
    return operator.index(concrete_or_error(None, x, f"It is `{what}` of jnp.{name}."))


def _offset_mask(n: int, m: int, k: Any, compare: Callable[[Any, Any], Any]) -> Any:
    """`compare(row + k, column)` as a boolean matrix."""
    int32 = np.dtype(np.int32)
    rows = lax.broadcasted_iota(int32, (n, m), 0)
    columns = lax.broadcasted_iota(int32, (n, m), 1)
    k = lax.convert_element_type(as_array(k), int32)
    return compare(lax.add(rows, lax.broadcast(k, (n, m))), columns)


def eye(N: Any, M: Any = None, k: Any = 0, dtype: Any = None, *, device: Any = None) -> Any:
    """A matrix with ones on a diagonal (the main one, or `k` above it) and zeros elsewhere.

    >>> import pullback.numpy as jnp
    >>> jnp.eye(2, 3, k=1)
    Array([[0., 1., 0.],
           [0., 0., 1.]], dtype=float32)
    """
    dtype = dtypes.check_user_dtype(dtype, "eye")
    n = _static("eye", N, "N")
    m = n if M is None else _static("eye", M, "M")
    if n < 0 or m < 0:
        raise ValueError(f"negative dimensions are not allowed, got {n} and {m}")
    if shape_of(k) != ():
        raise ValueError(f"jnp.eye: k must be a scalar, got shape {shape_of(k)}")
    return placed(lax.convert_element_type(_offset_mask(n, m, k, lax.eq), dtype), device)


def identity(n: Any, dtype: Any = None) -> Any:
    """The unit matrix of `n` rows.

    >>> import pullback.numpy as jnp
    >>> jnp.identity(2)
    Array([[1., 0.],
           [0., 1.]], dtype=float32)
    """
    return eye(n, dtype=dtype)


def tri(N: int, M: int | None = None, k: int = 0, dtype: Any = None) -> Any:
    """A matrix with ones at and below a diagonal and zeros above.

    >>> import pullback.numpy as jnp
    >>> jnp.tri(2, 3)
    Array([[1., 0., 0.],
           [1., 1., 0.]], dtype=float32)
    """
    dtype = dtypes.check_user_dtype(dtypes.float32 if dtype is None else dtype, "tri")
    n, m = _static("tri", N, "N"), _static("tri", N if M is None else M, "M")
    return lax.convert_element_type(_offset_mask(n, m, k, lax.ge), dtype)


def _triangle(name: str, m: Any, mask_of: Callable[[int, int], Any], keep: bool) -> Any:
    m = ensure_arraylike(name, m)
    if m.ndim < 2:
        raise ValueError(f"Argument to jax.numpy.{name} must be at least 2D, got {m.aval}")
    mask = lax.broadcast(mask_of(*m.shape[-2:]), m.shape[:-2])
    zero = lax.full_like(m, 0)
    return lax.select(mask, m, zero) if keep else lax.select(mask, zero, m)


@compiled_when_eager("k")
def tril(m: Any, k: int = 0) -> Any:
    """The elements at and below a diagonal of the last two axes, zeros above.

    Raises ValueError for arrays of rank below two.

    >>> import pullback.numpy as jnp
    >>> jnp.tril(jnp.ones((2, 2)))
    Array([[1., 0.],
           [1., 1.]], dtype=float32)
    """
    return _triangle("tril", m, lambda n, c: _offset_mask(n, c, k, lax.ge), True)


@compiled_when_eager("k")
def triu(m: Any, k: int = 0) -> Any:
    """The elements at and above a diagonal of the last two axes, zeros below.

    Raises ValueError for arrays of rank below two.

    >>> import pullback.numpy as jnp
    >>> jnp.triu(jnp.ones((2, 2)))
    Array([[1., 1.],
           [0., 1.]], dtype=float32)
    """
    return _triangle("triu", m, lambda n, c: _offset_mask(n, c, k - 1, lax.ge), False)


@compiled_when_eager("k")
def diag(v: Any, k: int = 0) -> Any:
    """The matrix with `v` on a diagonal, or the diagonal of a matrix.

    Raises ValueError for other ranks.

    >>> import pullback.numpy as jnp
    >>> jnp.diag(jnp.array([1, 2])), jnp.diag(jnp.arange(4).reshape(2, 2))
    (Array([[1, 0],
           [0, 2]], dtype=int32), Array([0, 3], dtype=int32))
    """
    v = ensure_arraylike("diag", v)
    k = _static("diag", k, "k")
    if v.ndim == 2:
        return diagonal(v, k)
    if v.ndim != 1:
        raise ValueError("diag input must be 1d or 2d")
    n = v.shape[0] + abs(k)
    row = lax.pad(v, lax.full_like(v, 0, shape=()), [(max(0, k), max(0, -k), 0)])
    spread = lax.broadcast_in_dim(row, (n, n), (1,))
    return lax.select(_offset_mask(n, n, k, lax.eq), spread, lax.full_like(spread, 0))


def diagflat(v: Any, k: int = 0) -> Any:
    """The matrix with the flattened `v` on a diagonal.

    >>> import pullback.numpy as jnp
    >>> jnp.diagflat(jnp.array([[1, 2]]))
    Array([[1, 0],
           [0, 2]], dtype=int32)
    """
    v = ensure_arraylike("diagflat", v)
    return strong(diag(lax.reshape(v, (v.size,)), k))


@compiled_when_eager("offset", "axis1", "axis2")
def diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """The elements of a diagonal of two axes, on a new last axis.

    Raises ValueError for arrays of rank below two.

    >>> import pullback.numpy as jnp
    >>> jnp.diagonal(jnp.arange(6).reshape(2, 3), offset=1)
    Array([1, 5], dtype=int32)
    """
    a = ensure_arraylike("diagonal", a)
    if a.ndim < 2:
        raise ValueError("diagonal requires an array of at least two dimensions.")
    offset = _static("diagonal", offset, "offset")
    axis1, axis2 = canonical_axis(axis1, a.ndim), canonical_axis(axis2, a.ndim)
    if axis1 == axis2:
        raise ValueError("axis1 and axis2 cannot be the same")
    rest = [k for k in range(a.ndim) if k not in (axis1, axis2)]
    a = lax.transpose(a, [*rest, axis1, axis2])
    n, m = a.shape[-2:]
    count = max(0, min(n + min(offset, 0), m - max(offset, 0)))
    i = np.arange(count)
    return strong(a[(..., i - min(offset, 0), i + max(offset, 0))])


@compiled_when_eager("offset", "axis1", "axis2", "dtype")
def trace(
    a: Any, offset: Any = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None, out: None = None
) -> Any:
    """The sum of a diagonal of two axes.

    >>> import pullback.numpy as jnp
    >>> jnp.trace(jnp.arange(4).reshape(2, 2))
    Array(3, dtype=int32)
    """
    check_no_out("trace", out)
    a = ensure_arraylike("trace", a)
    axis1, axis2 = canonical_axis(axis1, a.ndim), canonical_axis(axis2, a.ndim)
    rest = [k for k in range(a.ndim) if k not in (axis1, axis2)]
    a = lax.transpose(a, [*rest, axis1, axis2])
    mask = _offset_mask(a.shape[-2], a.shape[-1], offset, lax.eq)
    kept: Any = lax.select(lax.broadcast(mask, a.shape[:-2]), a, lax.full_like(a, 0))
    return kept.sum((-2, -1), dtype=dtype)


def _pattern_indices(mask: np.ndarray[Any, Any]) -> tuple[Any, ...]:
    return tuple(array_of(i, dtypes.default_int()) for i in np.nonzero(mask))


def tril_indices(n: Any, k: Any = 0, m: Any = None) -> tuple[Any, Any]:
    """Row and column numbers of the lower triangle of a matrix of `n` rows and `m` columns.

    >>> import pullback.numpy as jnp
    >>> jnp.tril_indices(2)
    (Array([0, 1, 1], dtype=int32), Array([0, 0, 1], dtype=int32))
    """
    rows, columns = _pattern_indices(np.tri(n, m, k, bool))
    return rows, columns


def triu_indices(n: Any, k: Any = 0, m: Any = None) -> tuple[Any, Any]:
    """Row and column numbers of the upper triangle of a matrix of `n` rows and `m` columns.

    >>> import pullback.numpy as jnp
    >>> jnp.triu_indices(2)
    (Array([0, 0, 1], dtype=int32), Array([0, 1, 1], dtype=int32))
    """
    rows, columns = _pattern_indices(~np.tri(n, m, k - 1, bool))
    return rows, columns


def _matrix_shape(name: str, arr: Any) -> tuple[int, int]:
    shape = tuple(arr.shape)
    if len(shape) != 2:
        raise ValueError(f"Only 2-D inputs are accepted by {name}, got shape {shape}")
    return shape[0], shape[1]


def tril_indices_from(arr: Any, k: int = 0) -> tuple[Any, Any]:
    """`tril_indices` for the shape of a matrix.

    >>> import pullback.numpy as jnp
    >>> jnp.tril_indices_from(jnp.ones((1, 2)))
    (Array([0], dtype=int32), Array([0], dtype=int32))
    """
    n, m = _matrix_shape("tril_indices_from", arr)
    return tril_indices(n, k, m)


def triu_indices_from(arr: Any, k: int = 0) -> tuple[Any, Any]:
    """`triu_indices` for the shape of a matrix.

    >>> import pullback.numpy as jnp
    >>> jnp.triu_indices_from(jnp.ones((1, 2)))
    (Array([0, 0], dtype=int32), Array([0, 1], dtype=int32))
    """
    n, m = _matrix_shape("triu_indices_from", arr)
    return triu_indices(n, k, m)


def diag_indices(n: int, ndim: int = 2) -> tuple[Any, ...]:
    """The indices of the main diagonal of an array of `ndim` axes of length `n`.

    >>> import pullback.numpy as jnp
    >>> jnp.diag_indices(2)
    (Array([0, 1], dtype=int32), Array([0, 1], dtype=int32))
    """
    n, ndim = operator.index(n), operator.index(ndim)
    if n < 0 or ndim < 0:
        raise ValueError(f"diag_indices takes non-negative numbers, got n={n}, ndim={ndim}")
    return (lax.iota(dtypes.default_int(), n),) * ndim


def diag_indices_from(arr: Any) -> tuple[Any, ...]:
    """The indices of the main diagonal of an array whose axes have one length.

    >>> import pullback.numpy as jnp
    >>> jnp.diag_indices_from(jnp.ones((2, 2)))
    (Array([0, 1], dtype=int32), Array([0, 1], dtype=int32))
    """
    arr = ensure_arraylike("diag_indices_from", arr)
    if arr.ndim < 2:
        raise ValueError("input array must be at least 2-d")
    if len(set(arr.shape)) != 1:
        raise ValueError("All dimensions of input must be of equal length")
    return diag_indices(arr.shape[0], arr.ndim)


def mask_indices(
    n: int, mask_func: Callable[..., Any], k: Any = 0, *, size: int | None = None
) -> tuple[Any, Any]:
    """The indices where `mask_func(ones((n, n)), k)` is not zero.

    >>> import pullback.numpy as jnp
    >>> jnp.mask_indices(2, jnp.triu)
    (Array([0, 0, 1], dtype=int32), Array([0, 1, 1], dtype=int32))
    """
    rows, columns = mask_func(lax.full((n, n), 1, np.dtype(np.int32)), k).nonzero(size=size)
    return rows, columns


def fill_diagonal(a: Any, val: Any, wrap: bool = False, *, inplace: bool = True) -> Any:
    """A copy of `a` with `val` on its main diagonal; called with `inplace=False`.

    >>> import pullback.numpy as jnp
    >>> jnp.fill_diagonal(jnp.zeros((2, 2)), 3, inplace=False)
    Array([[3., 0.],
           [0., 3.]], dtype=float32)
    """
    if inplace:
        raise NotImplementedError("JAX arrays are immutable, must use inplace=False")
    if wrap:
        raise NotImplementedError("wrap=True is not implemented, must use wrap=False")
    a, val = ensure_arraylike("fill_diagonal", a, val)
    if a.ndim < 2:
        raise ValueError("array must be at least 2-d")
    if a.ndim > 2 and len(set(a.shape)) != 1:
        raise ValueError("All dimensions of input must be of equal length")
    n = min(a.shape)
    if val.ndim:
        flat = lax.reshape(val, (val.size,))
        val = flat[np.arange(n) % max(val.size, 1)]
    return a.at[(np.arange(n),) * a.ndim].set(lax.convert_element_type(val, a.dtype))


@compiled_when_eager("N", "increasing")
def vander(x: Any, N: int | None = None, increasing: bool = False) -> Any:
    """The matrix of powers of the elements of a vector, highest first.

    >>> import pullback.numpy as jnp
    >>> jnp.vander(jnp.array([1, 2, 3]), 2)
    Array([[1, 1],
           [2, 1],
           [3, 1]], dtype=int32)
    """
    x = ensure_arraylike("vander", x)
    if x.ndim != 1:
        raise ValueError("x must be a one-dimensional array")
    n = x.shape[0] if N is None else _static("vander", N, "N")
    if n < 0:
        raise ValueError("N must be nonnegative")
    powers = range(n) if increasing else range(n - 1, -1, -1)
    columns = [lax.expand_dims(lax.integer_pow(x, p), (1,)) for p in powers]
    return strong(lax.concatenate(columns, 1)) if columns else zeros((x.shape[0], 0), x.dtype)
