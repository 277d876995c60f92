"""Densities from samples, by a sum of normal densities around them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from pullback import lax, random
from pullback import numpy as jnp
from pullback.core import dtypes
from pullback.numpy.promotion import check_arraylike, promote_dtypes_inexact
from pullback.scipy import special
from pullback.tree_util import register_pytree_node_class

__all__ = ["gaussian_kde"]


@register_pytree_node_class
@dataclass(frozen=True, init=False)
class gaussian_kde:
    """A density estimated from a `dataset` of shape (n,) or (d, n), with optional `weights`.

    `bw_method` is "scott" (as None), "silverman", a scalar, or a function of the estimate that
    gives one: the factor of the dataset's covariance.  A pytree, differentiable in the dataset.

    >>> import pullback.numpy as jnp, pullback.scipy as jsp
    >>> kde = jsp.stats.gaussian_kde(jnp.array([-1.0, 0.0, 1.0]))
    >>> kde(0.0).round(3)
    Array([0.318], dtype=float32)
    """

    neff: Any
    dataset: Any
    weights: Any
    covariance: Any
    inv_cov: Any

    def __init__(self, dataset: Any, bw_method: Any = None, weights: Any = None) -> None:
        check_arraylike("gaussian_kde", dataset)
        dataset = jnp.atleast_2d(jnp.asarray(dataset))
        if dtypes.kind_of(dataset.dtype) == "c":
            raise NotImplementedError("gaussian_kde does not support complex data")
        if dataset.size <= 1:
            raise ValueError("`dataset` input should have multiple elements.")
        (dataset,) = promote_dtypes_inexact(dataset)
        n = dataset.shape[1]
        if weights is None:
            weights = jnp.full(n, 1 / n, dataset.dtype)
        else:
            check_arraylike("gaussian_kde", weights)
            dataset, weights = promote_dtypes_inexact(dataset, jnp.atleast_1d(jnp.asarray(weights)))
            if weights.ndim != 1:
                raise ValueError("`weights` input should be one-dimensional.")
            if weights.shape[0] != n:
                raise ValueError("`weights` input should be of length n")
            weights = weights / jnp.sum(weights)
        self._set("dataset", dataset)
        self._set("weights", weights)
        self._set("neff", 1 / jnp.sum(weights**2))
        covariance = jnp.atleast_2d(jnp.cov(dataset, rowvar=True, bias=False, aweights=weights))
        scale = jnp.square(_factor(self, bw_method)).astype(dataset.dtype)
        self._set("covariance", covariance * scale)
        self._set("inv_cov", jnp.linalg.inv(covariance) / scale)

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def tree_flatten(self) -> tuple[Any, None]:
        """The arrays."""
        return (self.neff, self.dataset, self.weights, self.covariance, self.inv_cov), None

    @classmethod
    def tree_unflatten(cls, aux_data: None, children: Any) -> gaussian_kde:
        """An estimate from what `tree_flatten` gave."""
        self = cls.__new__(cls)
        for name, value in zip(
            ("neff", "dataset", "weights", "covariance", "inv_cov"), children, strict=True
        ):
            self._set(name, value)
        return self

    @property
    def d(self) -> int:
        """The number of dimensions."""
        return int(self.dataset.shape[0])

    @property
    def n(self) -> int:
        """The number of samples."""
        return int(self.dataset.shape[1])

    def evaluate(self, points: Any) -> Any:
        """The density at points of shape (d, m), (d,) or, in one dimension, (m,)."""
        return jnp.exp(self.logpdf(points))

    def __call__(self, points: Any) -> Any:
        """The same as `evaluate`."""
        return self.evaluate(points)

    def pdf(self, x: Any) -> Any:
        """The same as `evaluate`."""
        return self.evaluate(x)

    def logpdf(self, x: Any) -> Any:
        """The logarithm of the density, also where the density is too small to be represented."""
        check_arraylike("logpdf", x)
        points = self._points(jnp.atleast_2d(jnp.asarray(x)))
        return _log_mixture(self.dataset, self.weights, points, self.covariance)

    def integrate_gaussian(self, mean: Any, cov: Any) -> Any:
        """The integral of the density times that of a normal distribution."""
        mean, cov = jnp.atleast_1d(jnp.squeeze(mean)), jnp.atleast_2d(jnp.asarray(cov))
        if mean.shape != (self.d,):
            raise ValueError(f"mean does not have dimension {self.d}")
        if cov.shape != (self.d, self.d):
            raise ValueError(f"covariance does not have dimension {self.d}")
        both = self.covariance + cov
        return jnp.exp(_log_mixture(self.dataset, self.weights, mean[:, None], both))[0]

    def integrate_box_1d(self, low: Any, high: Any) -> Any:
        """The integral of a density of one variable between two bounds."""
        if self.d != 1:
            raise ValueError("integrate_box_1d() only handles 1D pdfs")
        if jnp.ndim(low) != 0 or jnp.ndim(high) != 0:
            raise ValueError("the limits of integration in integrate_box_1d must be scalars")
        sigma = jnp.squeeze(jnp.sqrt(self.covariance))
        ends = [special.ndtr((jnp.asarray(b) - self.dataset[0]) / sigma) for b in (low, high)]
        return jnp.sum(self.weights * (ends[1] - ends[0]))

    def integrate_kde(self, other: gaussian_kde) -> Any:
        """The integral of the product with another estimate."""
        if other.d != self.d:
            raise ValueError("KDEs are not the same dimensionality")
        both = self.covariance + other.covariance
        logs = _log_mixture(self.dataset, self.weights, other.dataset, both)
        return jnp.sum(other.weights * jnp.exp(logs))

    def integrate_box(self, low_bounds: Any, high_bounds: Any, maxpts: Any = None) -> Any:
        """Not implemented: boxes of several dimensions have no closed form."""
        raise NotImplementedError("only 1D box integrations are supported; use `integrate_box_1d`")

    def set_bandwidth(self, bw_method: Any = None) -> None:
        """Not implemented: an estimate does not change; make another one."""
        raise NotImplementedError("dynamically changing the bandwidth method is not supported")

    def resample(self, key: Any, shape: Any = ()) -> Any:
        """Samples of the estimate, of shape (d, *shape)."""
        first, second = random.split(key)
        index = random.choice(first, self.n, shape=shape, p=self.weights)
        zero = jnp.zeros(self.d, self.dataset.dtype)
        noise = random.multivariate_normal(
            second, zero, self.covariance, shape=shape, dtype=self.dataset.dtype
        )
        return self.dataset[:, index] + jnp.moveaxis(noise, -1, 0)

    def _points(self, points: Any) -> Any:
        if dtypes.kind_of(points.dtype) == "c":
            raise NotImplementedError("gaussian_kde does not support complex coordinates")
        d, m = points.shape
        if d != self.d:
            if d == 1 and m == self.d:
                return points.reshape(self.d, 1)
            raise ValueError(f"points have dimension {d}, dataset has dimension {self.d}")
        return points


def _factor(estimate: gaussian_kde, method: Any) -> Any:
    if method is None or method == "scott":
        return jnp.power(estimate.neff, -1.0 / (estimate.d + 4))
    if method == "silverman":
        return jnp.power(estimate.neff * (estimate.d + 2) / 4.0, -1.0 / (estimate.d + 4))
    if callable(method):
        return method(estimate)
    if not isinstance(method, str) and jnp.isscalar(method):
        return jnp.asarray(method)
    raise ValueError("`bw_method` should be 'scott', 'silverman', a scalar, or a callable.")


def _log_mixture(dataset: Any, weights: Any, points: Any, covariance: Any) -> Any:
    """log of sum w_i N(point; x_i, covariance), for every column of `points`."""
    dataset, weights, points, covariance = promote_dtypes_inexact(
        dataset, weights, points, covariance
    )
    root = jnp.linalg.cholesky(covariance)

    def whitened(x: Any) -> Any:
        return lax.linalg.triangular_solve(root, x, left_side=True, lower=True)

    apart = whitened(points)[:, :, None] - whitened(dataset)[:, None, :]
    logs = -0.5 * jnp.sum(apart * apart, axis=0)
    log_scale = 0.5 * dataset.shape[0] * math.log(2 * math.pi)
    norm = log_scale + jnp.sum(jnp.log(jnp.diagonal(root)))
    return special.logsumexp(logs, b=weights, axis=-1) - norm
