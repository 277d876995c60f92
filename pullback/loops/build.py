"""The builder that `lower` rules use (`core.lowering.Builder`), and jaxprs walked with it.

Equations are lowered in order into the current `Region`: lazy tensors, and a list of items that
store something.  A loop body, a branch and the program itself are regions; when one is complete,
`loops/fuse.py` turns its items into statements.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from pullback.core import dtypes
from pullback.core.jaxpr import ClosedJaxpr, Jaxpr, Literal
from pullback.errors import LoweringError, PullbackError
from pullback.loops import complexes  # noqa: F401  (registers the expansions of complex numbers)
from pullback.loops.expr import (
    BOOL,
    INT64,
    Affine,
    Axis,
    Const,
    Expr,
    Local,
    Read,
    affine,
    delinearize,
    linearize,
    row_major,
)
from pullback.loops.fuse import region_statements
from pullback.loops.ir import (
    Address,
    Assign,
    Block,
    Buffer,
    Call,
    Combine,
    Copy,
    Declare,
    If,
    Let,
    Loop,
    Reference,
    Stmt,
    Store,
    Var,
    While,
)
from pullback.loops.scalars import ALIASES, SCALARS, ScalarBuilder
from pullback.loops.tensors import (
    BlockItem,
    BufferTensor,
    Item,
    LazyTensor,
    MapItem,
    ReduceItem,
    Tensor,
    new_axes,
)

__all__ = ["LoopBuilder", "Region"]

_UNROLLED_REDUCTION: Final = 4
_ZERO: Final = affine(0)
_INLINE_COST: Final = 3.0


@dataclass(eq=False, slots=True)
class Region:
    """Straight-line work: the items of a program, of a loop body or of a branch."""

    items: list[Item] = field(default_factory=list)
    blocks: list[list[Stmt]] = field(default_factory=list)
    """The open blocks of an imperative nest, innermost last; the first is that of an item."""
    lazies: list[LazyTensor] = field(default_factory=list)
    owned: set[Buffer] = field(default_factory=set)
    """Temporaries made here: nothing outside this region reads them unless a block does."""


class Variable:
    """A mutable scalar; a complex one is a pair."""

    __slots__ = ("_builder", "_vars", "dtype")

    def __init__(self, builder: LoopBuilder, init: Expr) -> None:
        self._builder = builder
        self.dtype = init.dtype
        self._vars: list[Var] = []
        for part in _parts(init):
            var = Var(part.dtype)
            builder.emit(Declare(var, part))
            self._vars.append(var)

    def get(self) -> Expr:
        """The value at this point."""
        return _joined([self._builder.named(Read(v)) for v in self._vars])

    def set(self, value: Any) -> None:
        """Assign."""
        value = value if isinstance(value, Expr) else SCALARS.const(value, self.dtype)
        parts = [self._builder.named(p) for p in _parts(value)]
        for var, part in zip(self._vars, parts, strict=True):
            self._builder.emit(Assign(var, part))


@dataclass(frozen=True, slots=True)
class ByReference:
    """An argument of a call passed by address."""

    value: Any


def _parts(x: Expr) -> list[Expr]:
    return [SCALARS.real(x), SCALARS.imag(x)] if x.dtype.kind == "c" else [x]


def _joined(parts: Sequence[Expr]) -> Expr:
    return parts[0] if len(parts) == 1 else SCALARS.complex(parts[0], parts[1])


class LoopBuilder:
    """Builds the items of a program."""

    def __init__(self) -> None:
        self.regions: list[Region] = [Region()]
        self.consts: list[Buffer] = []
        self.const_values: list[Any] = []
        self.carried: set[Buffer] = set()
        self._constants: dict[int, tuple[Any, BufferTensor]] = {}

    # ---------------------------------------------------------------- regions and statements

    @property
    def s(self) -> ScalarBuilder:
        """The scalar builder."""
        return SCALARS

    @property
    def region(self) -> Region:
        """The region being built."""
        return self.regions[-1]

    def emit(self, stmt: Stmt) -> None:
        """Append a statement to the current imperative block."""
        blocks = self.region.blocks
        if not blocks:
            item = BlockItem()
            self.region.items.append(item)
            blocks.append(item.stmts)
        blocks[-1].append(stmt)

    def add(self, item: Item) -> None:
        """Append an item to the region, or to the one around an open imperative nest."""
        region = self.region
        if len(region.blocks) > 1:
            raise LoweringError("a tensor must be stored before the loop that uses it starts")
        region.blocks.clear()
        region.items.append(item)

    @contextmanager
    def _inner(self, block: list[Stmt]) -> Iterator[None]:
        if not self.region.blocks:
            item = BlockItem()
            self.region.items.append(item)
            self.region.blocks.append(item.stmts)
        self.region.blocks.append(block)
        yield
        self.region.blocks.pop()

    def named(self, value: Expr) -> Expr:
        """Evaluate here; a constant or a name stays as it is."""
        if isinstance(value, (Const, Local)):
            return value
        if isinstance(value, Affine):
            if value.is_const:
                return value
            low, high = value._bounds or (-(1 << 62), 1 << 62)
            local = Local(INT64, low, high)
        else:
            local = Local(value.dtype)
        self.emit(Let(local, value))
        return local

    # ---------------------------------------------------------------- lazy tensors

    def _lazy(self, shape: Sequence[int], axes: tuple[Affine, ...], expr: Expr) -> LazyTensor:
        region = self.region
        if len(region.blocks) > 1:  # inside an imperative nest: always inlined
            return LazyTensor(tuple(shape), axes, expr, -1)
        region.blocks.clear()
        tensor = LazyTensor(tuple(shape), axes, expr, len(region.items))
        region.lazies.append(tensor)
        return tensor

    def map(self, fn: str | Callable[..., Expr], *xs: Tensor, dtype: Any = None) -> Tensor:
        """Element-wise."""
        shape: tuple[int, ...] = ()
        for x in xs:
            if x.shape:
                if shape and x.shape != shape:
                    raise TypeError(f"element-wise on shapes {shape} and {x.shape}")
                shape = x.shape
        axes = new_axes(shape)
        elements = [x.at(axes if x.shape else ()) for x in xs]
        expr = _scalar_function(fn)(*elements)
        if dtype is not None and dtypes.physical(dtypes.as_dtype(dtype)) != expr.dtype:
            raise TypeError(f"{fn} gives {expr.dtype}, not {dtype}")
        return self._lazy(shape, axes, expr)

    def view(self, shape: Sequence[int], at: Callable[[tuple[Expr, ...]], Expr]) -> Tensor:
        """A tensor given by the expression of its element at an index."""
        shape = tuple([int(n) for n in shape])
        axes = new_axes(shape)
        return self._lazy(shape, axes, at(axes))

    def reshape(self, x: Tensor, shape: Sequence[int]) -> Tensor:
        """The same elements in row-major order."""
        shape = tuple([int(n) for n in shape])
        if shape == x.shape:
            return x
        source = x.stored if isinstance(x, LazyTensor) and x.stored is not None else x
        if isinstance(source, BufferTensor):
            return BufferTensor(source.buffer, shape, source.offset)
        if math.prod(shape) == 0:
            return self.full(shape, 0, x.dtype)
        squeezed = _squeezed(x.shape, shape)
        if squeezed is not None:
            return self.view(shape, lambda i: x.at(squeezed(i)))
        return self.view(shape, lambda i: x.at(delinearize(linearize(_affines(i), shape), x.shape)))

    def concatenate(self, xs: Sequence[Tensor], axis: int) -> Tensor:
        """Joined along an axis."""
        parts = [x for x in xs if x.shape[axis]]
        if len(parts) < 2:
            return parts[0] if parts else xs[0]
        total = sum(x.shape[axis] for x in parts)
        shape = (*parts[0].shape[:axis], total, *parts[0].shape[axis + 1 :])
        out = self._temp(shape, parts[0].dtype)
        start = 0
        for x in parts:
            self._store_part(out, x, axis, start)
            start += x.shape[axis]
        return out

    def _store_part(self, out: BufferTensor, x: Tensor, axis: int, start: int) -> None:
        """Store `x` at `start` along an axis of `out`, by an item that others may join."""
        axes = new_axes(x.shape)
        view = self._lazy(x.shape, axes, x.at(axes))
        strides = row_major(out.shape)
        target = StridedTarget(out.buffer, x.shape, out.offset + start * strides[axis], strides)
        self.add(MapItem(view, target))

    def constant(self, value: Any) -> Tensor:
        """A NumPy array or scalar known now."""
        array = np.asarray(getattr(value, "_data", value))
        if array.size == 1 or (array.size and array.strides and not any(array.strides)):
            return self.full(array.shape, array.reshape(-1)[0], array.dtype)
        if array.size == 0:
            return self.full(array.shape, 0, array.dtype)
        found = self._constants.get(id(value))
        if found is None:
            buffer = Buffer(array.dtype, array.size, "const", len(self.consts))
            found = value, BufferTensor(buffer, array.shape, _ZERO)
            self._constants[id(value)] = found
            self.consts.append(buffer)
            self.const_values.append(array)
        return found[1]

    def full(self, shape: Sequence[int], value: Any, dtype: Any) -> Tensor:
        """One number everywhere."""
        shape = tuple([int(n) for n in shape])
        return self._lazy(shape, new_axes(shape), SCALARS.const(value, dtype))

    def iota(self, shape: Sequence[int], dtype: Any, axis: int) -> Tensor:
        """The index along an axis."""
        return self.view(shape, lambda i: SCALARS.convert(i[axis], dtype))

    # ---------------------------------------------------------------- reductions

    def reduce(
        self,
        xs: Sequence[Tensor],
        axes: Sequence[int],
        inits: Sequence[Any],
        combine: Callable[..., Sequence[Expr]],
    ) -> list[Tensor]:
        """Reduce operands of one shape along axes."""
        shape = xs[0].shape
        reduced = tuple(sorted(a % len(shape) for a in axes)) if axes else ()
        extent = math.prod(shape[a] for a in reduced)
        kept = tuple(n for a, n in enumerate(shape) if a not in reduced)
        starts = [_element(v, x.dtype) for v, x in zip(inits, xs, strict=True)]
        if extent == 0:
            return [self._lazy(kept, new_axes(kept), v) for v in starts]
        if extent == 1:
            return [self.reshape(x, kept) for x in xs]
        if extent <= _UNROLLED_REDUCTION:
            return self._unrolled(xs, reduced, kept, combine)
        return self._reduction(xs, reduced, kept, starts, combine)

    def _unrolled(
        self,
        xs: Sequence[Tensor],
        reduced: tuple[int, ...],
        kept: tuple[int, ...],
        combine: Callable[..., Sequence[Expr]],
    ) -> list[Tensor]:
        axes = new_axes(kept)
        extents = [xs[0].shape[a] for a in reduced]
        rows = []
        for position in np.ndindex(*extents):
            fixed = dict(zip(reduced, position, strict=True))
            rest = iter(axes)
            idx = [fixed[a] if a in fixed else next(rest) for a in range(len(xs[0].shape))]
            rows.append([x.at(idx) for x in xs])
        while len(rows) > 1:
            pairs = [
                list(combine(SCALARS, rows[k], rows[k + 1])) for k in range(0, len(rows) - 1, 2)
            ]
            rows = pairs + rows[len(pairs) * 2 :]
        return [self._lazy(kept, axes, e) for e in rows[0]]

    def _reduction(
        self,
        xs: Sequence[Tensor],
        reduced: tuple[int, ...],
        kept: tuple[int, ...],
        starts: Sequence[Expr],
        combine: Callable[..., Sequence[Expr]],
    ) -> list[Tensor]:
        shape = xs[0].shape
        axes = new_axes(shape)
        values = [x.at(axes) for x in xs]
        left = [[Local(p.dtype) for p in _parts(v)] for v in starts]
        right = [[Local(p.dtype) for p in _parts(v)] for v in starts]
        made = combine(SCALARS, [_joined(p) for p in left], [_joined(p) for p in right])
        for result, start in zip(made, starts, strict=True):
            if result.dtype != start.dtype:
                raise TypeError(f"a reduction of {start.dtype} combines to {result.dtype}")
        targets = tuple(self._temp(kept, v.dtype) for v in starts)
        self.add(
            ReduceItem(
                shape,
                axes,
                reduced,
                tuple(p for v in values for p in _parts(v)),
                tuple(p for v in starts for p in _parts(v)),
                Combine(_flat(left), _flat(right), tuple(p for m in made for p in _parts(m))),
                targets,
                tuple(_joined(p) for p in left),
            )
        )
        return list(targets)

    # ---------------------------------------------------------------- buffers

    def _temp(self, shape: Sequence[int], dtype: Any, mutable: bool = False) -> BufferTensor:
        shape = tuple([int(n) for n in shape])
        buffer = Buffer(dtypes.physical(dtypes.as_dtype(dtype)), math.prod(shape), "temp")
        self.region.owned.add(buffer)
        return BufferTensor(buffer, shape, _ZERO, mutable)

    def materialize(self, x: Tensor) -> BufferTensor:
        """The same tensor in a buffer."""
        if isinstance(x, BufferTensor):
            return x
        if x.stored is None:
            target = self._temp(x.shape, x.dtype)
            self.add(MapItem(x, target))
            x.stored = target
        return x.stored

    def store_into(self, x: Tensor, target: BufferTensor) -> None:
        """Write a tensor into a given place: computed there, or copied if it is stored already."""
        if math.prod(x.shape) == 0:
            return
        if isinstance(x, LazyTensor) and x.stored is not None:
            x = x.stored
        if isinstance(x, BufferTensor):
            count = math.prod(x.shape)
            self.emit(
                Copy(Address(target.buffer, target.offset), Address(x.buffer, x.offset), count)
            )
            return
        axes = new_axes(x.shape)
        self.add(MapItem(self._lazy(x.shape, axes, x.at(axes)), target))

    def buffer(self, shape: Sequence[int], dtype: Any, init: Tensor | None = None) -> BufferTensor:
        """A new mutable buffer."""
        out = self._temp(shape, dtype, mutable=True)
        if init is not None:
            if init.shape != out.shape or init.dtype != out.dtype:
                raise TypeError(f"{init.dtype}{init.shape} initialises {out.dtype}{out.shape}")
            self.store_into(init, out)
        return out

    def load(self, buffer: Tensor, idx: Sequence[Any]) -> Expr:
        """The element now."""
        if not isinstance(buffer, BufferTensor):
            return self.let(buffer.at(idx))
        value = buffer.load(buffer.offset_of(idx))
        return _joined([self.named(p) for p in _parts(value)])

    def store(self, buffer: Tensor, idx: Sequence[Any], value: Any) -> None:
        """Write an element."""
        if not isinstance(buffer, BufferTensor):
            raise TypeError("only a buffer can be written")
        value = _element(value, buffer.dtype)
        if value.dtype != buffer.dtype:
            raise TypeError(f"a {value.dtype} stored to a buffer of {buffer.dtype}")
        self.emit(Store(buffer.buffer, buffer.offset_of(idx), value))

    # ---------------------------------------------------------------- imperative nests

    @contextmanager
    def loop(self, extent: Any, *, start: Any = 0, independent: bool = False) -> Iterator[Expr]:
        """`with b.loop(n) as i:`."""
        count, first = affine(extent), affine(start)
        if not count.is_const:
            count = affine(self.named(count))
        axis = Axis(count.const if count.is_const else None)
        block: list[Stmt] = []
        with self._inner(block):
            yield first + axis
        self.emit(Loop(axis, count, tuple(block), parallel=independent))

    def let(self, value: Expr) -> Expr:
        """Evaluate here, once."""
        return _joined([self.named(p) for p in _parts(value)])

    def var(self, value: Any, dtype: Any = None) -> Variable:
        """A mutable scalar."""
        if not isinstance(value, Expr):
            value = SCALARS.const(value, dtype)
        return Variable(self, value)

    @contextmanager
    def if_(self, condition: Expr) -> Iterator[None]:
        """`with b.if_(c):`."""
        block: list[Stmt] = []
        with self._inner(block):
            yield
        self.emit(If(condition, tuple(block)))

    @contextmanager
    def else_(self) -> Iterator[None]:
        """The other case of the `if_` just before."""
        block: list[Stmt] = []
        last = self.region.blocks[-1][-1] if self.region.blocks else None
        if not isinstance(last, If):
            raise LoweringError("else_ without an if_ just before it")
        with self._inner(block):
            yield
        self.region.blocks[-1][-1] = If(last.condition, last.then, tuple(block))

    @contextmanager
    def while_(self, condition: Callable[[], Expr]) -> Iterator[None]:
        """`with b.while_(lambda: ...):`."""
        before: list[Stmt] = []
        with self._inner(before):
            test = condition()
        block: list[Stmt] = []
        with self._inner(block):
            yield
        self.emit(While(tuple(before), test, tuple(block)))

    def call(self, symbol: str, *args: Any, returns: Any = None) -> Expr | None:
        """Call a C function."""
        for a in args:
            if isinstance(a, LazyTensor):
                self.materialize(a)
        converted = tuple(self._argument(a) for a in args)
        writes = frozenset(a.buffer for a in args if isinstance(a, BufferTensor) and a.mutable)
        result = None if returns is None else Local(np.dtype(returns))
        self.emit(Call(symbol, converted, result, writes))
        return result

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
            self._equation(eqn, env)
        return [self._atom(v, env) for v in jaxpr.outvars]

    def _atom(self, atom: Any, env: dict[Any, Tensor]) -> Tensor:
        return self.constant(atom.val) if type(atom) is Literal else env[atom]

    def _equation(self, eqn: Any, env: dict[Any, Tensor]) -> None:
        xs = [self._literal(v) if type(v) is Literal else env[v] for v in eqn.invars]
        try:
            made = eqn.primitive.lower(self, *xs, **eqn.params)
        except PullbackError:
            raise
        except Exception as error:
            where = f" ({eqn.source_info})" if eqn.source_info.frame else ""
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
            temp = self._temp(carry.shape, carry.dtype)
            if isinstance(x, LazyTensor) and x.stored is None:
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
        rows = [self.materialize(x) if _needs_storage(x) else x for x in xs]
        carries = self._carries(init)
        self._freeze(carries)
        out_avals = body.out_avals if isinstance(body, ClosedJaxpr) else _out_avals(body)
        ys = [self._temp((length, *a.shape), a.dtype) for a in out_avals[len(carries) :]]
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
            self.add(MapItem(value, target))
            value.stored = target
        else:
            self.store_into(value, target)

    def switch(self, index: Tensor, branches: Sequence[Any], xs: Sequence[Tensor]) -> list[Tensor]:
        """The results of one branch."""
        operands = [self._stable(x) for x in xs]
        which = self._branch_number(index, len(branches))
        outs = [self._temp(a.shape, a.dtype) for a in _out_avals(branches[0])]
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


class StridedTarget(BufferTensor):
    """A part of a buffer whose elements are not contiguous; only written."""

    __slots__ = ("strides",)

    def __init__(
        self, buffer: Buffer, shape: tuple[int, ...], offset: Affine, strides: tuple[int, ...]
    ) -> None:
        super().__init__(buffer, shape, offset)
        self.strides = strides

    def offset_of(self, idx: Sequence[Any]) -> Affine:
        """The flat offset of an index."""
        total = self.offset
        for i, stride in zip(idx, self.strides, strict=True):
            total = total + affine(i) * stride
        return total


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


def _out_avals(jaxpr: Any) -> list[Any]:
    inner: Jaxpr = jaxpr.jaxpr if isinstance(jaxpr, ClosedJaxpr) else jaxpr
    return inner.out_avals


def _element(value: Any, dtype: np.dtype[Any]) -> Expr:
    if isinstance(value, Expr):
        return value
    if isinstance(value, (LazyTensor, BufferTensor)):
        return value.at(())
    return SCALARS.const(value, dtype)


def _affines(idx: Sequence[Any]) -> list[Affine]:
    return [affine(i) for i in idx]


def _flat(groups: Sequence[Sequence[Local]]) -> tuple[Local, ...]:
    return tuple(x for g in groups for x in g)


def _squeezed(
    old: tuple[int, ...], new: tuple[int, ...]
) -> Callable[[Sequence[Any]], list[Any]] | None:
    """How to index `old` by an index of `new` when they differ by axes of extent 1."""
    if [n for n in old if n != 1] != [n for n in new if n != 1]:
        return None
    places = [d for d, n in enumerate(new) if n != 1]

    def index(idx: Sequence[Any]) -> list[Any]:
        rest = iter([idx[p] for p in places])
        return [0 if n == 1 else next(rest) for n in old]

    return index


def _scalar_function(fn: str | Callable[..., Expr]) -> Callable[..., Expr]:
    if callable(fn):
        return lambda *xs: fn(SCALARS, *xs)
    method = ALIASES.get(fn, fn)
    if method in _METHODS:
        return getattr(SCALARS, method)  # type: ignore[no-any-return]
    return lambda *xs: SCALARS.math(fn, *xs)


_METHODS: Final = frozenset(n for n in ScalarBuilder.__dict__ if not n.startswith("_"))
