"""Reads at computed places: the places stay in registers, and have 32 bits where they fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pullback import config, lax
from pullback import numpy as pnp
from pullback.scipy import ndimage
from tests.loops.harness import compile_function

RNG = np.random.default_rng(0)
ROWS = RNG.integers(-9, 9, 200).astype(np.int32)
COLUMNS = RNG.integers(-7, 7, 200).astype(np.int32)
MATRIX = RNG.standard_normal((9, 7)).astype(np.float32)


def test_an_array_of_indices_is_not_stored() -> None:
    def pick(x: Any, i: Any, j: Any) -> Any:
        return x[i, j]

    program = compile_function(pick, MATRIX, ROWS, COLUMNS)
    np.testing.assert_array_equal(program(MATRIX, ROWS, COLUMNS)[0], MATRIX[ROWS, COLUMNS])
    assert program.loops.count("for ") == 1
    assert "t0[" not in program.loops
    assert "x i64>" not in program.module.text


def test_interpolation_is_one_loop() -> None:
    image = RNG.standard_normal((40, 30)).astype(np.float32)
    places = RNG.uniform(-3, 45, (2, 100)).astype(np.float32)

    def sample(x: Any, i: Any, j: Any) -> Any:
        return ndimage.map_coordinates(x, [i, j], order=1, mode="nearest")

    program = compile_function(sample, image, *places)
    assert program.loops.count("for ") == 1
    row, column = (np.clip(p, 0, n - 1) for p, n in zip(places, image.shape, strict=True))
    i, j = np.minimum(row.astype(int), 38), np.minimum(column.astype(int), 28)
    u, v = row - i, column - j
    upper = (1 - v) * image[i, j] + v * image[i, j + 1]
    lower = (1 - v) * image[i + 1, j] + v * image[i + 1, j + 1]
    (result,) = program(image, *places)
    np.testing.assert_allclose(result, (1 - u) * upper + u * lower, atol=1e-5)


def test_places_beyond_32_bits_stay_right() -> None:
    big = np.array([3, -(1 << 40), 1 << 40, 2, 5, -100, 0, 1] * 4, np.int64)
    x = np.arange(6, dtype=np.float32)

    def pick(x: Any, i: Any) -> Any:
        return x.at[i].get(mode="clip")

    with config.x64.override(True):
        program = compile_function(pick, x, big)
        np.testing.assert_array_equal(program(x, big)[0], x[np.clip(big, 0, 5)])


@pytest.mark.parametrize("axis", [0, 1])
def test_stacks_that_are_read_in_every_way(axis: int) -> None:
    """As a whole, at a known row, and in a loop around which they were made."""

    def row(x: Any, k: int) -> Any:
        return x[k] if axis == 0 else x[:, k]

    def everything(x: Any, y: Any) -> list[Any]:
        pair = pnp.stack([pnp.sin(x), y + x], axis)
        other = pnp.stack([row(pair, 0), y * row(pair, 0)], axis)

        def turn(carry: Any, _: Any) -> Any:
            inner = pnp.stack([carry, row(other, 1)], axis)
            return row(inner, 1) + 0.5 * row(inner, 0), inner.sum()

        return [pair, *lax.scan(turn, x, None, length=3)]

    x, y = (RNG.standard_normal(9).astype(np.float32) for _ in range(2))
    pair, carry, sums = compile_function(everything, x, y)(x, y)
    np.testing.assert_allclose(pair, np.stack([np.sin(x), y + x], axis), rtol=1e-5)
    state, totals, second = x, [], y * np.sin(x)
    for _ in range(3):
        totals.append(state.sum() + second.sum())
        state = second + np.float32(0.5) * state
    np.testing.assert_allclose(carry, state, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(sums, totals, rtol=1e-4, atol=1e-5)


def test_work_on_two_inputs_joins_where_both_are_needed() -> None:
    def both(x: Any, y: Any) -> Any:
        u, v = pnp.sin(x) + 1.0, pnp.cos(y) - 1.0
        return u * v + u / v, u - v

    x, y = (RNG.uniform(1, 2, 100).astype(np.float32) for _ in range(2))
    program = compile_function(lambda x, y: list(both(x, y)), x, y)
    assert program.loops.count("for ") == 1
    u, v = np.sin(x) + 1, np.cos(y) - 1
    for got, want in zip(program(x, y), (u * v + u / v, u - v), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5)
