"""Carries of loops that are updated in place, against the same loops in Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as jnp
from pullback import lax

Step = Callable[[Any, Any, Any], tuple[Any, Any]]

STEPS: dict[str, Step] = {
    "columns beside a sum over rows": lambda w, acc, r: (acc + w * r, jnp.sin(w * r).sum(0)),
    "rows beside a sum over rows": lambda w, acc, r: (acc * w + 1.0, (w * r).max(0)),
    "sum of what is updated": lambda w, acc, r: (acc + w * r, jnp.sin(acc).sum(0)),
    "transposed": lambda w, acc, r: (acc + w[: w.shape[0]] * r, (acc * w).sum(1)[0] + r),
    "outer product": lambda w, acc, r: (acc + w[:, :1] * r, r + w.min(0)),
}


@pytest.mark.parametrize("shape", [(3, 4), (5, 5), (6, 7), (9, 33), (17, 16)], ids=str)
@pytest.mark.parametrize("name", STEPS)
def test_two_carries(name: str, shape: tuple[int, int]) -> None:
    # 7 columns are two vectors of four which overlap; the overlap must not be added twice.
    step = STEPS[name]

    def run(w: Any) -> Any:
        start = (jnp.ones(shape), jnp.ones(shape[1]))
        return lax.scan(lambda c, _: (step(w, *c), None), start, None, length=3)[0]

    w = np.random.default_rng(0).random(shape, np.float32)
    compiled = pb.jit(run)(w)
    with pb.disable_jit():
        expected = run(w)
    for got, want in zip(compiled, expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5)
