"""How convolutions become loops and calls: the `lower` rule of `ops.convolution`, and their shapes.

Along each spatial axis the result is cut into phases, which dilation of the operand makes differ:
the positions of one phase meet the same elements of the kernel, none of which falls between the
elements of the operand.  In a phase, the place of an operand's element is linear in the position
and in the kernel element.  With features last, a phase goes to kernels that multiply rows of
features where they are (`ops.convolution_direct`, `ops.convolution_depthwise`).  Otherwise it is a
matrix product one operand of which is gathered by offsets
while it is packed (`pb_conv_T` of `llvm.gemm`), or a product with a matrix of windows that a loop
writes, or, where few products are summed, a loop in place.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any, Final

import numpy as np

from pullback.core import dtypes
from pullback.ops import contractions, convolution_depthwise, convolution_direct
from pullback.ops.contractions import Matrix
from pullback.ops.convolution_geometry import Geometry, Phase, output_space, phases_of, pick, place
from pullback.ops.convolution_tables import padded

__all__ = ["lower"]


# --------------------------------------------------------------------------- padding


def _nest(b: Any, stack: ExitStack, shape: Sequence[int]) -> list[Any]:
    return [stack.enter_context(b.loop(n, independent=True)) for n in shape]


def _with_room(
    b: Any, x: Any, axes: Sequence[int], per_axis: list[list[Phase]]
) -> tuple[Any, list[list[Phase]]]:
    """The operand with room for whatever the phases meet outside of it, and the phases in there."""
    amounts, moved = [], []
    for axis, phases in zip(axes, per_axis, strict=True):
        met = [p for p in phases if p.taps]
        before = max(0, *(-p.origin for p in met)) if met else 0
        after = max(0, *(p.last - x.shape[axis] + 1 for p in met)) if met else 0
        amounts.append((before, after))
        moved.append([_shifted(p, before) for p in phases])
    return padded(b, x, axes, amounts), moved


def _shifted(phase: Phase, by: int) -> Phase:
    fields = {**vars(phase), "origin": phase.origin + by}
    return Phase(**fields)


# --------------------------------------------------------------------------- one phase

_LOOP_DEPTH: Final = 12
"""Products summed for one element below which loops in place beat gathering windows."""
_WIDE: Final = 48
"""Positions of one image that make it worth multiplying image by image."""
_BLOCK: Final = 256
"""Products that the kernel sums at a time."""
_SHORT: Final = 24
"""Fewer at a time cost more than copying windows does."""
_INT32: Final = 1 << 31
_GATHERING: Final = {dtypes.float32: "f32", dtypes.float64: "f64"}


def _kernel_matrix(b: Any, w: Any, g: Geometry, whole: bool) -> tuple[Matrix, list[int]]:
    """The kernel as `[group, out feature, kernel element]`, and the order of those elements.

    That order is the one in which the kernel is stored, so that it need not be copied.
    """
    spec = g.w_spec
    role = [int(k) for k in np.argsort(spec)]
    order = [r - 1 for r in role if r != 0]
    out_axis = spec[0]
    if not whole:
        sizes = [g.taps[k] for k in order]
        sizes.insert(out_axis, g.groups * g.outs)
        full = w

        def element(idx: Sequence[Any]) -> Any:
            taps: list[Any] = [None] * len(order)
            for position, k in enumerate(order):
                taps[k] = idx[position + (position >= out_axis)]
            return full.at(g.kernel(idx[out_axis], taps))

        w = b.materialize(b.view(sizes, element))
    shape = (*w.shape[:out_axis], g.groups, g.outs, *w.shape[out_axis + 1 :])
    others = [k + (k > out_axis) for k in range(len(spec)) if k != out_axis]
    matrix = contractions.matrix(b, b.reshape(w, shape), ((out_axis,), (out_axis + 1,), others))
    return matrix, order


def _offsets(sizes: Sequence[int], strides: Sequence[int], start: int = 0) -> Any:
    """Offsets of all indices of `sizes` in row-major order."""
    table = np.full((), start, np.int64)
    for size, stride in zip(sizes, strides, strict=True):
        table = np.add.outer(table, np.arange(size) * stride)
    return table.reshape(-1).astype(np.int32)


class _Tables:
    """Offsets of the operand's elements, in elements: along the kernel, along the positions."""

    def __init__(
        self,
        x: Any,
        g: Geometry,
        order: Sequence[int],
        *,
        by_image: bool = False,
        space_first: bool = False,
    ) -> None:
        strides = pick(contractions.strides_of(x.shape), g.x_spec)
        taps = [strides[1], *(s * p.tap_step for s, p in zip(strides[2:], g.phases, strict=True))]
        cells = [s * p.cell_step for s, p in zip(strides[2:], g.phases, strict=True)]
        start = sum(s * p.origin for s, p in zip(strides[2:], g.phases, strict=True))
        self.by_tap = _offsets([g.taps[k] for k in order], [taps[k] for k in order])
        self.image = strides[0]
        self.lane = g.batch * strides[0] if g.by_batch else g.ins * strides[1]
        sizes, steps = list(g.space), cells
        if not by_image:
            at = len(sizes) if space_first else 0
            sizes.insert(at, g.batch)
            steps.insert(at, strides[0])
        self.by_cell = _offsets(sizes, steps, start)


