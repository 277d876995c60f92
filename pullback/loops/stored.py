"""What a region stores: which lazy tensors, and which stacks nobody reads.

The first step of fusion (`loops/fuse.py`).  A lazy tensor is stored if inlining it would repeat
work that is worth more than a store.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import field
from typing import Any, Final, Protocol

from pullback.loops.expr import Affine, At, Axis, Expr, Load, Op, affine
from pullback.loops.ir import (
    Address,
    Buffer,
    Call,
    Copy,
    Stmt,
    Store,
    expressions,
    subexpressions,
    walk,
)
from pullback.loops.tensors import BufferTensor, Item, LazyTensor, MapItem, ReduceItem
from pullback.loops.turned import block_leaves, not_walked
from pullback.records import record

__all__ = ["RegionLike", "items_to_place", "touched"]

CHEAP: Final = 3.0
"""Computations up to this cost are repeated rather than stored."""
SLICED: Final = 64.0
"""Computations up to this cost, of all slices that one reader takes, stand in the reader."""
FAR: Final = 1 << 20
"""Bytes from which what is stored comes back from behind the second cache."""
AGAIN: Final = 40.0
"""Work of all neighbours that is repeated rather than stored there."""
SHARED: Final = 16.0
"""The same of what is read at one place: no elementary function, which costs more."""
DEEP: Final = 48
MANY: Final = 8
"""Stored tensors that one computation may read before its own place is worth it.

