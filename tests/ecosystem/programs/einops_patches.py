"""einops: patches of an image, attention heads, pooling, and their derivatives."""

from __future__ import annotations

import sys
from typing import Any

import einops
import jax
import jax.numpy as jnp
import numpy as np
from einops import einsum, pack, rearrange, reduce, repeat, unpack


def attention(x: Any, w: Any, heads: int) -> Any:
    q, k, v = rearrange(x @ w, "b t (three h d) -> three b h t d", three=3, h=heads)
    scores = einsum(q, k, "b h i d, b h j d -> b h i j") / jnp.sqrt(q.shape[-1])
    out = einsum(jax.nn.softmax(scores, -1), v, "b h i j, b h j d -> b h i d")
    return rearrange(out, "b h t d -> b t (h d)")


def main() -> dict[str, Any]:
    image = jnp.sin(jnp.arange(2 * 8 * 8 * 3.0)).reshape(2, 8, 8, 3)
    patches = rearrange(image, "b (h p) (w q) c -> b (h w) (p q c)", p=4, q=4)
    w = jax.random.normal(jax.random.key(0), (48, 24)) / 7
    run = jax.jit(attention, static_argnums=2)
    packed, shapes = pack([image[0], jnp.ones((8, 8))], "h w *")
    back, ones = unpack(packed, shapes, "h w *")
    lanes = jax.vmap(lambda x: reduce(x, "(h p) (w q) c -> h w c", "mean", p=2, q=2))(image)
    return {
        "patches": patches,
        "attention": run(patches, w, 2),
        "grad": jax.grad(lambda w: jnp.sum(attention(patches, w, 2) ** 2))(w),
        "max": reduce(image, "b h w c -> b c", "max"),
        "pooled": lanes,
        "repeat": repeat(image[:, :1, :1], "b h w c -> b (h 2) (w 3) c"),
        "prod": reduce(jnp.abs(image[0, :2, :2]) + 0.5, "h w c -> c", "prod"),
        "packed": jnp.concatenate([packed.ravel(), back.ravel(), ones.ravel()]),
        "shape": np.array(list(einops.parse_shape(image, "b _ _ c").values())),
        "any": reduce(image > 0.99, "b h w c -> b", "any"),
    }


if __name__ == "__main__":
    np.savez(sys.argv[1], **main())
