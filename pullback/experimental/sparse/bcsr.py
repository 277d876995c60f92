"""BCSR: batches of matrices by compressed rows, with dense trailing axes.

`data` (batch..., nse, dense...) and `indices` (batch..., nse) list the entries row by row; those of
row r are at indptr[r] to indptr[r + 1].  Products expand the pointers to row numbers and go on as
BCOO's.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from pullback import numpy as jnp
from pullback.experimental.sparse.base import BatchedSparse, batched, is_array
from pullback.experimental.sparse.bcoo import (
    BCOO,
    bcoo_fromdense,
    bcoo_sort_indices,
    bcoo_sum_duplicates,
    bcoo_todense,
)
from pullback.experimental.sparse.operations import bcoo_broadcast_in_dim, bcoo_concatenate
from pullback.experimental.sparse.products import bcoo_dot_general
from pullback.numpy.promotion import is_arraylike
from pullback.tree_util import register_pytree_node_class

__all__ = [
    "BCSR",
    "bcsr_broadcast_in_dim",
    "bcsr_concatenate",
    "bcsr_dot_general",
    "bcsr_extract",
    "bcsr_fromdense",
    "bcsr_sum_duplicates",
    "bcsr_todense",
]


def _row_numbers(indptr: Any, nse: int) -> Any:
    """The row of every entry; beyond the last pointer, the number of rows."""
    steps = jnp.zeros(nse, indptr.dtype).at[indptr[1:]].add(1, mode="drop")
    return jnp.cumsum(steps, dtype=indptr.dtype)


def _pointers(rows: Any, count: int) -> Any:
    """Row pointers of sorted row numbers; those that are out of bounds are not counted."""
    counts = jnp.zeros(count + 1, rows.dtype).at[rows + 1].add(1, mode="drop")
    return jnp.cumsum(counts, dtype=rows.dtype)


@register_pytree_node_class
class BCSR(BatchedSparse):
    """A sparse array by compressed rows; `args` are data, indices and row pointers.

    >>> import pullback.numpy as jnp
    >>> m = BCSR.fromdense(jnp.array([[0.0, 2.0], [3.0, 4.0]]))
    >>> m.indptr
    Array([0, 1, 3], dtype=int32)
    """

    indptr: Any

    def __init__(
        self,
        args: tuple[Any, Any, Any],
        *,
        shape: Sequence[int],
        indices_sorted: bool = False,
        unique_indices: bool = False,
    ) -> None:
        self.data, self.indices, self.indptr = (
            jnp.asarray(x) if is_arraylike(x) else x for x in args
        )
        self.shape = tuple(operator.index(n) for n in shape)
        self.indices_sorted, self.unique_indices = indices_sorted, unique_indices
        if all(is_array(x) for x in args):
            self._validate()

    def _validate(self) -> None:
        n = self.n_batch
        rows = self.shape[n : n + 1]
        if n < 0 or self.n_dense < 0 or len(self.shape) != n + 2 + self.n_dense:
            raise ValueError(
                f"Invalid data.shape={self.data.shape} and indices.shape={self.indices.shape} for "
                f"an array of shape {self.shape}"
            )
        if self.indptr.ndim != n + 1 or self.indptr.shape[-1] != rows[0] + 1:
            raise ValueError(f"Invalid indptr.shape={self.indptr.shape} for shape {self.shape}")

    @property
    def n_batch(self) -> int:
        """The number of batch axes."""
        return int(self.indices.ndim) - 1

    @property
    def n_sparse(self) -> int:
        """The number of sparse axes, 2."""
        return 2

    @property
    def nse(self) -> int:
        """The number of specified elements of each batch."""
        return int(self.indices.shape[-1])

    @property
    def _arrays(self) -> tuple[Any, ...]:
        return self.data, self.indices, self.indptr

    @classmethod
    def tree_unflatten(cls, aux_data: Any, children: Any) -> BCSR:
        """An array from what `tree_flatten` gave, with as many batch axes as its data."""
        self = object.__new__(cls)
        shape, self.indices_sorted, self.unique_indices = aux_data
        self.data, self.indices, self.indptr = children
        self.shape = shape
        if all(is_array(x) for x in children) and len(self.indices.shape):
            n_batch = len(self.indices.shape) - 1
            rest = 2 + len(self.data.shape) - 1 - n_batch
            if n_batch + rest != len(shape) and rest <= len(shape):
                self.shape = tuple(self.indptr.shape[:n_batch]) + shape[len(shape) - rest :]
        return self

    @classmethod
    def _empty(
        cls, shape: Sequence[int], *, dtype: Any = None, index_dtype: Any = "int32",
        n_dense: int = 0, n_batch: int = 0, nse: int = 0,
    ) -> BCSR:  # fmt: skip
        """No element specified, with room for `nse`."""
        empty = BCOO._empty(
            shape, dtype=dtype, index_dtype=index_dtype, n_dense=n_dense, n_batch=n_batch, nse=nse
        )
        return cls.from_bcoo(empty)

    @classmethod
    def _eye(cls, N: int, M: int, k: int, **kwds: Any) -> BCSR:
        """Ones on the k-th diagonal."""
        return cls.from_bcoo(BCOO._eye(N, M, k, **kwds))

    @classmethod
    def fromdense(
        cls,
        mat: Any,
        *,
        nse: int | None = None,
        index_dtype: Any = np.int32,
        n_dense: int = 0,
        n_batch: int = 0,
    ) -> BCSR:
        """`bcsr_fromdense`."""
        return bcsr_fromdense(
            mat, nse=nse, index_dtype=index_dtype, n_dense=n_dense, n_batch=n_batch
        )

    @classmethod
    def from_bcoo(cls, arr: BCOO) -> BCSR:
        """The array of a BCOO array with two sparse axes."""
        if arr.n_sparse != 2:
            raise NotImplementedError(f"BSCR.from_bcoo requires n_sparse=2; got {arr.n_sparse=}")
        arr = bcoo_sort_indices(arr)
        rows = arr.shape[arr.n_batch]
        indptr = batched(lambda r: _pointers(r, rows), arr.n_batch)(arr.indices[..., 0])
        return cls(
            (arr.data, arr.indices[..., 1], indptr),
            shape=arr.shape,
            indices_sorted=True,
            unique_indices=arr.unique_indices,
        )

    @classmethod
    def from_scipy_sparse(
        cls, mat: Any, *, index_dtype: Any = None, n_dense: int = 0, n_batch: int = 0
    ) -> BCSR:
        """The array of a matrix of `scipy.sparse`."""
        if n_dense != 0 or n_batch != 0:
            raise NotImplementedError("BCSR from_scipy_sparse with nonzero n_dense/n_batch.")
        csr = mat.tocsr()
        parts = [csr.indices, csr.indptr]
        if index_dtype is not None:
            parts = [x.astype(index_dtype) for x in parts]
        return cls((csr.data, *parts), shape=csr.shape)

    def to_bcoo(self) -> BCOO:
        """The array by coordinates."""
        n, nse = self.n_batch, self.nse
        rows = batched(lambda p: _row_numbers(p, nse), n)(self.indptr)
        rows, columns = jnp.broadcast_arrays(rows, self.indices)
        return BCOO(
            (self.data, jnp.stack([rows, columns.astype(rows.dtype)], axis=-1)),
            shape=self.shape,
            indices_sorted=self.indices_sorted,
            unique_indices=self.unique_indices,
        )

    def sum_duplicates(self, nse: int | None = None, remove_zeros: bool = True) -> BCSR:
        """`bcsr_sum_duplicates`; explicit zeros are left out with `remove_zeros`."""
        return BCSR.from_bcoo(self.to_bcoo().sum_duplicates(nse, remove_zeros))

    def todense(self) -> Any:
        """`bcsr_todense`."""
        return bcsr_todense(self)

    def transpose(self, axes: Any = None) -> Any:
        """Not implemented: the transposed array has compressed columns; go through `to_bcoo`."""
        raise NotImplementedError("transpose of a BCSR array; use to_bcoo().transpose()")

    def __matmul__(self, other: Any) -> Any:
        other = other.to_bcoo() if isinstance(other, BCSR) else other
        found = self.to_bcoo() @ other
        return BCSR.from_bcoo(found) if isinstance(found, BCOO) and found.n_sparse == 2 else found

    def __rmatmul__(self, other: Any) -> Any:
        return other @ self.to_bcoo()

    def __mul__(self, other: Any) -> BCSR:
        other = other.to_bcoo() if isinstance(other, BCSR) else other
        found: BCOO = self.to_bcoo() * other
        return BCSR.from_bcoo(found)

    def __rmul__(self, other: Any) -> BCSR:
        found: BCSR = self * other
        return found

    def __neg__(self) -> BCSR:
        return BCSR(
            (-self.data, self.indices, self.indptr),
            shape=self.shape,
            indices_sorted=self.indices_sorted,
            unique_indices=self.unique_indices,
        )


def bcsr_fromdense(
    mat: Any,
    *,
    nse: int | None = None,
    n_batch: int = 0,
    n_dense: int = 0,
    index_dtype: Any = np.int32,
) -> BCSR:
    """The array of the elements that are not 0; parameters as those of `bcoo_fromdense`."""
    mat = jnp.asarray(mat)
    if mat.ndim - n_batch - n_dense != 2:
        raise ValueError("bcsr_fromdense: must have 2 sparse dimensions.")
    return BCSR.from_bcoo(
        bcoo_fromdense(mat, nse=nse, n_batch=n_batch, n_dense=n_dense, index_dtype=index_dtype)
    )


def bcsr_todense(mat: BCSR) -> Any:
    """The dense array."""
    return bcoo_todense(mat.to_bcoo())


def bcsr_sum_duplicates(mat: BCSR, nse: int | None = None) -> BCSR:
    """The array with entries of equal indices added up; see `bcoo_sum_duplicates`."""
    return BCSR.from_bcoo(bcoo_sum_duplicates(mat.to_bcoo(), nse))


def bcsr_extract(indices: Any, indptr: Any, mat: Any) -> Any:
    """The elements of a dense array at the places that indices and row pointers give.

    >>> import pullback.numpy as jnp
    >>> x = jnp.array([[1.0, 2.0], [3.0, 4.0]])
    >>> bcsr_extract(jnp.array([1, 0]), jnp.array([0, 1, 2]), x)
    Array([2., 3.], dtype=float32)
    """
    indices, indptr, mat = jnp.asarray(indices), jnp.asarray(indptr), jnp.asarray(mat)
    nse = indices.shape[-1]

    def one(indices: Any, indptr: Any, mat: Any) -> Any:
        return mat.at[_row_numbers(indptr, nse), indices].get(mode="fill", fill_value=0)

    return batched(one, indices.ndim - 1)(indices, indptr, mat)


def bcsr_dot_general(
    lhs: Any,
    rhs: Any,
    *,
    dimension_numbers: Any,
    precision: Any = None,
    preferred_element_type: Any = None,
    out_sharding: Any = None,
) -> Any:
    """`lax.dot_general` of a BCSR array and a dense one."""
    lhs, rhs = (x.to_bcoo() if isinstance(x, BCSR) else x for x in (lhs, rhs))
    return bcoo_dot_general(
        lhs,
        rhs,
        dimension_numbers=dimension_numbers,
        precision=precision,
        preferred_element_type=preferred_element_type,
    )


def bcsr_broadcast_in_dim(
    mat: BCSR, *, shape: Sequence[int], broadcast_dimensions: Sequence[int], sharding: Any = None
) -> BCSR:
    """The array with its axis k as axis `broadcast_dimensions[k]`; new axes are batch or dense."""
    found = bcoo_broadcast_in_dim(
        mat.to_bcoo(), shape=shape, broadcast_dimensions=broadcast_dimensions
    )
    if found.n_sparse != 2:
        n = found.n_batch
        lead = len(found.shape) - found.n_dense - 2
        found = found.update_layout(n_batch=max(n, lead), on_inefficient=None)
    return BCSR.from_bcoo(found)


def bcsr_concatenate(operands: Sequence[BCSR], *, dimension: int) -> BCSR:
    """Several arrays in one, along any axis."""
    return BCSR.from_bcoo(bcoo_concatenate([m.to_bcoo() for m in operands], dimension=dimension))
