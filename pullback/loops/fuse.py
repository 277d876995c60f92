"""Fusion: which lazy tensors are stored, and which items share a loop.

In: the items of a region (`loops/tensors.py`).  Out: `Group`s, each of which `loops/schedule.py`
turns into one nest of loops, between the imperative statements, in a valid order.

1. A lazy tensor is stored if inlining it would repeat work that is worth more than a store: several
   readers, or readers that broadcast it over an outer axis.
2. Every item is expanded: `At` becomes a load or the computation itself.
3. An item joins an earlier group if they have the same extents and it reads what the group computes
   at the same place (or reads the same inputs): one loop, the value stays in a register.
   Or if rows agree: the group reduces over its last axes and the item works on the same rows
   (softmax, layer norm): another stage inside the loop over rows.
4. What only its own group reads is not stored, or only in a buffer of one row.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, Final

from pullback.loops.expr import Affine, At, Axis, Expr, Load, affine, bounds
from pullback.loops.ir import (
    Address,
    Assign,
    Block,
    Buffer,
    Call,
    Declare,
    If,
    Let,
    Loop,
    Reference,
    Stmt,
    Store,
    While,
    expressions,
    subexpressions,
    walk,
)
from pullback.loops.nests import Group, Member, Stage, rename_members
from pullback.loops.schedule import group_statements, has_short_rows
from pullback.loops.stored import RegionLike, items_to_place, touched
from pullback.loops.tensors import (
    BlockItem,
    BufferTensor,
    Expander,
    Item,
    MapItem,
    Mapping,
    ReduceItem,
    substitute,
)
from pullback.loops.turned import Cut, few_pieces
from pullback.loops.vectors import vectorised
from pullback.records import record, replaced

__all__ = ["region_statements"]

LOOK_BACK: Final = 16
GROUP_COST: Final = 800.0
CUT_COST: Final = 200.0
"""The same where each piece of it is compiled."""
GROUP_BUFFERS: Final = 24
"""Arrays that one loop walks; values that stay in its registers are none."""
ROW_BYTES: Final = 1 << 18
LOCAL_BYTES: Final = 1 << 14


def region_statements(region: RegionLike) -> list[Stmt]:
    """The statements of a complete region."""
    items = items_to_place(region)
    groups = _Grouping(items, region.owned)
    groups.drop_private_stores()
    out: list[Stmt] = []
    for entry in groups.entries:
        out += entry if isinstance(entry, list) else group_statements(entry)
    return out


# --------------------------------------------------------------------------- groups


@record(frozen=False)
class _Expanded:
    """An item over its own axes, without `At`."""

    axes: list[Axis]
    reduced: frozenset[int]
    member: Member
    loads: dict[Buffer, set[Affine]]
    writes: list[Buffer]
    cuts: frozenset[Cut]


@record()
class _Statements:
    """A block without `At`, and all buffers that it touches."""

    stmts: list[Stmt]
    loads: set[Buffer]


class _Grouping:
    """Places items, in order, into groups and blocks."""

    def __init__(self, items: Sequence[Item], owned: set[Buffer]) -> None:
        self.entries: list[Group | list[Stmt]] = []
        self.readers: dict[Buffer, set[int]] = {}
        self.writers: dict[Buffer, list[int]] = {}
        self.owned = owned
        self.awaited: dict[Buffer, int] = {}
        """How many items that read a buffer have no place yet."""
        complete = [new for item in items if (new := _complete(item)) is not None]
        for new in complete:
            for buffer in new.loads:
                self.awaited[buffer] = self.awaited.get(buffer, 0) + 1
        for new in complete:
            if isinstance(new, _Expanded):
                self._place(new)
            else:
                self._block(new)

    def _block(self, block: _Statements) -> None:
        number = len(self.entries)
        self.entries.append(block.stmts)
        for buffer in block.loads:  # never placed: others may write what a block reads
            self.readers.setdefault(buffer, set()).add(number)
            self.writers.setdefault(buffer, []).append(number)

    def _place(self, new: _Expanded) -> None:
        number = self._join(new)
        if number is None:
            number = len(self.entries)
            group = Group(new.axes, new.reduced, [Stage(list(new.axes), [new.member])])
            self.entries.append(group)
        else:
            entry = self.entries[number]
            assert isinstance(entry, Group)
            group = entry
        group.cost += new.member.cost
        group.buffers |= {*new.loads, *new.writes}
        group.cuts |= new.cuts
        for buffer in new.writes:
            self.writers.setdefault(buffer, []).append(number)
        for buffer in new.loads:
            self.readers.setdefault(buffer, set()).add(number)
            self.awaited[buffer] -= 1
            group.registers += self._is_private(buffer, number)

    def _join(self, new: _Expanded) -> int | None:
        """Add to an earlier group if one fits; its number."""
        needs = {n for buffer in new.loads for n in self.writers.get(buffer, ())}
        needs = self._brought_together(new, needs) | self._copied(new)
        earliest = max(0, len(self.entries) - LOOK_BACK)
        for number in range(len(self.entries) - 1, earliest - 1, -1):
            group = self.entries[number]
            if any(n > number for n in needs):
                return None
            if not isinstance(group, Group) or not self._related(group, number, new, needs):
                continue
            if _join_stage(group, new) or _join_rows(group, new):
                return number
        return None

    def _copied(self, new: _Expanded) -> set[int]:
        """The blocks that fill what an item changes a part of."""
        found = {n for buffer in new.writes for n in self.writers.get(buffer, ())}
        return {n for n in found if not isinstance(self.entries[n], Group)}

    def _brought_together(self, new: _Expanded, needs: set[int]) -> set[int]:
        """What an item needs, with groups that the item could join made one where they can be."""
        last = max(needs, default=0)
        moved = set()
        for number in needs - {last}:
            if number >= len(self.entries) - LOOK_BACK and self._absorb(number, last, new):
                moved.add(number)
        return needs - moved

    def _absorb(self, number: int, last: int, new: _Expanded) -> bool:
        """Do the work of a group in a later one; what is between must not notice."""
        first, group = self.entries[number], self.entries[last]
        if not isinstance(first, Group) or not isinstance(group, Group):
            return False
        if not all(_is_plain(g) and _extents(g.axes) == _extents(new.axes) for g in (first, group)):
            return False
        buffers = first.buffers | group.buffers
        cost, registers = first.cost + group.cost, first.registers + group.registers
        cuts = first.cuts | group.cuts
        if not _little_code(cost + new.member.cost, cuts | new.cuts):
            return False
        if len(buffers | new.loads.keys()) - registers > GROUP_BUFFERS:
            return False
        stores = {s.buffer for m in first.stages[0].members for s in m.stores}
        between = range(number + 1, last + 1)
        if any(n in between for b in first.buffers for n in self.writers.get(b, ())):
            return False
        if any(n in between for b in stores for n in self.readers.get(b, ())):
            return False
        mapping: Mapping = dict(zip(first.axes, map(affine, group.axes), strict=True))
        members = group.stages[0].members
        members[:0] = rename_members(first.stages[0].members, mapping)
        group.cost, group.buffers = cost, buffers
        group.registers, group.cuts = registers, cuts
        for buffer in first.buffers:
            readers, writers = self.readers.get(buffer, set()), self.writers.get(buffer, [])
            if number in readers:
                readers -= {number}
                readers.add(last)
            writers[:] = [last if n == number else n for n in writers]
        self.entries[number] = []
        return True

    def _related(self, group: Group, number: int, new: _Expanded, needs: set[int]) -> bool:
        if any(axis in group.reduced | new.reduced for axis, _ in group.cuts | new.cuts):
            return False  # sums stay whole
        if not _little_code(group.cost + new.member.cost, group.cuts | new.cuts):
            return False
        same = [b for b in new.writes if number in self.writers.get(b, ())]
        if same and not _beside(group, new):
            return False  # parts of one buffer
        shared = any(b in group.buffers and b.size > 1 for b in new.loads)
        shared = shared or bool(same) or number in needs
        more = sum(b not in group.buffers for b in new.loads)
        return shared and len(group.buffers) - group.registers + more <= GROUP_BUFFERS

    def drop_private_stores(self) -> None:
        """Remove stores that nobody reads, and shrink to one row what only later stages read."""
        for number, group in enumerate(self.entries):
            if not isinstance(group, Group):
                continue
            loaded = _loaded_buffers(group)
            private = self._private_buffers(group, number)
            for member in (m for stage in group.stages for m in stage.members):
                member.stores = [
                    s for s in member.stores if s.buffer in loaded or s.buffer not in private
                ]
            if len(group.stages) > 1 and group.outer:
                for buffer in private & loaded:
                    _shrink(group, buffer)

    def _private_buffers(self, group: Group, number: int) -> set[Buffer]:
        """Temporaries that this group writes and no other reads."""
        stores = [s for stage in group.stages for m in stage.members for s in m.stores]
        return {s.buffer for s in stores if self._is_private(s.buffer, number)}

    def _is_private(self, buffer: Buffer, number: int) -> bool:
        return (
            buffer.kind == "temp"
            and buffer in self.owned
            and not self.awaited.get(buffer)
            and self.writers.get(buffer) == [number]
            and self.readers.get(buffer, set()) <= {number}
        )


def _little_code(cost: float, cuts: frozenset[Cut]) -> bool:
    return cost <= (CUT_COST if cuts else GROUP_COST) and few_pieces(cuts)


def _beside(group: Group, new: _Expanded) -> bool:
    """Whether parts of one buffer are columns of it, the elements of a row next to each other."""
    if not _is_plain(group) or new.reduced or _extents(group.axes) != _extents(new.axes):
        return False
    (mine,) = new.member.stores
    strides = [mine.offset.terms.get(a, 0) for a in new.axes]
    for s in (s for m in group.stages[0].members for s in m.stores if s.buffer is mine.buffer):
        if [s.offset.terms.get(a, 0) for a in group.axes] != strides:
            return False
        if not 0 < abs(s.offset.const - mine.offset.const) < min(strides, default=0):
            return False
    return True


def _is_plain(group: Group) -> bool:
    """Whether a group is one nest without reductions."""
    return not group.outer and len(group.stages) == 1 and not group.reduced


def _loaded_buffers(group: Group) -> set[Buffer]:
    values = [e for stage in group.stages for m in stage.members for e in m.expressions()]
    return {e.buffer for e in subexpressions(values) if type(e) is Load}


def _shrink(group: Group, buffer: Buffer) -> None:
    """Make a buffer that is private to each row of the group hold one row only."""
    rows = math.prod(a.extent or 1 for a in group.axes[: group.outer])
    row = buffer.size // rows
    if row * buffer.dtype.itemsize > LOCAL_BYTES or row * rows != buffer.size:
        return
    if row > 1 and has_short_rows(group):
        return
    buffer.kind, buffer.size = "local", row
    outer = frozenset(group.axes[: group.outer])
    for stage in group.stages:
        stage.members[:] = rename_members(stage.members, {}, None, (buffer, outer))


# --------------------------------------------------------------------------- expansion


def _complete(item: Item) -> _Expanded | _Statements | None:
    """An item without `At`; None if it has no elements."""
    if not isinstance(item, BlockItem):
        return _expand(item)
    stmts = [vectorised(s) for s in _resolved(item.stmts)]
    return _Statements(stmts, {b for stmt in walk(tuple(stmts)) for b in touched(stmt)})


def _expand(item: MapItem | ReduceItem) -> _Expanded | None:
    """An item's expressions without `At`; None if it has no elements."""
    expander = Expander()
    if isinstance(item, MapItem):
        tensor = item.tensor
        if tensor.size == 0:
            return None
        value = expander.computation(tensor, tensor.axes)
        member = Member([_store(item.target, tensor.axes, value)])
        axes, reduced, cuts = tensor.axes, tuple[int, ...](), tensor.cuts
    else:
        if 0 in item.targets[0].shape:
            return None
        values = [expander.rewrite(v, {}) for v in item.values]
        inits = [expander.rewrite(v, {}) for v in item.inits]
        axes, reduced, cuts = item.axes, item.reduced, frozenset()
        kept = [a for d, a in enumerate(axes) if d not in reduced]
        stores = [_store(t, kept, r) for t, r in zip(item.targets, item.results, strict=True)]
        member = Member(stores, tuple(values), tuple(inits), item.combine)
    own = [d for d, a in enumerate(axes) if a.terms]
    atoms = [next(iter(axes[d].terms)) for d in own]
    positions = frozenset(k for k, d in enumerate(own) if d in reduced)
    places = frozenset((own.index(d), end) for d, end in cuts)
    loads = _loads(member)
    return _Expanded(atoms, positions, member, loads, [s.buffer for s in member.stores], places)  # type: ignore[arg-type]


