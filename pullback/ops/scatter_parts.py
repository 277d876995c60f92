"""Windows written by several threads: a help of `scatter`'s lowering.

Each thread looks at all positions, and writes the windows that begin in its part of one axis of the
operand.  So an element gets its updates from one thread, in their order, whatever the number of
threads: the last of several that set it wins, and sums are rounded as by one thread.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import numpy as np

__all__ = ["between", "parts", "shared_axis"]

WINDOW_BYTES: Final = 128
UPDATES_BYTES: Final = 1 << 18
"""Windows, and updates in all, from which several threads write faster than one."""


def shared_axis(x: Any, updates: Any, sizes: Any, axes: Any) -> int | None:
    """The axis of the operand whose parts are the threads', if the windows are worth it."""
    window, itemsize = math.prod(sizes), x.dtype.itemsize
    if window * itemsize < WINDOW_BYTES or math.prod(updates.shape) * itemsize < UPDATES_BYTES:
        return None
    along = enumerate(zip(axes.entries, sizes, x.shape, strict=True))
    return next((k for k, (entry, m, n) in along if entry is not None and m == 1 < n), None)


@contextmanager
def parts(b: Any, extent: int) -> Iterator[tuple[Any, Any]]:
    """A loop over as many parts of an axis as there are threads; the bounds of one."""
    threads = b.call("pb_pool_threads", returns=np.int64)
    with b.loop(threads, independent=True) as part:
        low, high = (b.let(b.s.div(k * extent, threads)) for k in (part, part + 1))
        yield low, high


def between(s: Any, start: Any, part: tuple[Any, Any], before: Any) -> Any:
    """Whether a position is in a part of an axis, and `before` holds too."""
    low, high = part
    inside = s.and_(start >= low, start < high)
    return inside if before is None else s.and_(before, inside)
