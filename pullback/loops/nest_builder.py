"""The builder, second part: imperative nests and calls of C functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from pullback.core.lowering import CALLBACK
from pullback.errors import LoweringError
from pullback.loops.expr import Axis, Const, Expr, Local, Read, affine
from pullback.loops.ir import (
    CALL_NS,
    Address,
    Assign,
    Call,
    Declare,
    If,
    Loop,
    Reference,
    Stmt,
    Var,
    While,
)
from pullback.loops.nests import machine
from pullback.loops.scalars import SCALARS, joined, parts_of
from pullback.loops.tensor_builder import TensorBuilder
from pullback.loops.tensors import BufferTensor, LazyTensor, Tensor
from pullback.records import record

__all__ = ["ByReference", "NestBuilder", "Variable"]


class Variable:
    """A mutable scalar; a complex one is a pair."""

    __slots__ = ("_builder", "_vars", "dtype")

    def __init__(self, builder: TensorBuilder, init: Expr) -> None:
        self._builder = builder
        self.dtype = init.dtype
        self._vars: list[Var] = []
        for part in parts_of(init):
            var = Var(part.dtype)
            builder.emit(Declare(var, part))
            self._vars.append(var)

    def get(self) -> Expr:
        """The value at this point."""
        return joined([self._builder.named(Read(v)) for v in self._vars])

    def set(self, value: Any) -> None:
        """Assign."""
        value = value if isinstance(value, Expr) else SCALARS.const(value, self.dtype)
        parts = [self._builder.named(p) for p in parts_of(value)]
        for var, part in zip(self._vars, parts, strict=True):
            self._builder.emit(Assign(var, part))


@record()
class ByReference:
    """An argument of a call passed by address."""

    value: Any


class NestBuilder(TensorBuilder):
    """Adds statements to the items of a region; the base of `LoopBuilder`."""

    # ---------------------------------------------------------------- imperative nests

    @contextmanager
    def loop(self, extent: Any, *, start: Any = 0, independent: bool = False) -> Iterator[Expr]:
        """`with b.loop(n) as i:`."""
        count, first = affine(extent), affine(start)
        if not count.is_const:
            count = affine(self.named(count))
        axis = Axis(count.const if count.is_const else None)
        block: list[Stmt] = []
        with self.inner(block):
            yield first + axis
        self.emit(Loop(axis, count, tuple(block), parallel=independent))

    def let(self, value: Expr) -> Expr:
        """Evaluate here, once."""
        return joined([self.named(p) for p in parts_of(value)])

    def var(self, value: Any, dtype: Any = None) -> Variable:
        """A mutable scalar."""
        if not isinstance(value, Expr):
            value = SCALARS.const(value, dtype)
        return Variable(self, value)

    @contextmanager
    def if_(self, condition: Expr) -> Iterator[None]:
        """`with b.if_(c):`."""
        block: list[Stmt] = []
        with self.inner(block):
            yield
        self.emit(If(condition, tuple(block)))

    @contextmanager
    def else_(self) -> Iterator[None]:
        """The other case of the `if_` just before."""
        block: list[Stmt] = []
        last = self.region.blocks[-1][-1] if self.region.blocks else None
        if not isinstance(last, If):
            raise LoweringError("else_ without an if_ just before it")
        with self.inner(block):
            yield
        self.region.blocks[-1][-1] = If(last.condition, last.then, tuple(block))

    @contextmanager
    def while_(self, condition: Callable[[], Expr]) -> Iterator[None]:
        """`with b.while_(lambda: ...):`."""
        before: list[Stmt] = []
        with self.inner(before):
            test = condition()
        block: list[Stmt] = []
        with self.inner(block):
            yield
        self.emit(While(tuple(before), test, tuple(block)))

    def has(self, symbol: str) -> bool:
        """Whether this machine has a C function that not every machine has."""
        return symbol in machine.kernels

    def call(
        self,
        symbol: str,
        *args: Any,
        returns: Any = None,
        fails: bool = False,
        work: float = CALL_NS,
    ) -> Expr | None:
        """Call a C function."""
        for a in args:
            if isinstance(a, LazyTensor):
                self.materialize(a)
        converted = tuple(self._argument(a) for a in args)
        writes = frozenset(a.buffer for a in args if isinstance(a, BufferTensor) and a.mutable)
        returns = np.int32 if fails else returns
        result = None if returns is None else Local(np.dtype(returns))
        self.emit(Call(symbol, converted, result, writes, fails=fails, work=work))
        return result

    def callback(self, number: int, xs: Sequence[Tensor], avals: Sequence[Any]) -> list[Tensor]:
        """Call the Python function with this number; results of the types `avals`."""
        outs = [self.buffer(a.shape, a.dtype) for a in avals]
        operands = [self.materialize(x) for x in xs]
        addresses = tuple(Address(x.buffer, x.offset) for x in [*operands, *outs])
        index = SCALARS.const(number, np.dtype(np.int64))
        writes = frozenset(x.buffer for x in outs)
        status = Local(np.dtype(np.int32))
        symbol = f"{CALLBACK}{len(addresses)}"
        self.emit(Call(symbol, (index, *addresses), status, writes, fails=True))
        return list(outs)

    def ref(self, value: Any) -> ByReference:
        """An argument of `call` passed by address."""
        return ByReference(value)

    def _argument(self, a: Any) -> Expr | Reference | Address:
        if isinstance(a, (BufferTensor, LazyTensor)):
            stored = self.materialize(a)
            return Address(stored.buffer, stored.offset)
        if isinstance(a, ByReference):
            inner = self._argument(a.value)
            if isinstance(inner, (Reference, Address)):
                raise TypeError("the address of an address")
            return Reference(inner)
        if isinstance(a, Expr):
            return a
        if isinstance(a, str):
            return Reference(Const(ord(a[0]), np.dtype("uint8")))
        if isinstance(a, np.generic):
            return SCALARS.const(a, a.dtype)
        return SCALARS.const(a, np.int32 if isinstance(a, int) else np.float64)
