"""flax.nnx: an MLP with dropout and batch norm is trained; modules are split, merged, scanned."""

from __future__ import annotations

import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx


class Block(nnx.Module):
    def __init__(self, size: int, *, rngs: nnx.Rngs) -> None:
        self.linear = nnx.Linear(size, size, rngs=rngs)
        self.norm = nnx.LayerNorm(size, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        return x + nnx.gelu(self.linear(self.norm(x)))


class Count(nnx.Variable):
    """How often the module was called."""


class MLP(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.start = nnx.Linear(4, 32, rngs=rngs)
        self.norm = nnx.BatchNorm(32, momentum=0.9, rngs=rngs)
        self.dropout = nnx.Dropout(0.2, rngs=rngs)
        self.block = Block(32, rngs=rngs)
        self.head = nnx.Linear(32, 3, rngs=rngs)
        self.count = Count(jnp.array(0))

    def __call__(self, x: Any) -> Any:
        self.count[...] += 1
        x = nnx.relu(self.norm(self.start(x)))
        return self.head(self.block(self.dropout(x)))


def data() -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((96, 4))
    label = (x[:, 0] * x[:, 1] > 0).astype(int) + (x[:, 2] > 0.5)
    return jnp.asarray(x, jnp.float32), jnp.asarray(label, jnp.int32)


def train() -> dict[str, Any]:
    x, y = data()
    model = MLP(nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, optax.adam(5e-3), wrt=nnx.Param)
    metrics = nnx.MultiMetric(loss=nnx.metrics.Average("loss"), accuracy=nnx.metrics.Accuracy())

    def loss_fn(model: MLP) -> Any:
        logits = model(x)
        loss = optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()
        return loss, logits

    @nnx.jit
    def step(model: MLP, optimizer: Any, metrics: Any) -> Any:
        (loss, logits), grads = nnx.value_and_grad(loss_fn, has_aux=True)(model)
        metrics.update(loss=loss, logits=logits, labels=y)
        optimizer.update(model, grads)
        return loss

    losses = [step(model, optimizer, metrics) for _ in range(60)]
    assert losses[-1] < 0.6 * losses[0], losses
    computed = metrics.compute()
    model.eval()
    logits = model(x)
    graph, params, rest = nnx.split(model, nnx.Param, ...)
    merged = nnx.merge(graph, params, rest)
    names = ["/".join(map(str, path)) for path, _ in nnx.to_flat_state(params)]
    return {
        "losses": jnp.stack(losses)[:12],
        "start": losses[0],
        "count": model.count[...],
        "running": model.norm.var[...],
        "metrics": jnp.stack([computed["loss"], computed["accuracy"]]),
        "same": jnp.all(merged(x) == logits),
        "names": np.array(names),
        "size": np.array(sum(p.size for p in jax.tree.leaves(params))),
    }


def transforms() -> dict[str, Any]:
    @nnx.split_rngs(splits=3)
    @nnx.vmap(in_axes=0, out_axes=0)
    def make(rngs: nnx.Rngs) -> Block:
        return Block(8, rngs=rngs)

    blocks = make(nnx.Rngs(1))

    @nnx.scan(in_axes=(nnx.Carry, 0), out_axes=nnx.Carry)
    def run(x: Any, block: Block) -> Any:
        return block(x)

    x = jnp.linspace(-1, 1, 8)
    out = run(x, blocks)
    grads = nnx.grad(lambda b: jnp.sum(run(x, b) ** 2))(blocks)
    cell = nnx.RNN(nnx.LSTMCell(3, 5, rngs=nnx.Rngs(2)))
    attention = nnx.MultiHeadAttention(
        num_heads=2, in_features=6, qkv_features=8, decode=False, rngs=nnx.Rngs(3)
    )
    conv = nnx.Conv(1, 2, (3, 3), rngs=nnx.Rngs(4))
    embed = nnx.Embed(5, 4, rngs=nnx.Rngs(5))
    remat = nnx.remat(lambda b, v: b(v))
    block = Block(8, rngs=nnx.Rngs(6))
    shapes = nnx.eval_shape(lambda: Block(4, rngs=nnx.Rngs(0)))
    return {
        "scan": out,
        "scan_grad": grads["linear"]["kernel"][...],
        "rnn": cell(jnp.sin(jnp.arange(24.0)).reshape(2, 4, 3)),
        "attention": attention(jnp.cos(jnp.arange(30.0)).reshape(1, 5, 6)),
        "conv": conv(jnp.arange(16.0).reshape(1, 4, 4, 1)),
        "embed": embed(jnp.array([1, 4])),
        "remat": nnx.grad(lambda b: jnp.sum(remat(b, x)))(block)["norm"]["scale"][...],
        "shape": np.array(shapes.linear.kernel.shape),
    }


def main() -> dict[str, Any]:
    return {**train(), **transforms()}


if __name__ == "__main__":
    np.savez(sys.argv[1], **main())
