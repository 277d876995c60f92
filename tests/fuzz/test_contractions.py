"""Random products and convolutions, compiled: values, gradients and lanes against JAX."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

import pullback as pb
from pullback import lax

SEEDS = range(16)
Random = np.random.Generator


def choose(rng: Random, options: list[int], count: int = 1) -> list[int]:
    return [int(k) for k in rng.choice(options, count)]


def agree(actual: Any, expected: Any) -> None:
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape
    assert actual.dtype == expected.dtype
    scale = np.abs(expected).max(initial=1)
    np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-4 * scale)


def check(ours: Any, theirs: Any, args: Any, in_axes: Any, rng: Random) -> None:
    """Value, cotangents of both operands, and lanes of one or both."""
    shape = jax.eval_shape(theirs, *args)
    ct = rng.normal(size=shape.shape).astype(shape.dtype)
    lanes = [
        np.stack([x, 1 - 2 * x]) if axis == 0 else x for x, axis in zip(args, in_axes, strict=True)
    ]

    def pulled(root: Any, f: Any) -> Any:
        return lambda *xs: root.vjp(f, *xs)[1](ct)

    @jax.jit
    def wanted(args: Any, lanes: Any) -> list[Any]:
        return [theirs(*args), *pulled(jax, theirs)(*args), jax.vmap(theirs, in_axes)(*lanes)]

    value, *gradients, mapped = wanted(args, lanes)
    agree(pb.jit(ours)(*args), value)
    for actual, gradient in zip(pb.jit(pulled(pb, ours))(*args), gradients, strict=True):
        agree(actual, gradient)
    agree(pb.jit(pb.vmap(ours, in_axes))(*lanes), mapped)


def random_product(rng: Random) -> tuple[Any, Any, Any]:
    """Two operands and their dimension numbers."""
    batch, contract = (choose(rng, [1, 2, 3, 8, 17], int(k)) for k in rng.integers(0, 3, 2))
    operands, numbers = [], []
    for _ in range(2):
        free = choose(rng, [1, 2, 5, 17], int(rng.integers(0, 3)))
        sizes = [*batch, *contract, *free]
        order = list(rng.permutation(len(sizes)))
        operands.append(rng.normal(size=[sizes[k] for k in order]).astype("float32"))
        axes = [order.index(k) for k in range(len(batch) + len(contract))]
        numbers.append((tuple(axes[: len(batch)]), tuple(axes[len(batch) :])))
    (left_batch, left), (right_batch, right) = numbers
    return operands[0], operands[1], ((left, right), (left_batch, right_batch))


@pytest.mark.parametrize("seed", SEEDS)
def test_products(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y, numbers = random_product(rng)
    in_axes = [(0, 0), (0, None), (None, 0)][seed % 3]
    check(
        lambda a, b: lax.dot_general(a, b, numbers),
        lambda a, b: jax.lax.dot_general(a, b, numbers),
        (x, y),
        in_axes,
        rng,
    )


def random_convolution(rng: Random) -> tuple[Any, Any, dict[str, Any]]:
    """Operand, kernel, and the other arguments."""
    rank = int(rng.integers(1, 3))
    space = "HW"[:rank]

    def shuffled(letters: str) -> str:
        return "".join(rng.permutation(list(letters)))

    last = ("N" + space + "C", space + "IO", "N" + space + "C")
    mixed = tuple(shuffled(pair + space) for pair in ("NC", "OI", "NC"))
    names = [("NC" + space, "OI" + space, "NC" + space), last, mixed][int(rng.integers(3))]
    groups = choose(rng, [1, 1, 2, 3])[0]
    batches = 2 if groups == 1 and rng.random() < 0.25 else 1
    ins = choose(rng, [1, 2, 5, 8])[0]
    outs = choose(rng, [1, 2, 4, 7])[0] * groups * batches
    sizes = {"N": int(rng.integers(1, 4)) * batches, "C": ins * groups, "I": ins, "O": outs}
    image = sizes | dict(zip(space, choose(rng, list(range(4, 12)), rank), strict=True))
    window = sizes | dict(zip(space, choose(rng, [1, 2, 3], rank), strict=True))
    options = {
        "window_strides": choose(rng, [1, 2, 3], rank),
        "padding": [tuple(choose(rng, [-1, 0, 1, 2, 3], 2)) for _ in space],
        "lhs_dilation": choose(rng, [1, 1, 2, 3], rank),
        "rhs_dilation": choose(rng, [1, 1, 2], rank),
        "dimension_numbers": names,
        "feature_group_count": groups,
        "batch_group_count": batches,
    }
    x = rng.normal(size=[image[c] for c in names[0]]).astype("float32")
    w = rng.normal(size=[window[c] for c in names[1]]).astype("float32")
    return x, w, options


@pytest.mark.parametrize("seed", SEEDS)
def test_convolutions(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, w, options = random_convolution(rng)
    in_axes = [(0, 0), (0, None), (None, 0)][seed % 3]
    check(
        lambda a, b: lax.conv_general_dilated(a, b, **options),
        lambda a, b: jax.lax.conv_general_dilated(a, b, **options),
        (x, w),
        in_axes,
        rng,
    )
