"""The geometric distribution: trials until the first success."""

from __future__ import annotations

from typing import Any

from pullback import lax
from pullback.scipy import special
from pullback.scipy.stats.densities import inside, operands

__all__ = ["logpmf", "pmf"]


def logpmf(k: Any, p: Any, loc: Any = 0) -> Any:
    """The logarithm of the probability of `k`."""
    k, p, loc = operands("geom.logpmf", k, p, loc)
    k = k - loc
    return inside(~(k <= 0), special.xlog1py(k - 1, -p) + lax.log(p))


def pmf(k: Any, p: Any, loc: Any = 0) -> Any:
    """The probability of `k`."""
    return lax.exp(logpmf(k, p, loc))
