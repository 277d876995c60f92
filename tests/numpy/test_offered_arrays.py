"""Objects that offer an array by `__jax_array__` are operands wherever arrays are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as jnp


class Offer:
    """A parameter, say."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __jax_array__(self) -> Any:
        return self.value


MATRIX = jnp.arange(9.0).reshape(3, 3)

CALLS = {
    "dot": lambda a: jnp.dot(jnp.ones(3), a),
    "operator": lambda a: jnp.ones(3) @ a,
    "matmul": lambda a: jnp.matmul(a, a),
    "einsum": lambda a: jnp.einsum("ij,j", a, jnp.ones(3)),
    "tensordot": lambda a: jnp.tensordot(a, a),
    "outer": lambda a: jnp.outer(a, a),
    "sum": jnp.sum,
    "concatenate": lambda a: jnp.concatenate([a, a]),
    "stack": lambda a: jnp.stack([a, a]),
    "array": lambda a: jnp.array([a, a]),
    "where": lambda a: jnp.where(a, a, 0),
    "clip": lambda a: jnp.clip(a, 1, 5),
    "eigvalsh": jnp.linalg.eigvalsh,
    "comparison": lambda a: jnp.ones(3) < a,
    "update": lambda a: jnp.zeros((3, 3)).at[1].set(a),
    "vectorize": lambda a: jnp.vectorize(jnp.sin)(a),
    "result_type": lambda a: jnp.zeros((), jnp.result_type(a, jnp.int8)),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.filterwarnings("ignore:Explicitly requested dtype")
def test_calls(name: str) -> None:
    operand = MATRIX[0] if name == "update" else MATRIX
    want, got = CALLS[name](operand), CALLS[name](Offer(operand))
    assert want.aval == got.aval
    np.testing.assert_array_equal(want, got)
    jitted = pb.jit(lambda x: CALLS[name](Offer(x)))(operand)
    np.testing.assert_allclose(want, jitted, rtol=1e-5, atol=1e-5)
