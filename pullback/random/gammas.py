"""Gamma numbers and what is made of them."""

from __future__ import annotations

from typing import Any

from pullback.core.avals import aval_of
from pullback.ops import conversion, elementwise, rearrange, reductions, sampling
from pullback.random.basic import (
    as_dtype,
    broadcast_parameter,
    float_dtype,
    operand,
    parameter_shape,
    rademacher,
)
from pullback.random.engines import as_threefry
from pullback.random.keys import one_key, sample_shape, split_into
from pullback.random.normals import normal_of
from pullback.random.transformed import exponential_of
from pullback.runtime.composites import compiled_when_eager

__all__ = [
    "ball",
    "beta",
    "chisquare",
    "dirichlet",
    "f",
    "gamma",
    "generalized_normal",
    "loggamma",
    "t",
]


def gamma_of(key: Any, a: Any, shape: tuple[int, ...], dtype: Any, log_space: bool = False) -> Any:
    """Gamma numbers, or their logarithms, of a checked key."""
    threefry = as_threefry(key)
    return sampling.random_gamma(
        threefry, broadcast_parameter(a, dtype, shape), log_space=log_space
    )


@compiled_when_eager("shape", "dtype", "out_sharding")
def gamma(
    key: Any, a: Any, shape: Any = None, dtype: Any = None, *, out_sharding: Any = None
) -> Any:
    """Numbers with density proportional to x^(a - 1) exp(-x); differentiable in `a`.

    >>> from pullback.random.keys import PRNGKey
    >>> bool((gamma(PRNGKey(0), 2.0, (9,)) > 0).all())
    True
    """
    found, shape = float_dtype("gamma", dtype), parameter_shape("gamma", shape, a)
    return gamma_of(one_key("gamma", key), a, shape, found)


@compiled_when_eager("shape", "dtype", "out_sharding")
def loggamma(
    key: Any, a: Any, shape: Any = None, dtype: Any = None, *, out_sharding: Any = None
) -> Any:
    """Logarithms of Gamma numbers, exact where the numbers would underflow (small `a`).

    >>> from pullback.random.keys import PRNGKey
    >>> loggamma(PRNGKey(0), 1e-3, (9,)).shape
    (9,)
    """
    found, shape = float_dtype("loggamma", dtype), parameter_shape("loggamma", shape, a)
    return gamma_of(one_key("loggamma", key), a, shape, found, log_space=True)


@compiled_when_eager("shape", "dtype", "out_sharding")
def beta(
    key: Any,
    a: Any,
    b: Any,
    shape: Any = None,
    dtype: Any = None,
    *,
    out_sharding: Any = None,
) -> Any:
    """Numbers in (0, 1) with density proportional to x^(a - 1) (1 - x)^(b - 1).

    >>> from pullback.random.keys import PRNGKey
    >>> bool((beta(PRNGKey(0), 2.0, 3.0, (9,)) < 1).all())
    True
    """
    found, shape = float_dtype("beta", dtype), parameter_shape("beta", shape, a, b)
    e, (first, second) = elementwise, split_into(one_key("beta", key), 2)
    log_a = gamma_of(first, a, shape, found, log_space=True)
    log_b = gamma_of(second, b, shape, found, log_space=True)
    most = e.max_(log_a, log_b)
    part_a, part_b = e.exp(e.sub(log_a, most)), e.exp(e.sub(log_b, most))
    return e.div(part_a, e.add(part_a, part_b))


@compiled_when_eager("shape", "dtype", "out_sharding")
def dirichlet(
    key: Any, alpha: Any, shape: Any = None, dtype: Any = None, *, out_sharding: Any = None
) -> Any:
    """Vectors of probabilities along a last axis, with concentrations `alpha` [..., n].

    >>> from pullback.random.keys import PRNGKey
    >>> import numpy as np
    >>> dirichlet(PRNGKey(0), np.ones(3), (2,)).shape
    (2, 3)
    """
    found, aval = float_dtype("dirichlet", dtype), aval_of(alpha)
    if aval.ndim < 1:
        raise ValueError(f"dirichlet requires alpha.ndim >= 1, got alpha.ndim == {aval.ndim}")
    batch = aval.shape[:-1] if shape is None else sample_shape(shape)
    full_shape = parameter_shape("dirichlet", (*batch, aval.shape[-1]), alpha)
    logs = gamma_of(one_key("dirichlet", key), alpha, full_shape, found, log_space=True)
    return softmax(logs, len(batch))


def softmax(x: Any, axis: int) -> Any:
    """exp(x) along an axis, divided by its sum."""
    e, shape = elementwise, aval_of(x).shape
    others = tuple(k for k in range(len(shape)) if k != axis)

    def spread(y: Any) -> Any:
        return rearrange.broadcast_in_dim(
            y, shape=shape, broadcast_dimensions=others, sharding=None
        )

    most = conversion.stop_gradient(reductions.reduce_max(x, axes=(axis,), out_sharding=None))
    powers = e.exp(e.sub(x, spread(most)))
    return e.div(powers, spread(reductions.reduce_sum(powers, axes=(axis,), out_sharding=None)))