def _store(target: BufferTensor, axes: Sequence[Affine], value: Expr) -> Store:
    return Store(target.buffer, target.offset_of(axes), value)


def _loads(member: Member) -> dict[Buffer, set[Affine]]:
    """Offsets at which buffers are read; also sets the member's cost."""
    found: dict[Buffer, set[Affine]] = {}
    cost = 0.0
    for e in subexpressions(member.expressions()):
        if type(e) is Load:
            found.setdefault(e.buffer, set()).add(e.offset)
        cost += 1
    member.cost = cost
    return found


def _extents(axes: Sequence[Axis]) -> list[int | None]:
    return [a.extent for a in axes]


def _join_stage(group: Group, new: _Expanded) -> bool:
    """Join the last stage if the domain is the same and all reads are of the same element."""
    stage = group.stages[-1]
    domain = [*group.axes[: group.outer], *stage.axes] if group.outer else stage.axes
    if _extents(domain) != _extents(new.axes):
        return False
    reduced = stage_reduced(group, stage)
    if reduced and new.reduced and reduced != new.reduced:
        return False
    if len(group.stages) > 1 and new.reduced and not _trailing(new.reduced, len(new.axes), group):
        return False
    if len(group.stages) > 1 and not reduced and new.reduced and not stage.axes:
        return False
    mapping: Mapping = dict(zip(new.axes, map(affine, domain), strict=True))
    if not _reads_fit(group, stage, new, mapping):
        return False
    member = new.member.renamed(mapping, _forwards(stage))
    stage.members.append(member)
    if new.reduced and len(group.stages) == 1:
        group.reduced = new.reduced
    return True


