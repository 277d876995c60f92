"""partition: an axis in order as far as some places need it.

The places from `low` to `high` hold what they hold in the sorted axis; what comes before them is
not larger, and what comes behind not smaller.  Medians, quantiles and `jnp.partition` need no more,
which is a few passes over the numbers instead of a sort.  With `places` the result says where the
elements come from, otherwise it is the elements.  NaNs are last.

Compiled, long rows go to the quicksort of `llvm.quick_kernels`, which leaves parts without wanted
places as they are.  Short rows, and machines without it, sort.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from pullback.core import dtypes
from pullback.core.avals import ShapedArray, aval_of
from pullback.core.primitive import (
    FIRST_ORDER,
    PURE,
    NotApplicable,
    Primitive,
    Sample,
    Zero,
)
from pullback.core.stablehlo import Emitter
from pullback.ops import hlo_indexing, sorting
from pullback.ops.gather import take_along_axis
from pullback.ops.rearrange import move_to_front
from pullback.ops.reductions import reduce_max, reduce_min

__all__ = ["is_worth", "partition"]

_FEW: Final = 8
"""Places for which NumPy selects."""


def is_worth(n: Any) -> bool:
    """Whether rows of this length are partitioned faster than they are sorted."""
    return isinstance(n, int) and sorting.SHORTEST_PARTITION <= n < 2**31


def _abstract(x: Any, low: Any, high: Any, *, dimension: int, places: bool) -> ShapedArray:
    if dtypes.kind_of(x.dtype) not in "biuf":
        raise TypeError(f"partition: elements of {x} have no order")
    if not 0 <= dimension < x.ndim or not is_worth(x.shape[dimension]):
        raise TypeError(f"partition: {x} has no long axis {dimension}")
    for place in (low, high):
        if place.shape != () or dtypes.kind_of(place.dtype) not in "iu":
            raise TypeError(f"partition: a place is an integer, not {place}")
    return ShapedArray(x.shape, dtypes.int32 if places else x.dtype)


def _reference(x: Any, low: Any, high: Any, *, dimension: int, places: bool) -> Any:
    n = x.shape[dimension]
    wanted = range(max(int(low), 0), min(int(high) + 1, n))
    if x.dtype.kind not in "iuf" or len(wanted) > _FEW:
        order = sorting.permutation([x], dimension)
        return order.astype(np.int32) if places else np.take_along_axis(x, order, dimension)
    if places:
        return np.argpartition(x, list(wanted), dimension).astype(np.int32)
    return np.partition(x, list(wanted), dimension)


def _jvp(primals: Any, tangents: Any, *, dimension: int, places: bool) -> Any:
    t = tangents[0]
    if places or type(t) is Zero:
        out = partition(*primals, dimension=dimension, places=places)
        return out, Zero(aval_of(out).to_tangent_aval())
    order = partition(*primals, dimension=dimension, places=True)
    return (
        take_along_axis(primals[0], order, dimension),
        take_along_axis(t, order, dimension),
    )


def _batch(size: int, args: Any, dims: Any, *, dimension: int, places: bool) -> Any:
    x = move_to_front(args[0], dims[0], size)
    low, high = (
        place if dim is None else reduce(place, axes=(0,), out_sharding=None)
        for place, dim, reduce in zip(args[1:], dims[1:], (reduce_min, reduce_max), strict=True)
    )
    return partition(x, low, high, dimension=dimension + 1, places=places), 0


def _lower(b: Any, x: Any, low: Any, high: Any, *, dimension: int, places: bool) -> Any:
    return sorting.lower_partition(b, x, low, high, dimension, places)


def _hlo(b: Emitter, x: Any, low: Any, high: Any, *, dimension: int, places: bool) -> Any:
    numbers = b.iota(x.shape, dtypes.int32, dimension)
    both = hlo_indexing.sort(b, x, numbers, dimension=dimension, is_stable=True, num_keys=1)
    return both[1] if places else both[0]


def _samples() -> list[Sample]:
    rng = np.random.default_rng(5)
    n = sorting.SHORTEST_PARTITION + 3
    rows = rng.permutation(2 * n).reshape(2, n)
    whole = (np.int32(0), np.int32(n - 1))
    return [
        Sample((rows.astype(np.float32), *whole), {"dimension": 1, "places": False}, smooth=False),
        Sample((rows.astype(np.float32), *whole), {"dimension": 1, "places": True}, smooth=False),
        Sample((rows.T.astype(np.int32), *whole), {"dimension": 0, "places": False}),
    ]


partition: Final[Primitive] = Primitive(
    name="partition",
    abstract=_abstract,
    reference=_reference,
    jvp=_jvp,
    transpose=NotApplicable("transpose", "the operation is not linear"),
    batch=_batch,
    partial_eval=FIRST_ORDER,
    lower=_lower,
    hlo=_hlo,
    samples=_samples,
    multiple_results=False,
    effects=PURE,
    literals=False,
)
