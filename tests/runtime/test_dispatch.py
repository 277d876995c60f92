"""Eager evaluation."""

from __future__ import annotations

import operator

import numpy as np
import pytest

import pullback
import pullback.numpy as jnp
from pullback.core.primitive import registry


def test_result_types_are_remembered_by_the_names_of_parameters() -> None:
    """Equal values under other names, in another order, are another call."""
    svd = registry["svd"]
    x = np.arange(6.0, dtype=np.float32).reshape(2, 3)
    rest = {"subset_by_index": None, "algorithm": None}
    (values,) = svd.bind(x, compute_uv=False, full_matrices=True, **rest)
    three = svd.bind(x, full_matrices=False, compute_uv=True, **rest)
    assert len(three) == 3
    np.testing.assert_allclose(values, three[0], rtol=1e-5)


SHAPES = [((3, 4), (4,)), ((4,), (3, 4)), ((3, 1), (1, 4)), ((), (2,)), ((0, 3), (3,))]


@pytest.mark.parametrize("name", ["add", "sub", "mul", "truediv", "lt", "eq", "and_", "matmul"])
def test_operators_of_two_shapes(name: str) -> None:
    """Remembered plans give what the general way gives: values, types, weakness, errors."""
    operate = getattr(operator, name)
    dtypes = ("int32", "bool") if name == "and_" else ("float32", "int32", "bfloat16", "complex64")
    shapes = [((3, 4), (4, 2)), ((3, 0), (0, 2))] if name == "matmul" else SHAPES
    rng = np.random.default_rng(0)
    for dtype in dtypes if name != "lt" else dtypes[:3]:
        for one, other in shapes:
            x, y = (jnp.asarray(rng.integers(0, 3, shape)).astype(dtype) for shape in (one, other))
            for _ in range(2):  # the second time from the plan
                with np.errstate(all="raise"):
                    got = operate(x, y)
                with pullback.disable_jit():  # an override: the general way
                    expected = operate(x, y)
                assert got.aval == expected.aval
                assert np.asarray(got).tobytes() == np.asarray(expected).tobytes()
    with pytest.raises((TypeError, ValueError)):
        operate(jnp.ones((3, 4), dtypes[0]), jnp.ones((3, 5), dtypes[0]))


def test_plans_heed_the_settings() -> None:
    x, y = jnp.ones((2, 3)), jnp.ones(3)
    _ = x + y
    with pullback.numpy_rank_promotion("raise"), pytest.raises(ValueError, match="rank"):
        _ = x + y
    pullback.config.update("jax_numpy_rank_promotion", "raise")
    try:
        with pytest.raises(ValueError, match="rank"):
            _ = x + y
    finally:
        pullback.config.update("jax_numpy_rank_promotion", "allow")
    with pullback.debug_nans(True), pytest.raises(FloatingPointError):
        _ = (x - x) / (y - y)
