"""The primitives of JAX's sparse arrays, as far as they can be applied: `bind` calls the function.

Operations on sparse arrays are made of other primitives here, so that no equation has one of these.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple, final

from pullback import numpy as jnp
from pullback.experimental.sparse import (
    BCOO,
    BCSR,
    COO,
    CSR,
    bcoo_dot_general,
    bcoo_dot_general_sampled,
    bcoo_extract,
    bcoo_fromdense,
    bcoo_sort_indices,
    bcoo_sum_duplicates,
    bcoo_todense,
    bcoo_transpose,
    bcsr_dot_general,
    bcsr_extract,
    bcsr_fromdense,
    bcsr_todense,
    coo_fromdense,
    coo_matmat,
    coo_matvec,
    coo_todense,
    csr_fromdense,
    csr_matmat,
    csr_matvec,
    csr_todense,
)

__all__ = [
    "COOInfo",
    "SparseInfo",
    "SparsePrimitive",
    "bcoo_dot_general_p",
    "bcoo_dot_general_sampled_p",
    "bcoo_extract_p",
    "bcoo_fromdense_p",
    "bcoo_sort_indices_p",
    "bcoo_spdot_general_p",
    "bcoo_sum_duplicates_p",
    "bcoo_todense_p",
    "bcoo_transpose_p",
    "bcsr_dot_general_p",
    "bcsr_extract_p",
    "bcsr_fromdense_p",
    "bcsr_todense_p",
    "coo_fromdense_p",
    "coo_matmat_p",
    "coo_matvec_p",
    "coo_todense_p",
    "csr_fromdense_p",
    "csr_matmat_p",
    "csr_matvec_p",
    "csr_todense_p",
]


class SparseInfo(NamedTuple):
    """The shape of a sparse array, and what is known of its indices."""

    shape: tuple[int, ...]
    indices_sorted: bool = False
    unique_indices: bool = False


class COOInfo(NamedTuple):
    """The shape of a matrix by coordinates, and in which order its elements are."""

    shape: tuple[int, ...]
    rows_sorted: bool = False
    cols_sorted: bool = False


@final
class SparsePrimitive:
    """An operation on the arrays that describe sparse arrays."""

    def __init__(self, name: str, fun: Callable[..., Any]) -> None:
        self.name = name
        self._fun = fun

    def __repr__(self) -> str:
        return self.name

    def bind(self, *args: Any, **params: Any) -> Any:
        """The result for operands and parameters as JAX's primitive has them."""
        return self._fun(*args, **params)


def _bcoo(data: Any, indices: Any, info: SparseInfo) -> BCOO:
    return BCOO((data, indices), **info._asdict())


def _bcsr(data: Any, indices: Any, indptr: Any, info: SparseInfo) -> BCSR:
    return BCSR((data, indices, indptr), **info._asdict())


def _coo(data: Any, row: Any, col: Any, info: COOInfo) -> COO:
    return COO((data, row, col), **info._asdict())


def _csr(data: Any, indices: Any, indptr: Any, shape: Any) -> CSR:
    return CSR((data, indices, indptr), shape=shape)


def _parts(mat: Any) -> tuple[Any, ...]:
    """The arrays of a sparse array."""
    return tuple(mat.tree_flatten()[0])


