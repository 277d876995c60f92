"""haiku: an LSTM that predicts characters; states, layers, lifted transformations, inspection."""

from __future__ import annotations

import sys
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax

TEXT = "the quick brown fox jumps over the lazy dog and runs away from the quick brown dog "
LETTERS = sorted(set(TEXT))


def forward(tokens: Any) -> Any:
    n = len(LETTERS)
    core = hk.DeepRNN([hk.Embed(n, 16), hk.LSTM(32), jax.nn.relu, hk.Linear(n)])
    logits, _ = hk.dynamic_unroll(core, tokens, core.initial_state(tokens.shape[1]))
    return logits


def train() -> dict[str, Any]:
    tokens = jnp.array([LETTERS.index(c) for c in TEXT[:80]], jnp.int32).reshape(4, -1).T
    network = hk.without_apply_rng(hk.transform(forward))
    params = network.init(jax.random.PRNGKey(0), tokens[:-1])
    optimizer = optax.adam(2e-2)

    @jax.jit
    def step(params: Any, state: Any) -> Any:
        def loss(params: Any) -> Any:
            logits = network.apply(params, tokens[:-1])
            return optax.softmax_cross_entropy_with_integer_labels(logits, tokens[1:]).mean()

        value, grads = jax.value_and_grad(loss)(params)
        updates, state = optimizer.update(grads, state)
        return optax.apply_updates(params, updates), state, value

    state = optimizer.init(params)
    losses = []
    for _ in range(40):
        params, state, value = step(params, state)
        losses.append(value)
    assert losses[-1] < 0.3 * losses[0], losses
    names = [f"{module}/{name}" for module, name, _ in hk.data_structures.traverse(params)]
    return {
        "losses": jnp.stack(losses)[:10],
        "names": np.array(sorted(names)),
        "size": np.array(hk.data_structures.tree_size(params)),
    }


def convolutional(x: Any, is_training: bool) -> Any:
    x = hk.Conv2D(4, 3)(x)
    x = hk.BatchNorm(True, True, 0.9)(x, is_training)
    x = hk.max_pool(jax.nn.relu(x), 2, 2, "SAME")
    x = hk.Flatten()(x)
    if is_training:
        x = hk.dropout(hk.next_rng_key(), 0.2, x)
    count = hk.get_state("count", [], jnp.int32, init=jnp.zeros)
    hk.set_state("count", count + 1)
    return hk.nets.MLP([8, 3], activation=jax.nn.tanh)(x)


def stateful() -> dict[str, Any]:
    network = hk.transform_with_state(convolutional)
    x = jax.random.normal(jax.random.PRNGKey(1), (2, 6, 6, 1))
    params, state = network.init(jax.random.PRNGKey(2), x, True)
    out, state = network.apply(params, state, jax.random.PRNGKey(3), x, True)
    out2, state = jax.jit(network.apply, static_argnums=4)(params, state, None, x, False)

    def looped(x: Any) -> Any:
        layer = hk.Linear(x.shape[-1], name="shared")
        x = hk.scan(lambda c, _: (jnp.tanh(layer(c)), jnp.sum(c)), x, None, length=3)[0]
        x = hk.cond(jnp.sum(x) > 0, lambda v: layer(v), lambda v: v, x)
        return hk.remat(layer)(hk.fori_loop(0, 2, lambda i, v: layer(v) / 2, x))

    loops = hk.without_apply_rng(hk.transform(looped))
    v = jnp.linspace(-1, 1, 4)
    weights = loops.init(jax.random.PRNGKey(4), v)
    attention = hk.transform(
        lambda a: hk.MultiHeadAttention(2, 3, w_init=hk.initializers.VarianceScaling(1.0))(a, a, a)
    )
    a = jnp.cos(jnp.arange(12.0)).reshape(3, 4)
    heads = attention.init(jax.random.PRNGKey(5), a)
    stack = hk.transform(lambda v: hk.experimental.layer_stack(3)(lambda u: u + hk.Linear(4)(u))(v))
    layers = stack.init(jax.random.PRNGKey(6), v)
    graph = hk.to_dot(loops.apply)(weights, v)
    table = hk.experimental.tabulate(loops)(v)
    return {
        "train": out,
        "eval": out2,
        "moving": state["batch_norm/~/mean_ema"]["average"].ravel(),
        "count": state["~"]["count"],
        "looped": loops.apply(weights, v),
        "looped_grad": jax.grad(lambda w: jnp.sum(loops.apply(w, v)))(weights)["shared"]["w"],
        "attention": attention.apply(heads, None, a),
        "stack": stack.apply(layers, None, v),
        "dot": np.array(["dot" in graph or "add" in graph, "shared" in table]),
    }


def main() -> dict[str, Any]:
    return {**train(), **stateful()}


if __name__ == "__main__":
    np.savez(sys.argv[1], **main())
