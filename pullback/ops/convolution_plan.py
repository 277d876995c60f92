"""What lowering and kernels of direct convolutions agree on (`llvm.direct_kernels`)."""

from __future__ import annotations

from typing import Final

__all__ = [
    "CHUNK",
    "DEPTHWISE",
    "GRADIENT",
    "HEADER",
    "MOST_RUNS",
    "MOST_TILES",
    "PANEL",
    "SLIVERS",
    "TASKS",
    "WIDEST",
    "ZEROS",
]

HEADER: Final = (
    "lanes", "lane_x", "lane_w", "lane_c",  # groups of features
    "batch", "image_x", "image_c",
    "outer", "inner", "outer_taps", "inner_taps",
    "k", "n", "row_w", "col_w",
)  # fmt: skip
"""Numbers at the front of a plan.  Steps of `x` and of the result are in bytes, of `w` in elements;
`k` features are summed for each element of the window, `n` features made."""
GRADIENT: Final = (
    "lanes", "lane_x", "lane_g", "lane_c",
    "images", "image_x", "image_g",
    "outer", "inner", "outer_taps", "inner_taps",
    "features", "n", "col_x", "col_g", "row_c",
    "parts", "total",
)  # fmt: skip
"""The same for the gradient of a kernel: `features` of the operand, `n` of the cotangent, whose
cells `outer` and `inner` are.  Steps are in bytes, but `col_g`, from cell to cell of the cotangent;
the result has `total` numbers, and as many `parts` are added up."""
DEPTHWISE: Final = (
    "images", "image_x", "image_c",
    "outer", "inner", "outer_taps", "inner_taps",
    "n", "row_w", "cell_x", "tap_x", "cell_c", "begin", "end",
    "parts", "total",
)  # fmt: skip
"""The same for `n` features that do not meet; all steps are in bytes.  Cells from `begin` to `end`
of the innermost axis meet the operand with all of the window.  For the gradient of a kernel, `c` is
the cotangent, `outer` and `inner` are its cells, and `parts` and `total` are as above."""
ZEROS: Final = 16384
"""Bytes of features that stand in for what is outside of the operand."""
PANEL: Final = 256
"""Bytes that a row of a panel may have."""
MOST_RUNS: Final = 1024
"""Elements of a window, at most."""
WIDEST: Final = 1 << 16
"""Bytes of the features of one position of the result, at most."""
CHUNK: Final = 1 << 19
"""Bytes of the kernel that are packed at a time."""
TASKS: Final = 16
"""Tasks that keep threads busy, if each has enough to do."""
MOST_TILES: Final = 1024
"""Tiles that a window fills, at most."""
SLIVERS: Final = 16
"""Slivers that are worth packing a part of the kernel for."""
