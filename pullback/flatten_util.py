"""The namespace `jax.flatten_util`: a whole tree of arrays as one vector, and back.

>>> from pullback.flatten_util import ravel_pytree
>>> vector, unravel = ravel_pytree({"a": [1.0, 2.0], "b": 3.0})
>>> vector
Array([1., 2., 3.], dtype=float32, weak_type=True)
>>> unravel(2 * vector)["b"]
Array(6., dtype=float32, weak_type=True)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, final

import pullback.numpy as jnp
from pullback import tree
from pullback.core import dtypes

__all__ = ["ravel_pytree"]


@final
@dataclass(frozen=True)
class _Unravel:
    """The inverse of raveling trees of one structure; equal ones are interchangeable in jit."""

    treedef: tree.PyTreeDef
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[Any, ...]
    dtype: Any
    """Of the vector; None if all leaves have it, and then any other will do."""

    def __call__(self, vector: Any) -> Any:
        sizes = [math.prod(shape) for shape in self.shapes]
        total = sum(sizes)
        given = jnp.shape(vector)
        if not given or given[0] != total:
            raise ValueError(
                f"unravel needs a vector of {total} elements for {self.treedef}, got an array of "
                f"shape {given}"
            )
        found = dtypes.dtype_of(vector)
        if self.dtype is not None and found != self.dtype:
            raise TypeError(
                f"unravel function given array of dtype {found}, but expected dtype {self.dtype}"
            )
        parts = jnp.split(vector, list(accumulate(sizes))[:-1]) if sizes else []
        leaves = zip(parts, self.shapes, self.dtypes, strict=True)
        return self.treedef.unflatten(
            [self._restored(jnp.reshape(part, shape), dtype) for part, shape, dtype in leaves]
        )

    def _restored(self, part: Any, dtype: Any) -> Any:
        if self.dtype is None:
            return part
        if dtypes.kind_of(self.dtype) == "c" and dtypes.kind_of(dtype) != "c":
            part = jnp.real(part)
        return part.astype(dtype)


def ravel_pytree(pytree: Any) -> tuple[Any, Callable[[Any], Any]]:
    """The leaves of a tree, raveled and joined into one vector, and the function back.

    The vector has the common dtype of the leaves; going back restores each leaf's shape and dtype.

    >>> vector, unravel = ravel_pytree((1, [2.5]))
    >>> vector, unravel(vector)[0]
    (Array([1. , 2.5], dtype=float32, weak_type=True), Array(1, dtype=int32))
    """
    leaves, treedef = tree.flatten(pytree)
    kinds = tuple([dtypes.dtype_of(leaf) for leaf in leaves])
    shapes = tuple([tuple(jnp.shape(leaf)) for leaf in leaves])
    if not leaves:
        return jnp.zeros(0, dtypes.default_float()), _Unravel(treedef, (), (), None)
    vector = jnp.concatenate([jnp.ravel(leaf) for leaf in leaves])
    common = None if len(set(kinds)) == 1 else dtypes.dtype_of(vector)
    return vector, _Unravel(treedef, shapes, kinds, common)
