"""Cosine transforms against SciPy's, and their derivatives by linearity."""

from typing import Any

import numpy as np
import pytest
import scipy.fft

import pullback as pb
import pullback.numpy as jnp
import pullback.scipy.fft as ours

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("kind", [1, 2, 3, 4])
@pytest.mark.parametrize("norm", [None, "backward", "ortho", "forward"])
def test_types_and_norms(kind: int, norm: Any) -> None:
    with pb.enable_x64(True):
        for shape, axis, n in (((7,), -1, None), ((2, 8), 1, 5), ((6, 3), 0, 9), ((5, 2), 0, 2)):
            x = RNG.normal(size=shape)
            for name in ("dct", "idct"):
                expected = getattr(scipy.fft, name)(x, kind, n, axis, norm)
                found = getattr(ours, name)(x, kind, n, axis, norm)
                assert found.dtype == np.float64
                np.testing.assert_allclose(found, expected, atol=1e-12)
            back = ours.idct(ours.dct(x, kind, None, axis, norm), kind, None, axis, norm)
            np.testing.assert_allclose(back, x, atol=1e-12)


@pytest.mark.parametrize("kind", [1, 2, 3, 4])
def test_several_axes(kind: int) -> None:
    x = RNG.normal(size=(3, 4, 5)).astype(np.float32)
    for args in ((None, None), ((2, 6), (0, 2)), (None, (1, 2)), ((4, 4), None)):
        for name in ("dctn", "idctn"):
            expected = getattr(scipy.fft, name)(x, kind, *args, norm="ortho")
            found = getattr(ours, name)(x, kind, *args, norm="ortho")
            np.testing.assert_allclose(found, expected, atol=1e-5)


def test_complex_integers_and_half() -> None:
    z = RNG.normal(size=6) + 1j * RNG.normal(size=6)
    np.testing.assert_allclose(ours.dct(z), scipy.fft.dct(z), rtol=1e-5, atol=1e-5)
    assert ours.dct(jnp.arange(4)).dtype == np.float32
    assert ours.dct(jnp.arange(4, dtype=jnp.bfloat16)).dtype == np.float32


@pytest.mark.parametrize("kind", [1, 2, 3, 4])
def test_derivatives_of_a_linear_map(kind: int) -> None:
    with pb.enable_x64(True):
        x, t, c = RNG.normal(size=(3, 7))
        _, tangent = pb.jvp(lambda v: ours.dct(v, kind), (x,), (t,))
        np.testing.assert_allclose(tangent, scipy.fft.dct(t, kind), atol=1e-12)
        (cotangent,) = pb.vjp(lambda v: ours.dct(v, kind), x)[1](jnp.asarray(c))
        matrix = scipy.fft.dct(np.eye(7), kind, axis=0)
        np.testing.assert_allclose(cotangent, matrix.T @ c, atol=1e-12)


def test_errors() -> None:
    x = jnp.arange(4.0)
    with pytest.raises(ValueError, match="invalid type"):
        ours.dct(x, 5)
    with pytest.raises(ValueError, match="norm="):
        ours.dct(x, norm="foo")
    with pytest.raises(ValueError, match="out of bounds"):
        ours.dctn(x, s=(3,), axes=(1,))
    with pytest.raises(ValueError, match="not defined for size"):
        ours.dct(jnp.ones(1), 1)
