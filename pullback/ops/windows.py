"""Windows of an array at computed positions: what gather and scatter have in common.

Both pair an operand with an array of positions, whose last axis holds one start per entry of
`start_index_map`, and with an array of windows (the result of a gather, the updates of a scatter)
whose axes are either batch axes of the positions or offsets within a window.  The axis numbers are
those of `GatherDimensionNumbers`; a scatter's are its mirror image.
"""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, NamedTuple

import numpy as np

from pullback.core import dtypes

__all__ = [
    "GatherDimensionNumbers",
    "GatherScatterMode",
    "Layout",
    "ScatterDimensionNumbers",
    "as_gather",
    "default_fill",
    "inside_of",
    "layout",
    "loop_nest",
    "positions",
    "window_sizes",
]


class GatherDimensionNumbers(NamedTuple):
    """Which axis means what in a gather.

    - `offset_dims`: axes of the result that run within a window.
    - `collapsed_slice_dims`: axes of the operand whose window has length 1 and is dropped.
    - `start_index_map`: axis of the operand for each entry of a position.
    - `operand_batching_dims`, `start_indices_batching_dims`: axes that run in step.
    """

    offset_dims: tuple[int, ...]
    collapsed_slice_dims: tuple[int, ...]
    start_index_map: tuple[int, ...]
    operand_batching_dims: tuple[int, ...] = ()
    start_indices_batching_dims: tuple[int, ...] = ()


class ScatterDimensionNumbers(NamedTuple):
    """Which axis means what in a scatter.

    - `update_window_dims`: axes of the updates that run within a window.
    - `inserted_window_dims`: axes of the operand where windows have length 1 and updates no axis.
    - `scatter_dims_to_operand_dims`: axis of the operand for each entry of a position.
    - `operand_batching_dims`, `scatter_indices_batching_dims`: axes that run in step.
    """

    update_window_dims: Sequence[int]
    inserted_window_dims: Sequence[int]
    scatter_dims_to_operand_dims: Sequence[int]
    operand_batching_dims: Sequence[int] = ()
    scatter_indices_batching_dims: Sequence[int] = ()


class GatherScatterMode(enum.Enum):
    """What happens to windows that are not within the operand.

    `CLIP` moves them inside; `FILL_OR_DROP` reads a fill value and drops updates;
    `PROMISE_IN_BOUNDS` says that there are none.

    >>> GatherScatterMode.from_any("drop")
    <GatherScatterMode.FILL_OR_DROP: 2>
    """

    CLIP = 1
    FILL_OR_DROP = 2
    PROMISE_IN_BOUNDS = 3
    ONE_HOT = 4

    @staticmethod
    def from_any(s: str | GatherScatterMode | None) -> GatherScatterMode:
        """The mode that a name stands for; `None` is `FILL_OR_DROP`."""
        if isinstance(s, GatherScatterMode):
            return s
        if s is None:
            return GatherScatterMode.FILL_OR_DROP
        if s not in _MODE_NAMES:
            raise ValueError(f'Unknown gather mode "{s}"; known are {", ".join(_MODE_NAMES)}')
        return _MODE_NAMES[s]

    def __str__(self) -> str:
        return f"GatherScatterMode.{self.name}"


_MODE_NAMES: Final = {
    "clip": GatherScatterMode.CLIP,
    "fill": GatherScatterMode.FILL_OR_DROP,
    "drop": GatherScatterMode.FILL_OR_DROP,
    "promise_in_bounds": GatherScatterMode.PROMISE_IN_BOUNDS,
}


def as_gather(numbers: ScatterDimensionNumbers) -> GatherDimensionNumbers:
    """The gather that reads what this scatter writes."""
    return GatherDimensionNumbers(
        offset_dims=tuple(numbers.update_window_dims),
        collapsed_slice_dims=tuple(numbers.inserted_window_dims),
        start_index_map=tuple(numbers.scatter_dims_to_operand_dims),
        operand_batching_dims=tuple(numbers.operand_batching_dims),
        start_indices_batching_dims=tuple(numbers.scatter_indices_batching_dims),
    )


def window_sizes(
    numbers: GatherDimensionNumbers, rank: int, windows_shape: Sequence[int]
) -> tuple[int, ...]:
    """The length of a window along each axis of the operand."""
    offsets = iter(numbers.offset_dims)
    dropped = (*numbers.collapsed_slice_dims, *numbers.operand_batching_dims)
    return tuple(1 if k in dropped else windows_shape[next(offsets)] for k in range(rank))


