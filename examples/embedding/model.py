"""A small network learns a curve; its training step is compiled for C.

    pullback compile examples/embedding/model.py:step --args examples/embedding/model.py:args \\
        --target c -o build
    cc -Ibuild -o build/train examples/embedding/main.c build/step.o -lm -pthread
    build/train

prints the same losses as `python examples/embedding/model.py`, and needs no Python when it runs.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

import pullback as pb
import pullback.numpy as jnp

POINTS, WIDTH, STEPS, RATE = 256, 32, 2000, 0.02


class Network(NamedTuple):
    """Two layers: `[width]` slopes, biases and weights, and a bias."""

    slope: pb.Array
    bias: pb.Array
    weight: pb.Array
    offset: pb.Array


def predict(net: Network, x: pb.Array) -> pb.Array:
    """The curve at each of the points `[n]`."""
    return jnp.tanh(x[:, None] * net.slope + net.bias) @ net.weight + net.offset


def loss(net: Network, x: pb.Array, y: pb.Array) -> pb.Array:
    """The mean squared error."""
    return jnp.mean((predict(net, x) - y) ** 2)


@pb.jit
def step(net: Network, x: pb.Array, y: pb.Array) -> tuple[pb.Array, Network]:
    """A step of gradient descent: the loss before it, and the new network."""
    value, grad = pb.value_and_grad(loss)(net, x, y)
    return value, pb.tree.map(lambda p, g: p - RATE * g, net, grad)


def start() -> Network:
    """The network before training, which `main.c` makes in the same way."""
    k = np.arange(WIDTH, dtype=np.float32)
    return Network(*map(jnp.asarray, (1 + k % 4, k / 4 - 4, 0.1 * (-1) ** k, np.float32(0))))


def data() -> tuple[pb.Array, pb.Array]:
    """Points of a sine."""
    x = jnp.linspace(-3, 3, POINTS)
    return x, jnp.sin(2 * x)


args = (start(), *data())

if __name__ == "__main__":
    net = start()
    for i in range(STEPS):
        value, net = step(net, *data())
        if i % 250 == 0 or i == STEPS - 1:
            print(f"step {i} loss {float(value):.6f}")
