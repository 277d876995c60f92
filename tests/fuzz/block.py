"""A function under construction: the values in scope, and how to choose and combine them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import hypothesis.strategies as st
import numpy as np

from tests.fuzz.lattice import Shape, Type, canonical, inexact, kind, numpy_dtype, promoted, real
from tests.fuzz.program import Function, Literal, Operand, Statement, Var

Draw = Callable[[st.SearchStrategy[Any]], Any]

LIMIT = 1 << 20
"""Elements that no value of a program exceeds."""


@dataclass
class Names:
    """Fresh names, and what the program turned out to be."""

    wide: bool
    smooth: bool
    sizes: tuple[int, ...]
    count: int = 0
    reversible: bool = True
    forward: bool = True
    mixed: bool = True
    axes: list[tuple[str, int]] = field(default_factory=list)

    def fresh(self, prefix: str) -> str:
        """A name that nothing has yet."""
        self.count += 1
        return f"{prefix}{self.count}"


@dataclass
class Block:
    """Statements so far, and the values that the next one may read."""

    draw: Draw
    names: Names
    scope: list[Var]
    depth: int = 0
    statements: list[Statement] = field(default_factory=list)

    # ----------------------------------------------------------------- drawing

    def one_of(self, options: Sequence[Any]) -> Any:
        """One of several."""
        return self.draw(st.sampled_from(options))

    def integer(self, low: int, high: int) -> int:
        """An integer between two, both included."""
        return self.draw(st.integers(low, high))

    def flag(self) -> bool:
        """True or False."""
        return self.draw(st.booleans())

    # ----------------------------------------------------------------- operands

    def pick(self, kinds: str = "biufc", least: int = 0) -> Var:
        """A value of one of the kinds with at least that many axes; made if there is none."""
        found = [v for v in self.scope if v.type.kind in kinds and v.type.ndim >= least]
        if found:
            return self.recent(found)
        x = self.recent(self.scope)
        if x.type.kind not in kinds:
            x = self.cast(x, self.dtype(kinds[-1]))
        if x.type.ndim < least:
            shape = (*(self.one_of(self.names.sizes) for _ in range(least - x.type.ndim)),)
            x = self.broadcast(x, shape + x.type.shape)
        return x

    def recent(self, found: Sequence[Var]) -> Var:
        """One of these values, more often a late one, so that programs are deep."""
        return self.one_of(found[::-1][:2] if self.flag() else found[::-1])

    def partner(self, x: Var | Type, kinds: str = "biufc") -> Operand:
        """A value or a Python scalar to combine with `x` element by element."""
        t = x.type if isinstance(x, Var) else x
        found = [
            v for v in self.scope if v.type.kind in kinds and _compatible(v.type.shape, t.shape)
        ]
        choice = self.integer(0, len(found) + 1)
        if choice < len(found):
            return found[::-1][choice]
        return self.literal(t, kinds)

    def literal(self, t: Type, kinds: str) -> Literal:
        """A Python scalar of a kind that suits."""
        kind_ = "f" if t.kind == "c" or self.names.smooth else t.kind.replace("u", "i")
        if t.kind in "iu" and "f" in kinds and self.flag():
            kind_ = "f"
        if kind_ not in kinds:
            kind_ = next(k for k in "fib" if k in kinds)
        value, dtype = {
            "f": (self.one_of([0.5, -1.25, 2.0, 0.0, 3.0]), canonical("float64", self.names.wide)),
            "i": (self.one_of([1, 2, 3, 0]), canonical("int64", self.names.wide)),
            "b": (self.flag(), "bool"),
        }[kind_]
        return Literal(value, Type((), dtype, kind_ != "b"))

    def dtype(self, kind_: str) -> str:
        """A dtype of that kind."""
        options = {
            "b": ["bool"],
            "i": ["int32", "int8", "int16", "int64"],
            "u": ["uint32", "uint8", "uint16"],
            "f": ["float32", "float64", "float16", "bfloat16"],
            "c": ["complex64", "complex128"],
        }[kind_]
        if self.names.smooth and kind_ == "f":
            return "float64"
        return canonical(self.one_of(options), self.names.wide)

    # ----------------------------------------------------------------- statements

    def emit(
        self, text: str, operands: Sequence[Operand], t: Type, numpy: Callable[..., Any] | None
    ) -> Var:
        """A new value."""
        target = Var(self.names.fresh("v"), t)
        self.statements.append(Statement((target,), text, tuple(operands), numpy))
        self.scope.append(target)
        return target

    def call(
        self,
        text: str,
        operands: Sequence[Operand],
        types: Sequence[Type],
        bodies: Sequence[Function],
        numpy: Callable[..., Any] | None,
    ) -> list[Var]:
        """New values, by functions."""
        targets = tuple(Var(self.names.fresh("v"), t) for t in types)
        self.statements.append(Statement(targets, text, tuple(operands), numpy, tuple(bodies)))
        self.scope.extend(targets)
        return list(targets)

    def elementwise(
        self,
        text: str,
        operands: Sequence[Operand],
        numpy: Callable[..., Any],
        result: Callable[[Type], Type] | None = None,
        float_only: bool = False,
    ) -> Var:
        """`numpy` of the promoted operands."""
        t = promoted([x.type for x in operands], self.names.wide)
        t = inexact(t, self.names.wide) if float_only else t
        compute = numpy_dtype(t.dtype)

        def meaning(*xs: Any) -> Any:
            return numpy(*(_converted(x, compute) for x in xs))

        return self.emit(text, operands, result(t) if result else t, meaning)

    def cast(self, x: Var, dtype: str) -> Var:
        """`x` in another dtype; floats that become integers are made small and finite first."""
        t = x.type
        if t.kind == "c" and kind(dtype) != "c":
            x = self.emit("jnp.real({0})", [x], t.of(real(t.dtype), t.weak), np.real)
            t = x.type
        if t.kind == "f" and kind(dtype) in "iu":
            low = 0 if kind(dtype) == "u" else -9
            text = f"jnp.clip(jnp.nan_to_num({{0}}), {low}, 9)"
            x = self.emit(text, [x], t, lambda v: np.clip(_finite(v), low, 9))
        if t.kind in "iu" and kind(dtype) in "iu":  # bounds that every integer type holds
            x = self.emit(
                "jnp.clip({0}, 0, 9)", [x], x.type, lambda v: np.clip(v, v.dtype.type(0), 9)
            )
        target = numpy_dtype(dtype)
        return self.emit(
            f"{{0}}.astype({dtype!r})", [x], Type(t.shape, dtype), lambda v: v.astype(target)
        )

    def broadcast(self, x: Var, shape: Shape) -> Var:
        """`x` in a larger shape."""
        return self.emit(
            f"jnp.broadcast_to({{0}}, {shape})",
            [x],
            x.type.at(shape),
            lambda v: np.broadcast_to(v, shape),
        )

    def total(self, x: Var) -> Var:
        """The sum of all elements, in float."""
        t = Type((), x.type.dtype)
        if x.type.kind not in "fc":
            x = self.cast(x, canonical("float64", self.names.wide))
            t = Type((), x.type.dtype)
        return self.emit("jnp.sum({0})", [x], t, lambda v: _sum(v, None))

    def coerce(self, x: Var, t: Type) -> Var:
        """`x` made a value of a type, which is not weak."""
        if x.type.shape != t.shape:
            if not _broadcasts(x.type.shape, t.shape):
                x = self.total(x)
            x = self.broadcast(x, t.shape)
        if x.type.dtype != t.dtype or x.type.weak:
            x = self.cast(x, t.dtype)
        return x

    def integer_scalar(self, low: int, high: int) -> Var:
        """An int32 scalar between bounds, known only when the program runs."""
        x = self.pick("iufb" if not self.names.smooth else "f")
        if x.type.ndim:
            x = self.total(x)
        x = self.cast(x, "int32")
        return self.emit(
            f"jnp.clip({{0}}, {low}, {high})", [x], x.type, lambda v: np.clip(v, low, high)
        )

    def predicate(self) -> Var:
        """A bool scalar."""
        x = self.pick("f")
        x = self.total(x) if x.type.ndim else x
        bound = self.one_of([0.0, 0.3, -2.0, 5.0])
        return self.emit(f"{{0}} > {bound}", [x], Type((), "bool"), lambda v: np.asarray(v > bound))


def _compatible(a: Shape, b: Shape) -> bool:
    try:
        shape = np.broadcast_shapes(a, b)
    except ValueError:
        return False
    return int(np.prod(shape, dtype=int)) <= LIMIT


def _broadcasts(a: Shape, b: Shape) -> bool:
    try:
        return np.broadcast_shapes(a, b) == b
    except ValueError:
        return False


def _converted(x: Any, dtype: np.dtype) -> Any:
    x = np.asarray(x)
    return x.astype(np.float32 if dtype.name in ("bfloat16", "float16") else dtype)


def _finite(v: Any) -> Any:
    return np.nan_to_num(v.astype(np.float64))


def _sum(v: Any, axis: Any, keepdims: bool = False) -> Any:
    wide = v.astype(np.float64) if v.dtype.name in ("bfloat16", "float16", "float32") else v
    return np.asarray(np.sum(wide, axis=axis, keepdims=keepdims))
