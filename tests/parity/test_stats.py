"""Distributions: every function of every module compared with JAX's, with derivatives."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import jax
import jax.scipy.stats
import numpy as np
import pytest

import pullback
import pullback.scipy.stats

CONTINUOUS = {
    "norm": 0, "uniform": 0, "expon": 0, "gamma": 1, "chi2": 1, "beta": 2, "t": 1, "laplace": 0,
    "logistic": 0, "cauchy": 0, "pareto": 1, "gumbel_l": 0, "gumbel_r": 0, "gennorm": 1,
    "vonmises": 1, "wrapcauchy": 1,
}  # fmt: skip
DISCRETE = {"poisson": 1, "bernoulli": 1, "geom": 1, "binom": 2, "nbinom": 2, "betabinom": 3}


def _operands(name: str, function: str) -> list[Any]:
    rng = np.random.default_rng(2)
    fraction = [rng.uniform(0.05, 0.95, 9).astype("float32")]
    if name in DISCRETE:
        k = np.array([-1, 0, 1, 1, 2, 3, 5, 1, 0], "float32")
        six = np.full(9, 6.0, "float32")
        rest = {
            "binom": [six, *fraction],
            "nbinom": [six, *fraction],
            "betabinom": [six, fraction[0] + 1, fraction[0] + 2],
        }
        return [fraction[0] if function == "ppf" else k, *rest.get(name, fraction)]
    count = CONTINUOUS[name]
    shapes = [rng.uniform(1.1, 3, 9).astype("float32") for _ in range(count)]
    shapes = fraction if name == "wrapcauchy" else shapes
    x = (
        fraction[0]
        if function in ("ppf", "isf") or name == "beta"
        else (rng.uniform(-2, 4, 9).astype("float32"))
    )
    return [x, *shapes]


CASES = [
    (name, function)
    for name in [*CONTINUOUS, *DISCRETE]
    for function in ("logpdf", "pdf", "logpmf", "pmf", "cdf", "logcdf", "sf", "logsf", "ppf", "isf")
    if inspect.isfunction(
        getattr(importlib.import_module(f"jax.scipy.stats.{name}"), function, None)
    )
]


@pytest.mark.parametrize(("name", "function"), CASES)
def test_values(name: str, function: str) -> None:
    theirs = getattr(getattr(jax.scipy.stats, name), function)
    ours = getattr(getattr(pullback.scipy.stats, name), function)
    args = _operands(name, function)
    np.testing.assert_allclose(np.asarray(ours(*args)), np.asarray(theirs(*args)), 1e-4, 1e-5)
    if "loc" in inspect.signature(theirs).parameters and name in CONTINUOUS:
        got, want = (f(*args, loc=0.5, scale=2.0) for f in (ours, theirs))
        np.testing.assert_allclose(np.asarray(got), np.asarray(want), 1e-4, 1e-5)


def test_vectors() -> None:
    rng = np.random.default_rng(0)
    x, a = rng.standard_normal((5, 3)), rng.standard_normal((3, 3))
    cov = (a @ a.T + np.eye(3)).astype("float32")
    x, mean = x.astype("float32"), x[0].astype("float32")
    alpha, p = np.array([1.0, 2.0, 3.0], "float32"), np.array([0.2, 0.3, 0.5], "float32")
    counts = np.array([1, 2, 3], "int32")

    def values(root: Any) -> list[Any]:
        stats = root.scipy.stats
        density = stats.multivariate_normal.logpdf
        return [
            density(x, mean, cov),
            density(x, mean, np.float32(2)),
            root.grad(lambda c: density(x, mean, c).sum())(cov),
            stats.dirichlet.logpdf(p, alpha),
            stats.multinomial.logpmf(counts, 6, p),
            stats.truncnorm.logpdf(x[:, 0], np.float32(-1), np.float32(2)),
            stats.truncnorm.cdf(x[:, 0], np.float32(-1), np.float32(2)),
            stats.truncnorm.logsf(x[:, 0], np.float32(3), np.float32(5)),
            stats.rankdata(np.array([3.0, 1.0, 3.0])),
            stats.rankdata(np.array([3, 1, 3]), "dense"),
            stats.mode(np.array([[3, 1, 3], [1, 1, 2]]), axis=1).mode,
            stats.sem(x),
        ]

    for got, want in zip(values(pullback), values(jax), strict=True):
        np.testing.assert_allclose(np.asarray(got), np.asarray(want), 1e-4, 1e-4)


@pytest.mark.parametrize(
    ("values", "axis"),
    [
        ([np.nan, np.nan, 1.0, 2.0], 0),
        ([np.nan, np.nan], 0),
        ([0.0, -0.0, 1.0], 0),
        ([1.0, np.nan, 1.0, 2.0, 2.0], 0),
        ([[1.0, np.nan], [np.nan, np.nan]], 1),
        ([[1, 2], [1, 3], [2, 3]], None),
    ],
)
def test_modes(values: Any, axis: int | None) -> None:
    """NaNs are one value; of equal values the first one is given."""
    x = np.array(values, np.float32)
    got, want = (m.scipy.stats.mode(x, axis=axis) for m in (pullback, jax))
    for ours, theirs in zip(got, want, strict=True):
        np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))
        np.testing.assert_array_equal(np.signbit(ours), np.signbit(theirs))


def test_the_mode_of_many_is_not_found_pair_by_pair() -> None:
    x = pullback.ShapeDtypeStruct((1 << 16,), "float32")
    memory = pullback.jit(pullback.scipy.stats.mode).lower(x).compile().memory_analysis()
    assert memory.temp_size_in_bytes < 1 << 22
    text = str(pullback.make_jaxpr(pullback.scipy.stats.mode)(x))
    assert "65536,65536" not in text
