"""Weighted neighbours against products with the matrix."""

from typing import Any

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as jnp
from pullback.numpy.taps import Taps, pick, weighted

RNG = np.random.default_rng(0)


def _band(inputs: int, results: int, count: int) -> Taps:
    first = RNG.integers(0, inputs - count + 1, results).astype(np.int32)
    return Taps.of(inputs, first, RNG.normal(size=(count, results)).astype(np.float32))


@pytest.mark.parametrize(("inputs", "results", "count"), [(40, 7, 3), (40, 90, 6), (9, 4, 5)])
@pytest.mark.parametrize("shape", [(None,), (3, None), (None, 20), (2, None, 3), (2, None, 5, 4)])
def test_product_and_transpose(inputs: int, results: int, count: int, shape: Any) -> None:
    taps = _band(inputs, results, count)
    axis = shape.index(None)
    x = RNG.normal(size=[inputs if n is None else n for n in shape]).astype(np.float32)
    ct = RNG.normal(size=[results if n is None else n for n in shape]).astype(np.float32)
    out, back = pb.vjp(lambda x: weighted(x, axis, taps, None), x)
    matrix = taps.matrix()
    expected = np.moveaxis(np.moveaxis(x, axis, -1) @ matrix, -1, axis)
    np.testing.assert_allclose(out, expected, atol=1e-5)
    expected = np.moveaxis(np.moveaxis(ct, axis, -1) @ matrix.T, -1, axis)
    np.testing.assert_allclose(back(ct)[0], expected, atol=1e-4)
    np.testing.assert_array_equal(taps.transposed().matrix(), matrix.T)


def test_all_transformations() -> None:
    taps = _band(40, 7, 3)
    x = RNG.normal(size=(2, 40)).astype(np.float32)

    def f(x: Any) -> Any:
        return weighted(x, 0, taps, None)

    np.testing.assert_allclose(pb.vmap(f)(x), x @ taps.matrix(), atol=1e-6)
    np.testing.assert_allclose(pb.jvp(f, (x[0],), (x[1],))[1], f(x[1]), atol=1e-6)
    np.testing.assert_allclose(pb.jacrev(f)(x[0]), taps.matrix().T, atol=1e-6)
    curved = pb.hessian(lambda x: jnp.sum(f(x) ** 2))(x[0])
    np.testing.assert_allclose(curved, 2 * taps.matrix() @ taps.matrix().T, atol=1e-5)


def test_pick() -> None:
    places = np.array([3, 3, 0, 5], np.int32)
    x = RNG.normal(size=(2, 6)).astype(np.float32)
    out, back = pb.vjp(lambda x: pick(x, 1, places), x)
    np.testing.assert_array_equal(out, x[:, places])
    ct = RNG.normal(size=(2, 4)).astype(np.float32)
    expected = ct @ np.eye(6, dtype=np.float32)[places]
    np.testing.assert_allclose(back(ct)[0], expected, atol=1e-6)
