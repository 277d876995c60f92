"""Products of a few rows with contiguous columns, as LLVM text: `pb_thin_T`, blocks of dot sums.

To turn such a matrix into rows would take as long as the product.  A block of rows and columns
shares what it loads, and its sums, one vector each, are added across their lanes at the end.  The
rows are copied if they are not contiguous themselves.
"""

from __future__ import annotations

from typing import Final

from pullback.llvm.entry_ir import Function, Value, i64
from pullback.llvm.gemm_rows import DOT_COLUMNS, Parts
from pullback.llvm.gemm_sums import FEW_SUMS
from pullback.llvm.scratch import Scratch
from pullback.ops.contractions import THIN

__all__ = ["Thin"]

ROWS: Final = 4
"""Rows of a block; fewer are computed as so many, of which some are the last one again."""
LENGTH: Final = 4096
"""Bytes of the rows of a block, at most, so that they stay in the first cache."""


class Thin(Parts):
    """Writes the products of few rows, of one element type."""

    kind = "thin"

    def write_kernels(self) -> None:
        name = f"pb_thin_{self.shape.name}"
        self.scratch = Scratch(self.m, name, THIN * self.thin_step)
        self.write_thin()

    def is_turned(self, f: Function, v: dict[str, Value]) -> Value:
        return f.op("or", f.compare("sgt", v["m"], THIN), f.compare("ne", v["rb"], 1))

    def least(self, f: Function, v: dict[str, Value]) -> Value:
        return i64(DOT_COLUMNS)

    def few_sums(self, f: Function, v: dict[str, Value]) -> Value:
        return i64(FEW_SUMS)

    def multiply(self, f: Function, v: dict[str, Value], whole: Value) -> None:
        names = ("a", "b", "c", "m", "n", "k", "ra", "ca", "cb", "rc", "cc")
        with self.scratch.held(f) as scratch:
            f.call("void", "thin", *(v[name] for name in names), scratch)

    def write_thin(self) -> None:
        """`thin(a, b, c, m, n, k, row_a, col_a, col_b, row_c, col_c, scratch)`, steps in elements.

        Columns of the result are in blocks from the first on, so that a tile that begins with a
        whole block has the bits of the whole.
        """
        s = self.shape
        f = self.m.function("thin", "void", *["ptr"] * 3, *["i64"] * 8, "ptr")
        a, b, c, m, n, k, row_a, col_a, col_b, row_c, col_c, scratch = f.parameters
        length = LENGTH // s.size
        lines, row = f.variable("ptr", a), f.variable("i64", f.op("mul", row_a, s.size))
        with f.loop(f.op("udiv", f.op("add", k, length - 1), length)) as q:
            first = f.op("mul", q, length)
            deep = self.smaller(f, f.op("sub", k, first), length)
            f.store(self.at(f, a, first, col_a), lines)
            with f.when(f.compare("ne", col_a, 1)):
                source = f.load("ptr", lines)
                with f.loop(m) as i, f.loop(deep) as t:
                    element = self.at(f, self.at(f, source, t, col_a), i, row_a)
                    place = self.item(f, f.at(scratch, f.op("mul", i, self.thin_step)), t)
                    f.store(f.load(s.type, element), place)
                f.store(scratch, lines)
                f.store(i64(self.thin_step), row)
            steps = f.op("mul", row_c, s.size), f.op("mul", col_c, s.size)
            left = f.load("ptr", lines), f.load("i64", row)
            columns = self.item(f, b, first), f.op("mul", col_b, s.size)
            f.call(
                "void", "thin_block", *left, m, *columns, n, deep, c, *steps, f.compare("sgt", q, 0)
            )
        f.ret()
        self.write_thin_block()

    @property
    def thin_step(self) -> int:
        """Bytes between copied rows, which do not compete for the same lines of a cache."""
        return LENGTH + self.shape.lanes * self.shape.size

    def write_thin_block(self) -> None:
        """`thin_block(a, row_a, m, b, col_b, n, k, c, row_c, col_c, add)`, steps in bytes."""
        types = ("ptr", "i64", "i64", "ptr", "i64", "i64", "i64", "ptr", "i64", "i64", "i1")
        f = self.m.function("thin_block", "void", *types)
        a, row_a, m, b, col_b, n, k, c, row_c, col_c, add = f.parameters
        together = min(self.sums_at_once // ROWS, self.shape.lanes)
        groups = f.op("udiv", n, together)
        rest = f.op("mul", groups, together)
        for start, count, width in ((i64(0), groups, together), (rest, f.op("sub", n, rest), 1)):
            with f.loop(count) as q, f.loop(f.op("udiv", f.op("add", m, ROWS - 1), ROWS)) as p:
                j, i = f.op("add", start, f.op("mul", q, width)), f.op("mul", p, ROWS)
                last = f.op("sub", m, 1)
                numbers = [self.smaller(f, f.op("add", i, r), last) for r in range(ROWS)]
                rows = [f.at(a, f.op("mul", number, row_a)) for number in numbers]
                columns = f.at(b, f.op("mul", j, col_b))
                sums = self.dot_sums(f, rows, columns, col_b, k, width)
                places = [
                    f.at(
                        f.at(c, f.op("mul", number, row_c)),
                        f.op("mul", f.op("add", j, column), col_c),
                    )
                    for number in numbers
                    for column in range(width)
                ]
                self.store_totals(f, sums, places, add)
        f.ret()

    def store_totals(self, f: Function, sums: list[Value], places: list[Value], add: Value) -> None:
        """Store the totals of vectors at their places, or add them to what is there.

        Of places that are the same all get the same, so that they are read before they are written.
        """
        s = self.shape
        each = min(len(sums), s.lanes)
        totals = []
        for first in range(0, len(sums), each):
            total = self.across(f, sums[first : first + each])
            lanes = range(0, s.lanes, s.lanes // each)
            totals += [f.value(s.type, f"extractelement {total}, i64 {k}") for k in lanes]
        olds = [f.variable(s.type, Value(s.type, "0.0")) for _ in sums]
        for old in olds:
            f.store(Value(s.type, "0.0"), old)
        with f.when(add):
            for place, old in zip(places, olds, strict=True):
                f.store(f.load(s.type, place), old)
        for total, place, old in zip(totals, places, olds, strict=True):
            now = f.load(s.type, old)
            f.store(f.value(s.type, f"fadd {total}, {now.text}"), place)
