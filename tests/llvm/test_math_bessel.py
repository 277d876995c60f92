"""i0e and i1e: accuracy against mpmath, special values, widths."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from mpmath import mp, mpf

from pullback.llvm.math.bessel_function import BETWEEN, NEAR
from tests.llvm.math_harness import compiled, error_in_ulps
from tests.llvm.test_math import TYPE, assert_accurate, assert_same_bits, wide

EXACT: dict[str, Callable[[mpf], mpf]] = {
    "bessel_i0e": lambda v: mp.exp(-abs(v)) * mp.besseli(0, v),
    "bessel_i1e": lambda v: mp.exp(-abs(v)) * mp.besseli(1, v),
}


def _inputs() -> Any:
    rng = np.random.default_rng(8)
    pieces = [
        rng.uniform(-10, 10, 600), rng.normal(size=400), rng.uniform(-80, 80, 400),
        NEAR + rng.uniform(-0.5, 0.5, 400), -np.exp2(rng.uniform(-140, 120, 300)),
    ]  # fmt: skip
    return np.concatenate(pieces).astype(np.float32)


@pytest.mark.parametrize("name", EXACT)
def test_accuracy(name: str) -> None:
    x = _inputs()
    with mp.workdps(60):
        exact = np.array([np.longdouble(float(EXACT[name](mpf(v)))) for v in x.tolist()])
    assert_accurate(name, [x], compiled(name, "f32", 16)(x), exact)


@pytest.mark.parametrize("dtype", TYPE)
def test_special_values(dtype: str) -> None:
    x = np.array([np.inf, -np.inf, np.nan, 0.0, -0.0, 3e38, -3e38, 1e-45], TYPE[dtype])
    even, odd = (compiled(name, dtype, 8)(x) for name in EXACT)
    assert np.array_equal(even[:5], [0, 0, np.nan, 1, 1], equal_nan=True)
    assert np.array_equal(odd[:5], [0, 0, np.nan, 0, 0], equal_nan=True)
    assert np.array_equal(np.signbit(odd[[0, 1, 3, 4]]), [False, True, False, True])
    assert even[5] == even[6] == odd[5] == -odd[6] > 0
    assert even[7] == 1


def _double_inputs() -> Any:
    rng = np.random.default_rng(9)
    scales = np.exp2(rng.uniform(-1070, 1020, 300))
    return np.concatenate([_inputs().astype(np.float64), BETWEEN + rng.normal(size=400), scales])


@pytest.mark.parametrize("name", EXACT)
def test_accuracy_of_doubles(name: str) -> None:
    x = _double_inputs()
    with mp.workdps(60):
        exact = np.array([wide(EXACT[name](mpf(v))) for v in x.tolist()])
    errors = error_in_ulps(compiled(name, "f64", 8)(x), exact)
    worst = int(np.argmax(errors))
    # Rounding x^2 alone costs up to 2 of them before the polynomial, which is steep there.
    assert errors[worst] <= 3.5, (x[worst], float(errors[worst]))


@pytest.mark.parametrize("dtype", TYPE)
@pytest.mark.parametrize("name", EXACT)
def test_same_bits_at_every_width(name: str, dtype: str) -> None:
    assert_same_bits(name, dtype, [_inputs()[:2096].astype(TYPE[dtype])])
