"""Products of matrices of integers are exact, whatever kernel computes them, and wrap."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import pullback as pb
from pullback import lax

PAIRS = [
    ("int8", "int8"), ("uint8", "uint8"), ("int8", "uint8"), ("int16", "int16"),
    ("uint16", "int8"), ("int32", "int8"), ("int32", "int32"),
]  # fmt: skip


def _expected(x: Any, y: Any, dtype: Any) -> Any:
    return (x.astype(np.int64) @ y.astype(np.int64)).astype(dtype)


@pytest.mark.parametrize("depth", [5, 64, 200, 1025])
@pytest.mark.parametrize(("left", "right"), PAIRS)
def test_random_numbers(left: str, right: str, depth: int) -> None:
    rng = np.random.default_rng(depth)
    ends = [np.iinfo(t) for t in (left, right)]
    x = rng.integers(ends[0].min, ends[0].max, (37, depth), left, endpoint=True)
    y = rng.integers(ends[1].min, ends[1].max, (depth, 53), right, endpoint=True)
    for dtype in ("int32", None):
        if dtype is None and left != right:
            continue
        preferred = None if dtype is None else np.dtype(dtype)
        dot = pb.jit(lambda x, y, d=preferred: lax.dot(x, y, preferred_element_type=d))
        found = np.asarray(dot(x, y))
        assert found.dtype == (dtype or left)
        assert np.array_equal(found, _expected(x, y, found.dtype))


@pytest.mark.parametrize("depth", [1024, 1056, 140_000])
@pytest.mark.parametrize("value", [-128, 127])
def test_largest_sums(value: int, depth: int) -> None:
    """Up to the last one that single precision can hold, beyond it, and beyond 32 bits."""
    x, y = np.full((3, depth), value, np.int8), np.full((depth, 4), -128, np.int8)
    found = pb.jit(lambda x, y: lax.dot(x, y, preferred_element_type=np.dtype("int32")))(x, y)
    assert np.array_equal(np.asarray(found), _expected(x, y, np.int32))


@pytest.mark.parametrize("shape", [(1, 300, 70), (70, 300, 1), (33, 65, 17), (130, 64, 100)])
def test_transposed_operands_and_lanes(shape: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(1)
    m, k, n = shape
    x = rng.integers(-128, 128, (2, k, m)).astype(np.int8)
    y = rng.integers(-128, 128, (2, n, k)).astype(np.int8)
    numbers = (((1,), (2,)), ((0,), (0,)))
    found = pb.jit(
        lambda x, y: lax.dot_general(x, y, numbers, preferred_element_type=np.dtype("int32"))
    )(x, y)
    expected = _expected(x.transpose(0, 2, 1), y.transpose(0, 2, 1), np.int32)
    assert np.array_equal(np.asarray(found), expected)
