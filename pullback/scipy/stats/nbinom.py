"""The negative binomial distribution: failures before `n` successes."""

from __future__ import annotations

from typing import Any

from pullback import lax
from pullback import numpy as jnp
from pullback.scipy import special
from pullback.scipy.stats.densities import inside, operands

__all__ = ["logpmf", "pmf"]


def logpmf(k: Any, n: Any, p: Any, loc: Any = 0) -> Any:
    """The logarithm of the probability of `k`."""
    k, n, p, loc = operands("nbinom.logpmf", k, n, p, loc)
    k = k - loc
    safe = jnp.where(k < 0, 0, k)
    ways = lax.lgamma(safe + n) - lax.lgamma(n) - lax.lgamma(safe + 1)
    return inside(~(k < 0), ways + special.xlogy(n, p) + special.xlog1py(safe, -p))


def pmf(k: Any, n: Any, p: Any, loc: Any = 0) -> Any:
    """The probability of `k`."""
    return lax.exp(logpmf(k, n, p, loc))
