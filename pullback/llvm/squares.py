"""Squares of vectors in registers, transposed, for all kernels that turn rows into lanes."""

from __future__ import annotations

from collections.abc import Sequence

from pullback.llvm.entry_ir import Function, Value

__all__ = ["transposed"]


def transposed(f: Function, rows: Sequence[Value], parts: int = 1) -> list[Value]:
    """The columns of a square of vectors, by rounds of interleaving halves.

    An element is `parts` neighbours in its vector: two where the numbers are complex.
    """
    n, found = len(rows), list(rows)
    for _ in range(n.bit_length() - 1):
        mixed: list[Value] = []
        for x, y in zip(found[: n // 2], found[n // 2 :], strict=True):
            for half in (0, n // 2):
                picks = [k + half + side * n for k in range(n // 2) for side in (0, 1)]
                mask = ", ".join(f"i32 {parts * p + part}" for p in picks for part in range(parts))
                mixed.append(
                    f.value(x.type, f"shufflevector {x}, {y}, <{n * parts} x i32> <{mask}>")
                )
        found = mixed
    return found
