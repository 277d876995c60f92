"""Sorting by the kernels for plain numbers, against NumPy: all dtypes, lengths, special values."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

import pullback as pb
from pullback import numpy as pnp

DTYPES = [
    "float32", "float64", "float16", ml_dtypes.bfloat16, "int8", "uint8", "int16", "uint16",
    "int32", "uint32", "int64", "uint64",
]  # fmt: skip
SHAPES = [(16, 33), (17, 64), (40, 100), (19, 257), (3, 700), (1, 5000), (16, 4097)]


def _drawn(shape: tuple[int, ...], dtype: Any) -> Any:
    rng = np.random.default_rng(11)
    if np.dtype(dtype).kind in "iu":
        info = np.iinfo(dtype)
        return rng.integers(info.min, info.max, shape, dtype, endpoint=True)
    x = rng.standard_normal(shape).astype(dtype)
    x[rng.random(shape) < 0.1] = 0
    return x


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_rows(shape: tuple[int, ...], dtype: Any) -> None:
    with pb.enable_x64(True):
        x = _drawn(shape, dtype)
        found = np.asarray(pb.jit(pnp.sort)(x))
    assert found.dtype == x.dtype
    assert np.array_equal(found, np.sort(x))


@pytest.mark.parametrize("dtype", ["float32", "float64", ml_dtypes.bfloat16])
@pytest.mark.parametrize("shape", [(20, 90), (2, 6000)])
def test_zeros_and_nans_keep_their_order_and_bits(shape: tuple[int, ...], dtype: Any) -> None:
    x = _drawn(shape, np.float64)
    special = [-0.0, 0.0, np.nan, -np.nan, np.inf, -np.inf]
    places = np.random.default_rng(2).integers(0, 24, (shape[0] - 1, shape[1]))
    for k, value in enumerate(special):
        x[1:][places == k] = value
    x = x.astype(dtype)
    keys = np.where(np.isnan(x), np.inf, x).astype(np.float64)
    order = np.stack([np.lexsort((keys[r], np.isnan(x[r]))) for r in range(shape[0])])
    expected = np.take_along_axis(x, order, 1)
    with pb.enable_x64(True):
        found = np.asarray(pb.jit(pnp.sort)(x))
    bits = f"u{x.dtype.itemsize}"
    assert np.array_equal(found.view(bits), expected.view(bits))


def test_along_other_axes() -> None:
    x = _drawn((40, 3, 50), "float32")
    for axis in range(3):
        found = pb.jit(lambda x, axis=axis: pnp.sort(x + 0, axis=axis))(x)
        assert np.array_equal(np.asarray(found), np.sort(x, axis=axis))


def test_a_digit_that_is_the_same_in_all() -> None:
    x = _drawn((9000,), "uint8").astype(np.int32) + 5_000_000
    assert np.array_equal(np.asarray(pb.jit(pnp.sort)(x)), np.sort(x))


@pytest.mark.parametrize("dtype", ["float32", "int8", "uint32", "bool"])
@pytest.mark.parametrize("shape", [(16, 16), (33, 100), (17, 1025), (3, 700), (1, 9000)])
def test_stable_order_of_rows(shape: tuple[int, int], dtype: Any) -> None:
    x = np.random.default_rng(4).integers(0, 20, shape).astype(dtype)
    found = pb.jit(pnp.argsort)(x)
    assert found.dtype == np.int32
    assert np.array_equal(np.asarray(found), np.argsort(x, kind="stable"))
