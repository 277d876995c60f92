"""The builder that `lower` rules use (`core.lowering.Builder`): jaxprs and control flow.

Its other parts are in `loops/tensor_builder.py` and `loops/nest_builder.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from pullback.core import dtypes
from pullback.core.jaxpr import ClosedJaxpr, Jaxpr, Literal
from pullback.errors import LoweringError, PullbackError
from pullback.loops.expr import BOOL, Affine, Axis, Load, affine
from pullback.loops.fuse import region_statements
from pullback.loops.ir import (
    Block,
    Buffer,
    Call,
    Copy,
    If,
    Loop,
    Stmt,
    Store,
    While,
    subexpressions,
)
from pullback.loops.nest_builder import NestBuilder
from pullback.loops.scalars import SCALARS
from pullback.loops.tensor_builder import Region
from pullback.loops.tensors import BufferTensor, Item, LazyTensor, MapItem, ReduceItem, Tensor

__all__ = ["LoopBuilder"]

_INLINE_COST: Final = 3.0
_LINE: Final = 64
"""Bytes that are fetched from memory at once."""
_PIECES: Final = 64
_ACROSS: Final = 1 << 18
"""In how many pieces rows of a loop are read where they lie, and from how many bytes on in all
what has more is stored first."""


class LoopBuilder(NestBuilder):
    """Lowers jaxprs: the `b` of every `lower` rule."""

    _lowered: tuple[Any, Any]

    # ---------------------------------------------------------------- other programs

    def inline(self, jaxpr: Any, *xs: Tensor) -> list[Tensor]:
        """The results of a jaxpr, lowered here."""
        consts: list[Any] = []
        if isinstance(jaxpr, ClosedJaxpr):
            jaxpr, consts = jaxpr.jaxpr, jaxpr.consts
        env: dict[Any, Tensor] = {}
        for var, value in zip(jaxpr.constvars, consts, strict=True):
            env[var] = self.constant(value)
        env.update(zip(jaxpr.invars, xs, strict=True))
        for eqn in jaxpr.eqns:
            self._lowered = jaxpr, eqn
            self._equation(eqn, env)
        return [self._atom(v, env) for v in jaxpr.outvars]

    def wants(self, result: int) -> bool:
        """Whether a result of the equation that is being lowered is used."""
        jaxpr, eqn = self._lowered
        var = eqn.outvars[result]
        users = (atom for other in jaxpr.eqns for atom in other.invars)
        return any(atom is var for atom in (*jaxpr.outvars, *users))

    def _atom(self, atom: Any, env: dict[Any, Tensor]) -> Tensor:
        return self._literal(atom) if type(atom) is Literal else env[atom]

    def _equation(self, eqn: Any, env: dict[Any, Tensor]) -> None:
        xs = [self._literal(v) if type(v) is Literal else env[v] for v in eqn.invars]
        try:
            made = eqn.primitive.lower(self, *xs, **eqn.params)
        except PullbackError:
            raise
        except Exception as error:
            where = f" ({eqn.source_info})" if eqn.source_info.code else ""
            raise LoweringError(f"{eqn.primitive}: {error}{where}") from error
        results = list(made) if eqn.primitive.multiple_results else [made]
        for var, tensor in zip(eqn.outvars, results, strict=True):
            expected = var.aval
            if tensor.shape != expected.shape or tensor.dtype != dtypes.physical(expected.dtype):
                raise LoweringError(
                    f"the lowering of {eqn.primitive} gives {tensor.dtype}{list(tensor.shape)} "
                    f"where {expected} is due"
                )
            if isinstance(tensor, BufferTensor) and tensor.mutable:
                tensor.mutable = False
            env[var] = tensor

    def _literal(self, atom: Literal) -> Tensor:
        dtype = dtypes.physical(atom.aval.dtype)
        return self.full(atom.aval.shape, getattr(atom.val, "_data", atom.val), dtype)

    # ---------------------------------------------------------------- control flow

    @contextmanager
    def _subregion(self) -> Iterator[list[Stmt]]:
        """A nested region; its statements are in the list once it is left."""
        region, out = Region(), list[Any]()
        self.regions.append(region)
        try:
            yield out
        finally:
            self.regions.pop()
        out += region_statements(region)

    def _stable(self, x: Tensor) -> Tensor:
        """An operand of a loop or a branch: stored, unless it is a cheap function of indices."""
        if isinstance(x, LazyTensor) and (
            x.stored is not None or x.leaves or x.cost > _INLINE_COST
        ):
            return self.materialize(x)
        return x

    def _carries(self, init: Sequence[Tensor]) -> list[BufferTensor]:
        return [self.buffer(x.shape, x.dtype, init=x) for x in init]

    def _update(self, carries: Sequence[BufferTensor], new: Sequence[Tensor]) -> None:
        """`carries = new`, all at once."""
        pairs = []
        for carry, x in zip(carries, new, strict=True):
            if isinstance(x, BufferTensor) and x.buffer is carry.buffer:
                continue
            temp = self.temp(carry.shape, carry.dtype)
            if isinstance(x, LazyTensor) and x.stored is None:
                x = self.local(x)
                x.stored = temp
                self.add(MapItem(x, temp))
            elif isinstance(x, BufferTensor) and self._owned(x):
                temp = x
            else:
                self.store_into(x, temp)
            pairs.append((carry, temp))
        for carry, temp in pairs:
            self.store_into(temp, carry)

    def _owned(self, x: BufferTensor) -> bool:
        """Whether a buffer was made in the present region."""
        return x.buffer.kind == "temp" and any(
            x.buffer in _targets(item) for item in self.region.items
        )

    def while_loop(
        self,
        cond: Any,
        body: Any,
        cond_consts: Sequence[Tensor],
        body_consts: Sequence[Tensor],
        init: Sequence[Tensor],
    ) -> list[Tensor]:
        """`while cond(*cond_consts, *carry): carry = body(*body_consts, *carry)`."""
        fixed = [self._stable(c) for c in cond_consts]
        fixed_body = [self._stable(c) for c in body_consts]
        carries = self._carries(init)
        self._freeze(carries)
        with self._subregion() as before:
            (test,) = self.inline(cond, *fixed, *carries)
            flag = self.named(test.at(()))
        with self._subregion() as block:
            self._update(carries, self.inline(body, *fixed_body, *carries))
        self.emit(While(tuple(before), flag, tuple(block)))
        return list(carries)

    def _freeze(self, carries: Sequence[BufferTensor]) -> None:
        for c in carries:
            c.mutable = False
            self.carried.add(c.buffer)

    def scan(
        self,
        body: Any,
        consts: Sequence[Tensor],
        init: Sequence[Tensor],
        xs: Sequence[Tensor],
        length: int,
        reverse: bool = False,
    ) -> list[Tensor]:
        """`carry, y = body(*consts, *carry, *x)` for each row."""
        fixed = [self._stable(c) for c in consts]
        rows = [self.materialize(x) if _needs_storage(x) or _lies_across(x) else x for x in xs]
        carries = self._carries(init)
        self._freeze(carries)
        out_avals = body.out_avals if isinstance(body, ClosedJaxpr) else _out_avals(body)
        ys = [self.temp((length, *a.shape), a.dtype) for a in out_avals[len(carries) :]]
        axis = Axis(length)
        row: Affine = length - 1 - affine(axis) if reverse else affine(axis)
        with self._subregion() as block:
            slices = [self._row(x, row) for x in rows]
            made = self.inline(body, *fixed, *carries, *slices)
            for y, value in zip(ys, made[len(carries) :], strict=True):
                self._store_row(value, self._row_target(y, row))
            self._update(carries, made[: len(carries)])
        if length:
            self.emit(Loop(axis, affine(length), tuple(block)))
        return [*carries, *ys]

    def _row_target(self, y: BufferTensor, row: Affine) -> BufferTensor:
        size = math.prod(y.shape[1:])
        return BufferTensor(y.buffer, y.shape[1:], y.offset + row * size)

    def _row(self, x: Tensor, row: Affine) -> Tensor:
        if isinstance(x, LazyTensor) and x.stored is not None:
            x = x.stored
        if isinstance(x, BufferTensor):
            return self._row_target(x, row)
        return self.view(x.shape[1:], lambda i: x.at((row, *i)))

    def _store_row(self, value: Tensor, target: BufferTensor) -> None:
        """Compute a value in its row; later uses read it from there."""
        if isinstance(value, LazyTensor) and value.stored is None:
            value = self.local(value)
            self.add(MapItem(value, target))
            value.stored = target
        else:
            self.store_into(value, target)

    def switch(self, index: Tensor, branches: Sequence[Any], xs: Sequence[Tensor]) -> list[Tensor]:
        """The results of one branch."""
        operands = [self._stable(x) for x in xs]
        which = self._branch_number(index, len(branches))
        outs = [self.temp(a.shape, a.dtype) for a in _out_avals(branches[0])]
        blocks = []
        for branch in branches:
            with self._subregion() as block:
                for out, value in zip(outs, self.inline(branch, *operands), strict=True):
                    self.store_into(value, out)
            blocks.append(tuple(block))
        self._choose(which, blocks)
        return list(outs)

    def _branch_number(self, index: Tensor, count: int) -> Affine:
        value = index.at(())
        if value.dtype == BOOL:
            return affine(self.named(SCALARS.index(value)))
        return affine(self.named(SCALARS.index(value, 0, count - 1)))

    def _choose(self, which: Affine, blocks: list[Block]) -> None:
        chain: Block = blocks[-1]
        for number in range(len(blocks) - 2, -1, -1):
            chain = (If(SCALARS.eq(which, number), blocks[number], chain),)
        for stmt in chain:
            self.emit(stmt)


def _targets(item: Item) -> list[Buffer]:
    if isinstance(item, MapItem):
        return [item.target.buffer]
    if isinstance(item, ReduceItem):
        return [t.buffer for t in item.targets]
    return [s.buffer for s in item.stmts if isinstance(s, Store)] + [
        b for s in item.stmts for b in _written(s)
    ]


def _written(stmt: Stmt) -> list[Buffer]:
    if isinstance(stmt, Copy):
        return [stmt.target.buffer]
    if isinstance(stmt, Call):
        return list(stmt.writes)
    return []


def _needs_storage(x: Tensor) -> bool:
    return isinstance(x, LazyTensor) and (bool(x.leaves) or x.cost > _INLINE_COST)


def _lies_across(x: Tensor) -> bool:
    """Whether a row is read in many short pieces beside those of the next row, as in `a.T`.

    A loop over the rows would fetch each line of memory again and again, and read no vectors.
    """
    if not isinstance(x, LazyTensor) or x.size * x.dtype.itemsize < _ACROSS:
        return False
    return any(_in_pieces(x, e) for e in subexpressions([x.expr]) if type(e) is Load)


def _in_pieces(x: LazyTensor, load: Load) -> bool:
    along, *inner = [sum(load.offset.terms.get(a, 0) for a in axis.terms) for axis in x.axes]
    size = x.dtype.itemsize
    run, count = 1, math.prod(x.shape[1:])
    for extent, stride in zip(reversed(x.shape[1:]), reversed(inner), strict=True):
        if extent != 1 and stride != run:
            break
        run *= extent
    return 0 < abs(along) * size < _LINE and run * size < _LINE and count >= _PIECES * run


def _out_avals(jaxpr: Any) -> list[Any]:
    inner: Jaxpr = jaxpr.jaxpr if isinstance(jaxpr, ClosedJaxpr) else jaxpr
    return inner.out_avals
