"""The generalised normal distribution with exponent `p`."""

from __future__ import annotations

from typing import Any

from pullback import lax
from pullback.scipy import special
from pullback.scipy.stats.densities import operands

__all__ = ["cdf", "logpdf", "pdf"]


def logpdf(x: Any, p: Any) -> Any:
    """The logarithm of the density."""
    x, p = operands("gennorm.logpdf", x, p)
    return lax.log(0.5 * p) - lax.lgamma(1 / p) - lax.abs(x) ** p


def pdf(x: Any, p: Any) -> Any:
    """The density."""
    return lax.exp(logpdf(x, p))


def cdf(x: Any, p: Any) -> Any:
    """The cumulative distribution function."""
    x, p = operands("gennorm.cdf", x, p)
    return 0.5 * (1 + lax.sign(x) * special.gammainc(1 / p, lax.abs(x) ** p))
