"""The logistic distribution."""

from __future__ import annotations

from typing import Any

from pullback import lax
from pullback.scipy import special
from pullback.scipy.stats.densities import operands, standardized

__all__ = ["cdf", "isf", "logpdf", "pdf", "ppf", "sf"]


def logpdf(x: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The logarithm of the density."""
    z, scale = standardized("logistic.logpdf", x, loc, scale)
    size = lax.abs(z)
    return -size - 2 * lax.log1p(lax.exp(-size)) - lax.log(scale)


def pdf(x: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The density."""
    return lax.exp(logpdf(x, loc, scale))


def cdf(x: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The cumulative distribution function."""
    z, _ = standardized("logistic.cdf", x, loc, scale)
    return lax.logistic(z)


def sf(x: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """1 - cdf."""
    z, _ = standardized("logistic.sf", x, loc, scale)
    return lax.logistic(-z)


def ppf(q: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The inverse of the cumulative distribution function."""
    q, loc, scale = operands("logistic.ppf", q, loc, scale)
    return special.logit(q) * scale + loc


def isf(q: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The inverse of `sf`."""
    q, loc, scale = operands("logistic.isf", q, loc, scale)
    return -special.logit(q) * scale + loc
