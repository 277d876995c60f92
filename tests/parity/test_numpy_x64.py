"""Result types with 64-bit types enabled."""

# ruff: noqa: E501
from __future__ import annotations

import jax
import pytest

import pullback as pb
from tests.parity.numpy_oracle import compare

EXPRESSIONS = """
jnp.array(1.5), jnp.array([1, 2]), jnp.array(1), jnp.zeros(2), jnp.full(2, 1), jnp.arange(3), jnp.arange(3.0)
jnp.linspace(0, 1, 3), jnp.eye(2), jnp.tri(2), jnp.indices((2,)), jnp.bartlett(3), jnp.fft.fftfreq(3)
jnp.sin(1), jnp.sin(jnp.arange(3)), jnp.sin(np.float32(1)), jnp.float64(1) + jnp.float32(1), jnp.float32(1) + 1.5
jnp.square(jnp.array(True)), jnp.floor_divide(jnp.array(True), jnp.array(True)), jnp.power(jnp.array(True), 2)
jnp.sum(jnp.ones(3, "int32")), jnp.sum(jnp.array([True])), jnp.sum(jnp.ones(3, "uint8")), jnp.cumsum(jnp.ones(3, "int32"))
jnp.mean(jnp.arange(3)), jnp.var(jnp.ones(3, "float32")), jnp.median(jnp.arange(3)), jnp.quantile(jnp.arange(3.0), 0.3)
jnp.argmax(jnp.arange(3)), jnp.argsort(jnp.arange(3)), jnp.nonzero(jnp.arange(3)), jnp.count_nonzero(jnp.arange(3))
jnp.searchsorted(jnp.arange(3), 1), jnp.digitize(1.0, jnp.arange(3)), jnp.bincount(jnp.arange(3))
jnp.unique(jnp.arange(3), return_counts=True), jnp.intersect1d(jnp.arange(3), jnp.arange(2), return_indices=True)
jnp.histogram(jnp.arange(3)), jnp.unravel_index(3, (2, 2)), jnp.tril_indices(2), jnp.frexp(jnp.arange(3.0))
jnp.dot(jnp.arange(3), jnp.arange(3.0)), jnp.einsum("i,i", jnp.arange(3), jnp.ones(3, "float32"))
jnp.arange(3)[jnp.array([0, 5])], jnp.arange(3.0).at[jnp.array([0])].add(1), jnp.arange(4)[jnp.uint8(2)]
jnp.where(True, 1, 2.0), jnp.clip(jnp.arange(3), 0.5), jnp.interp(0.5, jnp.arange(3), jnp.arange(3))
"""


@pytest.mark.parametrize("expression", EXPRESSIONS.strip().splitlines())
def test_types(expression: str) -> None:
    with jax.enable_x64(True), pb.enable_x64(True):
        compare(expression, rtol=1e-7)
