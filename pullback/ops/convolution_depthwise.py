"""Depthwise convolutions with features last: what lowering tells `llvm.direct_depthwise`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from pullback.ops import convolution_plan
from pullback.ops.convolution_direct import LONG_ROW
from pullback.ops.convolution_geometry import Geometry, pick
from pullback.ops.convolution_tables import (
    KERNEL_NAMES,
    axis,
    kernel_of,
    parts_of,
    plan_of,
    steps_of,
    together,
    walk_of,
    write_walk,
)

__all__ = ["depthwise", "depthwise_fits", "depthwise_gradient", "depthwise_gradient_fits"]

_LINE: Final = 64
"""Bytes of features that are a vector anywhere."""
_SHORT: Final = 4
"""Elements of a window that loops do as well, together with what is around them."""


def _apart(dtype: Any, features: int, taps: int) -> bool:
    """Whether vectors of features are enough for the kernels, and windows not too large."""
    if dtype not in KERNEL_NAMES:
        return False
    size = features * np.dtype(dtype).itemsize
    return _LINE <= size <= convolution_plan.ZEROS and taps <= convolution_plan.MOST_RUNS


def depthwise_fits(x: Any, g: Geometry, out_spec: Sequence[int], dtype: Any) -> bool:
    """Whether features, which come last, do not meet."""
    last, taps = len(out_spec) - 1, math.prod(g.taps[1:])
    if g.by_batch or (g.ins, g.outs) != (1, 1) or not last == g.x_spec[1] == out_spec[1]:
        return False
    long = taps > _SHORT or any(p.every > 1 for p in g.phases)
    return len(g.phases) > 0 and long and _apart(dtype, g.groups, taps)


def depthwise(
    b: Any, x: Any, w: Any, g: Geometry, result: Any, out_spec: Sequence[int], whole: bool
) -> None:
    """Write a phase of a depthwise convolution."""
    x_steps, out_steps = steps_of(x, g.x_spec), steps_of(result, out_spec)
    about = list(
        zip(g.phases, pick(x.shape, g.x_spec)[2:], x_steps[2:], out_steps[2:], strict=True)
    )
    outer, inner = together([axis(*a) for a in about[:-1]]), axis(*about[-1])
    inside = [j for j, row in enumerate(inner) if None not in row]
    size, last = np.dtype(result.dtype).itemsize, g.phases[-1]
    numbers = {
        "images": g.batch, "image_x": x_steps[0], "image_c": out_steps[0],
        "outer": len(outer), "inner": len(inner),
        "outer_taps": len(outer[0]) - 1, "inner_taps": len(inner[0]) - 1,
        "n": g.groups, "row_w": g.groups * size,
        "cell_x": x_steps[-1] * last.cell_step, "tap_x": x_steps[-1] * last.tap_step,
        "cell_c": out_steps[-1] * last.every,
        "begin": inside[0] if inside else 0, "end": inside[-1] + 1 if inside else 0,
        "parts": 1, "total": math.prod(result.shape),
    }  # fmt: skip
    plan = plan_of(b, convolution_plan.DEPTHWISE, numbers, outer, inner)
    symbol = f"pb_depthwise_{KERNEL_NAMES[np.dtype(result.dtype)]}"
    b.call(symbol, b.materialize(x), kernel_of(b, w, g, whole), result, plan)


def depthwise_gradient_fits(x: Any, g: Geometry, out_spec: Sequence[int], dtype: Any) -> bool:
    """Whether this is the gradient of the kernel of a depthwise convolution."""
    last, cells = len(out_spec) - 1, math.prod(g.space)
    if not g.by_batch or (g.batch, g.outs) != (1, 1) or any(p.every > 1 for p in g.phases):
        return False
    here = last == g.x_spec[0] == g.w_spec[0] == out_spec[1]
    long = len(g.phases) > 0 and g.phases[-1].taps >= LONG_ROW
    return here and long and _apart(dtype, g.groups, cells)


def depthwise_gradient(
    b: Any, x: Any, cotangent: Any, g: Geometry, result: Any, out_spec: Any, _whole: bool
) -> None:
    """Write the gradient of the kernel of a depthwise convolution."""
    size, total = np.dtype(result.dtype).itemsize, math.prod(result.shape)
    walk, last = walk_of(x, cotangent, g, result, out_spec), g.phases[-1]
    x_steps, g_steps = walk.x_steps, walk.g_steps
    runs = g.ins * len(walk.cells)
    numbers = {
        "images": g.ins, "image_x": x_steps[1], "image_c": g_steps[1],
        "outer": len(walk.cells), "inner": last.taps,
        "outer_taps": len(walk.far), "inner_taps": last.cells,
        "n": g.groups, "row_w": walk.out_steps[-1] * last.every,
        "cell_x": x_steps[-1] * last.tap_step, "tap_x": x_steps[-1] * last.cell_step,
        "cell_c": g_steps[-1] * last.skip, "begin": 0, "end": 0,
        "parts": parts_of(convolution_plan.TASKS, total, runs, size), "total": total,
    }  # fmt: skip
    operands = x, cotangent, result
    write_walk(b, "pb_depthwise_gradient", convolution_plan.DEPTHWISE, numbers, walk, operands)
