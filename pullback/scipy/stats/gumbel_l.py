"""The Gumbel distribution of minima."""

from __future__ import annotations

from typing import Any

from pullback import lax
from pullback import numpy as jnp
from pullback.scipy.stats.densities import operands, standardized, tail

__all__ = ["cdf", "logcdf", "logpdf", "logsf", "pdf", "ppf", "sf"]


def logpdf(x: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The logarithm of the density."""
    z, scale = standardized("gumbel_l.logpdf", x, loc, scale)
    return z - lax.exp(z) - lax.log(scale)


def pdf(x: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The density."""
    return lax.exp(logpdf(x, loc, scale))


def logsf(x: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The logarithm of 1 - cdf."""
    z, _ = standardized("gumbel_l.logsf", x, loc, scale)
    return -lax.exp(z)


def sf(x: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """1 - cdf."""
    return lax.exp(logsf(x, loc, scale))


def cdf(x: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The cumulative distribution function."""
    return -lax.expm1(logsf(x, loc, scale))


def logcdf(x: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The logarithm of the cumulative distribution function."""
    return tail(logsf(x, loc, scale))


def ppf(p: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The inverse of the cumulative distribution function."""
    p, loc, scale = operands("gumbel_l.ppf", p, loc, scale)
    return loc + scale * lax.log(-jnp.log1p(-p))
