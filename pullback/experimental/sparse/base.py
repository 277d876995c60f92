"""What sparse formats share: the class they extend, warnings, and helpers on batches."""

from __future__ import annotations

import abc
import math
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pullback import numpy as jnp
from pullback.transforms.mapping import vmap

__all__ = [
    "BatchedSparse",
    "CuSparseEfficiencyWarning",
    "JAXSparse",
    "SparseEfficiencyError",
    "SparseEfficiencyWarning",
    "batched",
    "is_array",
    "to_width",
]


class SparseEfficiencyWarning(UserWarning):
    """A sparse operation that needs much more memory or work than it seems to."""


class SparseEfficiencyError(ValueError):
    """The same as an error: a layout that would waste memory was asked for."""


class CuSparseEfficiencyWarning(SparseEfficiencyWarning):
    """For programs that filter it: our kernels do not use cuSPARSE."""


class JAXSparse(abc.ABC):
    """The base of sparse arrays: a shape, some arrays that describe the elements, operators."""

    shape: tuple[int, ...]
    __array_priority__ = 100
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, args: tuple[Any, ...], *, shape: Sequence[int]) -> None:
        self.shape = tuple(operator.index(n) for n in shape)

    @property
    @abc.abstractmethod
    def nse(self) -> int:
        """The number of specified elements."""

    @property
    @abc.abstractmethod
    def dtype(self) -> Any:
        """The dtype of the elements."""

    @abc.abstractmethod
    def todense(self) -> Any:
        """The dense array."""

    @abc.abstractmethod
    def transpose(self, axes: Any = None) -> Any:
        """The array with its axes turned around, or in the order of `axes`."""

    @abc.abstractmethod
    def tree_flatten(self) -> tuple[Any, Any]:
        """The arrays, and what describes them."""

    @classmethod
    @abc.abstractmethod
    def tree_unflatten(cls, aux_data: Any, children: Any) -> Any:
        """An array from what `tree_flatten` gave."""

    @property
    def size(self) -> int:
        """The number of elements of the dense array."""
        return math.prod(self.shape)

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def T(self) -> Any:
        """The transposed array."""
        return self.transpose()

    def block_until_ready(self) -> Any:
        """The array itself; results are ready when they exist."""
        return self

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.dtype.name}{list(self.shape)}, nse={self.nse})"

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of unsized object")
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        for k in range(len(self)):
            yield self[k]

    def _missing(self, name: str) -> Any:
        raise NotImplementedError(f"{type(self)}.{name}")

    # Operators that a format does not define say so.

    def __getitem__(self, index: Any) -> Any:
        return self._missing("__getitem__")

    def __neg__(self) -> Any:
        return self._missing("__neg__")

    def __abs__(self) -> Any:
        return self._missing("__abs__")

    def __matmul__(self, other: Any) -> Any:
        return self._missing("__matmul__")

    def __rmatmul__(self, other: Any) -> Any:
        return self._missing("__rmatmul__")

    def __mul__(self, other: Any) -> Any:
        return self._missing("__mul__")

    def __rmul__(self, other: Any) -> Any:
        return self._missing("__rmul__")

    def __add__(self, other: Any) -> Any:
        return self._missing("__add__")

    def __radd__(self, other: Any) -> Any:
        return self._missing("__radd__")

    def __sub__(self, other: Any) -> Any:
        return self._missing("__sub__")

    def __rsub__(self, other: Any) -> Any:
        return self._missing("__rsub__")

    def __truediv__(self, other: Any) -> Any:
        return self._missing("__truediv__")

    def __pow__(self, other: Any) -> Any:
        return self._missing("__pow__")

    def sum(self, *args: Any, **kwargs: Any) -> Any:
        """The sum over axes."""
        return self._missing("sum")


class BatchedSparse(JAXSparse):
    """The base of formats with batch axes in front of the sparse ones, and dense ones behind.

    `data` holds the elements (batch..., nse, dense...), `indices` and whatever else a format has
    say where they are.
    """

    data: Any
    indices: Any
    indices_sorted: bool
    unique_indices: bool

    @property
    @abc.abstractmethod
    def n_batch(self) -> int:
        """The number of batch axes."""

    @property
    @abc.abstractmethod
    def _arrays(self) -> tuple[Any, ...]:
        """Data, indices, and what else there is."""

    @property
    def n_dense(self) -> int:
        """The number of dense axes."""
        return int(self.data.ndim) - 1 - self.n_batch

    @property
    def dtype(self) -> Any:
        """The dtype of the elements."""
        return self.data.dtype

    def __repr__(self) -> str:
        name = type(self).__name__
        if not (is_array(self.data) and is_array(self.indices)):
            return f"{name}(shape={self.shape})"
        extra = f", n_batch={self.n_batch}" if self.n_batch else ""
        extra += f", n_dense={self.n_dense}" if self.n_dense else ""
        return f"{name}({self.dtype.name}{list(self.shape)}, nse={self.nse}{extra})"

    # A tree keeps the sizes of sparse and dense axes.  Those of batch axes follow from the data,
    # which is how mapped functions (and the steps of a scan) see single batches.

    def tree_flatten(self) -> tuple[Any, Any]:
        """The arrays, and the shape with what is known of the indices."""
        return self._arrays, (self.shape, self.indices_sorted, self.unique_indices)


def is_array(x: Any) -> bool:
    """Whether a child of a sparse array is an array rather than a placeholder of a tree."""
    return getattr(x, "shape", None) is not None


def batched(fun: Callable[..., Any], count: int) -> Callable[..., Any]:
    """`fun` on each of the elements of `count` leading axes.

    A leading axis may have length 1 in some operands; what has no such axes at all is not batched.
    """

    def run(*args: Any) -> Any:
        return _nested(fun, list(args), count)

    return run


def _nested(fun: Callable[..., Any], args: list[Any], count: int) -> Any:
    if count == 0:
        return fun(*args)
    size = max((x.shape[0] for x in args if x is not None), default=1)
    if any(x is not None and x.shape[0] == 0 for x in args):
        size = 0
    axes = tuple(None if x is None or (x.shape[0] == 1 and size != 1) else 0 for x in args)
    given = [x[0] if a is None and x is not None else x for x, a in zip(args, axes, strict=True)]
    return vmap(lambda *xs: _nested(fun, list(xs), count - 1), in_axes=axes, axis_size=size)(*given)


def to_width(x: Any, shape: Sequence[int], count: int) -> Any:
    """`x` with its `count` leading axes of length 1 broadcast to those of `shape`."""
    return jnp.broadcast_to(x, (*shape[:count], *x.shape[count:]))
