"""Where the user's code is found on the stack."""

from __future__ import annotations

from typing import Any

import pytest

import pullback as jax
import pullback.numpy as jnp
from pullback import make_jaxpr
from pullback.core import source


def test_equations_know_the_line_that_made_them() -> None:
    def f(x: Any) -> Any:
        return jnp.sin(x)

    (eqn,) = make_jaxpr(f)(1.0).eqns
    assert eqn.source_info.function == "f"
    assert eqn.source_info.file == __file__
    assert eqn.source_info.line == f.__code__.co_firstlineno + 1


def test_files_are_looked_at_once(monkeypatch: Any) -> None:
    first, second = (compile("pass", "somewhere.py", "exec") for _ in range(2))
    assert not source.is_ours(first)
    assert source._ours["somewhere.py"] is False
    monkeypatch.setitem(source._ours, "somewhere.py", True)
    assert source.is_ours(second)


def _walks(monkeypatch: Any, fun: Any, x: Any) -> tuple[int, Any]:
    """How often the stack is walked while a function is traced, and what is traced."""
    walks = 0
    walk = source.user_frame

    def counted(frame: Any) -> Any:
        nonlocal walks
        walks += 1
        return walk(frame)

    monkeypatch.setattr(source, "user_frame", counted)
    closed = make_jaxpr(fun)(x)
    monkeypatch.undo()
    return walks, closed


@pytest.mark.parametrize("transform", ["grad", "jvp"])
def test_a_rule_walks_the_stack_once(transform: str, monkeypatch: Any) -> None:
    """One for the argument, one for each operation of the user's, some for `grad` itself."""

    def f(x: Any) -> Any:
        y = jnp.tanh(x)
        for _ in range(20):
            y = jax.nn.sigmoid(y)
        return y

    make = {
        "grad": lambda x: jax.grad(f)(x),
        "jvp": lambda x: jax.jvp(f, (x,), (x,)),
    }[transform]
    walks, closed = _walks(monkeypatch, make, jnp.float32(1.0))
    assert walks <= 28 < len(closed.eqns)
    lines = {e.source_info.line - f.__code__.co_firstlineno for e in closed.eqns}
    assert {1, 3} <= lines


def test_arguments_have_one_line(monkeypatch: Any) -> None:
    walks, closed = _walks(monkeypatch, lambda xs: xs[0] + xs[1], [jnp.float32(1.0)] * 50)
    assert len(closed.jaxpr.invars) == 50
    assert walks <= 3


def test_rules_of_users_have_their_own_lines() -> None:
    """Also where rules of ours are around them."""

    @jax.custom_jvp
    def f(x: Any) -> Any:
        return jnp.sin(x)

    @f.defjvp
    def rule(primals: Any, tangents: Any) -> Any:
        return f(primals[0]), jnp.cos(primals[0]) * tangents[0]

    closed = make_jaxpr(lambda x: jax.jvp(f, (x,), (x,)))(1.0)
    (cos,) = [e for e in closed.eqns if e.primitive.name == "cos"]
    assert cos.source_info.function == "rule"

    @jax.custom_batching.custom_vmap
    def g(x: Any) -> Any:
        return jnp.sin(x)

    @g.def_vmap
    def lanes(axis_size: int, in_batched: Any, x: Any) -> Any:
        return jnp.cos(x), True

    closed = make_jaxpr(lambda x: jax.vmap(g)(x))(jnp.ones(3))
    (cos,) = [e for e in closed.eqns if e.primitive.name == "cos"]
    assert cos.source_info.function == "lanes"


def test_hidden_paths_are_not_the_users() -> None:
    code = compile("pass", "/library/module.py", "exec")
    assert not source.is_ours(code)
    source.hide_path("/library/")
    try:
        assert source.is_ours(code)
    finally:
        source.hidden_paths.remove("/library/")
        source._ours.clear()
