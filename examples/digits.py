"""A small convolutional network learns to read handwritten digits.

The data are the 1,797 digits that come with scikit-learn: 8x8 pixels, grey values from 0 to 16.
The network is written for one image and `vmap` runs it on batches; its parameters are a plain
pytree.  One jitted step computes the loss, its gradient and the update of the Adam optimiser.

    pip install ".[examples]" && python examples/digits.py

trains for a few seconds, prints the accuracy on images that the network has not seen, and writes
`digits.png`: the learning curves, the digits it still gets wrong, and the pixels that each decision
hangs on, which is one more `grad` and one more `vmap`.
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from sklearn.datasets import load_digits
from tqdm import tqdm

import pullback as pb
import pullback.numpy as jnp
from pullback import lax, nn, random

matplotlib.use("Agg")
import matplotlib.pyplot as plt

Params = dict[str, Any]
Array = pb.Array

EPOCHS = 30
BATCH = 64
PEAK_RATE = 3e-3
SMOOTHING = 0.1
"""The share of its certainty that a label gives to the other digits."""


# The data: a fixed fifth is held out for testing, chosen by a random key.


class Split(NamedTuple):
    """Images `[n, 8, 8]` with values from 0 to 1, and their labels `[n]`."""

    images: Array
    labels: Array


def load_data(key: Array) -> tuple[Split, Split]:
    """The training and the test digits."""
    digits = load_digits()
    images = jnp.asarray(digits.images / 16, dtype=jnp.float32)
    labels = jnp.asarray(digits.target, dtype=jnp.int32)
    order = random.permutation(key, len(labels))
    test, train = jnp.split(order, [len(labels) // 5])
    return Split(images[train], labels[train]), Split(images[test], labels[test])


# The network, for one image.


def init_params(key: Array) -> Params:
    """Weights of two convolutions and two dense layers."""
    he = nn.initializers.he_normal()
    conv = nn.initializers.he_normal(in_axis=1, out_axis=0)
    keys = random.split(key, 4)
    return {
        "conv1": {"w": conv(keys[0], (16, 1, 3, 3)), "b": jnp.zeros(16)},
        "conv2": {"w": conv(keys[1], (32, 16, 3, 3)), "b": jnp.zeros(32)},
        "dense1": {"w": he(keys[2], (32 * 4 * 4, 64)), "b": jnp.zeros(64)},
        "dense2": {"w": he(keys[3], (64, 10)), "b": jnp.zeros(10)},
    }


def convolve(layer: Params, x: Array, stride: int) -> Array:
    """A 3x3 convolution of one image `[channels, height, width]`."""
    y = lax.conv_general_dilated(x[None], layer["w"], (stride, stride), "SAME")[0]
    return nn.relu(y + layer["b"][:, None, None])


def network(params: Params, image: Array) -> Array:
    """The scores of the ten digits for one image `[8, 8]`."""
    x = convolve(params["conv1"], image[None], stride=1)
    x = convolve(params["conv2"], x, stride=2)
    x = nn.relu(x.reshape(-1) @ params["dense1"]["w"] + params["dense1"]["b"])
    return x @ params["dense2"]["w"] + params["dense2"]["b"]


def loss_and_accuracy(params: Params, images: Array, labels: Array) -> tuple[Array, Array]:
    """The mean cross-entropy of a batch, and how often the network is right."""
    scores = pb.vmap(network, in_axes=(None, 0))(params, images)
    targets = nn.one_hot(labels, 10) * (1 - SMOOTHING) + SMOOTHING / 10
    loss = -jnp.mean(jnp.sum(targets * nn.log_softmax(scores), axis=-1))
    return loss, jnp.mean(jnp.argmax(scores, axis=-1) == labels)


# The optimiser: Adam.


class Adam(NamedTuple):
    """Running means of the gradient and of its square, and the number of steps so far."""

    mean: Params
    square: Params
    steps: Array


def init_adam(params: Params) -> Adam:
    """The state before the first step."""
    zeros = pb.tree.map(jnp.zeros_like, params)
    return Adam(zeros, pb.tree.map(jnp.copy, zeros), jnp.zeros((), jnp.int32))


def adam(params: Params, grads: Params, state: Adam, rate: Array) -> tuple[Params, Adam]:
    """One step of Adam (Kingma and Ba, 2015, algorithm 1)."""
    decay1, decay2, epsilon = 0.9, 0.999, 1e-8
    steps = state.steps + 1
    mean = pb.tree.map(lambda m, g: decay1 * m + (1 - decay1) * g, state.mean, grads)
    square = pb.tree.map(lambda v, g: decay2 * v + (1 - decay2) * g * g, state.square, grads)

    def update(p: Array, m: Array, v: Array) -> Array:
        m_hat = m / (1 - decay1**steps)
        v_hat = v / (1 - decay2**steps)
        return p - rate * m_hat / (jnp.sqrt(v_hat) + epsilon)

    return pb.tree.map(update, params, mean, square), Adam(mean, square, steps)


@partial(pb.jit, donate_argnums=(0, 1))
def train_step(
    params: Params, state: Adam, images: Array, labels: Array, total: Array
) -> tuple[Params, Adam, Array, Array]:
    """One step on one batch: new parameters, new optimiser state, loss and accuracy."""
    batch_loss = partial(loss_and_accuracy, images=images, labels=labels)
    (loss, accuracy), grads = pb.value_and_grad(batch_loss, has_aux=True)(params)
    progress = state.steps / total
    rate = PEAK_RATE * jnp.minimum(progress * 10, 0.5 + 0.5 * jnp.cos(jnp.pi * progress))
    params, state = adam(params, grads, state, rate)
    return params, state, loss, accuracy


@pb.jit
def evaluate(params: Params, images: Array, labels: Array) -> tuple[Array, Array]:
    """Loss and accuracy without training."""
    return loss_and_accuracy(params, images, labels)


class History(NamedTuple):
    """What happened in each epoch."""

    train_loss: list[float]
    train_accuracy: list[float]
    test_loss: list[float]
    test_accuracy: list[float]


def train(key: Array, data: Split, test: Split, epochs: int) -> tuple[Params, History]:
    """Train from random weights."""
    key, init_key = random.split(key)
    params = init_params(init_key)
    state, history = init_adam(params), History([], [], [], [])
    batches = len(data.labels) // BATCH
    total = jnp.float32(epochs * batches)
    with tqdm(total=epochs * batches, unit="step") as bar:
        for _ in range(epochs):
            key, order_key = random.split(key)
            order = random.permutation(order_key, len(data.labels))[: batches * BATCH]
            losses, accuracies = [], []
            for batch in order.reshape(batches, BATCH):
                params, state, loss, accuracy = train_step(
                    params, state, data.images[batch], data.labels[batch], total
                )
                losses.append(loss)
                accuracies.append(accuracy)
                bar.update()
            test_loss, test_accuracy = evaluate(params, test.images, test.labels)
            history.train_loss.append(float(np.mean(losses)))
            history.train_accuracy.append(float(np.mean(accuracies)))
            history.test_loss.append(float(test_loss))
            history.test_accuracy.append(float(test_accuracy))
            bar.set_postfix(loss=f"{np.mean(losses):.3f}", test=f"{float(test_accuracy):.2%}")
    return params, history


# The pictures.


def saliency(params: Params, images: Array) -> Array:
    """How strongly each pixel moves the score of the digit that the network reads."""

    def winning_score(image: Array) -> Array:
        return jnp.max(network(params, image))

    return jnp.abs(pb.vmap(pb.grad(winning_score))(images))


def plot(path: Path, params: Params, history: History, test: Split) -> None:
    """Learning curves, mistakes, saliency."""
    scores = pb.vmap(network, in_axes=(None, 0))(params, test.images)
    read = np.asarray(jnp.argmax(scores, axis=-1))
    labels = np.asarray(test.labels)
    wrong = np.flatnonzero(read != labels)[:8]
    examples = np.array([np.flatnonzero(labels == digit)[0] for digit in range(10)])
    heat = np.asarray(saliency(params, test.images[examples]))

    figure = plt.figure(figsize=(12, 9), layout="constrained")
    curves, mistakes, maps = figure.subfigures(3, 1, height_ratios=(3, 1.5, 2.8))
    _plot_curves(curves, history)
    _plot_mistakes(mistakes, np.asarray(test.images), read, labels, wrong)
    _plot_saliency(maps, np.asarray(test.images)[examples], heat)
    figure.savefig(path, dpi=110)


def _plot_curves(figure: Any, history: History) -> None:
    left, right = figure.subplots(1, 2)
    epochs = np.arange(1, len(history.train_loss) + 1)
    left.plot(epochs, history.train_loss, label="training")
    left.plot(epochs, history.test_loss, label="test")
    left.set(xlabel="epoch", ylabel="cross-entropy", yscale="log")
    right.plot(epochs, 100 * np.array(history.train_accuracy), label="training")
    right.plot(epochs, 100 * np.array(history.test_accuracy), label="test")
    right.set(xlabel="epoch", ylabel="accuracy (%)", ylim=(90, 100.3))
    right.set_title(f"test accuracy {history.test_accuracy[-1]:.2%}", fontsize=11)
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)


def _plot_mistakes(figure: Any, images: Any, read: Any, labels: Any, wrong: Any) -> None:
    count = int(np.sum(read != labels))
    figure.suptitle(
        f"the {count} digits of {len(labels)} that it misreads" if count else "no mistakes"
    )
    for axes, k in zip(np.atleast_1d(figure.subplots(1, 8)), [*wrong, *[None] * 8], strict=False):
        axes.axis("off")
        if k is not None:
            axes.imshow(images[k], cmap="gray_r")
            axes.set_title(f"{labels[k]} read as {read[k]}", fontsize=10)


def _plot_saliency(figure: Any, images: Any, heat: Any) -> None:
    figure.suptitle("what each decision hangs on: |d score / d pixel|")
    for column, pair in zip(figure.subplots(2, 10).T, zip(images, heat, strict=True), strict=True):
        for axes, picture, colours in zip(column, pair, ("gray_r", "inferno"), strict=True):
            axes.imshow(picture, cmap=colours)
            axes.axis("off")


def main() -> None:
    """Train, report, draw."""
    parser = argparse.ArgumentParser(description="Learn to read handwritten digits.")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--output", type=Path, default=Path("digits.png"))
    options = parser.parse_args()
    start = time.perf_counter()
    data_key, train_key = random.split(random.key(0))
    data, test = load_data(data_key)
    params, history = train(train_key, data, test, options.epochs)
    seconds = time.perf_counter() - start
    print(f"test accuracy {history.test_accuracy[-1]:.2%} after {seconds:.1f} s")
    plot(options.output, params, history, test)
    print(f"wrote {options.output}")


if __name__ == "__main__":
    main()
