"""What random programs found: each failed before it was mended."""

from __future__ import annotations

from typing import Any

from tests.fuzz.laws import Case, obey
from tests.fuzz.values import array


def test_lanes_choose_a_branch_that_returns_an_argument() -> None:
    """The argument may still be NumPy's array."""

    def program(jax: Any, x: Any) -> Any:
        return (jax.lax.cond(x.sum() > 0.0, jax.numpy.sin, lambda v: v, x),)

    obey("lanes", Case(program, [array((2,), "float32")]))
