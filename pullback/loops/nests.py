"""Groups of members that share loops, and nests: what schedules are made from.

A `Group` (made by `loops/fuse.py`) has either one stage over all of its axes, or an outer loop over
rows (`outer` leading axes) and stages that work on one row each.  A `Nest` is one stage on its way
to become loops: its axes can be merged and are judged for vectors here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import field
from typing import Any, Final

import numpy as np

from pullback.core import dtypes
from pullback.loops.expr import INT64, Affine, Axis, Const, Expr, Load, Local, Op, affine
from pullback.loops.ir import Buffer, Combine, Store, subexpressions
from pullback.loops.tensors import Forwards, Mapping, substitute, without_axes
from pullback.records import record

__all__ = [
    "APART",
    "NEAR",
    "ROWS_LEAST",
    "ROW_MOST",
    "Group",
    "Machine",
    "Member",
    "Nest",
    "Period",
    "Stage",
    "element_bytes",
    "extent_of",
    "lanes_of",
    "lie_in_row",
    "machine",
    "merge",
    "merged_axes",
    "period_of",
    "power_of_two",
    "rename_members",
    "size_of",
    "vector_axis",
    "weight_of",
    "wide_share",
    "width_of",
    "with_expressions",
]


@record(frozen=False)
class Machine:
    """What schedules depend on."""

    vector_bits: int = 512
    kernels: frozenset[str] = frozenset()
    """C functions that not every machine has."""


machine: Final = Machine()

APART: Final = 16
"""Elements between neighbours of a vector from which each comes from a cache line of its own."""

ROW_MOST: Final = 16
"""Elements of a row up to which each of them is a vector over rows ..."""
ROWS_LEAST: Final = 64
"""... if there are so many rows."""


@record(frozen=False)
class Member:
    """A computation of a stage: stores of mapped values, or of the results of a reduction.

    The stores of a reduction give its results in terms of `combine.left`.
    """

    stores: list[Store]
    values: tuple[Expr, ...] = ()
    inits: tuple[Expr, ...] = ()
    combine: Combine | None = None
    cost: float = 0.0

    def expressions(self) -> list[Expr]:
        """All expressions, those of `combine` excepted."""
        stores = [e for s in self.stores for e in (s.offset, s.value)]
        return [*stores, *self.values, *self.inits]

    def renamed(
        self,
        mapping: Mapping,
        forwards: Forwards | None = None,
        private: tuple[Buffer, frozenset[Axis]] | None = None,
    ) -> Member:
        """The same with axes replaced and known values in place of loads."""
        return rename_members([self], mapping, forwards, private)[0]


def rename_members(
    members: Sequence[Member],
    mapping: Mapping,
    forwards: Forwards | None = None,
    private: tuple[Buffer, frozenset[Axis]] | None = None,
) -> list[Member]:
    """Members with axes replaced and known values in place of loads; what they share stays shared.

    `private`: a buffer that has become local to a row, and the axes of rows.
    """
    exprs = [e for m in members for e in m.expressions()]
    out = with_expressions(members, substitute(exprs, mapping, forwards, private))
    if private is not None:
        for m in out:
            m.stores = [_in_row(s, *private) for s in m.stores]
    return out


def with_expressions(members: Sequence[Member], exprs: Iterable[Expr]) -> list[Member]:
    """Members with others in place of their `expressions()`."""
    new = iter(exprs)
    out = []
    for m in members:
        stores = [Store(s.buffer, affine(next(new)), next(new)) for s in m.stores]
        values = tuple(next(new) for _ in m.values)
        inits = tuple(next(new) for _ in m.inits)
        out.append(Member(stores, values, inits, m.combine, m.cost))
    return out


def _in_row(s: Store, buffer: Buffer, rows: frozenset[Axis]) -> Store:
    return Store(buffer, without_axes(s.offset, rows), s.value) if s.buffer is buffer else s


@record(frozen=False)
class Stage:
    """Members that share a loop over `axes`."""

    axes: list[Axis]
    members: list[Member]


@record(frozen=False)
class Group:
    """One nest of loops; with `outer`, stages inside a loop over that many leading axes."""

    axes: list[Axis]
    reduced: frozenset[int]
    stages: list[Stage]
    outer: int = 0
    cost: float = 0.0
    buffers: set[Buffer] = field(default_factory=set)
    registers: int = 0
    """How many of them nobody else reads any more."""
    cuts: frozenset[tuple[int, int]] = frozenset()
    """Where along which axes it becomes several nests, each with a copy of the computation."""


# --------------------------------------------------------------------------- one nest


@record(frozen=False)
class Nest:
    """Members over axes (outermost first), some of them reduced."""

    axes: list[Axis]
    reduced: frozenset[int]
    members: list[Member]

    def expressions(self) -> list[Expr]:
        return [e for m in self.members for e in m.expressions()]

    def indices(self) -> list[Affine]:
        """The distinct indices in all expressions."""
        return list({e for e in subexpressions(self.expressions()) if type(e) is Affine})

    def substituted(self, mapping: Mapping) -> list[Member]:
        return rename_members(self.members, mapping)


def extent_of(axis: Axis) -> int:
    """The number of turns of an axis, which is known."""
    assert axis.extent is not None
    return axis.extent


def size_of(axes: Iterable[Axis]) -> int:
    """The number of turns of all axes together."""
    return math.prod(extent_of(a) for a in axes)


def _mergeable(outer: Axis, inner: Axis, indices: Iterable[Affine]) -> bool:
    extent = extent_of(inner)
    return all(i.terms.get(outer, 0) == i.terms.get(inner, 0) * extent for i in indices)


def merge(nest: Nest) -> Nest:
    """Make adjacent axes one wherever every index moves through them as through one."""
    indices = nest.indices()
    axes, mapping, reduced = merged_axes(nest.axes, nest.reduced, indices)
    if not mapping:
        return nest
    return Nest(axes, reduced, nest.substituted(mapping))


def merged_axes(
    axes: Sequence[Axis], reduced: frozenset[int], indices: list[Affine]
) -> tuple[list[Axis], Mapping, frozenset[int]]:
    """The axes of `merge`, the old ones in terms of them, and which are reduced."""
    out: list[tuple[list[Axis], bool]] = []
    for k, axis in enumerate(axes):
        if out and out[-1][1] == (k in reduced):
            run = out[-1][0]
            if _mergeable(run[-1], axis, indices):
                run.append(axis)
                continue
        out.append(([axis], k in reduced))
    mapping: Mapping = {}
    merged = []
    for run, _ in out:
        if len(run) == 1:
            merged.append(run[0])
            continue
        new = Axis(size_of(run))
        mapping.update({a: affine(0) for a in run[:-1]})
        mapping[run[-1]] = affine(new)
        merged.append(new)
    positions = frozenset(k for k, (_, is_reduced) in enumerate(out) if is_reduced)
    return merged, mapping, positions


# --------------------------------------------------------------------------- vectors


def element_bytes(exprs: Sequence[Expr]) -> int:
    """The widest element that a nest computes with; places in memory are counted apart."""
    widest = 1
    for e in subexpressions(exprs):
        if type(e) is Affine or type(e) is Axis or type(e) is Const or _is_place(e):
            continue
        if type(e) is Local and e.dtype == INT64:  # of data, something else is as wide
            continue
        if e.dtype.kind != "b":
            widest = max(widest, _register_bytes(e.dtype))
    return widest


def wide_share(exprs: Sequence[Expr]) -> float:
    """The part of a nest's operations that is on elements of 8 bytes; places are not counted."""
    operations = [e for e in subexpressions(exprs) if type(e) is Op and not _is_place(e)]
    wide = sum(_register_bytes(e.dtype) > 4 for e in operations)
    return wide / max(len(operations), 1)