def stage_reduced(group: Group, stage: Stage) -> frozenset[int]:
    """Which axes of a stage's domain its reductions reduce."""
    if not any(m.combine is not None for m in stage.members):
        return frozenset()
    if group.outer:
        return frozenset(range(group.outer, group.outer + len(stage.axes)))
    return group.reduced


def _trailing(reduced: frozenset[int], rank: int, group: Group) -> bool:
    return reduced == frozenset(range(group.outer, rank))


def _reads_fit(group: Group, stage: Stage, new: _Expanded, mapping: Mapping) -> bool:
    """Whether what is read of this stage is the element just computed, of earlier ones any row."""
    here = {s.buffer: (m, s.offset) for m in stage.members for s in m.stores}
    for buffer, offsets in new.loads.items():
        if buffer in here:
            member, offset = here[buffer]
            if member.combine is not None:
                return False
            if any(o != offset for o in _mapped(offsets, mapping)):
                return False
        elif group.outer and not _same_rows(group, buffer, _mapped(offsets, mapping)):
            return False
    return True


def _mapped(offsets: Iterable[Affine], mapping: Mapping) -> list[Affine]:
    return [affine(e) for e in substitute(list(offsets), mapping)]


def _forwards(stage: Stage) -> dict[tuple[Buffer, Affine], Expr]:
    """Values that the stage has computed, by the place they are stored at."""
    return {
        (s.buffer, s.offset): s.value for m in stage.members if m.combine is None for s in m.stores
    }