@dataclass(frozen=True)
class Layout:
    """For each axis of the operand: entry of the position, batch axis and offset axis, if any.

    Batch and offset axes are axes of the windows array; `batch_dims` lists its batch axes.
    """

    entries: tuple[int | None, ...]
    batches: tuple[int | None, ...]
    offsets: tuple[int | None, ...]
    batch_dims: tuple[int, ...]


@lru_cache(maxsize=4096)
def layout(numbers: GatherDimensionNumbers, rank: int, windows_rank: int) -> Layout:
    """How the axes of an operand, its positions and its windows correspond."""
    batch_dims = tuple(d for d in range(windows_rank) if d not in numbers.offset_dims)
    entries: list[int | None] = [None] * rank
    for entry, k in enumerate(numbers.start_index_map):
        entries[k] = entry
    batches: list[int | None] = [None] * rank
    pairs = zip(numbers.operand_batching_dims, numbers.start_indices_batching_dims, strict=True)
    for k, d in pairs:
        batches[k] = batch_dims[d]
    dropped = (*numbers.collapsed_slice_dims, *numbers.operand_batching_dims)
    free = iter(numbers.offset_dims)
    offsets = [None if k in dropped else next(free) for k in range(rank)]
    return Layout(tuple(entries), tuple(batches), tuple(offsets), batch_dims)


def _aligned(values: Any, axes: Sequence[int], rank: int) -> Any:
    shape = [1] * rank
    for n, d in zip(values.shape, axes, strict=True):
        shape[d] = n
    return values.reshape(shape)


def positions(
    shape: Sequence[int], indices: Any, numbers: GatherDimensionNumbers, sizes: Sequence[int]
) -> tuple[list[Any], Any]:
    """Where each element of the windows is in a NumPy array of `shape`, and which are inside.

    Gives one array of indices per axis, clamped to be inside, and a mask, or None if all are
    inside; each broadcasts to the shape of the windows.
    """
    rank = indices.ndim - 1 + len(numbers.offset_dims)
    axes = layout(numbers, len(shape), rank)
    valid: Any = None
    where: list[Any] = []
    for k, (n, m) in enumerate(zip(shape, sizes, strict=True)):
        at: Any = 0
        entry, batch, offset = axes.entries[k], axes.batches[k], axes.offsets[k]
        if entry is not None:
            raw = indices[..., entry].astype(np.intp)
            start = np.minimum(np.maximum(raw, 0), n - m)
            inside = start == raw
            if not inside.all():
                valid = inside if valid is None else valid & inside
            at = _aligned(start, axes.batch_dims, rank)
        if batch is not None:
            at = at + _aligned(np.arange(n), (batch,), rank)
        if offset is not None and m != 1:
            at = at + _aligned(np.arange(m), (offset,), rank)
        where.append(at)
    return where, None if valid is None else _aligned(valid, axes.batch_dims, rank)


def default_fill(dtype: Any) -> Any:
    """What a gather reads outside of its operand: NaN, the least int, the largest unsigned int."""
    kind, stored = dtypes.kind_of(dtype), dtypes.physical(dtype)
    if kind in "fc":
        return np.asarray(np.nan, stored)[()]
    if kind == "b":
        return np.True_
    if kind == "k":
        return np.asarray(np.iinfo(stored).max, stored)[()]
    info: Any = dtypes.iinfo(dtype)
    return np.asarray(info.min if kind == "i" else info.max, stored)[()]


def inside_of(s: Any, start: Any, last: int, before: Any = None) -> Any:
    """Whether a start is within [0, last], and `before` holds too."""
    raw = s.index(start)
    inside = s.and_(raw >= 0, raw <= last)
    return inside if before is None else s.and_(before, inside)


def loop_nest(
    b: Any, extents: Sequence[int], body: Callable[[list[Any]], None], independent: Sequence[bool]
) -> None:
    """Loops of a `lower` rule inside each other, around `body(indices)`."""
    with contextlib.ExitStack() as stack:
        body(
            [
                stack.enter_context(b.loop(n, independent=free))
                for n, free in zip(extents, independent, strict=True)
            ]
        )
