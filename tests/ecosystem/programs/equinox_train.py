"""equinox: an MLP and a small convolutional network with batch norm are trained by optax."""

from __future__ import annotations

import io
import sys
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax


class Residual(eqx.Module):
    """x + MLP(layer norm of x), with dropout."""

    norm: eqx.nn.LayerNorm
    mlp: eqx.nn.MLP
    dropout: eqx.nn.Dropout
    name: str = eqx.field(static=True)

    def __init__(self, size: int, key: Any) -> None:
        self.norm = eqx.nn.LayerNorm(size)
        self.mlp = eqx.nn.MLP(size, size, 2 * size, depth=1, activation=jax.nn.gelu, key=key)
        self.dropout = eqx.nn.Dropout(0.25)
        self.name = "residual"

    def __call__(self, x: Any, key: Any) -> Any:
        return x + self.dropout(self.mlp(self.norm(x)), key=key)


class Network(eqx.Module):
    """Embedding, residual blocks run by a scan over stacked parameters, head."""

    embed: eqx.nn.Linear
    blocks: Residual
    head: eqx.nn.Linear

    def __init__(self, key: Any) -> None:
        k1, k2, k3 = jax.random.split(key, 3)
        self.embed = eqx.nn.Linear(3, 16, key=k1)
        self.blocks = eqx.filter_vmap(lambda k: Residual(16, k))(jax.random.split(k2, 3))
        self.head = eqx.nn.Linear(16, "scalar", key=k3)

    def __call__(self, x: Any, key: Any) -> Any:
        dynamic, static = eqx.partition(self.blocks, eqx.is_array)

        def body(h: Any, block_and_key: Any) -> Any:
            block, k = block_and_key
            return eqx.combine(block, static)(h, k), None

        h, _ = jax.lax.scan(body, self.embed(x), (dynamic, jax.random.split(key, 3)))
        return self.head(h)


def train_network() -> dict[str, Any]:
    rng = np.random.default_rng(1)
    x = jnp.asarray(rng.standard_normal((64, 3)), jnp.float32)
    y = jnp.sin(x[:, 0]) * x[:, 1] + x[:, 2] ** 2
    model = Network(jax.random.key(0))
    optimizer = optax.adam(3e-3)
    state = optimizer.init(eqx.filter(model, eqx.is_inexact_array))

    @eqx.filter_value_and_grad
    def loss(model: Network, key: Any) -> Any:
        out = jax.vmap(model)(x, jax.random.split(key, len(x)))
        return jnp.mean((out - y) ** 2)

    @eqx.filter_jit
    def step(model: Network, state: Any, key: Any) -> Any:
        value, grads = loss(model, key)
        updates, state = optimizer.update(grads, state, model)
        return eqx.apply_updates(model, updates), state, value

    values = []
    for key in jax.random.split(jax.random.key(1), 60):
        model, state, value = step(model, state, key)
        values.append(value)
    assert values[-1] < 0.5 * values[0], values
    quiet = eqx.nn.inference_mode(model)
    outs = jax.vmap(quiet, in_axes=(0, None))(x[:4], jax.random.key(0))
    stored = io.BytesIO()
    eqx.tree_serialise_leaves(stored, model)
    stored.seek(0)
    back = eqx.tree_deserialise_leaves(stored, Network(jax.random.key(5)))
    assert eqx.tree_equal(back, model)
    return {"losses": jnp.stack(values)[:12], "start": values[0], "outputs": outs}


def convolutions() -> dict[str, Any]:
    keys = jax.random.split(jax.random.key(2), 3)
    network, state = eqx.nn.make_with_state(
        lambda: eqx.nn.Sequential(
            [
                eqx.nn.Conv2d(1, 4, 3, padding=1, key=keys[0]),
                eqx.nn.BatchNorm(4, axis_name="batch", mode="batch"),
                eqx.nn.Lambda(jax.nn.relu),
                eqx.nn.MaxPool2d(2, 2),
                eqx.nn.Lambda(jnp.ravel),
                eqx.nn.Linear(4 * 4 * 4, 3, key=keys[1]),
            ]
        )
    )()
    x = jax.random.normal(keys[2], (6, 1, 8, 8))

    @eqx.filter_jit
    @eqx.filter_value_and_grad(has_aux=True)
    def loss(network: Any, state: Any) -> Any:
        out, state = jax.vmap(network, axis_name="batch", in_axes=(0, None), out_axes=(0, None))(
            x, state
        )
        return jnp.mean(out**2), (out, state)

    (value, (out, state)), grads = loss(network, state)
    (value2, _), _ = loss(network, state)
    weights = jax.tree.leaves(eqx.filter(grads, eqx.is_array))
    return {
        "conv": out,
        "conv_losses": jnp.stack([value, value2]),
        "conv_grads": jnp.stack([jnp.sum(jnp.abs(g)) for g in weights]),
    }


def recurrent() -> dict[str, Any]:
    cell = eqx.nn.GRUCell(2, 5, key=jax.random.key(3))
    xs = jnp.sin(jnp.arange(20.0).reshape(10, 2))

    def run(cell: Any) -> Any:
        return jax.lax.scan(lambda h, x: (cell(x, h),) * 2, jnp.zeros(5), xs)[0]

    attention = eqx.nn.MultiheadAttention(2, 6, key=jax.random.key(4))
    grads = eqx.filter_grad(lambda c: jnp.sum(run(c)))(cell)
    return {
        "gru": run(cell),
        "gru_grad": grads.weight_hh,
        "attention": attention(*[jax.random.normal(jax.random.key(9), (4, 6))] * 3),
    }


def checks() -> dict[str, Any]:
    @eqx.filter_jit
    def root(x: Any) -> Any:
        x = eqx.error_if(x, x < 0, "must be nonnegative")
        return jnp.sqrt(x)

    try:
        root(jnp.array(-1.0))
    except RuntimeError as error:
        failed = "must be nonnegative" in str(error)
    else:
        failed = False

    def bounded(x: Any) -> Any:
        def cond(v: Any) -> Any:
            return v < 30.0

        return eqx.internal.while_loop(cond, lambda v: v * x, x, max_steps=16, kind="checkpointed")

    value, grad = jax.value_and_grad(bounded)(jnp.array(1.7))
    closed = eqx.filter_closure_convert(lambda x: x * value, jnp.array(1.0))
    shape = eqx.filter_eval_shape(lambda t: {"a": t @ t.T, "b": 3}, jnp.ones((2, 3)))
    return {
        "failed": np.array([failed, shape["a"].shape == (2, 2), shape["b"] == 3]),
        "root": root(jnp.array(4.0)),
        "bounded": jnp.stack([value, grad]),
        "closed": closed(jnp.array(2.0)),
    }


def main() -> dict[str, Any]:
    return {**train_network(), **convolutions(), **recurrent(), **checks()}


if __name__ == "__main__":
    np.savez(sys.argv[1], **main())
