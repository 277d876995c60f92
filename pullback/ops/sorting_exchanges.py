"""Sorting along an axis of a few elements: neighbours change places, in lanes of vectors.

The transposition sort of D. E. Knuth, *The Art of Computer Programming* 3 (section 5.3.4, exercise
37): n rounds, in which pairs that begin at even and at odd places take turns.  Only neighbours are
compared, and equal ones stay where they are, so that the order is stable.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, Final

from pullback.core import dtypes

__all__ = ["has_few", "sorted_by_exchanges"]

_MOST: Final = 48
"""Exchanges of one row that are worth their code."""
_ROWS: Final = 16


def has_few(xs: Sequence[Any], axis: int, num_keys: int) -> bool:
    """Whether rows are short, and there are many."""
    shape = xs[0].shape
    n = shape[axis]
    exchanges = n * (n - 1) // 2 * len(xs)
    plain = all(dtypes.kind_of(x.dtype) in "fiu" for x in xs[:num_keys])
    return plain and exchanges <= _MOST and math.prod(shape) >= _ROWS * n


def sorted_by_exchanges(b: Any, xs: Sequence[Any], axis: int, num_keys: int) -> list[Any]:
    """The operands in the order of the first `num_keys` of them."""
    shape = xs[0].shape
    if axis and math.prod(shape[axis + 1 :]) < _ROWS:  # neighbours in memory belong to one row
        found = sorted_by_exchanges(b, [_first(b, x, axis) for x in xs], 0, num_keys)
        return [_back(b, x, axis) for x in found]
    n, outer, inner = shape[axis], math.prod(shape[:axis]), math.prod(shape[axis + 1 :])
    parts = [b.reshape(b.materialize(x), (outer, n, inner)) for x in xs]
    outs = [b.buffer((outer, n, inner), x.dtype) for x in xs]
    around = b.loop(outer, independent=True) if outer > 1 else nullcontext(0)
    with around as r, b.loop(inner, independent=True) as i:
        rows = [[b.let(x.at([r, k, i])) for x in parts] for k in range(n)]
        for turn in range(n):
            for k in range(turn % 2, n - 1, 2):
                rows[k : k + 2] = _exchanged(b, rows[k], rows[k + 1], num_keys)
        for k, row in enumerate(rows):
            for out, value in zip(outs, row, strict=True):
                b.store(out, [r, k, i], value)
    return [b.reshape(out, shape) for out in outs]


def _first(b: Any, x: Any, axis: int) -> Any:
    shape = (x.shape[axis], *x.shape[:axis], *x.shape[axis + 1 :])
    return b.view(shape, lambda i: x.at([*i[1 : axis + 1], i[0], *i[axis + 1 :]]))


def _back(b: Any, x: Any, axis: int) -> Any:
    shape = (*x.shape[1 : axis + 1], x.shape[0], *x.shape[axis + 1 :])
    return b.view(shape, lambda i: x.at([i[axis], *i[:axis], *i[axis + 1 :]]))


def _exchanged(b: Any, first: list[Any], second: list[Any], num_keys: int) -> list[list[Any]]:
    s = b.s
    swap = b.let(_before(s, second[:num_keys], first[:num_keys]))
    pairs = list(zip(first, second, strict=True))
    return [
        [b.let(s.select(swap, y, x)) for x, y in pairs],
        [b.let(s.select(swap, x, y)) for x, y in pairs],
    ]


def _before(s: Any, xs: Sequence[Any], ys: Sequence[Any]) -> Any:
    """Whether the keys `xs` come before `ys`, which equal ones do not."""
    less = _less(s, xs[-1], ys[-1])
    for x, y in zip(reversed(xs[:-1]), reversed(ys[:-1]), strict=True):
        less = s.or_(_less(s, x, y), s.and_(s.not_(_less(s, y, x)), less))
    return less


def _less(s: Any, x: Any, y: Any) -> Any:
    """x < y; of floats NaN is the greatest, and -0 equals 0."""
    less = s.lt(x, y)
    if dtypes.kind_of(x.dtype) != "f":
        return less
    return s.or_(less, s.and_(s.is_nan(y), s.not_(s.is_nan(x))))