def _is_place(e: Expr) -> bool:
    """Whether this is an index made of narrower integers, which has 32 bits if it fits."""
    if type(e) is not Op or e.dtype != INT64:
        return False
    if e.name in ("imin", "imax", "imul", "floordiv", "mod"):
        return True
    source = e.args[0].dtype if e.name == "convert" else INT64
    return source.kind in "iub" and source.itemsize < 8


def _register_bytes(dtype: np.dtype[Any]) -> int:
    if dtype.kind == "c":
        return dtype.itemsize // 2
    if dtypes.kind_of(dtype) == "f":
        return max(4, dtype.itemsize)
    return dtype.itemsize


def _is_vectorizable(exprs: Sequence[Expr]) -> bool:
    return not any(type(e) is Op and e.name == "extern" for e in subexpressions(exprs))


def power_of_two(n: int) -> int:
    """The largest power of two that is no larger than n."""
    return 1 << (n.bit_length() - 1)


def width_of(extent: int, exprs: Sequence[Expr], unroll: int) -> int:
    """Lanes of a vector loop over so many elements; 1 where the work is no vector's."""
    if not _is_vectorizable(exprs):
        return 1
    return min(lanes_of(exprs) * unroll, power_of_two(max(extent, 1)), 256)


def lanes_of(exprs: Sequence[Expr]) -> int:
    """Lanes of one register."""
    return machine.vector_bits // 8 // min(element_bytes(exprs), 8)


def weight_of(exprs: Sequence[Expr]) -> float:
    """Rough work of the body of a loop, in additions."""
    heavy = {"math": 16.0, "extern": 200.0, "div": 4.0, "sqrt": 4.0, "rem": 8.0}
    return sum(heavy.get(e.name, 1.0) for e in subexpressions(exprs) if type(e) is Op)


