"""BCOO: batches of sparse arrays by coordinates, with dense trailing axes.

A BCOO array of shape (batch..., sparse..., dense...) has `data` (batch..., nse, dense...) and
`indices` (batch..., nse, n_sparse).  Entries whose index is out of bounds are padding; the elements
of entries with equal indices are added.  Here are the class, conversions, and orders of entries.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from pullback import lax
from pullback import numpy as jnp
from pullback.core import dtypes
from pullback.core.trace import concrete_or_error, is_concrete
from pullback.experimental.sparse.base import BatchedSparse, batched, is_array, to_width
from pullback.numpy.promotion import is_arraylike
from pullback.tree_util import register_pytree_node_class

__all__ = [
    "BCOO",
    "bcoo_extract",
    "bcoo_fromdense",
    "bcoo_sort_indices",
    "bcoo_sum_duplicates",
    "bcoo_todense",
    "bcoo_transpose",
]

OPERATORS: Final[dict[str, Callable[..., Any]]] = {}
"""Operators by name, which the modules that compute them fill in."""


def _would_be_dense(name: str) -> Callable[..., Any]:
    """An operator whose result holds something at every place."""

    def refused(self: Any, other: Any) -> Any:
        raise NotImplementedError(
            f"sparse rule for {name} is not implemented because it would result in dense output: "
            f"{type(self).__name__} of shape {self.shape} and {type(other).__name__}; "
            "todense() makes a dense array of the operand"
        )

    return refused


@register_pytree_node_class
class BCOO(BatchedSparse):
    """A sparse array by coordinates; `args` are data and indices.

    >>> import pullback.numpy as jnp
    >>> m = BCOO.fromdense(jnp.array([[0.0, 2.0], [3.0, 0.0]]))
    >>> m
    BCOO(float32[2, 2], nse=2)
    >>> m @ jnp.array([1.0, 10.0])
    Array([20.,  3.], dtype=float32)
    """

    def __init__(
        self,
        args: tuple[Any, Any],
        *,
        shape: Sequence[int],
        indices_sorted: bool = False,
        unique_indices: bool = False,
    ) -> None:
        data, indices = args
        self.shape = tuple(operator.index(n) for n in shape)
        self.data = jnp.asarray(data) if is_arraylike(data) else data
        self.indices = jnp.asarray(indices) if is_arraylike(indices) else indices
        self.indices_sorted = indices_sorted
        self.unique_indices = unique_indices
        _validate(self)

    @property
    def n_batch(self) -> int:
        """The number of batch axes."""
        return int(self.indices.ndim) - 2

    @property
    def n_sparse(self) -> int:
        """The number of sparse axes."""
        return int(self.indices.shape[-1])

    @property
    def nse(self) -> int:
        """The number of specified elements of each batch."""
        return int(self.indices.shape[-2])

    @property
    def _arrays(self) -> tuple[Any, ...]:
        return self.data, self.indices

    @classmethod
    def tree_unflatten(cls, aux_data: Any, children: Any) -> BCOO:
        """An array from what `tree_flatten` gave, with as many batch axes as its data."""
        self = object.__new__(cls)
        shape, self.indices_sorted, self.unique_indices = aux_data
        self.data, self.indices = children
        self.shape = _with_batches(shape, self.data, self.indices)
        return self

    @classmethod
    def fromdense(
        cls,
        mat: Any,
        *,
        nse: int | None = None,
        index_dtype: Any = np.int32,
        n_dense: int = 0,
        n_batch: int = 0,
    ) -> BCOO:
        """`bcoo_fromdense`."""
        return bcoo_fromdense(
            mat, nse=nse, index_dtype=index_dtype, n_dense=n_dense, n_batch=n_batch
        )

    @classmethod
    def from_scipy_sparse(
        cls, mat: Any, *, index_dtype: Any = None, n_dense: int = 0, n_batch: int = 0
    ) -> BCOO:
        """The array of a matrix of `scipy.sparse`."""
        if n_dense != 0 or n_batch != 0:
            raise NotImplementedError("BCOO.fromscipy with nonzero n_dense/n_batch")
        coo = mat.tocoo()
        indices = np.column_stack((coo.row, coo.col))
        indices = indices if index_dtype is None else indices.astype(index_dtype)
        return cls((coo.data, indices), shape=coo.shape)

    @classmethod
    def _empty(
        cls, shape: Sequence[int], *, dtype: Any = None, index_dtype: Any = "int32",
        n_dense: int = 0, n_batch: int = 0, nse: int = 0,
    ) -> BCOO:  # fmt: skip
        """No element specified, with room for `nse`."""
        shape = tuple(shape)
        n_sparse = len(shape) - n_dense - n_batch
        if n_sparse < 0 or n_dense < 0 or n_batch < 0 or nse < 0:
            raise ValueError(f"Invalid inputs: {shape=}, {n_dense=}, {n_batch=}, {nse=}")
        batch, sparse, dense = _split(shape, n_batch, n_sparse)
        data = jnp.zeros((*batch, nse, *dense), dtype)
        indices = jnp.full((*batch, nse, n_sparse), jnp.array(sparse, index_dtype), index_dtype)
        return cls((data, indices), shape=shape, indices_sorted=True, unique_indices=True)

    @classmethod
    def _eye(
        cls, N: int, M: int, k: int, *, dtype: Any = None, index_dtype: Any = "int32",
        n_batch: int = 0, n_dense: int = 0,
    ) -> BCOO:  # fmt: skip
        """Ones on the k-th diagonal."""
        count = max(0, min(N, M - k) if k >= 0 else min(N + k, M))
        row = jnp.arange(count, dtype=index_dtype) + max(0, -k)
        column = jnp.arange(count, dtype=index_dtype) + max(0, k)
        out = cls(
            (jnp.ones(count, dtype), jnp.stack([row, column], axis=1)),
            shape=(N, M),
            indices_sorted=True,
            unique_indices=True,
        )
        if not n_batch and not n_dense:
            return out
        return out.update_layout(n_batch=n_batch, n_dense=n_dense, on_inefficient=None)

    def update_layout(
        self,
        *,
        n_batch: int | None = None,
        n_dense: int | None = None,
        on_inefficient: str | None = "error",
    ) -> BCOO:
        """`bcoo_update_layout`."""
        found: BCOO = OPERATORS["update_layout"](
            self, n_batch=n_batch, n_dense=n_dense, on_inefficient=on_inefficient
        )
        return found

    def sum_duplicates(self, nse: int | None = None, remove_zeros: bool = True) -> BCOO:
        """`bcoo_sum_duplicates`; explicit zeros are left out with `remove_zeros`."""
        return without_duplicates(self, nse, remove_zeros)

    def sort_indices(self) -> BCOO:
        """`bcoo_sort_indices`."""
        return bcoo_sort_indices(self)

    def todense(self) -> Any:
        """`bcoo_todense`."""
        return bcoo_todense(self)

    def transpose(self, axes: Sequence[int] | None = None) -> BCOO:
        """The array with the axes in another order, each within its group."""
        order = range(self.ndim)[::-1] if axes is None else axes
        return bcoo_transpose(self, permutation=tuple(int(k) % self.ndim for k in order))

    def astype(self, *args: Any, **kwargs: Any) -> BCOO:
        """The array in another dtype."""
        return same_places(self, self.data.astype(*args, **kwargs))

    def reshape(self, *args: Any, **kwargs: Any) -> BCOO:
        """The array in another shape, of which batch, sparse and dense axes are parts."""
        found: BCOO = OPERATORS["reshape"](self, *args, **kwargs)
        return found

    def sum(self, *args: Any, **kwargs: Any) -> Any:
        """The sum over axes; dense if it is over all."""
        return OPERATORS["sum"](self, *args, **kwargs)

    def __getitem__(self, index: Any) -> Any:
        return OPERATORS["getitem"](self, index)

    def __neg__(self) -> BCOO:
        return same_places(self, -self.data)

    def __pos__(self) -> BCOO:
        return self

    def __abs__(self) -> BCOO:
        return same_places(_unique(self), abs(_unique(self).data))

    def __matmul__(self, other: Any) -> Any:
        return OPERATORS["matmul"](self, other)

    def __rmatmul__(self, other: Any) -> Any:
        return OPERATORS["matmul"](other, self)

    def __mul__(self, other: Any) -> Any:
        return OPERATORS["mul"](self, other)

    def __rmul__(self, other: Any) -> Any:
        return OPERATORS["mul"](self, other)

    def __add__(self, other: Any) -> Any:
        return OPERATORS["add"](self, other)

    def __radd__(self, other: Any) -> Any:
        return OPERATORS["add"](self, other)

    def __sub__(self, other: Any) -> Any:
        return OPERATORS["add"](self, -other)

    def __rsub__(self, other: Any) -> Any:
        return OPERATORS["add"](-self, other)

    def __truediv__(self, other: Any) -> Any:
        return OPERATORS["div"](self, other)

    def __pow__(self, other: Any) -> Any:
        return OPERATORS["pow"](self, other)

    __hash__ = None  # type: ignore[assignment]
    __eq__ = _would_be_dense("eq")
    __ne__ = _would_be_dense("ne")
    __lt__ = _would_be_dense("lt")
    __le__ = _would_be_dense("le")
    __gt__ = _would_be_dense("gt")
    __ge__ = _would_be_dense("ge")
    __rtruediv__ = _would_be_dense("div")
    __rpow__ = _would_be_dense("pow")


# --------------------------------------------------------------------------- shapes


def _split(
    shape: Sequence[int], n_batch: int, n_sparse: int
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    shape = tuple(shape)
    return shape[:n_batch], shape[n_batch : n_batch + n_sparse], shape[n_batch + n_sparse :]


def groups(mat: BCOO) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """The sizes of batch, sparse and dense axes."""
    return _split(mat.shape, mat.n_batch, mat.n_sparse)


def _validate(mat: BCOO) -> None:
    data, indices, shape = mat.data, mat.indices, mat.shape
    if not (is_array(data) and is_array(indices)):
        return
    if dtypes.kind_of(indices.dtype) not in "iu":
        raise ValueError(f"indices must be integers, got {indices.dtype}")
    n_batch, n_sparse, n_dense = mat.n_batch, mat.n_sparse, mat.n_dense
    if n_batch < 0 or n_dense < 0 or n_batch + n_sparse + n_dense != len(shape):
        raise ValueError(
            f"Invalid {indices.shape=} and {data.shape=} for an array of shape {shape}"
        )
    batch, _, dense = groups(mat)
    for name, x, rest in (
        ("indices", indices, (mat.nse, n_sparse)),
        ("data", data, (mat.nse, *dense)),
    ):
        fits = all(a in (1, b) for a, b in zip(x.shape[:n_batch], batch, strict=True))
        if not fits or tuple(x.shape[n_batch:]) != rest:
            raise ValueError(
                f"Invalid {name}.shape={x.shape} for nse={mat.nse}, n_batch={n_batch}, "
                f"n_dense={n_dense}"
            )


def _with_batches(shape: tuple[int, ...], data: Any, indices: Any) -> tuple[int, ...]:
    """The shape with the batch axes that data and indices have."""
    if not (is_array(data) and is_array(indices)) or len(indices.shape) < 2:
        return shape
    n_batch, n_sparse = len(indices.shape) - 2, indices.shape[-1]
    n_dense = len(data.shape) - 1 - n_batch
    rest = n_sparse + n_dense
    if n_dense < 0 or n_batch + rest == len(shape) or rest > len(shape):
        return shape
    both = zip(data.shape[:n_batch], indices.shape[:n_batch], strict=True)
    batch = tuple(max(pair) if 0 not in pair else 0 for pair in both)
    return batch + shape[len(shape) - rest :]


def same_places(mat: BCOO, data: Any) -> BCOO:
    """Other data at the same indices."""
    return BCOO(
        (data, mat.indices),
        shape=mat.shape,
        indices_sorted=mat.indices_sorted,
        unique_indices=mat.unique_indices,
    )


def _unique(mat: BCOO) -> BCOO:
    """The array without duplicates, for operations that are not linear."""
    if mat.unique_indices:
        return mat
    return without_duplicates(mat, None if is_concrete(mat.indices) else mat.nse, False)


unique = _unique


# --------------------------------------------------------------------------- dense and sparse


def _columns(indices: Any) -> tuple[Any, ...]:
    return tuple(indices[..., k] for k in range(indices.shape[-1]))


def bcoo_todense(mat: BCOO) -> Any:
    """The dense array.

    >>> import pullback.numpy as jnp
    >>> bcoo_todense(BCOO((jnp.array([2.0]), jnp.array([[0, 1]])), shape=(1, 2)))
    Array([[0., 2.]], dtype=float32)
    """
    batch, sparse, dense = groups(mat)

    def one(data: Any, indices: Any) -> Any:
        zero = jnp.zeros((*sparse, *dense), data.dtype)
        if not sparse:
            return data.sum(0).astype(data.dtype)
        return zero.at[_columns(indices)].add(data, mode="drop")

    out = batched(one, len(batch))(mat.data, mat.indices)
    return jnp.broadcast_to(out, mat.shape)


def _count(mask: Any, n_batch: int) -> Any:
    return mask.sum(axis=tuple(range(n_batch, mask.ndim)))


def bcoo_fromdense(
    mat: Any,
    *,
    nse: int | None = None,
    n_batch: int = 0,
    n_dense: int = 0,
    index_dtype: Any = np.int32,
) -> BCOO:
    """The sparse array of the elements that are not 0, in lexicographic order.

    `nse` is their number (of the fullest batch), which is counted if it is not given; where `mat`
    is traced it has to be given.  With more the rest is padding, with fewer the last ones are lost.

    >>> import pullback.numpy as jnp
    >>> bcoo_fromdense(jnp.array([[0.0, 2.0]])).indices
    Array([[0, 1]], dtype=int32)
    """
    mat = jnp.asarray(mat)
    n_sparse = mat.ndim - n_batch - n_dense
    if n_sparse < 0 or n_batch < 0 or n_dense < 0:
        raise ValueError(f"invalid n_batch={n_batch}, n_dense={n_dense} for shape {mat.shape}")
    mask = (mat != 0).any(axis=tuple(range(n_batch + n_sparse, mat.ndim)))
    if nse is None:
        count = _count(mask, n_batch)
        count = jnp.max(count, initial=0)
        nse = concrete_or_error(operator.index, count, _NSE_MESSAGE)
    nse = concrete_or_error(operator.index, nse, _NSE_MESSAGE)
    sparse = mask.shape[n_batch:]

    def places(mask: Any) -> Any:
        if not sparse:
            return jnp.zeros((nse, 0), index_dtype)
        found = jnp.nonzero(mask, size=nse, fill_value=sparse)
        return jnp.stack(found, axis=-1).astype(index_dtype)

    indices = batched(places, n_batch)(mask)
    data = _gathered(mat, indices, n_batch, n_sparse)
    return BCOO((data, indices), shape=mat.shape, indices_sorted=True, unique_indices=True)


_NSE_MESSAGE: Final = (
    "The error arose for the nse argument of bcoo_fromdense. In order for BCOO.fromdense() to be "
    "used in traced or compiled code, you must pass a concrete value to the nse (number of "
    "specified elements) argument."
)


def _gathered(mat: Any, indices: Any, n_batch: int, n_sparse: int) -> Any:
    """The elements of a dense array at indices, 0 where those are out of bounds."""

    def one(mat: Any, indices: Any) -> Any:
        if n_sparse == 0:
            first = jnp.arange(indices.shape[0]).reshape(-1, *(1,) * mat.ndim) == 0
            return jnp.where(first, mat, jnp.zeros_like(mat))
        return mat.at[_columns(indices)].get(mode="fill", fill_value=0)

    return batched(one, n_batch)(mat, indices)


def _first_of_equal(indices: Any) -> Any:
    """Which rows (nse, n_sparse) are the first of their kind."""
    order, new = _sorted_groups(indices)
    return jnp.zeros(indices.shape[0], bool).at[order].set(new, unique_indices=True)


def bcoo_extract(sparr: BCOO, arr: Any, *, assume_unique: bool | None = None) -> BCOO:
    """The elements of a dense array at the places of a sparse one.

    Of several entries with the same index all but the first are 0, unless they are assumed to be
    unique.

    >>> import pullback.numpy as jnp
    >>> x = jnp.array([[1.0, 2.0], [3.0, 4.0]])
    >>> bcoo_extract(BCOO.fromdense(jnp.eye(2)), x).data
    Array([1., 4.], dtype=float32)
    """
    arr = jnp.asarray(arr)
    if arr.shape != sparr.shape:
        raise ValueError(f"shape mismatch: {sparr.shape} != {arr.shape}")
    single = sparr.unique_indices if assume_unique is None else assume_unique
    indices = to_width(sparr.indices, sparr.shape, sparr.n_batch)
    data = _gathered(arr, indices, sparr.n_batch, sparr.n_sparse)
    if not single:
        first = batched(_first_of_equal, sparr.n_batch)(indices)
        data = jnp.where(first.reshape(*first.shape, *(1,) * sparr.n_dense), data, 0)
    return same_places(sparr, data)


# --------------------------------------------------------------------------- order of the entries


def _sorted_groups(indices: Any) -> tuple[Any, Any]:
    """An order that sorts rows (nse, n_sparse), and which of the sorted rows begin a new value."""
    nse, n_sparse = indices.shape
    count = jnp.arange(nse, dtype=np.int32)
    if n_sparse == 0 or nse == 0:
        return count, count == 0
    *columns, order = lax.sort((*_columns(indices), count), num_keys=n_sparse)
    change = columns[0][1:] != columns[0][:-1]
    for column in columns[1:]:
        change = change | (column[1:] != column[:-1])
    return order, jnp.concatenate([jnp.ones(1, bool), change])


def bcoo_sort_indices(mat: BCOO) -> BCOO:
    """The array with its entries in lexicographic order of their indices."""
    if mat.indices_sorted:
        return mat

    def one(data: Any, indices: Any) -> tuple[Any, Any]:
        order, _ = _sorted_groups(indices)
        return data[order], indices[order]

    data, indices = batched(one, mat.n_batch)(mat.data, mat.indices)
    return BCOO(
        (data, indices),
        shape=mat.shape,
        indices_sorted=True,
        unique_indices=mat.unique_indices,
    )


def _normalized(indices: Any, sparse: Sequence[int], data: Any | None = None) -> Any:
    """Rows of indices, with all that are out of bounds (or whose data are 0) made the same."""
    limit = jnp.array(sparse, indices.dtype)
    outside = ((indices >= limit) | (indices < 0)).any(axis=-1, keepdims=True)
    if data is not None:
        zero = (data == 0).reshape(data.shape[0], -1).all(axis=1)[:, None]
        outside = outside | zero
    return jnp.where(outside, limit, indices)


def bcoo_sum_duplicates(mat: BCOO, nse: int | None = None) -> BCOO:
    """The array with entries of equal indices added up, sorted, explicit zeros kept.

    `nse` is the number of entries of the result; it is counted if it is not given, and has to be
    given where the array is traced.

    >>> import pullback.numpy as jnp
    >>> twice = BCOO((jnp.array([2.0, 3.0]), jnp.array([[1], [1]])), shape=(4,))
    >>> bcoo_sum_duplicates(twice).data
    Array([5.], dtype=float32)
    """
    return without_duplicates(mat, nse, False)


def without_duplicates(mat: BCOO, nse: int | None, remove_zeros: bool) -> BCOO:
    """The same array with each place once, in order; `nse` is the number of places to keep."""
    _, sparse, _ = groups(mat)

    def rank(data: Any, indices: Any) -> tuple[Any, Any, Any]:
        indices = _normalized(indices, sparse, data if remove_zeros else None)
        order, new = _sorted_groups(indices)
        ordered = indices[order]
        inside = (ordered < jnp.array(sparse, indices.dtype)).all(axis=-1)
        return order, jnp.cumsum(new) - 1, (new & inside).sum()

    order, group, counts = batched(rank, mat.n_batch)(mat.data, mat.indices)
    if nse is None:
        most = jnp.max(counts, initial=0)
        nse = concrete_or_error(
            operator.index,
            most,
            "The error arose for the nse argument of bcoo_sum_duplicates. In order for "
            "BCOO.sum_duplicates() to be used in traced or compiled code, you must pass a concrete "
            "value to the nse argument.",
        )

    def one(data: Any, indices: Any, order: Any, group: Any) -> tuple[Any, Any]:
        indices = _normalized(indices, sparse, data if remove_zeros else None)[order]
        limit = jnp.broadcast_to(jnp.array(sparse, indices.dtype), (nse, len(sparse)))
        inside = (indices < jnp.array(sparse, indices.dtype)).all(axis=-1)
        kept = jnp.where(inside, group, nse)
        total = jnp.zeros((nse, *data.shape[1:]), data.dtype)
        total = total.at[kept].add(data[order], mode="drop", indices_are_sorted=True)
        return total, limit.at[kept].set(indices, mode="drop", indices_are_sorted=True)

    indices = to_width(mat.indices, order.shape, mat.n_batch)
    data = to_width(mat.data, order.shape, mat.n_batch)
    data, indices = batched(one, mat.n_batch)(data, indices, order, group)
    return BCOO((data, indices), shape=mat.shape, indices_sorted=True, unique_indices=True)


# --------------------------------------------------------------------------- layout


def bcoo_transpose(mat: BCOO, *, permutation: Sequence[int]) -> BCOO:
    """The array with its axes in another order; batch, sparse and dense ones stay apart.

    >>> import pullback.numpy as jnp
    >>> bcoo_transpose(BCOO.fromdense(jnp.array([[0.0, 2.0]])), permutation=(1, 0)).shape
    (2, 1)
    """
    permutation = tuple(operator.index(k) for k in permutation)
    n_batch, n_sparse = mat.n_batch, mat.n_sparse
    if sorted(permutation) != list(range(mat.ndim)):
        raise ValueError(f"invalid permutation {permutation} for an array of {mat.ndim} axes")
    batch, sparse, dense = _split(permutation, n_batch, n_sparse)
    start = n_batch + n_sparse
    if not all(k < n_batch for k in batch) or not all(n_batch <= k < start for k in sparse):
        raise NotImplementedError(
            "transpose of a BCOO array that mixes batch, sparse and dense axes: "
            f"{permutation} of n_batch={n_batch}, n_sparse={n_sparse}, n_dense={mat.n_dense}"
        )
    columns = np.array([k - n_batch for k in sparse], int)
    indices = mat.indices[..., columns].transpose(*batch, n_batch, n_batch + 1)
    rest = [k - start + n_batch + 1 for k in dense]
    data = mat.data.transpose(*batch, n_batch, *rest)
    still = tuple(sparse) == tuple(sorted(sparse))
    return BCOO(
        (data, indices),
        shape=tuple(mat.shape[k] for k in permutation),
        indices_sorted=mat.indices_sorted and still,
        unique_indices=mat.unique_indices,
    )
