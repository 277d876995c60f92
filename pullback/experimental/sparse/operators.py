"""The operators and the indexing of BCOO arrays, which the class finds in `bcoo.OPERATORS`."""

from __future__ import annotations

import math
import operator
from typing import Any

from pullback import numpy as jnp
from pullback.core import dtypes
from pullback.core.trace import is_concrete
from pullback.experimental.sparse.base import JAXSparse, to_width
from pullback.experimental.sparse.bcoo import (
    BCOO,
    OPERATORS,
    bcoo_todense,
    bcoo_transpose,
    same_places,
    unique,
)
from pullback.experimental.sparse.operations import (
    bcoo_broadcast_in_dim,
    bcoo_dynamic_slice,
    bcoo_multiply_dense,
    bcoo_reduce_sum,
    bcoo_reshape,
    bcoo_rev,
    bcoo_slice,
    bcoo_squeeze,
)
from pullback.experimental.sparse.products import bcoo_dot_general, bcoo_multiply_sparse

__all__ = ["add_dense"]


def _matmul(a: Any, b: Any) -> Any:
    """`a @ b` as `jnp.matmul` of arrays with at most two axes, or with equal leading ones."""
    if a.ndim == 0 or b.ndim == 0:
        raise ValueError("matmul input operand must have ndim at least 1")
    lead = max(min(a.ndim, b.ndim) - 2, 0)
    contract = ((a.ndim - 1,), (max(b.ndim - 2, 0),))
    if lead and a.shape[:lead] != b.shape[:lead]:
        raise NotImplementedError(f"matmul of shapes {a.shape} and {b.shape}")
    if a.ndim != b.ndim and max(a.ndim, b.ndim) > 2:
        lead = 0
        if min(a.ndim, b.ndim) > 1:
            raise NotImplementedError(f"matmul of shapes {a.shape} and {b.shape}")
    batch = tuple(range(lead))
    return bcoo_dot_general(a, b, dimension_numbers=(contract, (batch, batch)))


def _mul(mat: BCOO, other: Any) -> BCOO:
    if isinstance(other, BCOO):
        return bcoo_multiply_sparse(mat, other)
    if isinstance(other, JAXSparse):
        raise NotImplementedError(f"product of BCOO and {type(other)}")
    data = bcoo_multiply_dense(mat, other)
    return same_places(mat, data)


def _div(mat: BCOO, other: Any) -> BCOO:
    if isinstance(other, JAXSparse):
        raise NotImplementedError("division by a sparse array would divide by zeros")
    return _mul(mat, 1 / jnp.asarray(other))


def _pow(mat: BCOO, other: Any) -> BCOO:
    if not isinstance(other, int) or other < 1:
        raise NotImplementedError("powers of sparse arrays: positive whole exponents only")
    single = unique(mat)
    return same_places(single, single.data**other)


def _add(mat: BCOO, other: Any) -> Any:
    if not isinstance(other, BCOO):
        return add_dense(mat, other)
    if mat.shape != other.shape:
        raise NotImplementedError(
            f"addition of sparse arrays of shapes {mat.shape} and {other.shape}"
        )
    n_batch, n_dense = min(mat.n_batch, other.n_batch), min(mat.n_dense, other.n_dense)
    a, b = (m.update_layout(n_batch=n_batch, n_dense=n_dense) for m in (mat, other))
    dtype = jnp.result_type(a.dtype, b.dtype)
    data = [to_width(m.data, m.shape, n_batch).astype(dtype) for m in (a, b)]
    indices = [to_width(m.indices, m.shape, n_batch) for m in (a, b)]
    return BCOO(
        (jnp.concatenate(data, axis=n_batch), jnp.concatenate(indices, axis=n_batch)),
        shape=mat.shape,
    )


def add_dense(mat: Any, other: Any) -> Any:
    """The dense sum with an array that is as large."""
    other = jnp.asarray(other)
    if other.shape != mat.shape:
        raise NotImplementedError(
            "Addition between a sparse array X and a dense array Y is not implemented when the "
            "output shape is larger than Y.shape. This is to prevent silent densification of a "
            "large sparse array. If this is your intent, you can explicitly cast the sparse array "
            "to a dense matrix."
        )
    return bcoo_todense(mat) + other


