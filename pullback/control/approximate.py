"""`approx_top_k`: the largest elements where some may be missed.  Ours misses none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from pullback.control.composite import composite
from pullback.core import dtypes
from pullback.core.avals import aval_of
from pullback.core.primitive import Primitive, Sample
from pullback.ops import elementwise, sorting
from pullback.ops.samples import draw, generator

__all__ = ["approx_top_k"]


def _top(
    operand: Any,
    *,
    k: int,
    reduction_dimension: int,
    recall_target: float,
    is_max_k: bool,
    reduction_input_size_override: int,
    aggregate_to_topk: bool,
) -> list[Any]:
    aval = aval_of(operand)
    axis = reduction_dimension % max(aval.ndim, 1)
    x = operand if is_max_k else elementwise.neg(operand)
    kept = k if aggregate_to_topk else aval.shape[axis]
    values, places = sorting.top_k(x, k=kept, axis=axis)
    return [values if is_max_k else elementwise.neg(values), places]


def _samples() -> Iterator[Sample]:
    x = draw(generator(), dtypes.float32, (3, 7))
    for is_max, axis in ((True, -1), (False, 0)):
        params = {
            "k": 2,
            "reduction_dimension": axis,
            "recall_target": 0.95,
            "is_max_k": is_max,
            "reduction_input_size_override": -1,
            "aggregate_to_topk": True,
        }
        yield Sample((x,), params)


approx_top_k: Final[Primitive] = composite(
    "approx_top_k", _top, samples=_samples, multiple_results=True
)
