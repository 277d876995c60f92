"""Work that is the same in every turn of a loop is done in front of it, where that is cheaper."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as jnp
from pullback import lax
from pullback.core.jaxpr import JaxprEqn, subjaxprs
from pullback.passes.simplify import simplify

Array = Any


def _inside(fun: Callable[..., Any], *args: Any) -> list[str]:
    """The primitives in loops of the simplified program."""

    def names(eqn: JaxprEqn) -> list[str]:
        inner = [e for jaxpr in subjaxprs(eqn) for e in jaxpr.eqns]
        return [e.primitive.name for e in inner] + [n for e in inner for n in names(e)]

    closed = simplify(pb.make_jaxpr(fun)(*args))
    return [name for eqn in closed.jaxpr.eqns for name in names(eqn)]


def _turns(step: Callable[[Array], Array], v: Array) -> Array:
    return lax.scan(lambda v, _: (step(v), None), v, None, length=5)[0]


def _while_turns(step: Callable[[Array], Array], v: Array) -> Array:
    return lax.while_loop(lambda c: c[0] < 5, lambda c: (c[0] + 1, step(c[1])), (0, v))[1]


def _kernel(x: Array) -> Callable[[Array], Array]:
    return lambda v: jnp.exp(-((x[:, None] - x) ** 2)) @ v


def _scaled(a: Array) -> Callable[[Array], Array]:
    return lambda v: (0.5 * a / jnp.sum(a, axis=1, keepdims=True)) @ v


def _solution(a: Array) -> Callable[[Array], Array]:
    return lambda v: jnp.linalg.solve(a @ a.T + jnp.eye(len(a)), v)


def _large_constant(_: Array) -> Callable[[Array], Array]:
    table = np.arange(40.0, dtype=np.float32)
    return lambda v: v * pb.jit(lambda: jnp.sin(jnp.asarray(table)))()[: len(v)]


LOOPS = [_turns, _while_turns]
MOVED = [
    (_kernel, "x", {"exp"}),
    (_scaled, "a", {"reduce_sum", "div"}),
    (_solution, "a", {"lu", "transpose"}),
    (_large_constant, "x", {"sin"}),
]
OPERANDS = {
    "x": np.linspace(0, 1, 6, dtype=np.float32),
    "a": np.arange(36, dtype=np.float32).reshape(6, 6) % 7 + np.eye(6, dtype=np.float32),
}


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(("step", "operand", "gone"), MOVED)
def test_expensive_work_leaves_the_loop(loop: Any, step: Any, operand: str, gone: set[str]) -> None:
    given, v = OPERANDS[operand], np.linspace(1, 2, 6, dtype=np.float32)

    def program(given: Array, v: Array) -> Array:
        return loop(step(given), v)

    assert gone.isdisjoint(_inside(program, given, v))
    want = v
    for _ in range(5):
        want = step(jnp.asarray(given))(want)
    np.testing.assert_allclose(pb.jit(program)(given, v), want, rtol=2e-5)


def test_nested_loops_are_left_one_after_the_other() -> None:
    def program(x: Array, v: Array) -> Array:
        return _turns(lambda v: _while_turns(_kernel(x), v) + 1, v)

    assert "exp" not in _inside(program, OPERANDS["x"], OPERANDS["x"])


def test_the_condition_too() -> None:
    def program(a: Array, v: Array) -> Array:
        return lax.while_loop(lambda v: v[0] < jnp.max(jnp.sin(a)) + 10, lambda v: v * 2 + 1, v)

    assert {"sin", "reduce_max"}.isdisjoint(_inside(program, OPERANDS["a"], OPERANDS["x"]))


def test_cheap_work_stays() -> None:
    def program(x: Array, v: Array) -> Array:
        return _turns(lambda v: (v + 2 * x) * x[:, None].sum(1), v)

    assert _inside(program, OPERANDS["x"], OPERANDS["x"]).count("mul") == 2


def test_a_value_is_kept_before_it_is_repeated() -> None:
    def program(x: Array, v: Array) -> Array:
        return _turns(lambda v: v * jnp.broadcast_to(jnp.exp(x)[:, None], (6, 1000)), v)

    inside = _inside(program, OPERANDS["x"], jnp.ones((6, 1000)))
    assert "exp" not in inside
    assert "broadcast_in_dim" in inside


def test_one_expensive_number_does_not_move_what_it_scales() -> None:
    def program(s: Array, a: Array, v: Array) -> Array:
        return _turns(lambda v: v + a * jnp.exp(s), v)

    inside = _inside(program, 0.5, OPERANDS["a"], OPERANDS["a"])
    assert "exp" not in inside
    assert inside.count("mul") == 1


def test_what_may_not_end_and_what_acts_stays() -> None:
    def endless(x: Array, v: Array) -> Array:
        def step(v: Array) -> Array:
            return v + lax.while_loop(lambda y: y[0] < 5, lambda y: y + x, x)

        return lax.while_loop(lambda v: v[0] < 0, step, v)

    assert "while" in _inside(endless, OPERANDS["x"], OPERANDS["x"])
    zero = np.zeros(6, np.float32)
    np.testing.assert_array_equal(pb.jit(endless)(zero, zero), zero)

    seen: list[float] = []

    def telling(x: Array, v: Array) -> Array:
        def step(v: Array) -> Array:
            pb.debug.callback(lambda s: seen.append(float(s)), jnp.sum(jnp.exp(x)))
            return v + 1

        return _turns(step, v)

    pb.block_until_ready(pb.jit(telling)(zero, zero))
    pb.effects_barrier()
    assert seen == [6.0] * 5


def test_derivatives() -> None:
    x = OPERANDS["x"]

    def loss(x: Array, loop: Any) -> Array:
        return loop(_kernel(x), jnp.ones(6)).sum()

    want = pb.grad(lambda x: loss(x, lambda f, v: f(f(f(f(f(v)))))))(x)
    np.testing.assert_allclose(pb.jit(pb.grad(lambda x: loss(x, _turns)))(x), want, rtol=1e-4)
