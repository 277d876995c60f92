"""Divisions by constants, and by what a loop does not change: no division, and the bits of one."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from pullback import config
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


RNG = np.random.default_rng(0)
SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0]
MANTISSAS = (np.arange(1 << 23, dtype=np.uint32) | 0x3F800000).view(np.float32)


def same_bits(got: Any, expected: Any) -> None:
    """Equal, zeros with their signs; NaNs are all one."""
    nan = np.isnan(expected)
    np.testing.assert_array_equal(np.isnan(got), nan)
    assert got[~nan].tobytes() == expected[~nan].tobytes()


def quotient(x: Any, y: Any) -> Any:
    return x / y


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_quotients_by_one_number_are_the_nearest(dtype: str) -> None:
    info = np.finfo(dtype)
    word = f"u{info.bits // 8}"
    anything = RNG.integers(0, 1 << (info.bits - 1), 50_000, dtype=word) * 2
    x = np.concatenate([anything.view(dtype), RNG.normal(size=9000).astype(dtype)])
    x[::100] = np.resize([*SPECIAL, info.tiny, -info.tiny / 8, info.max], x[::100].size)
    with config.x64.override(True):
        program = compile_function(quotient, x, x[0])
        assert program.module.text.count("@pb_quotient_") == 2  # defined, and called once
        divisors = [*SPECIAL, 3.0, -3.0, 1.9999999, 127.0, 1e-18, 9e17, 1e-30, 1e30, 1e-42]
        for y in np.array([*divisors, info.tiny, info.max, *RNG.normal(size=20)], dtype):
            with np.errstate(all="ignore"):
                expected = x / y
            same_bits(program(x, y)[0], expected)


def test_every_mantissa_is_divided_right() -> None:
    program = compile_function(quotient, MANTISSAS, MANTISSAS[0])
    for y in np.array([3.0, 127.0, 1.9999999, 1.0000001, *RNG.uniform(1, 2, 4)], np.float32):
        assert program(MANTISSAS, y)[0].tobytes() == (MANTISSAS / y).tobytes()


def test_divisions_are_of_scalars_and_constants() -> None:
    """One division a row, none by a constant; powers of two are factors of the compiler's."""
    x = RNG.normal(size=(64, 512)).astype(np.float32)
    rows = compile_function(lambda x: x / pnp.abs(x).max(axis=1, keepdims=True), x)
    same_bits(rows(x)[0], x / np.abs(x).max(axis=1, keepdims=True))
    assert rows.module.text.count("fdiv") == 2  # of a scalar, and where a vector is divided
    assert len(re.findall(r"call <\d+ x float> @pb_quotient_v", rows.module.text)) == 1
    constant = compile_function(lambda x: x / 1.7, x)
    same_bits(constant(x)[0], x / np.float32(1.7))
    assert len(re.findall(r"call <\d+ x float> @pb_quotient_v", constant.module.text)) == 1
    power = compile_function(lambda x: x / 4.0, x)
    assert "pb_quotient" not in power.module.text


def test_what_all_steps_of_a_kernel_load_is_loaded_once() -> None:
    x = RNG.normal(size=70_000).astype(np.float32)
    text = compile_function(lambda x, y: x * y, x, x[0]).module.text
    before, loop = text[text.index("define internal void @kernel") :].split("loop", 1)
    assert before.count("load float") == 1
    assert "load float" not in loop.split("ret void", 1)[0]
