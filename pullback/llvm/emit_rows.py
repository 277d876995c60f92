"""Short rows to LLVM text: a vector over rows for each place in a row, written as rows lie.

Stores of columns side by side are one run in memory.  The vectors are woven, by shuffles of two at
a time, into vectors of consecutive elements: `K - 1` of them for each where `K`, the length of a
row, is prime, and the sum of that over its prime factors otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pullback.llvm.emit_scopes import Instructions
from pullback.loops.ir import Stmt, Store

__all__ = ["is_row", "runs", "woven"]


def runs(stmts: Sequence[Stmt]) -> Iterator[list[Stmt]]:
    """Statements in order, those together that store to one buffer beside each other."""
    run: list[Stmt] = []
    for stmt in stmts:
        if run and not _beside(run[-1], stmt):
            yield run
            run = []
        run.append(stmt)
    if run:
        yield run


def _beside(first: Stmt, second: Stmt) -> bool:
    if type(first) is not Store or type(second) is not Store:
        return False
    same = first.buffer.root() is second.buffer.root()
    return same and first.offset.terms == second.offset.terms


def is_row(stores: Sequence[Store], stride: int | None) -> bool:
    """Whether stores at a stride write all places of a row, once each."""
    if stride != len(stores) or stride < 2:
        return False
    places = sorted(s.offset.const for s in stores)
    return places == list(range(places[0], places[0] + stride))


def woven(text: Instructions, columns: list[list[str]], scalar: str) -> list[str]:
    """The elements of columns, each a list of vectors, in the order of rows, as vectors."""
    count = len(columns)
    if count == 1:
        return columns[0]
    factor = next(f for f in range(2, count + 1) if count % f == 0)
    rest = count // factor
    parts = []
    for k in range(rest):
        together = zip(*(columns[k + rest * r] for r in range(factor)), strict=True)
        parts.append([v for vs in together for v in _weave(text, vs, scalar)])
    return woven(text, parts, scalar)


def _weave(text: Instructions, vectors: Sequence[str], scalar: str) -> Iterator[str]:
    """Vectors, a prime number of them, element by element."""
    count, lanes = len(vectors), text.lanes
    for start in range(0, count * lanes, lanes):
        wanted = [divmod(start + lane, count)[::-1] for lane in range(lanes)]
        yield text.pick(vectors, wanted, scalar)
