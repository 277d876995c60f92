"""Functions on n elements make no arrays of n times n."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as jnp
from pullback.scipy import stats

_N = 300
_CASES: dict[str, Callable[[Any], Any]] = {
    "repeat": lambda x: jnp.repeat(x, x.astype(int), total_repeat_length=2 * _N),
    **{
        f"rankdata {method}": lambda x, method=method: stats.rankdata(x, method)
        for method in ("average", "min", "max", "dense", "ordinal")
    },
}


def _sizes(jaxpr: Any) -> Iterator[int]:
    for eqn in jaxpr.eqns:
        yield from (v.aval.size for v in eqn.outvars)
        for value in eqn.params.values():
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from _sizes(inner)


@pytest.mark.parametrize("name", _CASES)
def test_intermediate_arrays_are_as_long_as_the_operands(name: str) -> None:
    jaxpr = pb.make_jaxpr(_CASES[name])(np.zeros(_N, np.float32))
    assert max(_sizes(jaxpr.jaxpr)) <= 4 * _N


@pytest.mark.parametrize("counts", [[1, 0, 3, 2], [0, 0, 0, 5], [2, -1, 3, 1], [0, 0, 0, 0]])
@pytest.mark.parametrize("total", [1, 4, 9])
def test_each_place_takes_the_first_element_that_has_not_ended(
    counts: list[int], total: int
) -> None:
    x = np.arange(10, 14)
    ends = np.cumsum(counts)
    places = [min(int((ends <= k).sum()), len(x) - 1) for k in range(total)]
    found = jnp.repeat(x, jnp.array(counts), total_repeat_length=total)
    np.testing.assert_array_equal(found, x[places])
