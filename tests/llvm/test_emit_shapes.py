"""Nests of one shape share a function, and nests that differ in anything else do not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import pullback
import pullback.numpy as jnp
from pullback.llvm.emit import emit_module
from pullback.llvm.emit_shapes import shape_of
from pullback.loops.ir import Loop
from pullback.loops.program import lower_program
from pullback.passes import simplify


def loops(f: Callable[..., Any], *args: Any) -> list[Loop]:
    closed = simplify.simplify(pullback.make_jaxpr(f)(*args))
    program = lower_program(closed, vector_bits=512, name="f")
    return [s for s in program.body if isinstance(s, Loop)]


def key(f: Callable[..., Any], *args: Any) -> Any:
    (nest,) = loops(f, *args)
    shape = shape_of(nest)
    assert shape is not None
    return shape.key


X, Y = np.ones((40, 64), np.float32), np.ones((40, 64), np.float32)


def test_the_same_program_twice_has_the_same_shape() -> None:
    assert key(lambda x, y: jnp.sin(x) * y, X, Y) == key(lambda a, b: jnp.sin(a) * b, X, Y)


@pytest.mark.parametrize(
    "other",
    [
        lambda x, y: jnp.cos(x) * y,
        lambda x, y: jnp.sin(x) * x,
        lambda x, y: y * jnp.sin(x) + 0.0,
        lambda x, y: jnp.sin(x) * y * 2.0,
        lambda x, y: (jnp.sin(x) * y).T,
        lambda x, y: (jnp.sin(x) * y).sum(axis=1),
        lambda x, y: jnp.sin(x[:, ::-1]) * y,
    ],
)
def test_another_program_has_another_shape(other: Callable[..., Any]) -> None:
    assert key(lambda x, y: jnp.sin(x) * y, X, Y) != key(other, X, Y)


def test_types_extents_and_constants_are_part_of_the_shape() -> None:
    plain = key(lambda x: x * 2.0, X)
    assert plain != key(lambda x: x * 3.0, X)
    assert plain != key(lambda x: x * 2.0, X[:, :32])
    assert plain != key(lambda x: x * 2, X.astype(np.int32))
    assert key(lambda x: x + 0.0, X) != key(lambda x: x + -0.0, X)


def test_layers_share_their_functions_and_compute_each_its_own() -> None:
    rng = np.random.default_rng(0)
    weights = [rng.standard_normal((64, 64)).astype(np.float32) / 8 for _ in range(6)]
    x = rng.standard_normal((40, 64)).astype(np.float32)

    def f(x: Any, weights: Any) -> Any:
        for k, w in enumerate(weights):
            h = x @ w
            h = h - h.max(axis=-1, keepdims=True)
            x = jnp.exp(h) / jnp.exp(h).sum(axis=-1, keepdims=True) + (0.5 if k == 4 else 0.0)
        return x

    closed = simplify.simplify(pullback.make_jaxpr(f)(x, weights))
    text = emit_module(lower_program(closed, vector_bits=512, name="f")).text
    assert text.count("define internal void @kernel") < len(weights)
    expected = x.astype(np.float64)
    for k, w in enumerate(weights):
        h = expected @ w
        e = np.exp(h - h.max(axis=-1, keepdims=True))
        expected = e / e.sum(axis=-1, keepdims=True) + (0.5 if k == 4 else 0.0)
    np.testing.assert_allclose(pullback.jit(f)(x, weights), expected, rtol=1e-4, atol=1e-5)
