"""The namespace `jax.experimental.layout`: how arrays lie in memory."""

from __future__ import annotations

from typing import Any

from pullback.core.avals import aval_of
from pullback.core.layout import Format, Layout, check_layout

__all__ = ["Format", "Layout", "with_layout_constraint"]


def with_layout_constraint(x: Any, layout: Layout) -> Any:
    """`x` itself, whose layout must be the one that all arrays have.

    >>> import pullback.numpy as jnp
    >>> with_layout_constraint(jnp.ones((2, 3)), Layout((0, 1))).shape
    (2, 3)
    """
    check_layout(layout, len(aval_of(x).shape), "with_layout_constraint")
    return x
