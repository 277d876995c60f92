"""Rows shorter than a vector: blocks of them are whole vectors, of contiguous memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

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
