"""`named_scope` in jaxprs: on equations, through transformations, and in their text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as xnp
import pytest

import pullback as pb
import pullback.numpy as jnp
from pullback import lax


def scoped(lib: Any, np_: Any) -> Callable[[Any], Any]:
    def f(x: Any) -> Any:
        with lib.named_scope("layer"):
            y = np_.sin(x)
            with lib.named_scope("inner"):
                y = y * 2
        return np_.cos(y)

    return f


def stacks(jaxpr: Any) -> list[str]:
    """The name stacks of the equations, inner jaxprs included."""
    found = []
    for eqn in jaxpr.eqns:
        found.append(str(eqn.source_info.name_stack))
        inner = eqn.params.get("jaxpr")
        if inner is not None:
            found.append(stacks(inner))
    return found


TRANSFORMS: dict[str, Callable[[Any], Any]] = {
    "none": lambda lib: lambda f: f,
    "jit": lambda lib: lib.jit,
    "vmap": lambda lib: lambda f: lambda x: lib.vmap(f)(x[None]),
    "vmap of jit": lambda lib: lambda f: lambda x: lib.vmap(lib.jit(f))(x[None]),
    "grad": lambda lib: lib.grad,
    "jvp": lambda lib: lambda f: lambda x: lib.jvp(f, (x,), (x,)),
}


@pytest.mark.parametrize("name", sorted(TRANSFORMS))
def test_stacks_are_those_of_jax(name: str) -> None:
    ours = pb.make_jaxpr(TRANSFORMS[name](pb)(scoped(pb, jnp)))(jnp.float32(1))
    theirs = jax.make_jaxpr(TRANSFORMS[name](jax)(scoped(jax, xnp)))(xnp.float32(1))
    assert set(map(str, stacks(ours))) == set(map(str, stacks(theirs)))


def test_a_kept_program_has_the_scopes_of_its_own() -> None:
    f = pb.jit(scoped(pb, jnp))
    expected = ["layer", "layer/inner", ""]
    for name in ("one", "two"):

        def g(x: Any, name: str = name) -> Any:
            with pb.named_scope(name):
                return f(x)

        assert stacks(pb.make_jaxpr(g)(1.0)) == [name, expected]


def test_bodies_of_loops() -> None:
    def f(x: Any) -> Any:
        with pb.named_scope("loop"):
            return lax.scan(lambda c, _: (scoped(pb, jnp)(c), None), x, None, length=3)[0]

    jaxpr = pb.make_jaxpr(f)(1.0)
    assert stacks(jaxpr) == ["loop", ["layer", "layer/inner", ""]]


def test_texts() -> None:
    jaxpr = pb.make_jaxpr(scoped(pb, jnp))(1.0)
    assert "#" not in jaxpr.pretty_print() == str(jaxpr)
    lines = jaxpr.pretty_print(name_stack=True).splitlines()
    assert [line.split("  # ")[1] for line in lines[1:-1]] == ["[layer]", "[layer/inner]", "[]"]
    lines = jaxpr.pretty_print(source_info=True, name_stack=True).splitlines()
    assert all(f"{__file__}:" in line for line in lines[1:-1])
    assert "[layer] " in lines[1]
