"""Differential equations against SciPy and closed forms, the adjoint against finite differences."""

from typing import Any

import jax as real_jax
import jax.experimental.ode
import numpy as np
import pytest
import scipy.integrate

import pullback as pb
import pullback.numpy as jnp
from pullback.experimental.ode import odeint


def pendulum(root: Any) -> Any:
    return lambda y, t, m, g: root.stack([y[1], -m * y[1] - g * root.sin(y[0])])


def test_solution_is_that_of_scipy_and_jax() -> None:
    t = np.linspace(0, 4, 9)
    y0 = np.array([np.pi - 0.1, 0.0])
    with pb.enable_x64(True):
        found = pb.jit(lambda y, t: odeint(pendulum(jnp), y, t, 0.25, 9.8))(y0, t)
        truth = scipy.integrate.solve_ivp(
            lambda t, y: pendulum(np)(y, t, 0.25, 9.8), (0, 4), y0, t_eval=t, rtol=1e-11, atol=1e-12
        ).y.T
        np.testing.assert_allclose(found, truth, atol=1e-6)
    single = odeint(pendulum(jnp), jnp.asarray(y0, "float32"), jnp.asarray(t, "float32"), 0.25, 9.8)
    theirs = real_jax.experimental.ode.odeint(
        pendulum(real_jax.numpy), y0.astype("float32"), t.astype("float32"), 0.25, 9.8
    )
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, theirs, atol=2e-4)


def test_pytrees_complex_numbers_and_scalars() -> None:
    t = jnp.array([0.0, 0.5, 1.0])
    found = odeint(
        lambda y, t: {"a": -y["a"], "b": 2 * t * jnp.ones(2)}, {"a": 1.0, "b": jnp.zeros(2)}, t
    )
    np.testing.assert_allclose(found["a"], np.exp(-t), rtol=1e-5)
    np.testing.assert_allclose(found["b"], np.stack([t**2, t**2], 1), atol=1e-6)
    turned = odeint(lambda y, t: 1j * y, jnp.array([1.0 + 0j]), t)
    np.testing.assert_allclose(turned[:, 0], np.exp(1j * t), atol=1e-5)
    assert odeint(lambda y, t: y, 1.0, t).shape == (3,)


def test_limits_of_steps() -> None:
    t = jnp.array([0.0, 10.0])
    few = odeint(lambda y, t: -y, jnp.ones(1), t, mxstep=2)
    assert float(few[1, 0]) > 0.5
    count = 0

    def counted(y: Any, t: Any) -> Any:
        nonlocal count
        pb.debug.callback(tick)
        return -y

    def tick() -> None:
        nonlocal count
        count += 1

    odeint(counted, jnp.ones(1), t, rtol=1e-2, atol=1e-2, hmax=0.1)
    assert count > 600


@pytest.mark.parametrize("closed_over", [False, True])
def test_adjoint(closed_over: bool) -> None:
    with pb.enable_x64(True):
        y0, t, theta = np.array([0.6, -0.4]), np.array([0.1, 0.7, 1.5]), np.array([0.3, 2.0])
        weights = np.random.default_rng(0).normal(size=(3, 2))

        def loss(y0: Any, t: Any, theta: Any) -> Any:
            def slope(y: Any, t: Any, *args: Any) -> Any:
                return pendulum(jnp)(y, t, *(theta if closed_over else args)) * (1 + 0.1 * t)

            args = () if closed_over else (theta[0], theta[1])
            out = odeint(slope, y0, t, *args, rtol=1e-10, atol=1e-10)
            return jnp.sum(weights * out)

        at = [y0, t, theta]
        slopes = pb.jit(pb.grad(loss, argnums=(0, 1, 2)))(*at)
        compiled = pb.jit(loss)
        for k, slope in enumerate(slopes):
            step = np.random.default_rng(k).normal(size=at[k].shape)
            ends = []
            for sign in (1e-5, -1e-5):
                moved = list(at)
                moved[k] = at[k] + sign * step
                ends.append(float(compiled(*moved)))
            np.testing.assert_allclose(slope @ step, (ends[0] - ends[1]) / 2e-5, rtol=1e-5)


def test_integers_among_the_arguments() -> None:
    def loss(y0: Any) -> Any:
        return odeint(lambda y, t, n: -y * n, y0, jnp.array([0.0, 1.0]), 2)[-1]

    np.testing.assert_allclose(pb.grad(loss)(1.0), np.exp(-2.0), rtol=1e-4)


def test_lanes() -> None:
    t = jnp.array([0.0, 1.0])
    rates = jnp.array([0.5, 1.0, 5.0])
    found = pb.vmap(lambda k: odeint(lambda y, t: -k * y, jnp.array(1.0), t)[-1])(rates)
    np.testing.assert_allclose(found, np.exp(-rates), rtol=1e-4)


def test_errors() -> None:
    with pytest.raises(TypeError, match="must be arrays or scalars"):
        odeint(lambda y, t, f: y, 1.0, jnp.array([0.0, 1.0]), "x")
    with pytest.raises(TypeError, match="integers"):
        odeint(lambda y, t: y, 1.0, jnp.arange(3))
