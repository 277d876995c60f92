"""Everything that reads or writes parts of arrays, under one roof.

`ops.slicing` has slices, `ops.gather` and `ops.scatter` windows at computed positions,
`ops.windows` what these two share.
"""

from __future__ import annotations

from pullback.ops.gather import gather, gather_slices, take_along_axis
from pullback.ops.scatter import (
    scatter,
    scatter_add,
    scatter_max,
    scatter_min,
    scatter_mul,
    scatter_sub,
)
from pullback.ops.slicing import dynamic_slice, dynamic_update_slice, slice_
from pullback.ops.windows import (
    GatherDimensionNumbers,
    GatherScatterMode,
    ScatterDimensionNumbers,
)

__all__ = [
    "GatherDimensionNumbers",
    "GatherScatterMode",
    "ScatterDimensionNumbers",
    "dynamic_slice",
    "dynamic_update_slice",
    "gather",
    "gather_slices",
    "scatter",
    "scatter_add",
    "scatter_max",
    "scatter_min",
    "scatter_mul",
    "scatter_sub",
    "slice_",
    "take_along_axis",
]
