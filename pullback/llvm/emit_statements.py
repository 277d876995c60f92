"""Statements to LLVM text: stores, loops, branches, calls.

A vector loop takes steps of `width` lanes.  If the extent is no multiple of the width, its last
step begins earlier and repeats some lanes, which stores of pure values allow; reductions ignore the
repeated lanes, and stores in place are masked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from pullback.core.lowering import CALLBACK
from pullback.errors import LoweringError
from pullback.llvm import emit_operations as operations
from pullback.llvm import emit_rows, float_mode
from pullback.llvm.emit_memory import MemoryWriter, storage_bytes
from pullback.llvm.emit_scopes import Instructions, Scope, Value
from pullback.llvm.emit_types import lanes_type, register_type, storage_type
from pullback.loops.expr import Affine, Expr, Op
from pullback.loops.ir import (
    Address,
    Assign,
    Block,
    Buffer,
    Call,
    Copy,
    Declare,
    Fold,
    If,
    Let,
    Loop,
    Poll,
    Reference,
    Stmt,
    Store,
    Swap,
    While,
    expressions,
    subexpressions,
    walk,
)
from pullback.loops.memory import written

__all__ = ["StatementWriter", "turns"]

UNROLL_TURNS: Final = 8
UNROLL_SIZE: Final = 96
PARALLEL_COPY_BYTES: Final = 1 << 20
"""What is copied at once from this size on is more than a core's own cache holds."""