def _cost_along(axis: Axis, nest: Nest, exprs: Sequence[Expr], weight: float) -> float:
    """Estimated cost of an element with vectors along an axis: gathers and short runs are dear."""
    extent = extent_of(axis)
    lanes = min(lanes_of(exprs), power_of_two(extent))
    total = 1.0 + 0.5 * weight
    loads = {(e.buffer, e.offset) for e in subexpressions(exprs) if type(e) is Load}
    total += sum(_access_cost(axis, offset, lanes) for _, offset in loads)  # a complex number once
    reduced = [nest.axes[k] for k in nest.reduced]
    for member in nest.members:
        if member.combine is None or axis not in reduced:
            steps = 1 if member.combine is None else max(size_of(reduced), 1)
            total += sum(1.5 * _access_cost(axis, s.offset, lanes) for s in member.stores) / steps
    return total * -(-extent // lanes) / extent


def _access_cost(axis: Axis, offset: Affine, lanes: int) -> float:
    k = offset.terms.get(axis, 0)
    if any(axis is a for atom in offset.terms if type(atom) is Op for a in subexpressions([atom])):
        return 1.5 * lanes
    if k in (0, 1):
        return 1.0 if k else 0.5
    if abs(k) <= 4:
        return 2.0 + 0.1 * lanes
    return (1.5 if abs(k) >= APART else 0.75) * lanes


def vector_axis(nest: Nest) -> int:
    """The position of the axis to vectorise; the last of equals."""
    exprs = nest.expressions()
    weight = weight_of(exprs)
    ranked = [(-_cost_along(a, nest, exprs, weight), k) for k, a in enumerate(nest.axes)]
    return max(ranked)[1]


# --------------------------------------------------------------------------- short rows

_MOST_VECTORS: Final = 9
_MOST_WORK: Final = 200.0
NEAR: Final = 3
"""Vectors in a row that are loaded and shuffled where one is of elements of theirs."""


@record()
class Period:
    """Rows along so many of the innermost axes, and how many of them are whole vectors."""

    axes: int
    rows: int


def period_of(nest: Nest) -> Period | None:
    """The least rows that are whole vectors, if rows are shorter than one but lie in a row.

    A row is along the innermost axis, or the innermost few. None where vectors along an axis are as
    good, or where a block is much code.
    """
    exprs = nest.expressions()
    if len(nest.axes) < 2 or nest.reduced or not _is_vectorizable(exprs):
        return None
    lanes, weight = lanes_of(exprs), weight_of(exprs)
    if extent_of(nest.axes[-1]) >= lanes:
        return None
    stores = [s.offset for m in nest.members for s in m.stores]
    loads = list(_offsets(exprs))
    for count in range(1, len(nest.axes)):
        row, inner = nest.axes[-count - 1], nest.axes[-count:]
        short = size_of(inner)
        vectors = short // math.gcd(short, lanes)
        period = Period(count, vectors * lanes // short)
        if extent_of(row) < period.rows:
            continue
        if vectors > _MOST_VECTORS or vectors * weight > _MOST_WORK:
            return None
        near = any(_near(e, row, inner, lanes) for e in loads)
        return period if near and all(lie_in_row(e, [row, *inner]) for e in stores) else None
    return None


def without_quotients(nest: Nest) -> Nest:
    """The nest with axes in parts where indices have their quotients by the parts' extents."""
    divided: dict[Axis, set[int]] = {}
    for e in subexpressions(nest.expressions()):
        if type(e) is Op and e.name in ("floordiv", "mod") and type(e.args[0]) is Affine:
            for axis in nest.axes[-2:]:
                if e.args[0].terms.get(axis) == 1:
                    divided.setdefault(axis, set()).add(e.attr)
    for axis, divisors in divided.items():
        short, extent = min(divisors), extent_of(axis)
        if extent == short or any(n % short for n in (extent, *divisors)):
            continue
        outer, inner = Axis(extent // short), Axis(short)
        members = nest.substituted({axis: affine(outer) * short + affine(inner)})
        at = nest.axes.index(axis)
        axes = [*nest.axes[:at], outer, inner, *nest.axes[at + 1 :]]
        return without_quotients(Nest(axes, nest.reduced, members))
    return nest


def _offsets(exprs: Sequence[Expr]) -> Iterable[Affine]:
    return (e.offset for e in subexpressions(exprs) if type(e) is Load)


def lie_in_row(offset: Affine, axes: Sequence[Axis]) -> bool:
    """Whether an index walks axes as they lie in memory, one element after the other."""
    step = 1
    for axis in reversed(axes):
        if offset.terms.get(axis, 0) != step:
            return False
        step *= extent_of(axis)
    return _is_plain(offset)


def _near(offset: Affine, row: Axis, inner: Sequence[Axis], lanes: int) -> bool:
    """Whether an index moves with the rows, and a vector's elements are near one another."""
    along = abs(offset.terms.get(row, 0))
    across = sum(abs(offset.terms.get(a, 0)) * (extent_of(a) - 1) for a in inner)
    span = along * lanes // size_of(inner) + across
    return _is_plain(offset) and along > 0 and span < NEAR * lanes


def _is_plain(offset: Affine) -> bool:
    return all(type(a) is not Op for a in offset.terms)
