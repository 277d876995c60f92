"""Operators of two small concrete arrays at little more than NumPy's price, beside `dispatch`.

The general way of `x + y` with two shapes, or of `x @ y`, is several primitives and their checks.
Here the answer to all checks is remembered by the types of the operands: the type of the result,
or that the general way has to be taken.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from pullback import config
from pullback.core import dtypes
from pullback.core.avals import ShapedArray
from pullback.core.primitive import Primitive
from pullback.core.trace import EVAL
from pullback.runtime.array import ArrayImpl
from pullback.runtime.dispatch import LARGE, evaluate, quietly, wrap
from pullback.runtime.residence import REMOTE
from pullback.transforms.staging import abstract_results

__all__ = ["broadcast", "product"]

_LIMIT: Final = 16_384
_plans: Final[dict[Any, ShapedArray | None]] = {}
config.numpy_rank_promotion.watchers.append(_plans.clear)


def _planned(
    key: tuple[Any, ShapedArray, ShapedArray], plan: Callable[..., ShapedArray | None]
) -> ShapedArray | None:
    found = plan(*key)
    if len(_plans) >= _LIMIT:
        _plans.clear()
    _plans[key] = found
    return found


def _are_plain(x: ShapedArray, y: ShapedArray) -> bool:
    return (
        x.dtype == y.dtype
        and not (x.weak_type or y.weak_type)
        and dtypes.kind_of(x.dtype) in "biufc"
        and max(x.size, y.size) < LARGE
    )


def _broadcast_type(primitive: Primitive, x: ShapedArray, y: ShapedArray) -> ShapedArray | None:
    if not _are_plain(x, y) or (x.ndim != y.ndim and config.numpy_rank_promotion() != "allow"):
        return None
    try:
        shape = np.broadcast_shapes(x.shape, y.shape)
    except ValueError:
        return None
    operand = ShapedArray(shape, x.dtype)
    out: ShapedArray = abstract_results(primitive, (operand, operand), {})
    return out if out.size < LARGE else None


def broadcast(primitive: Primitive, x: Any, y: Any) -> Any:
    """`primitive` on arrays that broadcast against each other, or None for the general way."""
    if type(x) is not ArrayImpl or type(y) is not ArrayImpl or config.ACTIVE or REMOTE:
        return None
    key = primitive, x.aval, y.aval
    try:
        out = _plans[key]
    except KeyError:
        out = _planned(key, _broadcast_type)
    if out is None or EVAL.evaluator is not evaluate:
        return None
    return wrap(quietly(primitive.reference, x._data, y._data), out, False)


def _product_type(_: str, x: ShapedArray, y: ShapedArray) -> ShapedArray | None:
    kind, size = dtypes.kind_of(x.dtype), x.dtype.itemsize
    if not _are_plain(x, y) or kind not in "fc" or size < 4 or not x.ndim == y.ndim == 2:
        return None
    if x.shape[1] != y.shape[0] or x.shape[0] * y.shape[1] >= LARGE:
        return None
    return ShapedArray((x.shape[0], y.shape[1]), x.dtype)


def product(x: Any, y: Any) -> Any:
    """The product of two matrices, or None for the general way."""
    if type(x) is not ArrayImpl or type(y) is not ArrayImpl or config.ACTIVE or REMOTE:
        return None
    key = "product", x.aval, y.aval
    try:
        out = _plans[key]
    except KeyError:
        out = _planned(key, _product_type)
    if out is None or EVAL.evaluator is not evaluate:
        return None
    return wrap(quietly(np.dot, x._data, y._data), out, False)
