"""`lax.associative_scan`: all prefixes of an associative operation in logarithmic depth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pullback import tree
from pullback.core import dtypes
from pullback.core.avals import aval_of
from pullback.core.source import describe_function
from pullback.ops import elementwise, structural
from pullback.ops.slicing import slice_
from pullback.transforms.arguments import check_callable, check_operand

__all__ = ["associative_scan"]


def associative_scan(
    fn: Callable[[Any, Any], Any], elems: Any, reverse: bool = False, axis: int = 0
) -> Any:
    """All prefixes of `elems` combined by `fn`, which must be associative.

    `elems` is a pytree of arrays of the same length along `axis`; `fn` combines two such pytrees
    element by element, and is applied to whole slices. The result has the types of `elems`. With
    `reverse` the suffixes. Combines neighbours, scans the half as many results, and fills in the
    others: about 2 n applications in 2 log n steps (Blelloch, "Prefix sums and their applications",
    1990).

    >>> import pullback.numpy as jnp
    >>> from pullback import lax
    >>> lax.associative_scan(jnp.add, jnp.arange(5)).tolist()
    [0, 1, 3, 6, 10]
    """
    check_callable(fn, "associative_scan")
    leaves, structure = tree.flatten(elems)
    for x in leaves:
        check_operand(x, "associative_scan")
    if not leaves:
        return elems
    axis = _checked_axis(leaves, axis)
    if reverse:
        leaves = [structural.rev(x, dimensions=(axis,)) for x in leaves]

    def combine(a: Sequence[Any], b: Sequence[Any]) -> list[Any]:
        outs, out_tree = tree.flatten(fn(structure.unflatten(a), structure.unflatten(b)))
        if out_tree != structure:
            raise TypeError(
                f"associative_scan: {describe_function(fn)} must return the structure of its "
                f"operands, {structure}, got {out_tree}"
            )
        return outs

    outs = _scan(combine, list(leaves), axis)
    if reverse:
        outs = [structural.rev(x, dimensions=(axis,)) for x in outs]
    return structure.unflatten(outs)


def _checked_axis(leaves: Sequence[Any], axis: int) -> int:
    ndim = aval_of(leaves[0]).ndim
    if not all(-aval_of(x).ndim <= axis < aval_of(x).ndim for x in leaves):
        raise ValueError(f"associative_scan: axis {axis} is out of bounds for {ndim} axes")
    axis %= ndim
    lengths = [aval_of(x).shape[axis] for x in leaves]
    if len(set(lengths)) > 1:
        raise ValueError(
            f"associative_scan: all arrays must have the same length along axis {axis}, got "
            f"{[aval_of(x).str_short() for x in leaves]}"
        )
    return axis


def _scan(combine: Any, elems: list[Any], axis: int) -> list[Any]:
    n = aval_of(elems[0]).shape[axis]
    if n < 2:
        return elems
    lefts = [_part(x, axis, 0, n - 1, 2) for x in elems]
    rights = [_part(x, axis, 1, n, 2) for x in elems]
    odd = _scan(combine, combine(lefts, rights), axis)
    before = [_part(x, axis, 0, n // 2 - 1, 1) for x in odd] if n % 2 == 0 else odd
    even = combine(before, [_part(x, axis, 2, n, 2) for x in elems])
    firsts = [_part(x, axis, 0, 1, 1) for x in elems]
    return [
        _interleave(structural.concatenate(first, x, dimension=axis), y, axis)
        for first, x, y in zip(firsts, even, odd, strict=True)
    ]


def _part(x: Any, axis: int, start: int, stop: int, step: int) -> Any:
    """`x[start:stop:step]` along an axis."""
    shape = aval_of(x).shape
    starts = [start if k == axis else 0 for k in range(len(shape))]
    stops = [stop if k == axis else d for k, d in enumerate(shape)]
    steps = tuple(step if k == axis else 1 for k in range(len(shape)))
    return slice_(x, start_indices=tuple(starts), limit_indices=tuple(stops), strides=steps)


def _interleave(even: Any, odd: Any, axis: int) -> Any:
    """The elements of both in turn: each is spread among zeros, and the two are added."""
    aval = aval_of(even)
    n, m = aval.shape[axis], aval_of(odd).shape[axis]

    def spread(x: Any, low: int, high: int) -> Any:
        config = tuple((low, high, 1) if k == axis else (0, 0, 0) for k in range(aval.ndim))
        return structural.pad(x, dtypes.physical(aval.dtype).type(0), padding_config=config)

    join = elementwise.or_ if aval.dtype == np.bool_ else elementwise.add
    return join(spread(even, 0, int(n == m)), spread(odd, 1, int(n == m + 1)))
