"""Structural and element-wise operations on BCOO arrays."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from pullback import lax
from pullback import numpy as jnp
from pullback.core import dtypes
from pullback.experimental.sparse.base import batched, to_width
from pullback.experimental.sparse.bcoo import (
    BCOO,
    bcoo_sum_duplicates,
    bcoo_transpose,
    groups,
)

__all__ = [
    "bcoo_broadcast_in_dim",
    "bcoo_concatenate",
    "bcoo_conv_general_dilated",
    "bcoo_dynamic_slice",
    "bcoo_gather",
    "bcoo_multiply_dense",
    "bcoo_reduce_sum",
    "bcoo_reshape",
    "bcoo_rev",
    "bcoo_slice",
    "bcoo_squeeze",
]


def _rebuilt(mat: BCOO, data: Any, indices: Any, shape: Sequence[int], still: bool = False) -> BCOO:
    """Another array; `still` says that the order and the uniqueness of indices stay."""
    return BCOO(
        (data, indices),
        shape=tuple(shape),
        indices_sorted=still and mat.indices_sorted,
        unique_indices=still and mat.unique_indices,
    )


# --------------------------------------------------------------------------- shapes


def bcoo_broadcast_in_dim(
    mat: BCOO, *, shape: Sequence[int], broadcast_dimensions: Sequence[int], sharding: Any = None
) -> BCOO:
    """The array with its axis k as axis `broadcast_dimensions[k]` of `shape`.

    >>> import pullback.numpy as jnp
    >>> m = BCOO.fromdense(jnp.array([0.0, 2.0]))
    >>> bcoo_broadcast_in_dim(m, shape=(3, 2), broadcast_dimensions=(1,)).shape
    (3, 2)
    """
    shape, dims = tuple(shape), tuple(operator.index(d) for d in broadcast_dimensions)
    n_batch, n_sparse = mat.n_batch, mat.n_sparse
    if len(dims) != mat.ndim or any(mat.shape[k] not in (1, shape[d]) for k, d in enumerate(dims)):
        raise ValueError(f"cannot broadcast {mat.shape} to {shape} with axes at {dims}")
    sparse_at, dense_at = dims[n_batch : n_batch + n_sparse], dims[n_batch + n_sparse :]
    first_dense = min(dense_at) if dense_at else len(shape)
    first_sparse = min(sparse_at) if sparse_at else first_dense
    if dims[:n_batch]:
        first_sparse = min(first_sparse, max(dims[:n_batch]) + 1)
    if not n_batch and not sparse_at:
        first_sparse = 0
    elif not n_batch:
        first_sparse = 0 if 0 in sparse_at else first_sparse
    batch = shape[:first_sparse]
    at = {d: k for k, d in enumerate(dims)}
    lead = [mat.data.shape[at[d]] if d in at else 1 for d in range(first_sparse)]
    indices_lead = [mat.indices.shape[at[d]] if d in at else 1 for d in range(first_sparse)]
    dense = shape[first_dense:]
    dense_old = [mat.shape[at[d]] if d in at else 1 for d in range(first_dense, len(shape))]
    data = mat.data.reshape(*lead, mat.nse, *dense_old)
    data = jnp.broadcast_to(data, (*lead, mat.nse, *dense))
    indices = mat.indices.reshape(*indices_lead, mat.nse, n_sparse)
    for d in range(first_sparse, first_dense):
        data, indices = _sparse_axis(data, indices, d, shape[d], at, mat, len(batch), first_sparse)
    return _rebuilt(mat, data, indices, shape)


def _sparse_axis(
    data: Any,
    indices: Any,
    axis: int,
    size: int,
    at: dict[int, int],
    mat: BCOO,
    n_batch: int,
    first: int,
) -> tuple[Any, Any]:
    """Sparse axis `axis` of the result: one of the array's, or a new one with entries repeated."""
    old = at.get(axis)
    place = axis - first
    if old is not None and mat.shape[old] == size:
        return data, indices
    nse = indices.shape[-2]
    indices = jnp.repeat(indices, size, axis=-2)
    data = jnp.repeat(data, size, axis=n_batch)
    column = jnp.tile(jnp.arange(size, dtype=indices.dtype), nse)[:, None]
    if old is not None:  # entries outside of an axis of length one stay outside
        column = jnp.where(indices[..., place : place + 1] < 1, column, size)
        indices = jnp.concatenate([indices[..., :place], indices[..., place + 1 :]], axis=-1)
    column = jnp.broadcast_to(column, (*indices.shape[:-1], 1))
    parts = [indices[..., :place], column, indices[..., place:]]
    return data, jnp.concatenate(parts, axis=-1)


