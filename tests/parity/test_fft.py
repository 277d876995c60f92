"""Fourier transforms compared with JAX's, and compiled ones of many lengths with NumPy's."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy
import numpy as np
import pytest

import pullback
import pullback.numpy
from tests.parity.numpy_oracle import compare

EXPRESSIONS = """
jnp.fft.fft(v), jnp.fft.ifft(c), jnp.fft.fft(i), jnp.fft.fft(x, axis=0), jnp.fft.fft(m, n=3)
jnp.fft.fft(m, n=6, norm="ortho"), jnp.fft.ifft(m, norm="forward"), jnp.fft.ifft(m, norm="ortho")
jnp.fft.rfft(v), jnp.fft.rfft(m, n=5, axis=0), jnp.fft.rfft(i), jnp.fft.rfft(x, norm="forward")
jnp.fft.irfft(c), jnp.fft.irfft(c, n=5), jnp.fft.irfft(m, axis=0), jnp.fft.irfft(m, norm="ortho")
jnp.fft.hfft(c), jnp.fft.ihfft(v), jnp.fft.hfft(m, norm="ortho"), jnp.fft.ihfft(x, n=4)
jnp.fft.fft2(m), jnp.fft.ifft2(a), jnp.fft.rfft2(m), jnp.fft.irfft2(m), jnp.fft.rfft2(a, s=(3, 5))
jnp.fft.fftn(a), jnp.fft.ifftn(a), jnp.fft.rfftn(a), jnp.fft.irfftn(a), jnp.fft.fftn(a, axes=(0, 2))
jnp.fft.fftn(a, s=(3, 3)), jnp.fft.rfftn(a, axes=(2, 0)), jnp.fft.irfftn(a, axes=(2, 0))
jnp.fft.fft2(a, axes=(0, 1), norm="ortho")
jnp.fft.fftn(jnp.ones((2, 1, 3, 2, 2)) * v[:, None, None])
jnp.fft.rfftn(jnp.ones((2, 3, 2, 5))), jnp.fft.irfftn(jnp.ones((2, 3, 2, 5)))
jnp.fft.rfft(c)
jnp.fft.fft(v, norm="no")
jnp.fft.fft(v, n=0)
jnp.fft.fft(v, axis=(0,))
jnp.fft.fftn(a, axes=(0, 0))
jnp.fft.fft(2.0)
"""


@pytest.mark.parametrize("line", [e for e in EXPRESSIONS.splitlines() if e])
def test_values(line: str) -> None:
    compare(line, rtol=2e-5)


@pytest.mark.parametrize("name", ["fft", "ifft", "rfft", "irfft", "fft2", "irfft2", "hfft"])
def test_gradients(name: str) -> None:
    x = np.random.default_rng(0).standard_normal((4, 6)).astype("float32")

    def total(root: Any, x: Any) -> Any:
        out = getattr(root.numpy.fft, name)(x)
        return (root.numpy.sin(out.real) + out.imag**2).sum()

    want = jax.grad(lambda x: total(jax, x))(x)
    for f in (pullback.grad, lambda f: pullback.jit(pullback.grad(f))):
        got = f(lambda x: total(pullback, x))(x)
        np.testing.assert_allclose(np.asarray(got), np.asarray(want), 1e-4, 1e-4)


@pytest.mark.parametrize("n", [6, 31, 49, 100, 243, 256, 360, 509, 1000, 1024, 1155, 2048, 3000])
def test_compiled_lengths(n: int) -> None:
    x = np.random.default_rng(n).standard_normal((3, n)).astype("float32")
    for name in ("fft", "ifft", "rfft"):
        got = pullback.jit(getattr(pullback.numpy.fft, name))(x)
        want = getattr(np.fft, name)(x.astype("float64"))
        scale = np.abs(want).max()
        np.testing.assert_allclose(np.asarray(got) / scale, want / scale, atol=2e-6)
    half = np.fft.rfft(x).astype("complex64")
    got = pullback.jit(lambda y: pullback.numpy.fft.irfft(y, n=n))(half)
    np.testing.assert_allclose(np.asarray(got), x, atol=2e-5)