def _gathered(
    b: Any, x: Any, w: Any, g: Geometry, order: Sequence[int], by_image: bool, dtype: Any
) -> tuple[Any, str]:
    """The result of a phase by the kernel that gathers windows as it packs them."""
    tables = _Tables(x, g, order, by_image=by_image)
    n = len(tables.by_cell)
    if by_image:
        lanes, lane_w, lane_x = g.batch, 0, tables.image
        shape, letters = (1, g.batch, g.outs, *g.space), "gnos"
    else:
        lanes, lane_w, lane_x = g.groups, w.lane, tables.lane
        shape, letters = (g.groups, g.outs, g.batch, *g.space), "gons"
    out = b.buffer((lanes, g.outs, n), dtype)
    numbers = (lanes, lane_w, lane_x, g.outs * n, g.outs, n, g.depth, w.row, w.column, n)
    by_tap, by_cell = b.constant(tables.by_tap), b.constant(tables.by_cell)
    symbol = f"pb_conv_{_GATHERING[dtype]}"
    b.call(symbol, w.buffer, x, out, by_tap, by_cell, *map(np.int64, numbers))
    return b.reshape(out, shape), letters


def _regular_blocks(offsets: Any) -> tuple[int, int]:
    """How many offsets to take at a time, and the step between neighbours in each such block.

    A step of 0 says that they are not equally spaced, or in too short a run.
    """
    steps = np.diff(offsets)
    if not steps.size or steps[0] == 0:
        return _BLOCK, 0
    breaks = np.flatnonzero(steps != steps[0])
    run = int(breaks[0]) + 1 if breaks.size else len(offsets)
    depth = max(d for d in range(1, _BLOCK + 1) if run % d == 0)
    inside = np.arange(1, len(offsets)) % depth != 0
    if depth < _SHORT or (steps[inside] != steps[0]).any():
        return _BLOCK, 0
    return depth, int(steps[0])


def _gathered_rows(
    b: Any, x: Any, w: Any, g: Geometry, order: Sequence[int], out_spec: Sequence[int], dtype: Any
) -> tuple[Any, str]:
    """The same with features last."""
    space_first = _letters(out_spec) == "sno"
    tables = _Tables(x, g, order, space_first=space_first)
    m = len(tables.by_cell)
    out = b.buffer((g.groups, m, g.outs), dtype)
    strides = (tables.lane, w.lane, m * g.outs)
    numbers = (g.groups, *strides, m, g.outs, g.depth, w.column, w.row, g.outs)
    by_tap, by_cell = b.constant(tables.by_tap), b.constant(tables.by_cell)
    symbol, blocks = f"pb_conv_rows_{_GATHERING[dtype]}", _regular_blocks(tables.by_tap)
    b.call(symbol, x, w.buffer, out, by_tap, by_cell, *map(np.int64, (*numbers, *blocks)))
    if space_first:
        return b.reshape(out, (g.groups, *g.space, g.batch, g.outs)), "gsno"
    return b.reshape(out, (g.groups, g.batch, *g.space, g.outs)), "gnso"


def _multiplied(
    b: Any, x: Any, w: Any, g: Geometry, order: Sequence[int], dtype: Any
) -> tuple[Any, str]:
    """The result of a phase by a matrix of windows."""
    n, sizes = g.batch * math.prod(g.space), [g.taps[k] for k in order]
    shape = (g.groups, *sizes, g.batch, *g.space)
    middle = 1 + len(order)

    def element(idx: Sequence[Any]) -> Any:
        taps: list[Any] = [None] * len(order)
        for value, k in zip(idx[1:middle], order, strict=True):
            taps[k] = value
        return x.at(g.element(idx[0], idx[middle], taps, idx[middle + 1 :]))

    right = Matrix(b.materialize(b.view(shape, element)), g.depth * n, n, 1)
    out = contractions.gemm(b, w, right, g.groups, g.outs, n, g.depth, dtype)
    return b.reshape(out, (g.groups, g.outs, g.batch, *g.space)), "gons"


