"""What statements cost, by estimate, and which of them several threads share.

Between two parallel regions workers look out for work for a while before they sleep
(`llvm.pool`). In a loop whose turns have no long part for one thread they stay awake, and share
work that would not be worth waking them.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from pullback.llvm.emit_statements import turns
from pullback.loops.ir import (
    CALL_NS,
    Block,
    Call,
    Copy,
    If,
    Loop,
    Stmt,
    While,
    expressions,
    subexpressions,
)

__all__ = ["ASLEEP", "AWAKE", "UNKNOWN_TURNS", "block_work", "keeps_awake", "work_of"]

UNKNOWN_TURNS: Final = 16
ALONE_NS: Final = 16_000.0
"""Work on one thread between two parallel parts during which workers stay awake."""
KERNELS: Final = ("pb_gemm_", "pb_conv_")
"""Library functions that share large work among the threads themselves."""
LARGE_CALL_NS: Final = 6_000.0


class Share(NamedTuple):
    """Nanoseconds of work from which threads share it, and of what one takes at a time."""

    least: float
    chunk: float


ASLEEP: Final = Share(40_000.0, 10_000.0)
AWAKE: Final = Share(10_000.0, 1_000.0)


def block_work(block: Block) -> float:
    """Estimated nanoseconds of some statements."""
    return sum(map(work_of, block))


def work_of(stmt: Stmt) -> float:
    """Estimated nanoseconds on one thread."""
    if isinstance(stmt, Loop):
        count = turns(stmt)
        each = stmt.work or block_work(stmt.body)
        return each * (UNKNOWN_TURNS if count is None else count)
    if isinstance(stmt, If):
        return max(block_work(stmt.then), block_work(stmt.otherwise))
    if isinstance(stmt, While):
        return UNKNOWN_TURNS * (block_work(stmt.before) + block_work(stmt.body))
    if isinstance(stmt, Call):
        return stmt.work
    if isinstance(stmt, Copy):
        return stmt.count * stmt.target.buffer.dtype.itemsize / 10
    return 0.3 * sum(1 for _ in subexpressions(list(expressions(stmt))))


def keeps_awake(body: Block) -> bool:
    """Whether workers that share the large parts of a loop's turn are awake in all of it."""
    shared, stretch, longest = False, 0.0, 0.0
    for work in [*map(_alone, body)] * 2:  # the end of a turn, and the start of the next one
        shared, stretch = (True, 0.0) if work is None else (shared, stretch + work)
        longest = max(longest, stretch)
    return shared and longest <= ALONE_NS


def _alone(stmt: Stmt) -> float | None:
    """The work of a statement that one thread does, as far as is known; None if it is shared."""
    work = work_of(stmt)
    if isinstance(stmt, Loop) and stmt.parallel and turns(stmt) != 1:
        return None if work >= AWAKE.least else work
    if not isinstance(stmt, Call):
        return work
    if stmt.symbol.startswith(KERNELS):
        return None if work >= LARGE_CALL_NS or work == CALL_NS else work
    return ALONE_NS + work
