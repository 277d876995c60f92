"""Jaxprs print as JAX prints them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.lax
import numpy as np
import pytest

import pullback
import pullback.lax

X = np.ones((3, 4), np.float32)
V = np.ones(3, np.float32)
NUMBERS = (((1,), (1,)), ((), ()))

Case = tuple[Callable[[Any, Any], Any], tuple[Any, ...]]

CASES: dict[str, Case] = {
    "two equations": (lambda s, lax: lambda x: lax.sin(lax.exp(x)), (V,)),
    "literal": (lambda s, lax: lambda x: lax.mul(x, 2.0), (V,)),
    "dot_general": (lambda s, lax: lambda x: lax.dot_general(x, x, NUMBERS), (X,)),
    "reduce": (lambda s, lax: lambda x: lax.reduce_sum(x, axes=(0,)), (X,)),
    "cumsum": (lambda s, lax: lambda x: lax.cumsum(x, axis=1), (X,)),
    "broadcast": (lambda s, lax: lambda x: lax.broadcast_in_dim(x, (2, 3), (1,)), (V,)),
    "full": (lambda s, lax: lambda x: lax.gt(x, lax.full_like(x, 0.0)), (V,)),
    "reshape": (lambda s, lax: lambda x: lax.transpose(lax.reshape(x, (2, 6)), (1, 0)), (X,)),
    "slice": (lambda s, lax: lambda x: lax.slice(x, (0, 1), (2, 3)), (X,)),
    "dynamic_slice": (lambda s, lax: lambda x: lax.dynamic_slice(x, (0, 1), (2, 3)), (X,)),
    "pad": (lambda s, lax: lambda x: lax.pad(x, 0.0, ((1, 1, 0), (0, 0, 1))), (X,)),
    "concatenate": (lambda s, lax: lambda x: lax.concatenate([x, x], 0), (X,)),
    "convert": (lambda s, lax: lambda x: lax.convert_element_type(x, np.int32), (X,)),
    "argmax": (lambda s, lax: lambda x: lax.argmax(x, 0, np.int32), (X,)),
    "sort": (lambda s, lax: lambda x: lax.sort(x), (X,)),
    "jit": (lambda s, lax: s.jit(lambda x: lax.sin(x)), (V,)),
    "grad": (lambda s, lax: s.grad(lambda x: lax.sin(x)), (1.0,)),
    "cond": (lambda s, lax: lambda x: lax.cond(True, lambda y: lax.sin(y), lambda y: y, x), (V,)),
    "scan": (
        lambda s, lax: lambda x: lax.scan(lambda c, y: (lax.add(c, y), lax.mul(c, y)), 0.0, x),
        (V,),
    ),
    "fori_loop": (lambda s, lax: lambda x: lax.fori_loop(0, 3, lambda i, c: c * 2.0, x), (V,)),
    "vmap": (
        lambda s, lax: s.vmap(lambda x: lax.dot_general(x, x, (((0,), (0,)), ((), ())))),
        (X,),
    ),
    "iota": (lambda s, lax: lambda x: lax.iota(np.int32, 3), (X,)),
    "clamp": (lambda s, lax: lambda x: lax.clamp(0.0, x, 1.0), (X,)),
    "squeeze": (lambda s, lax: lambda x: lax.squeeze(lax.expand_dims(x, (0,)), (0,)), (X,)),
    "conv": (
        lambda s, lax: (
            lambda x: lax.conv_general_dilated(
                lax.reshape(x, (1, 1, 3, 4)), lax.reshape(x, (1, 1, 3, 4)), (1, 1), "SAME"
            )
        ),
        (X,),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_text_is_that_of_jax(name: str) -> None:
    make, args = CASES[name]
    ours = str(pullback.make_jaxpr(make(pullback, pullback.lax))(*args))
    theirs = str(jax.make_jaxpr(make(jax, jax.lax))(*args))
    assert ours == theirs
