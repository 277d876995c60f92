"""Nests cut in parts: where conditions change, and long reductions for threads.

A pad or a concatenation selects by the index; each piece between two changes has no condition left
and contiguous loads.  A long reduction with few results becomes partial ones, which threads share,
and the reduction of these; the parts depend on extents alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from pullback.loops.expr import Affine, Axis, Expr, Load, Op, affine
from pullback.loops.ir import Buffer, Store, subexpressions
from pullback.loops.nests import (
    Member,
    Nest,
    extent_of,
    merge,
    power_of_two,
    size_of,
    vector_axis,
)
from pullback.loops.tensors import Mapping

__all__ = ["MAX_CUTS", "PARTS_ENOUGH", "cut_axis", "pieces_of", "split_reduction"]

SPLIT_MIN: Final = 1 << 16
"""Reductions of fewer elements are not split for threads."""
CHUNK: Final = 1 << 15
"""Elements of one part of a split reduction."""
PARTS_ENOUGH: Final = 16
LONG_STRIDE: Final = 512
TALL: Final = 128
PIECES_MIN: Final = 512
BORDER_MIN: Final = 64
"""Elements from which a nest is cut, and one that is a piece itself: it may have to be free of
conditions to be computed where it is (`loops/memory.py`)."""
MAX_CUTS: Final = 4


# --------------------------------------------------------------------------- pieces


def cut_axis(nest: Nest, *, border: bool = False) -> tuple[int, list[int]] | None:
    """The first axis along which conditions change, and where; `border`: a piece of a nest."""
    if size_of(nest.axes) < (BORDER_MIN if border else PIECES_MIN):
        return None
    exprs = nest.expressions()
    for k, axis in enumerate(nest.axes):
        cuts = [] if k in nest.reduced else sorted(_cuts(axis, exprs))
        if 0 < len(cuts) <= MAX_CUTS:
            return k, cuts
    return None


def pieces_of(nest: Nest, position: int, cuts: Sequence[int]) -> list[Nest]:
    """The nest cut where conditions on an axis change, so that each piece has none.

    Pads, concatenations and rolls select by such conditions; without them loads are contiguous.
    """
    ends = [*cuts, extent_of(nest.axes[position])]
    return [_piece(nest, position, a, b) for a, b in zip([0, *cuts], ends, strict=True)]


def _piece(nest: Nest, position: int, start: int, end: int) -> Nest:
    """The part of a nest with one axis within [start, end)."""
    axes = [Axis(extent_of(a)) for a in nest.axes]
    axes[position] = Axis(end - start)
    mapping: Mapping = {a: affine(b) for a, b in zip(nest.axes, axes, strict=True)}
    if end - start > 1:
        mapping[nest.axes[position]] = affine(axes[position]) + start
        return Nest(axes, nest.reduced, nest.substituted(mapping))
    mapping[nest.axes[position]] = affine(start)
    reduced = frozenset(k - (k > position) for k in nest.reduced)
    del axes[position]
    return Nest(axes, reduced, nest.substituted(mapping))


def _cuts(axis: Axis, exprs: Sequence[Expr]) -> set[int]:
    """Where some comparison of the axis with a constant changes its value."""
    found: set[int] = set()
    for e in subexpressions(exprs):
        if type(e) is not Op or not e.args or type(e.args[0]) is not Affine:
            continue
        if e.name in ("lt", "eq", "ne", "imin", "imax"):
            found |= _crossings(axis, affine(e.args[0]) - affine(e.args[1]), e.name)
        elif e.name in ("mod", "floordiv"):
            found |= _wraps(axis, e.args[0], e.attr)
    return {c for c in found if 0 < c < extent_of(axis)}


def _crossings(axis: Axis, difference: Affine, name: str) -> set[int]:
    k = difference.terms.get(axis, 0)
    if not k or len(difference.terms) != 1:
        return set()
    c = difference.const
    if name in ("eq", "ne"):
        return {-c // k, -c // k + 1} if c % k == 0 else set()
    if name == "imin" and k > 0:  # at zero either side is right: cut where the clamped one starts
        return {-c // k + 1}
    return {-(c // k) if k > 0 else c // -k + 1}


def _wraps(axis: Axis, x: Affine, divisor: int) -> set[int]:
    k = x.terms.get(axis, 0)
    if len(x.terms) != 1 or k <= 0:
        return set()
    low, high = x.const // divisor, (x.const + k * (extent_of(axis) - 1)) // divisor
    if high - low > 2:
        return set()
    return {-((x.const - divisor * j) // k) for j in range(low + 1, high + 1)}


# --------------------------------------------------------------------------- splitting


def split_reduction(nest: Nest) -> list[Nest]:
    """A long reduction with few results as partial ones, which threads can share, and their sum."""
    if not nest.reduced or size_of(nest.axes) < SPLIT_MIN:
        return [nest]
    kept = [k for k in range(len(nest.axes)) if k not in nest.reduced]
    if _parts(nest, kept) >= PARTS_ENOUGH:
        return [nest]
    first = min(nest.reduced)
    inner = size_of(nest.axes) // extent_of(nest.axes[first])
    step = max(1, power_of_two(max(CHUNK // inner, 1)))
    count, rest = divmod(extent_of(nest.axes[first]), step)
    if count < 2:
        return [nest]
    return _parts_and_total(nest, first, step, count, rest)


def _parts(nest: Nest, kept: Sequence[int]) -> int:
    """Independent pieces that the unsplit nest has."""
    if not kept:
        return 1
    vector = vector_axis(nest)
    pieces = size_of(nest.axes[k] for k in kept)
    if vector in nest.reduced:
        return pieces
    first = min(nest.reduced)
    stride = size_of(nest.axes[k] for k in kept if k > first)
    if stride >= LONG_STRIDE and extent_of(nest.axes[first]) >= TALL:
        return 1  # a column at a time would touch a page a row
    return -(-pieces // 64)


def _parts_and_total(nest: Nest, first: int, step: int, count: int, rest: int) -> list[Nest]:
    total = count + (1 if rest else 0)
    kept = [a for k, a in enumerate(nest.axes) if k not in nest.reduced]
    extents = [total, *(extent_of(a) for a in kept)]
    partials = {
        id(m): [Buffer(v.dtype, math.prod(extents), "temp") for v in m.inits]
        for m in nest.members
        if m.combine is not None
    }
    part = Axis(count)
    nests = [_part(nest, first, step, affine(part), part, partials, kept)]
    if rest:
        nests.append(_part(nest, first, rest, affine(count), None, partials, kept, count * step))
    return [*nests, _total(nest, total, partials, kept)]


def _part(
    nest: Nest,
    first: int,
    step: int,
    number: Affine,
    part: Axis | None,
    partials: dict[int, list[Buffer]],
    kept: Sequence[Axis],
    base: int = 0,
) -> Nest:
    """Partial results of `step` indices of the split axis."""
    inner = Axis(step)
    start = affine(base) if part is None else number * step
    new_kept = [Axis(extent_of(a)) for a in kept]
    mapping: Mapping = dict(zip(kept, map(affine, new_kept), strict=True))
    mapping[nest.axes[first]] = start + affine(inner)
    axes: list[Axis] = []
    for k, a in enumerate(nest.axes):
        if k == first:
            axes += [inner] if part is None else [part, inner]
        else:
            axes.append(new_kept[kept.index(a)] if k not in nest.reduced else Axis(extent_of(a)))
            mapping[a] = affine(axes[-1])
    shape = [extent_of(a) for a in new_kept]
    offset = number * math.prod(shape)
    for axis, stride in zip(new_kept, _strides(shape), strict=True):
        offset = offset + affine(axis) * stride
    members = []
    for m, new in zip(nest.members, nest.substituted(mapping), strict=True):
        if m.combine is not None:
            targets = zip(partials[id(m)], m.combine.left, strict=True)
            new.stores = [Store(b, offset, left) for b, left in targets]
        members.append(new)
    reduced_axes = {inner} | {
        axes[k + (part is not None and k > first)] for k in nest.reduced if k != first
    }
    return merge(Nest(axes, frozenset(k for k, a in enumerate(axes) if a in reduced_axes), members))


def _strides(shape: Sequence[int]) -> list[int]:
    return [math.prod(shape[k + 1 :]) for k in range(len(shape))]


def _total(nest: Nest, count: int, partials: dict[int, list[Buffer]], kept: Sequence[Axis]) -> Nest:
    """Combine the partial results."""
    part = Axis(count)
    shape = [extent_of(a) for a in kept]
    offset = affine(part) * math.prod(shape)
    for axis, stride in zip(kept, _strides(shape), strict=True):
        offset = offset + affine(axis) * stride
    members = []
    for m in nest.members:
        if m.combine is not None:
            values = tuple(Load(b, offset) for b in partials[id(m)])
            members.append(Member(m.stores, values, m.inits, m.combine, m.cost))
    return merge(Nest([part, *kept], frozenset([0]), members))
