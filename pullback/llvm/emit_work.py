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

__all__ = ["ASLEEP", "AWAKE", "UNKNOWN_TURNS", "Work"]

UNKNOWN_TURNS: Final = 16
ALONE_NS: Final = 16_000.0
"""Work on one thread between two parallel parts during which workers stay awake."""
KERNELS: Final = ("pb_gemm_", "pb_row_", "pb_thin_", "pb_conv_")
"""Library functions that share large work among the threads themselves."""
LARGE_CALL_NS: Final = 6_000.0


class Share(NamedTuple):
    """Nanoseconds of work from which threads share it, and of what one takes at a time."""

    least: float
    chunk: float


ASLEEP: Final = Share(40_000.0, 10_000.0)
AWAKE: Final = Share(10_000.0, 1_000.0)


class Work:
    """Estimated nanoseconds of statements on one thread.

    Loops within loops ask again for what is inside of them, so that estimates are kept, with the
    statements they are of.
    """

    def __init__(self) -> None:
        self._known: dict[int, tuple[Stmt, float]] = {}

    def of_block(self, block: Block) -> float:
        """Of some statements."""
        return sum(map(self.of, block))

    def of(self, stmt: Stmt) -> float:
        """Of one statement."""
        found = self._known.get(id(stmt))
        if found is None:
            found = self._known[id(stmt)] = stmt, self._estimate(stmt)
        return found[1]

    def _estimate(self, stmt: Stmt) -> float:
        if isinstance(stmt, Loop):
            count = turns(stmt)
            each = stmt.work or self.of_block(stmt.body)
            return each * (UNKNOWN_TURNS if count is None else count)
        if isinstance(stmt, If):
            return max(self.of_block(stmt.then), self.of_block(stmt.otherwise))
        if isinstance(stmt, While):
            return UNKNOWN_TURNS * (self.of_block(stmt.before) + self.of_block(stmt.body))
        if isinstance(stmt, Call):
            return stmt.work
        if isinstance(stmt, Copy):
            return stmt.count * stmt.target.buffer.dtype.itemsize / 10
        return 0.3 * len(subexpressions(expressions(stmt)))

    def keeps_awake(self, body: Block) -> bool:
        """Whether workers that share the large parts of a loop's turn are awake in all of it."""
        shared, stretch, longest = False, 0.0, 0.0
        for work in [*map(self._alone, body)] * 2:  # the end of a turn, and the start of the next
            shared, stretch = (True, 0.0) if work is None else (shared, stretch + work)
            longest = max(longest, stretch)
        return shared and longest <= ALONE_NS

    def _alone(self, stmt: Stmt) -> float | None:
        """Of what one thread does, as far as is known; None if threads share it."""
        work = self.of(stmt)
        if isinstance(stmt, Loop) and stmt.parallel and turns(stmt) != 1:
            return None if work >= AWAKE.least else work
        if not isinstance(stmt, Call):
            return work
        if stmt.symbol.startswith(KERNELS):
            return None if work >= LARGE_CALL_NS or work == CALL_NS else work
        return ALONE_NS + work
