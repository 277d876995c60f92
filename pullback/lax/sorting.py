"""Functions of `jax.lax` that sort arrays, and that find their largest elements."""

from __future__ import annotations

import operator
from typing import Any, Final

from pullback.control import approximate
from pullback.core import dtypes
from pullback.core.avals import aval_of
from pullback.lax.structural import canonical_axis
from pullback.ops import sorting

__all__ = [
    "approx_max_k",
    "approx_min_k",
    "approx_top_k_p",
    "sort",
    "sort_key_val",
    "sort_p",
    "top_k",
    "top_k_p",
]

approx_top_k_p: Final = approximate.approx_top_k
sort_p: Final = sorting.sort
top_k_p: Final = sorting.top_k


def sort(operand: Any, dimension: int = -1, is_stable: bool = True, num_keys: int = 1) -> Any:
    """`operand` sorted along an axis; a tuple is sorted by its first `num_keys` arrays.

    NaNs come last; 0 and -0 are equal.

    >>> import numpy as np
    >>> sort(np.array([3, 1, 2]))
    Array([1, 2, 3], dtype=int32)
    """
    if not isinstance(operand, (list, tuple)):
        if num_keys != 1:
            raise ValueError(f"num_keys={num_keys} must be 1 for one operand")
        axis = canonical_axis(dimension, aval_of(operand).ndim)
        return sorting.sort(operand, dimension=axis, is_stable=bool(is_stable), num_keys=1)[0]
    if not operand:
        raise TypeError("sort requires at least one operand")
    if not 1 <= num_keys <= len(operand):
        raise ValueError(f"{num_keys=} must be between 1 and len(operand)={len(operand)}")
    axis = canonical_axis(dimension, aval_of(operand[0]).ndim)
    outs = sorting.sort(*operand, dimension=axis, is_stable=bool(is_stable), num_keys=num_keys)
    return tuple(outs)


def sort_key_val(
    keys: Any, values: Any, dimension: int = -1, is_stable: bool = True
) -> tuple[Any, Any]:
    """Both arrays in the order of `keys` along an axis.

    >>> import numpy as np
    >>> [x.tolist() for x in sort_key_val(np.array([3, 1]), np.array([7, 8]))]
    [[1, 3], [8, 7]]
    """
    first, second = sort((keys, values), dimension, is_stable, 1)
    return first, second


def top_k(operand: Any, k: int, *, axis: int = -1) -> list[Any]:
    """The `k` largest elements along an axis, and where they are.

    >>> import numpy as np
    >>> [x.tolist() for x in top_k(np.array([3, 9, 5]), 2)]
    [[9, 5], [1, 2]]
    """
    aval = aval_of(operand)
    axis, k = canonical_axis(axis, aval.ndim), operator.index(k)
    if k < 0:
        raise ValueError(f"k argument to top_k must be nonnegative, got {k}")
    if k > aval.shape[axis]:
        raise ValueError(
            "k argument to top_k must be no larger than size along axis; "
            f"got {k=} with shape={list(aval.shape)} and {axis=}"
        )
    return list(sorting.top_k(operand, k=k, axis=axis))


def approx_max_k(
    operand: Any,
    k: int,
    reduction_dimension: int = -1,
    recall_target: float = 0.95,
    reduction_input_size_override: int = -1,
    aggregate_to_topk: bool = True,
) -> list[Any]:
    """The `k` largest elements along an axis and where they are: exact, which meets any recall.

    >>> import numpy as np
    >>> [x.tolist() for x in approx_max_k(np.array([3.0, 9.0, 5.0]), 2)]
    [[9.0, 5.0], [1, 2]]
    """
    return _extreme_k(
        operand,
        k=k,
        reduction_dimension=reduction_dimension,
        recall_target=recall_target,
        is_max_k=True,
        reduction_input_size_override=reduction_input_size_override,
        aggregate_to_topk=aggregate_to_topk,
    )


def approx_min_k(
    operand: Any,
    k: int,
    reduction_dimension: int = -1,
    recall_target: float = 0.95,
    reduction_input_size_override: int = -1,
    aggregate_to_topk: bool = True,
) -> list[Any]:
    """The `k` smallest elements along an axis and where they are: exact, which meets any recall.

    >>> import numpy as np
    >>> [x.tolist() for x in approx_min_k(np.array([3.0, 9.0, 5.0]), 2)]
    [[3.0, 5.0], [0, 2]]
    """
    return _extreme_k(
        operand,
        k=k,
        reduction_dimension=reduction_dimension,
        recall_target=recall_target,
        is_max_k=False,
        reduction_input_size_override=reduction_input_size_override,
        aggregate_to_topk=aggregate_to_topk,
    )


def _extreme_k(operand: Any, *, k: int, reduction_dimension: int, **options: Any) -> list[Any]:
    aval = aval_of(operand)
    if dtypes.kind_of(aval.dtype) != "f":
        raise ValueError(f"approx_max_k and approx_min_k take floats, got {aval}")
    axis = canonical_axis(reduction_dimension, aval.ndim)
    if not 0 <= k <= aval.shape[axis]:
        raise ValueError(f"k must be between 0 and the length {aval.shape[axis]}, got {k}")
    outs = approximate.approx_top_k.bind(
        operand, k=operator.index(k), reduction_dimension=reduction_dimension, **options
    )
    return list(outs)
