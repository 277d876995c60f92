"""Memory: buffers that can share are made one, temporaries get places in one arena.

Copies are dropped where the source is dead afterwards, in particular those that begin and end an
in-place update of a loop's carry:

    loop: t <- copy c; t[k] = ...; c <- copy t        becomes        loop: c[k] = ...

A large carry that cannot be updated in place, since its new value is made from elements all over
the old one, exchanges its memory with the new value instead of being overwritten by a copy of it:

    loop: t <- f(c); c <- copy t                      becomes        loop: t <- f(c); swap c, t

A buffer lives from the first to the last statement that touches it, in the innermost block that
contains all of these.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Collection, Iterator, Sequence
from dataclasses import field
from heapq import heappop, heappush
from typing import Final

from pullback.loops.expr import Affine, Load, Local, Op
from pullback.loops.ir import (
    Address,
    Assign,
    Block,
    Buffer,
    Call,
    Copy,
    If,
    Let,
    Loop,
    Program,
    Stmt,
    Store,
    Swap,
    While,
    expressions,
    inner_blocks,
    subexpressions,
    walk,
)
from pullback.loops.pieces import are_apart, fill, without_self_copies
from pullback.loops.scalars import joined, parts_of
from pullback.records import record, replaced

__all__ = ["STACK_BYTES", "accesses", "in_place", "own_buffers", "place_buffers", "written"]

ALIGNMENT: Final = 64
STACK_BYTES: Final = 512
"""Temporaries up to this size may be stack variables instead, if the emitter wants."""


def place_buffers(program: Program, carried: Collection[Buffer] = ()) -> None:
    """Drop copies and give every temporary an offset in the arena.

    `carried` are buffers that loops update: small ones stay apart from outputs, in registers.
    """
    if any(isinstance(s, Copy) for s in walk(program.body)):
        small = [b for b in carried if b.nbytes <= STACK_BYTES]
        program.body = _share(program.body, small)
    lives = _lifetimes(program.body)
    _live_together(program.body, lives)
    program.arena_bytes = _assign(lives)


def accesses(stmt: Stmt) -> tuple[set[Buffer], set[Buffer]]:
    """Buffers that a statement reads and writes, inner blocks included."""
    reads: set[Buffer] = set()
    seen: set[int] = set()
    for s in walk((stmt,)):
        for e in subexpressions(expressions(s), seen):
            if type(e) is Load:
                reads.add(e.buffer.root())
        if isinstance(s, Copy):
            reads.add(s.source.buffer.root())
        elif isinstance(s, Swap):
            reads |= {s.first.root(), s.second.root()}
        elif isinstance(s, Call):
            reads |= {a.buffer.root() for a in s.args if isinstance(a, Address)}
    return reads, written(stmt)


def written(stmt: Stmt) -> set[Buffer]:
    """Buffers that a statement writes, inner blocks included."""
    writes: set[Buffer] = set()
    for s in walk((stmt,)):
        if isinstance(s, Store):
            writes.add(s.buffer.root())
        elif isinstance(s, Copy):
            writes.add(s.target.buffer.root())
        elif isinstance(s, Swap):
            writes |= {s.first.root(), s.second.root()}
        elif isinstance(s, Call):
            writes |= {b.root() for b in s.writes}
    return writes


# --------------------------------------------------------------------------- sharing


def _share(body: Block, registers: Sequence[Buffer]) -> Block:
    """Drop copies between buffers that can be one; blocks innermost first."""
    counts: dict[Buffer, int] = {}
    for stmt in walk(body):
        for buffer in own_buffers(stmt):
            counts[buffer] = counts.get(buffer, 0) + 1
    return _Sharing(counts, registers).block(body)


def own_buffers(stmt: Stmt) -> Iterator[Buffer]:
    """Buffers touched by a statement itself, once for each time."""
    for e in subexpressions(expressions(stmt)):
        if type(e) is Load:
            yield e.buffer.root()
    if isinstance(stmt, Store):
        yield stmt.buffer.root()
    elif isinstance(stmt, Copy):
        yield stmt.source.buffer.root()
        yield stmt.target.buffer.root()
    elif isinstance(stmt, Swap):
        yield stmt.first.root()
        yield stmt.second.root()
    elif isinstance(stmt, Call):
        yield from (a.buffer.root() for a in stmt.args if isinstance(a, Address))


class _Uses:
    """Which statements of one block read and write a buffer, by ascending number."""

    def __init__(self, stmts: Sequence[Stmt]) -> None:
        self.reads: dict[Buffer, list[int]] = {}
        self.writes: dict[Buffer, list[int]] = {}
        self.touches: dict[Buffer, list[int]] = {}
        self.counts: dict[Buffer, int] = {}
        self.emptied: set[int] = set()
        """Statements of which nothing is left."""
        for k, stmt in enumerate(stmts):
            reads, writes = accesses(stmt)
            for table, found in (
                (self.reads, reads),
                (self.writes, writes),
                (self.touches, reads | writes),
            ):
                for buffer in found:
                    table.setdefault(buffer, []).append(k)
        for stmt in walk(tuple(stmts)):
            for buffer in own_buffers(stmt):
                self.counts[buffer] = self.counts.get(buffer, 0) + 1

    def merge(self, source: Buffer, target: Buffer) -> None:
        """What touches the source touches the target."""
        for table in (self.reads, self.writes, self.touches):
            table[target] = _merged(table.get(target, []), table.pop(source, []))
        self.counts[target] = self.counts.get(target, 0) + self.counts.pop(source, 0)


def _merged(left: list[int], right: list[int]) -> list[int]:
    if left and right and left[-1] < right[0]:
        left.extend(right)
        return left
    return sorted({*left, *right})


def _has_between(numbers: Sequence[int], low: int, high: int) -> bool:
    """Whether one of the ascending numbers is in [low, high)."""
    at = bisect_left(numbers, low)
    return at < len(numbers) and numbers[at] < high


class _Sharing:
    """Walks blocks and unites the two ends of copies."""

    def __init__(self, counts: dict[Buffer, int], registers: Sequence[Buffer]) -> None:
        self.counts = counts
        self.registers = {b.root() for b in registers}
        self.swapped: set[Buffer] = set()

    def block(self, block: Block) -> Block:
        stmts = [self._inner(s) for s in block]
        if not any(isinstance(s, Copy) for s in stmts):
            return tuple(stmts)
        uses = _Uses(stmts)
        for _ in range(2):  # a buffer that became another's may leave room for a third
            for k, stmt in enumerate(stmts):
                if isinstance(stmt, Copy):
                    self._unite(stmts, k, stmt, uses)
        left = (s for k, s in enumerate(stmts) if k not in uses.emptied)
        return tuple(s for s in left if not self._dropped(s))

    def _dropped(self, stmt: Stmt) -> bool:
        """Whether a statement is a copy of a buffer to itself, which is then not counted."""
        if not (isinstance(stmt, Copy) and _is_self_copy(stmt)):
            return False
        self.counts[stmt.target.buffer.root()] -= 2
        return True

    def _inner(self, stmt: Stmt) -> Stmt:
        if isinstance(stmt, Loop) and any(isinstance(s, Copy) for s in walk(stmt.body)):
            return replaced(stmt, body=self._with_swaps(self.block(stmt.body)))
        if isinstance(stmt, While):
            body = self._with_swaps(self.block(stmt.body))
            return While(self.block(stmt.before), stmt.condition, body)
        if isinstance(stmt, If):
            return If(stmt.condition, self.block(stmt.then), self.block(stmt.otherwise))
        return stmt

    def _with_swaps(self, body: Block) -> Block:
        """The body of a loop, with exchanges of memory for the copies of large new carries."""
        if not any(isinstance(s, Copy) for s in body):
            return body
        stmts = list(body)
        uses = _Uses(stmts)
        for k, stmt in enumerate(stmts):
            if isinstance(stmt, Copy) and self._swaps(k, stmt, uses):
                carry, new = stmt.target.buffer.root(), stmt.source.buffer.root()
                stmts[k] = Swap(carry, new)
                self.swapped |= {carry, new}
        return tuple(stmts)

    def _swaps(self, k: int, copy: Copy, uses: _Uses) -> bool:
        """Whether the source is made anew in every turn, and not needed after the copy."""
        carry, new = copy.target.buffer.root(), copy.source.buffer.root()
        if carry.kind != "temp" or carry.nbytes <= STACK_BYTES or not _whole(copy):
            return False
        return carry is not new and carry.dtype == new.dtype and self._dies(new, k, uses)

    def _unite(self, stmts: list[Stmt], k: int, copy: Copy, uses: _Uses) -> None:
        target, source = copy.target.buffer.root(), copy.source.buffer.root()
        if target is source or not _whole(copy):
            return
        if self._dies(source, k, uses) and self._born(target, k, uses):
            self._merge(source, target, uses)
        elif self._local(source, uses):
            made = self._updates(stmts, k, target, source, uses)
            if made is not None and self._merge(source, target, uses):
                self._replace(stmts, made, uses)
        elif self._local(target, uses):
            made = self._returns(stmts, k, target, source, uses)
            if made is not None and self._merge(target, source, uses):
                self._replace(stmts, made, uses)

    def _local(self, buffer: Buffer, uses: _Uses) -> bool:
        """Whether a buffer is touched in this block alone."""
        return buffer.kind == "temp" and uses.counts.get(buffer, 0) == self.counts[buffer]

    def _dies(self, source: Buffer, k: int, uses: _Uses) -> bool:
        """Whether the source is a temporary of this block that nothing touches after the copy."""
        return self._local(source, uses) and uses.touches[source][-1] <= k

    def _born(self, target: Buffer, k: int, uses: _Uses) -> bool:
        """Whether nothing touches the target before the copy, and all of it is in this block."""
        if target.kind == "temp" and not self._local(target, uses):
            return False
        if target.kind not in ("temp", "out"):
            return False
        return uses.touches[target][0] >= k

    def _updates(
        self, stmts: list[Stmt], k: int, carry: Buffer, new: Buffer, uses: _Uses
    ) -> dict[int, Stmt] | None:
        """What makes `new`, copied to `carry` at k, in the carry's own memory; None if nothing.

        Statements that read the carry while `new` is made do so where they write.  If several
        write, each has elements of its own, so that nobody reads what another one wrote.
        """
        if carry.kind not in ("temp", "out"):
            return None
        first, last = uses.touches[new][0], uses.touches[new][-1]
        if last != k or _has_between(uses.writes[carry], first, k):
            return None
        readers = [j for j in uses.reads.get(carry, ()) if first <= j < k]
        writers = [j for j in uses.writes.get(new, ()) if j < k]
        if not set(readers) <= set(writers):
            return None
        if readers != [first][: len(readers)] and not are_apart([stmts[j] for j in writers], new):
            return None
        made = {j: in_place(stmts[j], carry, new) for j in readers}
        found = {j: stmt for j, stmt in made.items() if stmt is not None}
        return found if len(found) == len(made) else None

    def _returns(
        self, stmts: list[Stmt], k: int, changed: Buffer, carry: Buffer, uses: _Uses
    ) -> dict[int, Stmt] | None:
        """What makes a copy at k, and all of the carry from it later, in one memory.

        So is an array of which a part is set, and then most of it.
        """
        first, last = uses.touches[changed][0], uses.touches[changed][-1]
        writers = [j for j in uses.writes.get(carry, ()) if k < j <= last]
        if first < k or not writers or _has_between(uses.reads.get(carry, ()), k + 1, last + 1):
            return None
        readers = [j for j in uses.touches[changed] if j >= writers[0]]
        if not set(readers) <= set(writers) or _has_between(
            uses.writes[changed], writers[0], last + 1
        ):
            return None
        if not fill([stmts[j] for j in writers], carry):
            return None
        made = {j: in_place(stmts[j], changed, carry) for j in readers}
        found = {j: stmt for j, stmt in made.items() if stmt is not None}
        return found if len(found) == len(made) else None

    def _replace(self, stmts: list[Stmt], made: dict[int, Stmt], uses: _Uses) -> None:
        """Put statements for others, less what they would copy to where it is."""
        for j, stmt in made.items():
            left, dropped = without_self_copies(stmt)
            for buffer in dropped:
                self.counts[buffer] -= 2
                uses.counts[buffer] -= 2
            if left is None:
                uses.emptied.add(j)
            else:
                stmts[j] = left

    def _merge(self, source: Buffer, target: Buffer, uses: _Uses) -> bool:
        """Let the memory of `source` be that of `target`, unless one is not ours to exchange."""
        if target.kind == "out" and source in self.registers:
            return False
        if source in self.swapped:
            if target.kind != "temp":
                return False
            self.swapped.add(target)
        if source in self.registers:
            self.registers.add(target)
        source.alias = target
        uses.merge(source, target)
        self.counts[target] = self.counts.get(target, 0) + self.counts.get(source, 0)
        return True


def _whole(copy: Copy) -> bool:
    target, source = copy.target, copy.source
    zero = target.offset.is_const and source.offset.is_const
    return (
        zero
        and target.offset.const == 0 == source.offset.const
        and target.buffer.size == source.buffer.size == copy.count
    )


def _is_self_copy(copy: Copy) -> bool:
    return (
        copy.target.buffer.root() is copy.source.buffer.root()
        and copy.target.offset == copy.source.offset
    )


def in_place(stmt: Stmt, carry: Buffer, new: Buffer) -> Stmt | None:
    """The statement made safe for `new` being `carry`: each element is read where it is written."""
    if isinstance(stmt, Copy):
        return stmt if _whole(stmt) else None
    if isinstance(stmt, Store):
        return stmt if len(_places([stmt], carry, new)) == 1 else None
    if not isinstance(stmt, Loop):
        return None
    involved = [s for s in stmt.body if _touches(s, carry, new)]
    if len(involved) == 1 and isinstance(involved[0], Loop):
        inner = in_place(involved[0], carry, new)
        if inner is None:
            return None
        body = tuple(inner if s is involved[0] else s for s in stmt.body)
        return replaced(stmt, body=body, in_place=stmt.width > 1)
    if not all(isinstance(s, (Store, Assign, Let)) for s in involved):
        return None
    places = _places(involved, carry, new)
    if len(places) != 1 or any(_overlapping(p) for p in places):
        return None
    if _reads_after_store(stmt.body, carry, new):
        if any(new in accesses(s)[0] for s in involved):
            return None
        stmt = replaced(stmt, body=_stores_last(stmt.body, involved))
    return replaced(stmt, in_place=True)


def _reads_after_store(body: Block, carry: Buffer, new: Buffer) -> bool:
    """Whether a turn still reads the carry when it has written the new value."""
    stored = False
    for s in body:
        reads, writes = accesses(s)
        if stored and carry in reads:
            return True
        stored = stored or new in writes
    return False


def _stores_last(body: Block, involved: Sequence[Stmt]) -> Block:
    """The turn with these stores after everything else, so that it computes from old values."""
    first: list[Stmt] = []
    last: list[Stmt] = []
    for s in body:
        if isinstance(s, Store) and s in involved and type(s.value) is not Local:
            names = [Local(p.dtype) for p in parts_of(s.value)]
            first += [Let(n, p) for n, p in zip(names, parts_of(s.value), strict=True)]
            last.append(replaced(s, value=joined(names)))
        elif isinstance(s, Store) and s in involved:
            last.append(s)
        else:
            first.append(s)
    return (*first, *last)


def _touches(stmt: Stmt, carry: Buffer, new: Buffer) -> bool:
    reads, writes = accesses(stmt)
    return bool((reads | writes) & {carry, new})


def _places(body: Sequence[Stmt], carry: Buffer, new: Buffer) -> set[Affine]:
    """Offsets at which either buffer is touched."""
    found = set()
    for s in body:
        if isinstance(s, Store) and s.buffer.root() in (carry, new):
            found.add(s.offset)
        for e in subexpressions(expressions(s)):
            if type(e) is Load and e.buffer.root() in (carry, new):
                found.add(e.offset)
    return found


def _overlapping(offset: Affine) -> bool:
    return any(type(a) is Op and a.name in ("imin", "imax") for a in subexpressions([offset]))


# --------------------------------------------------------------------------- the arena


@record(frozen=False)
class _Lifetimes:
    """Intervals of statement numbers."""

    totals: dict[Buffer, int] = field(default_factory=dict)
    spans: dict[Buffer, tuple[int, int]] = field(default_factory=dict)
    position: int = 0


def _lifetimes(body: Block) -> dict[Buffer, tuple[int, int]]:
    lives = _Lifetimes()
    for stmt in walk(body):
        for buffer in own_buffers(stmt):
            if buffer.kind == "temp":
                lives.totals[buffer] = lives.totals.get(buffer, 0) + 1
    _visit(body, lives)
    return lives.spans


def _live_together(body: Block, spans: dict[Buffer, tuple[int, int]]) -> None:
    """Buffers that exchange their memory both live as long as one of them."""
    together: dict[Buffer, set[Buffer]] = {}
    for s in walk(body):
        if isinstance(s, Swap):
            pair = (s.first.root(), s.second.root())
            both = set().union(*(together.get(b, {b}) for b in pair))
            together.update(dict.fromkeys(both, both))
    for both in {id(both): both for both in together.values()}.values():
        first = min(spans[b][0] for b in both)
        last = max(spans[b][1] for b in both)
        spans.update((b, (first, last)) for b in both)


def _visit(block: Block, lives: _Lifetimes) -> dict[Buffer, int]:
    """How often each unfinished buffer was touched; finished ones get their span."""
    open_: dict[Buffer, tuple[int, int, int]] = {}
    for stmt in block:
        start = lives.position
        lives.position += 1
        found: dict[Buffer, int] = {}
        for inner in inner_blocks(stmt):
            for buffer, n in _visit(inner, lives).items():
                found[buffer] = found.get(buffer, 0) + n
        for buffer in own_buffers(stmt):
            if buffer.kind == "temp":
                found[buffer] = found.get(buffer, 0) + 1
        end = lives.position
        lives.position += 1
        for buffer, n in found.items():
            if buffer in lives.spans:
                continue
            first, _, before = open_.get(buffer, (start, end, 0))
            open_[buffer] = (first, end, before + n)
    rest: dict[Buffer, int] = {}
    for buffer, (first, last, n) in open_.items():
        if n == lives.totals[buffer]:
            lives.spans[buffer] = (first, last)
        else:
            rest[buffer] = n
    return rest


def _assign(spans: dict[Buffer, tuple[int, int]]) -> int:
    """First-fit offsets by time of birth; the size of the arena."""
    order = sorted(spans, key=lambda b: (spans[b][0], -b.nbytes))
    live: list[tuple[int, int, int]] = []  # a heap of end of life, offset, end of memory
    gaps: list[tuple[float, float]] = [(0, math.inf)]  # free memory in order, no two adjacent
    top = 0
    for buffer in order:
        start, last = spans[buffer]
        while live and live[0][0] < start:
            _free(gaps, *heappop(live)[1:])
        size = -(-max(buffer.nbytes, 1) // ALIGNMENT) * ALIGNMENT
        buffer.offset = _take(gaps, size)
        heappush(live, (last, buffer.offset, buffer.offset + size))
        top = max(top, buffer.offset + size)
    return top


def _take(gaps: list[tuple[float, float]], size: int) -> int:
    """The start of the first gap of this size, which is taken."""
    k = next(k for k, (start, end) in enumerate(gaps) if end - start >= size)
    start, end = gaps[k]
    gaps[k : k + 1] = [(start + size, end)] if start + size < end else []
    return int(start)


def _free(gaps: list[tuple[float, float]], start: float, end: float) -> None:
    k = bisect_left(gaps, (start, end))
    low, high = k, k
    if k < len(gaps) and gaps[k][0] == end:
        high, end = k + 1, gaps[k][1]
    if k > 0 and gaps[k - 1][1] == start:
        low, start = k - 1, gaps[k - 1][0]
    gaps[low:high] = [(start, end)]
