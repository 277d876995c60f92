"""Resizing against JAX, against sums over pixels, and gradients against finite differences."""

from typing import Any

import jax as real_jax
import numpy as np
import pytest

import pullback as pb
import pullback.numpy as jnp
from pullback import image

METHODS = ["nearest", "linear", "cubic", "cubic-pytorch", "lanczos3", "lanczos5", "area"]
RNG = np.random.default_rng(0)
PICTURE = RNG.normal(size=(7, 5, 2)).astype(np.float32)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("shape", [(11, 3, 2), (4, 9, 2)])
def test_resize_is_that_of_jax(method: str, antialias: bool, shape: Any) -> None:
    ours = image.resize(PICTURE, shape, method, antialias)
    theirs = real_jax.image.resize(PICTURE, shape, method, antialias)
    assert ours.dtype == theirs.dtype
    np.testing.assert_allclose(ours, theirs, atol=3e-6)


@pytest.mark.parametrize("method", METHODS[1:])
@pytest.mark.parametrize("antialias", [True, False])
def test_scale_and_translate_is_that_of_jax(method: str, antialias: bool) -> None:
    scale, move = np.array([1.7, 0.6], np.float32), np.array([-1.3, 0.9], np.float32)
    args = ((9, 6, 2), (0, 1), scale, move, method, antialias)
    ours = image.scale_and_translate(PICTURE, *args)
    theirs = real_jax.image.scale_and_translate(PICTURE, *args)
    np.testing.assert_allclose(ours, theirs, atol=5e-6)


def test_linear_interpolation_is_that_of_numpy() -> None:
    x = RNG.normal(size=9).astype(np.float32)
    at = (np.arange(14) + 0.5) * 9 / 14 - 0.5
    ours = image.resize(jnp.asarray(x), (14,), "bilinear")
    np.testing.assert_allclose(ours, np.interp(at, np.arange(9), x), atol=2e-6)


def test_area_is_the_mean_of_blocks() -> None:
    x = RNG.normal(size=(6, 8)).astype(np.float32)
    ours = image.resize(x, (3, 2), "area")
    np.testing.assert_allclose(ours, x.reshape(3, 2, 2, 4).mean((1, 3)), atol=1e-6)


def test_dtypes() -> None:
    whole = np.arange(4)
    assert image.resize(jnp.asarray(whole), (6,), "nearest").dtype == np.int32
    assert image.resize(jnp.asarray(whole), (6,), "linear").dtype == np.float32
    half = image.resize(jnp.arange(4, dtype=jnp.bfloat16), (6,), "linear")
    assert half.dtype == jnp.bfloat16
    turned = image.resize(jnp.arange(4) * 1j, (6,), "linear")
    np.testing.assert_allclose(turned.imag, image.resize(jnp.arange(4.0), (6,), "linear"))
    assert image.resize(jnp.arange(4.0), (0,), "linear").shape == (0,)


def test_errors() -> None:
    x = jnp.arange(4.0)
    with pytest.raises(ValueError, match="Unknown resize method"):
        image.resize(x, (6,), "foo")
    with pytest.raises(ValueError, match="number of dimensions"):
        image.resize(x, (6, 3), "linear")
    with pytest.raises(ValueError, match="Nearest neighbor"):
        image.scale_and_translate(x, (6,), (0,), jnp.ones(1), jnp.zeros(1), "nearest")
    with pytest.raises(ValueError, match="twice"):
        image.scale_and_translate(x, (6,), (0, 0), jnp.ones(2), jnp.zeros(2), "linear")


@pytest.mark.parametrize("method", ["linear", "cubic", "lanczos3", "area"])
def test_gradients(method: str) -> None:
    with pb.enable_x64(True):
        x = RNG.normal(size=(5, 4))
        direction = RNG.normal(size=(7, 3))

        def loss(picture: Any, scale: Any, move: Any) -> Any:
            out = image.scale_and_translate(picture, (7, 3), (0, 1), scale, move, method)
            return jnp.sum(out * direction)

        args = [x, np.array([1.31, 0.73]), np.array([0.17, -0.11])]
        slopes = pb.jit(pb.grad(loss, argnums=(0, 1, 2)))(*args)
        for k, slope in enumerate(slopes):
            step = RNG.normal(size=args[k].shape)
            ends = []
            for sign in (1, -1):
                moved = list(args)
                moved[k] = args[k] + sign * 1e-6 * step
                ends.append(float(loss(*moved)))
            expected = (ends[0] - ends[1]) / 2e-6
            np.testing.assert_allclose(np.sum(slope * step), expected, rtol=1e-6, atol=1e-7)


