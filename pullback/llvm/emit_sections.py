"""Long programs in sections: each becomes a function of its own, which the program calls in order.

LLVM takes more than proportional time for a long function.  A program is cut where no name is
known before and used after; buffers that are touched on both sides have to be in memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from pullback.loops.expr import Expr, Local, Read
from pullback.loops.ir import (
    Assign,
    Block,
    Buffer,
    Call,
    Declare,
    Fold,
    Let,
    Stmt,
    Swap,
    Var,
    expressions,
    subexpressions,
    walk,
)
from pullback.loops.memory import own_buffers
from pullback.records import record

__all__ = ["Sections", "cut"]

FEWEST: Final = 48
"""Statements below which a program is not cut."""
SIZE: Final = 1500
"""Expressions of a section, unless a name is used further on."""


@record()
class Sections:
    """The blocks in order, and the buffers that more than one of them touches."""

    blocks: tuple[Block, ...]
    shared: frozenset[Buffer]


def cut(body: Block) -> Sections:
    """The sections of a program; one if it is short, or if addresses of buffers change in it."""
    if len(body) < FEWEST or any(isinstance(s, Swap) for s in walk(body)):
        return Sections((body,), frozenset())
    last: dict[Expr | Var, int] = {}
    sizes = []
    for k, stmt in enumerate(body):
        parts = list(_parts(stmt))
        last.update((part, k) for part in parts if type(part) in (Local, Var))
        sizes.append(len(parts))
    blocks, begin, size, reach = [], 0, 0, 0
    for k, stmt in enumerate(body):
        if size >= SIZE and reach < k:
            blocks.append(body[begin:k])
            begin, size = k, 0
        size += sizes[k]
        reach = max([reach, *(last.get(name, k) for name in _defined(stmt))])
    blocks.append(body[begin:])
    return Sections(tuple(blocks), _shared(blocks))


def _shared(blocks: Iterable[Block]) -> frozenset[Buffer]:
    home: dict[Buffer, int] = {}
    shared = set()
    for number, block in enumerate(blocks):
        for stmt in walk(block):
            for buffer in own_buffers(stmt):
                if home.setdefault(buffer, number) != number:
                    shared.add(buffer)
    return frozenset(shared)


def _defined(stmt: Stmt) -> Iterable[Expr | Var]:
    """Names that a statement makes known to those after it."""
    if isinstance(stmt, Let):
        return (stmt.local,)
    if isinstance(stmt, Declare):
        return (stmt.var,)
    if isinstance(stmt, Fold):
        return stmt.results
    return (stmt.result,) if isinstance(stmt, Call) and stmt.result is not None else ()


def _parts(stmt: Stmt) -> Iterable[Expr | Var]:
    """The expressions of a statement and of what is in it, and the variables that it uses."""
    seen: set[int] = set()
    for s in walk((stmt,)):
        for e in subexpressions(expressions(s), seen):
            yield e.var if type(e) is Read else e
        if isinstance(s, Assign):
            yield s.var
        elif isinstance(s, Fold):
            yield from s.vars
