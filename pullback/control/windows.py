"""The reduction of sliding windows by any function."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pullback.core.avals import aval_of
from pullback.ops import slicing, structural
from pullback.ops.pooling import Windows, pooled_shape

__all__ = ["fold_windows"]


def fold_windows(
    xs: Sequence[Any],
    inits: Sequence[Any],
    w: Windows,
    combine: Callable[[Sequence[Any], Sequence[Any]], Sequence[Any]],
) -> list[Any]:
    """Windows reduced offset by offset: each offset is one strided slice of the padded operands."""
    out_shape = pooled_shape(aval_of(xs[0]).shape, w)
    config = tuple(
        (low, high, d - 1) for (low, high), d in zip(w.padding, w.base_dilation, strict=True)
    )
    wide = [structural.pad(x, i, padding_config=config) for x, i in zip(xs, inits, strict=True)]
    totals: Sequence[Any] = [
        structural.broadcast_in_dim(i, shape=out_shape, broadcast_dimensions=(), sharding=None)
        for i in inits
    ]
    if 0 in out_shape:
        return list(totals)
    for offset in itertools.product(*(range(n) for n in w.window_dimensions)):
        start = np.multiply(offset, w.window_dilation)
        last = start + np.multiply(np.subtract(out_shape, 1), w.window_strides) + 1
        parts = [
            slicing.slice_(
                x,
                start_indices=tuple(map(int, start)),
                limit_indices=tuple(map(int, last)),
                strides=w.window_strides,
            )
            for x in wide
        ]
        totals = combine(totals, parts)
    return list(totals)
