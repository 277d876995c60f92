"""Operations on small concrete arrays at little more than NumPy's price, beside `dispatch`.

The general way of `x + y` with two shapes, of `x @ y`, of `where` or of the rows of an array is
several primitives and their checks. Here the answer to all checks is remembered by the types of the
operands: the type of the result, or that the general way has to be taken.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from pullback import config
from pullback.core import dtypes
from pullback.core.avals import ShapedArray
from pullback.core.primitive import Primitive
from pullback.core.trace import EVAL
from pullback.runtime.array import ArrayImpl, make_array
from pullback.runtime.dispatch import LARGE, evaluate, quietly, wrap
from pullback.runtime.residence import REMOTE
from pullback.transforms.staging import abstract_results

__all__ = ["broadcast", "product", "rows", "select", "stack"]

_LIMIT: Final = 16_384
_plans: Final[dict[Any, ShapedArray | None]] = {}
for _setting in (config.numpy_rank_promotion, config.numpy_dtype_promotion, config.x64):
    _setting.watchers.append(_plans.clear)


def _is_plain_evaluation() -> bool:
    """Whether nothing is traced or checked, no setting is overridden and no device is in use."""
    return not config.ACTIVE and not REMOTE and EVAL.evaluator is evaluate


def _planned(key: tuple[Any, ...], plan: Callable[..., ShapedArray | None]) -> ShapedArray | None:
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
    if type(x) is not ArrayImpl or type(y) is not ArrayImpl or not _is_plain_evaluation():
        return None
    key = primitive, x.aval, y.aval
    try:
        out = _plans[key]
    except KeyError:
        out = _planned(key, _broadcast_type)
    if out is None:
        return None
    return wrap(quietly(primitive.reference, x._data, y._data), out, False)


def _product_type(_: str, x: ShapedArray, y: ShapedArray) -> ShapedArray | None:
    kind, size = dtypes.kind_of(x.dtype), x.dtype.itemsize
    if not _are_plain(x, y) or kind not in "fc" or size < 4:
        return None
    if not (1 <= x.ndim <= 2 and 1 <= y.ndim <= 2) or x.shape[-1] != y.shape[0]:
        return None
    out = ShapedArray((*x.shape[:-1], *y.shape[1:]), x.dtype)
    return out if out.size < LARGE else None


def product(x: Any, y: Any) -> Any:
    """The product of two matrices or vectors, or None for the general way."""
    if type(x) is not ArrayImpl or type(y) is not ArrayImpl or not _is_plain_evaluation():
        return None
    key = "product", x.aval, y.aval
    try:
        out = _plans[key]
    except KeyError:
        out = _planned(key, _product_type)
    if out is None:
        return None
    return wrap(quietly(np.dot, x._data, y._data), out, False)


def rows(x: Any) -> list[Any] | None:
    """The elements along the first axis of an array, or None for the general way."""
    if type(x) is not ArrayImpl or not _is_plain_evaluation():
        return None
    aval = x.aval.update(shape=x.aval.shape[1:])
    if aval.shape:
        return [make_array(row, aval) for row in x._data]
    return [make_array(np.asarray(element), aval) for element in x._data]


def stack(arrays: Sequence[Any], axis: int) -> Any:
    """Arrays of one type along a new axis, or None for the general way."""
    aval = getattr(arrays[0], "aval", None)
    if aval is None or not _is_plain_evaluation() or aval.size * len(arrays) >= LARGE:
        return None
    for x in arrays:
        if type(x) is not ArrayImpl or x.aval is not aval:
            return None
    data = np.stack([x._data for x in arrays], axis)
    return make_array(data, aval.update(shape=data.shape))


def _select_type(_: str, pred: ShapedArray, x: Any, y: Any) -> ShapedArray | None:
    avals = [z for z in (x, y) if isinstance(z, ShapedArray)]
    values = [z.dtype if isinstance(z, ShapedArray) else z(0) for z in (x, y)]
    if not avals or pred.kind != "b" or any(z.weak_type for z in avals):
        return None
    dtype, weak = dtypes.result_type_and_weak(*values)
    if weak or any(z.dtype != dtype or z.shape != pred.shape for z in avals) or pred.size >= LARGE:
        return None
    return ShapedArray(pred.shape, dtype) if avals[0].kind in "fbc" else None


def select(pred: Any, x: Any, y: Any) -> Any:
    """`x` where `pred`, else `y`: arrays of one shape or Python numbers, or None."""
    if type(pred) is not ArrayImpl or not _is_plain_evaluation():
        return None
    of_x, of_y = (z.aval if type(z) is ArrayImpl else type(z) for z in (x, y))
    key = "select", pred.aval, of_x, of_y
    try:
        out = _plans[key]
    except KeyError:
        numbers = all(type(z) in (ArrayImpl, float, int, bool) for z in (x, y))
        out = _planned(key, _select_type if numbers else lambda *_: None)
    if out is None:
        return None
    number: Any = out.dtype.type
    x, y = (z._data if type(z) is ArrayImpl else number(z) for z in (x, y))
    return wrap(np.where(pred._data, x, y), out, False)
