"""`lax`: products of arrays whose rows belong to groups of different sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pullback.core import dtypes
from pullback.core.avals import aval_of
from pullback.core.source import at_user_line
from pullback.lax.contractions import dot_general
from pullback.ops import bits, comparison, conversion, cumulative, elementwise, structural
from pullback.ops.rearrange import moveaxis

__all__ = ["RaggedDotDimensionNumbers", "ragged_dot", "ragged_dot_general"]


@dataclass(frozen=True)
class RaggedDotDimensionNumbers:
    """Which axes `ragged_dot_general` contracts, splits into groups, and takes the group from.

    `dot_dimension_numbers` are those of `dot_general`; `lhs_ragged_dimensions` holds the one axis
    of the left operand whose elements belong to groups; `rhs_group_dimensions` the axis of the
    right operand that numbers the groups, if there is one.
    """

    dot_dimension_numbers: Any
    lhs_ragged_dimensions: Sequence[int]
    rhs_group_dimensions: Sequence[int]

    def __post_init__(self) -> None:
        (lc, rc), (lb, rb) = self.dot_dimension_numbers
        plain = ((tuple(lc), tuple(rc)), (tuple(lb), tuple(rb)))
        object.__setattr__(self, "dot_dimension_numbers", plain)
        object.__setattr__(self, "lhs_ragged_dimensions", tuple(self.lhs_ragged_dimensions))
        object.__setattr__(self, "rhs_group_dimensions", tuple(self.rhs_group_dimensions))


def _check(lhs: Any, rhs: Any, sizes: Any, numbers: RaggedDotDimensionNumbers) -> int:
    if len(numbers.lhs_ragged_dimensions) != 1:
        raise TypeError(
            at_user_line(
                "ragged_dot_general expects exactly one ragged dimension of lhs, got "
                f"{numbers.lhs_ragged_dimensions}"
            )
        )
    if dtypes.kind_of(aval_of(sizes).dtype) not in "iu":
        raise TypeError(f"ragged_dot_general: group_sizes must be integers, got {aval_of(sizes)}")
    (ragged,) = numbers.lhs_ragged_dimensions
    (lhs_contracting, _), (lhs_batch, _) = numbers.dot_dimension_numbers
    outer = ragged not in lhs_contracting and ragged not in lhs_batch
    if len(numbers.rhs_group_dimensions) != int(outer):
        raise TypeError(
            "ragged_dot_general: rhs has a group dimension exactly where the ragged dimension is "
            f"neither contracted nor a batch dimension, got {numbers}"
        )
    return ragged


def _membership(lhs: Any, sizes: Any, ragged: int, outer: Sequence[int], dtype: Any) -> Any:
    """1 where an element of `lhs` is of a group, in an array of the shape of lhs and the groups."""
    shape, groups = aval_of(lhs).shape, aval_of(sizes).shape[-1]
    rank = len(aval_of(sizes).shape)
    if rank not in (1, len(outer) + 1):
        raise TypeError(
            f"ragged_dot_general: group_sizes has shape {aval_of(sizes).shape}, but must be "
            f"[groups], or have the axes {tuple(outer)} of lhs in front of that"
        )
    axes = (len(shape),) if rank == 1 else (*outer, len(shape))
    full = (*shape, groups)

    def spread(x: Any) -> Any:
        return structural.broadcast_in_dim(x, shape=full, broadcast_dimensions=axes, sharding=None)

    ends = cumulative.cumsum(sizes, axis=rank - 1, reverse=False)
    starts = elementwise.sub(ends, sizes)
    place = structural.iota(dtype=aval_of(sizes).dtype, shape=full, dimension=ragged, sharding=None)
    inside = bits.and_(comparison.ge(place, spread(starts)), comparison.lt(place, spread(ends)))
    return conversion.convert(inside, dtype)


def ragged_dot_general(
    lhs: Any,
    rhs: Any,
    group_sizes: Any,
    ragged_dot_dimension_numbers: RaggedDotDimensionNumbers,
    precision: Any = None,
    preferred_element_type: Any = None,
    group_offset: Any = None,
    out_sharding: Any = None,
) -> Any:
    """The product of two arrays where an axis of `lhs` is split into groups of given sizes.

    `group_sizes` `[..., groups]` says how long the groups along the ragged axis are, one after the
    other. Where that axis is

    - free, elements of a group are multiplied with the part of `rhs` at their group
      (`rhs_group_dimensions`), and what is of no group gives zeros;
    - contracted, the result has the groups as a new first axis;
    - a batch axis, it is the plain product.

    >>> import numpy as np
    >>> numbers = RaggedDotDimensionNumbers((((1,), (0,)), ((), ())), (1,), ())
    >>> x, y = np.ones((2, 5), "float32"), np.ones((5, 3), "float32")
    >>> ragged_dot_general(x, y, np.array([2, 3], "int32"), numbers)[:, 0, 0].tolist()
    [2.0, 3.0]
    """
    if out_sharding is not None:
        raise NotImplementedError("ragged_dot_general: out_sharding needs several devices")
    if group_offset is not None:
        raise NotImplementedError("ragged_dot_general: group_offset is not supported")
    numbers = ragged_dot_dimension_numbers
    ragged = _check(lhs, rhs, group_sizes, numbers)
    (lc, rc), (lb, rb) = numbers.dot_dimension_numbers
    if ragged in lb:
        return dot_general(lhs, rhs, ((lc, rc), (lb, rb)), precision, preferred_element_type)
    rank = len(aval_of(lhs).shape)
    contracted = ragged in lc
    row = lc if contracted else [k for k in range(rank) if k not in lc and k not in lb]
    outer = (*lb, *row[: list(row).index(ragged)])
    mask = _membership(lhs, group_sizes, ragged, outer, aval_of(lhs).dtype)
    spread = structural.broadcast_in_dim(
        lhs,
        shape=aval_of(mask).shape,
        broadcast_dimensions=tuple(range(rank)),
        sharding=None,
    )
    masked = elementwise.mul(spread, mask)
    if not contracted:
        (group,) = numbers.rhs_group_dimensions
        by_group = (((*lc, rank), (*rc, group)), (lb, rb))
        return dot_general(masked, rhs, by_group, precision, preferred_element_type)
    out = dot_general(masked, rhs, ((lc, rc), (lb, rb)), precision, preferred_element_type)
    return moveaxis(out, rank - len(lc), 0)


def ragged_dot(
    lhs: Any,
    rhs: Any,
    group_sizes: Any,
    precision: Any = None,
    preferred_element_type: Any = None,
    group_offset: Any = None,
    out_sharding: Any = None,
) -> Any:
    """Rows of `lhs` `[m, k]` times the matrix of their group, one of `rhs` `[groups, k, n]`.

    The first `group_sizes[0]` rows are of group 0 and so on; rows beyond the last group give zeros.

    >>> from pullback import lax
    >>> import numpy as np
    >>> x, w = np.ones((3, 2), "float32"), np.ones((2, 2, 4), "float32")
    >>> lax.ragged_dot(x, w, np.array([1, 1], "int32")).sum(axis=1).tolist()
    [8.0, 8.0, 0.0]
    """
    numbers = RaggedDotDimensionNumbers((((1,), (1,)), ((), ())), (0,), (0,))
    return ragged_dot_general(
        lhs,
        rhs,
        group_sizes,
        numbers,
        precision,
        preferred_element_type,
        group_offset,
        out_sharding,
    )