def turns(loop: Loop) -> int | None:
    """How many steps a loop takes, if that is known."""
    return -(-loop.extent.const // loop.width) if loop.extent.is_const else None


class StatementWriter(MemoryWriter):
    """Writes the statements of one function."""

    def block(self, stmts: Sequence[Stmt]) -> None:
        """Statements in order."""
        if self.lanes == 1 or self.store_mask is not None:
            for stmt in stmts:
                self.statement(stmt)
            return
        for run in emit_rows.runs(stmts):
            stores = [s for s in run if isinstance(s, Store)]
            if stores and emit_rows.is_row(stores, self.stride(stores[0].offset)):
                self._store_rows(stores)
                continue
            for stmt in run:
                self.statement(stmt)

    def statement(self, stmt: Stmt) -> None:
        """One statement."""
        _WRITERS[type(stmt)](self, stmt)

    # ---------------------------------------------------------------- scopes

    @contextmanager
    def inside(self, label: str, stored: frozenset[Buffer], barrier: bool) -> Iterator[Scope]:
        """A nested scope whose lines end up in the enclosing one."""
        for buffer in stored & self.moving.keys():
            self.values.pop(("pointer", buffer), None)
        scope = Scope([], len(self.scopes), label, [], stored, barrier)
        self.scopes.append(scope)
        yield scope
        self.scopes.pop()
        self.forget(scope)

    def _append(self, inner: Scope) -> None:
        self.scope.lines += inner.lines

    # ---------------------------------------------------------------- simple statements

    def let(self, stmt: Let) -> None:
        """A name for a value, computed here."""
        value = self.value(stmt.value)
        if type(stmt.value) is Op or value.level == self.scope.level:
            self.bind(stmt.local, Value(value.name, self.scope.level, value.varying))
        else:
            self.bind(stmt.local, value)

    def declare(self, stmt: Declare) -> None:
        """A stack variable, which LLVM turns into registers."""
        var = stmt.var
        scalar = register_type(var.dtype)
        value = self.value(stmt.init)
        lanes = var.wide if var.wide else self.lanes
        lanes = max(lanes, 1)
        t = lanes_type(scalar, lanes)
        pointer = self.fresh()
        self.entry.append(f"  {pointer} = alloca {t}")
        self.vars[var] = pointer, lanes
        outer, self.lanes = self.lanes, lanes
        name = self.splatted(value, scalar) if lanes > 1 else value.name
        self.lanes = outer
        self.do(f"store {t} {name}, ptr {pointer}")

    def assign(self, stmt: Assign) -> None:
        """A new value of a variable; repeated lanes of a wide one keep the old."""
        pointer, lanes = self.vars[stmt.var]
        scalar = register_type(stmt.var.dtype)
        value = self.value(stmt.value)
        name = self.splatted(value, scalar) if lanes > 1 else value.name
        t = lanes_type(scalar, lanes)
        if self.store_mask is not None and stmt.var.wide > 1:
            old = self.put(f"load {t}, ptr {pointer}", self.scope.level)
            flags = lanes_type("i1", lanes)
            name = self.put(
                f"select {flags} {self.store_mask}, {t} {name}, {t} {old}", self.scope.level
            )
        self.do(f"store {t} {name}, ptr {pointer}")

    def store(self, stmt: Store) -> None:
        """Write one element, or one for each lane."""
        buffer = stmt.buffer.root()
        stride = self.stride(stmt.offset)
        if buffer.dtype.kind == "c":
            self._store_complex(buffer, stmt.offset, stmt.value, stride)
            return
        value = self.value(stmt.value)
        scalar = storage_type(buffer.dtype)
        wide = self.lanes > 1 and stride != 0
        lanes = self.lanes if wide else 1
        text = Instructions(self, self.scope.level, lanes)
        name = value.name
        if wide:
            name = self.lanes_of(value, buffer.dtype)
        elif value.varying:
            raise LoweringError("the lanes of a vector loop store to one place")
        name = operations.to_storage(text, name, buffer.dtype)
        self._write(buffer, stmt.offset, scalar, name, lanes, stride)

    def _write(
        self, buffer: Buffer, offset: Affine, scalar: str, name: str, lanes: int, stride: int | None
    ) -> None:
        t, size = lanes_type(scalar, lanes), storage_bytes(buffer.dtype)
        if lanes == 1 or stride == 1:
            at = self.address(buffer, self.index(offset), scalar)
            if lanes > 1 and self.store_mask is not None:
                self._masked_store(t, name, at.name, size, scalar)
            else:
                self.do(f"store {t} {name}, ptr {at.name}, align {size}")
            return
        if stride is None:
            bits = self._narrow(offset)
            index = self.index_value(offset, bits)
            where = self.pointers_to(buffer, scalar, index.name, self.scope.level, bits)
        else:
            at = self.address(buffer, self.index(offset), scalar)
            steps = ", ".join(f"i64 {lane * stride}" for lane in range(lanes))
            kind = lanes_type("i64", lanes)
            text = f"getelementptr inbounds {scalar}, ptr {at.name}, {kind} <{steps}>"
            where = self.put(text, self.scope.level)
        self._scatter(t, name, where, size, scalar)

    def _store_rows(self, stores: Sequence[Store]) -> None:
        """Write all places of rows, which are one run."""
        buffer = stores[0].buffer.root()
        scalar, size = storage_type(buffer.dtype), storage_bytes(buffer.dtype)
        stores = sorted(stores, key=lambda s: s.offset.const)
        first, values = stores[0].offset, [s.value for s in stores]
        text = Instructions(self, self.scope.level, self.lanes)
        if buffer.dtype.kind == "c":
            first, parts = first * 2, [p for v in values for p in _parts_of(v)]
            names = [self.splatted(self.value(p), scalar) for p in parts]
        else:
            names = [self.lanes_of(self.value(v), buffer.dtype) for v in values]
            names = [operations.to_storage(text, name, buffer.dtype) for name in names]
        lanes = min(self.lanes, self.module.vector_bits // (8 * size))
        columns = [self._in_parts(name, scalar, lanes) for name in names]
        parts_text = Instructions(self, self.scope.level, lanes)
        at = self.address(buffer, self.index(first), scalar)
        t = lanes_type(scalar, lanes)
        for k, name in enumerate(emit_rows.woven(parts_text, columns, scalar)):
            place = at.name
            if k:
                step = f"getelementptr inbounds {scalar}, ptr {at.name}, i64 {k * lanes}"
                place = self.put(step, self.scope.level)
            self.do(f"store {t} {name}, ptr {place}, align {size}")

    def _in_parts(self, name: str, scalar: str, lanes: int) -> list[str]:
        """A vector as vectors of so many lanes."""
        if lanes == self.lanes:
            return [name]
        t, parts = lanes_type(scalar, self.lanes), []
        for start in range(0, self.lanes, lanes):
            order = ", ".join(f"i32 {start + k}" for k in range(lanes))
            mask = f"<{lanes} x i32> <{order}>"
            text = f"shufflevector {t} {name}, {t} poison, {mask}"
            parts.append(self.put(text, self.scope.level))
        return parts

    def _mask(self) -> str:
        return self.store_mask or "splat (i1 true)"

    def _masked_store(self, t: str, name: str, at: str, size: int, scalar: str) -> None:
        flags = lanes_type("i1", self.lanes)
        full = f"llvm.masked.store.{Instructions(self, 0, self.lanes).suffix(scalar)}.p0"
        self.module.declare(full, f"declare void @{full}({t}, ptr, {flags})")
        self.do(f"call void @{full}({t} {name}, ptr align {size} {at}, {flags} {self._mask()})")

    def _scatter(self, t: str, name: str, where: str, size: int, scalar: str) -> None:
        flags, pointers = lanes_type("i1", self.lanes), lanes_type("ptr", self.lanes)
        suffix = Instructions(self, 0, self.lanes).suffix(scalar)
        full = f"llvm.masked.scatter.{suffix}.v{self.lanes}p0"
        self.module.declare(full, f"declare void @{full}({t}, {pointers}, {flags})")
        self.do(
            f"call void @{full}({t} {name}, {pointers} align {size} {where}, "
            f"{flags} {self._mask()})"
        )

    def _store_complex(
        self, buffer: Buffer, offset: Affine, value: Expr, stride: int | None
    ) -> None:
        scalar = storage_type(buffer.dtype)
        parts = [self.value(p) for p in _parts_of(value)]
        if self.lanes > 1 and stride == 1 and self.store_mask is None:
            names = [self.splatted(p, scalar) for p in parts]
            t, wide = lanes_type(scalar, self.lanes), lanes_type(scalar, 2 * self.lanes)
            order = ", ".join(f"i32 {k}, i32 {k + self.lanes}" for k in range(self.lanes))
            mask = f"<{2 * self.lanes} x i32> <{order}>"
            level = self.scope.level
            name = self.put(f"shufflevector {t} {names[0]}, {t} {names[1]}, {mask}", level)
            at = self.address(buffer, self.index(offset * 2), scalar)
            size = storage_bytes(buffer.dtype)
            self.do(f"store {wide} {name}, ptr {at.name}, align {size}")
            return
        lanes = self.lanes if stride != 0 else 1
        for k, part in enumerate(parts):
            name = self.splatted(part, scalar) if lanes > 1 else part.name
            step = None if stride is None else 2 * stride
            self._write(buffer, offset * 2 + k, scalar, name, lanes, step)

    # ---------------------------------------------------------------- loops

    def loop(self, stmt: Loop) -> None:
        """A loop, or its steps one after the other if they are few."""
        count = turns(stmt)
        if count == 0:
            return
        if count is not None and self._unrolled(stmt, count):
            for k in range(count):
                self._step(stmt, k, last=k == count - 1)
            return
        ragged = stmt.width > 1 and stmt.extent.const % stmt.width != 0
        if ragged and (stmt.in_place or self._reduces(stmt)):
            assert count is not None
            self._loop(stmt, "0", str(count - 1), count - 1)
            self._step(stmt, count - 1, last=True)
        else:
            end = str(count) if count is not None else self.index(stmt.extent).name
            self._loop(stmt, "0", end, count)

    def _unrolled(self, stmt: Loop, count: int) -> bool:
        if count == 1 or stmt.unroll:
            return True
        if count > UNROLL_TURNS or any(not isinstance(s, _SIMPLE) for s in walk(stmt.body)):
            return False
        return _size(stmt.body) * count <= UNROLL_SIZE

    def _reduces(self, stmt: Loop) -> bool:
        return any(isinstance(s, Assign) and s.var.wide > 1 for s in walk(stmt.body))

    def _step(self, stmt: Loop, k: int, last: bool) -> None:
        """One step of a loop of known length, in line."""
        start = k * stmt.width
        mask = None
        if last and stmt.width > 1 and stmt.extent.const % stmt.width:
            start = stmt.extent.const - stmt.width
            repeated = k * stmt.width - start
            if stmt.in_place or self._reduces(stmt):
                flags = ", ".join(
                    "i1 false" if lane < repeated else "i1 true" for lane in range(stmt.width)
                )
                mask = f"<{flags}>"
        stored = self._stored(stmt)
        if stmt.unroll:
            self.unrolled[stmt.axis] = stmt.extent.const, k
        with self.inside(self.scope.label, stored, False) as scope:
            self._body(stmt, Value(str(start), scope.level), mask)
        self.scope.label = scope.label
        self._append(scope)

    def _stored(self, stmt: Stmt) -> frozenset[Buffer]:
        return frozenset(written(stmt))

    def _loop(
        self, stmt: Loop, begin: str, end: str, count: int | None, last: bool = False
    ) -> None:
        """A loop over the steps [begin, end).

        What does not change in a loop that may not run stands in front of the branch around it,
        since what is behind the loop takes it for known.  Loads stay inside, or, if the loop is the
        last of a function, behind the branch.
        """
        if count == 0:
            return
        known = count is not None
        head, done = self.label("loop"), self.label("done")
        if not known and last:
            self._enter(begin, end, done)
        counter, following = self.fresh(), self.fresh()
        with self.inside(head, self._stored(stmt), not known and not last) as scope:
            self._turn(stmt, counter, scope, whole=known and count != turns(stmt))
        if not known and not last:
            self._enter(begin, end, done)
        outer = self.scope
        before = outer.label
        outer.lines += [
            f"  br label %{head}",
            f"{head}:",
            f"  {counter} = phi i64 [ {begin}, %{before} ], [ {following}, %{scope.label} ]",
        ]
        self._append(scope)
        again = self.fresh()
        outer.lines += [
            f"  {following} = add nuw nsw i64 {counter}, 1",
            f"  {again} = icmp slt i64 {following}, {end}",
            f"  br i1 {again}, label %{head}, label %{done}",
            f"{done}:",
        ]
        outer.label = done

    def _enter(self, begin: str, end: str, done: str) -> None:
        """A branch around a loop that may not run."""
        some = self.put(f"icmp slt i64 {begin}, {end}", self.scope.level)
        entry = self.label("enter")
        self.do(f"br i1 {some}, label %{entry}, label %{done}")
        self.scope.lines.append(f"{entry}:")
        self.scope.label = entry

    def _turn(self, stmt: Loop, counter: str, scope: Scope, whole: bool) -> None:
        """The body of a loop at a step that is known when it runs, but `whole` if not the last."""
        level = scope.level
        if stmt.width == 1:
            self._body(stmt, Value(counter, level), None)
            return
        start = self.put(f"mul nuw nsw i64 {counter}, {stmt.width}", level)
        mask = None
        if stmt.extent.const % stmt.width and not whole:
            text = Instructions(self, level, 1)
            limit = str(stmt.extent.const - stmt.width)
            clamped = text.intrinsic("llvm.smin", "i64", start, limit)
            if stmt.in_place:
                mask = self._repeated_mask(start, clamped, stmt.width, level)
            start = clamped
        self._body(stmt, Value(start, level), mask)

    def _repeated_mask(self, start: str, clamped: str, width: int, level: int) -> str:
        """Which lanes a step that may begin early does not repeat."""
        repeated = self.put(f"sub i64 {start}, {clamped}", level)
        outer, self.lanes = self.lanes, width
        first = self.splatted(Value(repeated, level), "i64")
        self.lanes = outer
        lanes = ", ".join(f"i64 {k}" for k in range(width))
        t = lanes_type("i64", width)
        return self.put(f"icmp sge {t} <{lanes}>, {first}", level)

    def _body(self, stmt: Loop, start: Value, mask: str | None) -> None:
        """The statements of a loop with its axis bound."""
        saved = self.lanes, self.vector_axis, self.vector_level, self.store_mask
        self.bind(stmt.axis, Value(start.name, self.scope.level))
        if stmt.width > 1:
            self.lanes, self.vector_axis = stmt.width, stmt.axis
            self.vector_level, self.store_mask = self.scope.level, mask
        self.block(stmt.body)
        self.lanes, self.vector_axis, self.vector_level, self.store_mask = saved

    def fold(self, stmt: Fold) -> None:
        """The lanes of wide variables, combined pairwise."""
        values = [self.read(v) for v in stmt.vars]
        lanes = self.vars[stmt.vars[0]][1] if not self._in_lanes(stmt) else 1
        names = [v.name for v in values]
        varying = values[0].varying if self._in_lanes(stmt) else False
        scalars = [register_type(v.dtype) for v in stmt.vars]
        while lanes > 1:
            names = self._fold_once(stmt, names, scalars, lanes)
            lanes //= 2
        for result, name in zip(stmt.results, names, strict=True):
            self.bind(result, Value(name, self.scope.level, varying))

    def _in_lanes(self, stmt: Fold) -> bool:
        """Whether the variables have a lane for each result, not several for one."""
        return stmt.vars[0].wide == 0

    def _fold_once(
        self, stmt: Fold, names: Sequence[str], scalars: Sequence[str], lanes: int
    ) -> list[str]:
        half = lanes // 2
        halves: list[list[str]] = []
        for name, scalar in zip(names, scalars, strict=True):
            t = lanes_type(scalar, lanes)
            pair = []
            for first in (0, half):
                if half == 1:
                    text = f"extractelement {t} {name}, i64 {first}"
                else:
                    order = ", ".join(f"i32 {first + k}" for k in range(half))
                    text = f"shufflevector {t} {name}, {t} poison, <{half} x i32> <{order}>"
                pair.append(self.put(text, self.scope.level))
            halves.append(pair)
        return self._combine(stmt, halves, half)

    def _combine(self, stmt: Fold, halves: Sequence[Sequence[str]], lanes: int) -> list[str]:
        saved = self.lanes
        with self.inside(self.scope.label, frozenset(), False) as scope:
            self.lanes = lanes
            varying = lanes > 1
            for side, which in ((stmt.combine.left, 0), (stmt.combine.right, 1)):
                for local, pair in zip(side, halves, strict=True):
                    self.bind(local, Value(pair[which], scope.level, varying))
            made = [
                self.splatted(self.value(e), register_type(e.dtype)) for e in stmt.combine.values
            ]
        self.lanes = saved
        self._append(scope)
        return made

    # ---------------------------------------------------------------- branches

    def if_(self, stmt: If) -> None:
        """A branch."""
        flag = self.value(stmt.condition).name
        then, other, end = self.label("then"), self.label("else"), self.label("end")
        outer, lines = self.scope, list[str]()
        for label, body in ((then, stmt.then), (other, stmt.otherwise)):
            if label == other and not body:
                continue
            with self.inside(label, self._stored(stmt), True) as scope:
                self.block(body)
            lines += [f"{label}:", *scope.lines, f"  br label %{end}"]
        self.do(f"br i1 {flag}, label %{then}, label %{other if stmt.otherwise else end}")
        outer.lines += [*lines, f"{end}:"]
        outer.label = end

    def while_(self, stmt: While) -> None:
        """A loop with its test before the body."""
        test, body, end = self.label("test"), self.label("body"), self.label("end")
        outer = self.scope
        with self.inside(test, self._stored(stmt), True) as before:
            self.block(stmt.before)
            flag = self.value(stmt.condition).name
            with self.inside(body, before.stored, True) as scope:
                self.block(stmt.body)
            self.do(f"br i1 {flag}, label %{body}, label %{end}")
        # Addresses that do not change in the loop were appended to the outer lines meanwhile.
        outer.lines += [f"  br label %{test}", f"{test}:"]
        self._append(before)
        outer.lines.append(f"{body}:")
        self._append(scope)
        outer.lines += [f"  br label %{test}", f"{end}:"]
        outer.label = end

    # ---------------------------------------------------------------- calls

    def call(self, stmt: Call) -> None:
        """A C function."""
        types, operands = [], []
        for arg in stmt.args:
            t, name = self._argument(arg)
            types.append(t)
            operands.append(f"{t} {name}")
        result = "void" if stmt.result is None else register_type(stmt.result.dtype)
        self.module.external(stmt.symbol, f"declare {result} @{stmt.symbol}({', '.join(types)})")
        text = f"call {result} @{stmt.symbol}({', '.join(operands)})"
        if stmt.result is None:
            self.do(text)
            return
        python = stmt.symbol.startswith(CALLBACK)
        mode = self.put(f"call i64 @{float_mode.KEEP}()", self.scope.level) if python else ""
        name = self.put(text, self.scope.level)
        if python:
            self.do(f"call void @{float_mode.LEAVE}(i64 {mode})")
        self.bind(stmt.result, Value(name, self.scope.level))
        if stmt.fails:
            self._leave_unless_zero(name)

    def _leave_unless_zero(self, status: str) -> None:
        """End the program with a status that is not 0; calls are never in kernels."""
        bad = self.put(f"icmp ne i32 {status}, 0", self.scope.level)
        failed, fine = self.label("failed"), self.label("fine")
        self.do(f"br i1 {bad}, label %{failed}, label %{fine}")
        self.scope.lines += [f"{failed}:", f"  ret i32 {status}", f"{fine}:"]
        self.scope.label = fine

    def poll(self, stmt: Poll) -> None:
        """Every so many turns, let signals be handled; the program ends if a handler raises."""
        self.module.external("pb_poll", "declare i32 @pb_poll(ptr)")
        counter, last = self.fresh(), "%poll.last"
        self.entry += [f"  {counter} = alloca i64", f"  store i64 {stmt.every}, ptr {counter}"]
        if not self.polls:
            self.entry += [f"  {last} = alloca i64", f"  store i64 0, ptr {last}"]
        self.polls = True
        level = self.scope.level
        before = self.put(f"load i64, ptr {counter}", level)
        left = self.put(f"sub i64 {before}, 1", level)
        self.do(f"store i64 {left}, ptr {counter}")
        due = self.put(f"icmp eq i64 {left}, 0", level)
        look, on = self.label("look"), self.label("on")
        self.do(f"br i1 {due}, label %{look}, label %{on}")
        self.scope.lines.append(f"{look}:")
        self.do(f"store i64 {stmt.every}, ptr {counter}")
        self._leave_unless_zero(self.put(f"call i32 @pb_poll(ptr {last})", level))
        self.do(f"br label %{on}")
        self.scope.lines.append(f"{on}:")
        self.scope.label = on

    def _argument(self, arg: Expr | Reference | Address) -> tuple[str, str]:
        if isinstance(arg, Address):
            return "ptr", self._byte_address(arg)
        if isinstance(arg, Reference):
            dtype = arg.value.dtype
            t = storage_type(dtype)
            pointer = self.fresh()
            self.entry.append(f"  {pointer} = alloca {t}")
            value = self.value(arg.value)
            text = Instructions(self, self.scope.level, 1)
            self.do(f"store {t} {operations.to_storage(text, value.name, dtype)}, ptr {pointer}")
            return "ptr", pointer
        return register_type(arg.dtype), self.value(arg).name

    def _byte_address(self, a: Address) -> str:
        buffer = a.buffer.root()
        scalar = storage_type(buffer.dtype)
        scale = 2 if buffer.dtype.kind == "c" else 1
        return self.address(buffer, self.index(a.offset * scale), scalar).name

    def copy(self, stmt: Copy) -> None:
        """Contiguous elements."""
        same = stmt.target.buffer.root() is stmt.source.buffer.root()
        if same and stmt.target.offset == stmt.source.offset:
            return
        target, source = self._byte_address(stmt.target), self._byte_address(stmt.source)
        total = stmt.count * stmt.target.buffer.dtype.itemsize
        if total >= PARALLEL_COPY_BYTES:
            self.module.external("pb_copy", "declare void @pb_copy(ptr, ptr, i64)")
            self.do(f"call void @pb_copy(ptr {target}, ptr {source}, i64 {total})")
            return
        name = "llvm.memmove.p0.p0.i64"
        self.module.declare(name, f"declare void @{name}(ptr, ptr, i64, i1)")
        dtype = stmt.target.buffer.dtype
        nbytes, size = str(total), storage_bytes(dtype)
        if stmt.source.buffer.root().kind == "arg" and stmt.target.buffer.root().kind == "out":
            # A donated argument may be the output: then nothing is to be moved.
            moved = self.put(f"icmp ne ptr {target}, {source}", self.scope.level)
            nbytes = self.put(f"select i1 {moved}, i64 {nbytes}, i64 0", self.scope.level)
        self.do(
            f"call void @{name}(ptr align {size} {target}, ptr align {size} {source}, "
            f"i64 {nbytes}, i1 false)"
        )

    def swap(self, stmt: Swap) -> None:
        """Two buffers exchange their memory: their addresses are variables."""
        pair = stmt.first.root(), stmt.second.root()
        names = [self.put(f"load ptr, ptr {self.moving[b]}", self.scope.level) for b in pair]
        for buffer, name in zip(pair, reversed(names), strict=True):
            self.do(f"store ptr {name}, ptr {self.moving[buffer]}")
            self.values.pop(("pointer", buffer), None)


def _parts_of(value: Expr) -> Sequence[Expr]:
    """The parts of a complex number that is to be stored."""
    if type(value) is not Op or value.name != "complex":
        raise LoweringError(f"a complex number that is no pair: {value!r}")
    return value.args


def _size(block: Block) -> int:
    """How much text a block is, with its inner loops unrolled."""
    exprs = [e for s in block for e in expressions(s)]
    inner = sum((turns(s) or UNROLL_SIZE) * _size(s.body) for s in block if isinstance(s, Loop))
    return len(subexpressions(exprs)) + inner


_SIMPLE: Final = (Let, Declare, Assign, Store, Loop, Fold)
_WRITERS: Final[dict[type, Any]] = {
    Let: StatementWriter.let,
    Declare: StatementWriter.declare,
    Assign: StatementWriter.assign,
    Store: StatementWriter.store,
    Loop: lambda writer, stmt: writer.loop(stmt),
    Fold: StatementWriter.fold,
    If: StatementWriter.if_,
    While: lambda writer, stmt: writer.while_(stmt),
    Call: lambda writer, stmt: writer.call(stmt),
    Copy: StatementWriter.copy,
    Swap: StatementWriter.swap,
    Poll: StatementWriter.poll,
}
