"""Products of operands of different dtypes have the one of higher precision, as JAX's have."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as jnp
from pullback import enable_x64, lax

PAIRS = [
    ("int8", "uint16", "uint16"),
    ("int8", "uint8", "int8"),
    ("int64", "uint64", "int64"),
    ("bool", "uint8", "uint8"),
    ("float16", "bfloat16", "bfloat16"),
    ("float32", "int64", "float32"),
    ("float64", "complex64", "complex64"),
    ("float8_e4m3fn", "float8_e5m2", "float8_e5m2"),
    ("float8_e5m2", "float32", "float32"),
]


@pytest.mark.parametrize(("left", "right", "want"), PAIRS)
def test_a_product_has_the_dtype_of_higher_precision(left: str, right: str, want: str) -> None:
    x, y = np.array([[1, 0], [1, 1]]), np.array([[1, 1], [0, 1]])
    numbers = (((1,), (0,)), ((), ()))
    with enable_x64(True):
        for a, b in ((left, right), (right, left)):
            out = lax.dot_general(jnp.asarray(x, a), jnp.asarray(y, b), numbers)
            assert out.dtype == jnp.dtype(want)
            np.testing.assert_array_equal(out.astype(complex), x @ y)
            wide = lax.dot_general(
                jnp.asarray(x, a), jnp.asarray(y, b), numbers, preferred_element_type="complex64"
            )
            assert wide.dtype == np.complex64


def test_products_of_narrow_floats_are_differentiated() -> None:
    x, y = jnp.ones((2, 3), "float8_e4m3fn"), jnp.arange(6.0).reshape(3, 2)

    def total(y: Any) -> Any:
        return lax.dot_general(
            x, y, (((1,), (0,)), ((), ())), preferred_element_type="float32"
        ).sum()

    np.testing.assert_array_equal(pb.grad(total)(y), np.full((3, 2), 2.0))


def test_a_product_of_equally_precise_dtypes_is_an_error() -> None:
    a, b = jnp.ones((2, 2), "float8_e5m2"), jnp.ones((2, 2), "float8_e5m2fnuz")
    with pytest.raises(TypeError, match="higher precision"):
        lax.dot_general(a, b, (((1,), (0,)), ((), ())))
