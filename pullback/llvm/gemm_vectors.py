"""Matrix times vector: the kernels where one side of a product is a single row.

What is read once cannot be packed to advantage.  A matrix with contiguous columns is a dot product
a column (`dots`); one with contiguous rows is a sum of rows, whose sums stay in registers where
they are few (`narrow`), and else in the result (`long_row`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pullback.llvm.entry_ir import Function, Value
from pullback.llvm.gemm_packing import Packing

__all__ = ["NARROW", "Vectors"]

NARROW: Final = 4
"""Vectors of a result whose sums stay in registers."""
CHAINS: Final = 4
"""Sums of one element that do not wait for one another."""
COLUMNS: Final = 8
"""Columns that are read at once, at most: the lines of more, at steps of a power of two, push one
another out of the first cache before they are read."""
TOGETHER: Final = 8
"""Rows that are added to a long result in one sweep."""


class Vectors(Packing):
    """Writes the products of one row, of one element type."""

    def write_vectors(self) -> None:
        """All functions of this module."""
        self.write_dots()
        for vectors in range(1, NARROW + 1):
            self.write_narrow(vectors)
        self.write_long_row()
        self.write_row()

    # ------------------------------------------------------------------------------ sums

    def sum_of(self, f: Function, terms: Sequence[Value]) -> Value:
        """The sum of vectors, pairwise."""
        while len(terms) > 1:
            pairs = zip(terms[::2], terms[1::2], strict=True)
            terms = [f.value(x.type, f"fadd {x}, {y.text}") for x, y in pairs]
        return terms[0]

    # ------------------------------------------------------------------------------ dot products

    def write_dots(self) -> None:
        """`dots(x, b, col_b, y, k, n)`: y[j] = x . column j of b; col_b is in bytes."""
        f = self.m.function("dots", "void", "ptr", "ptr", "i64", "ptr", "i64", "i64")
        x, b, col_b, y, k, n = f.parameters
        together = min(COLUMNS, self.shape.lanes)
        groups = f.op("udiv", n, together)
        rest = f.op("mul", groups, together)
        for first, count, width in (
            (None, groups, together),
            (rest, f.op("sub", n, rest), 1),
        ):
            with f.loop(count) as q:
                j = f.op("mul", q, width) if first is None else f.op("add", first, q)
                columns = f.at(b, f.op("mul", j, col_b))
                self.dot_group(f, x, columns, col_b, self.item(f, y, j), k, width)
        f.ret()

    def dot_group(
        self, f: Function, x: Value, b: Value, col_b: Value, y: Value, k: Value, count: int
    ) -> None:
        """One column, or some: their sums become lanes of one vector."""
        s = self.shape
        total = self.across(f, self.dot_sums(f, [x], b, col_b, k, count))
        lanes = range(0, s.lanes, s.lanes // count)
        kind, mask = f"<{count} x {s.type}>", ", ".join(f"i32 {lane}" for lane in lanes)
        first = f"shufflevector {total}, {s.vector} poison, <{count} x i32> <{mask}>"
        f.emit(f"store {f.value(kind, first)}, {y}, align {s.size}")

    @property
    def sums_at_once(self) -> int:
        """Vectors of sums that stay in registers, of which they are half."""
        return 16 if self.shape.lanes * self.shape.size == 64 else 8

    def dot_sums(
        self, f: Function, rows: Sequence[Value], b: Value, col_b: Value, k: Value, count: int
    ) -> list[Value]:
        """Vectors whose lanes add up to an element of the result: rows times columns, in order."""
        s = self.shape
        chains = max(1, min(CHAINS, self.sums_at_once // (len(rows) * count)))
        columns = [b]
        for _ in range(count - 1):
            columns.append(f.at(columns[-1], col_b))
        sums = self.new_sums(f, len(rows) * count, chains)
        for group in sums:  # the slots are in the entry block: clear them in every turn
            for slot in group:
                f.store(self.zero, slot)

        def add(at: Value, chain: int, mask: Value | None = None) -> None:
            left = [self.load_lanes(f, f.at(row, at), mask) for row in rows]
            for j, column in enumerate(columns):
                right = self.load_lanes(f, f.at(column, at), mask)
                slots = (group[chain] for group in sums[j::count])
                for factor, slot in zip(left, slots, strict=True):
                    f.store(self.fma(f, factor, right, f.load(s.vector, slot)), slot)

        step = s.lanes * s.size
        turns = f.op("udiv", k, s.lanes * chains)
        with f.loop(turns) as q:
            start = f.op("mul", q, step * chains)
            for u in range(chains):
                add(f.op("add", start, u * step), u)
        done, vectors = f.op("mul", turns, chains), f.op("udiv", k, s.lanes)
        if chains > 1:
            with f.loop(f.op("sub", vectors, done)) as q:
                add(f.op("mul", f.op("add", done, q), step), 0)
        rest = f.op("urem", k, s.lanes)
        with f.when(f.compare("ne", rest, 0)):
            add(f.op("mul", vectors, step), 0, self.first_lanes(f, rest))
        return [self.sum_of(f, [f.load(s.vector, slot) for slot in group]) for group in sums]

    def across(self, f: Function, rows: Sequence[Value]) -> Value:
        """The sums of the lanes of some vectors, each as often in one as there are lanes for it.

        The halves of a vector are added, then their halves, of two vectors at once as long as there
        are several.
        """
        t, n = self.shape.vector, self.shape.lanes
        masks = [
            ", ".join(f"i32 {start + k}, i32 {n + start + k}" for k in range(n // 2))
            for start in (0, n // 2)
        ]
        for _ in range(n.bit_length() - 1):
            middle = len(rows) // 2
            pairs = zip(rows[:middle], rows[middle:], strict=True) if middle else [(rows[0],) * 2]
            rows = [
                self.sum_of(
                    f,
                    [f.value(t, f"shufflevector {x}, {y}, <{n} x i32> <{m}>") for m in masks],
                )
                for x, y in pairs
            ]
        return rows[0]

    # ------------------------------------------------------------------------------ sums of rows

    def write_narrow(self, vectors: int) -> None:
        """`narrow_V(a, col_a, b, row_b, k, c, n)`: one row times rows of that many vectors.

        The last vector of a row begins earlier if it is not whole; a row of less than one vector is
        read and written in part.  col_a and row_b are in bytes.
        """
        s = self.shape
        types = ("ptr", "i64", "ptr", "i64", "i64", "ptr", "i64")
        f = self.m.function(f"narrow_{vectors}", "void", *types)
        a, col_a, b, row_b, k, c, n = f.parameters
        mask = self.first_lanes(f, n) if vectors == 1 else None
        last = f.op("mul", f.op("sub", n, s.lanes), s.size)
        steps = [v * s.lanes * s.size for v in range(vectors - 1)]
        sums = self.new_sums(f, vectors, CHAINS)

        def at(base: Value, v: int) -> Value:
            if vectors == 1:
                return base
            return f.at(base, last) if v == vectors - 1 else f.at(base, steps[v])

        def add(row: Value, chain: int) -> None:
            factor = self.splat(f, f.load(s.type, a, f.op("mul", row, col_a)))
            line = f.at(b, f.op("mul", row, row_b))
            for v, group in enumerate(sums):
                element = self.load_lanes(f, at(line, v), mask)
                f.store(self.fma(f, factor, element, f.load(s.vector, group[chain])), group[chain])

        turns = f.op("udiv", k, CHAINS)
        with f.loop(turns) as q:
            first = f.op("mul", q, CHAINS)
            for u in range(CHAINS):
                add(f.op("add", first, u), u)
        done = f.op("mul", turns, CHAINS)
        with f.loop(f.op("urem", k, CHAINS)) as r:
            add(f.op("add", done, r), 0)
        for v, group in enumerate(sums):
            total = self.sum_of(f, [f.load(s.vector, slot) for slot in group])
            self.store_lanes(f, total, at(c, v), mask)
        f.ret()

    def write_row(self) -> None:
        """`row(a, col_a, b, row_b, k, c, n)`: one row times a matrix with contiguous rows."""
        f = self.m.function("row", "void", "ptr", "i64", "ptr", "i64", "i64", "ptr", "i64")
        for count in range(1, NARROW + 1):
            with f.when(f.compare("sle", f.parameters[-1], count * self.shape.lanes)):
                f.call("void", f"narrow_{count}", *f.parameters)
                f.ret()
        f.call("void", "long_row", *f.parameters)
        f.ret()

    def write_long_row(self) -> None:
        """`long_row(...)`, as `row`, of a long result or a part of it.

        Several rows of the matrix are read in one sweep over the result.
        """
        s = self.shape
        f = self.m.function("long_row", "void", "ptr", "i64", "ptr", "i64", "i64", "ptr", "i64")
        a, col_a, b, row_b, k, c, n = f.parameters
        vectors = f.op("udiv", n, s.lanes)
        with f.loop(vectors) as v:
            self.store_vector(f, self.zero, f.item(c, v, s.lanes * s.size))
        whole = f.op("udiv", k, TOGETHER)
        with f.loop(whole) as q:
            first = f.op("mul", q, TOGETHER)
            self.row_sweep(f, a, col_a, b, row_b, first, c, vectors, TOGETHER)
        start = f.op("mul", whole, TOGETHER)
        with f.loop(f.op("urem", k, TOGETHER)) as r:
            self.row_sweep(f, a, col_a, b, row_b, f.op("add", start, r), c, vectors, 1)
        rest, done = f.op("urem", n, s.lanes), f.op("mul", vectors, s.lanes)
        with f.when(f.compare("ne", rest, 0)):
            right, out = self.item(f, b, done), self.item(f, c, done)
            f.call("void", "narrow_1", a, col_a, right, row_b, k, out, rest)
        f.ret()

    def row_sweep(
        self,
        f: Function,
        a: Value,
        col_a: Value,
        b: Value,
        row_b: Value,
        first: Value,
        c: Value,
        vectors: Value,
        count: int,
    ) -> None:
        """Add `count` rows of b, each times its element of a, to c."""
        s = self.shape
        at = f.at(a, f.op("mul", first, col_a))
        factors = [self.splat(f, f.load(s.type, at, f.op("mul", col_a, r))) for r in range(count)]
        lines = [f.at(b, f.op("mul", first, row_b))]
        for _ in range(count - 1):
            lines.append(f.at(lines[-1], row_b))
        with f.loop(vectors) as v:
            offset = f.op("mul", v, s.lanes * s.size)
            place = f.at(c, offset)
            total = self.load_vector(f, place)
            for line, factor in zip(lines, factors, strict=True):
                total = self.fma(f, factor, self.load_vector(f, f.at(line, offset)), total)
            self.store_vector(f, total, place)
