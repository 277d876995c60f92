"""`lax`: the geometry of sliding windows, and their reduction by any function."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pullback.core.avals import aval_of
from pullback.lax.convolutions import padtype_to_pads
from pullback.ops import slicing, structural
from pullback.ops.pooling import Windows, pooled_shape

__all__ = ["fold_windows", "full_windows", "window_pads"]


def window_pads(
    shape: Sequence[int], window: Sequence[int], strides: Sequence[int], padding: Any
) -> tuple[tuple[int, int], ...]:
    """Low and high padding of each axis, from "VALID", "SAME", "SAME_LOWER" or pairs.

    >>> window_pads((5,), (2,), (2,), "SAME")
    ((0, 1),)
    """
    if isinstance(padding, str):
        padding = padtype_to_pads(shape, window, strides, padding)
    return tuple((int(low), int(high)) for low, high in padding)


def full_windows(
    shape: Sequence[int],
    window_dimensions: Sequence[int],
    window_strides: Sequence[int],
    padding: Any,
    base_dilation: Sequence[int] | None,
    window_dilation: Sequence[int] | None,
) -> Windows:
    """The parameters of a window reduction, with defaults filled in."""
    ones = (1,) * len(shape)
    base = tuple(base_dilation) if base_dilation is not None else ones
    dilation = tuple(window_dilation) if window_dilation is not None else ones
    stretched = [(n - 1) * d + 1 if n else 0 for n, d in zip(shape, base, strict=True)]
    reach = [(n - 1) * d + 1 for n, d in zip(window_dimensions, dilation, strict=True)]
    pads = window_pads(stretched, reach, window_strides, padding)
    windows = Windows(tuple(window_dimensions), tuple(window_strides), pads, base, dilation)
    windows.check("reduce_window", len(shape))
    return windows


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