@compiled_when_eager("shape", "dtype", "out_sharding")
def chisquare(
    key: Any, df: Any, shape: Any = None, dtype: Any = None, *, out_sharding: Any = None
) -> Any:
    """Sums of the squares of `df` standard normal numbers.

    >>> from pullback.random.keys import PRNGKey
    >>> bool((chisquare(PRNGKey(0), 4.0, (9,)) > 0).all())
    True
    """
    found, shape = float_dtype("chisquare", dtype), parameter_shape("chisquare", shape, df)
    return _chisquare(one_key("chisquare", key), as_dtype(df, found), shape, found)


def _chisquare(key: Any, df: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    e = elementwise
    logs = gamma_of(key, e.div(df, dtype.type(2)), shape, dtype, log_space=True)
    return e.mul(e.exp(logs), dtype.type(2))


@compiled_when_eager("shape", "dtype", "out_sharding")
def f(
    key: Any,
    dfnum: Any,
    dfden: Any,
    shape: Any = None,
    dtype: Any = None,
    *,
    out_sharding: Any = None,
) -> Any:
    """Quotients of chi-square numbers, each divided by its degrees of freedom.

    >>> from pullback.random.keys import PRNGKey
    >>> bool((f(PRNGKey(0), 4.0, 5.0, (9,)) > 0).all())
    True
    """
    found, shape = float_dtype("f", dtype), parameter_shape("f", shape, dfnum, dfden)
    dfnum, dfden = operand(dfnum, found, shape), operand(dfden, found, shape)
    e, (first, second) = elementwise, split_into(one_key("f", key), 2)
    above = _chisquare(second, dfnum, shape, found)
    below = _chisquare(first, dfden, shape, found)
    return e.div(e.div(above, dfnum), e.div(below, dfden))


@compiled_when_eager("shape", "dtype", "out_sharding")
def t(key: Any, df: Any, shape: Any = None, dtype: Any = None, *, out_sharding: Any = None) -> Any:
    """Numbers of Student's distribution with `df` degrees of freedom.

    >>> from pullback.random.keys import PRNGKey
    >>> t(PRNGKey(0), 4.0, (9,)).shape
    (9,)
    """
    found, shape = float_dtype("t", dtype), parameter_shape("t", shape, df)
    e, (first, second) = elementwise, split_into(one_key("t", key), 2)
    half = e.div(operand(df, found, shape), found.type(2))
    g = gamma_of(second, half, shape, found)
    return e.mul(normal_of(first, shape, found), e.sqrt(e.div(half, g)))


@compiled_when_eager("shape", "dtype", "out_sharding")
def generalized_normal(
    key: Any, p: Any, shape: Any = (), dtype: Any = None, *, out_sharding: Any = None
) -> Any:
    """Numbers with density proportional to exp(-|x|^p).

    >>> from pullback.random.keys import PRNGKey
    >>> generalized_normal(PRNGKey(0), 3.0, (9,)).shape
    (9,)
    """
    found = float_dtype("generalized_normal", dtype)
    shape = parameter_shape("generalized_normal", sample_shape(shape), p)
    e, (first, second) = elementwise, split_into(one_key("generalized_normal", key), 2)
    exponent = e.div(found.type(1), broadcast_parameter(p, found, shape))
    size = e.pow_(gamma_of(first, exponent, shape, found), exponent)
    return e.mul(rademacher(second, shape, found), size)


@compiled_when_eager("d", "shape", "dtype", "out_sharding")
def ball(
    key: Any,
    d: int,
    p: Any = 2,
    shape: Any = (),
    dtype: Any = None,
    *,
    out_sharding: Any = None,
) -> Any:
    """Points of the `d`-dimensional unit ball of the `p` norm.

    F. Barthe, O. Guedon, S. Mendelson, A. Naor, "A probabilistic approach to the geometry of the
    l_p^n-ball", Annals of Probability 33 (2005).

    >>> from pullback.random.keys import PRNGKey
    >>> ball(PRNGKey(0), 3, shape=(4,)).shape
    (4, 3)
    """
    found, shape = float_dtype("ball", dtype), sample_shape(shape)
    e, (first, second) = elementwise, split_into(one_key("ball", key), 2)
    g = generalized_normal(first, p, (*shape, d), found)
    p = as_dtype(p, found)
    sums = reductions.reduce_sum(e.pow_(e.abs_(g), p), axes=(len(shape),), out_sharding=None)
    total = e.add(sums, exponential_of(second, shape, found))
    length = e.pow_(total, e.div(found.type(1), p))
    dims = tuple(range(len(shape)))
    return e.div(
        g,
        rearrange.broadcast_in_dim(
            length, shape=(*shape, d), broadcast_dimensions=dims, sharding=None
        ),
    )
