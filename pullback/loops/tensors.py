"""Lazy tensors and the work list of a region: what `lower` rules leave for fusion.

    Tensor    BufferTensor(buffer, offset)          elements in memory
            | LazyTensor(axes, expr)                a computation: one element as an expression
    Item      MapItem(tensor, target)               store a lazy tensor
            | ReduceItem(axes, reduced, values, ...)
            | BlockItem(statements)                 imperative nests, library calls, control flow

An expression reaches other lazy tensors through `At`.  `loops/fuse.py` decides which lazy tensors
are stored and which items share a loop; `Expander` then replaces every `At`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import field
from typing import Any, Final, TypeAlias

import numpy as np

from pullback.loops.expr import (
    BOOL,
    DEEP,
    Affine,
    At,
    Axis,
    Const,
    Expr,
    Load,
    Local,
    Op,
    affine,
    compare,
    index_max,
    index_min,
    linearize,
    postorder,
)
from pullback.loops.ir import Buffer, Combine, Stmt, subexpressions
from pullback.loops.scalars import SCALARS
from pullback.records import record

__all__ = [
    "BlockItem",
    "BufferTensor",
    "Expander",
    "Item",
    "LazyTensor",
    "MapItem",
    "ReduceItem",
    "StackedTensor",
    "Tensor",
    "expression_cost",
    "sources",
]


class BufferTensor:
    """Contiguous elements of a buffer from an offset on."""

    __slots__ = ("_loads", "buffer", "dtype", "mutable", "offset", "shape")

    def __init__(
        self, buffer: Buffer, shape: tuple[int, ...], offset: Affine, mutable: bool = False
    ) -> None:
        self.buffer = buffer
        self.shape = shape
        self.offset = offset
        self.dtype = buffer.dtype
        self.mutable = mutable
        self._loads: dict[Affine, Expr] = {}

    def at(self, idx: Sequence[Any]) -> Expr:
        """The element at an index, as a load."""
        offset = self.offset_of(idx)
        found = self._loads.get(offset)
        if found is None:
            found = self._loads[offset] = self.load(offset)
        return found

    def offset_of(self, idx: Sequence[Any]) -> Affine:
        """The flat offset of an index."""
        return linearize([affine(i) for i in idx], self.shape, self.offset)

    def load(self, offset: Affine) -> Expr:
        """A fresh load; of a complex number, both of its parts."""
        if self.dtype.kind == "c":
            return SCALARS.complex(Load(self.buffer, offset, 0), Load(self.buffer, offset, 1))
        return Load(self.buffer, offset)

    def __repr__(self) -> str:
        return f"{self.buffer.name}{list(self.shape)}"


class StackedTensor(BufferTensor):
    """Parts of extent 1 joined along an axis.

    Where its index along the axis is known, an element is that of the part, as long as the region
    is built in which the parts were made (`here`).  If nobody reads another way, as an array of
    indices made of one array an axis is read, nothing is stored.
    """

    __slots__ = ("_axis", "_here", "_parts")

    def __init__(
        self, whole: BufferTensor, parts: Sequence[Tensor], axis: int, here: Callable[[], bool]
    ) -> None:
        super().__init__(whole.buffer, whole.shape, whole.offset)
        self._parts, self._axis, self._here = parts, axis, here

    def at(self, idx: Sequence[Any]) -> Expr:
        """The element at an index."""
        place = affine(idx[self._axis])
        if not place.is_const or not self._here():
            return super().at(idx)
        inner = [*idx[: self._axis], 0, *idx[self._axis + 1 :]]
        return self._parts[place.const].at(inner)


class LazyTensor:
    """A computation of one element, over its own axes; `stored` once it is in memory."""

    __slots__ = (
        "_ats",
        "axes",
        "cost",
        "cuts",
        "dtype",
        "expr",
        "leaves",
        "position",
        "shape",
        "stored",
        "turned",
    )

    def __init__(
        self, shape: tuple[int, ...], axes: tuple[Affine, ...], expr: Expr, position: int
    ) -> None:
        self.shape = shape
        self.axes = axes
        self.expr = expr
        self.dtype = expr.dtype
        self.position = position
        self.stored: BufferTensor | None = None
        self.turned: tuple[int, int] | None = None
        """An axis, and where the second of two parts of one array begins along it."""
        self.cuts: frozenset[tuple[int, int]] = frozenset()
        """Where along which axes a nest that stores it is cut for such tensors."""
        self.cost, self.leaves = expression_cost(expr)
        self._ats: dict[tuple[Affine, ...], Expr] = {}

    def at(self, idx: Sequence[Any]) -> Expr:
        """The element at an index."""
        if self.stored is not None:
            return self.stored.at(idx)
        if type(self.expr) is Const:
            return self.expr
        key = tuple([affine(i) for i in idx])
        found = self._ats.get(key)
        if found is None:
            if len(key) != len(self.shape):
                raise ValueError(f"{len(key)} indices of a tensor of shape {self.shape}")
            found = self._ats[key] = At(self, key)
        return found

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    def __repr__(self) -> str:
        return f"lazy{list(self.shape)}"


Tensor: TypeAlias = "BufferTensor | LazyTensor"

_COSTS: Final[dict[str, float]] = {
    "select": 1,
    "convert": 1,
    "bitcast": 0,
    "real": 0,
    "imag": 0,
    "complex": 0,
    "div": 5,
    "rem": 12,
    "sqrt": 6,
    "math": 18,
    "extern": 200,
    "floordiv": 3,
    "mod": 4,
    "mulhi": 3,
}
"""Rough costs of operations relative to an addition."""


def expression_cost(expr: Expr) -> tuple[float, tuple[At, ...]]:
    """The cost of an expression without the lazy tensors that it reads, and those reads."""
    cost = 0.0
    leaves = []
    for e in subexpressions([expr]):
        if type(e) is Op:
            cost += _COSTS.get(e.name, 1)
        elif type(e) is At:
            leaves.append(e)
        elif type(e) is Load:
            cost += 0.25
    return cost, tuple(leaves)


def sources(x: Tensor) -> tuple[set[Buffer], float]:
    """The buffers that a tensor reads, and what computing an element costs beside scalars."""
    buffers: set[Buffer] = set()
    total = 0.0
    seen: set[int] = set()
    stack = [x]
    while stack:
        tensor = stack.pop()
        if id(tensor) in seen:
            continue
        seen.add(id(tensor))
        place = tensor if isinstance(tensor, BufferTensor) else tensor.stored
        if place is not None:
            buffers.add(place.buffer)
        elif isinstance(tensor, LazyTensor):
            total += tensor.cost if tensor.shape else 0.0
            buffers.update(e.buffer for e in subexpressions([tensor.expr]) if type(e) is Load)
            stack += [leaf.tensor for leaf in tensor.leaves]
    return buffers, total


@record(frozen=False)
class MapItem:
    """Store a lazy tensor."""

    tensor: LazyTensor
    target: BufferTensor


@record(frozen=False)
class ReduceItem:
    """Reduce `values`, given over `axes`, along the axes numbered `reduced`."""

    shape: tuple[int, ...]
    axes: tuple[Affine, ...]
    reduced: tuple[int, ...]
    values: tuple[Expr, ...]
    inits: tuple[Expr, ...]
    combine: Combine
    targets: tuple[BufferTensor, ...]
    results: tuple[Expr, ...]
    """What each target stores, in terms of `combine.left`."""
    leaves: tuple[At, ...] = ()
    cost: float = 0.0

    def __post_init__(self) -> None:
        leaves: list[At] = []
        for value in (*self.values, *self.inits):
            cost, found = expression_cost(value)
            self.cost += cost
            leaves += found
        self.leaves = tuple(leaves)


@record(frozen=False)
class BlockItem:
    """Statements in order, which may still contain `At`."""

    stmts: list[Stmt] = field(default_factory=list)


Item: TypeAlias = "MapItem | ReduceItem | BlockItem"
Mapping: TypeAlias = "dict[Any, Expr]"
Forwards: TypeAlias = "dict[tuple[Buffer, Affine], Expr]"
Resolve: TypeAlias = Callable[["LazyTensor", tuple[Affine, ...]], "Expr | None"]


class Expander:
    """Rewrites expressions: axes by a mapping, `At` by loads or by the computation itself.

    `resolve(tensor, index)` may give an expression that is known already, such as the value that
    the same loop has just computed.
    """

    def __init__(self, resolve: Resolve | None = None) -> None:
        self._resolve = resolve
        self._tensors: dict[tuple[int, tuple[Affine, ...]], Expr] = {}
        self._keep: list[Any] = []

    def tensor(self, tensor: LazyTensor, idx: tuple[Affine, ...]) -> Expr:
        """The element of a lazy tensor at an index."""
        if self._resolve is not None:
            known = self._resolve(tensor, idx)
            if known is not None:
                return known
        if tensor.stored is not None:
            return tensor.stored.at(idx)
        return self.computation(tensor, idx)

    def computation(self, tensor: LazyTensor, idx: tuple[Affine, ...]) -> Expr:
        """The same, computed even if it is stored."""
        key = (id(tensor), idx)
        found = self._tensors.get(key)
        if found is None:
            mapping: Mapping = {}
            for axis, i in zip(tensor.axes, idx, strict=True):
                mapping.update((a, i) for a in axis.terms)
            found = self._tensors[key] = self.rewrite(tensor.expr, mapping)
            self._keep.append(tensor)
        return found

    def rewrite(self, expr: Expr, mapping: Mapping) -> Expr:
        """An expression with its axes replaced and no `At` left."""
        return _Rewrite(self, mapping).visit(expr)


class _Rewrite:
    """One pass over a directed acyclic graph of expressions."""

    __slots__ = ("expander", "forwards", "mapping", "memo", "private")

    def __init__(self, expander: Expander | None, mapping: Mapping) -> None:
        self.expander = expander
        self.mapping = mapping
        self.memo: dict[int, Expr] = {}
        self.forwards: Forwards = {}
        self.private: tuple[Buffer, frozenset[Axis]] | None = None

    def visit(self, e: Expr) -> Expr:
        kind = type(e)
        if kind is Affine:
            return self.index(e)  # type: ignore[arg-type]
        if kind is Const:
            return e
        found = self.memo.get(id(e))
        if found is None:
            if e.depth > DEEP:
                for inner in postorder(e):
                    if id(inner) not in self.memo:
                        self.memo[id(inner)] = self._visit(inner)
                return self.memo[id(e)] if type(e) is Op else self._visit(e)
            found = self.memo[id(e)] = self._visit(e)
        return found

    def _visit(self, e: Expr) -> Expr:
        if type(e) is Op:
            return self._op(e)
        if type(e) is Load:
            return self._loaded(e)
        if type(e) is Local:
            return self.mapping.get(e, e)
        if type(e) is At:
            idx = tuple([self.index(i) for i in e.idx])
            if self.expander is None:
                raise AssertionError("an unexpanded tensor in a finished expression")
            return self.expander.tensor(e.tensor, idx)
        if type(e) is Axis:
            return self.index(affine(e))
        return e

    def _loaded(self, e: Load) -> Expr:
        offset = self.index(e.offset)
        if self.forwards:
            value = self.forwards.get((e.buffer, offset))
            if value is not None:
                return value if e.part is None else SCALARS._part(value, e.part)
        if self.private is not None and e.buffer is self.private[0]:
            offset = without_axes(offset, self.private[1])
        return e if offset is e.offset else Load(e.buffer, offset, e.part)

    def index(self, x: Affine) -> Affine:
        """An index with its atoms rewritten."""
        terms = x.terms
        if not terms:
            return x
        if len(terms) == 1 and not x.const:
            ((atom, k),) = terms.items()
            new = self._atom(atom)
            return x if new is None else new * k if k != 1 else new
        total: Affine | None = None
        for atom, k in terms.items():
            new = self._atom(atom)
            if new is not None:
                if total is None:
                    kept = {a: c for a, c in terms.items() if self._atom(a) is None}
                    total = Affine(x.const, kept)
                total = total + (new * k if k != 1 else new)
        return x if total is None else total

    def _atom(self, atom: Expr) -> Affine | None:
        """The replacement of an atom, None if it stays."""
        if type(atom) is Axis or type(atom) is Local:
            new_value = self.mapping.get(atom)
            return None if new_value is None else affine(new_value)
        if type(atom) is Op or type(atom) is Load or type(atom) is At:
            new = self.visit(atom)
            return None if new is atom else affine(new)
        return None

    def _op(self, e: Op) -> Expr:
        name = e.name
        if name == "select":
            condition = self.visit(e.args[0])
            if type(condition) is Const:
                return self.visit(e.args[1] if condition.value else e.args[2])
        args = tuple([self.visit(a) for a in e.args])
        if all(map(_same, args, e.args)):
            return e
        rebuild = _REBUILD.get(name)
        return Op(name, args, e.dtype, e.attr) if rebuild is None else rebuild(e, *args)


def _same(x: Expr, y: Expr) -> bool:
    return x is y


def _rebuild_compare(e: Op, x: Expr, y: Expr) -> Expr:
    if type(x) is Affine or type(y) is Affine:
        return compare(e.name, affine(x), affine(y))
    return Op(e.name, (x, y), BOOL)


_REBUILD: Final[dict[str, Callable[..., Expr]]] = {
    "lt": _rebuild_compare,
    "eq": _rebuild_compare,
    "ne": _rebuild_compare,
    "and": lambda e, x, y: SCALARS.and_(x, y),
    "or": lambda e, x, y: SCALARS.or_(x, y),
    "not": lambda e, x: SCALARS.not_(x),
    "real": lambda e, x: SCALARS.real(x),
    "imag": lambda e, x: SCALARS.imag(x),
    "select": lambda e, c, x, y: SCALARS.select(c, x, y),
    "convert": lambda e, x: SCALARS.convert(x, e.dtype),
    "floordiv": lambda e, x: affine(x) // e.attr,
    "mod": lambda e, x: affine(x) % e.attr,
    "imin": lambda e, x, y: index_min(x, y),
    "imax": lambda e, x, y: index_max(x, y),
    "imul": lambda e, x, y: affine(x) * affine(y),
}


def substitute(
    exprs: Sequence[Expr],
    mapping: Mapping,
    forwards: Forwards | None = None,
    private: tuple[Buffer, frozenset[Axis]] | None = None,
) -> list[Expr]:
    """Finished expressions with axes and names replaced, shared parts staying shared.

    `forwards` replaces loads by values known to be there; `private` is a buffer whose offsets lose
    their terms in some axes.
    """
    rewrite = _Rewrite(None, mapping)
    rewrite.forwards = forwards or {}
    rewrite.private = private
    return [rewrite.visit(e) for e in exprs]


def without_axes(offset: Affine, axes: frozenset[Axis]) -> Affine:
    """An offset without its terms in some axes."""
    return Affine(offset.const, {a: k for a, k in offset.terms.items() if a not in axes})


def new_axes(shape: Sequence[int]) -> tuple[Affine, ...]:
    """One index an extent; 0 where the extent is 1."""
    return tuple([affine(0) if n == 1 else affine(Axis(n)) for n in shape])


def rank0(value: Any, dtype: np.dtype[Any]) -> LazyTensor:
    """A scalar known now."""
    return LazyTensor((), (), SCALARS.const(value, dtype), 0)
