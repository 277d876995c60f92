"""Sums of a few weighted neighbours along an axis: linear maps whose matrices are bands.

An image resized is such a map along each axis. The product with the matrix reads every pixel for
every result; here each result reads the few that count. The transpose is a map of the same kind,
so that a gradient scatters nothing.
"""

from __future__ import annotations

import functools
import math
from typing import Any, Final, Self

import numpy as np

from pullback import lax
from pullback.control.linear_call import linear_call
from pullback.core import dtypes
from pullback.core.dimensions import is_symbolic
from pullback.numpy.creation import asarray
from pullback.numpy.einsums import einsum
from pullback.records import record
from pullback.runtime.jit import jit

__all__ = ["Taps", "pick", "weighted"]

_WORTH: Final = 6
"""How many elements of a matrix are multiplied in the time of one tap."""
_KEPT: Final = 64
"""Maps whose transposes are remembered."""
_SHORT: Final = 16
"""Elements behind an axis, below which neighbours along it are read one by one."""


@record()
class Taps:
    """Result k is the sum of weights[t, k] x[first[k] + t] over t; x has `inputs` elements.

    >>> Taps.of(3, np.array([0, 1]), np.array([[2.0, 3.0], [0.0, 4.0]])).matrix()
    array([[2., 0.],
           [0., 3.],
           [0., 4.]])
    """

    inputs: int
    first: np.ndarray[Any, Any]
    weights: np.ndarray[Any, Any]

    @classmethod
    def of(cls, inputs: int, first: Any, weights: Any) -> Self:
        """Taps with as few weights for each result as are not zero."""
        return cls(inputs, first, weights)._among(inputs, weights.shape[1], transposed=False)

    def _entries(self) -> tuple[Any, Any, Any]:
        """Where weights are not zero: which element, which result, and what they are."""
        tap, result = np.nonzero(self.weights)
        return self.first[result] + tap, result, self.weights[tap, result]

    def _among(self, inputs: int, results: int, transposed: bool) -> Self:
        element, result, weight = self._entries()
        if transposed:
            element, result = result, element
        low, high = np.full(results, inputs), np.full(results, -1)
        np.minimum.at(low, result, element)
        np.maximum.at(high, result, element)
        count = max(1, int((high - low + 1).max(initial=1)))
        first = np.clip(low, 0, max(inputs - count, 0)).astype(np.int32)
        weights = np.zeros((count, results), self.weights.dtype)
        weights[element - first[result], result] = weight
        return type(self)(inputs, first, weights)

    @functools.lru_cache(maxsize=_KEPT)  # noqa: B019 (programs are found by identity)
    def transposed(self) -> Self:
        """The transposed map."""
        return self._among(self.weights.shape[1], self.inputs, transposed=True)

    def matrix(self) -> np.ndarray[Any, Any]:
        """The map as a matrix (inputs, results)."""
        out = np.zeros((self.inputs, self.weights.shape[1]), self.weights.dtype)
        element, result, weight = self._entries()
        out[element, result] = weight
        return out

    @property
    def few(self) -> bool:
        """Whether reading the taps takes less time than multiplying by the matrix."""
        count, results = self.weights.shape
        return bool(0 < count * _WORTH <= self.inputs and results > 0)


def weighted(x: Any, axis: int, taps: Taps, precision: Any) -> Any:
    """`x` with the map applied along `axis`; `precision` is that of a product, if it is one.

    >>> halves = Taps.of(3, np.array([0]), np.full((2, 1), 0.5, np.float32))
    >>> weighted(asarray([1.0, 2.0, 3.0]), 0, halves, None)
    Array([1.5], dtype=float32)
    """

    def apply(_: Any, x: Any) -> Any:
        return _applied(x, axis, taps, precision)

    def apply_transposed(_: Any, ct: Any) -> Any:
        return _applied(ct, axis, taps.transposed(), precision)

    return linear_call(apply, apply_transposed, (), x)


def pick(x: Any, axis: int, places: np.ndarray[Any, Any]) -> Any:
    """`take(x, places, axis)` for int32 places that are within bounds.

    >>> pick(asarray([1, 2, 3]), 0, np.array([0, 0, 2], np.int32))
    Array([1, 1, 3], dtype=int32)
    """
    inputs = x.shape[axis]

    def apply(_: Any, x: Any) -> Any:
        return _read(x, axis, places)

    def apply_transposed(_: Any, ct: Any) -> Any:
        ones = np.ones((1, len(places)), np.float32)
        return _applied(ct, axis, Taps(inputs, places, ones).transposed(), None)

    if dtypes.issubdtype(x.dtype, np.inexact):
        return linear_call(apply, apply_transposed, (), x)
    return apply(None, x)


def _applied(x: Any, axis: int, taps: Taps, precision: Any) -> Any:
    return _summed(x, axis, taps) if taps.few else _product(x, axis, taps, precision)


def _product(x: Any, axis: int, taps: Taps, precision: Any) -> Any:
    letters = list(range(x.ndim))
    out = [x.ndim if d == axis else d for d in letters]
    matrix = asarray(taps.matrix(), x.dtype)
    return einsum(x, letters, matrix, [axis, x.ndim], out, precision=precision)


@functools.partial(jit, static_argnames=("axis", "taps"))
def _summed(x: Any, axis: int, taps: Taps) -> Any:
    """The sums. Short rows behind the axis become a part of it, so that vectors go along it."""
    weights, behind = taps.weights.astype(dtypes.to_real_dtype(x.dtype)), x.shape[axis + 1 :]
    count, results = weights.shape
    places = taps.first + np.arange(count, dtype=np.int32)[:, None]
    shape = (*x.shape[:axis], results, *behind)
    step = math.prod(behind)
    if not is_symbolic(step) and 1 < step < _SHORT:
        places = (places[:, :, None] * step + np.arange(step, dtype=np.int32)).reshape(count, -1)
        weights = np.repeat(weights, step, axis=1)
        x = x.reshape((*x.shape[:axis], taps.inputs * step))
        behind = ()
    rows = _read(x, axis, places)
    wide = dtypes.promote_types(rows.dtype, np.float32)  # products of narrow floats are exact
    weights = asarray(weights).astype(dtypes.promote_types(weights.dtype, np.float32))
    products = rows.astype(wide) * weights.reshape(weights.shape + (1,) * len(behind))
    return products.sum(axis).astype(x.dtype).reshape(shape)


def _read(x: Any, axis: int, places: np.ndarray[Any, Any]) -> Any:
    """Elements at `places` along an axis, which the axes of `places` take the place of."""
    after = range(axis + places.ndim, x.ndim - 1 + places.ndim)
    return lax.gather(
        x,
        places[..., None],
        lax.GatherDimensionNumbers((*range(axis), *after), (axis,), (axis,)),
        tuple(1 if d == axis else n for d, n in enumerate(x.shape)),
        mode=lax.GatherScatterMode.PROMISE_IN_BOUNDS,
    )
