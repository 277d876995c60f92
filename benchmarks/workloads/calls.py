"""The cost of a call: next to no arithmetic, so that only the way to it counts."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.data import normal
from benchmarks.frameworks import jax, jnp, torch
from benchmarks.registry import workload


def _scalar() -> list[Any]:
    return [np.array(1.5, np.float32)]


@workload("jitted scalar add", _scalar, call=True)
def scalar_add(x: Any) -> Any:
    return x + 1.0


@workload("jitted, a tree of 100 leaves", lambda: [_tree()], call=True)
def tree_of_100(tree: Any) -> Any:
    return jax.tree.map(lambda x: x + 1.0, tree)


def _tree() -> dict[str, Any]:
    return {f"layer{i:02}": {"w": normal(4, 4, seed=i), "b": normal(4, seed=i)} for i in range(50)}


@workload("eager x + 1", _scalar, jit=False, call=True)
def eager_add(x: Any) -> Any:
    return x + 1


@eager_add.torch()
def _(x: Any) -> Any:
    return x + 1


@eager_add.numpy()
def _(x: Any) -> Any:
    return x + 1


@workload("eager grad(sin)", _scalar, jit=False, call=True)
def eager_grad_sin(x: Any) -> Any:
    return jax.grad(jnp.sin)(x)


@eager_grad_sin.torch()
def _(x: Any) -> Any:
    leaf = x.detach().requires_grad_()
    return torch.autograd.grad(torch.sin(leaf), leaf)[0]


def _small_network() -> list[Any]:
    return [normal(32, 16), normal(16, 32, scale=0.2), normal(32), normal(32, 8, scale=0.2)]


@workload("eager two-layer MLP", _small_network, jit=False, call=True)
def eager_mlp(x: Any, w: Any, b: Any, v: Any) -> Any:
    return jnp.tanh(x @ w + b) @ v


@eager_mlp.torch()
def _(x: Any, w: Any, b: Any, v: Any) -> Any:
    return torch.tanh(x @ w + b) @ v


@eager_mlp.numpy()
def _(x: Any, w: Any, b: Any, v: Any) -> Any:
    return np.tanh(x @ w + b) @ v


@workload(
    "jitted call inside Python, 8 small arrays", lambda: [[normal(8) for _ in range(8)]], call=True
)
def sum_of_eight(xs: Any) -> Any:
    return sum(xs[1:], xs[0])
