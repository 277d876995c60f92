"""The structural primitives under one roof: what moves elements without computing on them.

`ops.rearrange` has those of one array and the helpers that rules use, `ops.joining` those that join
arrays or take them apart.
"""

from __future__ import annotations

from pullback.ops.joining import concatenate, pad, split, stack, tile, unstack
from pullback.ops.rearrange import (
    NO_HLO,
    broadcast,
    broadcast_in_dim,
    dtype_samples,
    full,
    full_like,
    iota,
    move_to_front,
    moveaxis,
    rearrangement,
    reshape,
    rev,
    sample_values,
    squeeze,
    transpose,
    zeros,
)

__all__ = [
    "NO_HLO",
    "broadcast",
    "broadcast_in_dim",
    "concatenate",
    "dtype_samples",
    "full",
    "full_like",
    "iota",
    "move_to_front",
    "moveaxis",
    "pad",
    "rearrangement",
    "reshape",
    "rev",
    "sample_values",
    "split",
    "squeeze",
    "stack",
    "tile",
    "transpose",
    "unstack",
    "zeros",
]
