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
from pullback.passes import simplify as simplify_module
from pullback.passes.fingerprint import fingerprint
from pullback.passes.simplify import simplify


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


def test_a_second_power_is_recorded_as_one_and_compiled_as_a_square() -> None:
    closed = pullback.make_jaxpr(lambda x: (x**2, x**3))(jnp.ones(3))
    names = [(e.primitive.name, e.params.get("y")) for e in closed.jaxpr.eqns]
    assert names == [("integer_pow", 2), ("integer_pow", 3)]
    kept = [e.primitive.name for e in simplify(closed).jaxpr.eqns]
    assert kept == ["square", "integer_pow"]
    slope = pullback.make_jaxpr(pullback.grad(lambda x: x**2))(1.0)
    assert [e.primitive.name for e in slope.jaxpr.eqns] == ["integer_pow", "mul", "mul"]
    assert pullback.grad(lambda x: x**2)(3.0) == 6.0


def test_a_mean_divides_by_a_number() -> None:
    closed = pullback.make_jaxpr(lambda x: jnp.mean(x, axis=0))(jnp.ones((2, 3)))
    assert [e.primitive.name for e in closed.jaxpr.eqns] == ["reduce_sum", "div"]


def test_a_power_without_a_division_is_computed_for_all_lanes_of_a_branch() -> None:
    def f(y: int) -> Any:
        branch = pullback.vmap(lambda x: pullback.lax.cond(x > 0, lambda x: x**y, lambda x: x, x))
        return str(pullback.make_jaxpr(branch)(jnp.arange(3.0)))

    assert "cond" not in f(2)
    assert "cond" in f(-1)


def _loops(f: Any, *args: Any) -> list[str]:
    eqns = simplify(pullback.make_jaxpr(f)(*args)).jaxpr.eqns
    return [e.primitive.name for e in eqns if e.primitive.name in ("cond", "scan", "while")]


def _newton(x: Any, scale: float = 0.5, turns: Any = 5) -> Any:
    return pullback.lax.fori_loop(0, turns, lambda _, y: scale * (y + x / y), x + 1)


def test_loops_traced_twice_run_once() -> None:
    x = jnp.arange(1.0, 4.0)
    f = lambda x: (_newton(x), _newton(x), _newton(x))  # noqa: E731
    assert _loops(f, x) == ["scan"]
    for y in pullback.jit(f)(x):
        np.testing.assert_allclose(y, np.sqrt(np.arange(1.0, 4.0)), rtol=1e-3)


def test_loops_with_a_number_of_turns_known_late_run_once() -> None:
    f = lambda x, n: (_newton(x, turns=n), _newton(x, turns=n))  # noqa: E731
    assert _loops(f, jnp.ones(3), 5) == ["while"]


def test_branches_traced_twice_are_one() -> None:
    def f(p: Any, x: Any) -> Any:
        return [pullback.lax.cond(p, lambda x: jnp.sin(x), lambda x: x, x) for _ in range(2)]

    assert _loops(f, True, jnp.ones(3)) == ["cond"]


def test_loops_on_equal_operands_with_different_bodies_stay() -> None:
    x = jnp.arange(1.0, 4.0)
    scales = (0.5, 0.25, 0.5, 0.0, -0.0, 0.25)
    f = lambda x: [_newton(x, s) for s in scales]  # noqa: E731
    assert _loops(f, x) == ["scan"] * 4
    for y, s in zip(pullback.jit(f)(x), scales, strict=True):
        np.testing.assert_array_equal(y, pullback.jit(lambda x, s=s: _newton(x, s))(x))
    assert _loops(lambda x: (_newton(x), _newton(x, turns=6)), x) == ["scan"] * 2
    assert _loops(lambda x: (_newton(x), _newton(x + 1)), x) == ["scan"] * 2


def test_equal_loops_with_effects_all_run() -> None:
    def f(x: Any) -> Any:
        def body(_: Any, y: Any) -> Any:
            pullback.debug.print("{}", y)
            return y + 1

        return pullback.lax.fori_loop(0, 3, body, x)

    assert _loops(lambda x: (f(x), f(x)), 1.0) == ["scan"] * 2


def test_loops_with_nothing_in_common_are_not_digested(monkeypatch: pytest.MonkeyPatch) -> None:
    digested: list[Any] = []
    digest = simplify_module._digest
    monkeypatch.setattr(simplify_module, "_digest", lambda eqn: digested.append(eqn) or digest(eqn))
    x = jnp.arange(1.0, 4.0)
    _loops(lambda x: [_newton(x + k) for k in range(4)], x)
    assert len(digested) == 0
    _loops(lambda x: [_newton(x, 0.5 + k) for k in range(4)], x)
    assert len(digested) == 4
