"""The Laplace distribution."""

from __future__ import annotations

from typing import Any

from pullback import lax
from pullback import numpy as jnp
from pullback.scipy.stats.densities import standardized

__all__ = ["cdf", "logpdf", "pdf"]


def logpdf(x: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The logarithm of the density."""
    z, scale = standardized("laplace.logpdf", x, loc, scale)
    return -lax.abs(z) - lax.log(2 * scale)


def pdf(x: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The density."""
    return lax.exp(logpdf(x, loc, scale))


def cdf(x: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The cumulative distribution function."""
    z, _ = standardized("laplace.cdf", x, loc, scale)
    half = 0.5 * lax.exp(-lax.abs(z))
    return jnp.where(z <= 0, half, 1 - half)
