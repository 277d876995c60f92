"""Vectors for loops that `lower` rules write: `b.loop(n, independent=True)` around plain stores.

Nests of maps and reductions get their vectors in `loops/schedule.py`.  A loop of a rule is left as
it is, unless it is innermost, its iterations are independent, and it walks memory one by one.  Two
around a store that walks along the outer one, and a load that walks along the inner one, are a
square tile, which is transposed in registers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pullback.loops.expr import Affine, Axis, Expr, Load, Local
from pullback.loops.ir import (
    Block,
    If,
    Let,
    Loop,
    Stmt,
    Store,
    While,
    expressions,
    subexpressions,
)
from pullback.loops.nests import lanes_of, weight_of, width_of
from pullback.records import replaced

__all__ = ["vectorised"]

_LIGHT: Final = 8
"""Operations of a body that is written for two vectors at a time."""


def vectorised(stmt: Stmt) -> Stmt:
    """The statement with vector loops where they pay."""
    if isinstance(stmt, If):
        return replaced(stmt, then=_block(stmt.then), otherwise=_block(stmt.otherwise))
    if isinstance(stmt, While):
        return replaced(stmt, before=_block(stmt.before), body=_block(stmt.body))
    if not isinstance(stmt, Loop) or stmt.width > 1:
        return stmt
    if not all(isinstance(s, (Let, Store)) for s in stmt.body):
        return _tile(stmt) or replaced(stmt, body=_block(stmt.body))
    return _vector_loop(stmt) if stmt.parallel and stmt.extent.is_const else stmt


def _block(block: Block) -> Block:
    return tuple(vectorised(s) for s in block)


def _vector_loop(loop: Loop) -> Loop:
    exprs = [e for s in loop.body for e in expressions(s)]
    stores = [s for s in loop.body if isinstance(s, Store)]
    if not stores or not _walks(loop, exprs, stores):
        return loop
    unroll = 2 if weight_of(exprs) <= _LIGHT else 1
    values = [*exprs, *(Load(s.buffer, s.offset) for s in stores)]
    width = width_of(loop.extent.const, values, unroll)
    if width < min(4, lanes_of(values)) or width < 2:
        return loop
    loaded = {e.buffer.root() for e in subexpressions(exprs) if type(e) is Load}
    in_place = any(s.buffer.root() in loaded for s in stores)
    return replaced(loop, width=width, in_place=in_place)


def _tile(loop: Loop) -> Loop | None:
    """A square of copies, as wide as a vector at most; None for other loops."""
    inner = loop.body[0]
    if len(loop.body) > 1 or not isinstance(inner, Loop) or inner.width > 1:
        return None
    extents = loop.extent.const, inner.extent.const
    if not (loop.parallel and inner.parallel and loop.extent.is_const and inner.extent.is_const):
        return None
    if not all(isinstance(s, (Let, Store)) for s in inner.body) or extents[0] != extents[1]:
        return None
    exprs = [e for s in inner.body for e in expressions(s)]
    stores = [s for s in inner.body if isinstance(s, Store)]
    loads = [e for e in subexpressions(exprs) if type(e) is Load]
    varying = {id(s.local) for s in inner.body if isinstance(s, Let)}
    along = [_step(s.offset, loop.axis, varying) == 1 for s in stores]
    across = [_step(e.offset, inner.axis, varying) == 1 for e in loads]
    if not (stores and loads and all(along) and all(across)):
        return None
    if extents[0] > lanes_of(exprs) or len(stores) > 1 or stores[0].buffer.dtype.kind == "c":
        return None
    return replaced(loop, width=extents[0], body=(replaced(inner, unroll=True, parallel=False),))


def _walks(loop: Loop, exprs: Sequence[Expr], stores: Sequence[Store]) -> bool:
    """Whether all places are fixed, or neighbours in neighbouring iterations; stores the latter."""
    varying = {id(s.local) for s in loop.body if isinstance(s, Let)} | {id(loop.axis)}
    if any(_step(s.offset, loop.axis, varying) != 1 for s in stores):
        return False
    loads = [e for e in subexpressions(exprs) if type(e) is Load]
    return all(_step(e.offset, loop.axis, varying) in (0, 1) for e in loads)


def _step(offset: Affine, axis: Axis, varying: set[int]) -> int | None:
    """By how much an offset grows; None if in no regular way."""
    for atom in offset.terms:
        if atom is not axis and any(
            id(e) in varying for e in subexpressions([atom]) if type(e) in (Axis, Local)
        ):
            return None
    return offset.terms.get(axis, 0)
