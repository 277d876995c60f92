"""The beta-binomial distribution."""

from __future__ import annotations

from typing import Any

from pullback import lax
from pullback import numpy as jnp
from pullback.scipy import special
from pullback.scipy.stats.densities import inside, operands

__all__ = ["logpmf", "pmf"]


def logpmf(k: Any, n: Any, a: Any, b: Any, loc: Any = 0) -> Any:
    """The logarithm of the probability of `k`."""
    k, n, a, b, loc = operands("betabinom.logpmf", k, n, a, b, loc)
    k = jnp.floor(k - loc)
    support = ~((k < 0) | (k > n))
    safe = jnp.where(support, k, 0)
    ways = -lax.log(n + 1) - special.betaln(n - safe + 1, safe + 1)
    value = ways + special.betaln(safe + a, n - safe + b) - special.betaln(a, b)
    return inside(support, value)


def pmf(k: Any, n: Any, a: Any, b: Any, loc: Any = 0) -> Any:
    """The probability of `k`."""
    return lax.exp(logpmf(k, n, a, b, loc))
