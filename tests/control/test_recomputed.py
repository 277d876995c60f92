"""Loops keep no rows of what a few operations make from other rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as jnp
from pullback import lax
from pullback.control import scan
from pullback.core.jaxpr import verify

Array = Any
XS = np.linspace(-1, 1, 20, dtype=np.float32).reshape(5, 4)
W = np.cos(np.arange(16, dtype=np.float32)).reshape(4, 4)


def _sigmoid(h: Array, x: Array, w: Array) -> Array:
    return pb.lax.logistic(h @ w + x)


def _tanh(h: Array, x: Array, w: Array) -> Array:
    return jnp.tanh(h @ w + x)


def _gated(h: Array, x: Array, w: Array) -> Array:
    gate = pb.lax.logistic(h @ w)
    return gate * h + (1 - gate) * jnp.tanh(x @ w)


def _rectified(h: Array, x: Array, w: Array) -> Array:
    return jnp.maximum(h @ w + x, 0)


def _exponential(h: Array, x: Array, w: Array) -> Array:
    return jnp.exp(-jnp.sin(h @ w + x))


STEPS = [_sigmoid, _tanh, _gated, _rectified, _exponential]
Step = Callable[[Array, Array, Array], Array]


def _loss(step: Step) -> Callable[[Array], Array]:
    def loss(w: Array) -> Array:
        h, ys = lax.scan(lambda h, x: (step(h, x, w), h), jnp.ones(4), XS)
        return jnp.sum(h * h) + jnp.sum(ys)

    return loss


def _rows(step: Step) -> int:
    """The rows that the backward loop reads."""
    closed = pb.make_jaxpr(pb.grad(_loss(step)))(W)
    verify(closed.jaxpr)
    loop = [eqn for eqn in closed.jaxpr.eqns if eqn.primitive.name == "scan"][-1]
    return len(loop.invars) - loop.params["num_consts"] - loop.params["num_carry"]


@pytest.mark.parametrize(
    ("step", "without", "rows"),
    [(_sigmoid, 3, 3), (_tanh, 3, 3), (_gated, 8, 5)],
)
def test_slopes_are_made_from_values(
    step: Step, without: int, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _rows(step) == rows
    monkeypatch.setattr(scan, "without_cheap_residuals", lambda split: split)
    assert _rows(step) == without


@pytest.mark.parametrize("step", STEPS)
def test_bits_are_those_of_what_would_be_kept(step: Step, monkeypatch: pytest.MonkeyPatch) -> None:
    loss = _loss(step)
    got = pb.jit(pb.grad(loss))(W), pb.grad(loss)(W), pb.hessian(loss)(W)
    monkeypatch.setattr(scan, "without_cheap_residuals", lambda split: split)
    want = pb.jit(pb.grad(_loss(step)))(W), pb.grad(_loss(step))(W), pb.hessian(_loss(step))(W)
    for a, b in zip(got[:2], want[:2], strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_allclose(got[2], want[2], rtol=1e-4, atol=1e-4)
