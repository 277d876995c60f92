"""`pullback.test_util` finds wrong derivatives, and accepts right ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as jnp
from pullback import test_util


def _wrong(power: float) -> Any:
    f = pb.custom_jvp(lambda x: x**3)
    f.defjvp(lambda primals, tangents: (primals[0] ** 3, power * primals[0] ** 2 * tangents[0]))
    return f


@pytest.mark.parametrize("x64", [False, True])
def test_right_derivatives_pass(x64: bool) -> None:
    with pb.enable_x64(x64):
        tree = {"a": jnp.arange(1.0, 4.0), "n": 2}
        f = lambda t, y: (jnp.sin(t["a"]) * y ** t["n"]).sum()  # noqa: E731
        test_util.check_grads(f, (tree, jnp.ones(3) / 3), order=2)
        z = jnp.array([0.5 + 1j, -1.0 + 0.25j])
        test_util.check_grads(lambda z: jnp.exp(z) * jnp.conj(z), (z,), order=2)


@pytest.mark.parametrize("modes", [("fwd",), ("rev",), ("fwd", "rev")])
def test_wrong_derivatives_fail(modes: Any) -> None:
    test_util.check_grads(_wrong(3.0), (1.5,), order=1, modes=modes)
    with pytest.raises(AssertionError):
        test_util.check_grads(_wrong(3.1), (1.5,), order=1, modes=modes)


def test_a_wrong_second_derivative_fails() -> None:
    slope = pb.custom_jvp(lambda x: 3 * x**2)
    slope.defjvp(lambda primals, tangents: (3 * primals[0] ** 2, 7 * primals[0] * tangents[0]))
    f = pb.custom_jvp(lambda x: x**3)
    f.defjvp(lambda primals, tangents: (primals[0] ** 3, slope(primals[0]) * tangents[0]))
    test_util.check_grads(f, (1.5,), order=1)
    with pytest.raises(AssertionError, match="of"):
        test_util.check_grads(f, (1.5,), order=2)


def test_wrong_values_fail() -> None:
    x = np.float32(0.5)
    with pytest.raises(AssertionError, match="primal"):
        test_util.check_jvp(jnp.sin, lambda p, t: pb.jvp(jnp.cos, p, t), (x,))
    with pytest.raises(AssertionError, match="primal"):
        test_util.check_vjp(jnp.sin, lambda v: pb.vjp(jnp.cos, v), (x,))
    with pytest.raises(ValueError, match="modes"):
        test_util.check_grads(jnp.sin, (x,), 1, modes=("sideways",))
