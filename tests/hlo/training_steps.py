"""Training steps, forwards and backwards, that are compiled for hardware that is not here.

    pullback compile tests/hlo/training_steps.py:transformer_step \\
        --args tests/hlo/training_steps.py:transformer_args --target tpu:v5e:2x2x1
"""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pullback as pb
import pullback.numpy as jnp
from pullback import lax, nn

__all__ = ["digits_args", "digits_step", "transformer_args", "transformer_step"]

EXAMPLES = Path(__file__).parents[2] / "examples"

_digits = runpy.run_path(str(EXAMPLES / "digits.py"), run_name="digits")
digits_step = _digits["train_step"]


def digits_args() -> tuple[Any, ...]:
    """The state of the example `digits.py` before its first step, and a batch."""
    params = _digits["init_params"](pb.random.key(0))
    batch = _digits["BATCH"]
    images, labels = jnp.zeros((batch, 8, 8)), jnp.zeros(batch, jnp.int32)
    return params, _digits["init_adam"](params), images, labels, jnp.float32(100)


VOCABULARY, LAYERS, BATCH, TOKENS, WIDTH, HEADS = 512, 2, 4, 128, 128, 4


def _block(key: Any) -> dict[str, Any]:
    shapes = {
        "qkv": (WIDTH, 3 * WIDTH),
        "out": (WIDTH, WIDTH),
        "up": (WIDTH, 4 * WIDTH),
        "down": (4 * WIDTH, WIDTH),
    }
    weights = {
        name: pb.random.normal(k, shape) * shape[0] ** -0.5
        for k, (name, shape) in zip(pb.random.split(key, 4), shapes.items(), strict=True)
    }
    return weights | {"norm1": jnp.ones(WIDTH), "norm2": jnp.ones(WIDTH)}


def transformer_args() -> tuple[Any, ...]:
    """Parameters, their momentum, tokens and the key of dropout."""
    keys = pb.random.split(pb.random.key(1), LAYERS + 1)
    params = {
        "embedding": pb.random.normal(keys[0], (VOCABULARY, WIDTH)) * 0.02,
        "blocks": pb.vmap(_block)(keys[1:]),
    }
    momentum = pb.tree.map(jnp.zeros_like, params)
    tokens = jnp.zeros((BATCH, TOKENS + 1), jnp.int32)
    return params, momentum, tokens, pb.random.key(2)


def _normed(x: Any, scale: Any) -> Any:
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred * lax.rsqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5) * scale


def _attention(x: Any, block: Any) -> Any:
    parts = jnp.split(x @ block["qkv"], 3, axis=-1)
    q, k, v = (y.reshape(BATCH, -1, HEADS, WIDTH // HEADS) for y in parts)
    return nn.dot_product_attention(q, k, v, is_causal=True).reshape(x.shape) @ block["out"]


@pb.checkpoint
def _layer(x: Any, block: Any, key: Any) -> Any:
    x = x + _attention(_normed(x, block["norm1"]), block)
    kept = pb.random.bernoulli(key, 0.9, x.shape) / 0.9
    return x + nn.gelu(_normed(x, block["norm2"]) @ block["up"]) @ block["down"] * kept


def _loss(params: Any, tokens: Any, key: Any) -> Any:
    x = params["embedding"][tokens[:, :-1]]
    layers = (params["blocks"], pb.random.split(key, LAYERS))
    x, _ = lax.scan(lambda x, layer: (_layer(x, *layer), None), x, layers)
    scores = nn.log_softmax(_normed(x, 1.0) @ params["embedding"].T)
    return -jnp.take_along_axis(scores, tokens[:, 1:, None], axis=-1).mean()


@pb.jit
def transformer_step(params: Any, momentum: Any, tokens: Any, key: Any) -> Any:
    """A step of a causal language model with dropout, rematerialisation and momentum."""
    loss, grads = pb.value_and_grad(_loss)(params, tokens, key)
    momentum = pb.tree.map(lambda m, g: 0.9 * m + g, momentum, grads)
    return pb.tree.map(lambda p, m: p - 0.01 * m, params, momentum), momentum, loss
