"""flax.linen: a CNN with batch norm is trained; lifted transformations, recurrence, attention."""

from __future__ import annotations

import sys
from typing import Any

import flax
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax.training import train_state


class CNN(nn.Module):
    @nn.compact
    def __call__(self, x: Any, train: bool) -> Any:
        x = nn.Conv(8, (3, 3))(x)
        x = nn.BatchNorm(use_running_average=not train, momentum=0.9)(x)
        x = nn.avg_pool(nn.relu(x), (2, 2), strides=(2, 2))
        x = nn.Conv(16, (3, 3), strides=2)(x)
        x = nn.max_pool(nn.relu(x), (2, 2), strides=(2, 2))
        x = x.reshape(x.shape[0], -1)
        x = nn.Dropout(0.1, deterministic=not train)(nn.Dense(32)(x))
        return nn.Dense(2)(nn.gelu(x))


class TrainState(train_state.TrainState):
    batch_stats: Any


def images() -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, 48)
    x = 0.4 * rng.standard_normal((48, 12, 12, 1))
    for i, bit in enumerate(label):  # a vertical or a horizontal bar
        at = rng.integers(2, 10)
        x[i, :, at, 0] += bit
        x[i, at, :, 0] += 1 - bit
    return jnp.asarray(x, jnp.float32), jnp.asarray(label, jnp.int32)


def train() -> dict[str, Any]:
    x, y = images()
    model = CNN()
    variables = model.init(jax.random.key(0), x, train=False)
    state = TrainState.create(
        apply_fn=model.apply,
        params=variables["params"],
        tx=optax.adamw(5e-3),
        batch_stats=variables["batch_stats"],
    )

    @jax.jit
    def step(state: TrainState, key: Any) -> Any:
        def loss_fn(params: Any) -> Any:
            logits, changes = state.apply_fn(
                {"params": params, "batch_stats": state.batch_stats},
                x,
                train=True,
                rngs={"dropout": key},
                mutable=["batch_stats"],
            )
            loss = optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()
            return loss, changes

        (loss, changes), grads = jax.value_and_grad(loss_fn, has_aux=True)(state.params)
        return state.apply_gradients(grads=grads, batch_stats=changes["batch_stats"]), loss

    losses = []
    for key in jax.random.split(jax.random.key(1), 25):
        state, loss = step(state, key)
        losses.append(loss)
    assert losses[-1] < 0.5 * losses[0], losses
    stored = flax.serialization.to_bytes(state)
    back = flax.serialization.from_bytes(state, stored)
    same = jax.tree.map(lambda a, b: bool(np.all(np.asarray(a) == np.asarray(b))), back, state)
    sizes = jax.tree.map(jnp.shape, state.params)
    flat = flax.traverse_util.flatten_dict(sizes, sep="/")
    return {
        "start": variables["params"]["Conv_0"]["kernel"],
        "losses": jnp.stack(losses)[:8],
        "running": state.batch_stats["BatchNorm_0"]["var"],
        "same": np.array(all(jax.tree.leaves(same))),
        "names": np.array(sorted(flat)),
    }


class Layer(nn.Module):
    size: int

    @nn.compact
    def __call__(self, x: Any, _: Any) -> Any:
        x = x + nn.Dense(self.size)(nn.LayerNorm()(x))
        self.sow("intermediates", "norm", jnp.linalg.norm(x))
        return x, None


class Stack(nn.Module):
    @nn.compact
    def __call__(self, x: Any) -> Any:
        layers = nn.scan(
            nn.remat(Layer),
            variable_axes={"params": 0, "intermediates": 0},
            split_rngs={"params": True},
            length=3,
        )(x.shape[-1])
        return layers(x, None)[0]


class Decoder(nn.Module):
    @nn.compact
    def __call__(self, tokens: Any) -> Any:
        x = nn.Embed(11, 8)(tokens)
        mask = nn.make_causal_mask(tokens)
        x = nn.MultiHeadDotProductAttention(num_heads=2)(x, mask=mask)
        return nn.Dense(11, param_dtype=jnp.float32, dtype=jnp.bfloat16)(x)


def others() -> dict[str, Any]:
    x = jnp.linspace(-1, 1, 6)
    stack = Stack()
    params = stack.init(jax.random.key(2), x)
    out, state = stack.apply(params, x, mutable=["intermediates"])
    grads = jax.grad(lambda p: jnp.sum(stack.apply(p, x) ** 2))({"params": params["params"]})
    rnn = nn.RNN(nn.GRUCell(4), return_carry=True)
    xs = jnp.sin(jnp.arange(30.0)).reshape(2, 5, 3)
    weights = rnn.init(jax.random.key(3), xs)
    carry, ys = rnn.apply(weights, xs, seq_lengths=jnp.array([5, 2]))
    ensemble = nn.vmap(
        nn.Dense,
        variable_axes={"params": 0},
        split_rngs={"params": True},
        in_axes=None,
        axis_size=3,
    )(2)
    members = ensemble.init(jax.random.key(4), x)
    decoder = Decoder()
    tokens = jnp.array([[1, 5, 2, 10]])
    bound = decoder.bind(decoder.init(jax.random.key(5), tokens))
    lstm = nn.OptimizedLSTMCell(3)
    state0 = lstm.initialize_carry(jax.random.key(0), (2,))
    cell = lstm.init(jax.random.key(6), state0, jnp.ones(2))
    lazy = nn.Dense(3).lazy_init(jax.random.key(0), jax.ShapeDtypeStruct((1, 4), jnp.float32))
    return {
        "stack": out,
        "norms": state["intermediates"]["ScanCheckpointLayer_0"]["norm"][0],
        "stack_grad": grads["params"]["ScanCheckpointLayer_0"]["Dense_0"]["kernel"],
        "rnn": jnp.concatenate([ys.ravel(), carry.ravel()]),
        "ensemble": ensemble.apply(members, x),
        "decoder": bound(tokens).astype(jnp.float32),
        "lstm": lstm.apply(cell, state0, jnp.ones(2))[1],
        "lazy": lazy["params"]["kernel"],
        "table": np.array(len(stack.tabulate(jax.random.key(0), x)) > 100),
    }


def main() -> dict[str, Any]:
    return {**train(), **others()}


if __name__ == "__main__":
    np.savez(sys.argv[1], **main())
