"""Loops under `disable_jit` run in Python where they can, against JAX."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

import pullback


def _double(system: Any, x: Any) -> Any:
    return system.lax.while_loop(lambda v: v < 10.0, lambda v: v * 2.0, x)


def test_while_with_a_batched_predicate() -> None:
    # The predicate is traced: the loop cannot run in Python.
    with pullback.disable_jit():
        got = pullback.vmap(lambda x: _double(pullback, x))(np.arange(1.0, 4.0))
    assert got.tolist() == [16.0, 16.0, 12.0]


def test_while_with_a_body_that_closes_over_a_tracer() -> None:
    def f(n: Any) -> Any:
        return pullback.lax.while_loop(lambda v: v < 3, lambda v: v + n, 0)

    with pullback.disable_jit():
        assert pullback.vmap(f)(np.arange(1, 4)).tolist() == [3, 4, 3]


@pytest.mark.parametrize("start", [1, 1.5, np.float16(1.0)])
def test_while_returns_arrays(start: Any) -> None:
    with pullback.disable_jit(), jax.disable_jit():
        ours, theirs = _double(pullback, start), _double(jax, start)
    assert (ours.dtype, ours.weak_type, ours.shape) == (theirs.dtype, theirs.weak_type, ())
    assert float(ours) == float(theirs)


def test_while_is_differentiable() -> None:
    with pullback.disable_jit():
        assert float(pullback.grad(lambda x: _double(pullback, x))(1.0)) == 16.0
