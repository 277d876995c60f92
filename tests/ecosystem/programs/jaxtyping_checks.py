# ruff: noqa: F722, UP037
"""jaxtyping with beartype: shapes and dtypes of arguments are checked, also while tracing."""

from __future__ import annotations

import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from beartype import beartype
from beartype.roar import BeartypeCallHintViolation
from jaxtyping import Array, ArrayLike, Bool, Float, Int, Key, PyTree, Shaped, jaxtyped


@jaxtyped(typechecker=beartype)
def attend(
    q: Float[Array, "heads query size"],
    k: Float[Array, "heads key size"],
    v: Float[Array, "heads key width"],
    mask: Bool[Array, "query key"],
) -> Float[Array, "heads query width"]:
    scores = jnp.einsum("hqd,hkd->hqk", q, k) / jnp.sqrt(q.shape[-1])
    return jax.nn.softmax(jnp.where(mask, scores, -1e9), axis=-1) @ v


@jaxtyped(typechecker=beartype)
def total(tree: PyTree[Float[Array, "..."]]) -> Float[Array, ""]:
    return sum((jnp.sum(x) for x in jax.tree.leaves(tree)), start=jnp.zeros(()))


@jaxtyped(typechecker=beartype)
def shift(x: Float[ArrayLike, "*n"], by: Int[Array, ""] | int) -> Shaped[Array, "*n"]:
    return jnp.asarray(x) + by


@jaxtyped(typechecker=beartype)
def draw(key: Key[Array, ""], like: Float[Array, "n m"]) -> Float[Array, "m n"]:
    return jax.random.normal(key, like.shape[::-1])


def refused(f: Any, *args: Any) -> bool:
    """Whether the check of a call fails."""
    try:
        f(*args)
    except (BeartypeCallHintViolation, TypeError):
        return True
    return False


def main() -> dict[str, Any]:
    keys = jax.random.split(jax.random.key(0), 3)
    q, k, v = (jax.random.normal(key, (2, n, 4)) for key, n in zip(keys, (3, 5, 5), strict=True))
    mask = jnp.tri(3, 5, k=2, dtype=bool)
    grads = jax.grad(lambda *qkv: jnp.sum(attend(*qkv, mask) ** 2), argnums=(0, 1, 2))(q, k, v)
    half = q.astype(jnp.float16)
    return {
        "attend": jax.jit(attend)(q, k, v, mask),
        "grad": jnp.concatenate([jnp.ravel(g) for g in grads]),
        "lanes": jax.vmap(attend, in_axes=(0, None, None, None))(jnp.stack([q, -q]), k, v, mask),
        "total": total({"a": q, "b": [k, v]}),
        "shift": shift(1.5, 2) + shift(jnp.arange(3.0), jnp.array(1))[0],
        "draw": draw(keys[0], jnp.zeros((2, 3))),
        "isinstance": np.array(
            [
                isinstance(q, Float[Array, "a b c"]),
                isinstance(q, Float[Array, "a b"]),
                isinstance(q, Int[Array, "..."]),
                isinstance(half, Float[Array, "2 3 4"]),
                isinstance(np.zeros(3), Float[np.ndarray, "3"]),
            ]
        ),
        "refused": np.array(
            [
                refused(attend, q, k[:, :, :3], v, mask),
                refused(attend, q, k, v, mask.astype(jnp.int32)),
                refused(jax.jit(attend), q, k, v[:, :4], mask),
                refused(total, {"a": jnp.arange(3)}),
                refused(draw, jnp.zeros(()), q[0]),
            ]
        ),
    }


if __name__ == "__main__":
    np.savez(sys.argv[1], **main())
