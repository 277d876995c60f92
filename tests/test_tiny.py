"""The whole way in a few seconds: trace, differentiate, batch, compile, run.  Runs first."""

from __future__ import annotations

from typing import Any

import numpy as np

import pullback as pb
import pullback.numpy as jnp
from pullback import lax, random


def loss(w: Any, x: Any) -> Any:
    return jnp.mean(jnp.tanh(x @ w) ** 2)


W = np.array([0.5, -1.0], np.float32)
X = np.array([[1.0, 2.0], [0.3, -0.4], [-1.0, 0.2]], np.float32)


def by_hand(w: Any, x: Any) -> Any:
    y = np.tanh(x @ w)
    return (2 * y * (1 - y * y)) @ x / len(x)


def test_gradient_eager_and_compiled() -> None:
    expected = by_hand(W, X)
    np.testing.assert_allclose(pb.grad(loss)(W, X), expected, rtol=1e-5)
    np.testing.assert_allclose(pb.jit(pb.grad(loss))(W, X), expected, rtol=1e-5)
    np.testing.assert_allclose(pb.grad(pb.jit(loss))(W, X), expected, rtol=1e-5)


def test_vmap_is_a_loop() -> None:
    per_row = pb.vmap(pb.grad(loss), in_axes=(None, 0))(W, X)
    for row, x in zip(per_row, X, strict=True):
        np.testing.assert_allclose(row, by_hand(W, x[None]), rtol=1e-5)


def test_scan_forward_and_backward() -> None:
    def power(x: Any) -> Any:
        return lax.scan(lambda c, _: (c * x, c), 1.0, None, length=5)[0]

    assert float(pb.jit(power)(2.0)) == 32.0
    assert float(pb.grad(power)(2.0)) == 80.0


def test_control_flow() -> None:
    collatz = pb.jit(
        lambda n: lax.while_loop(
            lambda s: s[0] != 1,
            lambda s: (
                lax.cond(s[0] % 2 == 0, lambda m: m // 2, lambda m: 3 * m + 1, s[0]),
                s[1] + 1,
            ),
            (n, 0),
        )[1]
    )
    assert int(collatz(27)) == 111
    assert pb.vmap(collatz)(jnp.array([1, 2, 3, 27])).tolist() == [0, 1, 7, 111]


def test_jaxpr() -> None:
    assert str(pb.make_jaxpr(lambda x: jnp.sin(x) * 2)(1.0)) == (
        "{ lambda ; a:f32[]. let b:f32[] = sin a; c:f32[] = mul b 2.0:f32[] in (c,) }"
    )


def test_random_bits_are_those_of_jax() -> None:
    key = random.key(0)
    assert random.bits(key, (3,)).tolist() == [4070199207, 4202968722, 1427181096]
