"""Bytes divided by constants: no division, and the bits of one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pullback import numpy as pnp
from pullback.llvm.emit_quotients import byte_factors
from tests.loops.harness import compile_function

DIVISORS = [1.0, 3.0, 7.0, 10.0, 100.0, 127.0, 127.5, 255.0, 256.0, 0.1, 0.229, 58.395, 1e-6, 1e9]


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_quotients_are_the_nearest(dtype: str) -> None:
    info = np.iinfo(dtype)
    x = np.arange(info.min, info.max + 1, dtype=dtype)

    def quotients(x: Any) -> Any:
        return [x.astype(pnp.float32) / d for d in DIVISORS]

    program = compile_function(quotients, x)
    assert "fdiv" not in program.module.text
    for d, got in zip(DIVISORS, program(x), strict=True):
        assert got.tobytes() == (x.astype(np.float32) / np.float32(d)).tobytes()


@pytest.mark.parametrize("divisor", [0.0, -3.0, float("inf"), float("nan"), 1e-30, 1e30])
def test_divisors_that_are_left_alone(divisor: float) -> None:
    assert byte_factors(divisor) is None
    x = np.arange(256, dtype=np.uint8)
    (got,) = compile_function(lambda x: x.astype(pnp.float32) / divisor, x)(x)
    with np.errstate(all="ignore"):
        expected = x.astype(np.float32) / np.float32(divisor)
    np.testing.assert_array_equal(got, expected)


def test_factors_are_found_for_any_divisor() -> None:
    many = np.exp(np.random.default_rng(0).uniform(-20, 20, 500)).astype(np.float32)
    assert all(byte_factors(float(d)) is not None for d in many)