def bcoo_concatenate(operands: Sequence[BCOO], *, dimension: int) -> BCOO:
    """Several arrays in one, along any axis.

    >>> import pullback.numpy as jnp
    >>> m = BCOO.fromdense(jnp.array([0.0, 2.0]))
    >>> bcoo_concatenate([m, m], dimension=0).todense()
    Array([0., 2., 0., 2.], dtype=float32)
    """
    dimension = operator.index(dimension)
    if not operands or not all(isinstance(m, BCOO) for m in operands):
        raise ValueError("bcoo_concatenate: operands must be BCOO arrays, one or more")
    first = operands[0]
    if any(m.n_batch != first.n_batch or m.n_dense != first.n_dense for m in operands):
        raise ValueError(
            "bcoo_concatenate: operands must have the same numbers of batch and dense axes"
        )
    n_batch, n_sparse = first.n_batch, first.n_sparse
    sizes = [m.shape[dimension] for m in operands]
    shape = list(first.shape)
    shape[dimension] = sum(sizes)
    starts = [sum(sizes[:k]) for k in range(len(sizes))]
    dtype = jnp.result_type(*(m.dtype for m in operands))
    wide = [
        (to_width(m.data, m.shape, n_batch).astype(dtype), to_width(m.indices, m.shape, n_batch))
        for m in operands
    ]
    if dimension < n_batch:
        most = max(m.nse for m in operands)
        padded = [_padded(d, i, most, m) for (d, i), m in zip(wide, operands, strict=True)]
        parts = [jnp.concatenate(x, axis=dimension) for x in zip(*padded, strict=True)]
        return _rebuilt(first, parts[0], parts[1], shape)
    data, indices = [], []
    for (d, i), start, m in zip(wide, starts, operands, strict=True):
        if dimension < n_batch + n_sparse:
            column = dimension - n_batch
            limit = jnp.array(groups(m)[1], i.dtype)
            inside = (i < limit).all(axis=-1, keepdims=True)
            i = jnp.where(
                inside,
                i.at[..., column].add(start),
                jnp.array(shape[n_batch : n_batch + n_sparse], i.dtype),
            )
        else:
            axis = dimension - n_sparse + 1
            pads = [(0, 0)] * d.ndim
            pads[axis] = (start, shape[dimension] - start - m.shape[dimension])
            d = jnp.pad(d, pads)
        data.append(d)
        indices.append(i)
    return _rebuilt(
        first, jnp.concatenate(data, axis=n_batch), jnp.concatenate(indices, axis=n_batch), shape
    )


def _padded(data: Any, indices: Any, nse: int, mat: BCOO) -> tuple[Any, Any]:
    """Data and indices with room for `nse` entries."""
    n_batch, more = mat.n_batch, nse - mat.nse
    if not more:
        return data, indices
    widths = [(0, 0)] * data.ndim
    widths[n_batch] = (0, more)
    outside = jnp.broadcast_to(
        jnp.array(groups(mat)[1], indices.dtype), (*indices.shape[:-2], more, mat.n_sparse)
    )
    return jnp.pad(data, widths), jnp.concatenate([indices, outside], axis=-2)


def _new_sizes(sizes: Sequence[int], count: int, total: int) -> int:
    """How many of `sizes` make up a product of `total`, at least."""
    for k in range(len(sizes) + 1):
        if math.prod(sizes[:k]) == total and (k >= count or k == len(sizes) or total != 1):
            return k
    raise ValueError("the axes of a group do not fit")


