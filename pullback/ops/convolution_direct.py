"""Direct convolutions: what lowering tells the kernels of `llvm.direct_kernels`.

Where features come last, in the operand and in the result, rows of them are multiplied where they
are: nothing is copied but the kernel.  The places where the window meets the operand stand in a
table of the program, one for the outer spatial axes and one for the innermost.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from pullback.core import dtypes
from pullback.ops import convolution_plan
from pullback.ops.convolution_geometry import Geometry, pick
from pullback.ops.convolution_tables import (
    KERNEL_NAMES,
    axis,
    kernel_of,
    padded,
    parts_of,
    plan_of,
    steps_of,
    together,
    walk_of,
    write_walk,
)

__all__ = [
    "LONG_ROW",
    "by_tiles",
    "direct",
    "few",
    "few_fits",
    "fits",
    "gradient",
    "gradient_fits",
    "merged",
    "merged_fits",
    "tiles_fit",
]

_LINE: Final = 64
"""Bytes of features that are whole vectors anywhere."""
_TILES: Final = "pb_tiles_direct_bf16"
_TILE_LINE: Final = 32
_LONGEST: Final = 1024
"""Products of a run, at most, if it is made of several elements of the window."""
_FEW: Final = 8
"""Features of an operand or a result that are too few for rows of them to be worth much."""


def fits(x: Any, g: Geometry, out_spec: Sequence[int], dtype: Any) -> bool:
    """Whether the kernels take this convolution, or one of its phases, and do it well."""
    last = len(out_spec) - 1
    if dtype not in KERNEL_NAMES or g.x_spec[1] != last or out_spec[1] != last:
        return False
    size, outs = np.dtype(dtype).itemsize, g.groups * g.outs
    small = (
        g.ins * size <= convolution_plan.ZEROS
        and g.ins * convolution_plan.PANEL <= convolution_plan.CHUNK
        and outs * size <= convolution_plan.WIDEST
        and math.prod(g.taps[1:]) <= convolution_plan.MOST_RUNS
    )
    return small and min(g.ins, g.outs) >= _FEW


def direct(
    b: Any, x: Any, w: Any, g: Geometry, result: Any, out_spec: Sequence[int], whole: bool
) -> None:
    """Write a phase of a convolution to the positions of the result that it covers."""
    symbol = f"pb_direct_{KERNEL_NAMES[np.dtype(result.dtype)]}"
    plan = _plan(b, x, g, result, out_spec)
    b.call(symbol, b.materialize(x), kernel_of(b, w, g, whole), result, plan)


def _plan(b: Any, x: Any, g: Geometry, result: Any, out_spec: Sequence[int]) -> Any:
    """What the kernels want to know of a phase."""
    x_size, size = (np.dtype(t.dtype).itemsize for t in (x, result))
    x_steps, out_steps = steps_of(x, g.x_spec), steps_of(result, out_spec)
    lengths = pick(x.shape, g.x_spec)[2:]
    axes = [
        axis(*about) for about in zip(g.phases, lengths, x_steps[2:], out_steps[2:], strict=True)
    ]
    outer, inner = together(axes[:-1]), together(axes[-1:])
    columns = g.groups * g.outs
    numbers = {
        "lanes": g.groups,
        "lane_x": g.batch * x_steps[0] if g.by_batch else g.ins * x_size,
        "lane_w": g.outs, "lane_c": g.outs * size,
        "batch": g.batch, "image_x": x_steps[0], "image_c": out_steps[0],
        "outer": len(outer), "inner": len(inner),
        "outer_taps": len(outer[0]) - 1, "inner_taps": len(inner[0]) - 1,
        "k": g.ins, "n": g.outs, "row_w": columns, "col_w": 1,
    }  # fmt: skip
    return plan_of(b, convolution_plan.HEADER, numbers, outer, inner)


_MERGED: Final = 16
"""Products along a row of the window that are worth a run."""


def merged_fits(x: Any, g: Geometry, out_spec: Sequence[int], dtype: Any) -> bool:
    """Whether rows of the window are runs of a few features: neighbours, once edges have zeros."""
    if not g.phases or g.groups > 1 or g.ins >= _FEW or dtype not in KERNEL_NAMES:
        return False
    last, inner = len(out_spec) - 1, g.phases[-1]
    in_order = g.x_spec[1] == last and g.x_spec[-1] == last - 1 and out_spec[1] == last
    alone = inner.tap_step == 1 and not any(p.every > 1 for p in g.phases)
    taps, size = math.prod(g.taps[1:-1]), np.dtype(dtype).itemsize
    few_runs = taps <= convolution_plan.MOST_RUNS and g.outs * size <= convolution_plan.WIDEST
    long = _MERGED <= inner.taps * g.ins <= _LONGEST
    return in_order and alone and few_runs and long and g.outs >= _FEW


def merged(
    b: Any, x: Any, w: Any, g: Geometry, result: Any, out_spec: Sequence[int], whole: bool
) -> None:
    """Write a convolution of few features; what a row of the window meets is one run."""
    inner, axis_x = g.phases[-1], g.x_spec[-1]
    before, after = max(0, -inner.origin), max(0, inner.last + 1 - x.shape[axis_x])
    around = padded(b, x, [axis_x], [(before, after)])
    run = {"origin": inner.origin + before, "taps": 1, "tap_step": 0}
    phases = (*g.phases[:-1], dataclasses.replace(inner, **run))
    runs = dataclasses.replace(g, ins=g.ins * inner.taps, phases=phases)
    plan = _plan(b, around, runs, result, out_spec)
    symbol = f"pb_direct_{KERNEL_NAMES[np.dtype(result.dtype)]}"
    b.call(symbol, around, kernel_of(b, w, g, whole), result, plan)


def tiles_fit(b: Any, x: Any, w: Any, g: Geometry, out_spec: Sequence[int], dtype: Any) -> bool:
    """Whether windows of bfloat16 go to tile registers: this machine has them, and they fill."""
    bfloat16 = x.dtype == w.dtype == dtypes.bfloat16 and dtype == dtypes.float32
    if not bfloat16 or not b.has(_TILES):
        return False
    last, taps = len(out_spec) - 1, math.prod(g.taps[1:])
    in_order = tuple(out_spec) == (0, last, *range(1, last)) and g.x_spec[1] == last
    alone = g.groups == 1 and not any(p.every > 1 for p in g.phases)
    few_tiles = 0 < taps * g.ins <= convolution_plan.MOST_TILES * _TILE_LINE
    wide = g.ins % _TILE_LINE == 0 and g.outs >= _FEW
    return in_order and alone and few_tiles and wide and taps <= convolution_plan.MOST_RUNS


def by_tiles(
    b: Any, x: Any, w: Any, g: Geometry, result: Any, out_spec: Sequence[int], whole: bool
) -> None:
    """Write a convolution of bfloat16, in float32."""
    tiles = g.depth // _TILE_LINE * -(-g.outs // 16)
    scratch, plan = b.buffer((1024 * tiles,), np.int8), _plan(b, x, g, result, out_spec)
    b.call(_TILES, b.materialize(x), kernel_of(b, w, g, whole), result, scratch, plan)


def few_fits(x: Any, g: Geometry, out_spec: Sequence[int], dtype: Any) -> bool:
    """Whether vectors of the operand's features make few features, each the sum of lanes."""
    last = len(out_spec) - 1
    if dtype not in KERNEL_NAMES or g.x_spec[1] != last or out_spec[1] != last:
        return False
    size = g.ins * np.dtype(dtype).itemsize
    whole = size % _LINE == 0 and size <= convolution_plan.ZEROS
    return whole and g.outs < _FEW and math.prod(g.taps[1:]) <= convolution_plan.MOST_RUNS


