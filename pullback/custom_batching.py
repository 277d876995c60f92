"""The namespace `jax.custom_batching`: functions with their own batching rules."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from pullback import tree
from pullback.control.custom_vmap import custom_vmap
from pullback.lax.control_flow import map as lax_map
from pullback.transforms.arguments import check_callable

__all__ = ["custom_vmap", "sequential_vmap"]


def sequential_vmap(f: Callable[..., Any]) -> custom_vmap:
    """`f`, whose vmap runs the lanes one after the other (by `lax.map`).

    >>> import pullback as pb, pullback.numpy as jnp
    >>> pb.vmap(sequential_vmap(jnp.sin))(jnp.zeros(2)).tolist()
    [0.0, 0.0]
    """
    check_callable(f, "sequential_vmap")
    mapped = custom_vmap(f)

    @functools.wraps(f)
    def rule(axis_size: int, in_batched: Sequence[Any], *args: Any) -> Any:
        leaves, structure = tree.flatten(args)
        flags = tree.leaves(tuple(in_batched))
        rows = [x for x, b in zip(leaves, flags, strict=True) if b]

        def one(lane: Sequence[Any]) -> Any:
            given = iter(lane)
            values = [next(given) if b else x for x, b in zip(leaves, flags, strict=True)]
            return mapped(*structure.unflatten(values))

        out = lax_map(one, rows)
        return out, tree.map(lambda _: True, out)

    mapped.def_vmap(rule)
    return mapped
