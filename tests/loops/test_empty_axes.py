"""Axes of no elements: programs have the values that NumPy has for what is left."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as jnp

AFTER: dict[str, Callable[[Any], Any]] = {
    "nothing": lambda x: x,
    "sum of rows": lambda x: x.sum(-1),
    "sum of columns": lambda x: x.sum(-2),
    "sum": lambda x: x.sum(),
    "scaled and shifted": lambda x: 2 * x + 1,
    "turned": lambda x: x.swapaxes(-1, -2) + 1,
}


@pytest.mark.parametrize("after", AFTER)
def test_products(after: str) -> None:
    for rows, depth, columns, lanes in product((0, 1, 40), (0, 40), (0, 1, 40), ((), (0,), (3,))):
        left = np.ones((*lanes, rows, depth), np.float32)
        right = np.ones((depth, columns), np.float32)
        actual = pb.jit(lambda x, y: AFTER[after](x @ y))(left, right)
        expected = AFTER[after](left @ right)
        assert actual.shape == expected.shape
        np.testing.assert_array_equal(actual, expected)


ROWS: dict[str, Callable[[Any, Any], Any]] = {
    "softmax": lambda np, x: np.exp(x) / np.exp(x).sum(-1, keepdims=True),
    "centred": lambda np, x: x - x.sum(0, keepdims=True),
    "running sums": lambda np, x: np.cumsum(x, 0) + 1,
    "sorted": lambda np, x: np.sort(x, -1) * 2,
    "outer": lambda np, x: (x[:, :, None] * x[:, None, :]).sum(1),
    "joined": lambda np, x: np.concatenate([x, 1 + x], 0).sum(1),
    "every second": lambda np, x: x[::2, ::-1] + 1,
}


@pytest.mark.parametrize("name", ROWS)
def test_rows(name: str) -> None:
    for shape in product((0, 1, 40), (0, 1, 40)):
        x = np.ones(shape, np.float32)
        actual = pb.jit(lambda x: ROWS[name](jnp, x))(x)
        np.testing.assert_allclose(actual, ROWS[name](np, x), rtol=1e-6, strict=True)
