"""The Cauchy distribution."""

from __future__ import annotations

import math
from typing import Any

from pullback import lax
from pullback import numpy as jnp
from pullback.scipy.stats.densities import operands, standardized

__all__ = ["cdf", "isf", "logcdf", "logpdf", "logsf", "pdf", "ppf", "sf"]


def logpdf(x: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The logarithm of the density."""
    z, scale = standardized("cauchy.logpdf", x, loc, scale)
    return -lax.log1p(z * z) - lax.log(scale * math.pi)


def pdf(x: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The density."""
    return lax.exp(logpdf(x, loc, scale))


def cdf(x: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The cumulative distribution function."""
    z, _ = standardized("cauchy.cdf", x, loc, scale)
    return 0.5 + jnp.arctan(z) / math.pi


def logcdf(x: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The logarithm of the cumulative distribution function."""
    return lax.log(cdf(x, loc, scale))


def sf(x: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """1 - cdf."""
    z, _ = standardized("cauchy.sf", x, loc, scale)
    return 0.5 - jnp.arctan(z) / math.pi


def logsf(x: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The logarithm of 1 - cdf."""
    return lax.log(sf(x, loc, scale))


def ppf(q: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The inverse of the cumulative distribution function."""
    q, loc, scale = operands("cauchy.ppf", q, loc, scale)
    return jnp.tan(math.pi * (q - 0.5)) * scale + loc


def isf(q: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The inverse of `sf`."""
    q, loc, scale = operands("cauchy.isf", q, loc, scale)
    return jnp.tan(math.pi * (0.5 - q)) * scale + loc
