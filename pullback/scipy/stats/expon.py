"""The exponential distribution."""

from __future__ import annotations

from typing import Any

import numpy as np

from pullback import lax
from pullback import numpy as jnp
from pullback.scipy.stats.densities import inside, operands, standardized, tail

__all__ = ["cdf", "logcdf", "logpdf", "logsf", "pdf", "ppf", "sf"]


def logpdf(x: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The logarithm of the density."""
    z, scale = standardized("expon.logpdf", x, loc, scale)
    return inside(~(z < 0), -z - lax.log(scale))


def pdf(x: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The density."""
    return lax.exp(logpdf(x, loc, scale))


def cdf(x: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The cumulative distribution function."""
    z, _ = standardized("expon.cdf", x, loc, scale)
    return -lax.expm1(-jnp.maximum(z, 0))


def logcdf(x: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The logarithm of the cumulative distribution function."""
    z, _ = standardized("expon.logcdf", x, loc, scale)
    safe = jnp.where(z <= 0, 1, z)
    return inside(~(z <= 0), tail(-safe))


def sf(x: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """1 - cdf."""
    z, _ = standardized("expon.sf", x, loc, scale)
    return lax.exp(-jnp.maximum(z, 0))


def logsf(x: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The logarithm of 1 - cdf."""
    z, _ = standardized("expon.logsf", x, loc, scale)
    return -jnp.maximum(z, 0)


def ppf(q: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The inverse of the cumulative distribution function."""
    q, loc, scale = operands("expon.ppf", q, loc, scale)
    valid = (q >= 0) & (q <= 1)
    return inside(valid, loc - scale * jnp.log1p(-jnp.clip(q, 0, 1)), np.nan)
