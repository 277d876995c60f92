"""lgamma, and digamma in single precision: accuracy against mpmath, special values, widths."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from mpmath import mp, mpf

from tests.llvm.math_harness import compiled, error_in_ulps
from tests.llvm.test_math import assert_accurate, assert_same_bits, wide

ZEROS = (1.0, 2.0, 1.46163214, -0.504083008, -1.573498473, -2.457024738, -2.747682647)


def _lgamma(v: mpf) -> mpf:
    if v <= 0 and v == mp.floor(v):
        return mp.inf
    return mp.loggamma(v) if v > 0 else mp.log(mp.pi / abs(mp.sinpi(v))) - mp.loggamma(1 - v)


def _digamma(v: mpf) -> mpf:
    return mp.nan if v <= 0 and v == mp.floor(v) else mp.digamma(v)


EXACT: dict[str, Callable[[mpf], mpf]] = {"lgamma": _lgamma, "digamma": _digamma}


def _inputs() -> Any:
    rng = np.random.default_rng(8)
    zeros = np.array(ZEROS, np.float32)[:, None]
    pieces = [
        (zeros + np.arange(-12, 13) * np.spacing(zeros)).ravel(),
        rng.uniform(-30, 40, 1200), rng.uniform(0, 3, 800), np.exp2(rng.uniform(-120, 120, 400)),
        -np.exp2(rng.uniform(-120, 24, 300)),
    ]  # fmt: skip
    return np.concatenate(pieces).astype(np.float32)


@pytest.mark.parametrize("name", EXACT)
def test_accuracy(name: str) -> None:
    x = _inputs()
    with mp.workdps(40), np.errstate(over="ignore"):
        exact = np.array([np.longdouble(float(EXACT[name](mpf(v)))) for v in x.tolist()])
        assert_accurate(name, [x], compiled(name, "f32", 16)(x), exact)


def test_special_values() -> None:
    x = np.array([np.inf, -np.inf, np.nan, 0.0, -0.0, -1.0, -7.0, 1.0, 2.0, 3e38], np.float32)
    with np.errstate(all="ignore"):
        found = compiled("lgamma", "f32", 8)(x)
    inf, nan = np.inf, np.nan
    assert np.array_equal(found[:9], [inf, inf, nan, inf, inf, inf, inf, 0, 0], equal_nan=True)
    assert found[9] == inf
    found = compiled("digamma", "f32", 8)(x)
    assert np.array_equal(found[:7], [inf, nan, nan, nan, nan, nan, nan], equal_nan=True)


@pytest.mark.parametrize("name", EXACT)
def test_same_bits_at_every_width(name: str) -> None:
    assert_same_bits(name, "f32", [_inputs()[:2400]])


def _double_inputs() -> Any:
    """Usual sizes, every scale, and close to the zeros at 1 and 2."""
    rng = np.random.default_rng(9)
    close = rng.normal(size=400) * np.exp2(rng.uniform(-50, -1, 400))
    pieces = [
        rng.uniform(0, 10, 1200), 1 + close, 2 + close, rng.uniform(-2, 0, 400),
        np.exp2(rng.uniform(-1070, 0, 200)), -np.exp2(rng.uniform(-1070, -1, 200)),
        rng.uniform(8, 200, 300), np.exp2(rng.uniform(3, 1014, 300)),
    ]  # fmt: skip
    return np.concatenate(pieces)


def test_lgamma_of_doubles() -> None:
    x = _double_inputs()
    with mp.workdps(40):
        exact = np.array([wide(_lgamma(mpf(v))) for v in x.tolist()])
    errors = error_in_ulps(compiled("lgamma", "f64", 8)(x), exact)
    worst = int(np.argmax(errors))
    # Close to 3/2 it is the difference of two numbers thrice its size.
    assert errors[worst] <= 4.0, (x[worst], float(errors[worst]))


def test_lgamma_of_doubles_left_of_its_last_pole_but_one() -> None:
    """Next to the zeros there the error is one of 1."""
    x = np.random.default_rng(10).uniform(-30, -2, 600)
    with mp.workdps(40):
        exact = np.array([wide(_lgamma(mpf(v))) for v in x.tolist()])
    found = compiled("lgamma", "f64", 8)(x)
    assert np.max(np.abs(found - exact) / np.maximum(1, np.abs(exact))) <= 3 * np.finfo(float).eps


def test_special_doubles() -> None:
    inf = np.inf
    cases = [
        (0, inf), (-0.0, inf), (-1, inf), (-7, inf), (inf, inf), (-inf, inf), (1, 0), (2, 0),
        (1e308, inf), (-1e308, inf), (-(2.0**52), inf), (np.nan, np.nan),
    ]  # fmt: skip
    x, expected = np.array(cases).T.copy()
    with np.errstate(all="ignore"):
        found = compiled("lgamma", "f64", 8)(x)
    assert np.array_equal(found, expected, equal_nan=True), found


def test_lgamma_of_doubles_has_the_same_bits_at_every_width() -> None:
    assert_same_bits("lgamma", "f64", [_double_inputs()[:2992]])
