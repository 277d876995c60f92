"""Equal equations are computed once; numbers are equal if their bits are."""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
import pytest

import pullback
import pullback.numpy as jnp
from pullback.ops.contractions import dot_general
from pullback.passes.simplify import simplify
from pullback.runtime.fingerprint import fingerprint


def _count(f: Any, *args: Any) -> int:
    return len(simplify(pullback.make_jaxpr(f)(*args)).jaxpr.eqns)


@pytest.mark.parametrize(
    ("a", "b", "products"),
    [(2.0, 2.0, 1), (2.0, 3.0, 2), (0.0, -0.0, 2), (0.0, 0.0, 1), (np.float32(2), 2.0, 1)],
)
def test_products_by_equal_numbers_are_one(a: Any, b: Any, products: int) -> None:
    x = jnp.arange(3.0)
    assert _count(lambda x: (jnp.multiply(x, a), jnp.multiply(x, b)), x) == products


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        (2.0, 2.0, True),
        (0.0, -0.0, False),
        (math.nan, -math.nan, False),
        (math.nan, math.nan, True),
        (complex(0, -0.0), 0j, False),
    ],
)
def test_a_digest_knows_the_bits_of_numbers(a: Any, b: Any, same: bool) -> None:
    x = jnp.zeros(3, jnp.complex64 if isinstance(a, complex) else jnp.float32)
    digests = [
        fingerprint(pullback.make_jaxpr(lambda x, k=k: pullback.lax.mul_p.bind(x, k))(x).jaxpr)
        for k in (a, b)
    ]
    assert (digests[0] == digests[1]) == same


def test_an_unused_result_goes_and_an_inlined_call_with_it() -> None:
    @pullback.jit
    def inner(x: Any) -> Any:
        return jnp.sin(x), jnp.cos(x)

    assert _count(lambda x: inner(x)[0], jnp.arange(3.0)) == 1


def test_the_type_of_a_result_is_found_once_for_equal_types() -> None:
    rule = dot_general.abstract.__code__
    calls = 0

    def look(frame: Any, event: str, _: Any) -> None:
        nonlocal calls
        calls += event == "call" and frame.f_code is rule

    def products(w: Any, x: Any) -> Any:
        for _ in range(20):
            x = w @ x
        return x

    w, x = jnp.zeros((11, 11)), jnp.zeros((11, 3))
    sys.setprofile(look)
    try:
        pullback.make_jaxpr(products)(w, x)
    finally:
        sys.setprofile(None)
    assert calls == 1
