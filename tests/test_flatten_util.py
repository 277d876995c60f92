"""`ravel_pytree` against JAX from the outside."""

from __future__ import annotations

from typing import Any

import jax
import jax.flatten_util
import numpy as np
import pytest

from pullback import numpy as jnp
from pullback import tree
from pullback.flatten_util import ravel_pytree

TREES: list[Any] = [
    {"a": np.ones((2, 2), np.float32), "b": 3},
    {},
    [np.arange(2), np.ones(1, np.float16)],
    1.0,
    True,
    [1, 2],
    (np.ones(2, np.float32), np.full(2, 1j, np.complex64)),
    np.arange(6).reshape(3, 2),
    [np.zeros((0, 3), np.float32), np.ones(2, np.float32)],
]


@pytest.mark.parametrize("t", TREES, ids=repr)
def test_there_and_back_like_jax(t: Any) -> None:
    ours, unravel = ravel_pytree(t)
    theirs, unravel_theirs = jax.flatten_util.ravel_pytree(t)
    np.testing.assert_array_equal(ours, theirs)
    assert (ours.dtype, ours.aval.weak_type) == (theirs.dtype, theirs.aval.weak_type)
    back, expected = unravel(ours), unravel_theirs(theirs)
    assert repr(tree.structure(back)) == repr(jax.tree.structure(expected))
    for a, b in zip(tree.leaves(back), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(a, b)
        assert (a.shape, a.dtype) == (b.shape, b.dtype)


def test_errors() -> None:
    _, unravel = ravel_pytree([np.arange(2), np.ones(1, np.float16)])
    with pytest.raises(TypeError, match="array of dtype float32, but expected dtype float16"):
        unravel(jnp.ones(3, jnp.float32))
    with pytest.raises(ValueError, match="vector of 3 elements"):
        unravel(jnp.ones(4, jnp.float16))


def test_inverses_of_equal_structures_are_equal() -> None:
    assert ravel_pytree([1.0, 2.0])[1] == ravel_pytree([3.0, 4.0])[1]
    assert hash(ravel_pytree([1.0])[1]) == hash(ravel_pytree([2.0])[1])