def _join_rows(group: Group, new: _Expanded) -> bool:
    """Become another stage of a loop over rows."""
    outer = group.outer or _rows_of(group)
    if not outer or len(new.axes) < outer:
        return False
    if _extents(new.axes[:outer]) != _extents(group.axes[:outer]):
        return False
    rank = len(new.axes)
    if new.reduced and new.reduced != frozenset(range(outer, rank)):
        return False
    row = math.prod(a.extent or 1 for a in new.axes[outer:])
    if row * 8 * len(group.buffers) > ROW_BYTES:
        return False
    mapping: Mapping = dict(zip(new.axes[:outer], map(affine, group.axes[:outer]), strict=True))
    before, group.outer = group.outer, outer
    for buffer, offsets in new.loads.items():
        if not _same_rows(group, buffer, _mapped(offsets, mapping)):
            group.outer = before
            return False
    if not before:
        group.stages[0].axes = group.axes[outer:]
    member = new.member.renamed(mapping, {})
    group.stages.append(Stage(new.axes[outer:], [member]))
    return True


def _rows_of(group: Group) -> int:
    """How many leading axes a group that reduces its trailing ones has."""
    rank = len(group.axes)
    first = min(group.reduced, default=0)
    return first if group.reduced == frozenset(range(first, rank)) and group.reduced else 0