The terms of two long sums would otherwise all wait for the end of the sums.
"""
EXPENSIVE: Final = 600.0
HOISTED_RUN: Final = 8


class RegionLike(Protocol):
    """What this pass needs of `build.Region`."""

    items: list[Item]
    lazies: list[LazyTensor]
    owned: set[Buffer]
    stacked: set[Buffer]


@record(frozen=False)
class _Uses:
    """Who reads a lazy tensor: (reader, index) pairs, and whether one of them repeats work."""

    readers: set[tuple[int, tuple[Affine, ...]]] = field(default_factory=set)
    repeats: bool = False
    mapped: bool = True
    """Whether no reduction, and no block, reads it."""

    def places(self) -> int:
        """How many neighbours are read, by indices that differ by constants."""
        return len({tuple(i.const for i in index) for _, index in self.readers})

    def apart(self) -> bool:
        """Whether one reader takes rows, or larger slices, that have no element in common.

        Columns would be read across memory, for which storing them first is better.
        """
        if len({reader for reader, _ in self.readers}) > 1:
            return False
        *places, _ = zip(*(index for _, index in self.readers), strict=True)
        return any(
            all(i.is_const for i in along) and len({i.const for i in along}) == len(self.readers)
            for along in places
        )


@record()
class _Total:
    """What computing an element takes, with all that is not stored."""

    cost: float
    depth: int
    reads: frozenset[int]
    """Which stored tensors are read; a stencil reads one."""


def _load(tensor: LazyTensor) -> _Total:
    """What reading a stored tensor takes."""
    return _Total(0.25, 0, frozenset([id(tensor)]))


def items_to_place(region: RegionLike) -> list[Item]:
    """The items, and those that store what is worth it, in order."""
    dropped = _unread(region.items, region.stacked)
    uses = _collect_uses([item for item in region.items if id(item) not in dropped])
    totals: dict[int, _Total] = {}
    stored: list[MapItem] = []
    stencils: set[int] = set()
    for tensor in region.lazies:
        use = uses.get(id(tensor))
        if use is None or tensor.stored is not None:
            continue
        total = _total(tensor, totals)
        again = _again(tensor, use, total.cost, stencils)
        if tensor.position >= 0 and _worth_storing(tensor, use, total, again):
            stored.append(_stored(tensor, region.owned))
            total = _load(tensor)
        totals[id(tensor)] = total
    order = {id(tensor): k for k, tensor in enumerate(region.lazies)}
    others = not_walked([*region.items, *stored], region.lazies)
    stored += [_stored(tensor, region.owned) for tensor in others]
    stored.sort(key=lambda item: order[id(item.tensor)])
    while True:  # moving a store may make another one late
        merged = _merged(region.items, stored, dropped)
        known = {id(item) for item in stored}
        late = [item for item in _late_stores(merged) if id(item) not in known]
        if not late:
            return merged
        stored = sorted([*stored, *late], key=lambda item: order[id(item.tensor)])


def _stored(tensor: LazyTensor, owned: set[Buffer]) -> MapItem:
    buffer = Buffer(tensor.dtype, tensor.size, "temp")
    owned.add(buffer)
    tensor.cuts |= {tensor.turned} if tensor.turned is not None else set()
    tensor.stored = BufferTensor(buffer, tensor.shape, affine(0))
    return MapItem(tensor, tensor.stored)


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
            stack = list(item.leaves if isinstance(item, ReduceItem) else block_leaves(item))
        while stack:
            tensor = stack.pop().tensor
            if id(tensor) not in read:
                read.add(id(tensor))
                stack += tensor.leaves
    return late


def _merged(items: Sequence[Item], stored: Sequence[MapItem], dropped: set[int]) -> list[Item]:
    """The items in order, less those dropped, and each stored tensor where it was made."""
    out: list[Item] = []
    queue = sorted(stored, key=lambda item: item.tensor.position)
    moved = dropped | {id(item) for item in stored}
    at = 0
    for position, item in enumerate(items):
        while at < len(queue) and queue[at].tensor.position <= position:
            out.append(queue[at])
            at += 1
        if id(item) not in moved:
            out.append(item)
    return [*out, *queue[at:]]


def _total(tensor: LazyTensor, totals: dict[int, _Total]) -> _Total:
    cost, depth = tensor.cost, 0
    reads: frozenset[int] = frozenset()
    for leaf in tensor.leaves:
        inner: LazyTensor = leaf.tensor
        found = totals.get(id(inner))
        if found is None:  # of an outer region: stored, or always inlined
            stored = inner.stored is not None
            found = totals[id(inner)] = _load(inner) if stored else _total(inner, totals)
        # A scalar is computed outside of loops, but for a scalar all of it is there.
        alone = inner.stored is None and not inner.shape and tensor.shape
        cost += 0.0 if alone else found.cost
        depth = max(depth, found.depth)
        reads |= found.reads
    return _Total(cost, depth + tensor.expr.depth + 1, reads)


def _again(tensor: LazyTensor, use: _Uses, cost: float, stencils: set[int]) -> bool:
    """Whether computing a stencil wherever it is read costs less than to fetch it from far away.

    `stencils` are tensors of which this holds, and what is made from them.  What is read at one
    place is computed once if its readers share a loop, as most do.
    """
    if tensor.size * tensor.dtype.itemsize < FAR or not use.mapped:
        return False
    made = any(id(leaf.tensor) in stencils for leaf in tensor.leaves)
    near = use.places() > 1
    found = (len(use.readers) - 1) * cost <= AGAIN if near else made and cost <= SHARED
    if found or (made and len(use.readers) == 1):
        stencils.add(id(tensor))
    return found


def _worth_storing(tensor: LazyTensor, use: _Uses, total: _Total, again: bool) -> bool:
    if total.cost <= CHEAP or tensor.size == 0:
        return False
    readers = len(use.readers)
    if use.repeats or (readers > 1 and not (total.cost * readers <= SLICED and use.apart())):
        return use.repeats or not again
    return total.depth > DEEP or total.cost > EXPENSIVE or len(total.reads) > MANY


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
            for leaf in block_leaves(item):
                read(leaf, id(leaf), (), 1 << 62)
        while stack:
            tensor = stack.pop()
            for leaf in tensor.leaves:
                read(leaf, id(tensor), tensor.axes, tensor.size)
    roots = [item for item in items if not isinstance(item, MapItem)]
    inner = [
        leaf for r in roots for leaf in (r.leaves if isinstance(r, ReduceItem) else block_leaves(r))
    ]
    while inner:
        tensor = inner.pop().tensor
        if uses[id(tensor)].mapped:
            uses[id(tensor)].mapped = False
            inner += tensor.leaves if tensor.stored is None else ()
    return uses


def _repeats(tensor: LazyTensor, leaf: At, axes: Sequence[Affine], size: int) -> bool:
    """Whether a reader evaluates an element often: more than hoisting out of inner loops saves.

    An index moved inside (a pad's, a concatenation's) meets an element once where it is inside, and
    nests are cut at the borders.
    """
    if size <= tensor.size or tensor.size == 0:
        return False
    used = {atom for i in leaf.idx for atom in i.terms}
    for extent, i in zip(tensor.shape, leaf.idx, strict=True):
        moved = [a for atom in i.terms if _is_moved(atom) for a in subexpressions([atom])]
        for inner in {a for a in moved if isinstance(a, Axis)} - used:
            used.add(inner)
            size = size // (inner.extent or 1) * min(inner.extent or 1, extent)
    if size <= tensor.size:
        return False
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


def _is_moved(atom: Expr) -> bool:
    return type(atom) is Op and atom.name in ("imin", "imax")


# --------------------------------------------------------------------------- what nobody reads


def _unread(items: Sequence[Item], buffers: set[Buffer]) -> set[int]:
    """The identities of items that store to some buffers which nobody reads."""
    dropped: set[int] = set()
    buffers = {b for b in buffers if b.kind == "temp"}  # others are results
    while buffers:
        kept = [item for item in items if id(item) not in dropped]
        unread = buffers - _buffers_read(kept)
        if not unread:
            break
        dropped |= {id(i) for i in kept if isinstance(i, MapItem) and i.target.buffer in unread}
        buffers = buffers - unread  # what those items read may be the others
    return dropped


def _buffers_read(items: Iterable[Item]) -> set[Buffer]:
    """What items read, directly or through lazy tensors; blocks may do anything."""
    found: set[Buffer] = set()
    roots: list[Expr] = []
    for item in items:
        if isinstance(item, MapItem):
            roots.append(item.tensor.expr)
        elif isinstance(item, ReduceItem):
            roots += [*item.values, *item.inits]
        else:
            for stmt in walk(tuple(item.stmts)):
                roots += expressions(stmt)
                found.update(touched(stmt))
    seen: set[int] = set()
    while roots:
        inner: list[Expr] = []
        for e in subexpressions(roots, seen):
            if type(e) is Load:
                found.add(e.buffer)
            elif type(e) is At:
                stored = e.tensor.stored
                found |= {stored.buffer} if stored is not None else set()
                inner.append(e.tensor.expr)
        roots = inner
    return found


def touched(stmt: Stmt) -> Iterable[Buffer]:
    """Buffers that a statement reads or writes."""
    for e in subexpressions(expressions(stmt)):
        if type(e) is Load:
            yield e.buffer
    if isinstance(stmt, Store):
        yield stmt.buffer
    elif isinstance(stmt, Copy):
        yield stmt.target.buffer
        yield stmt.source.buffer
    elif isinstance(stmt, Call):
        yield from (a.buffer for a in stmt.args if isinstance(a, Address))