def test_inside_jit_and_vmap() -> None:
    batch = RNG.normal(size=(3, 6, 4)).astype(np.float32)
    once = pb.jit(pb.vmap(lambda x: image.resize(x, (3, 8), "cubic")))(batch)
    np.testing.assert_allclose(once, image.resize(batch, (3, 3, 8), "cubic"), atol=1e-6)


PHOTOGRAPH = RNG.normal(size=(2, 96, 131, 3)).astype(np.float32)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("shape", [(2, 61, 300, 3), (2, 200, 40, 3)])
def test_large_images_are_those_of_jax(method: str, antialias: bool, shape: Any) -> None:
    """Few of many pixels weigh anything: they alone are read."""
    ours = pb.jit(lambda x: image.resize(x, shape, method, antialias))(PHOTOGRAPH)
    theirs = real_jax.image.resize(PHOTOGRAPH, shape, method, antialias)
    np.testing.assert_allclose(ours, theirs, atol=5e-5)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(2, 61, 300, 3), (2, 200, 40, 3)])
def test_gradients_of_large_images_are_those_of_jax(method: str, shape: Any) -> None:
    weights = RNG.normal(size=shape).astype(np.float32)
    ours = pb.jit(pb.grad(lambda x: jnp.sum(image.resize(x, shape, method) * weights)))(PHOTOGRAPH)
    loss = lambda x: (real_jax.image.resize(x, shape, method) * weights).sum()  # noqa: E731
    np.testing.assert_allclose(ours, real_jax.jit(real_jax.grad(loss))(PHOTOGRAPH), atol=1e-4)


@pytest.mark.parametrize("scale", [1.7, 0.4, -0.8])
@pytest.mark.parametrize("method", METHODS[1:])
def test_known_scales_give_what_traced_ones_do(method: str, scale: float) -> None:
    """Known scales read the pixels that weigh anything; traced ones take all."""
    x, move = PHOTOGRAPH[0], np.array([30.5], np.float32)
    scales = np.array([scale], np.float32)

    def moved(x: Any, scales: Any) -> Any:
        return image.scale_and_translate(x, (96, 90, 3), (1,), scales, move, method)

    known = moved(x, scales)
    np.testing.assert_allclose(known, pb.jit(moved)(x, scales), atol=2e-4)
    theirs = real_jax.image.scale_and_translate(x, (96, 90, 3), (1,), scales, move, method)
    np.testing.assert_allclose(known, theirs, atol=2e-4)


def test_no_matrix_is_multiplied_where_few_pixels_weigh_anything() -> None:
    small = pb.jit(pb.grad(lambda x: jnp.sum(image.resize(x, (40, 50), "cubic") ** 2)))
    text = str(small.trace(jnp.zeros((200, 300))).jaxpr)
    assert "dot_general" not in text
    assert "scatter" not in text


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "complex64"])
def test_large_images_of_other_types(dtype: str) -> None:
    x = PHOTOGRAPH[0].astype(jnp.dtype(dtype))
    ours, theirs = (m.image.resize(x, (61, 40, 3), "cubic") for m in (pb, real_jax))
    assert ours.dtype == theirs.dtype
    a, b = (np.asarray(v).astype(np.complex64) for v in (ours, theirs))
    np.testing.assert_allclose(a, b, atol=5e-5 if dtype == "complex64" else 0.05)


@pytest.mark.parametrize("method", ["nearest", "linear"])
def test_symbolic_lengths(method: str) -> None:
    from pullback import export

    b, n = export.symbolic_shape("b, n")
    for given, wanted, size in [((b, 96, 5), (b, 40, 5), 96), ((b, n, 5), (b, 2 * n, 5), 7)]:
        made = export.export(pb.jit(lambda x, s=wanted: image.resize(x, s, method)))
        exported = made(pb.ShapeDtypeStruct(given, np.float32))
        x = RNG.normal(size=(2, size, 5)).astype(np.float32)
        shape = (2, 40 if size == 96 else 14, 5)
        np.testing.assert_allclose(exported.call(x), image.resize(x, shape, method), atol=5e-5)
