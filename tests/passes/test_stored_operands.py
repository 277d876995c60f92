"""Products of transposed operands."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import pullback
from pullback import lax
from pullback import numpy as jnp
from pullback.passes.regroup import regroup
from pullback.passes.simplify import simplify


def _names(f: Any, *args: Any) -> list[str]:
    return [e.primitive.name for e in regroup(simplify(pullback.make_jaxpr(f)(*args))).jaxpr.eqns]


X, W = np.ones((64, 96), np.float32), np.ones((80, 96), np.float32)


@pytest.mark.parametrize("f", [lambda x, w: x @ w.T, lambda x, w: x.T.T @ w.T])
def test_products_read_transposed_operands_as_they_are_stored(f: Any) -> None:
    assert _names(f, X, W) == ["dot_general"]
    np.testing.assert_array_equal(pullback.jit(f)(X, W), X @ W.T)


def test_a_transpose_with_several_readers_is_made_once() -> None:
    assert _names(lambda x, w: (x @ w.T, x[:3] @ w.T), X, W).count("transpose") == 1


def test_a_loop_reads_what_is_transposed_once_in_front_of_it() -> None:
    def f(x: Any, w: Any) -> Any:
        return lax.scan(lambda c, _: (jnp.tanh(c @ w.T), None), x, None, length=9)[0]

    assert _names(f, X, np.ones((96, 96), np.float32)) == ["transpose", "scan"]


def test_a_product_whose_result_would_have_other_axes_keeps_its_transpose() -> None:
    x, w = np.ones((4, 5, 6), np.float32), np.ones((6, 7), np.float32)
    program = pullback.jit(lambda x, w: jnp.transpose(x, (1, 0, 2)) @ w)
    np.testing.assert_array_equal(program(x, w), np.full((5, 4, 7), 6, np.float32))
