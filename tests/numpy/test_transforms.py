"""Functions of `jax.numpy` under jit, grad and vmap, against JAX."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy
import numpy as np
import pytest

import pullback as pb
import pullback.numpy

FUNCTIONS = """
x[1]
x[:, ::-1][..., None]
x[jnp.array([1, 0, 1])]
x[jnp.array([1, 0]), 1:]
x.at[0].set(3.0)
x.at[:, 1].add(2.0)
x.at[jnp.array([0, 0])].multiply(2.0)
x.at[0, ::2].min(2.0)
jnp.where(x > 2, x, 0)
jnp.sort(-x, axis=1)
jnp.cumsum(x, 1)
jnp.var(x, 0)
jnp.std(x)
jnp.linalg.norm(x)
jnp.einsum("ij,kj->ik", x, x)
x @ x.T
jnp.logaddexp(x, 2.0)
jnp.max(x, 1)
jnp.median(x)
jnp.clip(x, 2, 4)
x**3 + 2.0**x
jnp.sinc(x - 2)
jnp.hypot(x, 3.0)
jnp.concatenate([x, x * 2], 1)
jnp.stack([x, x])
jnp.pad(x, 1, "reflect")
jnp.roll(x, 1, 1)
jnp.interp(x.ravel(), jnp.arange(5.0), jnp.arange(5.0) ** 2)
jnp.take_along_axis(x, jnp.array([[0], [2]]), 1)
jnp.polyval(x[0], x)
jnp.convolve(x[0], x[1])
jnp.mod(x, 2.5)
jnp.trace(x[:, :2])
jnp.tril(x)
jnp.prod(x, 1)
jnp.outer(x[0], x[1])
jnp.kron(x, x)
jnp.average(x, weights=x)
jnp.cross(x[0], x[1])
jnp.repeat(x, 2, 0)
jnp.abs(x - 3)
jnp.maximum(x, 3.0)
jnp.arctan2(x, 2.0)
jnp.vectorize(lambda a: a * 2)(x)
jnp.apply_along_axis(jnp.cumsum, 1, x)
jnp.trapezoid(x)
jnp.piecewise(x, [x < 2, x >= 2], [lambda a: a**2, lambda a: -a])
jnp.log2(x) + jnp.log10(x)
jnp.quantile(x, 0.3, axis=1)
jnp.insert(x, 1, 5.0, axis=1)
jnp.linspace(x[0], x[1], 4)
"""
X = np.arange(1, 7, dtype=np.float32).reshape(2, 3)
LANES = np.stack([X, X + 1])


def functions(expression: str) -> tuple[Any, Any]:
    """The function of `x` that an expression is, for JAX and for us."""
    text = f"lambda x: {expression}"
    return (
        eval(text, {"jnp": jax.numpy, "np": np}),
        eval(text, {"jnp": pullback.numpy, "np": np}),
    )


def total(f: Any, module: Any) -> Any:
    return lambda x: module.sum(module.sin(f(x)))


def each(root: Any, f: Any, x: Any, lanes: Any) -> tuple[Any, ...]:
    """Value, values of lanes, gradient."""
    return f(x), root.numpy.stack([f(lane) for lane in lanes]), root.grad(total(f, root.numpy))(x)


@pytest.mark.parametrize("expression", FUNCTIONS.strip().splitlines())
def test_transformed(expression: str) -> None:
    theirs, ours = functions(expression)
    x, lanes = pullback.numpy.array(X), pullback.numpy.array(LANES)
    want, mapped, gradient = jax.jit(partial(each, jax, theirs))(X, LANES)
    close = {"rtol": 2e-4, "atol": 2e-4}
    np.testing.assert_allclose(pb.jit(ours)(x), want, **close)
    np.testing.assert_allclose(pb.vmap(ours)(lanes), mapped, **close)
    np.testing.assert_allclose(pb.grad(total(ours, pullback.numpy))(x), gradient, **close)


def test_second_derivatives_where_formulas_branch() -> None:
    jnp = pullback.numpy
    for f in (lambda t: jnp.sinc(t), lambda t: jnp.logaddexp(t, 0.0)):
        second = float(pb.grad(pb.grad(f))(0.0))
        step = 1e-2
        values = [float(f(np.float32(k * step))) for k in (-1, 0, 1)]
        assert abs(second - (values[0] - 2 * values[1] + values[2]) / step**2) < 1e-2


def test_no_attribute_of_a_tracer_hides_a_method() -> None:
    hidden = {}

    def look(x: Any) -> Any:
        names = {n for n in dir(pullback.numpy.ndarray) if not n.startswith("_")}
        slots = {n for cls in type(x).__mro__ for n in getattr(cls, "__slots__", ())}
        hidden[type(x).__name__] = names & slots - {"aval"}
        return x.sum()

    pb.jit(look)(X)
    pb.grad(look)(X)
    pb.vmap(look)(X)
    pb.grad(pb.jit(look))(X)
    pb.linearize(look, X)
    assert len(hidden) > 2
    assert not any(hidden.values()), hidden
    assert float(pb.jit(lambda x: x.var())(X)) == float(X.var())
