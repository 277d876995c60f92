"""Programs of many equations: their first call shows how tracing and compiling grow."""

from __future__ import annotations

from typing import Any

from benchmarks.data import normal
from benchmarks.frameworks import jax, jnp
from benchmarks.registry import Workload, workload


def _chain(n: int) -> Workload:
    """`n` equations, one after the other, on one small array."""

    def chain(x: Any) -> Any:
        for i in range(n // 2):
            x = jnp.sin(x) * (1.0 + i / n)
        return x

    chain.__name__ = f"chain_of_{n}"
    return workload(f"chain of {n:,} equations", lambda: [normal(16)])(chain)


def _unrolled(n: int) -> Workload:
    """A loop of `n` steps in Python, with a product and a reduction in each step."""

    def unrolled(w: Any, x: Any) -> Any:
        out = []
        for _ in range(n):
            x = jnp.tanh(w @ x)
            out.append(jnp.sum(x))
        return x, sum(out, jnp.float32(0))

    unrolled.__name__ = f"unrolled_{n}"
    return workload(f"unrolled loop of {n:,} steps", lambda: [normal(8, 8, scale=0.3), normal(8)])(
        unrolled
    )


def _nested(n: int) -> Workload:
    """`n` calls of one jitted function from another one."""

    def nested(x: Any) -> Any:
        inner = jax.jit(lambda x, k: jnp.cos(x) * k + 0.5)
        for i in range(n):
            x = inner(x, 0.5 + 0.4 * i / n)
        return x

    nested.__name__ = f"nested_jit_{n}"
    return workload(f"{n:,} calls of a nested jit", lambda: [normal(16)])(nested)


for _n in (100, 1000, 10_000):
    _chain(_n)
    _unrolled(_n)
    _nested(_n)


@workload("gradient of 20 different layers", lambda: [_stack(), normal(4, 24)], tolerance=1e-3)
def different_layers(weights: Any, x: Any) -> Any:
    def loss(weights: Any) -> Any:
        h = x
        for w in weights:
            h = jnp.tanh(h @ w)
        return jnp.mean(h**2)

    return jax.grad(loss)(weights)


def _stack() -> list[Any]:
    return [normal(24 + i, 25 + i, seed=i, scale=0.2) for i in range(20)]
