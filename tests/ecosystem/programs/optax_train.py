"""optax: a classifier is trained with a schedule, clipping, weight decay; and other optimizers."""

from __future__ import annotations

import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax


def init(key: Any, sizes: list[int]) -> list[Any]:
    keys = jax.random.split(key, len(sizes) - 1)
    return [
        {"w": jax.random.normal(k, (m, n)) / jnp.sqrt(m), "b": jnp.zeros(n)}
        for k, m, n in zip(keys, sizes[:-1], sizes[1:], strict=True)
    ]


def apply(params: list[Any], x: Any) -> Any:
    for layer in params[:-1]:
        x = jax.nn.relu(x @ layer["w"] + layer["b"])
    return x @ params[-1]["w"] + params[-1]["b"]


def loss(params: list[Any], x: Any, y: Any) -> Any:
    logits = apply(params, x)
    return optax.losses.softmax_cross_entropy_with_integer_labels(logits, y).mean()


def spirals(n: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    radius = rng.uniform(0.2, 1.0, n)
    label = rng.integers(0, 3, n)
    angle = 4 * radius + 2 * np.pi * label / 3 + 0.1 * rng.standard_normal(n)
    x = np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)
    return jnp.asarray(x, jnp.float32), jnp.asarray(label, jnp.int32)


def train(optimizer: Any, steps: int) -> tuple[Any, Any]:
    x, y = spirals(256)
    params = init(jax.random.key(0), [2, 32, 32, 3])
    state = optimizer.init(params)

    @jax.jit
    def step(params: Any, state: Any) -> Any:
        value, grads = jax.value_and_grad(loss)(params, x, y)
        updates, state = optimizer.update(grads, state, params, value=value)
        return optax.apply_updates(params, updates), state, value

    values = []
    for _ in range(steps):
        params, state, value = step(params, state)
        values.append(value)
    return params, jnp.stack(values)


def rosenbrock(x: Any) -> Any:
    return jnp.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def minimize_by_lbfgs(steps: int) -> Any:
    solver = optax.lbfgs()
    value_and_grad = optax.value_and_grad_from_state(rosenbrock)

    @jax.jit
    def step(carry: Any, _: Any) -> Any:
        params, state = carry
        value, grad = value_and_grad(params, state=state)
        updates, state = solver.update(
            grad, state, params, value=value, grad=grad, value_fn=rosenbrock
        )
        return (optax.apply_updates(params, updates), state), value

    start = jnp.array([-1.0, 1.2, 0.7])
    (params, _), values = jax.lax.scan(step, (start, solver.init(start)), None, length=steps)
    return jnp.concatenate([params, values[-1:]])


def main() -> dict[str, Any]:
    schedule = optax.warmup_cosine_decay_schedule(0.0, 0.02, 20, 200)
    adamw = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(schedule, weight_decay=1e-4))
    params, values = train(adamw, 200)
    x, y = spirals(256)
    accuracy = jnp.mean(jnp.argmax(apply(params, x), 1) == y)
    assert accuracy > 0.95, accuracy
    results = {"adamw": values[:20], "schedule": jax.vmap(schedule)(jnp.arange(0, 210, 7))}
    few = {
        "sgd": optax.sgd(0.1, momentum=0.9, nesterov=True),
        "rmsprop": optax.rmsprop(1e-3, centered=True),
        "adagrad": optax.adagrad(0.05),
        "lamb": optax.lamb(1e-3),
        "lion": optax.lion(1e-3),
        "adafactor": optax.adafactor(1e-2),
        "accumulated": optax.MultiSteps(
            optax.adam(1e-2), every_k_schedule=3
        ).gradient_transformation(),
        "masked": optax.masked(optax.sgd(0.1), [{"w": True, "b": False}] * 3),
        "partitioned": optax.partition(
            {"fast": optax.adam(1e-2), "none": optax.set_to_zero()},
            [{"w": "fast", "b": "none"}] * 3,
        ),
    }
    for name, optimizer in few.items():
        results[name] = train(optax.with_extra_args_support(optimizer), 8)[1]
    results["lbfgs"] = minimize_by_lbfgs(12)
    average = optax.incremental_update(params[0], jax.tree.map(jnp.zeros_like, params[0]), 0.1)
    results["norm"] = optax.tree.norm(average) / optax.tree.norm(params[0])
    return results


if __name__ == "__main__":
    np.savez(sys.argv[1], **main())
