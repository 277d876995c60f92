"""The gamma distribution of shape `a`."""

from __future__ import annotations

from typing import Any

from pullback import lax
from pullback import numpy as jnp
from pullback.scipy import special
from pullback.scipy.stats.densities import inside, standardized

__all__ = ["cdf", "logcdf", "logpdf", "logsf", "pdf", "sf"]


def logpdf(x: Any, a: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The logarithm of the density."""
    z, scale, a = standardized("gamma.logpdf", x, loc, scale, a)
    safe = jnp.where(z >= 0, z, 1)
    return inside(z >= 0, special.xlogy(a - 1, safe) - safe - lax.lgamma(a) - lax.log(scale))


def pdf(x: Any, a: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The density."""
    return lax.exp(logpdf(x, a, loc, scale))


def cdf(x: Any, a: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The cumulative distribution function."""
    z, _, a = standardized("gamma.cdf", x, loc, scale, a)
    return special.gammainc(a, jnp.maximum(z, 0))


def logcdf(x: Any, a: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The logarithm of the cumulative distribution function."""
    return lax.log(cdf(x, a, loc, scale))


def sf(x: Any, a: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """1 - cdf."""
    z, _, a = standardized("gamma.sf", x, loc, scale, a)
    return special.gammaincc(a, jnp.maximum(z, 0))


def logsf(x: Any, a: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The logarithm of 1 - cdf."""
    return lax.log(sf(x, a, loc, scale))
