"""Polynomials, histograms, interpolation, differences."""

# ruff: noqa: E501
from __future__ import annotations

import pytest

from tests.parity.numpy_oracle import compare

ANALYSIS = """
jnp.polyval(jnp.array([1,2,3]), 2)
jnp.polyval(jnp.array([1.,2,3]), jnp.array([[1,2]]))
jnp.polyadd(jnp.array([1,2]), jnp.array([3,4,5])), jnp.polysub(jnp.array([1,2]), jnp.array([3,4,5]))
jnp.polymul(jnp.array([0,1,2]), jnp.array([3,4])), jnp.polymul(jnp.array([0,1,2]), jnp.array([3,4]),trim_leading_zeros=True)
jnp.polydiv(jnp.array([1.,3,2]), jnp.array([1.,1])), jnp.polydiv(jnp.array([1.,3,2]), jnp.array([1.,1]),trim_leading_zeros=True)
jnp.polyder(jnp.array([1,2,3])), jnp.polyder(jnp.array([1,2,3]),2), jnp.polyint(jnp.array([1,2,3])), jnp.polyint(jnp.array([1,2,3]),2,k=jnp.array([1,2]))
jnp.convolve(i, jnp.array([1,2])), jnp.convolve(x, jnp.array([1,2.]),'same'), jnp.convolve(x, jnp.array([1,2.]),'valid'), jnp.convolve(jnp.array([1,2.]),x,'valid')
jnp.correlate(x, jnp.array([1,2.])), jnp.correlate(x, jnp.array([1,2.]),'full'), jnp.correlate(jnp.array([1,2.]), x,'full'), jnp.correlate(jnp.array([1,2.]), x,'same'), jnp.correlate(jnp.array([1,2j]), x,'full')
jnp.interp(jnp.array([0.5,-1,9]), x, x*2), jnp.interp(5., x, x, period=3)
jnp.nan_to_num(jnp.float32(jnp.inf)).weak_type
jnp.digitize(x, jnp.array([0,1.5])), jnp.digitize(x, jnp.array([1.5,0])), jnp.bincount(i), jnp.bincount(i,weights=x,length=2)
jnp.histogram(x), jnp.histogram(x,bins=2,density=True)
jnp.cov(jnp.ones((2,3))), jnp.corrcoef(jnp.array([[1.,2,3],[3,1,2]]))
jnp.gradient(x*x), jnp.gradient(x*x, 2.), jnp.gradient(jnp.ones((2,2)))
"""


@pytest.mark.parametrize("expression", ANALYSIS.strip().splitlines())
def test_analysis(expression: str) -> None:
    compare(expression, rtol=1e-5)