def bcoo_reshape(
    mat: BCOO, *, new_sizes: Sequence[int], dimensions: Any = None, sharding: Any = None
) -> BCOO:
    """The array in another shape; the axes of batch, sparse and dense groups keep apart.

    >>> import pullback.numpy as jnp
    >>> bcoo_reshape(BCOO.fromdense(jnp.eye(2)), new_sizes=(4,)).indices.ravel()
    Array([0, 3], dtype=int32)
    """
    sizes = tuple(operator.index(n) for n in new_sizes)
    if math.prod(sizes) != mat.size:
        raise ValueError(f"cannot reshape array of shape {mat.shape} into {sizes}")
    if dimensions is not None and tuple(dimensions) != tuple(range(mat.ndim)):
        order = tuple(dimensions)
        return bcoo_reshape(bcoo_transpose(mat, permutation=order), new_sizes=sizes)
    batch, sparse, dense = groups(mat)
    try:
        lead = _new_sizes(sizes, len(batch), math.prod(batch))
        tail = len(sizes) - _new_sizes(sizes[::-1], len(dense), math.prod(dense))
    except ValueError:
        raise ValueError(
            f"bcoo_reshape: {mat!r} cannot "
            f"become {sizes}: batch, sparse and dense axes must keep apart"
        ) from None
    if not dense:
        tail = len(sizes)
    if not batch:
        lead = 0
    new_batch, new_sparse, new_dense = sizes[:lead], sizes[lead:tail], sizes[tail:]
    if math.prod(sparse) > np.iinfo(np.int32).max and dtypes.default_int() != np.int64:
        raise ValueError("bcoo_reshape: positions exceed 32-bit integers; enable x64")
    wide = jnp.int32 if math.prod(sparse) <= np.iinfo(np.int32).max else jnp.int64
    indices = to_width(mat.indices, mat.shape, mat.n_batch)
    data = to_width(mat.data, mat.shape, mat.n_batch)
    inside = (indices < jnp.array(sparse, indices.dtype)).all(axis=-1)
    place = jnp.zeros(indices.shape[:-1], wide)
    for k, n in enumerate(sparse):
        place = place * n + indices[..., k].astype(wide)
    columns: list[Any] = []
    for n in reversed(new_sparse):
        columns.insert(0, jnp.where(inside, place % max(n, 1), n))
        place = place // max(n, 1)
    stacked = jnp.stack(columns, axis=-1) if columns else jnp.zeros((*indices.shape[:-1], 0), wide)
    indices = stacked.astype(indices.dtype).reshape(*new_batch, mat.nse, len(new_sparse))
    if not columns:  # entries outside of the old axes are not told apart any more
        data = jnp.where(inside.reshape(*inside.shape, *(1,) * len(dense)), data, 0)
    data = data.reshape(*new_batch, mat.nse, *new_dense)
    return _rebuilt(mat, data, indices, sizes, still=bool(columns))


def bcoo_squeeze(arr: BCOO, *, dimensions: Sequence[int]) -> BCOO:
    """The array without some axes of length one.

    >>> import pullback.numpy as jnp
    >>> bcoo_squeeze(BCOO.fromdense(jnp.array([[0.0, 2.0]])), dimensions=(0,)).shape
    (2,)
    """
    gone = {operator.index(d) % arr.ndim for d in dimensions}
    if any(arr.shape[d] != 1 for d in gone):
        raise ValueError(f"cannot squeeze axes {sorted(gone)} of an array of shape {arr.shape}")
    n_batch, n_sparse = arr.n_batch, arr.n_sparse
    shape = [n for k, n in enumerate(arr.shape) if k not in gone]
    kept = [k for k in range(n_sparse) if n_batch + k not in gone]
    data, indices = arr.data, arr.indices
    if len(kept) < n_sparse:
        lost = np.array([k for k in range(n_sparse) if k not in kept])
        inside = (indices[..., lost] < 1).all(axis=-1)
        data = jnp.where(inside.reshape(*inside.shape, *(1,) * arr.n_dense), data, 0)
        indices = indices[..., np.array(kept, int)]
    lead = tuple(d for d in gone if d < n_batch)
    dense = tuple(d - n_sparse + 1 for d in gone if d >= n_batch + n_sparse)
    return _rebuilt(arr, jnp.squeeze(data, lead + dense), jnp.squeeze(indices, lead), shape)