def _met(b: Any, x: Any, g: Geometry, tap: Sequence[Any], index: Sequence[Any]) -> Any:
    """The operand's element at `index`, which kernel element `tap` meets; zero outside."""
    inside, index = None, list(index)
    for axis, p, u in zip(g.x_spec[2:], g.phases, tap[1:], strict=True):
        n, position, first = x.shape[axis], index[axis], p.origin + p.tap_step * u
        tests = [position >= 0] if first < 0 else []
        tests += [position < n] if first + p.cell_step * (p.cells - 1) >= n else []
        for test in tests:
            inside = test if inside is None else b.s.and_(inside, test)
        index[axis] = b.s.index(position, 0, n - 1) if tests else position
    found = x.at(index)
    return found if inside is None else b.s.select(inside, found, b.s.const(0, x.dtype))


def _sizes(g: Geometry, out_spec: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The shape of the result, and that with two axes of features: group, feature of the group."""
    sizes, feature = place(out_spec, (g.batch, g.groups * g.outs, *g.space)), out_spec[1]
    return sizes, (*sizes[:feature], g.groups, g.outs, *sizes[feature + 1 :])


def _roles(out_spec: Sequence[int], idx: Sequence[Any]) -> tuple[Any, Any, Any, list[Any]]:
    """Group, feature, image and position in such a shape."""
    feature = out_spec[1]
    n, _, *cell = (idx[axis + (axis > feature)] for axis in out_spec)
    return idx[feature], idx[feature + 1], n, cell


def _unrolled(b: Any, x: Any, w: Any, g: Geometry, out_spec: Sequence[int]) -> Any:
    """The only phase as one expression an element; it needs no room around the operand.

    Its nest is cut where an element of the kernel begins or ceases to meet the operand.
    """
    sizes, shape = _sizes(g, out_spec)

    def element(idx: Sequence[Any]) -> Any:
        group, o, n, cell = _roles(out_spec, idx)

        def product(tap: Sequence[Any]) -> Any:
            left = _met(b, x, g, tap, g.element(group, n, tap, cell))
            return b.s.mul(left, w.at(g.kernel(group * g.outs + o, tap)))

        return functools.reduce(b.s.add, map(product, itertools.product(*map(range, g.taps))))

    return b.reshape(b.view(shape, element), sizes)


def _looped(b: Any, x: Any, w: Any, g: Geometry, out_spec: Sequence[int]) -> tuple[Any, str]:
    """The result of a phase as a sum over lazy products, in the layout of `out_spec`."""
    (sizes, shape), rank = _sizes(g, out_spec), len(out_spec) + 1

    def element(idx: Sequence[Any]) -> Any:
        (group, o, n, cell), tap = _roles(out_spec, idx), idx[rank:]
        left = x.at(g.element(group, n, tap, cell))
        return b.s.mul(left, w.at(g.kernel(group * g.outs + o, tap)))

    def combine(s: Any, sums: Any, values: Any) -> list[Any]:
        return [s.add(sums[0], values[0])]

    products, over = b.view((*shape, *g.taps), element), range(rank, rank + len(g.taps))
    return b.reshape(b.reduce([products], tuple(over), [0], combine)[0], sizes), ""


def _few_products(depth: int, outs: int) -> bool:
    """Whether loops in place beat gathering windows."""
    return depth <= _LOOP_DEPTH and outs <= 4


def _one_phase(
    b: Any, x: Any, w: Any, g: Geometry, out_spec: Sequence[int], whole: bool, dtype: Any
) -> tuple[Any, str]:
    """The result of a phase, and its axes in order: g(roup), n, o(ut feature), s(pace).

    No letters stand for the layout of `out_spec`.
    """
    if not contractions.has_kernel(dtype) or _few_products(g.depth, g.outs):
        return _looped(b, x, w, g, out_spec)
    kernel, order = _kernel_matrix(b, w, g, whole)
    if dtype not in _GATHERING or math.prod(x.shape) >= _INT32:
        return _multiplied(b, x, kernel, g, order, dtype)
    if out_spec[1] == len(out_spec) - 1:
        return _gathered_rows(b, x, kernel, g, order, out_spec, dtype)
    wide = math.prod(g.space) >= _WIDE or g.batch == 1
    by_image = g.groups == 1 and out_spec[0] == 0 and wide
    return _gathered(b, x, kernel, g, order, by_image, dtype)


# --------------------------------------------------------------------------- all phases


def _letters(out_spec: Sequence[int]) -> str:
    """The roles of the axes in order, space as one letter; "" if its axes are apart or permuted."""
    space = list(out_spec[2:])
    if space and space != list(range(space[0], space[0] + len(space))):
        return ""
    order = sorted([(out_spec[0], "n"), (out_spec[1], "o"), *([(space[0], "s")] if space else [])])
    letters = "".join(letter for _, letter in order)
    return letters if space else letters + "s"


def _part(
    out: Any, letters: str, out_spec: Sequence[int], g: Geometry, place_in: Sequence[Any]
) -> Any:
    """One element of the result of a phase; `place_in` it by roles."""
    n, feature, *cell = place_in
    if not letters:
        return out.at(list(place(out_spec, place_in)))
    parts = {"g": [feature // g.outs], "n": [n], "o": [feature % g.outs], "s": cell}
    return out.at([value for letter in letters for value in parts[letter]])


def _arranged(b: Any, out: Any, letters: str, out_spec: Sequence[int], g: Geometry) -> Any:
    """The result of the only phase, in the layout of `out_spec`."""
    shape = place(out_spec, (g.batch, g.groups * g.outs, *g.space))
    if not letters or (g.groups == 1 and letters.replace("g", "") == _letters(out_spec)):
        return b.reshape(out, shape)

    def element(idx: Sequence[Any]) -> Any:
        return _part(out, letters, out_spec, g, [idx[axis] for axis in out_spec])

    return b.view(shape, element)


def _store_phase(
    b: Any, result: Any, out: Any, letters: str, out_spec: Sequence[int], g: Geometry
) -> None:
    """Write the result of a phase to the positions that it covers; `out` None stands for zeros."""
    shape = place(out_spec, (g.batch, g.groups * g.outs, *g.space))
    with ExitStack() as stack:
        idx = _nest(b, stack, shape)
        n, feature, *cell = (idx[axis] for axis in out_spec)
        if out is None:
            value = b.s.const(0, result.dtype)
        else:
            value = _part(out, letters, out_spec, g, (n, feature, *cell))
        spots = [j * p.every + p.first for p, j in zip(g.phases, cell, strict=True)]
        b.store(result, list(place(out_spec, (n, feature, *spots))), value)


def _combinations(per_axis: list[list[Phase]]) -> Iterator[tuple[Phase, ...]]:
    return itertools.product(*per_axis)


_BY_ROWS: Final = (
    (convolution_direct.fits, convolution_direct.direct),
    (convolution_depthwise.depthwise_fits, convolution_depthwise.depthwise),
    (convolution_direct.merged_fits, convolution_direct.merged),
    (convolution_direct.few_fits, convolution_direct.few),
    (convolution_direct.gradient_fits, convolution_direct.gradient),
    (convolution_depthwise.depthwise_gradient_fits, convolution_depthwise.depthwise_gradient),
)


def _by_rows(
    b: Any,
    x: Any,
    w: Any,
    shape: Sequence[int],
    choices: Sequence[Geometry],
    out_spec: Sequence[int],
    dtype: Any,
) -> Any:
    """The result by kernels that multiply rows of features where they are, or None."""
    met = [g for g in choices if g.depth]
    if len(choices) == 1 and convolution_direct.tiles_fit(b, x, w, choices[0], out_spec, dtype):
        result, g = b.buffer(shape, dtype), choices[0]
        convolution_direct.by_tiles(b, x, w, g, result, out_spec, _whole(w, g))
        return result
    x, w = (b.converted(v, dtype) for v in (x, w))
    ways = (way for fits, way in _BY_ROWS if all(fits(x, g, out_spec, dtype) for g in met))
    write = next(ways, None)
    if write is None or not met:
        return None
    result = b.buffer(shape, dtype)
    for g in choices:
        if g.depth:
            write(b, x, w, g, result, out_spec, _whole(w, g))
        else:
            _store_phase(b, result, None, "", out_spec, g)
    return result


def _whole(w: Any, g: Geometry) -> bool:
    """Whether all elements of the kernel are met."""
    return g.taps[1:] == pick(w.shape, g.w_spec)[2:]


_WORTH_MOVING: Final = 250
"""Products for each element of operands and result that are worth another layout."""


def _moved_tiles(
    b: Any,
    x: Any,
    w: Any,
    shape: Sequence[int],
    choices: Sequence[Geometry],
    out_spec: Sequence[int],
    dtype: Any,
) -> Any:
    """The same on tile registers only, with features moved to the end and back."""
    g, last = choices[0], len(out_spec) - 1
    products = math.prod(shape) * g.depth
    numbers = math.prod(x.shape) + math.prod(shape)
    if len(choices) > 1 or products < _WORTH_MOVING * numbers:
        return None
    spec = (0, last, *range(1, last))
    sizes = [tuple(pick(of, by)[k] for k in (0, *range(2, last + 1), 1))
             for of, by in ((x.shape, g.x_spec), (shape, out_spec))]  # fmt: skip
    moved = b.view(sizes[0], lambda idx: x.at(place(g.x_spec, [idx[axis] for axis in spec])))
    part = dataclasses.replace(g, x_spec=spec)
    if not convolution_direct.tiles_fit(b, moved, w, part, spec, dtype):
        return None
    result = b.buffer(sizes[1], dtype)
    convolution_direct.by_tiles(b, moved, w, part, result, spec, _whole(w, g))
    return b.view(shape, lambda idx: result.at(place(spec, [idx[axis] for axis in out_spec])))


def lower(
    b: Any,
    lhs: Any,
    rhs: Any,
    *,
    window_strides: Any,
    padding: Any,
    lhs_dilation: Any,
    rhs_dilation: Any,
    dimension_numbers: Any,
    feature_group_count: int,
    batch_group_count: int,
    precision: Any,
    preferred_element_type: Any,
    out_sharding: Any = None,
) -> Any:
    """The `lower` rule."""
    dtype = lhs.dtype if preferred_element_type is None else preferred_element_type
    inner = contractions.compute_dtype(lhs.dtype, dtype)
    x_spec, w_spec, out_spec = map(tuple, dimension_numbers)
    x, w = pick(lhs.shape, x_spec), pick(rhs.shape, w_spec)
    space = output_space(x[2:], w[2:], window_strides, padding, lhs_dilation, rhs_dilation)
    groups, batch = feature_group_count * batch_group_count, x[0] // batch_group_count
    shape = place(out_spec, (batch, w[0], *space))
    if 0 in (*shape, *x, *w):
        return b.full(shape, 0, dtype)
    rules = zip(space, w[2:], window_strides, padding, lhs_dilation, rhs_dilation, strict=True)
    per_axis = [phases_of(o, k, s, low, ld, rd) for o, k, s, (low, _), ld, rd in rules]
    outs = w[0] // groups
    shared = (x_spec, w_spec, groups, batch_group_count > 1, batch, outs, w[1])
    only = Geometry(*shared, tuple(phases[0] for phases in per_axis))
    one = all(len(phases) == 1 for phases in per_axis) and only.taps == w[1:]
    choices = [Geometry(*shared, phases) for phases in _combinations(per_axis)]
    for by_rows in (_by_rows, _moved_tiles):
        found = by_rows(b, lhs, rhs, shape, choices, out_spec, inner)
        if found is not None:
            return b.converted(found, dtype)
    lhs, rhs = (b.converted(v, inner) for v in (lhs, rhs))
    if one and _few_products(only.depth, outs):
        return b.converted(_unrolled(b, lhs, rhs, only, out_spec), dtype)
    lhs, per_axis = _with_room(b, lhs, x_spec[2:], per_axis)
    choices = [Geometry(*shared, phases) for phases in _combinations(per_axis)]
    if len(choices) == 1 and choices[0].taps == w[1:]:
        out, letters = _one_phase(b, lhs, rhs, choices[0], out_spec, True, inner)
        return b.converted(_arranged(b, out, letters, out_spec, choices[0]), dtype)
    result = b.buffer(shape, inner)
    for g in choices:
        if g.depth == 0:
            _store_phase(b, result, None, "", out_spec, g)
            continue
        out, letters = _one_phase(b, lhs, rhs, g, out_spec, False, inner)
        _store_phase(b, result, out, letters, out_spec, g)
    return b.converted(result, dtype)
