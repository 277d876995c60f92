"""The namespace `jax.experimental.shard_map`: `pullback.shard_map` with its older parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pullback.runtime import shard_map as current

__all__ = ["shard_map"]


def shard_map(
    f: Callable[..., Any], mesh: Any, in_specs: Any, out_specs: Any, check_rep: bool = True
) -> Callable[..., Any]:
    """See `pullback.shard_map`; `check_rep` is its `check_vma`.

    >>> import pullback as pb, pullback.numpy as jnp
    >>> mesh = pb.make_mesh((1,), ("x",))
    >>> shard_map(lambda a: pb.lax.psum(a, "x"), mesh, pb.P("x"), pb.P())(jnp.ones(2))
    Array([1., 1.], dtype=float32)
    """
    mapped: Callable[..., Any] = current.shard_map(
        f, mesh=mesh, in_specs=in_specs, out_specs=out_specs, check_vma=check_rep
    )
    return mapped
