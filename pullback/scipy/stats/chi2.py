"""The chi-squared distribution of `df` degrees of freedom: a gamma distribution."""

from __future__ import annotations

from typing import Any

import numpy as np

from pullback import lax
from pullback import numpy as jnp
from pullback.scipy.stats import gamma
from pullback.scipy.stats.densities import operands

__all__ = ["cdf", "logcdf", "logpdf", "logsf", "pdf", "sf"]


def logpdf(x: Any, df: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The logarithm of the density."""
    given, df = operands("chi2.logpdf", x, df)
    density = gamma.logpdf(x, df / 2, loc, 2 * jnp.asarray(scale))
    return jnp.where(jnp.isnan(given), np.nan, density)


def pdf(x: Any, df: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The density."""
    return lax.exp(logpdf(x, df, loc, scale))


def cdf(x: Any, df: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The cumulative distribution function."""
    _, df = operands("chi2.cdf", x, df)
    return gamma.cdf(x, df / 2, loc, 2 * jnp.asarray(scale))


def logcdf(x: Any, df: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The logarithm of the cumulative distribution function."""
    _, df = operands("chi2.logcdf", x, df)
    return gamma.logcdf(x, df / 2, loc, 2 * jnp.asarray(scale))


def sf(x: Any, df: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """1 - cdf."""
    _, df = operands("chi2.sf", x, df)
    return gamma.sf(x, df / 2, loc, 2 * jnp.asarray(scale))


def logsf(x: Any, df: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The logarithm of 1 - cdf."""
    _, df = operands("chi2.logsf", x, df)
    return gamma.logsf(x, df / 2, loc, 2 * jnp.asarray(scale))
