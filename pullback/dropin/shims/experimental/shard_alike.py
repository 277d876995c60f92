"""`jax.experimental.shard_alike`: two arrays laid out over devices in one way."""

from __future__ import annotations

from typing import Any

from pullback import tree
from pullback.core.avals import aval_of

__all__ = ["shard_alike"]


def shard_alike(x: Any, y: Any) -> tuple[Any, Any]:
    """`x` and `y` as they are: pytrees of one structure, whose leaves have the same shapes.

    Raises ValueError if they do not.

    >>> shard_alike(1, 2)
    (1, 2)
    """
    xs, x_tree = tree.flatten(x)
    ys, y_tree = tree.flatten(y)
    if x_tree != y_tree:
        raise ValueError(f"shard_alike: the structures differ: {x_tree} and {y_tree}")
    for a, b in zip(xs, ys, strict=True):
        if aval_of(a).shape != aval_of(b).shape:
            raise ValueError(
                f"shard_alike: the shapes of leaves differ: {aval_of(a).shape} and "
                f"{aval_of(b).shape}"
            )
    return x, y