bcoo_todense_p: Final = SparsePrimitive(
    "bcoo_todense", lambda data, indices, *, spinfo: bcoo_todense(_bcoo(data, indices, spinfo))
)
bcoo_fromdense_p: Final = SparsePrimitive(
    "bcoo_fromdense", lambda mat, **params: _parts(bcoo_fromdense(mat, **params))
)
bcoo_extract_p: Final = SparsePrimitive(
    "bcoo_extract",
    lambda indices, arr, *, assume_unique: (
        bcoo_extract(_places(indices, arr), arr, assume_unique=assume_unique).data
    ),
)
bcoo_sort_indices_p: Final = SparsePrimitive(
    "bcoo_sort_indices",
    lambda data, indices, *, spinfo: _parts(bcoo_sort_indices(_bcoo(data, indices, spinfo))),
)
bcoo_sum_duplicates_p: Final = SparsePrimitive(
    "bcoo_sum_duplicates",
    lambda data, indices, *, spinfo, nse: _parts(
        bcoo_sum_duplicates(_bcoo(data, indices, spinfo), nse)
    ),
)
bcoo_transpose_p: Final = SparsePrimitive(
    "bcoo_transpose",
    lambda data, indices, *, permutation, spinfo: _parts(
        bcoo_transpose(_bcoo(data, indices, spinfo), permutation=permutation)
    ),
)
bcoo_dot_general_p: Final = SparsePrimitive(
    "bcoo_dot_general",
    lambda data, indices, rhs, *, lhs_spinfo, **params: bcoo_dot_general(
        _bcoo(data, indices, lhs_spinfo), rhs, **params
    ),
)
bcoo_dot_general_sampled_p: Final = SparsePrimitive(
    "bcoo_dot_general_sampled",
    lambda a, b, indices, *, dimension_numbers: bcoo_dot_general_sampled(
        a, b, indices, dimension_numbers=dimension_numbers
    ),
)
bcoo_spdot_general_p: Final = SparsePrimitive(
    "bcoo_spdot_general",
    lambda a, a_indices, b, b_indices, *, lhs_spinfo, rhs_spinfo, **params: _parts(
        bcoo_dot_general(_bcoo(a, a_indices, lhs_spinfo), _bcoo(b, b_indices, rhs_spinfo), **params)
    ),
)
bcsr_todense_p: Final = SparsePrimitive(
    "bcsr_todense",
    lambda data, indices, indptr, *, spinfo: bcsr_todense(_bcsr(data, indices, indptr, spinfo)),
)
bcsr_fromdense_p: Final = SparsePrimitive(
    "bcsr_fromdense", lambda mat, **params: _parts(bcsr_fromdense(mat, **params))
)
bcsr_extract_p: Final = SparsePrimitive("bcsr_extract", bcsr_extract)
bcsr_dot_general_p: Final = SparsePrimitive(
    "bcsr_dot_general",
    lambda data, indices, indptr, rhs, *, lhs_spinfo, **params: bcsr_dot_general(
        _bcsr(data, indices, indptr, lhs_spinfo), rhs, **params
    ),
)
coo_todense_p: Final = SparsePrimitive(
    "coo_todense", lambda data, row, col, *, spinfo: coo_todense(_coo(data, row, col, spinfo))
)
coo_fromdense_p: Final = SparsePrimitive(
    "coo_fromdense", lambda mat, **params: _parts(coo_fromdense(mat, **params))
)
coo_matvec_p: Final = SparsePrimitive(
    "coo_matvec",
    lambda data, row, col, v, *, spinfo, transpose: coo_matvec(
        _coo(data, row, col, spinfo), v, transpose=transpose
    ),
)
coo_matmat_p: Final = SparsePrimitive(
    "coo_matmat",
    lambda data, row, col, b, *, spinfo, transpose: coo_matmat(
        _coo(data, row, col, spinfo), b, transpose=transpose
    ),
)
csr_todense_p: Final = SparsePrimitive(
    "csr_todense",
    lambda data, indices, indptr, *, shape: csr_todense(_csr(data, indices, indptr, shape)),
)
csr_fromdense_p: Final = SparsePrimitive(
    "csr_fromdense", lambda mat, **params: _parts(csr_fromdense(mat, **params))
)
csr_matvec_p: Final = SparsePrimitive(
    "csr_matvec",
    lambda data, indices, indptr, v, *, shape, transpose: csr_matvec(
        _csr(data, indices, indptr, shape), v, transpose=transpose
    ),
)
csr_matmat_p: Final = SparsePrimitive(
    "csr_matmat",
    lambda data, indices, indptr, b, *, shape, transpose: csr_matmat(
        _csr(data, indices, indptr, shape), b, transpose=transpose
    ),
)


def _places(indices: Any, arr: Any) -> BCOO:
    """An array with these indices, of the shape and the axes of a dense one."""
    n_batch, n_sparse = indices.ndim - 2, indices.shape[-1]
    dense = arr.shape[n_batch + n_sparse :]
    empty = jnp.zeros((*indices.shape[:-1], *dense), arr.dtype)
    return BCOO((empty, indices), shape=arr.shape)
