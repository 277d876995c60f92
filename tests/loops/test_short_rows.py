"""Rows shorter than a vector are blocks of whole vectors; what is moved is shuffled."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

import pullback.numpy as jnp
from pullback import config
from tests.loops.harness import compile_function

RNG = np.random.default_rng(0)


def _scaled(x: Any, column: Any, row: Any) -> Any:
    return (x + row[:, None]) * column


@pytest.mark.parametrize("short", [2, 3, 5, 6, 7, 12, 14])
def test_no_gathers_and_no_scatters(short: int) -> None:
    x = RNG.standard_normal((1000, short)).astype(np.float32)
    column, row = x[0].copy(), x[:, 0].copy()
    program = compile_function(_scaled, x, column, row, vector_bits=512)
    assert "gather" not in program.module.text
    assert "scatter" not in program.module.text


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", "complex64"])
@pytest.mark.parametrize("short", range(2, 17))
@pytest.mark.parametrize("rows", [1, 5, 33, 517])
def test_every_length_of_rows(rows: int, short: int, dtype: str) -> None:
    def numbers(*shape: int) -> Any:
        return RNG.integers(0, 9, shape).astype(dtype)

    x, column, row = numbers(rows, short), numbers(short), numbers(rows)
    with config.x64.override(True):
        (result,) = compile_function(_scaled, x, column, row)(x, column, row)
    np.testing.assert_array_equal(result, _scaled(x, column, row))


MOVES: dict[str, tuple[Any, tuple[int, ...], str]] = {
    "turned colours": (lambda n, x: x[..., ::-1], (40, 50, 3), "uint8"),
    "turned coordinates": (lambda n, x: x[..., ::-1], (1000, 3), "float32"),
    "without the last": (lambda n, x: x[..., :3], (1000, 4), "uint8"),
    "every second of six": (lambda n, x: x[..., ::2], (1000, 6), "float32"),
    "small matrices": (lambda n, x: x.transpose(0, 2, 1), (500, 3, 3), "float32"),
    "matrices of bytes": (lambda n, x: x.transpose(0, 2, 1), (515, 4, 5), "uint8"),
    "bits": (lambda n, x: (x[:, None] >> np.arange(8, dtype=np.uint8)) & 1, (1001,), "uint8"),
    "bits as one row": (lambda n, x: n.unpackbits(x), (1001,), "uint8"),
    "repeated pixels": (lambda n, x: n.repeat(x, 2, axis=1), (8, 64, 3), "float32"),
    "repeated numbers": (lambda n, x: n.repeat(x, 4), (1003,), "float32"),
    "turned image": (lambda n, x: n.rot90(x), (64, 96), "float32"),
    "turned the other way": (lambda n, x: n.rot90(x, 3), (64, 96), "uint8"),
    "turned image of colours": (lambda n, x: n.rot90(x), (64, 96, 3), "uint8"),
    "transposed as one row": (lambda n, x: x.T.ravel(), (48, 80), "float16"),
    "three axes as one row": (lambda n, x: x.transpose(2, 0, 1).ravel(), (32, 20, 48), "float32"),
    "planes": (lambda n, x: x.astype(np.float32).transpose(2, 0, 1), (40, 50, 3), "uint8"),
}


def test_tiles_of_bytes_are_little_code() -> None:
    x = np.zeros((256, 256), np.uint8)
    program = compile_function(lambda x: x.T, x, vector_bits=512)
    assert program.module.text.count("shufflevector") <= 16 * 4


@pytest.mark.parametrize("name", MOVES)
@pytest.mark.parametrize("vector_bits", [256, 512])
def test_what_is_moved_is_not_gathered(name: str, vector_bits: int) -> None:
    f, shape, dtype = MOVES[name]
    x = RNG.integers(0, 250, shape).astype(dtype)
    program = compile_function(functools.partial(f, jnp), x, vector_bits=vector_bits)
    assert "gather" not in program.module.text
    assert "scatter" not in program.module.text
    (result,) = program(x)
    np.testing.assert_array_equal(result, f(np, x))


def test_the_last_rows_of_a_buffer_are_not_passed() -> None:
    x = RNG.integers(0, 250, (97, 4)).astype(np.uint8)
    (result,) = compile_function(lambda x: x[..., 2::-1], x)(x)
    np.testing.assert_array_equal(result, x[..., 2::-1])


@pytest.mark.parametrize("dtype", ["float32", "float64", "int16", "complex64", "complex128"])
@pytest.mark.parametrize("length", [2, 3, 4, 5])
def test_repeated_and_turned_few(length: int, dtype: str) -> None:
    """LLVM 22 stops the process where odd vectors of parts of complex numbers are shuffled so."""
    x = RNG.integers(0, 9, length).astype(dtype)

    def moved(np: Any, x: Any) -> Any:
        return np.tile(np.flip(np.tile(x + x, 2)), 2), np.repeat(np.tile(x - 1, 2)[::-1], 2)

    with config.x64.override(True):
        results = compile_function(functools.partial(moved, jnp), x)(x)
    for actual, expected in zip(results, moved(np, x), strict=True):
        np.testing.assert_array_equal(actual, expected, strict=True)
