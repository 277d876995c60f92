"""The von Mises distribution, on a circle."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pullback import lax
from pullback.scipy import special
from pullback.scipy.logarithms import operands
from pullback.scipy.stats.densities import inside

__all__ = ["logpdf", "pdf"]


def logpdf(x: Any, kappa: Any) -> Any:
    """The logarithm of the density."""
    x, kappa = operands("vonmises.logpdf", x, kappa)
    value = kappa * (lax.cos(x) - 1) - lax.log(2 * math.pi * special.i0e(kappa))
    return inside(kappa > 0, value, np.nan)


def pdf(x: Any, kappa: Any) -> Any:
    """The density."""
    return lax.exp(logpdf(x, kappa))
