"""Special functions: values and slopes compared with JAX's."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy
import jax.scipy.special
import numpy as np
import pytest

import pullback
import pullback.numpy
import pullback.scipy.special

ONE = [
    *("gammaln", "gamma", "digamma", "erf", "erfc", "erfinv", "expit", "logit", "entr", "i0"),
    *("i0e", "i1", "i1e", "ndtr", "log_ndtr", "ndtri", "factorial", "gammasgn", "loggamma"),
    "erfcx",
]
TWO = [
    *("betaln", "beta", "gammainc", "gammaincc", "xlogy", "xlog1py", "rel_entr", "kl_div"),
    *("boxcox", "boxcox1p", "poch", "comb"),
]
POINTS = {
    "erfinv": (-0.9, 0.9),
    "logit": (0.05, 0.95),
    "ndtri": (0.001, 0.999),
    "log_ndtr": (-30.0, 9.0),
    "erfcx": (-3.0, 30.0),
    "gammasgn": (-3.4, 3.3),
    "comb": (1.0, 3.0),
}


def _points(name: str, count: int) -> list[Any]:
    low, high = POINTS.get(name, (0.1, 4.0))
    rng = np.random.default_rng(1)
    points = [rng.uniform(low, high, 12).astype("float32") for _ in range(count)]
    return [points[0] + 4, points[1]] if name == "comb" else points


def _slope(root: Any, name: str, xs: list[Any]) -> Any:
    function = getattr(root.scipy.special, name)
    return root.grad(lambda *xs: function(*xs).sum(), tuple(range(len(xs))))(*xs)


@pytest.mark.parametrize("name", ONE + TWO)
def test_values_and_slopes(name: str) -> None:
    xs = _points(name, 1 if name in ONE else 2)
    want = np.asarray(getattr(jax.scipy.special, name)(*xs))
    function = getattr(pullback.scipy.special, name)
    for f in (function, pullback.jit(function)):
        got = np.asarray(f(*xs))
        assert got.dtype == want.dtype
        np.testing.assert_allclose(got, want, 3e-4, 1e-5)
    if name not in ("gammasgn", "gammainc", "gammaincc"):
        slopes = jax.jit(partial(_slope, jax, name))(xs)
        for got, slope in zip(_slope(pullback, name, xs), slopes, strict=True):
            np.testing.assert_allclose(np.asarray(got), np.asarray(slope), 2e-3, 1e-4)


def test_the_others() -> None:
    ours, theirs = pullback.scipy.special, jax.scipy.special
    x = np.linspace(0.5, 4, 6).astype("float32")
    pairs = [
        (ours.betainc(x, x, x / 5), theirs.betainc(x, x, x / 5)),
        (ours.polygamma(1, x), theirs.polygamma(1, x)),
        (ours.zeta(x + 1, x), theirs.zeta(x + 1, x)),
        (ours.multigammaln(x + 2, 3), theirs.multigammaln(x + 2, 3)),
        (ours.logsumexp(x), theirs.logsumexp(x)),
        (ours.bernoulli(12), theirs.bernoulli(12)),
        (ours.xlogy(0.0, 0.0), theirs.xlogy(0.0, 0.0)),
        (
            ours.entr(np.array([-1.0, 0.0, 1.0], "float32")),
            np.array([-np.inf, 0.0, 0.0], "float32"),
        ),
    ]
    for got, want in pairs:
        np.testing.assert_allclose(np.asarray(got), np.asarray(want), 1e-4, 1e-5)
