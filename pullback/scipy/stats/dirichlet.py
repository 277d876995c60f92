"""The Dirichlet distribution, on the simplex."""

from __future__ import annotations

from typing import Any

from pullback import lax
from pullback import numpy as jnp
from pullback.numpy.promotion import ensure_arraylike, promote_dtypes_inexact
from pullback.scipy import special
from pullback.scipy.stats.densities import inside

__all__ = ["logpdf", "pdf"]


def logpdf(x: Any, alpha: Any) -> Any:
    """The logarithm of the density."""
    x, alpha = promote_dtypes_inexact(*ensure_arraylike("dirichlet.logpdf", x, alpha))
    if alpha.ndim != 1:
        raise ValueError(f"`alpha` must be one-dimensional; got alpha.shape={alpha.shape}")
    if x.shape[0] not in (alpha.shape[0], alpha.shape[0] - 1):
        raise ValueError(
            f"`x` must have either the same number of entries as `alpha` or one entry fewer; got "
            f"x.shape={x.shape}, alpha.shape={alpha.shape}"
        )
    if x.shape[0] != alpha.shape[0]:
        x = jnp.concatenate([x, 1 - x.sum(axis=0, keepdims=True)], axis=0)
    constant = lax.lgamma(alpha.sum()) - lax.lgamma(alpha).sum()
    weights = alpha.reshape(-1, *(1,) * (x.ndim - 1))
    support = jnp.all(x > 0, axis=0) & (lax.abs(x.sum(axis=0) - 1) < 1e-4)
    return inside(support, constant + special.xlogy(weights - 1, x).sum(axis=0))


def pdf(x: Any, alpha: Any) -> Any:
    """The density."""
    return lax.exp(logpdf(x, alpha))
