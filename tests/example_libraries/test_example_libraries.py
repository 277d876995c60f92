"""Optimizers and layers: updates and parameters against JAX's, and a network that learns."""

from typing import Any

import jax as real_jax
import jax.example_libraries.optimizers
import jax.example_libraries.stax
import numpy as np
import pytest

import pullback as pb
import pullback.numpy as jnp
from pullback.example_libraries import optimizers, stax

THEIRS = real_jax.example_libraries
RNG = np.random.default_rng(0)

METHODS: list[tuple[str, tuple[Any, ...]]] = [
    ("sgd", (0.1,)),
    ("momentum", (0.1, 0.9)),
    ("nesterov", (0.1, 0.9)),
    ("adagrad", (0.1,)),
    ("rmsprop", (0.1,)),
    ("rmsprop_momentum", (0.1,)),
    ("adam", (0.1,)),
    ("adamax", (0.1,)),
    ("sm3", (0.1,)),
]


@pytest.mark.parametrize(("name", "args"), METHODS)
def test_updates(name: str, args: Any) -> None:
    params = {"a": RNG.normal(size=(2, 3)).astype(np.float32), "b": np.ones(3, np.float32)}
    steps = [{k: RNG.normal(size=v.shape).astype(np.float32) for k, v in params.items()}] * 3
    ends = []
    for library in (optimizers, THEIRS.optimizers):
        init, update, get = getattr(library, name)(*args)
        state = init(params)
        for i, grads in enumerate(steps):
            state = update(i, grads, state)
        ends.append(get(state))
    for k in params:
        np.testing.assert_allclose(ends[0][k], ends[1][k], rtol=1e-6, atol=3e-6)


def test_states_go_through_jit_and_back() -> None:
    init, update, get = optimizers.adam(optimizers.exponential_decay(0.1, 2, 0.5))
    state = init((jnp.ones(3), [jnp.zeros(2)]))
    grads = (jnp.ones(3), [jnp.ones(2)])
    state = pb.jit(update)(0, grads, state)
    marked = optimizers.unpack_optimizer_state(state)
    again = optimizers.pack_optimizer_state(marked)
    assert pb.tree.structure(again) == pb.tree.structure(state)
    np.testing.assert_allclose(get(again)[0], 0.9 * np.ones(3), rtol=1e-6)
    with pytest.raises(TypeError, match="did not match"):
        update(1, (jnp.ones(3),), state)
    with pytest.raises(TypeError, match="JoinPoint"):
        optimizers.pack_optimizer_state({"a": 1})


def test_schedules_and_clipping() -> None:
    for name, args in (
        ("constant", (0.3,)),
        ("exponential_decay", (1.0, 2, 0.5)),
        ("inverse_time_decay", (1.0, 2, 0.5)),
        ("inverse_time_decay", (1.0, 2, 0.5, True)),
        ("polynomial_decay", (1.0, 4, 0.1, 2.0)),
        ("piecewise_constant", ([2, 5], [1.0, 0.5, 0.1])),
    ):
        for i in (0, 2, 3, 9):
            found = getattr(optimizers, name)(*args)(i)
            np.testing.assert_allclose(found, getattr(THEIRS.optimizers, name)(*args)(i), rtol=1e-6)
    with pytest.raises(ValueError, match="one shorter"):
        optimizers.piecewise_constant([1, 2], [1.0, 2.0])
    with pytest.raises(TypeError):
        optimizers.make_schedule(jnp.ones(2))
    grads = {"a": jnp.ones(4)}
    np.testing.assert_allclose(optimizers.clip_grads(grads, 1.0)["a"], 0.5 * np.ones(4))
    np.testing.assert_allclose(optimizers.clip_grads(grads, 3.0)["a"], np.ones(4))


def networks(stax: Any) -> dict[str, tuple[Any, tuple[int, ...]]]:
    return {
        "dense": (stax.serial(stax.Dense(4), stax.Tanh, stax.Dense(2), stax.LogSoftmax), (3, 5)),
        "conv": (
            stax.serial(
                stax.Conv(4, (3, 3), padding="SAME"),
                stax.BatchNorm(),
                stax.Relu,
                stax.AvgPool((2, 2), padding="SAME"),
                stax.MaxPool((2, 2), strides=(2, 2)),
                stax.Flatten,
                stax.Dense(3),
            ),
            (2, 8, 8, 3),
        ),
        "transpose": (stax.Conv1DTranspose(4, (3,), strides=(2,)), (2, 7, 3)),
        "parallel": (
            stax.serial(
                stax.FanOut(3),
                stax.parallel(stax.Dense(4), stax.serial(stax.Dense(4), stax.Gelu), stax.Dense(4)),
                stax.FanInSum,
                stax.shape_dependent(lambda shape: stax.Dense(2 * shape[-1])),
            ),
            (3, 5),
        ),
        "concat": (
            stax.serial(
                stax.FanOut(2), stax.parallel(stax.Identity, stax.Dense(2)), stax.FanInConcat()
            ),
            (3, 5),
        ),
    }


@pytest.mark.parametrize("name", networks(stax))
def test_networks(name: str) -> None:
    results = []
    (_, shape) = networks(stax)[name]
    inputs = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    for root, library in ((pb, stax), (real_jax, THEIRS.stax)):
        init, apply = networks(library)[name][0]
        out_shape, params = init(root.random.key(3), shape)
        out = apply(params, inputs)
        assert tuple(out.shape) == tuple(out_shape)
        results.append((root.tree.leaves(params), out))
    for a, b in zip(results[0][0], results[1][0], strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-6, atol=1e-7)
    np.testing.assert_allclose(results[0][1], results[1][1], rtol=1e-5, atol=1e-5)


def test_dropout() -> None:
    _, apply = stax.serial(stax.Dropout(0.5), stax.Identity)
    out = apply([(), ()], jnp.ones(2000), rng=pb.random.key(0))
    assert set(np.unique(out)) == {0.0, 2.0}
    np.testing.assert_allclose(np.mean(out), 1.0, atol=0.1)
    with pytest.raises(ValueError, match="PRNG key"):
        stax.Dropout(0.5)[1]((), jnp.ones(3))
    np.testing.assert_array_equal(
        stax.Dropout(0.5, mode="test")[1]((), jnp.ones(3), rng=pb.random.key(0)), np.ones(3)
    )


def test_a_network_learns() -> None:
    init, apply = stax.serial(stax.Dense(16), stax.Tanh, stax.Dense(1))
    _, params = init(pb.random.key(0), (-1, 1))
    x = jnp.linspace(-2, 2, 64)[:, None]
    start, update, get = optimizers.adam(0.02)

    def loss(params: Any) -> Any:
        return jnp.mean((apply(params, x) - jnp.sin(2 * x)) ** 2)

    @pb.jit
    def step(i: Any, state: Any) -> Any:
        return update(i, pb.grad(loss)(get(state)), state)

    state = start(params)
    for i in range(400):
        state = step(i, state)
    assert float(loss(get(state))) < 0.01 < float(loss(params))
