"""The Poisson distribution."""

from __future__ import annotations

from typing import Any

from pullback import lax
from pullback import numpy as jnp
from pullback.scipy import special
from pullback.scipy.stats.densities import inside, operands

__all__ = ["cdf", "logpmf", "pmf"]


def logpmf(k: Any, mu: Any, loc: Any = 0) -> Any:
    """The logarithm of the probability of `k`."""
    k, mu, loc = operands("poisson.logpmf", k, mu, loc)
    k = k - loc
    support = (k >= 0) & (k == jnp.floor(k))
    safe = jnp.where(support, k, 0)
    return inside(support, special.xlogy(safe, mu) - lax.lgamma(safe + 1) - mu)


def pmf(k: Any, mu: Any, loc: Any = 0) -> Any:
    """The probability of `k`."""
    return lax.exp(logpmf(k, mu, loc))


def cdf(k: Any, mu: Any, loc: Any = 0) -> Any:
    """The cumulative distribution function."""
    k, mu, loc = operands("poisson.cdf", k, mu, loc)
    k = k - loc
    return inside(~(k < 0), special.gammaincc(jnp.maximum(jnp.floor(k) + 1, 1), mu), 0)
