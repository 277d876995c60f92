"""From groups to nests of loops: choose the vector axis, tile, parallelise.

The order of reductions depends on extents and on the machine's vectors, never on the number of
threads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from pullback.loops.expr import Axis, Expr, Load, Local, Op, Read, affine, index_min
from pullback.loops.ir import (
    Assign,
    Declare,
    Fold,
    Let,
    Loop,
    Stmt,
    Store,
    Var,
    subexpressions,
)
from pullback.loops.nests import (
    APART,
    ROW_MOST,
    ROWS_LEAST,
    Group,
    Member,
    Nest,
    Period,
    Stage,
    element_bytes,
    extent_of,
    lanes_of,
    lie_in_row,
    machine,
    merge,
    merged_axes,
    period_of,
    rename_members,
    size_of,
    vector_axis,
    weight_of,
    wide_share,
    width_of,
    without_quotients,
)
from pullback.loops.paired import paired
from pullback.loops.scalars import joined, parts_of
from pullback.loops.split import PARTS_ENOUGH, cut_axis, pieces_of, split_reduction
from pullback.loops.tensors import Forwards, Mapping, substitute
from pullback.records import replaced

__all__ = ["group_statements", "has_short_rows"]

SQUARE: Final = 2
LARGEST_TILE: Final = 16
"""Rows of a tile: all are written one by one, so that more of them is much code."""
SMALL_ROW: Final = 12
COLUMN_BYTES: Final = 256
LIGHT: Final = 12
"""Work of a body, in additions, that is written for two vectors at a time."""
CHAINED: Final = 3
"""Elementary functions from which this is worth it, too."""
LITTLE: Final = 2
"""Operations of which vectors are not worth putting together and taking apart."""
FEW_WIDE: Final = 0.25
"""The part of a body's operations on elements of 8 bytes up to which vectors are of 4 bytes."""
ROW_WORK: Final = 300.0
"""Work of a row, in additions, up to which its elements are written one after the other."""
PERIODS: Final = 64
"""Blocks of short rows that one thread does."""
FEW: Final = 4
"""Nests of fewer elements are scalars: vectors of them would have to go through memory."""
CORNERS: Final = 8
"""Elements of a piece of a nest up to which it is scalars."""
COLUMNS: Final = 1024
"""The same of one whose elements are far apart."""


def group_statements(group: Group) -> list[Stmt]:
    """The loops of a group."""
    group.stages = [s for s in group.stages if _drop_dead(s)]
    if not group.stages:
        return []
    if group.outer:
        return _rows(group)
    stage = group.stages[0]
    reductions = any(m.combine is not None for m in stage.members)
    nest = merge(Nest(stage.axes, group.reduced if reductions else frozenset(), stage.members))
    turned = bool(group.cuts)
    return [s for part in split_reduction(nest) for s in _nest_statements(part, turned=turned)]


def _drop_dead(stage: Stage) -> bool:
    stage.members = [m for m in stage.members if m.stores]
    return bool(stage.members)


# --------------------------------------------------------------------------- nests


def _nest_statements(nest: Nest, *, turned: bool, border: bool = False) -> list[Stmt]:
    """The loops of a nest, which may be cut; `turned` says that it reads turned arrays."""
    if not nest.axes:
        return [s for m in nest.members for s in _plain(m)]
    cut = cut_axis(nest, border=border)
    if cut is not None:
        columns = _columns_of_row(nest, cut[0])
        if columns is not None:
            return _nest_statements(columns, turned=turned, border=border)
        pieces = pieces_of(nest, *cut)
        pieces = [merge(piece) for piece in (paired(pieces) if turned else pieces)]
        return [s for p in pieces for s in _nest_statements(p, turned=turned, border=True)]
    vector = vector_axis(nest)
    if not nest.reduced:
        parted = without_quotients(nest)
        period = period_of(parted)
        if period is not None:
            return [_periodic(parted, period)]
        if parted is not nest and extent_of(parted.axes[-1]) >= lanes_of(parted.expressions()):
            nest, vector = parted, vector_axis(parted)
        columns = _columns_of_row(nest, vector + 1)
        if columns is not None:
            return _nest_statements(columns, turned=turned, border=border)
        return [_map_nest(nest, vector, scalar=turned and border and _is_little(nest, vector))]
    if vector in nest.reduced:
        return [_horizontal(nest, vector)]
    return [_vertical(nest, vector)]


