"""sort and top_k of many lengths and dtypes: compiled code, NumPy and JAX agree."""

from __future__ import annotations

from typing import Any

import jax
import ml_dtypes
import numpy as np
import pytest

import pullback
from pullback import lax
from pullback.ops import sorting

DTYPES = (np.float32, np.int32, np.uint8, np.int16, np.bool_, np.float16, ml_dtypes.bfloat16)


def numbers(n: int, dtype: Any, seed: int = 0) -> Any:
    """Numbers with repetitions, and the special ones of floats."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, max(2, n // 2), n).astype(np.float64)
    if np.dtype(dtype).kind in "fV" and n > 6:
        x[:6] = [np.nan, -0.0, 0.0, np.inf, -np.inf, np.nan]
    return rng.permutation(x).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 2, 7, 32, 33, 300])
def test_order(n: int, dtype: Any) -> None:
    x = numbers(n, dtype)
    theirs = np.asarray(jax.numpy.argsort(x, stable=True))
    np.testing.assert_array_equal(np.asarray(sorting.argsort(x, 0)), theirs)
    compiled = pullback.jit(lambda x: sorting.argsort(x, 0))(x)
    np.testing.assert_array_equal(np.asarray(compiled), theirs)


@pytest.mark.parametrize("dtype", ["int4", "uint4", "int2", "uint2"])
@pytest.mark.parametrize("n", [7, 70, 300])
def test_order_of_less_than_a_byte(n: int, dtype: str) -> None:
    x = pullback.numpy.asarray(np.random.default_rng(n).integers(-8, 8, n)).astype(dtype)
    expected = np.argsort(np.asarray(x).astype(np.int8), kind="stable")
    for argsort in (sorting.argsort, pullback.jit(sorting.argsort, static_argnums=1)):
        np.testing.assert_array_equal(np.asarray(argsort(x, 0)), expected)


@pytest.mark.parametrize("dtype", [*DTYPES, np.int64])
@pytest.mark.parametrize("ordered", [None, 1, -1])
def test_top_k_of_long_rows(ordered: int | None, dtype: Any) -> None:
    """Long rows go through a buffer of the best so far, which ascending ones fill all the time."""
    x = np.stack([numbers(3000, dtype, seed) for seed in range(3)])
    if ordered is not None:
        x = np.sort(x, axis=1)[:, ::ordered]
    expected = sorting.top_k.reference(x, k=70, axis=1)
    with pullback.enable_x64(True):
        got = pullback.jit(lambda x: lax.top_k(x, 70, axis=1))(x)
    for want, have in zip(expected, got, strict=True):
        assert np.asarray(have).tobytes() == want.tobytes()


@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.uint8])
@pytest.mark.parametrize("n", [5, 40])
def test_top_k(n: int, dtype: Any) -> None:
    x = np.stack([numbers(n, dtype, seed) for seed in range(3)], 1)
    theirs = jax.lax.top_k(x, 4, axis=0)
    for ours in (lax.top_k(x, 4, axis=0), pullback.jit(lambda x: lax.top_k(x, 4, axis=0))(x)):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


@pytest.mark.parametrize("n", [9, 50])
def test_several_keys_on_an_inner_axis(n: int) -> None:
    rng = np.random.default_rng(0)
    keys = [rng.integers(0, 4, (2, n, 3)).astype(np.int32) for _ in range(2)]
    values = rng.standard_normal((2, n, 3)).astype(np.float32)
    theirs = jax.lax.sort((*keys, values), dimension=1, num_keys=2)
    compiled = pullback.jit(lambda *xs: lax.sort(xs, dimension=1, num_keys=2))(*keys, values)
    for ours in (lax.sort((*keys, values), dimension=1, num_keys=2), compiled):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


def test_gradients_follow_the_permutation() -> None:
    x = np.array([[3.0, 1.0, 2.0], [0.0, 5.0, 4.0]], np.float32)
    weights = np.array([1.0, 10.0, 100.0], np.float32)
    gradient = pullback.grad(lambda x: (lax.sort(x) * weights).sum())(x)
    np.testing.assert_array_equal(np.asarray(gradient), [[100, 1, 10], [1, 100, 10]])
    gradient = pullback.grad(lambda x: lax.top_k(x, 2)[0].sum())(x)
    np.testing.assert_array_equal(np.asarray(gradient), [[1, 0, 1], [0, 1, 1]])


def test_batches() -> None:
    x = np.random.default_rng(0).standard_normal((3, 5, 4)).astype(np.float32)
    for axis in (0, 1, 2):
        ours = pullback.vmap(lambda x: lax.sort(x, 0), axis)(x)
        theirs = jax.vmap(lambda x: jax.lax.sort(x, 0), axis)(x)
        np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("dtype", [*DTYPES[:-2], ml_dtypes.bfloat16, np.float64, np.uint64])
def test_partition(dtype: Any, axis: int) -> None:
    """What is before a place is not larger, what is behind it not smaller; nothing is lost."""
    x = np.moveaxis(np.stack([numbers(2000, dtype, seed) for seed in range(3)]), 1, axis)
    if np.dtype(dtype).kind in "fV":
        x[x == 7] = -np.array(np.nan, dtype)
    with pullback.enable_x64(True):
        values = np.asarray(pullback.jit(lambda x: pullback.numpy.partition(x, 700, axis))(x))
        order = np.asarray(pullback.jit(lambda x: pullback.numpy.argpartition(x, 700, axis))(x))
    wide, n = np.result_type(dtype, np.float32), 2000
    assert np.array_equal(np.sort(order, axis), np.sort(np.argsort(order, axis), axis))
    for found in (values, np.take_along_axis(x, order, axis)):
        rows, whole = (np.moveaxis(a.astype(wide), axis, -1) for a in (found, x))
        ordered = np.sort(whole, -1)
        for part in (slice(700), slice(700, 701), slice(701, n)):
            np.testing.assert_array_equal(np.sort(rows[:, part], -1), ordered[:, part])


@pytest.mark.parametrize("skip", [False, True])
def test_quantiles_of_long_rows(skip: bool) -> None:
    x = np.random.default_rng(0).normal(size=(3, 2001)).astype(np.float32)
    if skip:
        x[1, ::3] = np.nan
        x[2] = np.nan
    name = "nanquantile" if skip else "quantile"
    for q in (0.5, np.array([0.0, 0.25, np.nan, 0.9, 1.0], np.float32)):
        ours = pullback.jit(lambda x, q: getattr(pullback.numpy, name)(x, q, axis=1))(x, q)
        theirs = getattr(jax.numpy, name)(x, q, axis=1)
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_derivatives_and_lanes_of_partitions() -> None:
    x = np.random.default_rng(0).normal(size=(4, 1001)).astype(np.float32)
    median = pullback.numpy.median
    slopes = np.asarray(pullback.vmap(pullback.grad(median))(x))
    expected = (x == np.median(x, 1, keepdims=True)).astype(np.float32)
    np.testing.assert_array_equal(slopes, expected)
    q = np.linspace(0, 1, 4, dtype=np.float32)
    lanes = pullback.vmap(pullback.numpy.quantile)(x, q)
    np.testing.assert_allclose(lanes, [np.quantile(r, p) for r, p in zip(x, q, strict=True)], 1e-5)


@pytest.mark.parametrize("k", [3, 300, 2500])
def test_the_largest_are_partitioned_before_they_are_sorted(k: int) -> None:
    x = np.stack([numbers(3000, np.float32, seed) for seed in range(2)])
    expected = sorting.top_k.reference(x, k=k, axis=1)
    got = pullback.jit(lambda x: lax.top_k(x, k))(x)
    for want, have in zip(expected, got, strict=True):
        assert np.asarray(have).tobytes() == want.tobytes()
