"""The multinomial distribution."""

from __future__ import annotations

from typing import Any

from pullback import lax
from pullback import numpy as jnp
from pullback.scipy import special
from pullback.scipy.stats.densities import inside, operands

__all__ = ["logpmf", "pmf"]


def logpmf(x: Any, n: Any, p: Any) -> Any:
    """The logarithm of the probability of the counts `x`."""
    x, p = operands("multinomial.logpmf", x, p)
    n = jnp.asarray(n, x.dtype)
    value = lax.lgamma(n + 1) + jnp.sum(special.xlogy(x, p) - lax.lgamma(x + 1), axis=-1)
    return inside(jnp.equal(jnp.sum(x, axis=-1), n), value)


def pmf(x: Any, n: Any, p: Any) -> Any:
    """The probability of the counts `x`."""
    return lax.exp(logpmf(x, n, p))