def _plain(member: Member) -> Iterator[Stmt]:
    yield from member.stores


def _body_work(exprs: Sequence[Expr], width: int) -> float:
    """Nanoseconds of `width` iterations."""
    weight = weight_of(exprs)
    memory = sum(e.dtype.itemsize for e in subexpressions(exprs) if type(e) is Load)
    lanes = machine.vector_bits / 8 / element_bytes(exprs)
    per_vector = 0.3 * weight + 1.0
    return max(per_vector * max(width / lanes, 1 / lanes), memory * width / 20)


def _columns_of_row(nest: Nest, first: int) -> Nest | None:
    """The nest without its axes from `first` on, if they are short rows that lie in a row.

    Vectors are along the rows' axis, and the elements of a row, one after the other, are written as
    they lie in memory (`llvm/emit_rows.py`).
    """
    axes, inner = nest.axes[:first], nest.axes[first:]
    short = size_of(inner)
    if nest.reduced or not axes or not 1 < short <= ROW_MOST or extent_of(axes[-1]) < ROWS_LEAST:
        return None
    stores = [s.offset for m in nest.members for s in m.stores]
    if not all(lie_in_row(o, inner) and o.terms.get(axes[-1], 0) >= short for o in stores):
        return None
    members = []
    for place in np.ndindex(*(extent_of(a) for a in inner)):
        mapping: Mapping = {a: affine(k) for a, k in zip(inner, place, strict=True)}
        members += nest.substituted(mapping)
    columns = Nest(axes, nest.reduced, members)
    return merge(columns) if weight_of(columns.expressions()) <= ROW_WORK else None


def _is_little(nest: Nest, vector: int) -> bool:
    """Whether a piece is a few elements far apart, of which vectors are more code than work."""
    axis, size = nest.axes[vector], size_of(nest.axes)
    apart = all(abs(s.offset.terms.get(axis, 0)) >= APART for m in nest.members for s in m.stores)
    return size <= CORNERS or (apart and size <= COLUMNS)


def _is_scattered(nest: Nest, axis: Axis) -> bool:
    """Whether vectors along an axis would be little else than gathers and scatters."""
    exprs = nest.expressions()
    loads = [e.offset for e in subexpressions(exprs) if type(e) is Load]
    stores = [s.offset for m in nest.members for s in m.stores]
    if weight_of(exprs) > LITTLE or not all(abs(o.terms.get(axis, 0)) > 1 for o in stores):
        return False
    return bool(loads) and all(abs(o.terms.get(axis, 0)) > 4 for o in loads)


