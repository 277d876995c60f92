"""What is known while expressions are built has the bits that it would have when computed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pullback import numpy as pnp
from pullback.loops.expr import Axis, Const, Load, affine
from pullback.loops.folding import fold_floats
from pullback.loops.ir import Buffer
from tests.loops.harness import compile_function

F32 = np.dtype(np.float32)
SPECIAL = np.array([0.0, -0.0, 1.5, -3.0, np.inf, -np.inf, np.nan, 1e-45, 3e38], np.float32)
X = Load(Buffer(F32, 9, "arg"), affine(Axis(9)))


@pytest.mark.parametrize(("name", "number"), [("mul", 1), ("div", 1), ("sub", 0.0), ("add", -0.0)])
def test_operations_that_change_nothing(name: str, number: float) -> None:
    assert fold_floats(name, X, Const(float(number), F32)) is X
    operation = {"mul": np.multiply, "div": np.divide, "sub": np.subtract, "add": np.add}[name]
    assert operation(SPECIAL, np.float32(number)).tobytes() == SPECIAL.tobytes()


@pytest.mark.parametrize(
    ("name", "number"), [("add", 0.0), ("sub", -0.0), ("mul", 0.0), ("mul", -1.0), ("max", 0.0)]
)
def test_operations_that_may_change_something(name: str, number: float) -> None:
    assert fold_floats(name, X, Const(number, F32)) is None


@pytest.mark.parametrize("name", ["add", "sub", "mul", "div"])
def test_numbers(name: str) -> None:
    for a in (0.1, 3.0, -7.5):
        for b in (0.3, 1e30, -0.0):
            found = fold_floats(name, Const(a, F32), Const(b, F32))
            assert isinstance(found, Const)
            with np.errstate(divide="ignore"):
                exact = getattr(np, {"div": "divide", "sub": "subtract", "mul": "multiply"}.get(
                    name, name))(np.float32(a), np.float32(b))  # fmt: skip
            assert np.float32(found.value).tobytes() == exact.tobytes()


def test_arrays_of_one_number_are_not_stored() -> None:
    def f(x: Any) -> Any:
        ones = pnp.ones(1000, np.float32)
        scale = ones / (ones + ones)
        return [pnp.cumsum(x * scale), pnp.exp(x) * scale]

    program = compile_function(f, np.ones(1000, np.float32))
    assert "div" not in program.loops
    assert "0.5" in program.loops
