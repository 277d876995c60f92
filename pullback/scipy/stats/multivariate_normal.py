"""The normal distribution of vectors."""

from __future__ import annotations

import math
from typing import Any

from pullback import lax
from pullback import numpy as jnp
from pullback.lax import linalg
from pullback.numpy.promotion import ensure_arraylike, promote_dtypes_inexact

__all__ = ["logpdf", "pdf"]


def logpdf(x: Any, mean: Any, cov: Any, allow_singular: None = None) -> Any:
    """The logarithm of the density."""
    if allow_singular is not None:
        raise NotImplementedError("allow_singular argument of multivariate_normal.logpdf")
    x, mean, cov = promote_dtypes_inexact(*ensure_arraylike("logpdf", x, mean, cov))
    if mean.ndim == 0:
        return -0.5 * (x - mean) ** 2 / cov - 0.5 * (math.log(2 * math.pi) + lax.log(cov))
    n = mean.shape[-1]
    if cov.ndim == 0:
        y = x - mean
        return -0.5 * jnp.sum(y * y, axis=-1) / cov - n / 2 * (math.log(2 * math.pi) + lax.log(cov))
    if cov.ndim < 2 or cov.shape[-2:] != (n, n):
        raise ValueError("multivariate_normal.logpdf got incompatible shapes")
    factor = linalg.cholesky(cov)
    y = jnp.broadcast_to(
        x - mean, (*jnp.broadcast_shapes((x - mean).shape[:-1], cov.shape[:-2]), n)
    )
    lanes = jnp.broadcast_to(factor, (*y.shape[:-1], n, n))
    z = linalg.triangular_solve(lanes, y[..., None], left_side=True, lower=True)[..., 0]
    log_det = jnp.log(jnp.diagonal(factor, axis1=-1, axis2=-2)).sum(-1)
    return -0.5 * jnp.sum(z * z, axis=-1) - n / 2 * math.log(2 * math.pi) - log_det


def pdf(x: Any, mean: Any, cov: Any) -> Any:
    """The density."""
    return lax.exp(logpdf(x, mean, cov))
