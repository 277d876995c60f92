"""The builder, first part: regions, lazy tensors, reductions, buffers.

Equations are lowered in order into the current `Region`: lazy tensors, and a list of items that
store something.  A loop body, a branch and the program itself are regions; when one is complete,
`loops/fuse.py` turns its items into statements.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import field
from typing import Any, Final

import numpy as np

from pullback.core import dtypes
from pullback.errors import LoweringError
from pullback.loops import (  # noqa: F401  (they register the expansions of complex numbers)
    complex_inverses,
    complexes,
)
from pullback.loops.expr import (
    INT64,
    Affine,
    At,
    Const,
    Expr,
    Load,
    Local,
    affine,
    delinearize,
    linearize,
    row_major,
)
from pullback.loops.ir import Address, Buffer, Combine, Copy, Let, Stmt, Store
from pullback.loops.nests import ROW_MOST, ROWS_LEAST
from pullback.loops.scalars import ALIASES, SCALARS, ScalarBuilder, joined, parts_of
from pullback.loops.stored import CHEAP
from pullback.loops.tensors import (
    BlockItem,
    BufferTensor,
    Item,
    LazyTensor,
    MapItem,
    ReduceItem,
    StackedTensor,
    Tensor,
    new_axes,
    sources,
)
from pullback.loops.turned import SMALL
from pullback.records import record

__all__ = ["Region", "TensorBuilder", "element_of"]

_UNROLLED_REDUCTION: Final = 4
_ROW_COST: Final = 32.0
"""The cost of a row's computed parts of several elements, each of which is a copy of its code."""
_ZERO: Final = affine(0)


@record(frozen=False)
class Region:
    """Straight-line work: the items of a program, of a loop body or of a branch."""

    items: list[Item] = field(default_factory=list)
    blocks: list[list[Stmt]] = field(default_factory=list)
    """The open blocks of an imperative nest, innermost last; the first is that of an item."""
    lazies: list[LazyTensor] = field(default_factory=list)
    made: set[int] = field(default_factory=set)
    """The identities of `lazies`."""
    owned: set[Buffer] = field(default_factory=set)
    """Temporaries made here: nothing outside this region reads them unless a block does."""
    stacked: set[Buffer] = field(default_factory=set)
    """Those of stacks, which nobody may read: see `StackedTensor`."""
    conversions: dict[tuple[int, Any], tuple[Tensor, Tensor]] = field(default_factory=dict)
    """Tensors, by their identities, with what they were converted to here."""


