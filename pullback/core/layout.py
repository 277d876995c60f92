"""How arrays lie in memory, as users may ask for it: contiguous, the last axis fastest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["Format", "Layout", "check_layout", "contiguous"]


@dataclass(frozen=True)
class Layout:
    """The order of axes in memory, slowest first.

    >>> Layout((0, 1)).major_to_minor
    (0, 1)
    """

    major_to_minor: tuple[int, ...]
    tiling: tuple[tuple[int, ...], ...] | None = None
    sub_byte_element_size_in_bits: int = 0


@dataclass(frozen=True)
class Format:
    """A layout together with a sharding; either may be None.

    >>> Format(Layout((0,))).sharding is None
    True
    """

    layout: Any = None
    sharding: Any = None

    def __post_init__(self) -> None:
        if self.layout is not None and not isinstance(self.layout, Layout):
            raise TypeError(f"Format: layout must be a Layout or None, got {self.layout!r}")


def contiguous(ndim: int, sharding: Any) -> Format:
    """The format of every array of `ndim` axes that is spread like this."""
    return Format(Layout(tuple(range(ndim)), tiling=()), sharding)


def check_layout(layout: Layout | None, ndim: int, name: str) -> None:
    """Raise NotImplementedError unless a layout is the one that all arrays have."""
    if layout is None:
        return
    if tuple(layout.major_to_minor) != tuple(range(ndim)) or layout.tiling:
        raise NotImplementedError(
            f"{name}: the layout {layout} is not supported: arrays are contiguous, the axes in the "
            f"order {tuple(range(ndim))}, slowest first"
        )
