"""Interpolation, quadrature and quantisation against SciPy's and JAX's."""

from typing import Any

import jax as real_jax
import numpy as np
import pytest
import scipy.cluster.vq
import scipy.integrate
import scipy.interpolate
import scipy.ndimage

import pullback as pb
import pullback.numpy as jnp
from pullback.scipy import cluster, integrate, interpolate, ndimage

RNG = np.random.default_rng(0)
MODES = ["constant", "nearest", "wrap", "mirror", "reflect"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("order", [0, 1])
def test_map_coordinates(mode: str, order: int) -> None:
    for shape, points in (((6,), (9,)), ((4, 5), (2, 7)), ((1, 3), (5,))):
        x = RNG.normal(size=shape).astype(np.float32)
        at = [RNG.uniform(-6, 10, size=points).astype(np.float32) for _ in shape]
        found = ndimage.map_coordinates(x, at, order, mode, cval=0.5)
        expected = real_jax.scipy.ndimage.map_coordinates(x, at, order, mode, cval=0.5)
        np.testing.assert_allclose(found, expected, atol=2e-6)
        if mode in ("nearest", "mirror", "reflect") and 1 not in shape:
            truth = scipy.ndimage.map_coordinates(x, at, order=order, mode=mode)
            np.testing.assert_allclose(found, truth, atol=1e-5)


def test_map_coordinates_of_integers_rounds() -> None:
    x = jnp.arange(5)
    found = ndimage.map_coordinates(x, [jnp.array([1.4, 2.6, 3.2])], order=1)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, [1, 3, 3])


def test_errors_of_map_coordinates() -> None:
    x, at = jnp.arange(5.0), jnp.ones(1)
    with pytest.raises(NotImplementedError, match="order<=1"):
        ndimage.map_coordinates(x, [at], order=3)
    with pytest.raises(NotImplementedError, match="mode foo"):
        ndimage.map_coordinates(x, [at], order=1, mode="foo")
    with pytest.raises(ValueError, match="2 != 1"):
        ndimage.map_coordinates(x, [at, at], order=1)


def test_gradients_of_map_coordinates() -> None:
    with pb.enable_x64(True):
        x, at = RNG.normal(size=(5, 6)), RNG.uniform(0.1, 3.9, size=(2, 8))

        def loss(x: Any, at: Any) -> Any:
            return jnp.sum(ndimage.map_coordinates(x, [at[0], at[1]], order=1) ** 2)

        slopes = pb.grad(loss, argnums=(0, 1))(x, at)
        for k, slope in enumerate(slopes):
            step = RNG.normal(size=(x, at)[k].shape)
            ends = []
            for sign in (1e-7, -1e-7):
                moved = [x, at]
                moved[k] = moved[k] + sign * step
                ends.append(float(loss(*moved)))
            np.testing.assert_allclose(np.sum(slope * step), (ends[0] - ends[1]) / 2e-7, rtol=1e-5)


@pytest.mark.parametrize("method", ["linear", "nearest"])
@pytest.mark.parametrize("fill", [np.nan, 0.25, None])
def test_grid_interpolator(method: str, fill: Any) -> None:
    with pb.enable_x64(True):
        points = (np.sort(RNG.uniform(size=5)), np.array([3.0, 2.0, 1.0, 0.0]))
        values = RNG.normal(size=(5, 4, 2))
        query = np.stack([RNG.uniform(-0.2, 1.2, 40), RNG.uniform(-0.5, 3.5, 40)], -1)
        settings = {"method": method, "bounds_error": False, "fill_value": fill}
        found = interpolate.RegularGridInterpolator(points, values, **settings)
        expected = scipy.interpolate.RegularGridInterpolator(points, values, **settings)
        np.testing.assert_allclose(pb.jit(found)(query), expected(query), atol=1e-12)
        pair = (query[:, 0], query[:, 1])
        np.testing.assert_allclose(found(pair), expected(pair), atol=1e-12)
        other = "linear" if method == "nearest" else "nearest"
        np.testing.assert_allclose(found(query, other), expected(query, other), atol=1e-12)


def test_grid_interpolator_is_a_pytree_with_slopes() -> None:
    x = jnp.array([0.0, 1.0, 3.0])

    def loss(values: Any, at: Any) -> Any:
        return interpolate.RegularGridInterpolator((x,), values)(at)[0]

    slopes = pb.grad(loss, argnums=(0, 1))(x**2, jnp.array([2.0]))
    np.testing.assert_allclose(slopes[0], [0, 0.5, 0.5])
    np.testing.assert_allclose(slopes[1], [4.0])
    f = interpolate.RegularGridInterpolator((x,), x)
    doubled = pb.tree.map(lambda leaf: 2 * leaf, f)
    np.testing.assert_allclose(doubled(jnp.array([3.0])), [3.0])


def test_errors_of_grid_interpolator() -> None:
    x = jnp.arange(4.0)
    with pytest.raises(ValueError, match="'foo' is not defined"):
        interpolate.RegularGridInterpolator((x,), x, method="foo")
    with pytest.raises(NotImplementedError, match="bounds_error"):
        interpolate.RegularGridInterpolator((x,), x, bounds_error=True)
    with pytest.raises(ValueError, match="2 point arrays"):
        interpolate.RegularGridInterpolator((x, x), x)
    with pytest.raises(ValueError, match="4 points and 3 values"):
        interpolate.RegularGridInterpolator((x,), x[:3])
    with pytest.raises(ValueError, match="strictly ascending"):
        interpolate.RegularGridInterpolator((x * 0,), x)
    with pytest.raises(ValueError, match="dimension"):
        interpolate.RegularGridInterpolator((x,), x)(jnp.ones((3, 2)))


def test_trapezoid() -> None:
    y, x = RNG.normal(size=(4, 6)), np.sort(RNG.normal(size=6))
    for args in ((), (x,), (None, 0.3), (None, 1.0, 0)):
        expected = scipy.integrate.trapezoid(y, *args)
        np.testing.assert_allclose(integrate.trapezoid(y, *args), expected, atol=1e-5)


def test_vector_quantisation() -> None:
    for shape, codes in (((30, 3), (5, 3)), ((30,), (5,))):
        obs, book = RNG.normal(size=shape), RNG.normal(size=codes)
        found, expected = cluster.vq.vq(obs, book), scipy.cluster.vq.vq(obs, book)
        np.testing.assert_array_equal(found[0], expected[0])
        np.testing.assert_allclose(found[1], expected[1], rtol=1e-5)
    with pytest.raises(ValueError, match="same rank"):
        cluster.vq.vq(jnp.ones((4, 2)), jnp.zeros(3))
    with pytest.raises(ValueError, match="different than 1 or 2"):
        cluster.vq.vq(jnp.ones((4, 2, 2)), jnp.zeros((3, 1, 2)))
