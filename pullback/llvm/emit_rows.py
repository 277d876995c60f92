"""Short rows to LLVM text: a vector over rows for each place in a row, written as rows lie.

Stores of columns side by side are one run in memory.  The vectors are woven, by shuffles of two at
a time, into vectors of consecutive elements: `K - 1` of them for each where `K`, the length of a
row, is prime, and the sum of that over its prime factors otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pullback.llvm.emit_scopes import Instructions
from pullback.llvm.emit_types import lanes_type
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


def woven(text: Instructions, columns: list[list[str]], scalar: str, lanes: int) -> list[str]:
    """The elements of columns, each a list of vectors, in the order of rows, as vectors."""
    count = len(columns)
    if count == 1:
        return columns[0]
    factor = next(f for f in range(2, count + 1) if count % f == 0)
    rest = count // factor
    parts = []
    for k in range(rest):
        together = zip(*(columns[k + rest * r] for r in range(factor)), strict=True)
        parts.append([v for vs in together for v in _weave(text, vs, scalar, lanes)])
    return woven(text, parts, scalar, lanes)


def _weave(text: Instructions, vectors: Sequence[str], scalar: str, lanes: int) -> Iterator[str]:
    """Vectors, a prime number of them, element by element."""
    count, t = len(vectors), lanes_type(scalar, lanes)
    for start in range(0, count * lanes, lanes):
        made = vectors[0]
        for k in range(1, count):
            order = []
            for lane in range(lanes):
                place, source = divmod(start + lane, count)
                if source > k:
                    order.append("i32 poison")
                elif source == k:
                    order.append(f"i32 {lanes + place}")
                else:
                    order.append(f"i32 {place if k == 1 else lane}")
            mask = f"<{lanes} x i32> <{', '.join(order)}>"
            made = text.put(f"shufflevector {t} {made}, {t} {vectors[k]}, {mask}")
        yield made
