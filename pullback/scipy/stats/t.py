"""Student's distribution."""

from __future__ import annotations

import math
from typing import Any

from pullback import lax
from pullback.scipy.stats.densities import standardized

__all__ = ["logpdf", "pdf"]


def logpdf(x: Any, df: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The logarithm of the density."""
    z, scale, df = standardized("t.logpdf", x, loc, scale, df)
    constant = lax.lgamma((df + 1) / 2) - lax.lgamma(df / 2) - 0.5 * lax.log(df * math.pi)
    return constant - (df + 1) / 2 * lax.log1p(z * z / df) - lax.log(scale)


def pdf(x: Any, df: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The density."""
    return lax.exp(logpdf(x, df, loc, scale))