def few(
    b: Any, x: Any, w: Any, g: Geometry, result: Any, out_spec: Sequence[int], _whole: bool
) -> None:
    """Write a phase of a convolution that makes few features."""
    shape = (g.groups * g.outs, *g.taps[1:], g.ins)

    def element(idx: Sequence[Any]) -> Any:
        out, *tap, feature = idx
        return w.at(g.kernel(out, (feature, *tap)))

    kernel = b.materialize(b.view(shape, element))
    symbol = f"pb_direct_few_{KERNEL_NAMES[np.dtype(result.dtype)]}"
    b.call(symbol, b.materialize(x), kernel, result, _plan(b, x, g, result, out_spec))


# --------------------------------------------------------------------------- gradients of kernels

LONG_ROW: Final = 6
"""Cells of a row of the cotangent that are worth a run."""
_TABLE: Final = 1 << 16
"""Words of a table, at most."""


def gradient_fits(x: Any, g: Geometry, out_spec: Sequence[int], dtype: Any) -> bool:
    """Whether this is the gradient of a kernel, features last, that its own kernels do well.

    The features of the operand have the role of its images then, and images that of features.
    """
    last = len(out_spec) - 1
    if dtype not in KERNEL_NAMES or not last == g.x_spec[0] == g.w_spec[0] == out_spec[1]:
        return False
    if any(p.every > 1 for p in g.phases):
        return False
    inner, others = g.phases[-1].taps, g.phases[:-1]
    words = math.prod(p.cells * (p.taps + 1) for p in others)
    short = inner * convolution_plan.PANEL <= convolution_plan.CHUNK and words <= _TABLE
    return short and inner >= LONG_ROW and g.batch >= 2 and g.outs >= _FEW


def gradient(
    b: Any, x: Any, cotangent: Any, g: Geometry, result: Any, out_spec: Any, _whole: bool
) -> None:
    """Write the gradient of a kernel."""
    size, total = np.dtype(result.dtype).itemsize, math.prod(result.shape)
    walk, last = walk_of(x, cotangent, g, result, out_spec), g.phases[-1]
    x_steps, g_steps = walk.x_steps, walk.g_steps
    panels = -(-g.outs * size // convolution_plan.PANEL)
    wanted = -(-convolution_plan.TASKS // (g.groups * panels))
    numbers = {
        "lanes": g.groups,
        "lane_x": g.batch * x_steps[0] if g.by_batch else g.ins * x_steps[1],
        "lane_g": g.outs * size, "lane_c": g.outs * size,
        "images": g.ins, "image_x": x_steps[1], "image_g": g_steps[1],
        "outer": len(walk.cells), "inner": last.taps,
        "outer_taps": len(walk.far), "inner_taps": last.cells,
        "features": g.batch, "n": g.outs, "col_x": x_steps[-1] * last.tap_step,
        "col_g": g_steps[-1] * last.skip // size, "row_c": walk.out_steps[0],
        "parts": parts_of(wanted, total, g.ins * len(walk.cells), size), "total": total,
    }  # fmt: skip
    operands = x, cotangent, result
    write_walk(b, "pb_direct_gradient", convolution_plan.GRADIENT, numbers, walk, operands)
