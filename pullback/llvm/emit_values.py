"""Expressions to LLVM text: scopes, hoisting, vectors.

A function is written as nested scopes (its entry, loops, branches).  Every expression is emitted
once, in the outermost scope where its operands are known: what does not depend on a loop ends up
before it.  In a vector loop a value is either uniform (a scalar) or varying (a vector).
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from pullback.errors import LoweringError
from pullback.llvm import emit_operations as operations
from pullback.llvm.emit_quotients import divide_by_one
from pullback.llvm.emit_scopes import Instructions, Module, Scope, Value
from pullback.llvm.emit_types import (
    constant,
    lanes_type,
    register_type,
    splat,
)
from pullback.loops.expr import (
    DEEP,
    INT64,
    Affine,
    Axis,
    Const,
    Expr,
    Load,
    Op,
    Read,
    affine,
    bounds,
    postorder,
)
from pullback.loops.ir import Buffer, Var, subexpressions

__all__ = ["ValueWriter"]


_INT32_MAX: Final = (1 << 31) - 1


class ValueWriter:
    """Writes the expressions of one function."""

    def __init__(self, module: Module) -> None:
        self.module = module
        self.entry: list[str] = []
        self.scopes: list[Scope] = [Scope([], 0, "entry")]
        self.counter = 0
        self.values: dict[Any, Value] = {}
        self.keep: list[Any] = []
        self.pointers: dict[Buffer, str] = {}
        self.moving: dict[Buffer, str] = {}
        """Variables with the addresses of buffers that exchange their memory."""
        self.polls = False
        """Whether signals are looked for."""
        self.vars: dict[Var, tuple[str, int]] = {}
        self.lanes = 1
        self.vector_axis: Axis | None = None
        self.vector_level = -1
        self.store_mask: str | None = None
        self.in_postorder = False
        self.unrolled: dict[Axis, tuple[int, int]] = {}
        """Axes of unrolled loops: extent and present value."""

    # ---------------------------------------------------------------- plumbing

    def fresh(self) -> str:
        """A new SSA name."""
        self.counter += 1
        return f"%x{self.counter}"

    def label(self, prefix: str) -> str:
        """A new label."""
        self.counter += 1
        return f"{prefix}{self.counter}"

    @property
    def scope(self) -> Scope:
        """The innermost scope."""
        return self.scopes[-1]

    def put(self, text: str, level: int) -> str:
        """Append an instruction with a result to a scope; the result's name."""
        name = self.fresh()
        self.scopes[level].lines.append(f"  {name} = {text}")
        return name

    def do(self, text: str) -> None:
        """Append an instruction without a result here."""
        self.scope.lines.append(f"  {text}")

    def remember(self, key: Any, value: Value) -> Value:
        """Reuse a value until its scope ends."""
        self.values[key] = value
        self.scopes[value.level].memo.append(key)
        return value

    def forget(self, scope: Scope) -> None:
        """Drop what a finished scope has computed."""
        for key in scope.memo:
            self.values.pop(key, None)

    def bind(self, e: Expr, value: Value) -> None:
        """Give a name or an axis its value."""
        self.remember(id(e), value)

    # ---------------------------------------------------------------- values

    def value(self, e: Expr) -> Value:
        """The value of an expression."""
        kind = type(e)
        if kind is Const:
            return Value(constant(e.value, e.dtype), 0)  # type: ignore[attr-defined]
        if kind is Affine:
            return self.index_value(e, 64)  # type: ignore[arg-type]
        if kind is Read:
            return self.read(e.var)  # type: ignore[attr-defined]
        found = self.values.get(id(e))
        if found is None:
            self.keep.append(e)
            if e.depth > DEEP and not self.in_postorder:
                self._operands_first(e)
            found = self.remember(id(e), self._compute(e))
        return found

    def _operands_first(self, e: Expr) -> None:
        """Compute what a deep expression is made of, so that recursion stays shallow."""
        self.in_postorder = True
        for inner in postorder(e):
            if inner is not e and inner.depth > 1 and inner.dtype != INT64:
                self.value(inner)
        self.in_postorder = False

    def _compute(self, e: Expr) -> Value:
        if type(e) is Load:
            return self.load(e)
        if type(e) is Op:
            return self._operation(e)
        if type(e) is Axis:
            return self.index_value(affine(e), 64)
        raise LoweringError(f"{e!r} has no value here")

    def lanes_of(self, value: Value, dtype: np.dtype[Any]) -> str:
        """A value as a vector of the current number of lanes."""
        return self.splatted(value, register_type(dtype))

    def splatted(self, value: Value, scalar: str) -> str:
        """The same for a scalar type by its name."""
        if value.varying or self.lanes == 1:
            return value.name
        if value.name[0] != "%":
            return splat(value.name, scalar, self.lanes)
        key = ("splat", value.name, self.lanes)
        found = self.values.get(key)
        if found is None:
            vector = lanes_type(scalar, self.lanes)
            one = self.put(
                f"insertelement {vector} poison, {scalar} {value.name}, i64 0", value.level
            )
            mask = f"<{self.lanes} x i32> zeroinitializer"
            name = self.put(f"shufflevector {vector} {one}, {vector} poison, {mask}", value.level)
            found = self.remember(key, Value(name, value.level))
        return found.name

    def _operation(self, e: Op) -> Value:
        if e.name == "convert" and type(e.args[0]) is Affine:
            return self._convert_index(e.args[0], e.dtype)
        if e.args and type(e.args[0]) is Affine and e.name in ("lt", "eq", "ne"):
            return self._compare_indices(e)
        args = [self.value(a) for a in e.args]
        varying = any(a.varying for a in args)
        level = max((a.level for a in args), default=0)
        names = [a.name for a in args]
        if varying:
            names = [self.lanes_of(a, x.dtype) for a, x in zip(args, e.args, strict=True)]
        if e.name == "extern":
            level = max(level, self._barrier())
        text = Instructions(self, level, self.lanes if varying else 1)
        if e.name == "div" and varying and self._divides_by_one(e, *args):
            name = self._quotient_by_one(text, e, names, args[1])
        else:
            name = operations.emit(text, e, names)
        return Value(name, level, varying)

    def _quotient_by_one(self, text: Instructions, e: Op, names: list[str], y: Value) -> str:
        if operations.byte_quotient(e) is not None:
            return operations.emit(text, e, names)
        outer = Instructions(self, y.level, 1)
        return divide_by_one(text, outer, register_type(e.dtype), names[0], y.name, names[1])

    def _divides_by_one(self, e: Op, x: Value, y: Value) -> bool:
        """Whether many are divided by a float that is known before their loop begins."""
        divisor = e.args[1]
        if type(divisor) is Const:
            if math.frexp(divisor.value)[0] == 0.5 or not math.isfinite(divisor.value):
                return False
        elif y.varying or y.level >= self.vector_level:
            return False
        return x.varying and register_type(e.dtype) in ("float", "double")

    def _barrier(self) -> int:
        for scope in reversed(self.scopes):
            if scope.barrier:
                return scope.level
        return 0

    # ---------------------------------------------------------------- variables

    def read(self, var: Var) -> Value:
        """The present value of a variable."""
        pointer, lanes = self.vars[var]
        t = lanes_type(register_type(var.dtype), lanes)
        name = self.put(f"load {t}, ptr {pointer}", self.scope.level)
        return Value(name, self.scope.level, lanes > 1)

    # ---------------------------------------------------------------- indices

    def stride(self, x: Affine) -> int | None:
        """How much an index grows from lane to lane; None if that is not a constant."""
        if self.vector_axis is None:
            return 0
        for atom in x.terms:
            if self._is_varying(atom):
                return None
        return x.terms.get(self.vector_axis, 0)

    def atom(self, atom: Expr) -> Value:
        """The value of an atom of an index; of the vector axis, in its first lane."""
        found = self.values.get(id(atom))
        if found is not None:
            return found
        self.keep.append(atom)
        if type(atom) is Op:
            key = ("atom", atom)
            found = self.values.get(key)
            if found is None:
                found = self.remember(key, self._atom(atom))
            return found
        return self.value(atom)

    def _atom(self, atom: Op) -> Value:
        if atom.name in ("floordiv", "mod"):
            return self._quotient(atom)
        if atom.name in ("imin", "imax", "imul"):
            x, y = (self.index_value(affine(a), 64) for a in atom.args)
            varying, level = x.varying or y.varying, max(x.level, y.level)
            names = [self.splatted(v, "i64") if varying else v.name for v in (x, y)]
            t = lanes_type("i64", self.lanes if varying else 1)
            if atom.name == "imul":
                return Value(self.put(f"mul {t} {names[0]}, {names[1]}", level), level, varying)
            intrinsic = "smin" if atom.name == "imin" else "smax"
            text = Instructions(self, level, self.lanes if varying else 1)
            return Value(text.intrinsic(f"llvm.{intrinsic}", "i64", *names), level, varying)
        return self.value(atom)

    def _quotient(self, atom: Op) -> Value:
        inner = affine(atom.args[0])
        low, high = bounds(inner)
        bits = 32 if low > -_INT32_MAX and high < _INT32_MAX and atom.attr < _INT32_MAX else 64
        x = self.index_value(inner, bits)
        t = lanes_type(f"i{bits}", self.lanes if x.varying else 1)
        divisor = splat(str(atom.attr), f"i{bits}", self.lanes if x.varying else 1)
        name = x.name
        if low >= 0:
            word = "udiv" if atom.name == "floordiv" else "urem"
            name = self.put(f"{word} {t} {name}, {divisor}", x.level)
        else:
            name = self._floored(atom.name, t, name, divisor, x)
        if bits == 32:
            wide = lanes_type("i64", self.lanes if x.varying else 1)
            name = self.put(f"sext {t} {name} to {wide}", x.level)
        return Value(name, x.level, x.varying)

    def _floored(self, word: str, t: str, name: str, divisor: str, x: Value) -> str:
        """Division that rounds down, of a dividend that may be negative."""
        remainder = self.put(f"srem {t} {name}, {divisor}", x.level)
        lanes = self.lanes if x.varying else 1
        negative = self.put(f"icmp slt {t} {remainder}, {splat_zero(t)}", x.level)
        flag = lanes_type("i1", lanes)
        if word == "mod":
            more = self.put(f"add {t} {remainder}, {divisor}", x.level)
            return self.put(f"select {flag} {negative}, {t} {more}, {t} {remainder}", x.level)
        quotient = self.put(f"sdiv {t} {name}, {divisor}", x.level)
        one = self.put(f"sext {flag} {negative} to {t}", x.level)
        return self.put(f"add {t} {quotient}, {one}", x.level)

    def index(self, x: Affine) -> Value:
        """The scalar value of an index (in the first lane), summed from outer scopes inwards."""
        if not x.terms:
            return Value(str(x.const), 0)
        key = ("index", x)
        found = self.values.get(key)
        if found is None:
            found = self.remember(key, self._sum(x))
        return found

    def _sum(self, x: Affine) -> Value:
        parts = sorted(
            ((self.atom(a), k) for a, k in x.terms.items()), key=lambda pair: pair[0].level
        )
        known = sum((int(a.name) * k for a, k in parts if a.name[0] != "%"), x.const)
        total, level = str(known) if known else "", 0
        for atom, k in parts:
            level = max(level, atom.level)
            term = atom.name
            if term[0] != "%":
                continue
            if k != 1:
                term = self.put(f"mul nsw i64 {term}, {k}", atom.level)
            total = self.put(f"add nsw i64 {total}, {term}", level) if total else term
        return Value(total or "0", level)

    def index_value(self, x: Affine, bits: int) -> Value:
        """An index as a number: a scalar, or a vector if it varies."""
        stride = self.stride(x)
        if stride == 0 or self.lanes == 1:
            value = self.index(x)
            if bits == 64 or value.name[0] != "%":
                return value
            return Value(self.put(f"trunc i64 {value.name} to i32", value.level), value.level)
        key = ("vector", x, bits, self.lanes)
        found = self.values.get(key)
        if found is None:
            found = self.remember(key, self._index_vector(x, bits))
        return found

    def _index_vector(self, x: Affine, bits: int) -> Value:
        scalar, t = f"i{bits}", lanes_type(f"i{bits}", self.lanes)
        parts: list[tuple[int, str]] = []
        k = x.terms.get(self.vector_axis, 0) if self.vector_axis is not None else 0
        if k:
            steps = ", ".join(f"{scalar} {lane * k}" for lane in range(self.lanes))
            parts.append((self.vector_level, f"<{steps}>"))
        rest: dict[Expr, int] = {}
        for atom, coefficient in x.terms.items():
            if self._is_varying(atom):
                parts.append(self._scaled_atom(atom, coefficient, bits))
            else:
                rest[atom] = coefficient
        base = self.index(Affine(x.const, rest))
        name = base.name
        if bits == 32 and name[0] == "%":
            name = self.put(f"trunc i64 {name} to i32", base.level)
        parts.append((base.level, self.splatted(Value(name, base.level), scalar)))
        parts.sort(key=lambda part: part[0])
        level, total = parts[0]
        for deeper, term in parts[1:]:
            level = max(level, deeper, self.vector_level)
            total = self.put(f"add {t} {total}, {term}", level)
        return Value(total, max(level, self.vector_level), True)

    def _scaled_atom(self, atom: Expr, coefficient: int, bits: int) -> tuple[int, str]:
        """A varying atom times its coefficient, in 32 or 64 bits, and its level."""
        scalar, t = f"i{bits}", lanes_type(f"i{bits}", self.lanes)
        value = self._short_atom(atom) if bits == 32 else self.atom(atom)
        term = value.name
        if coefficient != 1:
            factor = splat(str(coefficient), scalar, self.lanes)
            term = self.put(f"mul {t} {term}, {factor}", value.level)
        return value.level, term

    def _short_atom(self, atom: Expr) -> Value:
        """A varying atom in 32 bits; what is clamped, or an integer of the data, never has more."""
        key = ("short", atom)
        found = self.values.get(key)
        if found is None:
            found = self.remember(key, self._shortened(atom))
        return found

    def _shortened(self, atom: Expr) -> Value:
        if type(atom) is Op and atom.name == "convert" and type(atom.args[0]) is not Affine:
            source = atom.args[0].dtype
            if source.kind in "iub" and source.itemsize <= 4:
                value = self.value(atom.args[0])
                text = Instructions(self, value.level, self.lanes)
                name = operations.convert(text, value.name, source, np.dtype("int32"))
                return Value(name, value.level, True)
        if type(atom) is Op and atom.name in ("imin", "imax"):
            sides = [affine(a) for a in atom.args]
            if all(_is_short(side) for side in sides):
                x, y = (self.index_value(side, 32) for side in sides)
                level = max(x.level, y.level)
                names = [self.splatted(v, "i32") for v in (x, y)]
                text = Instructions(self, level, self.lanes)
                intrinsic = "smin" if atom.name == "imin" else "smax"
                return Value(text.intrinsic(f"llvm.{intrinsic}", "i32", *names), level, True)
        value = self.atom(atom)
        types = lanes_type("i64", self.lanes), lanes_type("i32", self.lanes)
        return Value(
            self.put(f"trunc {types[0]} {value.name} to {types[1]}", value.level), value.level, True
        )

    def _is_varying(self, atom: Expr) -> bool:
        return atom is not self.vector_axis and self._varies(atom)

    def _varies(self, atom: Expr) -> bool:
        """Whether an atom differs between lanes, without computing it."""
        for key in (id(atom), ("atom", atom), ("short", atom)):
            found = self.values.get(key)
            if found is not None:
                return found.varying
        return any(map(self._differs, subexpressions([atom])))

    def _differs(self, e: Expr) -> bool:
        if type(e) is Axis:  # bound to its value in the first lane
            return e is self.vector_axis
        if type(e) is Read:
            return self.vars[e.var][1] > 1
        found = self.values.get(id(e))
        return found is not None and found.varying

    def _narrow(self, *xs: Affine) -> int:
        limits = [bounds(x) for x in xs]
        fits = all(low > -_INT32_MAX and high < _INT32_MAX for low, high in limits)
        return 32 if fits else 64

    def _convert_index(self, x: Affine, dtype: np.dtype[Any]) -> Value:
        bits = self._narrow(x)
        value = self.index_value(x, bits)
        source = np.dtype("int32" if bits == 32 else "int64")
        text = Instructions(self, value.level, self.lanes if value.varying else 1)
        return Value(
            operations.convert(text, value.name, source, dtype), value.level, value.varying
        )

    def _compare_indices(self, e: Op) -> Value:
        x, y = affine(e.args[0]), affine(e.args[1])
        bits = self._narrow(x, y)
        a, b = self.index_value(x, bits), self.index_value(y, bits)
        varying, level = a.varying or b.varying, max(a.level, b.level)
        names = [self.splatted(v, f"i{bits}") if varying else v.name for v in (a, b)]
        t = lanes_type(f"i{bits}", self.lanes if varying else 1)
        word = {"lt": "slt", "eq": "eq", "ne": "ne"}[e.name]
        return Value(self.put(f"icmp {word} {t} {names[0]}, {names[1]}", level), level, varying)

    # ---------------------------------------------------------------- memory

    def load(self, e: Load) -> Value:
        """An element of a buffer; `MemoryWriter` knows how."""
        raise NotImplementedError


def _is_short(x: Affine) -> bool:
    low, high = bounds(x)
    return low >= -_INT32_MAX - 1 and high <= _INT32_MAX


def splat_zero(t: str) -> str:
    """Zero of an integer type."""
    return "zeroinitializer" if t[0] == "<" else "0"
