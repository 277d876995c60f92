"""The uniform distribution on [loc, loc + scale]."""

from __future__ import annotations

from typing import Any

import numpy as np

from pullback import lax
from pullback import numpy as jnp
from pullback.scipy.stats.densities import inside, keep_nan, operands, standardized

__all__ = ["cdf", "logpdf", "pdf", "ppf"]


def logpdf(x: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The logarithm of the density."""
    z, scale = standardized("uniform.logpdf", x, loc, scale)
    return keep_nan(z, inside((z >= 0) & (z <= 1), -lax.log(scale)))


def pdf(x: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The density."""
    return lax.exp(logpdf(x, loc, scale))


def cdf(x: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The cumulative distribution function."""
    z, _ = standardized("uniform.cdf", x, loc, scale)
    return jnp.clip(z, 0, 1)


def ppf(q: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The inverse of the cumulative distribution function."""
    q, loc, scale = operands("uniform.ppf", q, loc, scale)
    valid = (q >= 0) & (q <= 1)
    return inside(valid, loc + q * scale, np.nan)
