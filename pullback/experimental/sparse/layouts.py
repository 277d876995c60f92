"""Other numbers of batch and dense axes for a BCOO array."""

from __future__ import annotations

import math
import operator
import warnings
from typing import Any

from pullback import numpy as jnp
from pullback.experimental.sparse.base import (
    SparseEfficiencyError,
    SparseEfficiencyWarning,
    batched,
)
from pullback.experimental.sparse.bcoo import BCOO, OPERATORS, groups, without_duplicates

__all__ = ["bcoo_update_layout"]


def bcoo_update_layout(
    mat: BCOO,
    *,
    n_batch: int | None = None,
    n_dense: int | None = None,
    on_inefficient: str | None = "error",
) -> BCOO:
    """The array with other numbers of batch and dense axes.

    More of either stores more zeros: `on_inefficient` says whether that is an "error", a "warn"ing,
    or nothing (None).

    >>> import pullback.numpy as jnp
    >>> m = BCOO.fromdense(jnp.eye(3), n_batch=1)
    >>> bcoo_update_layout(m, n_batch=0)
    BCOO(float32[3, 3], nse=3)
    """
    n_batch = mat.n_batch if n_batch is None else operator.index(n_batch)
    n_dense = mat.n_dense if n_dense is None else operator.index(n_dense)
    if (n_batch, n_dense) == (mat.n_batch, mat.n_dense):
        return mat
    if n_batch < 0 or n_dense < 0 or n_batch + n_dense > mat.ndim:
        raise ValueError(
            f"n_batch={n_batch} and n_dense={n_dense} do not fit an array of {mat.ndim} axes"
        )
    if on_inefficient not in ("error", "warn", None):
        raise ValueError(f"{on_inefficient=}; expected one of ['error', 'warn', None].")
    for what, new, old in (("n_batch", n_batch, mat.n_batch), ("n_dense", n_dense, mat.n_dense)):
        if new > old and on_inefficient is not None:
            _complain(mat, what, old, new, on_inefficient)
    while mat.n_dense > n_dense:
        mat = _dense_to_sparse(mat)
    while mat.n_batch > n_batch:
        mat = _batch_to_sparse(mat)
    while mat.n_batch < n_batch:
        mat = _sparse_to_batch(mat)
    while mat.n_dense < n_dense:
        mat = _sparse_to_dense(mat)
    return mat


def _complain(mat: BCOO, what: str, old: int, new: int, how: str) -> None:
    text = (
        f"For matrix of shape {mat.shape}, increasing {what} from {old} to {new} results in "
        "inefficient storage."
    )
    if how == "warn":
        warnings.warn(text, SparseEfficiencyWarning, stacklevel=4)
        return
    raise SparseEfficiencyError(
        f"{text} To disable this error, set the on_inefficient argument of bcoo_update_layout to "
        "'warn' or None."
    )


def _dense_to_sparse(mat: BCOO) -> BCOO:
    """The first dense axis as the last sparse one: an entry for each of its elements."""
    size = groups(mat)[2][0]
    n, nse = mat.n_batch, mat.nse
    data = mat.data.reshape(*mat.data.shape[:n], nse * size, *mat.data.shape[n + 2 :])
    repeated = jnp.repeat(mat.indices, size, axis=-2)
    column = jnp.tile(jnp.arange(size, dtype=mat.indices.dtype), nse)[:, None]
    column = jnp.broadcast_to(column, (*repeated.shape[:-1], 1))
    return BCOO(
        (data, jnp.concatenate([repeated, column], axis=-1)),
        shape=mat.shape,
        indices_sorted=mat.indices_sorted,
        unique_indices=mat.unique_indices,
    )


def _batch_to_sparse(mat: BCOO) -> BCOO:
    """The last batch axis as the first sparse one."""
    n, nse = mat.n_batch, mat.nse
    size = mat.shape[n - 1]

    def wide(x: Any) -> Any:
        return jnp.broadcast_to(x, (*x.shape[: n - 1], size, *x.shape[n:]))

    data, indices = wide(mat.data), wide(mat.indices)
    column = jnp.arange(size, dtype=indices.dtype)[:, None, None]
    column = jnp.broadcast_to(column, (*indices.shape[:-1], 1))
    indices = jnp.concatenate([column, indices], axis=-1)
    data, indices = (
        x.reshape(*x.shape[: n - 1], size * nse, *x.shape[n + 1 :]) for x in (data, indices)
    )
    return BCOO(
        (data, indices),
        shape=mat.shape,
        indices_sorted=mat.indices_sorted,
        unique_indices=mat.unique_indices,
    )


def _sparse_to_batch(mat: BCOO) -> BCOO:
    """The first sparse axis as the last batch one: each batch keeps room for all entries."""
    n, (_, sparse, dense) = mat.n_batch, groups(mat)
    size, rest = sparse[0], sparse[1:]

    def one(data: Any, indices: Any) -> tuple[Any, Any]:
        here = indices[:, 0] == jnp.arange(size, dtype=indices.dtype)[:, None]
        limit = jnp.array(rest, indices.dtype)
        moved = jnp.where(here[:, :, None], indices[:, 1:], limit)
        mask = here.reshape(*here.shape, *(1,) * len(dense))
        return jnp.where(mask, data, 0), moved

    data, indices = batched(one, n)(mat.data, mat.indices)
    out = BCOO((data, indices), shape=mat.shape, unique_indices=False)
    room = math.prod(rest)
    return without_duplicates(out, min(out.nse, room), False) if rest and room < out.nse else out


def _sparse_to_dense(mat: BCOO) -> BCOO:
    """The last sparse axis as the first dense one: each entry becomes a row of its elements."""
    n, (_, sparse, dense) = mat.n_batch, groups(mat)
    size = sparse[-1]

    def one(data: Any, indices: Any) -> tuple[Any, Any]:
        here = indices[:, -1:] == jnp.arange(size, dtype=indices.dtype)
        mask = here.reshape(*here.shape, *(1,) * len(dense))
        return jnp.where(mask, data[:, None], 0), indices[:, :-1]

    data, indices = batched(one, n)(mat.data, mat.indices)
    out = BCOO((data, indices), shape=mat.shape, unique_indices=False)
    room = math.prod(sparse[:-1])
    return without_duplicates(out, room, False) if room < out.nse else out


OPERATORS["update_layout"] = bcoo_update_layout
