"""jraph: graphs are batched and padded; a message-passing network learns a property of graphs."""

from __future__ import annotations

import sys
from typing import Any

import jax
import jax.numpy as jnp
import jraph
import numpy as np
import optax


def graphs(n: int) -> tuple[Any, Any]:
    """Random graphs, and whether a graph has a node with three edges or more."""
    rng = np.random.default_rng(0)
    batch, labels = [], []
    for _ in range(n):
        nodes, edges = int(rng.integers(3, 7)), int(rng.integers(3, 9))
        senders, receivers = rng.integers(0, nodes, edges), rng.integers(0, nodes, edges)
        batch.append(
            jraph.GraphsTuple(
                nodes=jnp.ones((nodes, 1)),
                edges=jnp.asarray(rng.standard_normal((edges, 2)), jnp.float32),
                senders=jnp.asarray(senders),
                receivers=jnp.asarray(receivers),
                n_node=jnp.array([nodes]),
                n_edge=jnp.array([edges]),
                globals=jnp.zeros((1, 1)),
            )
        )
        labels.append(int(np.bincount(receivers, minlength=nodes).max() >= 3))
    return jraph.pad_with_graphs(jraph.batch(batch), 160, 200, n + 1), jnp.array([*labels, 0])


def dense(p: Any, x: Any) -> Any:
    return x @ p["w"] + p["b"]


def init(key: Any, sizes: dict[str, tuple[int, int]]) -> dict[str, Any]:
    keys = jax.random.split(key, len(sizes))
    return {
        name: {"w": jax.random.normal(k, shape) / np.sqrt(shape[0]), "b": jnp.zeros(shape[1])}
        for k, (name, shape) in zip(keys, sizes.items(), strict=True)
    }


def network(params: Any, graph: Any) -> Any:
    @jraph.concatenated_args
    def update_edge(x: Any) -> Any:
        return jax.nn.relu(dense(params["edge"], x))

    @jraph.concatenated_args
    def update_node(x: Any) -> Any:
        return jax.nn.relu(dense(params["node"], x))

    @jraph.concatenated_args
    def update_global(x: Any) -> Any:
        return dense(params["global"], x)

    net = jraph.GraphNetwork(
        update_edge,
        update_node,
        update_global,
        aggregate_edges_for_globals_fn=jraph.segment_mean,
        aggregate_nodes_for_globals_fn=jraph.segment_max,
    )
    return net(graph).globals


def train() -> dict[str, Any]:
    graph, labels = graphs(24)
    mask = jraph.get_graph_padding_mask(graph)
    # edges: 2 + sent 1 + received 1 + global 1; nodes: 1 + sent 16 + received 16 + global 1
    sizes = {"edge": (5, 16), "node": (34, 16), "global": (33, 2)}
    params = init(jax.random.key(0), sizes)
    optimizer = optax.adam(2e-2)

    @jax.jit
    def step(params: Any, state: Any) -> Any:
        def loss(params: Any) -> Any:
            logits = network(params, graph)
            losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
            return jnp.sum(losses * mask) / jnp.sum(mask)

        value, grads = jax.value_and_grad(loss)(params)
        updates, state = optimizer.update(grads, state)
        return optax.apply_updates(params, updates), state, value

    state, losses = optimizer.init(params), []
    for _ in range(60):
        params, state, value = step(params, state)
        losses.append(value)
    assert losses[-1] < 0.6 * losses[0], losses
    return {
        "losses": jnp.stack(losses)[:10],
        "logits": network(init(jax.random.key(1), sizes), graph),
    }


def others() -> dict[str, Any]:
    graph, _ = graphs(3)
    conv = jraph.GraphConvolution(
        lambda n: n @ jnp.ones((1, 4)), add_self_edges=True, symmetric_normalization=True
    )
    attention = jraph.GAT(
        lambda n: n @ jnp.arange(1.0, 4.0)[None],
        lambda s, r, e: jnp.sum(s * 0.1 + r * 0.2, -1, keepdims=True),
    )
    data = jnp.arange(6.0)
    ids = jnp.array([0, 0, 1, 1, 1, 3])
    segments = [
        jraph.segment_sum(data, ids, 4),
        jraph.segment_mean(data, ids, 4),
        jraph.segment_variance(data, ids, 4),
        jraph.segment_softmax(data, ids, 4),
        jraph.segment_normalize(data, ids, 4),
        jraph.segment_min_or_constant(data, ids, 4),
    ]
    parts = jraph.unbatch(graph)
    return {
        "conv": conv(graph).nodes,
        "attention": attention(graph._replace(edges=None)).nodes,
        "segments": jnp.concatenate(segments),
        "counts": np.array([int(g.n_node.sum()) for g in parts]),
        "padding": jraph.get_node_padding_mask(graph),
        "grad": jax.grad(lambda d: jnp.sum(jraph.segment_softmax(d, ids, 4) * data))(data),
    }


def main() -> dict[str, Any]:
    return {**train(), **others()}


if __name__ == "__main__":
    np.savez(sys.argv[1], **main())
