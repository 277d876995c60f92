"""The Gumbel distribution of maxima."""

from __future__ import annotations

from typing import Any

from pullback import lax
from pullback.scipy.stats.densities import operands, standardized, tail

__all__ = ["cdf", "logcdf", "logpdf", "logsf", "pdf", "ppf", "sf"]


def logpdf(x: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The logarithm of the density."""
    z, scale = standardized("gumbel_r.logpdf", x, loc, scale)
    return -z - lax.exp(-z) - lax.log(scale)


def pdf(x: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The density."""
    return lax.exp(logpdf(x, loc, scale))


def logcdf(x: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The logarithm of the cumulative distribution function."""
    z, _ = standardized("gumbel_r.logcdf", x, loc, scale)
    return -lax.exp(-z)


def cdf(x: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The cumulative distribution function."""
    return lax.exp(logcdf(x, loc, scale))


def sf(x: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """1 - cdf."""
    return -lax.expm1(logcdf(x, loc, scale))


def logsf(x: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The logarithm of 1 - cdf."""
    return tail(logcdf(x, loc, scale))


def ppf(p: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The inverse of the cumulative distribution function."""
    p, loc, scale = operands("gumbel_r.ppf", p, loc, scale)
    return loc - scale * lax.log(-lax.log(p))