def _sum(mat: BCOO, axis: Any = None, keepdims: bool = False) -> Any:
    axes = range(mat.ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
    gone = sorted({operator.index(a) % max(mat.ndim, 1) for a in axes})
    found = bcoo_reduce_sum(mat, axes=gone)
    if keepdims:
        shape = [1 if k in gone else n for k, n in enumerate(mat.shape)]
        kept = [k for k in range(mat.ndim) if k not in gone]
        return bcoo_broadcast_in_dim(found, shape=shape, broadcast_dimensions=kept)
    return bcoo_todense(found) if found.ndim == 0 else found


def _reshape(mat: BCOO, *shape: Any, order: str = "C") -> BCOO:
    if order != "C":
        raise NotImplementedError(f"reshape of sparse arrays in order {order!r}")
    sizes = list(shape[0]) if len(shape) == 1 and not isinstance(shape[0], int) else list(shape)
    if -1 in sizes:
        rest = math.prod(n for n in sizes if n != -1)
        sizes[sizes.index(-1)] = mat.size // max(rest, 1)
    return bcoo_reshape(mat, new_sizes=sizes)


def _expanded(index: Any, ndim: int) -> list[Any]:
    index = list(index) if isinstance(index, tuple) else [index]
    used = sum(i is not None and i is not Ellipsis for i in index)
    if used > ndim:
        raise IndexError(f"too many indices for an array of {ndim} axes")
    if Ellipsis not in [i for i in index if i is None or i is Ellipsis]:
        index.append(Ellipsis)
    at = next(k for k, i in enumerate(index) if i is Ellipsis)
    return [*index[:at], *[slice(None)] * (ndim - used), *index[at + 1 :]]


def _is_list(i: Any) -> bool:
    return i is not None and i is not Ellipsis and not isinstance(i, slice) and jnp.ndim(i) == 1


def _rows_taken(mat: BCOO, items: list[Any]) -> tuple[BCOO, list[Any]]:
    """The array with the rows that a vector of indices picks along one axis.

    A product with a matrix that has one entry a row; only entries that are picked are made.
    """
    at = next(k for k, i in enumerate(items) if _is_list(i))
    axis = sum(i is not None for i in items[:at])
    picked = jnp.asarray(items[at])
    numbers = [k for k, i in enumerate(items) if i is not None and not isinstance(i, slice)]
    if numbers != list(range(numbers[0], numbers[-1] + 1)):  # the axis would move to the front
        raise NotImplementedError("indexing of a BCOO array by arrays and numbers apart from them")
    if dtypes.kind_of(picked.dtype) not in "iu" or mat.n_dense or sum(map(_is_list, items)) > 1:
        raise NotImplementedError(
            "indexing of a BCOO array by arrays: one vector of whole numbers, and no dense axes"
        )
    size, n = mat.shape[axis], picked.shape[0]
    picked = jnp.where(picked < 0, picked + size, picked).astype(mat.indices.dtype)
    row = jnp.arange(n, dtype=mat.indices.dtype)
    choice = BCOO((jnp.ones(n, mat.dtype), jnp.stack([row, picked], axis=1)), shape=(n, size))
    plain = mat.update_layout(n_batch=0)
    found = bcoo_dot_general(choice, plain, dimension_numbers=(((1,), (axis,)), ((), ())))
    order = [*range(1, axis + 1), 0, *range(axis + 1, mat.ndim)]
    rest = [slice(None) if k == at else i for k, i in enumerate(items)]
    return bcoo_transpose(found, permutation=order), rest


def _getitem(mat: BCOO, index: Any) -> BCOO:
    """Whole numbers (also traced), slices, None, Ellipsis, and one vector of whole numbers."""
    items = _expanded(index, mat.ndim)
    if any(map(_is_list, items)):
        mat, items = _rows_taken(mat, items)
    axes = [i for i in items if i is not None]
    windows, gone = [], []
    for k, (i, n) in enumerate(zip(axes, mat.shape, strict=True)):
        if isinstance(i, slice):
            windows.append(i.indices(n))
            continue
        if jnp.ndim(i) != 0 or dtypes.kind_of(jnp.asarray(i).dtype) not in "iu":
            raise NotImplementedError(
                "indexing of a BCOO array by arrays of several axes, or by masks"
            )
        gone.append(k)
        if is_concrete(i):
            at = int(i) + (n if int(i) < 0 else 0)
            windows.append((at, at + 1, 1) if 0 <= at < n else (0, 0, 1))
            continue
        at = jnp.where(i < 0, i + n, i)
        starts = [at if j == k else 0 for j in range(mat.ndim)]
        sizes = [1 if j == k else m for j, m in enumerate(mat.shape)]
        mat = bcoo_dynamic_slice(mat, starts, sizes)
        windows.append((0, 1, 1))
    turned = [k for k, (_, _, s) in enumerate(windows) if s < 0]
    if turned:
        mat = bcoo_rev(mat, turned)
    bounds = [_forward(w, n) for w, n in zip(windows, mat.shape, strict=True)]
    starts, limits, steps = (list(x) for x in zip(*bounds, strict=True)) if bounds else ([], [], [])
    found = bcoo_slice(mat, start_indices=starts, limit_indices=limits, strides=steps)
    found = bcoo_squeeze(found, dimensions=gone) if gone else found
    kept, shape, sizes = [], [], list(found.shape)
    for i in items:
        if i is None:
            shape.append(1)
        elif isinstance(i, slice):
            kept.append(len(shape))
            shape.append(sizes.pop(0))
    if len(shape) == found.ndim:
        return found
    return bcoo_broadcast_in_dim(found, shape=shape, broadcast_dimensions=kept)


def _forward(window: tuple[int, int, int], n: int) -> tuple[int, int, int]:
    """A window of an axis of length n that has been turned around if its step is negative."""
    start, stop, step = window
    if step < 0:
        start, stop, step = n - 1 - start, n - 1 - stop, -step
    return start, max(start, stop), step


OPERATORS.update(
    matmul=_matmul,
    mul=_mul,
    div=_div,
    pow=_pow,
    add=_add,
    sum=_sum,
    reshape=_reshape,
    getitem=_getitem,
)
