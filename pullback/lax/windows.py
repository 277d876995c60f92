"""`lax`: the geometry of sliding windows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pullback.lax.convolutions import padtype_to_pads
from pullback.ops.pooling import Windows

__all__ = ["full_windows", "window_pads"]


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
    given = {
        "window_dimensions": window_dimensions,
        "window_strides": window_strides,
        "base_dilation": base_dilation,
        "window_dilation": window_dilation,
        "padding": None if isinstance(padding, str) else padding,
    }
    for name, values in given.items():
        if values is not None and len(values) != len(shape):
            raise TypeError(
                f"reduce_window: an operand of shape {tuple(shape)} needs {len(shape)} "
                f"{name}, got {tuple(values)}"
            )
    base = tuple(base_dilation) if base_dilation is not None else ones
    dilation = tuple(window_dilation) if window_dilation is not None else ones
    stretched = [(n - 1) * d + 1 if n else 0 for n, d in zip(shape, base, strict=True)]
    reach = [(n - 1) * d + 1 for n, d in zip(window_dimensions, dilation, strict=True)]
    pads = window_pads(stretched, reach, window_strides, padding)
    windows = Windows(tuple(window_dimensions), tuple(window_strides), pads, base, dilation)
    windows.check("reduce_window", len(shape))
    return windows
