"""The normal distribution between `a` and `b`, in units of its scale."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pullback import lax
from pullback import numpy as jnp
from pullback.scipy import special
from pullback.scipy.stats.densities import inside, keep_nan, standardized, tail

__all__ = ["cdf", "log_mass", "logcdf", "logpdf", "logsf", "pdf", "sf"]


def log_mass(a: Any, b: Any) -> Any:
    """The logarithm of the normal probability of [a, b], accurate in both tails."""
    flip = a > 0
    low, high = jnp.where(flip, -b, a), jnp.where(flip, -a, b)
    return special.log_ndtr(high) + tail(special.log_ndtr(low) - special.log_ndtr(high))


def logpdf(x: Any, a: Any, b: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The logarithm of the density."""
    z, scale, a, b = standardized("truncnorm.logpdf", x, loc, scale, a, b)
    value = -0.5 * z * z - 0.5 * math.log(2 * math.pi) - log_mass(a, b) - lax.log(scale)
    return inside(a < b, inside(~((z < a) | (z > b)), value), np.nan)


def pdf(x: Any, a: Any, b: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The density."""
    return lax.exp(logpdf(x, a, b, loc, scale))


def logcdf(x: Any, a: Any, b: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The logarithm of the cumulative distribution function."""
    z, _, a, b = standardized("truncnorm.logcdf", x, loc, scale, a, b)
    middle = (z > a) & (z < b)
    value = log_mass(a, jnp.where(middle, z, b)) - log_mass(a, b)
    return keep_nan(z, inside(a < b, jnp.where(z >= b, 0, inside(z > a, value)), np.nan))


def cdf(x: Any, a: Any, b: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The cumulative distribution function."""
    return lax.exp(logcdf(x, a, b, loc, scale))


def logsf(x: Any, a: Any, b: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The logarithm of 1 - cdf."""
    z, _, a, b = standardized("truncnorm.logsf", x, loc, scale, a, b)
    middle = (z > a) & (z < b)
    value = log_mass(jnp.where(middle, z, a), b) - log_mass(a, b)
    return keep_nan(z, inside(a < b, jnp.where(z <= a, 0, inside(z < b, value)), np.nan))


def sf(x: Any, a: Any, b: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """1 - cdf."""
    return lax.exp(logsf(x, a, b, loc, scale))