def bcoo_rev(operand: Any, dimensions: Sequence[int]) -> BCOO:
    """The array with some axes turned around.

    >>> import pullback.numpy as jnp
    >>> bcoo_rev(BCOO.fromdense(jnp.array([0.0, 2.0])), (0,)).todense()
    Array([2., 0.], dtype=float32)
    """
    dims = [operator.index(d) % operand.ndim for d in dimensions]
    n_batch, n_sparse = operand.n_batch, operand.n_sparse
    lead = tuple(d for d in dims if d < n_batch)
    dense = tuple(d - n_sparse + 1 for d in dims if d >= n_batch + n_sparse)
    data, indices = jnp.flip(operand.data, lead + dense), jnp.flip(operand.indices, lead)
    sparse = [d - n_batch for d in dims if n_batch <= d < n_batch + n_sparse]
    if sparse:
        limit = np.array(groups(operand)[1])
        turned = np.isin(np.arange(n_sparse), sparse)
        inside = (indices < jnp.array(limit, indices.dtype)).all(axis=-1, keepdims=True)
        flipped = jnp.array(limit - 1, indices.dtype) - indices
        indices = jnp.where(inside & turned, flipped, indices)
    return BCOO((data, indices), shape=operand.shape, unique_indices=operand.unique_indices)


# --------------------------------------------------------------------------- slices


