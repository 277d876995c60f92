"""The Pareto distribution."""

from __future__ import annotations

from typing import Any

import numpy as np

from pullback import lax
from pullback import numpy as jnp
from pullback.scipy.stats.densities import inside, operands, standardized, tail

__all__ = ["cdf", "logcdf", "logpdf", "logsf", "pdf", "ppf", "sf"]


def logpdf(x: Any, b: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The logarithm of the density."""
    z, scale, b = standardized("pareto.logpdf", x, loc, scale, b)
    safe = jnp.where(z < 1, 1, z)
    return inside(~(z < 1), lax.log(b / scale) - (b + 1) * lax.log(safe))


def pdf(x: Any, b: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The density."""
    return lax.exp(logpdf(x, b, loc, scale))


def cdf(x: Any, b: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The cumulative distribution function."""
    return 1 - sf(x, b, loc, scale)


def logcdf(x: Any, b: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The logarithm of the cumulative distribution function."""
    return tail(logsf(x, b, loc, scale))


def sf(x: Any, b: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """1 - cdf."""
    return lax.exp(logsf(x, b, loc, scale))


def logsf(x: Any, b: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The logarithm of 1 - cdf."""
    z, _, b = standardized("pareto.logsf", x, loc, scale, b)
    return -b * lax.log(jnp.maximum(z, 1))


def ppf(q: Any, b: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The inverse of the cumulative distribution function."""
    q, b, loc, scale = operands("pareto.ppf", q, b, loc, scale)
    valid = (q >= 0) & (q <= 1)
    return inside(valid, loc + scale * (1 - q) ** (-1 / b), np.nan)
