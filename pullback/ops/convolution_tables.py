"""Plans of convolutions: where kernels with features last find things (`ops.convolution_plan`).

The places where a window meets the operand stand in tables of the program, one for the outer
spatial axes and one for the innermost.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from pullback.core import dtypes
from pullback.ops import contractions
from pullback.ops.convolution_geometry import Geometry, Phase, pick

__all__ = [
    "KERNEL_NAMES",
    "Walk",
    "axis",
    "kernel_of",
    "padded",
    "parts_of",
    "plan_of",
    "steps_of",
    "together",
    "walk_of",
    "write_walk",
]

KERNEL_NAMES: Final = {dtypes.float32: "f32", dtypes.float64: "f64"}
"""What names of kernels end in, by types of elements."""
_MOST_SUMS: Final = 1 << 21
"""Bytes of the sums of all parts of a gradient, at most, where there are several."""


def axis(phase: Phase, length: int, step_x: int, step_out: int) -> Any:
    """For each cell of an axis: its place in the result, then that of each tap, or None."""
    rows: list[list[int | None]] = []
    for j in range(phase.cells):
        met = [phase.origin + phase.cell_step * j + phase.tap_step * u for u in range(phase.taps)]
        places = [i * step_x if 0 <= i < length else None for i in met]
        rows.append([(phase.first + phase.every * j) * step_out, *places])
    return rows


def together(axes: Sequence[Any]) -> Any:
    """The same for several axes taken as one."""
    rows: list[list[int | None]] = [[0, 0]]
    for axis in axes:
        rows = [
            [
                first[0] + second[0],
                *itertools.starmap(_sum, itertools.product(first[1:], second[1:])),
            ]
            for first, second in itertools.product(rows, axis)
        ]
    return rows


def _sum(a: int | None, b: int | None) -> int | None:
    return None if a is None or b is None else a + b


def _table(rows: Iterable[Iterable[int | None]]) -> list[int]:
    return [-1 if place is None else place for row in rows for place in row]


def steps_of(x: Any, spec: Sequence[int]) -> list[int]:
    """Bytes between neighbours along the axes, by role."""
    size = np.dtype(x.dtype).itemsize
    return [size * step for step in pick(contractions.strides_of(x.shape), spec)]


def plan_of(b: Any, names: Sequence[str], numbers: dict[str, int], *tables: Any) -> Any:
    """Numbers, in the order of their names, and tables, as one array of words."""
    words = [numbers[name] for name in names]
    for table in tables:
        words += _table(table)
    return b.constant(np.array(words, np.int64))


def kernel_of(b: Any, w: Any, g: Geometry, whole: bool) -> Any:
    """The kernel as `[*window, in feature, out feature]`, only elements that are met."""
    rank = len(g.phases)
    if whole and g.w_spec == (rank + 1, rank, *range(rank)):
        return b.materialize(w)
    shape = (*g.taps[1:], g.ins, g.groups * g.outs)

    def element(idx: Sequence[Any]) -> Any:
        *tap, feature, out = idx
        return w.at(g.kernel(out, (feature, *tap)))

    return b.materialize(b.view(shape, element))


def met_along(phase: Phase, length: int, step_x: int, step_out: int) -> list[list[int]]:
    """For each element of the window: its place, and the cells at which it meets the operand."""
    rows = []
    for j in range(phase.cells):
        first = phase.origin + phase.cell_step * j
        met = [u for u in range(phase.taps) if 0 <= first + phase.tap_step * u < length]
        begin = met[0] if met else 0
        place = (phase.first + phase.every * j) * step_out
        rows.append([place, begin, len(met), (first + phase.tap_step * begin) * step_x])
    return rows


def offsets(axes: Iterable[tuple[int, int, int]]) -> list[int]:
    """Places of all indices, from lengths, steps and starts of axes."""
    found = [0]
    for count, step, start in axes:
        found = [place + start + step * i for place in found for i in range(count)]
    return found


def parts_of(wanted: int, total: int, runs: int, size: int) -> int:
    """Into how many parts the rows of a gradient are cut; each has sums of its own."""
    share = -(-runs // min(wanted, max(1, _MOST_SUMS // (total * size)), runs))
    return -(-runs // share)


@dataclass(frozen=True)
class Walk:
    """The gradient of a kernel, made along rows of a cotangent: where rows and windows are.

    Steps are in bytes.  `far` has the elements of the window but for the last axis, `cells` the
    rows, `near` the elements of the last axis and where they meet the operand.
    """

    x_steps: list[int]
    g_steps: list[int]
    out_steps: list[int]
    far: list[list[int | None]]
    cells: list[list[int]]
    near: list[list[int]]


def walk_of(x: Any, cotangent: Any, g: Geometry, result: Any, out_spec: Sequence[int]) -> Walk:
    """The walk that makes the gradient of a kernel."""
    x_steps, g_steps = steps_of(x, g.x_spec), steps_of(cotangent, g.w_spec)
    out_steps, lengths = steps_of(result, out_spec), pick(x.shape, g.x_spec)[2:]
    about = list(zip(g.phases, lengths, x_steps[2:], out_steps[2:], strict=True))
    places = zip(g.phases[:-1], g_steps[2:-1], strict=True)
    rows = offsets([(p.taps, p.skip * step, p.tap * step) for p, step in places])
    first = g.phases[-1].tap * g_steps[-1]
    return Walk(
        x_steps,
        g_steps,
        out_steps,
        together([axis(*a) for a in about[:-1]]),
        [[place + first] for place in rows],
        met_along(*about[-1]),
    )


def write_walk(
    b: Any,
    family: str,
    names: Sequence[str],
    numbers: dict[str, int],
    walk: Walk,
    operands: tuple[Any, Any, Any],
) -> None:
    """Call the kernel of a family; each of several parts has sums of its own."""
    x, cotangent, result = operands
    parts, total = numbers["parts"], numbers["total"]
    plan = plan_of(b, names, numbers, walk.far, walk.cells, walk.near)
    sums = b.buffer((parts, total), result.dtype) if parts > 1 else result
    symbol = f"{family}_{KERNEL_NAMES[np.dtype(result.dtype)]}"
    b.call(symbol, b.materialize(x), b.materialize(cotangent), result, sums, plan)


def padded(b: Any, x: Any, axes: Sequence[int], amounts: Sequence[tuple[int, int]]) -> Any:
    """The operand in a buffer, with zeros before and after some of its axes."""
    if not any(before or after for before, after in amounts):
        return b.materialize(x)
    low = [0] * len(x.shape)
    shape = list(x.shape)
    for axis, (before, after) in zip(axes, amounts, strict=True):
        shape[axis] += before + after
        low[axis] = before

    def element(idx: Sequence[Any]) -> Any:
        inside, place = None, []
        for i, before, n, padded in zip(idx, low, x.shape, shape, strict=True):
            position = i - before if before else i
            tests = [position >= 0] if before else []
            tests += [position < n] if padded > n + before else []
            for test in tests:
                inside = test if inside is None else b.s.and_(inside, test)
            place.append(b.s.index(position, 0, n - 1) if tests else position)
        return b.s.select(inside, x.at(place), b.s.const(0, x.dtype))

    return b.materialize(b.view(shape, element))
