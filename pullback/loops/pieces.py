"""Whether statements write an array in pieces that have no element in common.

Nests are cut where a condition on an index changes, so that one array is made by several: the
inside of a stencil and its borders.  `loops/memory.py` asks whether these may work in one memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import combinations, pairwise
from typing import Final

from pullback.loops.expr import Affine, Axis, Load
from pullback.loops.ir import Buffer, Call, Copy, If, Loop, Stmt, Store, Swap, While, walk
from pullback.records import replaced

__all__ = ["are_apart", "fill", "without_self_copies"]

MOST: Final = 48
"""Pieces that are compared with each other; a stencil in three dimensions has seven."""

Box = list[tuple[int, int]]
"""First and last index along each axis."""


def are_apart(stmts: Iterable[Stmt], buffer: Buffer) -> bool:
    """Whether every store to a buffer has elements of its own."""
    return _boxes(stmts, buffer) is not None


def fill(stmts: Iterable[Stmt], buffer: Buffer) -> bool:
    """Whether every store to a buffer has elements of its own, and all are written."""
    boxes = _boxes(stmts, buffer)
    if boxes is None:
        return False
    return sum(math.prod(b - a + 1 for a, b in box) for box in boxes) == buffer.size


def _boxes(stmts: Iterable[Stmt], buffer: Buffer) -> list[Box] | None:
    """What each store writes, if these are boxes without a common element.

    Offsets are read as the digits of a number whose places are the strides that occur.
    """
    inner = [s for stmt in stmts for s in walk((stmt,))]
    if any(_writes_unseen(s, buffer) for s in inner):
        return None
    offsets = [s.offset for s in inner if isinstance(s, Store) and s.buffer.root() is buffer]
    strides = sorted({1, *(abs(c) for o in offsets for c in o.terms.values())}, reverse=True)
    if len(offsets) > MOST or any(a % b for a, b in pairwise(strides)):
        return None
    boxes = [box for o in offsets if (box := _box(o, strides)) is not None]
    if len(boxes) < len(offsets) or not all(_apart(a, b) for a, b in combinations(boxes, 2)):
        return None
    return boxes


def _writes_unseen(stmt: Stmt, buffer: Buffer) -> bool:
    """Whether a statement writes a buffer otherwise than by stores that certainly happen once."""
    if isinstance(stmt, Copy):
        return stmt.target.buffer.root() is buffer
    if isinstance(stmt, Swap):
        return buffer in (stmt.first.root(), stmt.second.root())
    if isinstance(stmt, Call):
        return any(b.root() is buffer for b in stmt.writes)
    return isinstance(stmt, (If, While))


def _box(offset: Affine, strides: Sequence[int]) -> Box | None:
    """The indices that an offset takes; None if they are no box."""
    spans = dict.fromkeys(strides, 0)
    for atom, stride in offset.terms.items():
        if not isinstance(atom, Axis) or atom.extent is None or stride < 0:
            return None
        spans[stride] += max(atom.extent - 1, 0)
    box: Box = []
    rest = offset.const
    for stride in strides:
        first, rest = divmod(rest, stride)
        box.append((first, first + spans[stride]))
    for k in range(len(strides) - 1, 0, -1):  # an axis that goes through several rows
        (first, last), radix = box[k], strides[k - 1] // strides[k]
        if last < radix:
            continue
        above, end = box[k - 1]
        if first or (last + 1) % radix or above != end:
            return None
        box[k], box[k - 1] = (0, radix - 1), (above, above + (last + 1) // radix - 1)
    return box


def _apart(left: Box, right: Box) -> bool:
    return any(b < c or d < a for (a, b), (c, d) in zip(left, right, strict=True))


def without_self_copies(stmt: Stmt) -> tuple[Stmt | None, list[Buffer]]:
    """A statement without stores of what is there already, and the buffers of those stores."""
    if isinstance(stmt, Store):
        value = stmt.value
        same = type(value) is Load and value.buffer.root() is stmt.buffer.root()
        if same and value.offset == stmt.offset:  # type: ignore[attr-defined]
            return None, [stmt.buffer.root()]
        return stmt, []
    if not isinstance(stmt, Loop):
        return stmt, []
    inner = [without_self_copies(s) for s in stmt.body]
    dropped = [b for _, found in inner for b in found]
    if not dropped:
        return stmt, []
    body = tuple(s for s, _ in inner if s is not None)
    return (replaced(stmt, body=body) if body else None), dropped
