"""Reductions, cumulative ones, order statistics."""

from __future__ import annotations

import pytest

from tests.parity.numpy_oracle import compare

REDUCTIONS = """
jnp.max(jnp.zeros(0))
jnp.max(jnp.zeros(0), initial=2)
jnp.max(x, where=x>2)
jnp.max(x, where=x>2, initial=0)
jnp.sum(x, axis=(0,0))
jnp.sum(x, axis=2)
jnp.sum(x, axis=0.5)
jnp.sum(x, axis=[0,1])
jnp.mean(x, where=x>2), jnp.var(x, where=x>2), jnp.std(x,ddof=1,axis=0)
jnp.mean(jnp.zeros(0))
jnp.var(x, correction=1), jnp.var(x, mean=jnp.float32(1))
jnp.argmax(n), jnp.argmin(n), jnp.nanargmax(n), jnp.nanmax(n), jnp.nanmin(n)
jnp.argmax(x, axis=0, keepdims=True), jnp.argmax(x,keepdims=True)
jnp.argmax(jnp.zeros(0))
jnp.nanargmax(jnp.array([jnp.nan]))
jnp.median(n), jnp.nanmedian(n), jnp.median(x, axis=1), jnp.median(x,axis=(0,1),keepdims=True)
jnp.quantile(x, jnp.array([0.2,0.5]), axis=1), jnp.percentile(x, 30)
[jnp.quantile(x, 0.3, method=m) for m in ('lower','higher','nearest','midpoint','linear')]
jnp.quantile(x, 0.3, method='inverted_cdf')
jnp.quantile(x, 1.5)
jnp.quantile(x, 0.3, weights=jnp.ones((2,3)), method='inverted_cdf')
jnp.average(x, axis=1, weights=jnp.array([1.,2,3]), returned=True)
jnp.average(x, weights=jnp.ones(2))
jnp.cumsum(x), jnp.cumsum(x,axis=1,dtype=int)
jnp.cumulative_sum(i, include_initial=True)
jnp.cumulative_sum(x)
jnp.nancumsum(n), jnp.nancumprod(n)
jnp.any(x>3, axis=1), jnp.all(x>=0, where=x>3)
"""


@pytest.mark.parametrize("expression", REDUCTIONS.strip().splitlines())
def test_reductions(expression: str) -> None:
    compare(expression, rtol=1e-5)


DTYPES = [
    "bool",
    "int8",
    "uint8",
    "int16",
    "int32",
    "uint32",
    "float16",
    "bfloat16",
    "float32",
    "complex64",
]
REDUCED = """
jnp.sum({})
jnp.prod({})
jnp.mean({})
jnp.var({})
jnp.std({}, axis=0)
jnp.max({}, axis=1)
jnp.min({})
jnp.cumsum({}, axis=0)
jnp.cumprod({})
jnp.nansum({})
jnp.nanmean({})
jnp.nanmax({})
jnp.nanvar({})
jnp.median({})
jnp.quantile({}, 0.5)
jnp.ptp({})
jnp.count_nonzero({})
jnp.argmax({})
jnp.average({})
jnp.any({})
jnp.nancumsum({})
jnp.cumulative_sum({}, axis=0)
jnp.sum({}, promote_integers=False)
jnp.sum({}, dtype="float16")
jnp.mean({}, dtype="int32")
"""


@pytest.mark.parametrize("expression", REDUCED.strip().splitlines())
def test_result_types(expression: str) -> None:
    for dtype in DTYPES:
        compare(expression.format(f"jnp.ones((2, 3), '{dtype}')"))


def test_results_are_not_weakly_typed() -> None:
    for name in ["sum", "max", "mean", "cumsum", "var", "prod", "median", "ptp", "nansum", "sort"]:
        compare(f"jnp.{name}(jnp.full(2, 1.0))")
