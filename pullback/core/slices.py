"""`Slice`: a window of static length at a start that may be computed, for indexing Refs."""

from __future__ import annotations

import dataclasses
import operator
from typing import Any

from pullback import tree_util

__all__ = ["Slice", "ds"]


@dataclasses.dataclass(frozen=True)
class Slice:
    """`size` elements from `start` on, each `stride` after the one before.

    `start` may be traced; `size` and `stride` are numbers.
    """

    start: Any
    size: int
    stride: int = 1

    def __post_init__(self) -> None:
        if operator.index(self.size) < 0:
            raise ValueError(f"Slice: the size must not be negative, got {self.size}")
        if operator.index(self.stride) < 0:
            raise ValueError(f"Slice: the stride must not be negative, got {self.stride}")


tree_util.register_dataclass(Slice, ["start"], ["size", "stride"])


def ds(start: Any, size: Any = None, stride: int | None = None) -> slice | Slice:
    """A window of `size` elements from `start`; `ds(size)` starts at 0, `ds(None)` is all.

    >>> ds(2, 3)
    Slice(start=2, size=3, stride=1)
    >>> ds(None)
    slice(None, None, None)
    """
    if start is None:
        return slice(None)
    if size is None:
        start, size = 0, start
    return Slice(start, size, 1 if stride is None else stride)
