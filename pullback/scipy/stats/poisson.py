"""The Poisson distribution."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pullback import lax
from pullback import numpy as jnp
from pullback.scipy import logarithms, special
from pullback.scipy.stats.densities import inside, operands

__all__ = ["cdf", "entropy", "logpmf", "pmf"]


def logpmf(k: Any, mu: Any, loc: Any = 0) -> Any:
    """The logarithm of the probability of `k`."""
    k, mu, loc = logarithms.operands("poisson.logpmf", k, mu, loc)
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


def entropy(mu: Any, loc: Any = 0) -> Any:
    """The entropy in nats, NaN for negative `mu`; `loc` gives its shape only.

    Up to 100 (20 in less than double precision) the sum over all counts that are likely, above
    that the expansion for large means (Evans and Boersma, The entropy of a Poisson distribution,
    SIAM Review 30, 1988).
    """
    mu, loc = operands("poisson.entropy", mu, loc)
    limit = 100 if mu.dtype == np.float64 else 20
    small = jnp.where((mu >= 0) & (mu < limit), mu, 0)[..., None]
    counts = jnp.arange(limit + 12 * math.isqrt(limit), dtype=mu.dtype)
    log_p = logpmf(counts, small)
    likely = log_p > -np.inf
    terms = jnp.where(likely, lax.exp(log_p) * jnp.where(likely, log_p, 0), 0)
    large = jnp.where(mu >= limit, mu, limit)
    x = 1 / large
    series = 0.5 * lax.log(2 * math.pi * math.e * large) - x * (
        1 / 12 + x * (1 / 24 + x * (19 / 360 + x * (9 / 80)))
    )
    found = jnp.where(mu < limit, -jnp.sum(terms, axis=-1), series)
    return jnp.where(mu >= 0, found, np.nan) + 0 * loc
