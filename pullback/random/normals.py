"""Normal numbers and what is made of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pullback.core import dtypes
from pullback.core.dtypes import check_user_dtype
from pullback.ops import conversion, elementwise, reductions, sampling, special
from pullback.random.basic import (
    broadcast_parameter,
    float_dtype,
    operand,
    parameter_shape,
    rademacher,
    uniform_of,
)
from pullback.random.keys import one_key, sample_shape, split_into
from pullback.runtime.composites import compiled_when_eager

__all__ = ["double_sided_maxwell", "lognormal", "maxwell", "normal", "truncated_normal", "wald"]


@compiled_when_eager("shape", "dtype", "out_sharding")
def normal(key: Any, shape: Any = (), dtype: Any = None, *, out_sharding: Any = None) -> Any:
    """Standard normal numbers; complex ones have independent parts of variance 1/2.

    >>> from pullback.random.keys import PRNGKey
    >>> normal(PRNGKey(0), (2, 3)).shape
    (2, 3)
    """
    found = dtypes.default_float() if dtype is None else dtypes.as_dtype(dtype)
    if dtypes.kind_of(found) not in "fc":
        raise ValueError(
            f"dtype argument to `normal` must be a float or complex dtype, got {found.name}"
        )
    found = found if dtype is None else check_user_dtype(dtype, "normal")
    return normal_of(one_key("normal", key), sample_shape(shape), found)


def normal_of(key: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    """Normal numbers of a checked key."""
    if dtypes.kind_of(dtype) == "c":
        return _complex_normal(key, shape, dtype)
    low = np.nextafter(np.array(-1, dtype), np.array(0, dtype))[()]
    u = uniform_of(key, shape, dtype, low, dtype.type(1))
    return elementwise.mul(dtype.type(math.sqrt(2)), sampling.erf_inv_giles(u))


def _complex_normal(key: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    part = dtypes.to_real_dtype(dtype)
    real, imag = (normal_of(k, shape, part) for k in split_into(key, 2))
    whole = elementwise.complex_(real, imag)
    return elementwise.div(whole, dtype.type(part.type(math.sqrt(2))))


@compiled_when_eager("shape", "dtype", "out_sharding")
def truncated_normal(
    key: Any,
    lower: Any,
    upper: Any,
    shape: Any = None,
    dtype: Any = None,
    *,
    out_sharding: Any = None,
) -> Any:
    """Standard normal numbers within (lower, upper).

    >>> from pullback.random.keys import PRNGKey
    >>> bool((truncated_normal(PRNGKey(0), -1.0, 1.0, (9,)) < 1).all())
    True
    """
    found = float_dtype("truncated_normal", dtype)
    key, shape = (
        one_key("truncated_normal", key),
        parameter_shape("truncated_normal", shape, lower, upper),
    )
    e, sqrt2 = elementwise, found.type(math.sqrt(2))
    lower, upper = operand(lower, found, shape), operand(upper, found, shape)
    a, b = (special.erf(e.div(x, sqrt2)) for x in (lower, upper))
    u = uniform_of(key, shape, found, a, b)
    out = e.mul(sqrt2, sampling.erf_inv_giles(u))
    least = e.nextafter(conversion.stop_gradient(lower), found.type(math.inf))
    most = e.nextafter(conversion.stop_gradient(upper), found.type(-math.inf))
    return e.min_(most, e.max_(least, out))


@compiled_when_eager("shape", "dtype", "out_sharding")
def lognormal(
    key: Any,
    sigma: Any = np.float32(1.0),  # noqa: B008 (a NumPy scalar is immutable)
    shape: Any = None,
    dtype: Any = None,
    *,
    out_sharding: Any = None,
) -> Any:
    """exp(sigma z) with z standard normal.

    >>> from pullback.random.keys import PRNGKey
    >>> bool((lognormal(PRNGKey(0), 2.0, (9,)) > 0).all())
    True
    """
    found, shape = float_dtype("lognormal", dtype), parameter_shape("lognormal", shape, sigma)
    z = normal_of(one_key("lognormal", key), shape, found)
    return elementwise.exp(elementwise.mul(z, operand(sigma, found, shape)))


@compiled_when_eager("shape", "dtype", "out_sharding")
def maxwell(key: Any, shape: Any = (), dtype: Any = None, *, out_sharding: Any = None) -> Any:
    """Lengths of three-dimensional standard normal vectors.

    >>> from pullback.random.keys import PRNGKey
    >>> bool((maxwell(PRNGKey(0), (9,)) > 0).all())
    True
    """
    found, shape = float_dtype("maxwell", dtype), sample_shape(shape)
    z = normal_of(one_key("maxwell", key), (*shape, 3), found)
    squares = elementwise.mul(z, z)
    return elementwise.sqrt(reductions.reduce_sum(squares, axes=(len(shape),), out_sharding=None))


@compiled_when_eager("shape", "dtype")
def double_sided_maxwell(key: Any, loc: Any, scale: Any, shape: Any = (), dtype: Any = None) -> Any:
    """Maxwell numbers with a random sign, scaled and moved.

    >>> from pullback.random.keys import PRNGKey
    >>> double_sided_maxwell(PRNGKey(0), 0.0, 1.0, (2,)).shape
    (2,)
    """
    found, shape = float_dtype("double_sided_maxwell", dtype), sample_shape(shape)
    key = one_key("double_sided_maxwell", key)
    result = parameter_shape("double_sided_maxwell", None, loc, scale)
    shape = (*shape, *result)
    first, second = split_into(key, 2)
    e = elementwise
    signed = e.mul(rademacher(second, shape, found), maxwell(first, shape, found))
    scaled = e.mul(signed, operand(scale, found, shape))
    return e.add(scaled, operand(loc, found, shape))


@compiled_when_eager("shape", "dtype", "out_sharding")
def wald(
    key: Any, mean: Any, shape: Any = None, dtype: Any = None, *, out_sharding: Any = None
) -> Any:
    """Numbers of the inverse Gaussian distribution with this mean and scale 1.

    J. Michael, W. Schucany, R. Haas, The American Statistician 30 (1976).

    >>> from pullback.random.keys import PRNGKey
    >>> bool((wald(PRNGKey(0), 2.0, (9,)) > 0).all())
    True
    """
    found, shape = float_dtype("wald", dtype), parameter_shape("wald", shape, mean)
    first, second = split_into(one_key("wald", key), 2)
    e, mean = elementwise, broadcast_parameter(mean, found, shape)
    v, u = normal_of(first, shape, found), uniform_of(second, shape, found)
    z = e.integer_pow(v, y=2)
    mean_squared = e.integer_pow(mean, y=2)
    inner = e.add(e.mul(e.mul(4.0, mean), z), e.mul(mean_squared, e.integer_pow(z, y=2)))
    forward = e.add(mean, e.div(e.mul(mean_squared, z), 2.0))
    x = e.sub(forward, e.mul(e.div(mean, 2.0), e.sqrt(inner)))
    small = e.le(u, e.div(mean, e.add(mean, x)))
    return e.select_n(small, e.div(mean_squared, x), x)
