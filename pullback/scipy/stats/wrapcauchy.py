"""The Cauchy distribution wrapped around a circle."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pullback import lax
from pullback import numpy as jnp
from pullback.scipy.logarithms import operands
from pullback.scipy.stats.densities import inside

__all__ = ["logpdf", "pdf"]


def logpdf(x: Any, c: Any) -> Any:
    """The logarithm of the density."""
    x, c = operands("wrapcauchy.logpdf", x, c)
    value = jnp.log1p(-c * c) - math.log(2 * math.pi) - jnp.log1p(c * c - 2 * c * lax.cos(x))
    value = inside((x >= 0) & (x <= 2 * math.pi), value)
    return inside((c > 0) & (c < 1), value, np.nan)


def pdf(x: Any, c: Any) -> Any:
    """The density."""
    return lax.exp(logpdf(x, c))