def bcoo_slice(
    mat: BCOO,
    *,
    start_indices: Sequence[int],
    limit_indices: Sequence[int],
    strides: Sequence[int] | None = None,
) -> BCOO:
    """`lax.slice` of a BCOO array; entries outside become padding.

    >>> import pullback.numpy as jnp
    >>> bcoo_slice(BCOO.fromdense(jnp.eye(3)), start_indices=(1, 0), limit_indices=(3, 2)).todense()
    Array([[0., 1.],
           [0., 0.]], dtype=float32)
    """
    starts = [operator.index(s) for s in start_indices]
    limits = [operator.index(s) for s in limit_indices]
    steps = [1] * mat.ndim if strides is None else [operator.index(s) for s in strides]
    if not len(starts) == len(limits) == len(steps) == mat.ndim:
        raise ValueError(f"bcoo_slice: one start, limit and stride for each axis of {mat.shape}")
    for a, b, s, n in zip(starts, limits, steps, mat.shape, strict=True):
        if not 0 <= a <= b <= n or s < 1:
            raise ValueError(f"bcoo_slice: invalid slice {a}:{b}:{s} of an axis of length {n}")
    shape = [-(-(b - a) // s) for a, b, s in zip(starts, limits, steps, strict=True)]
    n_batch, n_sparse = mat.n_batch, mat.n_sparse
    windows = [slice(*w) for w in zip(starts, limits, steps, strict=True)]

    def lead(x: Any) -> tuple[Any, ...]:
        return tuple(
            slice(None) if x.shape[k] != mat.shape[k] else windows[k] for k in range(n_batch)
        )

    data = mat.data[(*lead(mat.data), slice(None), *windows[n_batch + n_sparse :])]
    indices = mat.indices[lead(mat.indices)]
    group = slice(n_batch, n_batch + n_sparse)
    moved = _sliced(mat, data, indices, starts[group], limits[group], steps[group], shape)
    room = math.prod(shape[group])
    return bcoo_sum_duplicates(moved, nse=room) if room < moved.nse else moved


def _sliced(
    mat: BCOO,
    data: Any,
    indices: Any,
    starts: Sequence[Any],
    limits: Sequence[Any],
    steps: Sequence[int],
    shape: Sequence[int],
) -> BCOO:
    """The entries within a window of the sparse axes; the others are padding, with data 0."""
    if not mat.n_sparse or (list(shape) == list(mat.shape) and isinstance(starts[0], int)):
        return _rebuilt(mat, data, indices, shape, still=True)
    new = jnp.array(shape[mat.n_batch : mat.n_batch + mat.n_sparse], indices.dtype)
    start, limit = (jnp.stack([jnp.asarray(v, indices.dtype) for v in x]) for x in (starts, limits))
    step = jnp.array(steps, indices.dtype)
    apart = indices - start
    keep = ((apart >= 0) & (indices < limit) & (apart % step == 0)).all(axis=-1, keepdims=True)
    mask = keep.reshape(*keep.shape[:-1], *(1,) * mat.n_dense)
    return BCOO(
        (jnp.where(mask, data, 0), jnp.where(keep, apart // step, new)),
        shape=shape,
        unique_indices=False,
    )


def bcoo_dynamic_slice(mat: BCOO, start_indices: Sequence[Any], slice_sizes: Sequence[int]) -> BCOO:
    """`lax.dynamic_slice` of a BCOO array: starts may be traced, and are clamped.

    >>> import pullback.numpy as jnp
    >>> bcoo_dynamic_slice(BCOO.fromdense(jnp.eye(3)), (1, 1), (1, 2)).todense()
    Array([[1., 0.]], dtype=float32)
    """
    sizes = [operator.index(n) for n in slice_sizes]
    if len(sizes) != mat.ndim or len(start_indices) != mat.ndim:
        raise ValueError(f"bcoo_dynamic_slice: a start and a size for each axis of {mat.shape}")
    if any(not 0 <= n <= full for n, full in zip(sizes, mat.shape, strict=True)):
        raise TypeError(f"slice_sizes {sizes} exceed the shape {mat.shape}")
    starts = [
        jnp.clip(jnp.asarray(s), 0, full - n)
        for s, n, full in zip(start_indices, sizes, mat.shape, strict=True)
    ]
    n_batch, n_sparse = mat.n_batch, mat.n_sparse

    def cut(x: Any, axis: int, k: int) -> Any:
        if x.shape[axis] != mat.shape[k]:
            return x
        return lax.dynamic_slice_in_dim(x, starts[k], sizes[k], axis=axis)

    data, indices = mat.data, mat.indices
    for k in range(n_batch):
        data, indices = cut(data, k, k), cut(indices, k, k)
    for k in range(n_batch + n_sparse, mat.ndim):
        data = cut(data, k - n_sparse + 1, k)
    group = slice(n_batch, n_batch + n_sparse)
    limits = [s + n for s, n in zip(starts[group], sizes[group], strict=True)]
    return _sliced(mat, data, indices, starts[group], limits, [1] * n_sparse, sizes)


def bcoo_gather(
    operand: BCOO,
    start_indices: Any,
    dimension_numbers: Any,
    slice_sizes: Sequence[int],
    *,
    unique_indices: bool = False,
    indices_are_sorted: bool = False,
    mode: Any = None,
    fill_value: Any = None,
) -> BCOO:
    """`lax.gather` of one slice of a BCOO array; NotImplementedError for a gather of many."""
    start_indices = jnp.asarray(start_indices)
    if start_indices.ndim != 1:
        raise NotImplementedError(
            f"bcoo_gather of several slices (start_indices of shape {start_indices.shape})"
        )
    if tuple(dimension_numbers.operand_batching_dims):
        raise NotImplementedError("bcoo_gather with batching dimensions")
    starts: list[Any] = [0] * operand.ndim
    for k, axis in enumerate(dimension_numbers.start_index_map):
        starts[axis] = start_indices[k]
    found = bcoo_dynamic_slice(operand, starts, slice_sizes)
    return bcoo_squeeze(found, dimensions=tuple(dimension_numbers.collapsed_slice_dims))


# --------------------------------------------------------------------------- sums and products


def bcoo_reduce_sum(mat: BCOO, *, axes: Sequence[int]) -> BCOO:
    """The sum over axes of any group; entries are moved together, not added.

    >>> import pullback.numpy as jnp
    >>> bcoo_reduce_sum(BCOO.fromdense(jnp.eye(3)), axes=(0,)).todense()
    Array([1., 1., 1.], dtype=float32)
    """
    gone = sorted({operator.index(a) % mat.ndim for a in axes})
    n_batch, n_sparse = mat.n_batch, mat.n_sparse
    batch = [a for a in gone if a < n_batch]
    sparse = [a - n_batch for a in gone if n_batch <= a < n_batch + n_sparse]
    dense = tuple(a - n_sparse + 1 for a in gone if a >= n_batch + n_sparse)
    shape = [n for k, n in enumerate(mat.shape) if k not in gone]
    data = mat.data.sum(axis=dense).astype(mat.dtype) if dense else mat.data
    indices = mat.indices
    if sparse:
        inside = (indices < jnp.array(groups(mat)[1], indices.dtype)).all(axis=-1)
        data = jnp.where(inside.reshape(*inside.shape, *(1,) * (data.ndim - n_batch - 1)), data, 0)
        kept = np.array([k for k in range(n_sparse) if k not in sparse], int)
        indices = indices[..., kept]
    if batch:
        data, indices = (to_width(x, mat.shape, n_batch) for x in (data, indices))
        rest = [k for k in range(n_batch) if k not in batch]
        data, indices = (
            x.transpose(*rest, *batch, *range(n_batch, x.ndim)) for x in (data, indices)
        )
        total = mat.nse * math.prod(mat.shape[k] for k in batch)
        data, indices = (
            x.reshape(*x.shape[: len(rest)], total, *x.shape[n_batch + 1 :])
            for x in (data, indices)
        )
    return _rebuilt(mat, data, indices, shape, still=not sparse and not batch)


def bcoo_multiply_dense(sp_mat: BCOO, v: Any) -> Any:
    """The data of the product, element by element, with a dense array that broadcasts.

    >>> import pullback.numpy as jnp
    >>> bcoo_multiply_dense(BCOO.fromdense(jnp.eye(2)), jnp.array([3.0, 4.0]))
    Array([3., 4.], dtype=float32)
    """
    v = jnp.asarray(v)
    if v.ndim > sp_mat.ndim or any(
        n not in (1, full) for n, full in zip(v.shape[::-1], sp_mat.shape[::-1], strict=False)
    ):
        raise NotImplementedError(
            f"multiplication of a sparse array of shape {sp_mat.shape} and a dense one of shape "
            f"{v.shape}, which does not broadcast to it"
        )
    if v.ndim == 0:
        return sp_mat.data * v
    v = v.reshape((1,) * (sp_mat.ndim - v.ndim) + v.shape)
    n_batch, n_sparse = sp_mat.n_batch, sp_mat.n_sparse

    def one(data: Any, indices: Any, v: Any) -> Any:
        places = tuple(
            indices[:, k] if v.shape[k] != 1 else jnp.zeros_like(indices[:, k])
            for k in range(n_sparse)
        )
        met = v.at[places].get(mode="fill", fill_value=0) if n_sparse else v[None]
        return data * met

    data = to_width(sp_mat.data, _lead(sp_mat, v), n_batch)
    return batched(one, n_batch)(data, sp_mat.indices, v)


def _lead(mat: BCOO, v: Any) -> tuple[int, ...]:
    """The batch axes of the product's data."""
    pairs = zip(mat.data.shape, mat.indices.shape, v.shape, strict=False)
    return tuple(max(p) for p in list(pairs)[: mat.n_batch])


def bcoo_conv_general_dilated(
    lhs: Any,
    rhs: Any,
    *,
    window_strides: Sequence[int],
    padding: Any,
    lhs_dilation: Any = None,
    rhs_dilation: Any = None,
    dimension_numbers: Any = None,
    feature_group_count: int = 1,
    batch_group_count: int = 1,
    precision: Any = None,
    preferred_element_type: Any = None,
    out_sharding: Any = None,
) -> BCOO:
    """A convolution of one sparse signal with one sparse kernel, (1, 1, n) and (1, 1, k).

    Every pair of entries gives one of the result.  NotImplementedError for strides, dilations, more
    channels or more axes.
    """
    plain = all(d is None or all(n == 1 for n in d) for d in (lhs_dilation, rhs_dilation))
    simple = plain and all(s == 1 for s in window_strides) and lhs.ndim == rhs.ndim == 3
    if not simple or (feature_group_count, batch_group_count) != (1, 1):
        raise NotImplementedError(
            "bcoo_conv_general_dilated: strides, dilations, groups, more axes"
        )
    if not (lhs.shape[:2] == rhs.shape[:2] == (1, 1)) or dimension_numbers is not None:
        raise NotImplementedError("bcoo_conv_general_dilated: more than one channel, other layouts")
    signal, kernel = (m.update_layout(n_batch=0, n_dense=0) for m in (lhs, rhs))
    n, k = lhs.shape[-1], rhs.shape[-1]
    pads = lax.padtype_to_pads((n,), (k,), (1,), padding) if isinstance(padding, str) else padding
    (low, high) = pads[0]
    size = n + low + high - k + 1
    place = signal.indices[:, None, 2] + low - kernel.indices[None, :, 2]
    inside = (signal.indices[:, None, 2] < n) & (kernel.indices[None, :, 2] < k)
    inside = inside & (place >= 0) & (place < size)
    data = jnp.where(inside, signal.data[:, None] * kernel.data[None, :], 0).reshape(-1)
    place = jnp.where(inside, place, size).reshape(-1)
    zero = jnp.zeros_like(place)
    return BCOO((data, jnp.stack([zero, zero, place], axis=-1)), shape=(1, 1, max(size, 0)))
