"""What transformations make of the program of a jitted function is made once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import pullback as pb
from pullback import numpy as jnp
from pullback.transforms import staging


def _loss(w: Any, x: Any) -> Any:
    return jnp.tanh(w * x).sum()


CASES: dict[str, Callable[[Any, Any], Any]] = {
    "grad": lambda f, w: pb.grad(f)(w, 2.0),
    "jvp": lambda f, w: pb.jvp(lambda w: f(w, 2.0), (w,), (w,)),
    "vjp": lambda f, w: pb.vjp(f, w, 2.0)[1](jnp.float32(1.0)),
    "grad of grad": lambda f, w: pb.grad(lambda w: pb.grad(f)(w, 2.0).sum())(w),
    "vmap of grad": lambda f, w: pb.vmap(pb.grad(f), (0, None))(w, 2.0),
}


@pytest.mark.parametrize("case", CASES)
def test_nothing_is_staged_again(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    f, w = pb.jit(_loss), jnp.arange(3.0)
    first = CASES[case](f, w)
    staged: list[Any] = []
    before = staging._stage
    monkeypatch.setattr(staging, "_stage", lambda *a: staged.append(a) or before(*a))
    second = CASES[case](f, w + 0)
    assert staged == []
    plain = CASES[case](_loss, w)
    for x, y, z in zip(*map(pb.tree.leaves, (first, second, plain)), strict=True):
        assert x.tolist() == y.tolist()
        assert jnp.allclose(x, z, rtol=1e-5)


def test_settings_and_axes_are_told_apart() -> None:
    f = pb.jit(lambda x: pb.lax.psum(x * x, "i"))
    gradient = pb.grad(lambda x: pb.vmap(f, axis_name="i")(x).sum())
    assert gradient(jnp.arange(2.0)).tolist() == [0.0, 4.0]
    assert gradient(jnp.arange(3.0)).tolist() == [0.0, 6.0, 12.0]
    g = pb.jit(lambda x: jnp.dot(x, x))
    assert pb.grad(g)(jnp.arange(2.0)).tolist() == [0.0, 2.0]
    with pb.default_matmul_precision("highest"):
        assert "HIGHEST" in str(pb.make_jaxpr(pb.grad(g))(jnp.arange(2.0)))


def test_tracers_of_an_ended_trace_are_not_kept() -> None:
    def outer(z: Any) -> Any:
        return pb.grad(pb.jit(lambda x: x * z))(1.0)

    for value in (2.0, 3.0):
        assert float(pb.jit(outer)(value)) == value
        assert float(pb.grad(outer)(value)) == 1.0
