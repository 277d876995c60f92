"""`attention`: softmax(q k') v as one operation, which the compiler puts in place of its parts.

No rule makes this primitive and users do not see it: `passes.attention` finds the parts in programs
that are about to be lowered.  So it has no derivatives, no batching rule and no StableHLO.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from pullback.core import dtypes
from pullback.core.avals import ShapedArray
from pullback.core.primitive import FIRST_ORDER, NO_SAMPLES, PURE, NotApplicable, Primitive
from pullback.ops import contractions

__all__ = ["WIDEST", "Layout", "attention"]

WIDEST: Final = 256
"""The longest rows of values that the kernel takes."""
_KERNELS: Final = {dtypes.float32: "pb_attention_f32", dtypes.float64: "pb_attention_f64"}


@dataclass(frozen=True)
class Layout:
    """Which axes of the operands are what; those not named have extent 1.

    `q` has `lanes`, then `groups` of queries that share keys; `k` and `v` have `lanes` only, in the
    same order.  Of the last two axes of each, the first are rows; the second of `q` and `k` are
    summed over, and that of `v` are columns of the result.  `out` gives for each axis of the result
    its place among lanes, groups, rows and columns, or -1 for an extent of 1.
    """

    q_lanes: tuple[int, ...]
    q_groups: tuple[int, ...]
    q_axes: tuple[int, int]
    k_lanes: tuple[int, ...]
    k_axes: tuple[int, int]
    v_lanes: tuple[int, ...]
    v_axes: tuple[int, int]
    out: tuple[int, ...]


def _sizes(q: Any, v: Any, layout: Layout) -> tuple[int, ...]:
    """Extents of lanes, groups, rows and columns of the result."""
    axes = (*layout.q_lanes, *layout.q_groups, layout.q_axes[0])
    return (*(q.shape[a] for a in axes), v.shape[layout.v_axes[1]])


def _abstract(
    q: Any, k: Any, v: Any, *, layout: Layout, scale: float, offset: int, fill: float
) -> ShapedArray:
    sizes = _sizes(q, v, layout)
    return ShapedArray(tuple(1 if a < 0 else sizes[a] for a in layout.out), q.dtype)


def _ordered(x: Any, *axes: int) -> Any:
    """The array with these axes, and no others, which have extent 1."""
    others = [a for a in range(x.ndim) if a not in axes]
    return np.transpose(x, (*others, *axes)).reshape([x.shape[a] for a in axes])


def _reference(
    q: Any, k: Any, v: Any, *, layout: Layout, scale: float, offset: int, fill: float
) -> Any:
    sizes, between = _sizes(q, v, layout), [1] * len(layout.q_groups)
    q = _ordered(q, *layout.q_lanes, *layout.q_groups, *layout.q_axes)
    k = _ordered(k, *layout.k_lanes, *layout.k_axes)
    v = _ordered(v, *layout.v_lanes, *layout.v_axes)
    k, v = (x.reshape(*x.shape[:-2], *between, *x.shape[-2:]) for x in (k, v))
    scores = np.matmul(q, np.swapaxes(k, -1, -2)) * np.asarray(scale, q.dtype)
    rows, keys = np.indices(scores.shape[-2:])
    scores = np.where(keys <= rows + offset, scores, np.asarray(fill, q.dtype))
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    out = np.matmul(weights / weights.sum(-1, keepdims=True), v)
    out = out.transpose([a for a in layout.out if a >= 0])
    return out.reshape([1 if a < 0 else sizes[a] for a in layout.out])


def _matrix(b: Any, x: Any, lanes: tuple[int, ...], axes: tuple[int, int]) -> Any:
    used = (*lanes, *axes)
    others = tuple(a for a in range(len(x.shape)) if a not in used)
    return contractions.matrix(b, x, ((*others, *lanes), axes[:1], axes[1:]))


def _lower(
    b: Any, q: Any, k: Any, v: Any, *, layout: Layout, scale: float, offset: int, fill: float
) -> Any:
    sizes = _sizes(q, v, layout)
    groups = math.prod(q.shape[a] for a in layout.q_groups)
    lanes, t, e = math.prod(sizes[:-2]), *sizes[-2:]
    left = _matrix(b, q, (*layout.q_lanes, *layout.q_groups), layout.q_axes)
    keys = _matrix(b, k, layout.k_lanes, layout.k_axes)
    values = _matrix(b, v, layout.v_lanes, layout.v_axes)
    s, d = (k.shape[a] for a in layout.k_axes)
    out = b.buffer((lanes, t, e), q.dtype)
    numbers = (
        lanes, groups, left.lane, keys.lane, values.lane, t, s, d, e,
        left.row, left.column, keys.row, keys.column, values.row, values.column, offset,
    )  # fmt: skip
    factors = (q.dtype.type(scale), q.dtype.type(fill))
    buffers = (left.buffer, keys.buffer, values.buffer, out)
    b.call(_KERNELS[q.dtype], *buffers, *map(np.int64, numbers), *factors)
    whole = b.reshape(out, sizes)
    if layout.out == tuple(range(len(sizes))):
        return whole
    shape = [1 if a < 0 else sizes[a] for a in layout.out]
    place = {a: i for i, a in enumerate(layout.out)}
    return b.view(shape, lambda idx: whole.at([idx[place[a]] for a in range(len(sizes))]))


_LATE: Final = "the compiler makes it of other operations"

attention: Final = Primitive(
    name="attention",
    abstract=_abstract,
    reference=_reference,
    jvp=NotApplicable("jvp of attention", _LATE),
    transpose=NotApplicable("transpose of attention", _LATE),
    batch=NotApplicable("batching of attention", _LATE),
    partial_eval=FIRST_ORDER,
    lower=_lower,
    hlo=NotApplicable("hlo of attention", _LATE),
    samples=NO_SAMPLES,
    multiple_results=False,
    effects=PURE,
    literals=False,
)
