"""Products for users, with JAX's signatures: thin layers over `dot_general`."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, TypeAlias

from pullback import config
from pullback.core import dtypes
from pullback.core.avals import aval_of
from pullback.core.source import at_user_line
from pullback.ops.contractions import DotDimensionNumbers
from pullback.ops.contractions import dot_general as dot_general_p
from pullback.ops.precision import (
    DotAlgorithm,
    DotAlgorithmPreset,
    Precision,
    canonicalize_precision,
)
from pullback.runtime.placement import as_asked

__all__ = [
    "DotAlgorithm",
    "DotAlgorithmPreset",
    "DotDimensionNumbers",
    "Precision",
    "PrecisionLike",
    "batch_matmul",
    "dot",
    "dot_general",
    "dot_general_p",
]

PrecisionLike: TypeAlias = (
    "str | Precision | tuple[Any, Any] | DotAlgorithm | DotAlgorithmPreset | None"
)


# --------------------------------------------------------------------------- products


def _precision(precision: Any) -> Any:
    return canonicalize_precision(precision, config.default_matmul_precision())


def _element_type(preferred: Any) -> Any:
    return None if preferred is None else dtypes.check_user_dtype(preferred, "dot_general")


def _axes(values: Any) -> tuple[int, ...]:
    return tuple(int(k) for k in values)


def dot_general(
    lhs: Any,
    rhs: Any,
    dimension_numbers: DotDimensionNumbers,
    precision: PrecisionLike = None,
    preferred_element_type: Any = None,
    *,
    out_sharding: Any = None,
) -> Any:
    """Multiply and sum over contracted axes: the general product of two arrays.

    `dimension_numbers` is `((lhs_contracting, rhs_contracting), (lhs_batch, rhs_batch))`.  The
    result has the batch axes, then the other axes of `lhs`, then those of `rhs`.  Narrow floats are
    summed in float32; `preferred_element_type` is the dtype of the result.

    Raises TypeError where axes or their lengths do not fit.

    >>> from pullback import lax
    >>> import numpy as np
    >>> x, y = np.ones((5, 2, 3), "float32"), np.ones((5, 3, 4), "float32")
    >>> lax.dot_general(x, y, (((2,), (1,)), ((0,), (0,)))).shape
    (5, 2, 4)
    """
    if out_sharding is not None:
        options = (precision, preferred_element_type)
        return as_asked(out_sharding, dot_general, lhs, rhs, dimension_numbers, *options)
    return dot_general_p.bind(
        lhs,
        rhs,
        dimension_numbers=_numbers(dimension_numbers),
        precision=_precision(precision),
        preferred_element_type=_element_type(preferred_element_type),
        out_sharding=None,
    )


def _numbers(dimension_numbers: Any) -> Any:
    try:
        return _hashable_numbers(dimension_numbers)
    except TypeError:  # lists
        return _hashable_numbers.__wrapped__(dimension_numbers)


@lru_cache(4096)
def _hashable_numbers(dimension_numbers: Any) -> Any:
    (lc, rc), (lb, rb) = dimension_numbers
    return (_axes(lc), _axes(rc)), (_axes(lb), _axes(rb))


def dot(
    lhs: Any,
    rhs: Any,
    *,
    dimension_numbers: DotDimensionNumbers | None = None,
    precision: PrecisionLike = None,
    preferred_element_type: Any = None,
    out_sharding: Any = None,
) -> Any:
    """The product of two vectors, a matrix and a vector, or two matrices.

    Raises ValueError for other shapes, unless `dimension_numbers` says what is meant.

    >>> from pullback import lax
    >>> import numpy as np
    >>> float(lax.dot(np.ones(3, "float32"), np.ones(3, "float32")))
    3.0
    """
    if dimension_numbers is None:
        left, right = aval_of(lhs).shape, aval_of(rhs).shape
        if not (1 <= len(left) <= 2 and 1 <= len(right) <= 2 and left[-1] == right[0]):
            raise ValueError(
                at_user_line(
                    "jax.lax.dot: dimension_numbers must be specified when not performing simple "
                    "un-batched matrix-matrix, matrix-vector, or vector-vector products; got "
                    f"lhs_shape={left} rhs_shape={right}"
                )
            )
        dimension_numbers = (((len(left) - 1,), (0,)), ((), ()))
    return dot_general(
        lhs,
        rhs,
        dimension_numbers,
        precision=precision,
        preferred_element_type=preferred_element_type,
        out_sharding=out_sharding,
    )


def batch_matmul(lhs: Any, rhs: Any, precision: PrecisionLike = None) -> Any:
    """The products of two stacks of matrices.

    >>> from pullback import lax
    >>> import numpy as np
    >>> lax.batch_matmul(np.ones((5, 2, 3), "float32"), np.ones((5, 3, 4), "float32")).shape
    (5, 2, 4)
    """
    ndim, other = len(aval_of(lhs).shape), len(aval_of(rhs).shape)
    if ndim < 2 or other < 2:
        raise ValueError(f"Arguments to batch_matmul must be at least 2D, got {ndim}, {other}")
    if ndim != other:
        raise ValueError(f"Arguments to batch_matmul must have same ndim, got {ndim}, {other}")
    batch = tuple(range(ndim - 2))
    return dot_general(lhs, rhs, (((ndim - 1,), (ndim - 2,)), (batch, batch)), precision)
