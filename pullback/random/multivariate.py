"""Distributions over vectors and matrices, made of normal numbers by linear algebra."""

from __future__ import annotations

from typing import Any

import numpy as np

from pullback.core import dtypes
from pullback.core.avals import aval_of
from pullback.core.dtypes import check_user_dtype
from pullback.core.primitive import registry
from pullback.errors import UnsupportedError
from pullback.ops import conversion, elementwise, rearrange
from pullback.random.basic import broadcast_parameter, float_dtype, parameter_shape
from pullback.random.discrete import take
from pullback.random.keys import one_key, sample_shape
from pullback.random.normals import normal_of
from pullback.runtime.composites import compiled_when_eager

__all__ = ["multivariate_normal", "orthogonal"]

e = elementwise


def _decomposition(name: str, used_by: str) -> Any:
    found = registry.get(name)
    if found is None:
        raise UnsupportedError(f"random.{used_by} needs the primitive {name!r}, which is missing")
    return found


def _swapped(x: Any) -> Any:
    rank = aval_of(x).ndim
    return rearrange.transpose(x, permutation=(*range(rank - 2), rank - 1, rank - 2))


def _columns_scaled(x: Any, scale: Any) -> Any:
    """A batch of matrices with each column multiplied by a number."""
    shape = aval_of(x).shape
    dims = (*range(len(shape) - 2), len(shape) - 1)
    wide = rearrange.broadcast_in_dim(scale, shape=shape, broadcast_dimensions=dims, sharding=None)
    return e.mul(x, wide)


def _root(cov: Any, method: str) -> Any:
    """A matrix whose product with its transpose is `cov`."""
    symmetric = e.div(e.add(cov, _swapped(cov)), 2.0)
    if method == "cholesky":
        factor = _decomposition("cholesky", "multivariate_normal")(symmetric)
        return _lower_triangle(factor)
    if method == "eigh":
        vectors, values = _decomposition("eigh", "multivariate_normal")(
            symmetric, lower=True, sort_eigenvalues=True, subset_by_index=None, algorithm=None
        )
        return _columns_scaled(vectors, e.sqrt(values))
    values, vectors, _ = _decomposition("svd", "multivariate_normal")(
        cov, full_matrices=True, compute_uv=True, subset_by_index=None, algorithm=None
    )
    return _columns_scaled(vectors, e.sqrt(values))


def _lower_triangle(x: Any) -> Any:
    shape = aval_of(x).shape
    rows, columns = (
        rearrange.iota(dtype=dtypes.int32, shape=shape, dimension=len(shape) - k, sharding=None)
        for k in (2, 1)
    )
    return e.select_n(e.ge(rows, columns), rearrange.full_like(x, 0), x)


@compiled_when_eager("shape", "dtype", "method", "out_sharding")
def multivariate_normal(
    key: Any,
    mean: Any,
    cov: Any,
    shape: Any = None,
    dtype: Any = None,
    method: str = "cholesky",
    *,
    out_sharding: Any = None,
) -> Any:
    """Normal vectors with mean [..., n] and covariance [..., n, n].

    `method` is the decomposition of the covariance: "cholesky", "eigh" or "svd".
    """
    found = float_dtype("multivariate_normal", dtype)
    if method not in ("cholesky", "eigh", "svd"):
        raise ValueError(f"method must be one of 'svd', 'eigh' or 'cholesky', got {method!r}")
    mean_shape, cov_shape = aval_of(mean).shape, aval_of(cov).shape
    if len(mean_shape) < 1:
        raise ValueError(f"multivariate_normal requires mean.ndim >= 1, got shape {mean_shape}")
    n = mean_shape[-1]
    if cov_shape[-2:] != (n, n):
        raise ValueError(
            f"multivariate_normal requires cov.shape == (..., n, n) for n={n}, "
            f"but got cov.shape == {cov_shape}."
        )
    batches = (np.empty(mean_shape[:-1], np.bool_), np.empty(cov_shape[:-2], np.bool_))
    batch = parameter_shape("multivariate_normal", shape, *batches)
    # The dtype is that of the normal numbers; the result is at least as wide as the parameters.
    given: Any = dtypes.to_inexact_dtype(dtypes.result_type(mean, cov))
    wide: Any = dtypes.result_type(np.empty((), given), np.empty((), found))
    factor = _root(conversion.convert(cov, wide), method)
    z = normal_of(one_key("multivariate_normal", key), (*batch, n), found)
    spread = _product(factor, conversion.convert(z, wide), batch, n)
    return e.add(broadcast_parameter(mean, wide, (*batch, n)), spread)


def _product(factor: Any, z: Any, batch: tuple[int, ...], n: int) -> Any:
    """Each vector of `z` multiplied by its matrix."""
    dot = registry["dot_general"]
    params = {"precision": None, "preferred_element_type": aval_of(z).dtype, "out_sharding": None}
    if aval_of(factor).ndim == 2:
        numbers = (((len(batch),), (1,)), ((), ()))
        return dot(z, factor, dimension_numbers=numbers, **params)
    rank = len(batch)
    factor = broadcast_parameter(factor, aval_of(z).dtype, (*batch, n, n))
    axes = tuple(range(rank))
    return dot(factor, z, dimension_numbers=(((rank + 1,), (rank,)), (axes, axes)), **params)


@compiled_when_eager("n", "shape", "dtype", "m", "out_sharding")
def orthogonal(
    key: Any,
    n: int,
    shape: Any = (),
    dtype: Any = None,
    m: int | None = None,
    *,
    out_sharding: Any = None,
) -> Any:
    """Orthogonal (unitary, for complex dtypes) matrices [n, m], uniform by the Haar measure.

    F. Mezzadri, "How to generate random matrices from the classical compact groups", Notices of the
    AMS 54 (2007).
    """
    found = dtypes.default_float() if dtype is None else check_user_dtype(dtype, "orthogonal")
    if dtypes.kind_of(found) not in "fc":
        raise ValueError(f"orthogonal needs a float or complex dtype, got {found.name}")
    shape, m = sample_shape(shape), n if m is None else m
    rows, columns = max(n, m), min(n, m)
    if columns == 0:
        return rearrange.full((*shape, n, m), 0, found)
    z = normal_of(one_key("orthogonal", key), (*shape, rows, columns), found)
    q, r = _decomposition("qr", "orthogonal")(
        z, pivoting=False, full_matrices=False, use_magma=None
    )
    q = _columns_scaled(q, e.sign(_diagonal(r, columns)))
    return q if n == rows else _conjugate_transpose(q)


def _diagonal(x: Any, n: int) -> Any:
    shape = aval_of(x).shape
    flat = rearrange.reshape(x, new_sizes=(*shape[:-2], n * n), dimensions=None, sharding=None)
    return take(flat, np.arange(n, dtype=np.int32) * np.int32(n + 1), len(shape) - 2)


def _conjugate_transpose(x: Any) -> Any:
    swapped = _swapped(x)
    return e.conj(swapped) if dtypes.kind_of(aval_of(x).dtype) == "c" else swapped
