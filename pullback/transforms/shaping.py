"""Small structural helpers of the transformations, on the primitives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pullback.core.avals import aval_of
from pullback.ops import comparison, conversion, slicing, structural

__all__ = ["concatenate_rows", "eye_rows", "reshape_to", "row", "rows", "split_axis", "stack_rows"]


def reshape_to(x: Any, shape: Sequence[int]) -> Any:
    """The same elements in another shape."""
    if aval_of(x).shape == tuple(shape):
        return x
    return structural.reshape(x, new_sizes=tuple(shape), dimensions=None, sharding=None)


def split_axis(x: Any, sizes: Sequence[int], axis: int) -> list[Any]:
    """Consecutive parts along an axis."""
    if len(sizes) == 1:
        return [x]
    return list(structural.split(x, sizes=tuple(sizes), axis=axis))


def rows(x: Any, start: int, stop: int) -> Any:
    """The part of the first axis from `start` to `stop`."""
    shape = aval_of(x).shape
    return slicing.slice_(
        x,
        start_indices=(start, *(0,) * (len(shape) - 1)),
        limit_indices=(stop, *shape[1:]),
        strides=None,
    )


def row(x: Any, i: int) -> Any:
    """One element of the first axis."""
    return reshape_to(rows(x, i, i + 1), aval_of(x).shape[1:])


def stack_rows(xs: Sequence[Any]) -> Any:
    """Joined along a new first axis."""
    return concatenate_rows([reshape_to(x, (1, *aval_of(x).shape)) for x in xs])


def concatenate_rows(xs: Sequence[Any]) -> Any:
    """Joined along the first axis."""
    return xs[0] if len(xs) == 1 else structural.concatenate(*xs, dimension=0)


def eye_rows(n: int, first: int, count: int, dtype: Any) -> Any:
    """The columns `first ... first + count - 1` of the identity matrix of size `n`."""
    index = np.dtype(np.int32)
    i = structural.iota(dtype=index, shape=(n, count), dimension=0, sharding=None)
    j = np.arange(first, first + count, dtype=index)
    j = structural.broadcast_in_dim(j, shape=(n, count), broadcast_dimensions=(1,), sharding=None)
    return conversion.convert(comparison.eq(i, j), dtype)
