"""The binomial distribution."""

from __future__ import annotations

from typing import Any

from pullback import lax
from pullback import numpy as jnp
from pullback.scipy import logarithms, special
from pullback.scipy.stats.densities import inside

__all__ = ["logpmf", "pmf"]


def logpmf(k: Any, n: Any, p: Any, loc: Any = 0) -> Any:
    """The logarithm of the probability of `k`."""
    k, n, p, loc = logarithms.operands("binom.logpmf", k, n, p, loc)
    k = k - loc
    support = (k >= 0) & (k <= n)
    safe = jnp.where(support, k, 0)
    ways = lax.lgamma(n + 1) - lax.lgamma(safe + 1) - lax.lgamma(n - safe + 1)
    return inside(support, ways + special.xlogy(safe, p) + special.xlog1py(n - safe, -p))


def pmf(k: Any, n: Any, p: Any, loc: Any = 0) -> Any:
    """The probability of `k`."""
    return lax.exp(logpmf(k, n, p, loc))
