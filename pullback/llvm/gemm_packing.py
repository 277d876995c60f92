"""Packing for the matrix kernels: panels of the right operand, as wide as the register block.

A panel holds DEPTH rows or fewer, its width rounded up to whole vectors by zeros.  The operand has
strides (`pack`), or its element (k, j) lies at `by_k[k] + by_n[j]` (`gather`), as the windows of a
convolution do.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from pullback.llvm.entry_ir import Function, Module, Value, i32, i64
from pullback.llvm.squares import transposed

__all__ = ["DEPTH", "Packing", "Shape", "shape_of"]

DEPTH: Final = 256
"""Rows of the right operand that are packed at a time."""


@dataclass(frozen=True)
class Shape:
    """Register block of a machine: `rows` x (`vectors` x `lanes`) elements of `bits` bits."""

    name: str
    type: str
    size: int
    lanes: int
    rows: int
    vectors: int

    @property
    def vector(self) -> str:
        """The LLVM type of a vector."""
        return f"<{self.lanes} x {self.type}>"

    @property
    def width(self) -> int:
        """Columns of a full register block."""
        return self.lanes * self.vectors

    @property
    def tile_columns(self) -> int:
        """Columns of a large tile, whose packed block stays in the second cache.

        That is larger where vectors have 512 bits.
        """
        row_bytes = 4608 if self.lanes * self.size == 64 else 2304
        return self.width * (row_bytes // self.size // self.width)


def shape_of(name: str, vector_bits: int) -> Shape:
    """The register block for elements `f32` or `f64` on a machine with such vectors."""
    size = {"f32": 4, "f64": 8}[name]
    rows, vectors = (8, 3) if vector_bits == 512 else (6, 2) if vector_bits == 256 else (8, 2)
    kind = {"f32": "float", "f64": "double"}[name]
    return Shape(name, kind, size, vector_bits // 8 // size, rows, vectors)


class Packing:
    """Writes the packing functions of one element type, and what all functions share.

    With `windows`, an operand may be the windows of a convolution, by tables.
    """

    def __init__(self, shape: Shape, windows: bool = True) -> None:
        self.shape, self.windows, self.m = shape, windows, Module()
        self.zero = Value(shape.vector, "zeroinitializer")

    def write_packing(self) -> None:
        """All functions of this module."""
        self.write_transpose()
        self.write_pack()
        self.write_pack_rows()
        self.write_gather_square()
        self.write_runs()
        self.write_gather()
        self.write_pack_sliver()
        self.write_sliver()

    def item(self, f: Function, base: Value, index: Value | int) -> Value:
        return f.item(base, index, self.shape.size)

    def at(self, f: Function, base: Value, i: Value, stride: Value) -> Value:
        """The address of element `i` of an array with such a stride."""
        return self.item(f, base, f.op("mul", i, stride))

    def load_vector(self, f: Function, base: Value) -> Value:
        kind = self.shape.vector
        return f.value(kind, f"load {kind}, {base}, align {self.shape.size}")

    def store_vector(self, f: Function, value: Value, base: Value) -> None:
        f.emit(f"store {value}, {base}, align {self.shape.size}")

    def first_lanes(self, f: Function, count: Value) -> Value:
        """Which lanes are among the first `count`."""
        return f.first_lanes(count, self.shape.lanes)

    def load_lanes(self, f: Function, base: Value, mask: Value | None) -> Value:
        """A vector, with zeros in lanes that are not in the mask."""
        if mask is None:
            return self.load_vector(f, base)
        name = f"llvm.masked.load.{self.suffix}.p0"
        types = ("ptr", mask.type, self.shape.vector)
        self.m.declare(name, self.shape.vector, types)
        place = f"ptr align {self.shape.size} {base.text}"
        return f.value(
            self.shape.vector, f"call {self.shape.vector} @{name}({place}, {mask}, {self.zero})"
        )

    def store_lanes(self, f: Function, value: Value, base: Value, mask: Value | None) -> None:
        """Write a vector, or its lanes in the mask."""
        if mask is None:
            self.store_vector(f, value, base)
            return
        name = f"llvm.masked.store.{self.suffix}.p0"
        self.m.declare(name, "void", (value.type, "ptr", mask.type))
        place = f"ptr align {self.shape.size} {base.text}"
        f.emit(f"call void @{name}({value}, {place}, {mask})")

    @property
    def suffix(self) -> str:
        """How intrinsics' names spell the vectors."""
        return f"v{self.shape.lanes}f{8 * self.shape.size}"

    def splat(self, f: Function, scalar: Value) -> Value:
        return f.splat(scalar, self.shape.lanes)

    def fma(self, f: Function, a: Value, b: Value, c: Value) -> Value:
        return f.call(self.shape.vector, f"llvm.fma.{self.suffix}", a, b, c)

    def plus(self, f: Function, a: Value, b: Value) -> Value:
        return f.value(a.type, f"fadd {a}, {b.text}")

    def places(
        self, f: Function, c: Value, row_c: Value, rows: int, vectors: int
    ) -> list[list[Value]]:
        """The addresses of the vectors of a block of the result, row by row."""
        lines = [c]
        for _ in range(rows - 1):
            lines.append(f.at(lines[-1], row_c))
        step = self.shape.lanes * self.shape.size
        return [[f.at(line, v * step) for v in range(vectors)] for line in lines]

    def new_sums(self, f: Function, rows: int, vectors: int) -> list[list[Value]]:
        """A register block of zeros."""
        kind = self.shape.vector
        return [[f.variable(kind, self.zero) for _ in range(vectors)] for _ in range(rows)]

    def multiply_add(
        self, f: Function, left: Iterable[Value], right: list[Value], sums: list[list[Value]]
    ) -> None:
        """The sums of a row grow by its left vector times each right one.

        `left` is iterated as it is used, so that what loads a vector stands before its products.
        """
        for factor, slots in zip(left, sums, strict=True):
            for vector, slot in zip(right, slots, strict=True):
                now = f.load(self.shape.vector, slot)
                f.store(self.fma(f, factor, vector, now), slot)

    def write_sums(
        self, f: Function, places: list[list[Value]], sums: list[list[Value]], add: Value
    ) -> None:
        """Store a register block, or add it to what is there."""
        pairs = [pair for row in zip(places, sums, strict=True) for pair in zip(*row, strict=True)]
        with f.when(add):
            for place, slot in pairs:
                now = f.load(self.shape.vector, slot)
                f.store(self.plus(f, now, self.load_vector(f, place)), slot)
        for place, slot in pairs:
            self.store_vector(f, f.load(self.shape.vector, slot), place)

    def smaller(self, f: Function, a: Value, b: Value | int) -> Value:
        b = i64(b) if isinstance(b, int) else b
        return f.select(f.compare("slt", a, b), a, b)

    def prefetch(self, f: Function, place: Value) -> None:
        """Ask for the cache line of an address, which need not exist."""
        f.call("void", "llvm.prefetch.p0", place, i32(0), i32(3), i32(1))

    def write_transpose(self) -> None:
        """`transpose(dst, step, src, row, count, depth)`: a square of `lanes` columns of b.

        Column j of b is contiguous at `src + j row` (bytes); row k of the square goes to
        `dst + k step`.  `count` columns exist, the others are zero; `depth` rows are written.
        """
        s, f = (
            self.shape,
            self.m.function("transpose", "void", "ptr", "i64", "ptr", "i64", "i64", "i64"),
        )
        dst, step, src, row, count, depth = f.parameters
        kind = f"[{s.lanes} x {s.vector}]"
        square = f.variable(kind, Value(kind, "zeroinitializer"))
        full = f.compare("eq", depth, s.lanes)
        with f.loop(count) as j:
            line = f.at(src, f.op("mul", j, row))
            place = f.item(square, j, s.lanes * s.size)
            with f.when(full):
                self.store_vector(f, self.load_vector(f, line), place)
            with f.when(f.compare("ne", depth, s.lanes)), f.loop(depth) as k:
                f.store(f.load(s.type, self.item(f, line, k)), self.item(f, place, k))
        rows = [self.load_vector(f, f.at(square, j * s.lanes * s.size)) for j in range(s.lanes)]
        rows = transposed(f, rows)
        for line_index, vector in enumerate(rows):
            after, more = f.new_label(), f.compare("sgt", depth, line_index)
            f.goto_unless(more, after)
            self.store_vector(f, vector, f.at(dst, f.op("mul", step, line_index)))
            f.label(after)
        f.ret()

    def write_pack(self) -> None:
        """`pack(dst, step, src, row_b, col_b, k, columns)`: a panel, its rows `step` bytes apart.

        Its width is rounded up to whole vectors.
        """
        s = self.shape
        f = self.m.function("pack", "void", "ptr", "i64", "ptr", *["i64"] * 4)
        dst, step, src, row_b, col_b, k, columns = f.parameters
        whole = f.op("udiv", columns, s.lanes)
        rest = f.op("urem", columns, s.lanes)
        vectors = f.op("udiv", f.op("add", columns, s.lanes - 1), s.lanes)
        by_column, done, mask = f.new_label(), f.new_label(), self.first_lanes(f, rest)
        f.goto_if(f.compare("ne", col_b, 1), by_column)
        with f.loop(k) as i:
            line, out = self.at(f, src, i, row_b), f.at(dst, f.op("mul", i, step))
            with f.loop(whole) as v:
                offset = f.op("mul", v, s.lanes * s.size)
                self.store_vector(f, self.load_vector(f, f.at(line, offset)), f.at(out, offset))
            with f.when(f.compare("ne", rest, 0)):
                offset = f.op("mul", whole, s.lanes * s.size)
                self.store_vector(
                    f, self.load_lanes(f, f.at(line, offset), mask), f.at(out, offset)
                )
        f.goto(done)
        f.label(by_column)
        squares = f.op("udiv", f.op("add", k, s.lanes - 1), s.lanes)
        with f.loop(vectors) as v, f.loop(squares) as q:
            first = f.op("mul", q, s.lanes)
            column = f.op("mul", v, s.lanes)
            corner = self.at(f, self.item(f, src, f.op("mul", first, row_b)), column, col_b)
            out = f.at(f.at(dst, f.op("mul", first, step)), f.op("mul", column, s.size))
            depth = self.smaller(f, f.op("sub", k, first), s.lanes)
            count = self.smaller(f, f.op("sub", columns, column), s.lanes)
            f.call("void", "transpose", out, step, corner, f.op("mul", col_b, s.size), count, depth)
        f.label(done)
        f.ret()

    @property
    def panel_bytes(self) -> int:
        """Bytes of a full panel."""
        return DEPTH * self.shape.width * self.shape.size

    def write_pack_rows(self) -> None:
        """`pack_rows(dst, src, row_b, k, panels)`: full panels of contiguous rows, row by row."""
        s = self.shape
        f = self.m.function("pack_rows", "void", "ptr", "ptr", "i64", "i64", "i64")
        dst, src, row_b, k, panels = f.parameters
        step = s.lanes * s.size
        with f.loop(k) as i:
            line, out = self.at(f, src, i, row_b), f.at(dst, f.op("mul", i, s.vectors * step))
            with f.loop(panels) as p:
                source = f.at(line, f.op("mul", p, s.vectors * step))
                target = f.at(out, f.op("mul", p, self.panel_bytes))
                for v in range(s.vectors):
                    self.store_vector(
                        f, self.load_vector(f, f.at(source, v * step)), f.at(target, v * step)
                    )
        f.ret()

    # ------------------------------------------------------------------------------ gathering

    def follows(self, f: Function, at: Value, run: int, count: int) -> Value:
        """Whether `count` offsets at `at` are runs of `run` neighbours."""
        kind = f"<{count} x i32>"
        offsets = f.value(kind, f"load {kind}, {at}, align 4")
        heads = ", ".join(f"i32 {i - i % run}" for i in range(count))
        first = f.value(kind, f"shufflevector {offsets}, {kind} poison, <{count} x i32> <{heads}>")
        steps = ", ".join(f"i32 {i % run}" for i in range(count))
        expected = f.value(kind, f"add {first}, <{steps}>")
        same = f.value(f"<{count} x i1>", f"icmp eq {offsets}, {expected.text}")
        name = f"llvm.vector.reduce.and.v{count}i1"
        return f.call("i1", name, same)

    def offset(self, f: Function, table: Value, index: Value | int) -> Value:
        return f.convert("sext", f.load("i32", f.item(table, index, 4)), "i64")

    def run_lengths(self) -> list[int]:
        """Lengths of the pieces in which a vector may be loaded, longest first."""
        n = self.shape.lanes
        return [r for r in (n, n // 2, n // 4) if r >= 2]

    def write_gather_square(self) -> None:
        """`gather_square(dst, step, src, by_k, by_n, count)`: a square whose rows k are in runs.

        The runs are as long as half a vector: what is contiguous is loaded, and then transposed.
        """
        s, half = self.shape, self.shape.lanes // 2
        types = ("ptr", "i64", "ptr", "ptr", "ptr", "i64")
        f = self.m.function("gather_square", "void", *types)
        dst, step, src, by_k, by_n, count = f.parameters
        starts = [f.op("mul", self.offset(f, by_k, h * half), s.size) for h in (0, 1)]
        rows = []
        for j in range(s.lanes):
            # Beyond the last column the first one is read again; nobody looks at those columns.
            column = f.select(f.compare("sgt", count, j), i64(j), i64(0))
            base = self.item(f, src, self.offset(f, by_n, column))
            rows.append(self.joined(f, [f.at(base, start) for start in starts], half))
        for k, vector in enumerate(transposed(f, rows)):
            self.store_vector(f, vector, f.at(dst, f.op("mul", step, k)))
        f.ret()

    def joined(self, f: Function, places: list[Value], half: int) -> Value:
        """A vector from its two halves in memory."""
        s = self.shape
        piece = f"<{half} x {s.type}>"
        halves = [f.value(piece, f"load {piece}, {at}, align {s.size}") for at in places]
        mask = ", ".join(f"i32 {i}" for i in range(2 * half))
        return f.value(
            s.vector, f"shufflevector {halves[0]}, {halves[1]}, <{2 * half} x i32> <{mask}>"
        )

    def write_runs(self) -> None:
        """`runs_R(dst, step, src, by_k, by_n, depth)`: one vector of columns, in runs of R."""
        s = self.shape
        for run in self.run_lengths():
            types = ("ptr", "i64", "ptr", "ptr", "ptr", "i64")
            f = self.m.function(f"runs_{run}", "void", *types)
            dst, step, src, by_k, by_n, depth = f.parameters
            piece = f"<{run} x {s.type}>"
            bases = [
                self.item(f, src, self.offset(f, by_n, h * run)) for h in range(s.lanes // run)
            ]
            with f.loop(depth) as k:
                offset = f.op("mul", self.offset(f, by_k, k), s.size)
                out = f.at(dst, f.op("mul", step, k))
                for h, base in enumerate(bases):
                    value = f.value(piece, f"load {piece}, {f.at(base, offset)}, align {s.size}")
                    f.emit(f"store {value}, {f.at(out, h * run * s.size)}, align {s.size}")
            f.ret()

    def write_gather(self) -> None:
        """`gather(dst, src, by_k, by_n, k, columns)`: a panel from 32-bit offsets in elements."""
        s = self.shape
        f = self.m.function("gather", "void", "ptr", "ptr", "ptr", "ptr", "i64", "i64")
        dst, src, by_k, by_n, k, columns = f.parameters
        vectors = f.op("udiv", f.op("add", columns, s.lanes - 1), s.lanes)
        step = f.op("mul", vectors, s.lanes * s.size)
        with f.loop(vectors) as v:
            first, after, squares = f.op("mul", v, s.lanes), f.new_label(), f.new_label()
            count = self.smaller(f, f.op("sub", columns, first), s.lanes)
            table, out = f.item(by_n, first, 4), self.item(f, dst, first)
            f.goto_if(f.compare("ne", count, s.lanes), squares)
            for run in self.run_lengths():
                other = f.new_label()
                f.goto_unless(self.follows(f, table, run, s.lanes), other)
                f.call("void", f"runs_{run}", out, step, src, by_k, table, k)
                f.goto(after)
                f.label(other)
            f.label(squares)
            self.gather_squares(f, out, step, src, by_k, table, k, count)
            f.label(after)
        f.ret()

    def gather_squares(
        self,
        f: Function,
        out: Value,
        step: Value,
        src: Value,
        by_k: Value,
        by_n: Value,
        k: Value,
        count: Value,
    ) -> None:
        """A vector of columns by squares where rows are in runs, and else one by one."""
        s, half = self.shape, self.shape.lanes // 2
        with f.loop(f.op("udiv", f.op("add", k, s.lanes - 1), s.lanes)) as q:
            first, single, done = f.op("mul", q, s.lanes), f.new_label(), f.new_label()
            depth = self.smaller(f, f.op("sub", k, first), s.lanes)
            rows, place = f.item(by_k, first, 4), f.at(out, f.op("mul", first, step))
            f.goto_if(f.compare("ne", depth, s.lanes), single)
            f.goto_unless(self.follows(f, rows, half, s.lanes), single)
            f.call("void", "gather_square", place, step, src, rows, by_n, count)
            f.goto(done)
            f.label(single)
            with f.loop(depth) as i:
                line = f.at(place, f.op("mul", step, i))
                base = self.item(f, src, self.offset(f, rows, i))
                scattered, next_row = f.new_label(), f.new_label()
                f.goto_if(f.compare("eq", count, s.lanes), scattered)
                self.store_vector(f, self.zero, line)
                with f.loop(count) as j:
                    value = f.load(s.type, self.item(f, base, self.offset(f, by_n, j)))
                    f.store(value, self.item(f, line, j))
                f.goto(next_row)
                f.label(scattered)
                self.store_vector(f, self.gathered(f, base, by_n), line)
                f.label(next_row)
            f.label(done)

    def gathered(self, f: Function, base: Value, by_n: Value) -> Value:
        """A vector of elements at the offsets in a table."""
        s = self.shape
        kinds = f"<{s.lanes} x i32>", f"<{s.lanes} x ptr>", f"<{s.lanes} x i1>"
        offsets = f.value(kinds[0], f"load {kinds[0]}, {by_n}, align 4")
        places = f.value(kinds[1], f"getelementptr {s.type}, {base}, {offsets}")
        every = Value(kinds[2], "splat (i1 true)")
        name = f"llvm.masked.gather.v{s.lanes}f{8 * s.size}.v{s.lanes}p0"
        return f.call(s.vector, name, places, Value("i32", str(s.size)), every, self.zero)

    @property
    def sliver_step(self) -> int:
        """Bytes between the rows of a gathered sliver; a little more than DEPTH elements, so that
        the rows do not compete for the same lines of a cache."""
        return (DEPTH + self.shape.lanes) * self.shape.size

    def sliver_steps(self, by_columns: bool) -> tuple[int, int]:
        """Bytes between the rows, and between the columns, of a packed sliver."""
        s = self.shape
        return (s.size, s.rows * s.size) if by_columns else (self.sliver_step, s.size)

    def write_pack_sliver(self) -> None:
        """`pack_sliver(dst, src, row_a, col_a, rows, depth)`: rows of the left operand.

        By rows where their elements are neighbours, and else by columns.
        """
        s = self.shape
        f = self.m.function("pack_sliver", "void", "ptr", "ptr", "i64", "i64", "i64", "i64")
        dst, src, row_a, col_a, rows, depth = f.parameters
        by_column, by_element = f.new_label(), f.new_label()
        f.goto_if(f.compare("ne", col_a, 1), by_column)
        whole, rest = f.op("udiv", depth, s.lanes), f.op("urem", depth, s.lanes)
        start = f.op("mul", whole, s.lanes)
        with f.loop(rows) as i:
            line, out = self.at(f, src, i, row_a), f.at(dst, f.op("mul", i, self.sliver_step))
            with f.loop(whole) as v:
                offset = f.op("mul", v, s.lanes * s.size)
                self.store_vector(f, self.load_vector(f, f.at(line, offset)), f.at(out, offset))
            with f.loop(rest) as k:
                spot = f.op("add", start, k)
                f.store(f.load(s.type, self.item(f, line, spot)), self.item(f, out, spot))
        f.ret()
        f.label(by_column)
        row_step, step = self.sliver_steps(True)
        f.goto_if(f.compare("ne", row_a, 1), by_element)
        f.goto_if(f.compare("ne", rows, s.rows), by_element)
        column = f"<{s.rows} x {s.type}>"
        with f.loop(depth) as k:
            value = f.value(column, f"load {column}, {self.at(f, src, k, col_a)}, align {s.size}")
            f.emit(f"store {value}, {f.at(dst, f.op('mul', k, step))}, align {s.size}")
        f.ret()
        f.label(by_element)
        with f.loop(depth) as k, f.loop(rows) as i:
            element = f.load(s.type, self.at(f, self.at(f, src, k, col_a), i, row_a))
            f.store(element, f.at(f.at(dst, f.op("mul", k, step)), f.op("mul", i, row_step)))
        f.ret()

    def write_sliver(self) -> None:
        """`sliver(dst, src, by_m, by_k, rows, depth)`: rows of the left operand from offsets.

        Element (i, k) goes to `i * sliver_step + k * size` (bytes); rows that do not exist repeat
        the first one.  Where the elements of the rows are in runs, vectors are copied.
        """
        s = self.shape
        f = self.m.function("sliver", "void", "ptr", "ptr", "ptr", "ptr", "i64", "i64")
        dst, src, by_m, by_k, rows, depth = f.parameters
        bases = []
        for i in range(s.rows):
            row = f.select(f.compare("sgt", rows, i), i64(i), i64(0))
            bases.append(self.item(f, src, self.offset(f, by_m, row)))
        with f.loop(f.op("udiv", f.op("add", depth, s.lanes - 1), s.lanes)) as q:
            first, single, done = f.op("mul", q, s.lanes), f.new_label(), f.new_label()
            count = self.smaller(f, f.op("sub", depth, first), s.lanes)
            table, place = f.item(by_k, first, 4), self.item(f, dst, first)
            f.goto_if(f.compare("ne", count, s.lanes), single)
            f.goto_unless(self.follows(f, table, s.lanes, s.lanes), single)
            start = f.op("mul", self.offset(f, table, 0), s.size)
            for i, base in enumerate(bases):
                value = self.load_vector(f, f.at(base, start))
                self.store_vector(f, value, f.at(place, i * self.sliver_step))
            f.goto(done)
            f.label(single)
            with f.loop(count) as k:
                start = f.op("mul", self.offset(f, table, k), s.size)
                line = self.item(f, place, k)
                for i, base in enumerate(bases):
                    f.store(f.load(s.type, base, start), line, i * self.sliver_step)
            f.label(done)
        f.ret()
