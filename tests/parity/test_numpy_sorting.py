"""Sorting, searching, sets, and positions of nonzero elements."""

# ruff: noqa: E501
from __future__ import annotations

import pytest

from tests.parity.numpy_oracle import compare

SORTING = """
jnp.sum(1).weak_type, jnp.sum(jnp.full(2,1)).weak_type, jnp.max(jnp.full(2,1)).weak_type, jnp.mean(jnp.full(2,1.)).weak_type, jnp.cumsum(jnp.full(2,1)).weak_type, jnp.var(jnp.full(2,1.)).weak_type, jnp.prod(jnp.full(2,1.)).weak_type, jnp.median(jnp.full(2,1.)).weak_type, jnp.ptp(jnp.full(2,1)).weak_type, jnp.nansum(jnp.full(2,1.)).weak_type,jnp.sort(jnp.full(2,1)).weak_type
jnp.sort(jnp.array([3,1,2]), descending=True), jnp.argsort(jnp.array([3,1,3,2]), descending=True), jnp.sort(n), jnp.argsort(jnp.array([1,jnp.nan,0]))
jnp.sort(x, axis=None), jnp.sort(x, axis=5)
jnp.sort(jnp.array([1+2j,1-1j,0]))
jnp.sort(x, kind='quicksort')
jnp.lexsort((jnp.array([1,1,0]), jnp.array([2,1,1])))
jnp.partition(jnp.array([3,1,2,0]),2), jnp.argpartition(jnp.array([3,1,2,0]),2)
jnp.searchsorted(jnp.array([1,2,2,3]), jnp.array([2,0,5,2.5])), jnp.searchsorted(jnp.array([1,2,2,3]), 2, side='right')
jnp.searchsorted(jnp.array([1.,2,jnp.nan]), jnp.nan)
jnp.unique(jnp.array([3,1,1,2]), return_index=True, return_inverse=True, return_counts=True)
jnp.unique(jnp.array([3,1,1,2]), size=5, return_index=True, return_inverse=True, return_counts=True)
jnp.unique(jnp.array([3,1,1,2]), size=5, fill_value=9, return_index=True, return_inverse=True, return_counts=True)
jnp.unique(jnp.array([3,1,1,2]), size=2, return_index=True, return_inverse=True, return_counts=True)
jnp.unique(jnp.array([jnp.nan,1,jnp.nan])), jnp.unique(jnp.array([jnp.nan,1,jnp.nan]),equal_nan=False)
jnp.unique(jnp.array([[1,2],[1,2],[0,5]]), axis=0, return_inverse=True)
jnp.unique(jnp.array([[1,2],[0,5]]), return_inverse=True)
jnp.unique_all(jnp.array([3,1,1]))
jnp.unique(jnp.array([]), size=2)
jnp.union1d(i, jnp.array([2,5])), jnp.intersect1d(jnp.array([1,1,2,3]), jnp.array([2,3,4]), return_indices=True), jnp.setdiff1d(i, jnp.array([1])), jnp.setxor1d(i, jnp.array([2,7]))
jnp.setdiff1d(i, jnp.array([1]), size=4, fill_value=-1), jnp.intersect1d(i, jnp.array([1,2]), size=4), jnp.union1d(i,i+1,size=6), jnp.setxor1d(i,i+1,size=4)
jnp.isin(i, jnp.array([1,5])), jnp.isin(i, [1])
jnp.nonzero(jnp.array([0,1,2])), jnp.nonzero(jnp.array([0,1,2]), size=3), jnp.nonzero(x>2, size=7, fill_value=(8,9)), jnp.nonzero(jnp.array([0,1,2]), size=1)
jnp.argwhere(x>2), jnp.argwhere(x>2,size=4), jnp.flatnonzero(x>2), jnp.nonzero(jnp.float32(1))
jnp.where(x>2), jnp.where(x>2, size=2), jnp.where(x>2, x, 0), jnp.where(1, 2, 3.)
jnp.where(x>2, x)
jnp.where(x, 1, 0)
"""


@pytest.mark.parametrize("expression", SORTING.strip().splitlines())
def test_sorting(expression: str) -> None:
    compare(expression, rtol=1e-5)
