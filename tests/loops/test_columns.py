"""Many short rows made of parts are one loop over rows, which writes them as they lie in memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as jnp
from pullback import config
from pullback.loops.ir import Loop, walk
from tests.loops.harness import compile_function

RNG = np.random.default_rng(0)


def _skew(n: Any, x: Any) -> Any:
    zero = n.zeros_like(x[:, 0])
    a, b, c = x[:, 0], x[:, 1], x[:, 2]
    rows = (zero, -c, b), (c, zero, -a), (-b, a, zero)
    return n.stack([n.stack(row, -1) for row in rows], -2)


MADE: dict[str, Any] = {
    "two columns": lambda n, x: n.stack([x[:, 1], x[:, 0]], -1),
    "three": lambda n, x: n.stack([x[:, 0] + x[:, 1], x[:, 2], x[:, 0]], -1),
    "a column of ones": lambda n, x: n.concatenate([x, n.ones_like(x[:, :1])], -1),
    "two and three": lambda n, x: n.concatenate([x[:, 1:], x], -1),
    "turned": lambda n, x: n.roll(x, 1, -1),
    "padded": lambda n, x: n.pad(x, ((0, 0), (1, 2))),
    "by an array of places": lambda n, x: x[:, n.array([2, 0, 1])],
    "all products": lambda n, x: n.stack(
        [x[:, i] * x[:, j] for i in range(3) for j in range(3)], 1
    ),
    "small matrices": _skew,
    "powers": lambda n, x: n.vander(x[:, 0], 5),
    "thirteen": lambda n, x: n.stack([x[:, 0] + k for k in range(13)], -1),
    "sixteen": lambda n, x: n.stack([x[:, 0] + k for k in range(16)], -1),
    "read again": lambda n, x: n.stack([x[:, 0], x[:, 1]], -1) @ x[:2, :2],
    "between": lambda n, x: n.concatenate([x[:, :2] - x[:, 1:], x[:, :2] + x[:, 1:]], -1),
}


@pytest.mark.parametrize("dtype", ["float32", "float64", "int8", "uint16", "complex64", "float16"])
@pytest.mark.parametrize("name", MADE)
@pytest.mark.parametrize("rows", [64, 101, 1000])
def test_every_width(rows: int, name: str, dtype: str) -> None:
    x = RNG.integers(0, 3, (rows, 3)).astype(dtype)
    made = MADE[name]
    for bits in (128, 512):
        with config.x64.override(True):
            program = compile_function(lambda x: made(jnp, x), x, vector_bits=bits)
            (result,) = program(x)
        np.testing.assert_array_equal(result, made(np, x))


ONE_LOOP = ["two columns", "three", "a column of ones", "two and three", "turned", "padded"]


@pytest.mark.parametrize("name", [*ONE_LOOP, "all products", "small matrices", "powers"])
def test_one_loop_without_gathers_and_scatters(name: str) -> None:
    x = np.zeros((1000, 3), np.float32)
    program = compile_function(lambda x: MADE[name](jnp, x), x, vector_bits=512)
    assert "gather" not in program.module.text
    assert "scatter" not in program.module.text


def test_parts_of_rows_are_one_loop() -> None:
    x = np.zeros((1000, 3), np.float32)
    made = MADE["two and three"]
    program = compile_function(lambda x: made(jnp, x), x, vector_bits=512)
    assert sum(isinstance(s, Loop) for s in walk(program.program.body)) == 1


def test_shuffles_are_few() -> None:
    """Eight columns take three rounds, not seven."""
    x = np.zeros((1000,), np.float32)
    made = lambda x: jnp.stack([x + k for k in range(8)], -1)  # noqa: E731
    program = compile_function(made, x, vector_bits=512)
    assert program.module.text.count("shufflevector") <= 2 * 8 * 3 + 2 * 8


@pytest.mark.parametrize("name", ["two columns", "turned", "by an array of places"])
def test_columns_in_the_memory_of_what_they_are_made_of(name: str) -> None:
    x = RNG.normal(size=(500, 3)).astype(np.float32)
    expected = MADE[name](np, x)
    result = pb.jit(lambda x: MADE[name](jnp, x), donate_argnums=0)(jnp.array(x))
    np.testing.assert_array_equal(result, expected)


def test_columns_of_the_same_row_in_a_loop() -> None:
    """What a carry's columns read is what was there before any of them was written."""
    x = RNG.normal(size=(500, 3)).astype(np.float32)
    turned = pb.jit(lambda x: pb.lax.fori_loop(0, 2, lambda _, x: jnp.roll(x, 1, -1), x))(x)
    np.testing.assert_array_equal(turned, np.roll(x, 2, -1))
    swapped = pb.jit(
        lambda x: pb.lax.fori_loop(0, 3, lambda _, x: x.at[:, :2].set(x[:, 1::-1]), x)
    )(x)
    np.testing.assert_array_equal(swapped, x[:, [1, 0, 2]])
