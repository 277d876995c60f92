"""The Hurwitz zeta function and polygamma: accuracy against mpmath, special values, widths."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mpmath import mp, mpf

from tests.llvm.math_harness import compiled, error_in_ulps
from tests.llvm.test_math import TYPE, assert_same_bits, wide

BOUND = {"f32": 0.6, "f64": 5.0}
"""Units in the last place; a power, a quotient and sums each lose some in double precision."""


def _zeta(s: mpf, q: mpf) -> mpf:
    """Terms, then the Euler-Maclaurin formula (mpmath's own loses digits at large arguments)."""
    total, w = mpf(0), q
    while w < s + 30:
        total += w ** (-int(s) if s == int(s) else -s)
        w += 1
    total += w ** (1 - s) / (s - 1) + w**-s / 2
    rising = s * w ** (-s - 1)
    for k in range(1, 20):
        total += mp.bernoulli(2 * k) / mp.factorial(2 * k) * rising
        rising *= (s + 2 * k - 1) * (s + 2 * k) / w**2
    return total


def _inputs(dtype: str) -> tuple[Any, Any]:
    """Usual sizes, close to the pole and far from it on every scale."""
    rng = np.random.default_rng(8)
    near, far = (-22, 30) if dtype == "f32" else (-50, 300)
    s = [rng.uniform(1.01, 12, 400), 1 + np.exp2(rng.uniform(near, 0, 300))]
    q = [rng.uniform(0.05, 12, 400), np.exp2(rng.uniform(-far, far, 300))]
    s, q = [*s, 1 + np.exp2(rng.uniform(-3, 9, 200))], [*q, np.exp2(rng.uniform(-5, 9, 200))]
    return np.concatenate(s).astype(TYPE[dtype]), np.concatenate(q).astype(TYPE[dtype])


def _exact(s: Any, q: Any) -> Any:
    with mp.workdps(40), np.errstate(over="ignore"):
        return np.array(
            [wide(_zeta(mpf(a), mpf(b))) for a, b in zip(s.tolist(), q.tolist(), strict=True)]
        )


@pytest.mark.parametrize("dtype", TYPE)
def test_accuracy(dtype: str) -> None:
    s, q = _inputs(dtype)
    errors = error_in_ulps(compiled("zeta", dtype, 8)(s, q), _exact(s, q))
    worst = int(np.argmax(errors))
    assert errors[worst] <= BOUND[dtype], (s[worst], q[worst], float(errors[worst]))


@pytest.mark.parametrize("dtype", TYPE)
def test_left_of_zero(dtype: str) -> None:
    """Where sums from both sides are close to each other, digits of both are what counts."""
    rng = np.random.default_rng(9)
    s = rng.integers(2, 9, 300).astype(TYPE[dtype])
    q = rng.uniform(-12, 0, 300).astype(TYPE[dtype])
    exact = _exact(s, q)
    nearest = np.abs(q - np.rint(q)).astype(np.float64)
    size = np.maximum(np.abs(exact), nearest ** -s.astype(np.float64))
    found = compiled("zeta", dtype, 8)(s, q)
    assert np.max(np.abs(found - exact) / size) <= 4 * np.finfo(TYPE[dtype]).eps


@pytest.mark.parametrize("dtype", TYPE)
def test_polygamma(dtype: str) -> None:
    rng = np.random.default_rng(10)
    m = rng.integers(1, 9, 400).astype(TYPE[dtype])
    x = rng.uniform(0.05, 20, 400).astype(TYPE[dtype])
    with mp.workdps(40):
        exact = np.array(
            [wide(mp.psi(int(a), mpf(b))) for a, b in zip(m.tolist(), x.tolist(), strict=True)]
        )
    errors = error_in_ulps(compiled("polygamma", dtype, 8)(m, x), exact)
    assert errors.max() <= BOUND[dtype]


@pytest.mark.parametrize("dtype", TYPE)
def test_special_values(dtype: str) -> None:
    inf, nan = np.inf, np.nan
    cases = [
        (1, 1, inf), (2, 0, inf), (2, -0.0, inf), (2, -1, inf), (2.5, -0.5, nan), (0.5, 2, nan),
        (nan, 1, nan), (2, nan, nan), (-2, 3, nan), (2, inf, 0), (2, -inf, inf), (inf, 2, 0),
        (inf, 1, 1), (inf, 0.5, inf), (1e30, 1, 1), (1e30, 2, 0), (1e30, 0.5, inf),
    ]  # fmt: skip
    s, q, expected = np.array(cases, TYPE[dtype]).T.copy()
    found = compiled("zeta", dtype, 8)(s, q)
    assert np.array_equal(found, expected, equal_nan=True), list(zip(cases, found, strict=True))
    cases = [(-1, 2, nan), (1.5, 2, nan), (1, -3, inf), (nan, 2, nan), (1, nan, nan), (1, inf, 0)]
    m, x, expected = np.array(cases, TYPE[dtype]).T.copy()
    found = compiled("polygamma", dtype, 8)(m, x)
    assert np.array_equal(found, expected, equal_nan=True), list(zip(cases, found, strict=True))


@pytest.mark.parametrize("dtype", TYPE)
def test_same_bits_at_every_width(dtype: str) -> None:
    s, q = _inputs(dtype)
    assert_same_bits("zeta", dtype, [s[:896], q[:896]])
    assert_same_bits("polygamma", dtype, [np.rint(s[:896]), q[:896]])
