"""A few random programs, always the same, and whether the laws notice what is wrong."""

from __future__ import annotations

from typing import Any

import hypothesis
import numpy as np
import pytest

import pullback.numpy as jnp
from tests.fuzz.lattice import Type, join
from tests.fuzz.laws import LAWS, Case, case_of, environment, obey
from tests.fuzz.noise import spread
from tests.fuzz.program import Program
from tests.fuzz.strategies import programs
from tests.fuzz.values import array


@pytest.mark.parametrize("law", LAWS)
def test_programs_obey(law: str) -> None:
    @hypothesis.settings(max_examples=6, database=None)
    @hypothesis.given(programs(smooth=LAWS[law][0]))
    def search(p: Program) -> None:
        obey(law, case_of(p))

    search()


@hypothesis.settings(max_examples=20, database=None)
@hypothesis.given(programs())
def test_a_printed_program_is_a_test(p: Program) -> None:
    asked: list[Any] = []
    scope = {"array": array, "Case": Case, "obey": lambda law, case: asked.append((law, case))}
    exec(p.as_test("values"), scope)
    scope["test_"]()
    ((law, case),) = asked
    assert law == "values"
    assert (case.wide, case.forward) == (p.wide, p.forward)
    assert (case.reversible, case.mixed) == (p.reversible, p.mixed)
    for x, y in zip(case.inputs, p.values(), strict=True):
        np.testing.assert_array_equal(x, y)


def _differs_when_traced(jax: Any, x: Any) -> Any:
    return (jax.numpy.sin(x) * (1.0 if type(x).__name__ == "ArrayImpl" else 1.001),)


def _wrong_derivative(jax: Any, x: Any) -> Any:
    f = jax.custom_jvp(jax.numpy.sin)
    f.defjvp(lambda xs, ts: (jax.numpy.sin(*xs), ts[0] * 1.01 * jax.numpy.cos(*xs)))
    return (f(x),)


@pytest.mark.parametrize(
    ("law", "program"),
    [
        ("values", _differs_when_traced),
        ("against_jax", lambda jax, x: (x * (1.0 if jax.__name__ == "jax" else 1.001),)),
        ("against_jax", lambda jax, x: (2.0 * (1 if jax.__name__ == "jax" else x[0] * 0 + 1),)),
        ("lanes", _differs_when_traced),
        ("smooth_derivatives", _wrong_derivative),
    ],
)
def test_laws_notice(law: str, program: Any) -> None:
    with pytest.raises(AssertionError):
        obey(law, Case(program, [array((5,), "float64", 3)], wide=True))


def test_rounding_moves_results_a_little_and_jumps_a_lot() -> None:
    x = np.float32(0.1) * np.arange(1, 8, dtype=np.float32)

    def f() -> Any:
        return jnp.sin(x) * 3, jnp.floor(jnp.sqrt(jnp.asarray(x) * 0 + 4))

    with environment(wide=False):
        moved = spread(f, 8)
    smooth = np.stack([m[0] for m in moved])
    assert 0 < np.ptp(smooth, 0).max() < 1e-5
    assert np.ptp([m[1] for m in moved]) == 1


@pytest.mark.parametrize(
    ("types", "wide", "want"),
    [
        ([("int32", False), ("float64", True)], False, ("float32", True)),
        ([("bfloat16", False), ("float16", False)], False, ("float32", False)),
        ([("uint32", False), ("int8", False)], True, ("int64", False)),
        ([("uint64", False), ("int8", False)], True, ("float64", True)),
        ([("float16", False), ("complex128", True)], True, ("complex64", False)),
    ],
)
def test_the_lattice(types: Any, wide: bool, want: Any) -> None:
    assert join(tuple(types), wide) == want
    assert Type((2, 0), want[0]).size == 0
