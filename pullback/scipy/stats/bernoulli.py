"""The Bernoulli distribution: 1 with probability `p`, else 0."""

from __future__ import annotations

from typing import Any

import numpy as np

from pullback import lax
from pullback import numpy as jnp
from pullback.scipy import special
from pullback.scipy.stats.densities import inside, operands

__all__ = ["cdf", "logpmf", "pmf", "ppf"]


def logpmf(k: Any, p: Any, loc: Any = 0) -> Any:
    """The logarithm of the probability of `k`."""
    k, p, loc = operands("bernoulli.logpmf", k, p, loc)
    k = k - loc
    value = special.xlogy(k, p) + special.xlog1py(1 - k, -p)
    return inside((k == 0) | (k == 1) | jnp.isnan(k), value)


def pmf(k: Any, p: Any, loc: Any = 0) -> Any:
    """The probability of `k`."""
    return lax.exp(logpmf(k, p, loc))


def cdf(k: Any, p: Any) -> Any:
    """The cumulative distribution function."""
    k, p = operands("bernoulli.cdf", k, p)
    value = jnp.where(k < 0, 0.0, jnp.where(k < 1, 1 - p, 1.0))
    return inside((p >= 0) & (p <= 1) & ~jnp.isnan(k), value, np.nan)


def ppf(q: Any, p: Any) -> Any:
    """The inverse of the cumulative distribution function."""
    q, p = operands("bernoulli.ppf", q, p)
    valid = (q >= 0) & (q <= 1) & (p >= 0) & (p <= 1)
    return inside(valid, jnp.where(q <= 1 - p, jnp.zeros_like(p), 1.0), np.nan)