class TensorBuilder:
    """Makes lazy tensors and the items of a region; the base of `LoopBuilder`."""

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
    def inner(self, block: list[Stmt]) -> Iterator[None]:
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

    def lazy(self, shape: Sequence[int], axes: tuple[Affine, ...], expr: Expr) -> LazyTensor:
        region = self.region
        if len(region.blocks) > 1:  # inside an imperative nest: always inlined
            return LazyTensor(tuple(shape), axes, expr, -1)
        region.blocks.clear()
        tensor = LazyTensor(tuple(shape), axes, expr, len(region.items))
        region.lazies.append(tensor)
        region.made.add(id(tensor))
        return tensor

    def local(self, x: LazyTensor) -> LazyTensor:
        """A tensor that can be stored in this region: what is stored here others do not see."""
        if len(self.regions) == 1 or x.position < 0 or id(x) in self.region.made:
            return x
        axes = new_axes(x.shape)
        return self.lazy(x.shape, axes, x.at(axes))

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
        return self.lazy(shape, axes, expr)

    def converted(self, x: Tensor, dtype: Any) -> Tensor:
        """A tensor with elements of another type: the same one for all in a region who ask for it.

        What several matrix kernels read is then stored once.
        """
        if x.dtype == dtype:
            return x
        known = self.region.conversions.get((id(x), dtype))
        if known is not None:
            return known[1]
        made = self.map(lambda s, e: s.convert(e, dtype), x)
        if isinstance(x, LazyTensor) or not (x.mutable or x.buffer in self.carried):
            self.region.conversions[id(x), dtype] = x, made
        return made

    def view(self, shape: Sequence[int], at: Callable[[tuple[Expr, ...]], Expr]) -> Tensor:
        """A tensor given by the expression of its element at an index."""
        shape = tuple([int(n) for n in shape])
        axes = new_axes(shape)
        return self.lazy(shape, axes, at(axes))

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
        if self._is_rows(parts, shape, axis):
            return self._side_by_side(parts, shape, axis)
        two = len(parts) == 2 and math.prod(shape) > SMALL
        if two and _whole(parts[0]) is _whole(parts[1]) is not None:
            return self._turned(shape, parts[0], parts[1], axis)
        out = self.temp(shape, parts[0].dtype)
        start = 0
        for x in parts:
            self.store_part(out, x, [start if d == axis else 0 for d in range(len(shape))])
            start += x.shape[axis]
        return self._stacked(out, parts, axis)

    def _is_rows(self, parts: Sequence[Tensor], shape: Sequence[int], axis: int) -> bool:
        """Whether many short rows are made of parts that cost little."""
        short, rows = math.prod(shape[axis:]), math.prod(shape[:axis])
        if not 1 < short <= ROW_MOST or rows < ROWS_LEAST:
            return False
        heavy = [x for x in parts if isinstance(x, LazyTensor) and math.prod(x.shape[axis:]) > 1]
        return sum(x.cost * math.prod(x.shape[axis:]) for x in heavy) <= _ROW_COST

    def _side_by_side(self, parts: Sequence[Tensor], shape: tuple[int, ...], axis: int) -> Tensor:
        """Short rows made of parts: an item for each place in a row, which become one loop."""
        out = self.temp(shape, parts[0].dtype)
        strides, first = row_major(shape), 0
        for x in parts:
            axes = new_axes(x.shape[:axis])
            for place in np.ndindex(*x.shape[axis:]):
                view = self.lazy(x.shape[:axis], axes, x.at([*axes, *map(affine, place)]))
                at = first + sum(k * n for k, n in zip(place, strides[axis:], strict=True))
                target = StridedTarget(out.buffer, view.shape, out.offset + at, strides[:axis])
                self.add(MapItem(view, target))
            first += x.shape[axis] * strides[axis]
        return self._stacked(out, parts, axis)

    def _stacked(self, out: BufferTensor, parts: Sequence[Tensor], axis: int) -> Tensor:
        if any(x.shape[axis] > 1 for x in parts):
            return out
        region = self.region
        region.stacked.add(out.buffer)
        return StackedTensor(out, parts, axis, lambda: self.region is region)

    def _turned(self, shape: tuple[int, ...], first: Tensor, last: Tensor, axis: int) -> Tensor:
        """Two parts of one array (`loops/turned.py`)."""
        size = first.shape[axis]

        def element(i: Any) -> Expr:
            left, right = list(i), list(i)
            left[axis] = SCALARS.index(i[axis], 0, size - 1)
            right[axis] = SCALARS.index(i[axis] - size, 0, last.shape[axis] - 1)
            return SCALARS.select(i[axis] < size, first.at(left), last.at(right))

        turned = self.view(shape, element)
        assert isinstance(turned, LazyTensor)
        turned.turned = axis, size
        turned.cost = 0.25  # once the nest is cut, a load
        return turned

    def store_part(self, out: BufferTensor, x: Tensor, starts: Sequence[int]) -> None:
        """Store `x` at known places of `out`, by an item that others may join."""
        axes = new_axes(x.shape)
        view = self.lazy(x.shape, axes, x.at(axes))
        strides = row_major(out.shape)
        first = out.offset + sum(k * stride for k, stride in zip(starts, strides, strict=True))
        self.add(MapItem(view, StridedTarget(out.buffer, x.shape, first, strides)))

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
        return self.lazy(shape, new_axes(shape), SCALARS.const(value, dtype))

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
        starts = [element_of(v, x.dtype) for v, x in zip(inits, xs, strict=True)]
        if extent == 0:
            return [self.lazy(kept, new_axes(kept), v) for v in starts]
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
        return [self.lazy(kept, axes, e) for e in rows[0]]

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
        left = [[Local(p.dtype) for p in parts_of(v)] for v in starts]
        right = [[Local(p.dtype) for p in parts_of(v)] for v in starts]
        made = combine(SCALARS, [joined(p) for p in left], [joined(p) for p in right])
        for result, start in zip(made, starts, strict=True):
            if result.dtype != start.dtype:
                raise TypeError(f"a reduction of {start.dtype} combines to {result.dtype}")
        targets = tuple(self.temp(kept, v.dtype) for v in starts)
        self.add(
            ReduceItem(
                shape,
                axes,
                reduced,
                tuple(p for v in values for p in parts_of(v)),
                tuple(p for v in starts for p in parts_of(v)),
                Combine(_flat(left), _flat(right), tuple(p for m in made for p in parts_of(m))),
                targets,
                tuple(joined(p) for p in left),
            )
        )
        return list(targets)

    # ---------------------------------------------------------------- buffers

    def temp(
        self,
        shape: Sequence[int],
        dtype: Any,
        mutable: bool = False,
        region: Region | None = None,
    ) -> BufferTensor:
        shape = tuple([int(n) for n in shape])
        buffer = Buffer(dtypes.physical(dtypes.as_dtype(dtype)), math.prod(shape), "temp")
        (region or self.region).owned.add(buffer)
        return BufferTensor(buffer, shape, _ZERO, mutable)

    def materialize(self, x: Tensor) -> BufferTensor:
        """The same tensor in a buffer."""
        if isinstance(x, BufferTensor):
            return x
        if x.stored is None:
            home = self._home(x)
            target = self.temp(x.shape, x.dtype, region=home)
            if home is self.region:
                x = self.local(x)
                self.add(MapItem(x, target))
            else:  # before the loop or the branch in which it is first needed
                home.blocks.clear()
                home.items.append(MapItem(x, target))
            x.stored = target
        return x.stored

    def is_cheap(self, x: Tensor) -> bool:
        """Whether an element is computed as fast as it would be loaded."""
        return sources(x)[1] <= CHEAP

    def is_settled(self, x: Tensor, changing: Tensor) -> bool:
        """Whether a tensor can be read as it is while the memory of another changes.

        One that reads what the other does cannot: else that had to be copied first.  One that costs
        something is computed in a loop of its own.
        """
        if isinstance(x, BufferTensor) or x.stored is not None:
            return True
        return self.is_cheap(x) and sources(x)[0].isdisjoint(sources(changing)[0])

    def is_apart(self, x: Tensor, changing: Tensor) -> bool:
        """Whether a tensor is computed from other arrays than a stored one, which may change."""
        place = changing if isinstance(changing, BufferTensor) else changing.stored
        return place is not None and place.buffer not in sources(x)[0]

    def settled(self, x: Tensor, changing: Tensor) -> Tensor:
        """A tensor to read while the memory of another changes: stored, if need be."""
        return x if self.is_settled(x, changing) else self.materialize(x)

    def _home(self, x: LazyTensor) -> Region:
        """The region that made a tensor, if something can be added there; the present one if not.

        A store in a loop or a branch must not be what statements before it, or beside it, read.
        """
        for region in reversed(self.regions):
            if id(x) in region.made:
                return region if len(region.blocks) < 2 else self.region
        return self.region

    def part(self, x: Tensor, idx: Sequence[Any]) -> BufferTensor:
        """What is at leading indices of a tensor, in its buffer."""
        whole = self.materialize(x)
        rest = whole.shape[len(idx) :]
        offset = whole.offset_of([*idx, *[0] * len(rest)])
        return BufferTensor(whole.buffer, rest, offset, whole.mutable)

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
        self.add(MapItem(self.lazy(x.shape, axes, x.at(axes)), target))

    def buffer(self, shape: Sequence[int], dtype: Any, init: Tensor | None = None) -> BufferTensor:
        """A new mutable buffer."""
        out = self.temp(shape, dtype, mutable=True)
        if init is not None:
            if init.shape != out.shape or init.dtype != out.dtype:
                raise TypeError(f"{init.dtype}{init.shape} initialises {out.dtype}{out.shape}")
            self.store_into(init, out)
        return out

    def load(self, buffer: Tensor, idx: Sequence[Any]) -> Expr:
        """The element now."""
        if not isinstance(buffer, BufferTensor):
            return joined([self.named(part) for part in parts_of(buffer.at(idx))])
        value = buffer.load(buffer.offset_of(idx))
        return joined([self.named(p) for p in parts_of(value)])

    def store(self, buffer: Tensor, idx: Sequence[Any], value: Any) -> None:
        """Write an element."""
        if not isinstance(buffer, BufferTensor):
            raise TypeError("only a buffer can be written")
        value = element_of(value, buffer.dtype)
        if value.dtype != buffer.dtype:
            raise TypeError(f"a {value.dtype} stored to a buffer of {buffer.dtype}")
        self.emit(Store(buffer.buffer, buffer.offset_of(idx), value))


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


def element_of(value: Any, dtype: np.dtype[Any]) -> Expr:
    """An expression: of one, of a tensor without axes, or of a number."""
    if isinstance(value, Expr):
        return value
    if isinstance(value, (LazyTensor, BufferTensor)):
        return value.at(())
    return SCALARS.const(value, dtype)


def _affines(idx: Sequence[Any]) -> list[Affine]:
    return [affine(i) for i in idx]


def _whole(x: Tensor) -> object:
    """The array that a tensor is elements of; None if it is more than that."""
    if isinstance(x, BufferTensor):
        return x.buffer
    if type(x.expr) is At:
        return x.expr.tensor
    return x.expr.buffer if type(x.expr) is Load else None


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
