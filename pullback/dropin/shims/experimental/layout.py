"""`jax.experimental.layout`: how arrays lie in memory; ours are contiguous, last axis fastest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["Format", "Layout", "with_layout_constraint"]


@dataclass(frozen=True)
class Layout:
    """The order of axes in memory, slowest first."""

    major_to_minor: tuple[int, ...]
    tiling: tuple[tuple[int, ...], ...] | None = None
    sub_byte_element_size_in_bits: int = 0


@dataclass(frozen=True)
class Format:
    """A layout together with a sharding; either may be None."""

    layout: Any = None
    sharding: Any = None

    def __post_init__(self) -> None:
        if self.layout is not None and not isinstance(self.layout, Layout):
            raise TypeError(f"Format: layout must be a Layout or None, got {self.layout!r}")


def with_layout_constraint(x: Any, layout: Layout) -> Any:
    """`x` itself, whose layout must be the one that all arrays have."""
    if tuple(layout.major_to_minor) != tuple(range(x.ndim)):
        raise NotImplementedError(
            f"a layout with the axes in the order {layout.major_to_minor}: arrays are contiguous "
            f"with the last axis fastest, {tuple(range(x.ndim))}"
        )
    return x
