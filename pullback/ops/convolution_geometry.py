"""Shapes of convolutions, and what meets what along each axis (`ops.convolution_lowering`).

Rules and lowering think in one canonical form (`ops.convolution`): the roles of the axes in order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Geometry", "Phase", "dilated", "output_space", "phases_of", "pick", "place"]


# --------------------------------------------------------------------------- shapes


def dilated(size: int, dilation: int) -> int:
    """The length of an axis with `dilation - 1` zeros between its elements."""
    return (size - 1) * dilation + 1 if size else 0


def output_space(
    space: Sequence[int],
    window: Sequence[int],
    strides: Sequence[int],
    padding: Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int],
    rhs_dilation: Sequence[int],
) -> tuple[int, ...]:
    """Lengths of the spatial axes of the result.

    >>> output_space([8], [3], [2], [(1, 1)], [1], [1])
    (4,)
    """
    sizes = []
    for n, k, stride, (low, high), ld, rd in zip(
        space, window, strides, padding, lhs_dilation, rhs_dilation, strict=True
    ):
        room = dilated(n, ld) + low + high - dilated(k, rd)
        sizes.append(max(room // stride + 1, 0))
    return tuple(sizes)


def pick(shape: Sequence[int], spec: Sequence[int]) -> tuple[int, ...]:
    """The sizes by role."""
    return tuple(shape[k] for k in spec)


def place(spec: Sequence[int], sizes: Sequence[Any]) -> tuple[Any, ...]:
    """What belongs to the roles, put where the axes of `spec` are."""
    values: list[Any] = [0] * len(spec)
    for axis, value in zip(spec, sizes, strict=True):
        values[axis] = value
    return tuple(values)


# --------------------------------------------------------------------------- geometry


@dataclass(frozen=True)
class Phase:
    """Some positions along one axis of the result, and the kernel elements that they meet.

    Position `first + every j` meets kernel element `tap + skip u` at the operand's element
    `origin + cell_step j + tap_step u`.
    """

    first: int
    every: int
    cells: int
    tap: int
    skip: int
    taps: int
    origin: int
    cell_step: int
    tap_step: int

    @property
    def last(self) -> int:
        """The last element of the operand that is met."""
        return self.origin + self.cell_step * (self.cells - 1) + self.tap_step * (self.taps - 1)


def phases_of(out: int, window: int, stride: int, low: int, ld: int, rd: int) -> list[Phase]:
    """The phases of one axis, at most `ld` of them."""
    every, skip = ld // math.gcd(stride, ld), ld // math.gcd(rd, ld)
    result = []
    for first in range(min(every, out)):
        met = [t for t in range(window) if (first * stride + t * rd - low) % ld == 0]
        tap = met[0] if met else 0
        origin = (first * stride + tap * rd - low) // ld
        cells = -(-(out - first) // every)
        steps = (every * stride // ld, skip * rd // ld)
        result.append(Phase(first, every, cells, tap, skip, len(met), origin, *steps))
    return result


@dataclass(frozen=True)
class Geometry:
    """One phase of a convolution, by roles; `x_spec` and `w_spec` say where the roles are."""

    x_spec: tuple[int, ...]
    w_spec: tuple[int, ...]
    groups: int
    by_batch: bool
    batch: int
    outs: int
    ins: int
    phases: tuple[Phase, ...]

    @property
    def space(self) -> tuple[int, ...]:
        """Positions of the result."""
        return tuple(p.cells for p in self.phases)

    @property
    def taps(self) -> tuple[int, ...]:
        """The input features, then the kernel elements that are met."""
        return (self.ins, *(p.taps for p in self.phases))

    @property
    def depth(self) -> int:
        """How many products are summed."""
        return math.prod(self.taps)

    def element(self, group: Any, n: Any, tap: Sequence[Any], cell: Sequence[Any]) -> list[Any]:
        """Where the operand is met: its index, by roles put in place."""
        first = group * self.batch + n if self.by_batch else n
        second = tap[0] if self.by_batch else group * self.ins + tap[0]
        inside = [
            j * p.cell_step + u * p.tap_step + p.origin
            for p, j, u in zip(self.phases, cell, tap[1:], strict=True)
        ]
        return list(place(self.x_spec, (first, second, *inside)))

    def kernel(self, out: Any, tap: Sequence[Any]) -> list[Any]:
        """Where the kernel is met."""
        inside = [u * p.skip + p.tap for p, u in zip(self.phases, tap[1:], strict=True)]
        return list(place(self.w_spec, (out, tap[0], *inside)))