def _map_nest(nest: Nest, vector: int, *, scalar: bool = False) -> Stmt:
    """Stores only: the vector axis innermost, tiled if something moves along another axis."""
    exprs = nest.expressions()
    if not scalar and _is_scattered(nest, nest.axes[vector]):
        scalar, vector = True, len(nest.axes) - 1
    axis = nest.axes[vector]
    scalar = scalar or size_of(nest.axes) < FEW
    width = 1 if scalar else width_of(extent_of(axis), exprs, _vectors_at_once(exprs))
    side = min(width_of(extent_of(axis), exprs, 1), LARGEST_TILE)
    if any(type(e) is Load and e.part is not None for e in subexpressions(exprs)):
        side //= 2  # a row of a tile, both parts of its numbers, is one vector
    partner = None if scalar else _tile_partner(nest, vector, side)
    if partner is not None:
        return _tiled(_walked(nest, *partner), vector, partner[0], side)
    body = tuple(s for m in nest.members for s in _plain(m))
    work = _body_work(exprs, width)
    inner = _vector_loop(axis, body, width, work)
    others = [a for k, a in enumerate(nest.axes) if k != vector]
    return _outer_loops(others, inner, work * -(-extent_of(axis) // width))


def _vectors_at_once(exprs: Sequence[Expr]) -> int:
    """Two where loads and stores are most of the work, or where one vector would often wait.

    Also where most of the work is on elements of half the size, which then fill a vector.

    An elementary function is a chain of operations that wait for one another; of several in a row
    the processor sees too few at a time to fill the waits with the next vector.
    """
    chained = sum(type(e) is Op and e.name == "math" for e in subexpressions(exprs))
    if weight_of(exprs) <= LIGHT or chained >= CHAINED:
        return 2
    return 2 if element_bytes(exprs) == 8 and wide_share(exprs) <= FEW_WIDE else 1


def _vector_loop(axis: Axis, body: tuple[Stmt, ...], width: int, work: float) -> Loop:
    return Loop(axis, affine(extent_of(axis)), body, width, True, False, work)


def _outer_loops(axes: Sequence[Axis], inner: Loop, work: float) -> Loop:
    """Loops around an inner one; the outermost may run on threads, `work` is that of `inner`."""
    loop = inner
    for axis in reversed(axes):
        loop = Loop(axis, affine(extent_of(axis)), (_serial(loop),), 1, True, False, work)
        work *= extent_of(axis)
    return _flattened(loop)


def _serial(loop: Loop) -> Loop:
    return replaced(loop, parallel=False)


def _flattened(loop: Loop) -> Loop:
    """Two perfectly nested outer loops as one, if the outer alone has too few iterations."""
    inner = loop.body[0] if len(loop.body) == 1 else None
    few = extent_of(loop.axis) < PARTS_ENOUGH
    if not (few and isinstance(inner, Loop) and inner.width == 1 and inner.extent.is_const):
        return loop
    if not loop.parallel or loop.width > 1:
        return loop
    n = extent_of(inner.axis)
    axis = Axis(extent_of(loop.axis) * n)
    mapping: Mapping = {loop.axis: affine(axis) // n, inner.axis: affine(axis) % n}
    body = tuple(_renamed_statement(s, mapping) for s in inner.body)
    return _flattened(Loop(axis, affine(extent_of(axis)), body, 1, True, False, inner.work))


def _renamed_statement(stmt: Stmt, mapping: Mapping) -> Stmt:
    """A statement of a nest with axes replaced."""
    if isinstance(stmt, Loop):
        return replaced(stmt, body=tuple(_renamed_statement(s, mapping) for s in stmt.body))
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


def _periodic(nest: Nest, period: Period) -> Stmt:
    """Short rows next to one another, a block of which is a few whole vectors (`period_of`).

    What depends on the place within a row alone is the same in every block: it is loaded once. The
    last block begins earlier if there are not whole ones.
    """
    rows, inner = period.rows, nest.axes[-period.axes :]
    *outer, row = nest.axes[: -period.axes]
    extent, short = extent_of(row), size_of(inner)
    lanes = lanes_of(nest.expressions())
    blocks = -(-extent // rows)
    count = max(1, blocks // PERIODS)
    each = -(-blocks // count)
    part, block, lane = Axis(count), Axis(each), Axis(lanes)
    start = affine(part) * (each * rows) + affine(block) * rows
    if count * each * rows > extent:
        start = index_min(start, extent - rows)
    stores = [s for m in nest.members for s in m.stores]
    body: list[Stmt] = []
    for k in range(0, rows * short, lanes):
        place = affine(lane) + k
        mapping: Mapping = {row: start + place // short}
        size = short
        for axis in inner:
            size //= extent_of(axis)
            mapping[axis] = place // size % extent_of(axis)
        flat: Mapping = {row: start, **dict.fromkeys(inner, affine(0)), inner[-1]: place}
        for s in stores:
            offset, value = substitute([s.offset], flat)[0], substitute([s.value], mapping)[0]
            body.append(Store(s.buffer, affine(offset), value))
    work = _body_work(nest.expressions(), rows * short)
    loop = Loop(block, affine(each), tuple(body), 1, False, False, work)
    loop = _serial(_vector_loop(lane, (loop,), lanes, work * each))
    return _outer_loops([*outer, part], loop, work * each)


def _tile_partner(nest: Nest, vector: int, width: int) -> tuple[int, int] | None:
    """The axis that some load walks, by 1 or -1, while the vector axis strides through it."""
    axis = nest.axes[vector]
    if width < 4 or extent_of(axis) < width:
        return None
    loads = [e.offset for e in subexpressions(nest.expressions()) if type(e) is Load]
    across = [offset for offset in loads if abs(offset.terms.get(axis, 0)) > 4]
    large = [k for k, a in enumerate(nest.axes) if k != vector and extent_of(a) >= width]
    for step in (1, -1):
        for offset in across:
            for k in large:
                if offset.terms.get(nest.axes[k]) == step:
                    return k, step
    return None


def _walked(nest: Nest, position: int, step: int) -> Nest:
    """The nest with an axis the other way round, if its step is -1."""
    if step == 1:
        return nest
    axes, axis = list(nest.axes), nest.axes[position]
    axes[position] = Axis(extent_of(axis))
    back = affine(extent_of(axis) - 1) - affine(axes[position])
    return Nest(axes, nest.reduced, nest.substituted({axis: back}))


def _tiled(nest: Nest, vector: int, partner: int, width: int) -> Stmt:
    """Square tiles of one vector's width, so that what is read across is transposed in registers.

    Tiles are grouped into larger squares that stay in the cache; the last one of an axis overlaps
    the one before it.
    """
    axes = nest.axes
    pair = (vector, partner)
    many = SQUARE if all(extent_of(axes[k]) >= SQUARE * width for k in pair) else 1
    side = many * width
    mapping: Mapping = {}
    blocks: dict[int, Axis] = {}
    steps = {k: Axis(many) for k in pair}
    inner = {k: Axis(width) for k in pair}
    for k in pair:
        extent = extent_of(axes[k])
        blocks[k] = Axis(-(-extent // side))
        start = index_min(affine(blocks[k]) * side, extent - side)
        step = affine(steps[k]) * width if many > 1 else affine(0)
        mapping[axes[k]] = start + step + affine(inner[k])
    members = nest.substituted(mapping)
    exprs = [e for m in members for e in m.expressions()]
    body = tuple(s for m in members for s in _plain(m))
    work = 2 * _body_work(exprs, width)
    loop = Loop(inner[partner], affine(width), body, 1, False, False, work, unroll=True)
    work *= width
    loop = _serial(_vector_loop(inner[vector], (loop,), width, work))
    for k in (partner, vector) if many > 1 else ():
        loop = Loop(steps[k], affine(many), (loop,), 1, False, False, work)
        work *= many
    others = [blocks.get(k, a) for k, a in enumerate(axes)]
    return _outer_loops(others, loop, work)


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
    weight = weight_of([*exprs, *combines])
    unroll = 4 if weight <= 12 else 2 if weight <= 60 else 1
    width = width_of(extent_of(axis), [*exprs, *combines], unroll)
    accs = _accumulators(members, width)
    body = tuple(_accumulate(members, accs))
    work = _body_work([*exprs, *combines], width)
    loop = replaced(_vector_loop(axis, body, width, work), parallel=False)
    work *= -(-extent_of(axis) // width)
    for k in range(len(axes) - 1, -1, -1):
        if k != vector:
            loop = Loop(axes[k], affine(extent_of(axes[k])), (loop,), 1, False, False, work)
            work *= extent_of(axes[k])
    return [*_declares(members, accs), loop, *_results(members, accs)], work + 5.0


def _horizontal(nest: Nest, vector: int) -> Stmt:
    """Vectors along a reduced axis; the kept axes are outer loops."""
    reduced = [a for k, a in enumerate(nest.axes) if k in nest.reduced]
    kept = [a for k, a in enumerate(nest.axes) if k not in nest.reduced]
    position = reduced.index(nest.axes[vector])
    body, work = _horizontal_body(reduced, position, nest.members)
    return _around(kept, body, work)


def _around(axes: Sequence[Axis], body: Sequence[Stmt], work: float) -> Stmt:
    """Parallel loops around statements; one iteration of a dummy loop if there are no axes."""
    last = axes[-1] if axes else Axis(1)
    loop = Loop(last, affine(extent_of(last)), tuple(body), 1, True, False, work)
    return _outer_loops(axes[:-1], loop, work * extent_of(last))


def _vertical(nest: Nest, vector: int) -> Stmt:
    """Vectors along a kept axis: a lane for every result."""
    axis = nest.axes[vector]
    reduced = [a for k, a in enumerate(nest.axes) if k in nest.reduced]
    others = [a for k, a in enumerate(nest.axes) if k not in nest.reduced and k != vector]
    exprs = nest.expressions()
    unroll = max(1, COLUMN_BYTES * 8 // machine.vector_bits) if weight_of(exprs) <= 24 else 1
    width = width_of(extent_of(axis), exprs, unroll)
    body, work = _columns(reduced, nest.members, width)
    loop = _vector_loop(axis, tuple(body), width, work)
    return _outer_loops(others, loop, work * -(-extent_of(axis) // width))


def _columns(
    reduced: Sequence[Axis], members: Sequence[Member], width: int
) -> tuple[list[Stmt], float]:
    """The body of a vector loop over results: serial loops over the reduced axes."""
    accs = _accumulators(members, 0)
    body: list[Stmt] = list(_accumulate(members, accs))
    work = _body_work([e for m in members for e in m.expressions()], width)
    for axis in reversed(reduced):
        body = [Loop(axis, affine(extent_of(axis)), tuple(body), 1, False, False, work)]
        work *= extent_of(axis)
    return [*_declares(members, accs), *body, *_results(members, accs)], work + 2.0


# --------------------------------------------------------------------------- rows


def _rows(group: Group) -> list[Stmt]:
    """Stages inside a loop over rows."""
    rows = group.axes[: group.outer]
    indices = [i for s in group.stages for i in Nest([], frozenset(), s.members).indices()]
    merged, mapping, _ = merged_axes(rows, frozenset(), indices)
    if mapping:
        for stage in group.stages:
            stage.members = rename_members(stage.members, mapping)
    if has_short_rows(group) and extent_of(merged[-1]) >= SMALL_ROW:
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
    return max(size_of(s.axes) for s in group.stages) < SMALL_ROW


def _use_known(stage: Stage, known: Forwards) -> None:
    if known:
        stage.members = rename_members(stage.members, {}, known)


def _named_results(stmts: Sequence[Stmt], known: Forwards) -> Iterator[Stmt]:
    """Name what is stored once a row, for the stages after; buffers that hold only that go."""
    for s in stmts:
        if not isinstance(s, Store):
            yield s
            continue
        parts = parts_of(s.value)
        names = [Local(p.dtype) for p in parts]
        for part_name, part in zip(names, parts, strict=True):
            yield Let(part_name, part)
        name = joined(names)
        known[s.buffer, s.offset] = name
        if s.buffer.kind != "local" or s.buffer.size > 1:
            yield Store(s.buffer, s.offset, name)


def _row_stage(stage: Stage) -> tuple[list[Stmt], float]:
    if not stage.axes:
        return [s for m in stage.members for s in _plain(m)], 2.0
    reduces = any(m.combine is not None for m in stage.members)
    reduced = frozenset(range(len(stage.axes))) if reduces else frozenset[int]()
    nest = merge(Nest(stage.axes, reduced, stage.members))
    vector = vector_axis(nest)
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
    width = width_of(extent_of(axis), exprs, 1)
    body: list[Stmt] = []
    work = 0.0
    known: Forwards = {}
    for stage in stages:
        _use_known(stage, known)
        stmts, ns = _columns(stage.axes, stage.members, width)
        body += _named_results(stmts, known)
        work += ns
    loop = _vector_loop(axis, tuple(body), width, work)
    return _outer_loops(rows[:-1], loop, work * -(-extent_of(axis) // width))
