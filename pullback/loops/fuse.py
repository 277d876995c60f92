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
from dataclasses import field
from typing import Any, Final, Protocol

from pullback.loops.expr import Affine, At, Axis, Expr, Load, affine, bounds
from pullback.loops.ir import (
    Address,
    Assign,
    Block,
    Buffer,
    Call,
    Copy,
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
from pullback.loops.tensors import (
    BlockItem,
    BufferTensor,
    Expander,
    Item,
    LazyTensor,
    MapItem,
    Mapping,
    ReduceItem,
    substitute,
)
from pullback.loops.vectors import vectorised
from pullback.records import record, replaced

__all__ = ["region_statements"]

CHEAP: Final = 3.0
"""Computations up to this cost are repeated rather than stored."""
DEEP: Final = 48
EXPENSIVE: Final = 600.0
HOISTED_RUN: Final = 8
LOOK_BACK: Final = 16
GROUP_COST: Final = 800.0
GROUP_BUFFERS: Final = 24
ROW_BYTES: Final = 1 << 18
LOCAL_BYTES: Final = 1 << 14


class RegionLike(Protocol):
    """What this pass needs of `build.Region`."""

    items: list[Item]
    lazies: list[LazyTensor]
    owned: set[Buffer]


def region_statements(region: RegionLike) -> list[Stmt]:
    """The statements of a complete region."""
    items = _store_shared(region)
    groups = _Grouping(items, region.owned)
    groups.drop_private_stores()
    out: list[Stmt] = []
    for entry in groups.entries:
        out += entry if isinstance(entry, list) else group_statements(entry)
    return out


# --------------------------------------------------------------------------- what is stored


@record(frozen=False)
class _Uses:
    """Who reads a lazy tensor: (reader, index) pairs, and whether one of them repeats work."""

    readers: set[tuple[int, tuple[Affine, ...]]] = field(default_factory=set)
    repeats: bool = False


def _store_shared(region: RegionLike) -> list[Item]:
    """The items, and those that store what is worth it, in order."""
    uses = _collect_uses(region.items)
    totals: dict[int, tuple[float, int]] = {}
    stored: list[MapItem] = []
    for tensor in region.lazies:
        use = uses.get(id(tensor))
        if use is None or tensor.stored is not None:
            continue
        cost, depth = _total_cost(tensor, totals)
        if tensor.position >= 0 and _worth_storing(tensor, use, cost, depth):
            buffer = Buffer(tensor.dtype, tensor.size, "temp")
            region.owned.add(buffer)
            tensor.stored = BufferTensor(buffer, tensor.shape, affine(0))
            stored.append(MapItem(tensor, tensor.stored))
            cost, depth = 0.25, 0
        totals[id(tensor)] = cost, depth
    order = {id(tensor): k for k, tensor in enumerate(region.lazies)}
    while True:  # moving a store may make another one late
        merged = _merged(region.items, stored)
        known = {id(item) for item in stored}
        late = [item for item in _late_stores(merged) if id(item) not in known]
        if not late:
            return merged
        stored = sorted([*stored, *late], key=lambda item: order[id(item.tensor)])


def _late_stores(items: Sequence[Item]) -> list[MapItem]:
    """The stores of tensors that an earlier item reads.

    They belong where the tensor was made; that is always possible, since what a tensor reads is
    written before it is made.
    """
    read: set[int] = set()
    late = []
    for item in items:
        if isinstance(item, MapItem):
            tensor = item.tensor
            if id(tensor) in read and tensor.stored is item.target and tensor.position >= 0:
                late.append(item)
            stack: list[Any] = list(tensor.leaves)
        else:
            stack = list(item.leaves if isinstance(item, ReduceItem) else _block_leaves(item))
        while stack:
            tensor = stack.pop().tensor
            if id(tensor) not in read:
                read.add(id(tensor))
                stack += tensor.leaves
    return late


def _merged(items: Sequence[Item], stored: Sequence[MapItem]) -> list[Item]:
    """The items in order, and each stored tensor where it was made."""
    out: list[Item] = []
    queue = sorted(stored, key=lambda item: item.tensor.position)
    moved = {id(item) for item in stored}
    at = 0
    for position, item in enumerate(items):
        while at < len(queue) and queue[at].tensor.position <= position:
            out.append(queue[at])
            at += 1
        if id(item) not in moved:
            out.append(item)
    return [*out, *queue[at:]]


def _total_cost(tensor: LazyTensor, totals: dict[int, tuple[float, int]]) -> tuple[float, int]:
    cost, depth = tensor.cost, 0
    for leaf in tensor.leaves:
        inner: LazyTensor = leaf.tensor
        if inner.stored is None:
            found = totals.get(id(inner))
            if found is None:  # of an outer region: always inlined
                found = totals[id(inner)] = _total_cost(inner, totals)
            cost += found[0]
            depth = max(depth, found[1])
        else:
            cost += 0.25
    return cost, depth + tensor.expr.depth + 1


def _worth_storing(tensor: LazyTensor, use: _Uses, cost: float, depth: int) -> bool:
    if cost <= CHEAP or tensor.size == 0:
        return False
    if len(use.readers) > 1 or use.repeats:
        return True
    return depth > DEEP or cost > EXPENSIVE


def _collect_uses(items: Sequence[Item]) -> dict[int, _Uses]:
    """Uses of every lazy tensor that some item needs."""
    uses: dict[int, _Uses] = {}
    visited: set[int] = set()
    stack: list[LazyTensor] = []

    def read(leaf: At, reader: int, axes: Sequence[Affine], size: int) -> None:
        tensor: LazyTensor = leaf.tensor
        use = uses.setdefault(id(tensor), _Uses())
        use.readers.add((reader, leaf.idx))
        use.repeats |= _repeats(tensor, leaf, axes, size)
        if tensor.stored is None and id(tensor) not in visited:
            visited.add(id(tensor))
            stack.append(tensor)

    for item in items:
        if isinstance(item, MapItem):
            for leaf in item.tensor.leaves:
                read(leaf, id(item.tensor), item.tensor.axes, item.tensor.size)
        elif isinstance(item, ReduceItem):
            for leaf in item.leaves:
                read(leaf, id(item), item.axes, math.prod(item.shape))
        else:
            for leaf in _block_leaves(item):
                read(leaf, id(leaf), (), 1 << 62)
        while stack:
            tensor = stack.pop()
            for leaf in tensor.leaves:
                read(leaf, id(tensor), tensor.axes, tensor.size)
    return uses


def _block_leaves(item: BlockItem) -> Iterable[At]:
    seen: set[int] = set()
    for stmt in walk(tuple(item.stmts)):
        for e in subexpressions(list(expressions(stmt)), seen):
            if type(e) is At:
                yield e


def _repeats(tensor: LazyTensor, leaf: At, axes: Sequence[Affine], size: int) -> bool:
    """Whether a reader evaluates an element often: more than hoisting out of inner loops saves."""
    if size <= tensor.size or tensor.size == 0:
        return False
    used = {atom for i in leaf.idx for atom in i.terms}
    run = 1
    for axis in reversed(axes):
        if axis.terms:
            (atom,) = axis.terms
            if atom in used or not isinstance(atom, Axis):
                break
            run *= atom.extent or 1
    if 1 < run < HOISTED_RUN:
        run = 1
    return size > tensor.size * run


# --------------------------------------------------------------------------- groups


@record(frozen=False)
class _Expanded:
    """An item over its own axes, without `At`."""

    axes: list[Axis]
    reduced: frozenset[int]
    member: Member
    loads: dict[Buffer, set[Affine]]
    writes: list[Buffer]


class _Grouping:
    """Places items, in order, into groups and blocks."""

    def __init__(self, items: Sequence[Item], owned: set[Buffer]) -> None:
        self.entries: list[Group | list[Stmt]] = []
        self.readers: dict[Buffer, set[int]] = {}
        self.writers: dict[Buffer, list[int]] = {}
        self.owned = owned
        for item in items:
            if isinstance(item, BlockItem):
                self._block(item)
            else:
                self._place(item)

    def _block(self, item: BlockItem) -> None:
        stmts = [vectorised(s) for s in _resolved(item.stmts)]
        number = len(self.entries)
        self.entries.append(stmts)
        for stmt in walk(tuple(stmts)):
            for buffer in _touched(stmt):
                self.readers.setdefault(buffer, set()).add(number)
                self.writers.setdefault(buffer, []).append(number)

    def _place(self, item: MapItem | ReduceItem) -> None:
        new = _expand(item)
        if new is None:
            return
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
        for buffer in new.loads:
            self.readers.setdefault(buffer, set()).add(number)
        for buffer in new.writes:
            self.writers.setdefault(buffer, []).append(number)

    def _join(self, new: _Expanded) -> int | None:
        """Add to an earlier group if one fits; its number."""
        needs = {n for buffer in new.loads for n in self.writers.get(buffer, ())}
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

    def _related(self, group: Group, number: int, new: _Expanded, needs: set[int]) -> bool:
        if group.cost + new.member.cost > GROUP_COST:
            return False
        if any(number in self.writers.get(b, ()) for b in new.writes):
            return False  # parts of one buffer
        shared = number in needs or any(b in group.buffers and b.size > 1 for b in new.loads)
        return shared and len(group.buffers | new.loads.keys()) <= GROUP_BUFFERS

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
        return {
            s.buffer
            for s in stores
            if s.buffer.kind == "temp"
            and s.buffer in self.owned
            and not self.readers.get(s.buffer, set()) - {number}
            and len(self.writers[s.buffer]) == 1
        }


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


def _touched(stmt: Stmt) -> Iterable[Buffer]:
    """Buffers that a statement reads or writes."""
    for e in subexpressions(list(expressions(stmt))):
        if type(e) is Load:
            yield e.buffer
    if isinstance(stmt, Store):
        yield stmt.buffer
    elif isinstance(stmt, Copy):
        yield stmt.target.buffer
        yield stmt.source.buffer
    elif isinstance(stmt, Call):
        yield from (a.buffer for a in stmt.args if isinstance(a, Address))


# --------------------------------------------------------------------------- expansion


def _expand(item: MapItem | ReduceItem) -> _Expanded | None:
    """An item's expressions without `At`; None if it has no elements."""
    expander = Expander()
    if isinstance(item, MapItem):
        tensor = item.tensor
        if tensor.size == 0:
            return None
        value = expander.computation(tensor, tensor.axes)
        member = Member([_store(item.target, tensor.axes, value)])
        axes, reduced = tensor.axes, tuple[int, ...]()
    else:
        values = [expander.rewrite(v, {}) for v in item.values]
        inits = [expander.rewrite(v, {}) for v in item.inits]
        axes, reduced = item.axes, item.reduced
        kept = [a for d, a in enumerate(axes) if d not in reduced]
        stores = [_store(t, kept, r) for t, r in zip(item.targets, item.results, strict=True)]
        member = Member(stores, tuple(values), tuple(inits), item.combine)
    own = [d for d, a in enumerate(axes) if a.terms]
    atoms = [next(iter(axes[d].terms)) for d in own]
    positions = frozenset(k for k, d in enumerate(own) if d in reduced)
    loads = _loads(member)
    return _Expanded(atoms, positions, member, loads, [s.buffer for s in member.stores])  # type: ignore[arg-type]


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
        yield from subexpressions(list(expressions(inner)), seen)


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
