"""Products of BCOO arrays with dense and with sparse ones, entry by entry.

A product with a dense array gathers, for every entry, the slice of the dense array that it meets,
and adds the products at their places in the result: work and memory go with the number of entries.
Axes get labels, so that any `dimension_numbers` are one kernel; batch axes are mapped over.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from pullback import lax
from pullback import numpy as jnp
from pullback.core.trace import is_concrete
from pullback.experimental.sparse.base import batched, to_width
from pullback.experimental.sparse.bcoo import (
    BCOO,
    bcoo_sum_duplicates,
    groups,
    unique,
)
from pullback.transforms.mapping import vmap

__all__ = ["bcoo_dot_general", "bcoo_dot_general_sampled", "bcoo_multiply_sparse"]

Labels = tuple[int, ...]


def _labels(lhs_rank: int, rhs_rank: int, dimension_numbers: Any) -> tuple[Labels, Labels, Labels]:
    """Numbers for the axes of both operands and of the result; shared axes share them."""
    (lhs_contract, rhs_contract), (lhs_batch, rhs_batch) = dimension_numbers
    pairs = [*zip(lhs_batch, rhs_batch, strict=True), *zip(lhs_contract, rhs_contract, strict=True)]
    lhs = tuple(range(lhs_rank))
    partner = {int(r): int(a) for a, r in pairs}
    rhs = tuple(partner.get(k, lhs_rank + k) for k in range(rhs_rank))
    shared = {int(a) for a, _ in pairs}
    batch = tuple(int(k) for k in lhs_batch)
    free = tuple(k for k in lhs if k not in shared)
    rest = tuple(k for k in rhs if k >= lhs_rank)
    return lhs, rhs, (*batch, *free, *rest)


def _check_sizes(lhs: Any, rhs: Any, dimension_numbers: Any) -> None:
    (lhs_contract, rhs_contract), (lhs_batch, rhs_batch) = dimension_numbers
    for kind, ours, theirs in (
        ("contracting", lhs_contract, rhs_contract),
        ("batch", lhs_batch, rhs_batch),
    ):
        a, b = [lhs.shape[k] for k in ours], [rhs.shape[k] for k in theirs]
        if a != b:
            raise TypeError(
                f"dot_general requires {kind} dimensions to have the same shape, got {tuple(a)} "
                f"and {tuple(b)}."
            )


def bcoo_dot_general(
    lhs: Any,
    rhs: Any,
    *,
    dimension_numbers: Any,
    precision: Any = None,
    preferred_element_type: Any = None,
    out_sharding: Any = None,
) -> Any:
    """`lax.dot_general` where one operand or both are BCOO; the product of two is BCOO.

    Dense axes of a sparse operand are not contracted.  The product of two sparse arrays has as many
    entries as pairs of theirs meet, which are counted; while that is traced, as many as could.

    >>> import pullback.numpy as jnp
    >>> m = BCOO.fromdense(jnp.array([[0.0, 2.0], [3.0, 0.0]]))
    >>> bcoo_dot_general(m, jnp.ones((2, 1)), dimension_numbers=(((1,), (0,)), ((), ())))
    Array([[2.],
           [3.]], dtype=float32)
    """
    lhs_sparse, rhs_sparse = isinstance(lhs, BCOO), isinstance(rhs, BCOO)
    if not lhs_sparse and not rhs_sparse:
        return lax.dot_general(
            lhs, rhs, dimension_numbers, precision, preferred_element_type=preferred_element_type
        )
    lhs = lhs if lhs_sparse else jnp.asarray(lhs)
    rhs = rhs if rhs_sparse else jnp.asarray(rhs)
    _check_sizes(lhs, rhs, dimension_numbers)
    ours, theirs, out = _labels(lhs.ndim, rhs.ndim, dimension_numbers)
    dtype = jnp.result_type(lhs.dtype, rhs.dtype)
    if lhs_sparse and rhs_sparse:
        found = _sparse_product(lhs, rhs, ours, theirs, out)
    elif lhs_sparse:
        found = _dense_product(lhs, rhs.astype(dtype), ours, theirs, out)
    else:
        found = _dense_product(rhs, lhs.astype(dtype), theirs, ours, out)
    return found if preferred_element_type is None else found.astype(preferred_element_type)


# --------------------------------------------------------------------------- sparse times dense


def _dense_product(mat: BCOO, dense: Any, mine: Labels, other: Labels, out: Labels) -> Any:
    """The product, with its axes in the order of the labels `out`."""
    n_batch, n_sparse = mat.n_batch, mat.n_sparse
    if any(label in other for label in mine[n_batch + n_sparse :]):
        raise NotImplementedError("bcoo_dot_general: contracting over dense dimensions.")
    data = to_width(mat.data, mat.shape, n_batch).astype(dense.dtype)
    indices = to_width(mat.indices, mat.shape, n_batch)

    def run(data: Any, indices: Any, dense: Any, level: int, other: Labels) -> tuple[Any, Labels]:
        if level == n_batch:
            sizes = mat.shape[n_batch : n_batch + n_sparse]
            return _entries_times_dense(data, indices, dense, sizes, mine[n_batch:], other, out)
        label = mine[level]
        axis = other.index(label) if label in other else None
        inner = tuple(k for k in other if k != label)
        labels: list[Labels] = []

        def one(data: Any, indices: Any, dense: Any) -> Any:
            value, found = run(data, indices, dense, level + 1, inner)
            labels.append(found)
            return value

        mapped = vmap(one, in_axes=(0, 0, axis), axis_size=mat.shape[level])
        value = mapped(data, indices, dense)
        if label in out:
            return value, (label, *labels[0])
        return value.sum(axis=0), labels[0]

    value, labels = run(data, indices, dense, 0, other)
    return jnp.transpose(value, [labels.index(k) for k in out])


def _entries_times_dense(
    data: Any,
    indices: Any,
    dense: Any,
    sizes: Sequence[int],
    mine: Labels,
    other: Labels,
    out: Labels,
) -> tuple[Any, Labels]:
    """One batch: labels of the sparse axes, then of the dense ones, are `mine`."""
    n_sparse = len(sizes)
    sparse, rest = mine[:n_sparse], mine[n_sparse:]
    met = [k for k, label in enumerate(sparse) if label in other]
    kept = [k for k, label in enumerate(sparse) if label in out]
    alone = tuple(label for label in other if label not in sparse)
    order = [other.index(sparse[k]) for k in met] + [other.index(label) for label in alone]
    turned = jnp.transpose(dense, order)
    if met:
        places = tuple(indices[:, k] for k in met)
        values = turned.at[places].get(mode="fill", fill_value=0)
    else:
        values = turned[None]
    n, dense_rank, wide = data.shape[0], data.ndim - 1, len(alone)
    data = data.reshape(*data.shape, *(1,) * wide)
    values = values.reshape(values.shape[0], *(1,) * dense_rank, *values.shape[1:])
    terms = data * values
    shape = [sizes[k] for k in kept]
    labels = (*(sparse[k] for k in kept), *rest, *alone)
    if not kept:
        inside = _inside(indices, sizes)
        mask = inside.reshape(n, *(1,) * (terms.ndim - 1))
        return jnp.where(mask, terms, 0).sum(axis=0).astype(terms.dtype), labels
    zero = jnp.zeros((*shape, *terms.shape[1:]), terms.dtype)
    return zero.at[tuple(indices[:, k] for k in kept)].add(terms, mode="drop"), labels


def _inside(indices: Any, sizes: Sequence[int]) -> Any:
    limit = jnp.array(sizes, indices.dtype)
    return (indices < limit).all(axis=-1)


def bcoo_dot_general_sampled(A: Any, B: Any, indices: Any, *, dimension_numbers: Any) -> Any:
    """Only those elements of a product of dense arrays that are at `indices` (batch..., nse, n).

    >>> import pullback.numpy as jnp
    >>> x = jnp.array([[1.0, 2.0], [3.0, 4.0]])
    >>> numbers = (((1,), (0,)), ((), ()))
    >>> bcoo_dot_general_sampled(x, x, jnp.array([[0, 1]]), dimension_numbers=numbers)
    Array([10.], dtype=float32)
    """
    A, B, indices = jnp.asarray(A), jnp.asarray(B), jnp.asarray(indices)
    _check_sizes(A, B, dimension_numbers)
    ours, theirs, out = _labels(A.ndim, B.ndim, dimension_numbers)
    n_batch, n_sparse = indices.ndim - 2, indices.shape[-1]
    if list(dimension_numbers[1][0]) != list(range(n_batch)) or n_batch + n_sparse != len(out):
        return _sampled_from_product(A, B, indices, dimension_numbers)
    batch, free = out[:n_batch], out[n_batch:]
    sizes = {**dict(zip(ours, A.shape, strict=True)), **dict(zip(theirs, B.shape, strict=True))}

    def picked(x: Any, labels: Labels, indices: Any) -> tuple[Any, Labels]:
        """(nse, contracted...) of an operand without batch axes."""
        mine = [k for k in free if k in labels]
        rest = tuple(k for k in labels if k not in mine)
        turned = jnp.transpose(x, [labels.index(k) for k in (*mine, *rest)])
        places = tuple(indices[:, free.index(k)] for k in mine)
        if not mine:
            return turned[None], rest
        return turned.at[places].get(mode="fill", fill_value=0), rest

    def one(A: Any, B: Any, indices: Any) -> Any:
        a, a_rest = picked(A, tuple(k for k in ours if k not in batch), indices)
        b, b_rest = picked(B, tuple(k for k in theirs if k not in batch), indices)
        order = [0, *(1 + b_rest.index(k) for k in a_rest)]
        product = (a * jnp.transpose(b, order)).reshape(-1, math.prod(sizes[k] for k in a_rest))
        total = product.sum(axis=1).astype(product.dtype)
        return jnp.broadcast_to(total, indices.shape[:1])

    def front(x: Any, labels: Labels) -> Any:
        rest = [k for k in range(x.ndim) if labels[k] not in batch]
        return jnp.transpose(x, [*(labels.index(k) for k in batch), *rest])

    # The labels inside are those of the operands without their batch axes, in the same order.
    return batched(one, n_batch)(front(A, ours), front(B, theirs), indices)


def _sampled_from_product(A: Any, B: Any, indices: Any, dimension_numbers: Any) -> Any:
    raise NotImplementedError(
        "bcoo_dot_general_sampled: the batch axes of the product must be the leading axes of its "
        f"operands and of the indices; got {dimension_numbers} for indices of {indices.shape}"
    )


# --------------------------------------------------------------------------- sparse times sparse


def _ranks(a: Any, b: Any) -> tuple[Any, Any]:
    """Numbers for the rows of two lists of indices in lexicographic order, equal for equal rows."""
    both = jnp.concatenate([a, b])
    total, width = both.shape
    if width == 0:
        zero = jnp.zeros(total, np.int32)
        return zero[: a.shape[0]], zero[a.shape[0] :]
    count = jnp.arange(total, dtype=np.int32)
    *columns, order = lax.sort((*(both[:, k] for k in range(width)), count), num_keys=width)
    change = jnp.zeros(max(total - 1, 0), bool)
    for column in columns:
        change = change | (column[1:] != column[:-1])
    rank = jnp.concatenate([jnp.zeros(min(total, 1), np.int32), jnp.cumsum(change)])
    found = jnp.zeros(total, np.int32).at[order].set(rank.astype(np.int32), unique_indices=True)
    return found[: a.shape[0]], found[a.shape[0] :]


def _meetings(a: Any, b: Any, a_inside: Any, b_inside: Any) -> tuple[Any, Any, Any]:
    """For each row of `a`: where equal rows of `b` begin among the sorted, and how many there are.

    Rows that are not inside meet nothing.  Third, the order that sorts `b`.
    """
    a_rank, b_rank = _ranks(a, b)
    last = np.iinfo(np.int32).max
    b_rank = jnp.where(b_inside, b_rank, last)
    order = jnp.argsort(b_rank)
    ranked = b_rank[order]
    start = jnp.searchsorted(ranked, a_rank, side="left")
    stop = jnp.searchsorted(ranked, a_rank, side="right")
    return start, jnp.where(a_inside, stop - start, 0), order


def _sparse_product(lhs: BCOO, rhs: BCOO, mine: Labels, other: Labels, out: Labels) -> BCOO:
    if lhs.n_dense or rhs.n_dense:
        raise NotImplementedError("bcoo_dot_general of two sparse arrays with dense axes")
    batch = mine[: lhs.n_batch]
    if batch != other[: rhs.n_batch] or out[: len(batch)] != batch:
        return _without_batches(lhs, rhs, mine, other, out)
    n_batch = lhs.n_batch
    ours, theirs = mine[n_batch:], other[n_batch:]
    shared = [label for label in ours if label in theirs]
    a_sizes, b_sizes = groups(lhs)[1], groups(rhs)[1]
    a_columns = np.array([ours.index(k) for k in shared], int)
    b_columns = np.array([theirs.index(k) for k in shared], int)

    def meet(a: Any, b: Any) -> tuple[Any, Any, Any]:
        inside = _inside(a, a_sizes), _inside(b, b_sizes)
        return _meetings(a[:, a_columns], b[:, b_columns], *inside)

    start, counts, order = batched(meet, n_batch)(lhs.indices, rhs.indices)
    most = lhs.nse * rhs.nse
    if is_concrete(counts):
        most = int(np.max(np.asarray(counts).sum(axis=-1), initial=0))
    labels = out[n_batch:]
    sizes = {**dict(zip(ours, a_sizes, strict=True)), **dict(zip(theirs, b_sizes, strict=True))}
    limit = tuple(sizes[k] for k in labels)

    def one(x: Any, a: Any, y: Any, b: Any, start: Any, counts: Any, order: Any) -> tuple[Any, Any]:
        ends = jnp.cumsum(counts)
        pair = jnp.arange(most, dtype=np.int32)
        i = jnp.minimum(jnp.searchsorted(ends, pair, side="right"), max(a.shape[0] - 1, 0))
        real = pair < (ends[-1] if a.shape[0] else 0)
        j = order[jnp.clip(start[i] + pair - (ends[i] - counts[i]), 0, max(b.shape[0] - 1, 0))]
        columns = [a[i, ours.index(k)] if k in ours else b[j, theirs.index(k)] for k in labels]
        stacked = jnp.stack(columns, axis=-1) if columns else jnp.zeros((most, 0), a.dtype)
        value = jnp.where(real, x[i] * y[j], 0)
        return value, jnp.where(real[:, None], stacked, jnp.array(limit, a.dtype))

    if most == 0 or lhs.nse == 0 or rhs.nse == 0:
        shape = tuple(lhs.shape[:n_batch]) + limit
        dtype = jnp.result_type(lhs.dtype, rhs.dtype)
        return BCOO._empty(shape, dtype=dtype, n_batch=n_batch)
    parts = (lhs.data, lhs.indices, rhs.data, rhs.indices, start, counts, order)
    widest = tuple(max(p.shape[k] for p in parts) for k in range(n_batch))
    data, indices = batched(one, n_batch)(*(to_width(p, widest, n_batch) for p in parts))
    shape = tuple(lhs.shape[:n_batch]) + limit
    found = BCOO((data, indices), shape=shape)
    room = math.prod(limit)
    if is_concrete(indices):
        return bcoo_sum_duplicates(found)
    return bcoo_sum_duplicates(found, nse=room) if room < most else found


def _without_batches(lhs: BCOO, rhs: BCOO, mine: Labels, other: Labels, out: Labels) -> BCOO:
    """Batch axes that do not match become sparse ones."""
    plain = [m.update_layout(n_batch=0) for m in (lhs, rhs)]
    return _sparse_product(plain[0], plain[1], mine, other, out)


def bcoo_multiply_sparse(lhs: BCOO, rhs: BCOO) -> BCOO:
    """The product of two BCOO arrays, element by element, at the places of the first.

    >>> import pullback.numpy as jnp
    >>> m = BCOO.fromdense(jnp.array([[0.0, 2.0], [3.0, 0.0]]))
    >>> bcoo_multiply_sparse(m, m).data
    Array([4., 9.], dtype=float32)
    """
    if lhs.shape != rhs.shape:
        raise ValueError(f"multiply of sparse arrays of shapes {lhs.shape} and {rhs.shape}")
    n_batch, n_dense = min(lhs.n_batch, rhs.n_batch), min(lhs.n_dense, rhs.n_dense)
    lhs, rhs = (m.update_layout(n_batch=n_batch, n_dense=n_dense) for m in (lhs, rhs))
    rhs = unique(rhs)
    sizes = groups(lhs)[1]

    def one(x: Any, a: Any, y: Any, b: Any) -> Any:
        start, counts, order = _meetings(a, b, _inside(a, sizes), _inside(b, sizes))
        partner = order[jnp.clip(start, 0, max(b.shape[0] - 1, 0))]
        hit = (counts > 0).reshape(-1, *(1,) * n_dense)
        return jnp.where(hit, x * y[partner], 0)

    if rhs.nse == 0:
        return BCOO._empty(lhs.shape, dtype=lhs.dtype, n_batch=n_batch, n_dense=n_dense)
    parts = (lhs.data, lhs.indices, rhs.data, rhs.indices)
    data = batched(one, n_batch)(*(to_width(p, lhs.shape, n_batch) for p in parts))
    indices = to_width(lhs.indices, data.shape, n_batch)
    return BCOO(
        (data, indices),
        shape=lhs.shape,
        indices_sorted=lhs.indices_sorted,
        unique_indices=lhs.unique_indices,
    )
