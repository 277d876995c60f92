"""Sorting along an axis of a few elements, in lanes of the other axes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import pullback
from pullback import lax
from pullback import numpy as pnp
from tests.loops.harness import compile_function

SHAPES = [
    ((40, 7), 1),
    ((7, 40), 0),
    ((3, 5, 20), 1),
    ((20, 5, 3), 1),
    ((4, 5, 9), 2),
    ((50, 2), 1),
]


def _numbers(shape: tuple[int, ...], dtype: str) -> Any:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 5, shape).astype(np.float32)
    if dtype.startswith("float"):
        x[rng.random(shape) < 0.1] = np.nan
        x[rng.random(shape) < 0.2] = -0.0
        x[rng.random(shape) < 0.2] = -np.inf
    return x.astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int32", "uint8"])
@pytest.mark.parametrize(("shape", "axis"), SHAPES)
def test_values_and_positions(shape: tuple[int, ...], axis: int, dtype: str) -> None:
    """NaN last, and equal numbers, -0 and 0 among them, as they stood."""
    x = _numbers(shape, dtype)
    order = np.argsort(x, axis, kind="stable")
    found = np.asarray(pullback.jit(lambda x: pnp.sort(x, axis))(x))
    assert found.tobytes() == np.take_along_axis(x, order, axis).tobytes()
    positions = pullback.jit(lambda x: pnp.argsort(x, axis))(x)
    np.testing.assert_array_equal(np.asarray(positions), order)


@pytest.mark.parametrize(("shape", "axis"), SHAPES)
def test_two_keys(shape: tuple[int, ...], axis: int) -> None:
    first, second = _numbers(shape, "int32") % 2, _numbers(shape, "float32")
    second = np.nan_to_num(second, nan=9.0)

    def sort(a: Any, b: Any) -> Any:
        where = lax.broadcasted_iota("int32", a.shape, axis)
        return lax.sort((a, b, where), dimension=axis, num_keys=2)[2]

    expected = np.lexsort((second, first), axis=axis)
    np.testing.assert_array_equal(np.asarray(pullback.jit(sort)(first, second)), expected)


def test_lanes_are_the_other_axes() -> None:
    """No element is compared with more than its neighbours, and none by itself."""
    x = np.zeros((9, 4096), np.float32)
    program = compile_function(lambda x: lax.sort(x, dimension=0), x, vector_bits=512)
    text = program.module.text
    assert text.count("fcmp olt <16 x float>") == 36
    assert "fcmp olt float" not in text
    assert "gather" not in text
