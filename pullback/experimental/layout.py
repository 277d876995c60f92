"""The namespace `jax.experimental.layout`: how arrays lie in memory."""

from __future__ import annotations

from typing import Any

from pullback import tree
from pullback.core.avals import aval_of
from pullback.core.layout import Format, Layout, check_layout

__all__ = ["Format", "Layout", "with_layout_constraint"]


def with_layout_constraint(x: Any, layouts: Any) -> Any:
    """`x` itself, a pytree of arrays whose layouts must be the ones that all arrays have.

    `layouts` is one layout for all of them, or a pytree of layouts that is a prefix of `x`.

    >>> import pullback.numpy as jnp
    >>> with_layout_constraint(jnp.ones((2, 3)), Layout((0, 1))).shape
    (2, 3)
    """
    leaves = tree.leaves(x)
    spread = tree.broadcast_prefix(layouts, x, is_leaf=lambda part: part is None)
    for layout, part in zip(spread, leaves, strict=True):
        check_layout(layout, len(aval_of(part).shape), "with_layout_constraint")
    return x
