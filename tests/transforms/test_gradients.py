"""`grad` pulls the cotangent back over the tape, without a jaxpr in between."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as jnp
from pullback import lax
from pullback.core.primitive import Linear
from pullback.transforms import linearize, transpose


def test_no_jaxpr_is_made_of_the_tape(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Any:
        raise AssertionError("a jaxpr was made")

    monkeypatch.setattr(linearize, "close_recorded", refuse)
    value, slope = pb.value_and_grad(lambda x, y: jnp.sum(jnp.sin(x) * y), argnums=(1, 0))(
        jnp.arange(3.0), 2.0
    )
    x = np.arange(3.0, dtype=np.float32)
    np.testing.assert_allclose(value, 2 * np.sin(x).sum(), rtol=1e-6)
    np.testing.assert_allclose(slope[0], np.sin(x).sum(), rtol=1e-6)
    np.testing.assert_allclose(slope[1], 2 * np.cos(x), rtol=1e-6)


def test_equations_with_effects_go_through_a_jaxpr(capsys: pytest.CaptureFixture[str]) -> None:
    def f(x: Any) -> Any:
        pb.debug.print("here {}", x)
        return lax.fori_loop(0, 3, lambda i, c: c * x, x)

    np.testing.assert_allclose(pb.grad(f)(2.0), 4 * 2.0**3)
    pb.effects_barrier()
    assert capsys.readouterr().out.count("here") == 1


def test_results_that_do_not_move() -> None:
    assert float(pb.grad(lambda x: jnp.floor(x) * 2)(1.5)) == 0
    assert float(pb.grad(lambda x: 3.0)(1.5)) == 0
    np.testing.assert_array_equal(pb.grad(lambda x: jnp.zeros(()))(jnp.ones(2)), np.zeros(2))


def test_auxiliary_results_and_keywords() -> None:
    def f(x: Any, *, scale: Any) -> Any:
        y = jnp.sin(x) * scale
        return y, {"name": "aux", "y": y}

    (value, aux), slope = pb.value_and_grad(f, has_aux=True)(0.5, scale=2.0)
    np.testing.assert_allclose(value, 2 * np.sin(0.5), rtol=1e-6)
    assert aux["name"] == "aux"
    np.testing.assert_array_equal(aux["y"], value)
    np.testing.assert_allclose(slope, 2 * np.cos(0.5), rtol=1e-6)


def test_a_tape_may_be_pulled_and_closed() -> None:
    tape = linearize.linear_tape(lambda x, y: [jnp.sin(x) * y], [jnp.ones(2), 3.0], [True, True])
    direct = transpose.backward_tape(tape, [jnp.ones(2)])
    closed = tape.closed()
    args = [Linear(v.aval) for v in closed.jaxpr.invars]
    through = transpose.backward_pass(closed.jaxpr, closed.consts, args, [jnp.ones(2)])
    for a, b in zip(direct, through, strict=True):
        np.testing.assert_array_equal(a, b)


def test_names_of_gradients() -> None:
    def f(x: float) -> float:
        """Twice."""
        return 2 * x

    assert pb.grad(f).__name__ == "f"
    assert pb.grad(f).__wrapped__ is f  # type: ignore[attr-defined]
    assert pb.value_and_grad(f).__doc__ == "Twice."
