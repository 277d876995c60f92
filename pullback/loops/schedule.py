"""From groups to nests of loops: merge axes, choose the vector axis, tile, split, parallelise.

A `Group` (made by `loops/fuse.py`) has either one stage over all of its axes, or an outer loop over
rows (`outer` leading axes) and stages that work on one row each.  The order of reductions depends
on extents and on the machine's vectors, never on the number of threads.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from pullback.core import dtypes
from pullback.loops.expr import Affine, Axis, Const, Expr, Load, Local, Op, Read, affine, index_min
from pullback.loops.ir import (
    Assign,
    Buffer,
    Combine,
    Declare,
    Fold,
    Let,
    Loop,
    Stmt,
    Store,
    Var,
    subexpressions,
)
from pullback.loops.scalars import SCALARS
from pullback.loops.tensors import Forwards, Mapping, substitute, without_axes

__all__ = ["Group", "Machine", "Member", "Stage", "group_statements", "machine"]

SPLIT_MIN: Final = 1 << 16
"""Reductions of fewer elements are not split for threads."""
CHUNK: Final = 1 << 15
"""Elements of one part of a split reduction."""
PARTS_ENOUGH: Final = 16
TILE: Final = 32
SMALL_ROW: Final = 12
COLUMN_BYTES: Final = 256
PIECES_MIN: Final = 512
MAX_CUTS: Final = 4


@dataclass(slots=True)
class Machine:
    """What schedules depend on."""

    vector_bits: int = 512


machine: Final = Machine()


@dataclass(eq=False, slots=True)
class Member:
    """A computation of a stage: stores of mapped values, or of the results of a reduction.

    The stores of a reduction give its results in terms of `combine.left`.
    """

    stores: list[Store]
    values: tuple[Expr, ...] = ()
    inits: tuple[Expr, ...] = ()
    combine: Combine | None = None
    cost: float = 0.0

    def expressions(self) -> list[Expr]:
        """All expressions, those of `combine` excepted."""
        stores = [e for s in self.stores for e in (s.offset, s.value)]
        return [*stores, *self.values, *self.inits]

    def renamed(
        self,
        mapping: Mapping,
        forwards: Forwards | None = None,
        private: tuple[Buffer, frozenset[Axis]] | None = None,
    ) -> Member:
        """The same with axes replaced and known values in place of loads."""
        new = iter(substitute(self.expressions(), mapping, forwards, private))
        stores = [Store(s.buffer, affine(next(new)), next(new)) for s in self.stores]
        values = tuple(next(new) for _ in self.values)
        return Member(stores, values, tuple(new), self.combine, self.cost)

    def drop_rows(self, buffer: Buffer, outer: set[Axis]) -> None:
        """Address `buffer` within a row: it has become local to one."""
        axes = frozenset(outer)
        new = self.renamed({}, None, (buffer, axes))
        self.values, self.inits = new.values, new.inits
        self.stores = [
            Store(s.buffer, without_axes(s.offset, axes), s.value) if s.buffer is buffer else s
            for s in new.stores
        ]


@dataclass(eq=False, slots=True)
class Stage:
    """Members that share a loop over `axes`."""

    axes: list[Axis]
    members: list[Member]


@dataclass(eq=False, slots=True)
class Group:
    """One nest of loops; with `outer`, stages inside a loop over that many leading axes."""

    axes: list[Axis]
    reduced: frozenset[int]
    stages: list[Stage]
    outer: int = 0
    cost: float = 0.0
    buffers: set[Buffer] = field(default_factory=set)


def group_statements(group: Group) -> list[Stmt]:
    """The loops of a group."""
    group.stages = [s for s in group.stages if _drop_dead(s)]
    if not group.stages:
        return []
    if group.outer:
        return _rows(group)
    stage = group.stages[0]
    reductions = any(m.combine is not None for m in stage.members)
    nest = _merge(_Nest(stage.axes, group.reduced if reductions else frozenset(), stage.members))
    return [stmt for part in _split(nest) for stmt in _nest_statements(part)]


def _drop_dead(stage: Stage) -> bool:
    stage.members = [m for m in stage.members if m.stores]
    return bool(stage.members)


# --------------------------------------------------------------------------- one nest


@dataclass(slots=True)
class _Nest:
    """Members over axes (outermost first), some of them reduced."""

    axes: list[Axis]
    reduced: frozenset[int]
    members: list[Member]

    def expressions(self) -> list[Expr]:
        return [e for m in self.members for e in m.expressions()]

    def indices(self) -> list[Affine]:
        """The distinct indices in all expressions."""
        return list({e for e in subexpressions(self.expressions()) if type(e) is Affine})

    def substituted(self, mapping: Mapping) -> list[Member]:
        return [m.renamed(mapping) for m in self.members]


def _extent(axis: Axis) -> int:
    assert axis.extent is not None
    return axis.extent


def _size(axes: Iterable[Axis]) -> int:
    return math.prod(_extent(a) for a in axes)


def _mergeable(outer: Axis, inner: Axis, indices: Iterable[Affine]) -> bool:
    extent = _extent(inner)
    return all(i.terms.get(outer, 0) == i.terms.get(inner, 0) * extent for i in indices)


def _merge(nest: _Nest) -> _Nest:
    """Make adjacent axes one wherever every index moves through them as through one."""
    indices = nest.indices()
    axes, mapping, reduced = _merged_axes(nest.axes, nest.reduced, indices)
    if not mapping:
        return nest
    return _Nest(axes, reduced, nest.substituted(mapping))


def _merged_axes(
    axes: Sequence[Axis], reduced: frozenset[int], indices: list[Affine]
) -> tuple[list[Axis], Mapping, frozenset[int]]:
    out: list[tuple[list[Axis], bool]] = []
    for k, axis in enumerate(axes):
        if out and out[-1][1] == (k in reduced):
            run = out[-1][0]
            if _mergeable(run[-1], axis, indices):
                run.append(axis)
                continue
        out.append(([axis], k in reduced))
    mapping: Mapping = {}
    merged = []
    for run, _ in out:
        if len(run) == 1:
            merged.append(run[0])
            continue
        new = Axis(_size(run))
        mapping.update({a: affine(0) for a in run[:-1]})
        mapping[run[-1]] = affine(new)
        merged.append(new)
    positions = frozenset(k for k, (_, is_reduced) in enumerate(out) if is_reduced)
    return merged, mapping, positions


# --------------------------------------------------------------------------- vectors


def _element_bytes(exprs: Sequence[Expr]) -> int:
    """The widest element that a nest computes with."""
    widest = 1
    for e in subexpressions(exprs):
        if type(e) is Affine or type(e) is Axis or type(e) is Const:
            continue
        if e.dtype.kind != "b":
            widest = max(widest, _register_bytes(e.dtype))
    return widest


def _register_bytes(dtype: np.dtype[Any]) -> int:
    if dtype.kind == "c":
        return dtype.itemsize // 2
    if dtypes.kind_of(dtype) == "f":
        return max(4, dtype.itemsize)
    return dtype.itemsize


def _is_vectorizable(exprs: Sequence[Expr]) -> bool:
    return not any(type(e) is Op and e.name == "extern" for e in subexpressions(exprs))


def _power_of_two(n: int) -> int:
    return 1 << (n.bit_length() - 1)


def _width(extent: int, exprs: Sequence[Expr], unroll: int) -> int:
    if not _is_vectorizable(exprs):
        return 1
    return min(_lanes(exprs) * unroll, _power_of_two(max(extent, 1)), 256)


def _lanes(exprs: Sequence[Expr]) -> int:
    """Lanes of one register."""
    return machine.vector_bits // 8 // min(_element_bytes(exprs), 8)


def _weight(exprs: Sequence[Expr]) -> float:
    """Rough work of the body of a loop, in additions."""
    heavy = {"math": 16.0, "extern": 200.0, "div": 4.0, "sqrt": 4.0, "rem": 8.0}
    return sum(heavy.get(e.name, 1.0) for e in subexpressions(exprs) if type(e) is Op)


def _cost_along(axis: Axis, nest: _Nest, exprs: Sequence[Expr], weight: float) -> float:
    """Estimated cost of an element if vectors run along an axis: gathers and short runs are dear."""
    extent = _extent(axis)
    lanes = min(_lanes(exprs), _power_of_two(extent))
    total = 1.0 + 0.5 * weight
    for e in subexpressions(exprs):
        if type(e) is Load:
            total += _access_cost(axis, e.offset, lanes)
    for member in nest.members:
        if member.combine is None:
            total += sum(1.5 * _access_cost(axis, s.offset, lanes) for s in member.stores)
    return total * -(-extent // lanes) / extent


def _access_cost(axis: Axis, offset: Affine, lanes: int) -> float:
    k = offset.terms.get(axis, 0)
    if any(axis is a for atom in offset.terms if type(atom) is Op for a in subexpressions([atom])):
        return 1.5 * lanes
    if k in (0, 1):
        return 1.0 if k else 0.5
    if abs(k) <= 4:
        return 2.0 + 0.1 * lanes
    return 0.75 * lanes


def _vector_axis(nest: _Nest) -> int:
    """The position of the axis to vectorise; the last of equals."""
    exprs = nest.expressions()
    weight = _weight(exprs)
    ranked = [(-_cost_along(a, nest, exprs, weight), k) for k, a in enumerate(nest.axes)]
    return max(ranked)[1]


# --------------------------------------------------------------------------- nests


def _nest_statements(nest: _Nest) -> list[Stmt]:
    if not nest.axes:
        return [s for m in nest.members for s in _plain(m)]
    pieces = _pieces(nest)
    if pieces:
        return [s for piece in pieces for s in _nest_statements(_merge(piece))]
    vector = _vector_axis(nest)
    if not nest.reduced:
        return [_map_nest(nest, vector)]
    if vector in nest.reduced:
        return [_horizontal(nest, vector)]
    return [_vertical(nest, vector)]


def _plain(member: Member) -> Iterator[Stmt]:
    yield from member.stores


def _body_work(exprs: Sequence[Expr], width: int) -> float:
    """Nanoseconds of `width` iterations."""
    weight = _weight(exprs)
    memory = sum(e.dtype.itemsize for e in subexpressions(exprs) if type(e) is Load)
    lanes = machine.vector_bits / 8 / _element_bytes(exprs)
    per_vector = 0.3 * weight + 1.0
    return max(per_vector * max(width / lanes, 1 / lanes), memory * width / 20)


def _map_nest(nest: _Nest, vector: int) -> Stmt:
    """Stores only: the vector axis innermost, tiled if something moves along another axis."""
    axis = nest.axes[vector]
    exprs = nest.expressions()
    unroll = 2 if _weight(exprs) <= 12 else 1
    width = _width(_extent(axis), exprs, unroll)
    tiled = _tile_partner(nest, vector)
    if tiled is not None:
        return _tiled(nest, vector, tiled)
    body = tuple(s for m in nest.members for s in _plain(m))
    work = _body_work(exprs, width)
    inner = _vector_loop(axis, body, width, work)
    others = [a for k, a in enumerate(nest.axes) if k != vector]
    return _outer_loops(others, inner, work * -(-_extent(axis) // width))


def _vector_loop(axis: Axis, body: tuple[Stmt, ...], width: int, work: float) -> Loop:
    return Loop(axis, affine(_extent(axis)), body, width, True, False, work)


def _outer_loops(axes: Sequence[Axis], inner: Loop, work: float) -> Loop:
    """Loops around an inner one; the outermost may run on threads, `work` is that of `inner`."""
    loop = inner
    for axis in reversed(axes):
        loop = Loop(axis, affine(_extent(axis)), (_serial(loop),), 1, True, False, work)
        work *= _extent(axis)
    return _flattened(loop)


def _serial(loop: Loop) -> Loop:
    return replace(loop, parallel=False)


def _flattened(loop: Loop) -> Loop:
    """Two perfectly nested outer loops as one, if the outer alone has too few iterations."""
    inner = loop.body[0] if len(loop.body) == 1 else None
    few = _extent(loop.axis) < PARTS_ENOUGH
    if not (few and isinstance(inner, Loop) and inner.width == 1 and inner.extent.is_const):
        return loop
    if not loop.parallel or loop.width > 1:
        return loop
    n = _extent(inner.axis)
    axis = Axis(_extent(loop.axis) * n)
    mapping: Mapping = {loop.axis: affine(axis) // n, inner.axis: affine(axis) % n}
    body = tuple(_renamed_statement(s, mapping) for s in inner.body)
    return _flattened(Loop(axis, affine(_extent(axis)), body, 1, True, False, inner.work))


def _renamed_statement(stmt: Stmt, mapping: Mapping) -> Stmt:
    """A statement of a nest with axes replaced."""
    if isinstance(stmt, Loop):
        return replace(stmt, body=tuple(_renamed_statement(s, mapping) for s in stmt.body))
    if isinstance(stmt, Store):
        offset, value = substitute([stmt.offset, stmt.value], mapping)
        return Store(stmt.buffer, affine(offset), value)
    if isinstance(stmt, Let):
        return Let(stmt.local, substitute([stmt.value], mapping)[0])
    if isinstance(stmt, Assign):
        return Assign(stmt.var, substitute([stmt.value], mapping)[0])
    if isinstance(stmt, Declare):
        return Declare(stmt.var, substitute([stmt.init], mapping)[0])
    return stmt


def _tile_partner(nest: _Nest, vector: int) -> int | None:
    """The axis along which some access is contiguous while the vector axis strides through it."""
    axis = nest.axes[vector]
    for e in subexpressions(nest.expressions()):
        if type(e) is Load and abs(e.offset.terms.get(axis, 0)) > 8:
            for k, other in enumerate(nest.axes):
                large = _extent(other) >= 2 * TILE and _extent(axis) >= 2 * TILE
                if k != vector and e.offset.terms.get(other) == 1 and large:
                    return k
    return None


def _tiled(nest: _Nest, vector: int, partner: int) -> Stmt:
    """Tiles of two axes; the last tile of each overlaps the one before it."""
    axes = nest.axes
    mapping: Mapping = {}
    blocks: dict[int, Axis] = {}
    inner: dict[int, Axis] = {}
    for k in (vector, partner):
        extent = _extent(axes[k])
        blocks[k], inner[k] = Axis(-(-extent // TILE)), Axis(TILE)
        start = index_min(affine(blocks[k]) * TILE, extent - TILE)
        mapping[axes[k]] = start + affine(inner[k])
    members = nest.substituted(mapping)
    exprs = [e for m in members for e in m.expressions()]
    width = _width(TILE, exprs, 1)
    body = tuple(s for m in members for s in _plain(m))
    work = 4 * _body_work(exprs, width)
    loop = _vector_loop(inner[vector], body, width, work)
    work *= TILE / width
    loop = Loop(inner[partner], affine(TILE), (_serial(loop),), 1, False, False, work)
    others = [blocks.get(k, a) for k, a in enumerate(axes)]
    return _outer_loops(others, loop, work * TILE)


# --------------------------------------------------------------------------- pieces


def _pieces(nest: _Nest) -> list[_Nest]:
    """The nest cut where conditions on an axis change, so that each piece has none.

    Pads, concatenations and rolls select by such conditions; without them loads are contiguous.
    """
    if _size(nest.axes) < PIECES_MIN:
        return []
    exprs = nest.expressions()
    for k, axis in enumerate(nest.axes):
        cuts = [] if k in nest.reduced else sorted(_cuts(axis, exprs))
        if 0 < len(cuts) <= MAX_CUTS:
            ends = [*cuts, _extent(axis)]
            return [_piece(nest, k, a, b) for a, b in zip([0, *cuts], ends, strict=True)]
    return []


def _piece(nest: _Nest, position: int, start: int, end: int) -> _Nest:
    """The part of a nest with one axis within [start, end)."""
    axes = [Axis(_extent(a)) for a in nest.axes]
    axes[position] = Axis(end - start)
    mapping: Mapping = {a: affine(b) for a, b in zip(nest.axes, axes, strict=True)}
    if end - start > 1:
        mapping[nest.axes[position]] = affine(axes[position]) + start
        return _Nest(axes, nest.reduced, nest.substituted(mapping))
    mapping[nest.axes[position]] = affine(start)
    reduced = frozenset(k - (k > position) for k in nest.reduced)
    del axes[position]
    return _Nest(axes, reduced, nest.substituted(mapping))


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
    return {c for c in found if 0 < c < _extent(axis)}


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
    low, high = x.const // divisor, (x.const + k * (_extent(axis) - 1)) // divisor
    if high - low > 2:
        return set()
    return {-((x.const - divisor * j) // k) for j in range(low + 1, high + 1)}


# --------------------------------------------------------------------------- reductions


def _accumulators(members: Sequence[Member], wide: int) -> dict[int, tuple[Var, ...]]:
    return {
        id(m): tuple(Var(v.dtype, wide) for v in m.inits) for m in members if m.combine is not None
    }


def _declares(members: Sequence[Member], accs: dict[int, tuple[Var, ...]]) -> Iterator[Stmt]:
    for m in members:
        for var, init in zip(accs.get(id(m), ()), m.inits, strict=False):
            yield Declare(var, init)


def _accumulate(members: Sequence[Member], accs: dict[int, tuple[Var, ...]]) -> Iterator[Stmt]:
    """The body of the innermost loop: stores of mapped members, steps of reductions."""
    for m in members:
        if m.combine is None:
            yield from m.stores
            continue
        mapping: Mapping = dict(zip(m.combine.left, map(Read, accs[id(m)]), strict=True))
        mapping.update(zip(m.combine.right, m.values, strict=True))
        new = substitute(m.combine.values, mapping)
        if len(new) == 1:
            yield Assign(accs[id(m)][0], new[0])
            continue
        names = [Local(e.dtype) for e in new]
        for name, e in zip(names, new, strict=True):
            yield Let(name, e)
        for var, name in zip(accs[id(m)], names, strict=True):
            yield Assign(var, name)


def _results(members: Sequence[Member], accs: dict[int, tuple[Var, ...]]) -> Iterator[Stmt]:
    """After the loops: fold lanes, store results."""
    for m in members:
        if m.combine is None:
            continue
        names = tuple(Local(v.dtype) for v in accs[id(m)])
        yield Fold(names, accs[id(m)], m.combine)
        mapping: Mapping = dict(zip(m.combine.left, names, strict=True))
        for s in m.stores:
            offset, value = substitute([s.offset, s.value], mapping)
            yield Store(s.buffer, affine(offset), value)


def _horizontal_body(
    axes: Sequence[Axis], vector: int, members: Sequence[Member]
) -> tuple[list[Stmt], float]:
    """Reduce along all of `axes`, one of them by vectors; also the estimated work."""
    axis = axes[vector]
    exprs = [e for m in members for e in m.expressions()]
    combines = [e for m in members if m.combine is not None for e in m.combine.values]
    weight = _weight([*exprs, *combines])
    unroll = 4 if weight <= 12 else 2 if weight <= 60 else 1
    width = _width(_extent(axis), [*exprs, *combines], unroll)
    accs = _accumulators(members, width)
    body = tuple(_accumulate(members, accs))
    work = _body_work([*exprs, *combines], width)
    loop = replace(_vector_loop(axis, body, width, work), parallel=False)
    work *= -(-_extent(axis) // width)
    for k in range(len(axes) - 1, -1, -1):
        if k != vector:
            loop = Loop(axes[k], affine(_extent(axes[k])), (loop,), 1, False, False, work)
            work *= _extent(axes[k])
    return [*_declares(members, accs), loop, *_results(members, accs)], work + 5.0


def _horizontal(nest: _Nest, vector: int) -> Stmt:
    """Vectors along a reduced axis; the kept axes are outer loops."""
    reduced = [a for k, a in enumerate(nest.axes) if k in nest.reduced]
    kept = [a for k, a in enumerate(nest.axes) if k not in nest.reduced]
    position = reduced.index(nest.axes[vector])
    body, work = _horizontal_body(reduced, position, nest.members)
    return _around(kept, body, work)


def _around(axes: Sequence[Axis], body: Sequence[Stmt], work: float) -> Stmt:
    """Parallel loops around statements; one iteration of a dummy loop if there are no axes."""
    last = axes[-1] if axes else Axis(1)
    loop = Loop(last, affine(_extent(last)), tuple(body), 1, True, False, work)
    return _outer_loops(axes[:-1], loop, work * _extent(last))


def _vertical(nest: _Nest, vector: int) -> Stmt:
    """Vectors along a kept axis: a lane for every result."""
    axis = nest.axes[vector]
    reduced = [a for k, a in enumerate(nest.axes) if k in nest.reduced]
    others = [a for k, a in enumerate(nest.axes) if k not in nest.reduced and k != vector]
    exprs = nest.expressions()
    unroll = max(1, COLUMN_BYTES * 8 // machine.vector_bits) if _weight(exprs) <= 24 else 1
    width = _width(_extent(axis), exprs, unroll)
    body, work = _columns(reduced, nest.members, width)
    loop = _vector_loop(axis, tuple(body), width, work)
    return _outer_loops(others, loop, work * -(-_extent(axis) // width))


def _columns(
    reduced: Sequence[Axis], members: Sequence[Member], width: int
) -> tuple[list[Stmt], float]:
    """The body of a vector loop over results: serial loops over the reduced axes."""
    accs = _accumulators(members, 0)
    body: list[Stmt] = list(_accumulate(members, accs))
    work = _body_work([e for m in members for e in m.expressions()], width)
    for axis in reversed(reduced):
        body = [Loop(axis, affine(_extent(axis)), tuple(body), 1, False, False, work)]
        work *= _extent(axis)
    return [*_declares(members, accs), *body, *_results(members, accs)], work + 2.0


# --------------------------------------------------------------------------- splitting


def _split(nest: _Nest) -> list[_Nest]:
    """A long reduction with few results as partial ones, which threads can share, and their sum."""
    if not nest.reduced or _size(nest.axes) < SPLIT_MIN:
        return [nest]
    kept = [k for k in range(len(nest.axes)) if k not in nest.reduced]
    if _parts(nest, kept) >= PARTS_ENOUGH:
        return [nest]
    first = min(nest.reduced)
    inner = _size(nest.axes) // _extent(nest.axes[first])
    step = max(1, _power_of_two(max(CHUNK // inner, 1)))
    count, rest = divmod(_extent(nest.axes[first]), step)
    if count < 2:
        return [nest]
    return _parts_and_total(nest, first, step, count, rest)


def _parts(nest: _Nest, kept: Sequence[int]) -> int:
    """Independent pieces that the unsplit nest has."""
    if not kept:
        return 1
    vector = _vector_axis(nest)
    pieces = _size(nest.axes[k] for k in kept)
    return pieces if vector in nest.reduced else -(-pieces // 64)


def _parts_and_total(nest: _Nest, first: int, step: int, count: int, rest: int) -> list[_Nest]:
    total = count + (1 if rest else 0)
    kept = [a for k, a in enumerate(nest.axes) if k not in nest.reduced]
    extents = [total, *(_extent(a) for a in kept)]
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
    nest: _Nest,
    first: int,
    step: int,
    number: Affine,
    part: Axis | None,
    partials: dict[int, list[Buffer]],
    kept: Sequence[Axis],
    base: int = 0,
) -> _Nest:
    """Partial results of `step` indices of the split axis."""
    inner = Axis(step)
    start = affine(base) if part is None else number * step
    new_kept = [Axis(_extent(a)) for a in kept]
    mapping: Mapping = dict(zip(kept, map(affine, new_kept), strict=True))
    mapping[nest.axes[first]] = start + affine(inner)
    axes: list[Axis] = []
    for k, a in enumerate(nest.axes):
        if k == first:
            axes += [inner] if part is None else [part, inner]
        else:
            axes.append(new_kept[kept.index(a)] if k not in nest.reduced else Axis(_extent(a)))
            mapping[a] = affine(axes[-1])
    shape = [_extent(a) for a in new_kept]
    offset = number * math.prod(shape)
    for axis, stride in zip(new_kept, _strides(shape), strict=True):
        offset = offset + affine(axis) * stride
    members = []
    for m in nest.members:
        new = m.renamed(mapping)
        if m.combine is not None:
            targets = zip(partials[id(m)], m.combine.left, strict=True)
            new.stores = [Store(b, offset, left) for b, left in targets]
        members.append(new)
    reduced_axes = {inner} | {
        axes[k + (part is not None and k > first)] for k in nest.reduced if k != first
    }
    return _merge(
        _Nest(axes, frozenset(k for k, a in enumerate(axes) if a in reduced_axes), members)
    )


def _strides(shape: Sequence[int]) -> list[int]:
    return [math.prod(shape[k + 1 :]) for k in range(len(shape))]


def _total(
    nest: _Nest, count: int, partials: dict[int, list[Buffer]], kept: Sequence[Axis]
) -> _Nest:
    """Combine the partial results."""
    part = Axis(count)
    shape = [_extent(a) for a in kept]
    offset = affine(part) * math.prod(shape)
    for axis, stride in zip(kept, _strides(shape), strict=True):
        offset = offset + affine(axis) * stride
    members = []
    for m in nest.members:
        if m.combine is not None:
            values = tuple(Load(b, offset) for b in partials[id(m)])
            members.append(Member(m.stores, values, m.inits, m.combine, m.cost))
    return _merge(_Nest([part, *kept], frozenset([0]), members))


# --------------------------------------------------------------------------- rows


def _rows(group: Group) -> list[Stmt]:
    """Stages inside a loop over rows."""
    rows = group.axes[: group.outer]
    indices = [i for s in group.stages for i in _Nest([], frozenset(), s.members).indices()]
    merged, mapping, _ = _merged_axes(rows, frozenset(), indices)
    if mapping:
        for stage in group.stages:
            stage.members = [m.renamed(mapping) for m in stage.members]
    if has_short_rows(group) and _extent(merged[-1]) >= SMALL_ROW:
        return [_short_rows(merged, group.stages)]
    body: list[Stmt] = []
    known: Forwards = {}
    work = 0.0
    for stage in group.stages:
        _use_known(stage, known)
        stmts, ns = _row_stage(stage)
        body += _named_results(stmts, known)
        work += ns
    return [_around(merged, body, work)]


def has_short_rows(group: Group) -> bool:
    """Whether the rows are too short for vectors along them."""
    return max(_size(s.axes) for s in group.stages) < SMALL_ROW


def _use_known(stage: Stage, known: Forwards) -> None:
    if known:
        stage.members = [m.renamed({}, known) for m in stage.members]


def _named_results(stmts: Sequence[Stmt], known: Forwards) -> Iterator[Stmt]:
    """Name what is stored once a row, for the stages after; buffers that hold only that go."""
    for s in stmts:
        if not isinstance(s, Store):
            yield s
            continue
        parts: tuple[Expr, ...] = (s.value,)
        if s.value.dtype.kind == "c":
            parts = (SCALARS.real(s.value), SCALARS.imag(s.value))
        names = [Local(p.dtype) for p in parts]
        for part_name, part in zip(names, parts, strict=True):
            yield Let(part_name, part)
        name: Expr = names[0] if len(names) == 1 else SCALARS.complex(*names)
        known[s.buffer, s.offset] = name
        if s.buffer.kind != "local" or s.buffer.size > 1:
            yield Store(s.buffer, s.offset, name)


def _row_stage(stage: Stage) -> tuple[list[Stmt], float]:
    if not stage.axes:
        return [s for m in stage.members for s in _plain(m)], 2.0
    reduces = any(m.combine is not None for m in stage.members)
    reduced = frozenset(range(len(stage.axes))) if reduces else frozenset[int]()
    nest = _merge(_Nest(stage.axes, reduced, stage.members))
    vector = _vector_axis(nest)
    if reduces:
        return _horizontal_body(nest.axes, vector, nest.members)
    loop = _map_nest(nest, vector)
    assert isinstance(loop, Loop)
    return [_serial(loop)], loop.work * loop_turns(loop)


def loop_turns(loop: Loop) -> int:
    """How often the body of a loop runs; once if that is not known."""
    return -(-loop.extent.const // loop.width) if loop.extent.is_const else 1


def _short_rows(rows: Sequence[Axis], stages: Sequence[Stage]) -> Stmt:
    """Rows of a few elements: a lane for every row."""
    axis = rows[-1]
    exprs = [e for s in stages for m in s.members for e in m.expressions()]
    width = _width(_extent(axis), exprs, 1)
    body: list[Stmt] = []
    work = 0.0
    known: Forwards = {}
    for stage in stages:
        _use_known(stage, known)
        stmts, ns = _columns(stage.axes, stage.members, width)
        body += _named_results(stmts, known)
        work += ns
    loop = _vector_loop(axis, tuple(body), width, work)
    return _outer_loops(rows[:-1], loop, work * -(-_extent(axis) // width))