def _same_rows(group: Group, buffer: Buffer, offsets: Sequence[Affine]) -> bool:
    """Whether reads of a buffer that this group writes stay within the row being worked on."""
    rows = group.axes[: group.outer]
    for stage in group.stages:
        for member in stage.members:
            for store in member.stores:
                if store.buffer is buffer:
                    return all(_within_row(store.offset, o, rows) for o in offsets)
    return True


def _within_row(stored: Affine, read: Affine, rows: Sequence[Axis]) -> bool:
    size = min((stored.terms.get(a, 0) for a in rows), default=0)
    rest = read
    for axis in rows:
        k = stored.terms.get(axis, 0)
        if not k or read.terms.get(axis, 0) != k:
            return False
        rest = rest - affine(axis) * k
    low, high = bounds(rest - stored.const)
    return low >= 0 and high < size


# --------------------------------------------------------------------------- blocks


def _resolved(stmts: Iterable[Stmt]) -> Iterable[Stmt]:
    """Statements without `At`."""
    for stmt in stmts:
        if any(type(e) is At for e in _all_expressions(stmt)):
            yield _Resolver().stmt(stmt)
        else:
            yield stmt


def _all_expressions(stmt: Stmt) -> Iterable[Expr]:
    seen: set[int] = set()
    for inner in walk((stmt,)):
        yield from subexpressions(expressions(inner), seen)


class _Resolver:
    """Replaces `At` in a tree of statements."""

    def __init__(self) -> None:
        self.expander = Expander()

    def expr(self, e: Expr) -> Expr:
        return self.expander.rewrite(e, {})

    def index(self, e: Affine) -> Affine:
        return affine(self.expander.rewrite(e, {}))

    def block(self, stmts: Block) -> Block:
        return tuple(self.stmt(s) for s in stmts)

    def stmt(self, s: Stmt) -> Stmt:
        if isinstance(s, Let):
            return Let(s.local, self.expr(s.value))
        if isinstance(s, Assign):
            return Assign(s.var, self.expr(s.value))
        if isinstance(s, Declare):
            return Declare(s.var, self.expr(s.init))
        if isinstance(s, Store):
            return Store(s.buffer, self.index(s.offset), self.expr(s.value))
        if isinstance(s, Loop):
            return replaced(s, extent=self.index(s.extent), body=self.block(s.body))
        if isinstance(s, If):
            return If(self.expr(s.condition), self.block(s.then), self.block(s.otherwise))
        if isinstance(s, While):
            return While(self.block(s.before), self.expr(s.condition), self.block(s.body))
        if isinstance(s, Call):
            return replaced(s, args=tuple(self.argument(a) for a in s.args))
        return s

    def argument(self, a: Any) -> Any:
        if isinstance(a, Reference):
            return Reference(self.expr(a.value))
        return Address(a.buffer, self.index(a.offset)) if isinstance(a, Address) else self.expr(a)
