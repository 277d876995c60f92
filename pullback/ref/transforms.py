"""Parts and views of references: what `r[index]`, `r.at[index]` and `.T` mean for the array.

An index is understood by `numpy.indexing`; what is traced in it, and arrays of indices, become
operands, so that the rest can be compared and hashed.  Indices out of bounds are clamped, in reads
and in writes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pullback import lax
from pullback.core.array import Array
from pullback.core.slices import Slice
from pullback.numpy.arrays import as_array
from pullback.numpy.index_update import scatter_plan
from pullback.numpy.indexing import (
    PICKED,
    Part,
    Picked,
    Plan,
    numpy_index,
    numpy_position,
    parse,
    picked_position,
    take_plan,
)
from pullback.numpy.promotion import is_arraylike
from pullback.runtime.array import ArrayImpl

__all__ = ["Index", "Reshape", "Transpose", "index_of"]


@dataclass(frozen=True)
class _Operand:
    """Stands for an operand among the indices of a plan."""

    shape: tuple[int, ...]


@dataclass(frozen=True)
class Index:
    """The part of an array that an index means."""

    plan: Plan

    @property
    def n_operands(self) -> int:
        """How many operands it takes."""
        return sum(isinstance(p.indices, _Operand) for p in self.plan.picked)

    @property
    def whole(self) -> bool:
        """Whether it is the array as it is."""
        parts = [Part(k, 0, 1, n) for k, n in enumerate(self.plan.shape)]
        return list(self.plan.order) == parts

    def filled(self, operands: Sequence[Any]) -> Plan:
        """The plan with the operands in their places."""
        given = iter(operands)
        picked = tuple(
            Picked(p.axis, next(given)) if isinstance(p.indices, _Operand) else p
            for p in self.plan.picked
        )
        return Plan(self.plan.shape, self.plan.order, picked, self.plan.picked_shape)

    def shape_of(self, shape: tuple[int, ...], operands: Sequence[Any]) -> tuple[int, ...]:
        """Shape of the part."""
        return self.plan.result_shape()

    def read(self, x: Any, operands: Sequence[Any]) -> Any:
        """The part of `x`."""
        return take_plan(x, self.filled(operands))

    def write(self, x: Any, operands: Sequence[Any], value: Any) -> Any:
        """`x` with the part replaced."""
        return scatter_plan(x, self.filled(operands), value, lax.scatter)

    def add(self, x: Any, operands: Sequence[Any], value: Any) -> Any:
        """`x` with something added to the part."""
        if not self.n_operands and self.plan.picked_shape == ():
            return self.write(x, operands, lax.add(self.read(x, operands), value))
        return scatter_plan(x, self.filled(operands), value, lax.scatter_add)

    def with_lanes(self, size: int, axis: int) -> tuple[Index, int] | None:
        """The same part in all lanes, if no arrays of indices are in the way."""
        plan = self.plan
        if plan.picked_shape or None in plan.order:
            return None

        def moved(k: int) -> int:
            return k + (k >= axis)

        kept = [item for item in plan.order if isinstance(item, Part)]
        parts = [Part(moved(p.axis), p.start, p.step, p.size) for p in kept]
        at = sum(p.axis < axis for p in parts)
        parts.insert(at, Part(axis, 0, 1, size))
        order: list[Any] = list(parts)
        if PICKED in plan.order:
            order.insert(0, PICKED)
        shape = (*plan.shape[:axis], size, *plan.shape[axis:])
        picked = tuple(Picked(moved(p.axis), p.indices) for p in plan.picked)
        return Index(Plan(shape, tuple(order), picked, ())), at

    def numpy_write(self, value: Any, operands: Sequence[Any]) -> tuple[Any, Any] | None:
        """The index and the value for NumPy, None where NumPy does something else."""
        plan = self.filled(operands)
        where = numpy_index(plan, clamp=True)
        if where is None:
            return None
        new = np.asarray(value._data if isinstance(value, ArrayImpl) else value)
        if None in plan.order:
            new = np.squeeze(new, plan.new_axes())
        rank = len(plan.picked_shape)
        if rank:
            have, want = picked_position(plan), numpy_position(plan)
            if have != want:
                new = np.moveaxis(new, range(have, have + rank), range(want, want + rank))
        return where, new

    def text(self, operands: Iterator[str]) -> str:
        """As in jaxprs, with the names of the operands."""
        return f"[{','.join(_entry_texts(self.plan, operands))}]"


def _entry_texts(plan: Plan, operands: Iterator[str]) -> list[str]:
    texts = [":"] * len(plan.shape)
    for part in plan.parts:
        stop = part.start + part.size * part.step
        n = plan.shape[part.axis]
        start = str(part.start) if part.start else ""
        step = f":{part.step}" if part.step != 1 else ""
        texts[part.axis] = f"{start}:{'' if stop >= n else stop}{step}"
    for p in plan.picked:
        texts[p.axis] = str(p.indices) if type(p.indices) is int else next(operands)
    return texts


@dataclass(frozen=True)
class Transpose:
    """The array with its axes in another order."""

    permutation: tuple[int, ...]
    n_operands = 0
    whole = False

    def shape_of(self, shape: tuple[int, ...], operands: Sequence[Any]) -> tuple[int, ...]:
        """Shape of the view."""
        return tuple(shape[p] for p in self.permutation)

    def read(self, x: Any, operands: Sequence[Any]) -> Any:
        """The view."""
        return lax.transpose(x, self.permutation)

    def write(self, x: Any, operands: Sequence[Any], value: Any) -> Any:
        """The array of which `value` is the view."""
        return lax.transpose(value, tuple(int(i) for i in np.argsort(self.permutation)))

    def add(self, x: Any, operands: Sequence[Any], value: Any) -> Any:
        """`x` plus the array of which `value` is the view."""
        return lax.add(x, self.write(x, operands, value))

    def with_lanes(self, size: int, axis: int) -> tuple[Transpose, int]:
        """The lanes first, the other axes after them."""
        others = [p + (p >= axis) for p in self.permutation]
        return Transpose((axis, *others)), 0

    def numpy_write(self, value: Any, operands: Sequence[Any]) -> None:
        """NumPy is not asked."""

    def text(self, operands: Iterator[str]) -> str:
        """As in jaxprs."""
        return f"{{transpose({list(self.permutation)})}}"


@dataclass(frozen=True)
class Reshape:
    """The elements in another shape."""

    before: tuple[int, ...]
    after: tuple[int, ...]
    n_operands = 0
    whole = False

    def shape_of(self, shape: tuple[int, ...], operands: Sequence[Any]) -> tuple[int, ...]:
        """Shape of the view."""
        return self.after

    def read(self, x: Any, operands: Sequence[Any]) -> Any:
        """The view."""
        return lax.reshape(x, self.after)

    def write(self, x: Any, operands: Sequence[Any], value: Any) -> Any:
        """The array of which `value` is the view."""
        return lax.reshape(value, self.before)

    def add(self, x: Any, operands: Sequence[Any], value: Any) -> Any:
        """`x` plus the array of which `value` is the view."""
        return lax.add(x, self.write(x, operands, value))

    def with_lanes(self, size: int, axis: int) -> tuple[Reshape, int] | None:
        """The same in all lanes, if these come first."""
        if axis:
            return None
        return Reshape((size, *self.before), (size, *self.after)), 0

    def numpy_write(self, value: Any, operands: Sequence[Any]) -> None:
        """NumPy is not asked."""

    def text(self, operands: Iterator[str]) -> str:
        """As in jaxprs."""
        return f"{{reshape({list(self.after)})}}"


def _without_windows(index: Any) -> Any:
    """The index with `ds(start, size)` as a slice, or as positions where the start is traced."""
    if isinstance(index, tuple):
        return tuple(map(_without_windows, index))
    if not isinstance(index, Slice):
        return index
    start, size, stride = index.start, int(index.size), int(index.stride)
    if isinstance(start, (int, np.integer)):
        return slice(int(start), int(start) + size * max(stride, 1), max(stride, 1))
    return lax.add(as_array(start), lax.mul(lax.iota(start.dtype, size), start.dtype.type(stride)))


def _as_of_references(error: IndexError, shape: tuple[int, ...], index: Any) -> Exception:
    """What is wrong with an index, in the classes that JAX has for references."""
    entries = index if isinstance(index, tuple) else (index,)
    if sum(e is Ellipsis for e in entries) > 1:
        return ValueError("Only one ellipsis is supported.")
    entries = tuple(e for e in entries if e is not None and e is not Ellipsis)
    if len(entries) > len(shape):
        return ValueError(
            f"`indices` must not be longer than `shape`: indices={entries}, shape={shape}"
        )
    known = (slice, list, tuple, range)
    if not all(isinstance(e, known) or is_arraylike(e) for e in entries):
        return TypeError(str(error))
    return error


def index_of(shape: tuple[int, ...], index: Any) -> tuple[Index, list[Any]]:
    """The part that an index means, and its operands.

    Static integers out of bounds, and more of them than axes, are a ValueError.
    """
    try:
        plan = parse(shape, Ellipsis if index is None else _without_windows(index))
    except IndexError as error:
        raise _as_of_references(error, shape, index) from None
    operands: list[Any] = []
    picked = []
    for p in plan.picked:
        indices = p.indices
        if type(indices) is int:
            n = shape[p.axis]
            if not -n <= indices < n:
                raise ValueError(
                    f"Out of bound indexer: idx={indices} for axis {p.axis} of length {n}"
                )
            picked.append(Picked(p.axis, indices % n))
        else:
            if not isinstance(indices, Array):
                indices = np.clip(indices, -(2**31), 2**31 - 1).astype(np.int32)
            operands.append(indices)
            picked.append(Picked(p.axis, _Operand(tuple(indices.shape))))
    return Index(Plan(plan.shape, plan.order, tuple(picked), plan.picked_shape)), operands
