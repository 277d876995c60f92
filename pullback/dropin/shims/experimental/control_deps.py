"""`jax.experimental.control_deps`: an order of operations for XLA's scheduler, not used here.

Operations run in the order in which they are written.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["control_dep", "schedule"]


def control_dep(src: Any, dst: Any) -> tuple[()]:
    """Nothing: `dst` is written after `src`.

    >>> control_dep(1, 2)
    ()
    """
    return ()


def schedule(ops: Sequence[Any]) -> None:
    """Nothing: operations run in the order in which they are written.

    >>> schedule([1, 2])
    """
