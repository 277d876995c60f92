"""COO, CSR and CSC: single sparse matrices, with products by vectors and matrices."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from pullback import numpy as jnp
from pullback.experimental.sparse.base import JAXSparse
from pullback.experimental.sparse.bcoo import BCOO, bcoo_fromdense, bcoo_sort_indices
from pullback.experimental.sparse.bcsr import BCSR
from pullback.numpy.promotion import is_arraylike
from pullback.tree_util import register_pytree_node_class

__all__ = [
    "COO",
    "CSC",
    "CSR",
    "coo_fromdense",
    "coo_matmat",
    "coo_matvec",
    "coo_todense",
    "csr_fromdense",
    "csr_matmat",
    "csr_matvec",
    "csr_todense",
]


class _Matrix(JAXSparse):
    """What the three formats share: three arrays, and products through coordinates."""

    data: Any

    def _bcoo(self) -> BCOO:
        raise NotImplementedError

    @property
    def nse(self) -> int:
        """The number of specified elements."""
        return int(self.data.size)

    @property
    def dtype(self) -> Any:
        """The dtype of the elements."""
        return self.data.dtype

    def todense(self) -> Any:
        """The dense matrix."""
        return self._bcoo().todense()

    def __matmul__(self, other: Any) -> Any:
        if isinstance(other, JAXSparse):
            raise NotImplementedError("matmul between two sparse objects.")
        return self._bcoo() @ jnp.asarray(other)


def _arrays(args: Sequence[Any]) -> list[Any]:
    return [jnp.asarray(x) if is_arraylike(x) else x for x in args]


def _fixed_axes(axes: Any) -> None:
    if axes is not None and tuple(axes) != (1, 0):
        raise NotImplementedError("axes argument to transpose()")


@register_pytree_node_class
class COO(_Matrix):
    """A sparse matrix by coordinates; `args` are data, row and column numbers.

    >>> import pullback.numpy as jnp
    >>> COO.fromdense(jnp.array([[0.0, 2.0]])) @ jnp.ones(2)
    Array([2.], dtype=float32)
    """

    def __init__(
        self,
        args: tuple[Any, Any, Any],
        *,
        shape: Sequence[int],
        rows_sorted: bool = False,
        cols_sorted: bool = False,
    ) -> None:
        self.data, self.row, self.col = _arrays(args)
        self.shape = tuple(shape)
        self._rows_sorted, self._cols_sorted = rows_sorted, cols_sorted

    @classmethod
    def fromdense(cls, mat: Any, *, nse: int | None = None, index_dtype: Any = np.int32) -> COO:
        """`coo_fromdense`."""
        return coo_fromdense(mat, nse=nse, index_dtype=index_dtype)

    @classmethod
    def _from_bcoo(cls, mat: BCOO) -> COO:
        places = mat.indices[:, 0], mat.indices[:, 1]
        return cls((mat.data, *places), shape=mat.shape, rows_sorted=mat.indices_sorted)

    @classmethod
    def _empty(cls, shape: Sequence[int], *, dtype: Any = None, index_dtype: Any = "int32") -> COO:
        """No element specified."""
        return cls._from_bcoo(BCOO._empty(_two(shape, "COO"), dtype=dtype, index_dtype=index_dtype))

    @classmethod
    def _eye(cls, N: int, M: int, k: int, *, dtype: Any = None, index_dtype: Any = "int32") -> COO:
        """Ones on the k-th diagonal."""
        return cls._from_bcoo(BCOO._eye(N, M, k, dtype=dtype, index_dtype=index_dtype))

    def _sort_indices(self) -> COO:
        """The matrix with its entries row by row."""
        return COO._from_bcoo(bcoo_sort_indices(self._bcoo()))

    def _bcoo(self) -> BCOO:
        return BCOO((self.data, jnp.stack([self.row, self.col], axis=-1)), shape=self.shape)

    def transpose(self, axes: tuple[int, ...] | None = None) -> COO:
        """The transposed matrix."""
        _fixed_axes(axes)
        return COO(
            (self.data, self.col, self.row),
            shape=self.shape[::-1],
            rows_sorted=self._cols_sorted,
            cols_sorted=self._rows_sorted,
        )

    def tree_flatten(self) -> tuple[Any, Any]:
        """The arrays, and the shape with what is known of the order."""
        known = (self.shape, self._rows_sorted, self._cols_sorted)
        return (self.data, self.row, self.col), known

    @classmethod
    def tree_unflatten(cls, aux_data: Any, children: Any) -> COO:
        """A matrix from what `tree_flatten` gave."""
        self = object.__new__(cls)
        self.data, self.row, self.col = children
        self.shape, self._rows_sorted, self._cols_sorted = aux_data
        return self


def _two(shape: Sequence[int], name: str) -> tuple[int, ...]:
    found = tuple(operator.index(n) for n in shape)
    if len(found) != 2:
        raise ValueError(f"{name} must have ndim=2; got shape={found}")
    return found


class _Compressed(_Matrix):
    """A matrix by compressed rows, or by the compressed rows of its transposed one."""

    def __init__(self, args: Any, *, shape: Sequence[int]) -> None:
        self.data, self.indices, self.indptr = _arrays(args)
        self.shape = tuple(shape)

    def tree_flatten(self) -> tuple[Any, Any]:
        """The arrays, and the shape."""
        return (self.data, self.indices, self.indptr), self.shape

    @classmethod
    def tree_unflatten(cls, aux_data: Any, children: Any) -> Any:
        """A matrix from what `tree_flatten` gave."""
        self = object.__new__(cls)
        self.data, self.indices, self.indptr = children
        self.shape = aux_data
        return self

    def _rows(self, shape: tuple[int, ...]) -> BCOO:
        return BCSR((self.data, self.indices, self.indptr), shape=shape).to_bcoo()


@register_pytree_node_class
class CSR(_Compressed):
    """A sparse matrix by compressed rows; `args` are data, column numbers and row pointers.

    >>> import pullback.numpy as jnp
    >>> CSR.fromdense(jnp.array([[0.0, 2.0]])) @ jnp.ones(2)
    Array([2.], dtype=float32)
    """

    @classmethod
    def fromdense(cls, mat: Any, *, nse: int | None = None, index_dtype: Any = np.int32) -> CSR:
        """`csr_fromdense`."""
        return csr_fromdense(mat, nse=nse, index_dtype=index_dtype)

    @classmethod
    def _from_bcoo(cls, mat: BCOO) -> CSR:
        rows = BCSR.from_bcoo(mat)
        return cls((rows.data, rows.indices, rows.indptr), shape=mat.shape)

    @classmethod
    def _empty(cls, shape: Sequence[int], *, dtype: Any = None, index_dtype: Any = "int32") -> CSR:
        """No element specified."""
        return cls._from_bcoo(BCOO._empty(_two(shape, "CSR"), dtype=dtype, index_dtype=index_dtype))

    @classmethod
    def _eye(cls, N: int, M: int, k: int, *, dtype: Any = None, index_dtype: Any = "int32") -> CSR:
        """Ones on the k-th diagonal."""
        return cls._from_bcoo(BCOO._eye(N, M, k, dtype=dtype, index_dtype=index_dtype))

    def _bcoo(self) -> BCOO:
        return self._rows(self.shape)

    def transpose(self, axes: Any = None) -> CSC:
        """The transposed matrix, by compressed columns."""
        _fixed_axes(axes)
        return CSC((self.data, self.indices, self.indptr), shape=self.shape[::-1])


@register_pytree_node_class
class CSC(_Compressed):
    """A sparse matrix by compressed columns; `args` are data, row numbers and column pointers.

    >>> import pullback.numpy as jnp
    >>> CSC.fromdense(jnp.array([[0.0, 2.0]])) @ jnp.ones(2)
    Array([2.], dtype=float32)
    """

    @classmethod
    def fromdense(cls, mat: Any, *, nse: int | None = None, index_dtype: Any = np.int32) -> CSC:
        """The matrix of the elements that are not 0."""
        return csr_fromdense(jnp.asarray(mat).T, nse=nse, index_dtype=index_dtype).T  # type: ignore[no-any-return]

    @classmethod
    def _empty(cls, shape: Sequence[int], *, dtype: Any = None, index_dtype: Any = "int32") -> CSC:
        """No element specified."""
        turned = _two(shape, "CSC")[::-1]
        return CSR._empty(turned, dtype=dtype, index_dtype=index_dtype).transpose()

    @classmethod
    def _eye(cls, N: int, M: int, k: int, *, dtype: Any = None, index_dtype: Any = "int32") -> CSC:
        """Ones on the k-th diagonal."""
        return CSR._eye(M, N, -k, dtype=dtype, index_dtype=index_dtype).transpose()

    def _bcoo(self) -> BCOO:
        return self._rows(self.shape[::-1]).transpose()

    def transpose(self, axes: Any = None) -> CSR:
        """The transposed matrix, by compressed rows."""
        _fixed_axes(axes)
        return CSR((self.data, self.indices, self.indptr), shape=self.shape[::-1])


# --------------------------------------------------------------------------- functions


def coo_fromdense(mat: Any, *, nse: int | None = None, index_dtype: Any = np.int32) -> COO:
    """The matrix of the elements that are not 0, of which there are `nse`."""
    return COO._from_bcoo(bcoo_fromdense(_matrix(mat), nse=nse, index_dtype=index_dtype))


def csr_fromdense(mat: Any, *, nse: int | None = None, index_dtype: Any = np.int32) -> CSR:
    """The matrix of the elements that are not 0, of which there are `nse`."""
    return CSR._from_bcoo(bcoo_fromdense(_matrix(mat), nse=nse, index_dtype=index_dtype))


def _matrix(mat: Any) -> Any:
    mat = jnp.asarray(mat)
    if mat.ndim != 2:
        raise ValueError(f"expected a matrix, got an array of shape {mat.shape}")
    return mat


def coo_todense(mat: COO) -> Any:
    """The dense matrix."""
    return mat.todense()


def csr_todense(mat: CSR) -> Any:
    """The dense matrix."""
    return mat.todense()


def _product(mat: _Matrix, other: Any, transpose: bool, ndim: int) -> Any:
    other = jnp.asarray(other)
    if other.ndim != ndim:
        raise ValueError(f"expected an array of {ndim} axes, got shape {other.shape}")
    return (mat.T if transpose else mat) @ other


def coo_matvec(mat: COO, v: Any, transpose: bool = False) -> Any:
    """The product of a matrix, or of the transposed one, and a vector."""
    return _product(mat, v, transpose, 1)


def coo_matmat(mat: COO, B: Any, *, transpose: bool = False) -> Any:
    """The product of a matrix, or of the transposed one, and a dense matrix."""
    return _product(mat, B, transpose, 2)


def csr_matvec(mat: CSR, v: Any, transpose: bool = False) -> Any:
    """The product of a matrix, or of the transposed one, and a vector."""
    return _product(mat, v, transpose, 1)


def csr_matmat(mat: CSR, B: Any, *, transpose: bool = False) -> Any:
    """The product of a matrix, or of the transposed one, and a dense matrix."""
    return _product(mat, B, transpose, 2)
