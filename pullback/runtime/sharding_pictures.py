"""Pictures of how arrays are spread over devices: `visualize_sharding` of `jax.debug`."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

from pullback.core.sharding import Sharding
from pullback.runtime.placement import inspect_array_sharding

__all__ = ["visualize_array_sharding", "visualize_sharding"]

_HEIGHT: Final = 10
_WIDTH: Final = 25
"""Of the picture of a square array, in characters, at scale 1."""
_COLORS: Final = (24, 94, 22, 53, 88, 30, 60, 58)
"""Background colors, numbers of the 256-color palette."""
_Cells = dict[tuple[int, int], list[int]]


def _grid(shape: Sequence[int], sharding: Sharding) -> tuple[_Cells, list[int], list[int]]:
    """The devices of each part, by row and column of the part; the starts of rows and columns."""
    parts: dict[tuple[int, int], list[int]] = {}
    for device, index in sharding.devices_indices_map(tuple(shape)).items():
        starts = [s.indices(n)[0] for s, n in zip(index, shape, strict=True)]
        row, column = (0, starts[0]) if len(shape) == 1 else (starts[0], starts[1])
        parts.setdefault((row, column), []).append(device.id)
    rows = sorted({r for r, _ in parts})
    columns = sorted({c for _, c in parts})
    cells = {(rows.index(r), columns.index(c)): sorted(ids) for (r, c), ids in parts.items()}
    return cells, rows, columns


def _painted(text: str, color: str | None) -> str:
    return text if color is None else f"\033[{color}m{text}\033[0m"


def _color(number: int, count: int, color_map: Callable[[float], Any] | None) -> str:
    if color_map is None:
        return f"97;48;5;{_COLORS[number % len(_COLORS)]}"
    red, green, blue = (round(255 * float(v)) for v in tuple(color_map(number / count))[:3])
    return f"48;2;{red};{green};{blue}"


def visualize_sharding(
    shape: Sequence[int],
    sharding: Sharding,
    *,
    use_color: bool = True,
    scale: float = 1.0,
    min_width: int = 9,
    max_width: int = 80,
    color_map: Callable[[float], Any] | None = None,
) -> None:
    """Print which device holds which part of an array of one or two axes.

    A cell is from `min_width` to `max_width` characters wide. On a terminal parts are colored,
    unless `use_color` is false; `color_map` gives red, green and blue (from 0 to 1) for a fraction.

    >>> import pullback as pb
    >>> pb.debug.visualize_sharding((8,), pb.numpy.ones(8).sharding)
    ┌───────┐
    │ CPU 0 │
    └───────┘
    """
    if len(shape) not in (1, 2):
        raise ValueError(
            f"visualize_sharding: arrays of one or two axes can be drawn, not of shape {shape}"
        )
    cells, rows, columns = _grid(shape, sharding)
    labels = {at: f"CPU {','.join(map(str, ids))}" for at, ids in cells.items()}
    aspect = shape[1] / max(shape[0], 1) if len(shape) == 2 else 0.0
    wide = int(_WIDTH * scale * aspect / len(columns))
    width = max(min(max(wide, min_width), max_width) - 2, *map(len, labels.values()))
    height = max(int(_HEIGHT * scale / len(rows)) - 1, 1) if len(shape) == 2 else 1
    colored = use_color and sys.stdout.isatty()
    numbers = itertools.count()
    colors = {
        at: _color(next(numbers), len(cells), color_map) if colored else None
        for at in sorted(cells)
    }

    def border(left: str, middle: str, right: str) -> str:
        return left + middle.join(["─" * width] * len(columns)) + right

    def line(row: int, k: int) -> str:
        texts = []
        for column in range(len(columns)):
            label = labels.get((row, column), "") if k == (height - 1) // 2 else ""
            before = (width - len(label)) // 2
            text = " " * before + label + " " * (width - before - len(label))
            texts.append(_painted(text, colors.get((row, column))))
        return "│" + "│".join(texts) + "│"

    lines = [border("┌", "┬", "┐")]
    for row in range(len(rows)):
        if row:
            lines.append(border("├", "┼", "┤"))
        lines += [line(row, k) for k in range(height)]
    lines.append(border("└", "┴", "┘"))
    print("\n".join(lines))


def visualize_array_sharding(arr: Any, **kwargs: Any) -> None:
    """Print which device holds which part of an array; keywords are those of `visualize_sharding`.

    >>> import pullback as pb
    >>> pb.debug.visualize_array_sharding(pb.numpy.ones(8))
    ┌───────┐
    │ CPU 0 │
    └───────┘
    """

    def show(sharding: Sharding) -> None:
        visualize_sharding(arr.shape, sharding, **kwargs)

    inspect_array_sharding(arr, callback=show)
