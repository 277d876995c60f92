"""i0e and i1e in single precision: accuracy against mpmath, special values, widths."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from mpmath import mp, mpf

from pullback.llvm.math.bessel_function import NEAR
from tests.llvm.math_harness import compiled
from tests.llvm.test_math import assert_accurate, assert_same_bits

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


def test_special_values() -> None:
    x = np.array([np.inf, -np.inf, np.nan, 0.0, -0.0, 3e38, -3e38, 1e-45], np.float32)
    even, odd = (compiled(name, "f32", 8)(x) for name in EXACT)
    assert np.array_equal(even[:5], [0, 0, np.nan, 1, 1], equal_nan=True)
    assert np.array_equal(odd[:5], [0, 0, np.nan, 0, 0], equal_nan=True)
    assert np.array_equal(np.signbit(odd[[0, 1, 3, 4]]), [False, True, False, True])
    assert even[5] == even[6] == odd[5] == -odd[6] > 0
    assert even[7] == 1


@pytest.mark.parametrize("name", EXACT)
def test_same_bits_at_every_width(name: str) -> None:
    assert_same_bits(name, "f32", [_inputs()[:2096]])
