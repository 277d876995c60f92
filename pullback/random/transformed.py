"""Distributions whose numbers are one function of a uniform number."""

from __future__ import annotations

import math
from typing import Any

from pullback import config
from pullback.core import dtypes
from pullback.ops import elementwise
from pullback.random.basic import (
    broadcast_parameter,
    float_dtype,
    operand,
    parameter_shape,
    two_uniforms,
    uniform_of,
)
from pullback.random.keys import one_key, sample_shape
from pullback.runtime.composites import compiled_when_eager

__all__ = [
    "cauchy",
    "exponential",
    "gumbel",
    "laplace",
    "logistic",
    "pareto",
    "rayleigh",
    "triangular",
    "weibull_min",
]


def _info(dtype: Any) -> Any:
    return dtypes.finfo(dtype)  # type: ignore[no-untyped-call]


@compiled_when_eager("shape", "dtype", "out_sharding")
def exponential(key: Any, shape: Any = (), dtype: Any = None, *, out_sharding: Any = None) -> Any:
    """Numbers with density exp(-x) for x >= 0.

    >>> from pullback.random.keys import PRNGKey
    >>> bool((exponential(PRNGKey(0), (9,)) >= 0).all())
    True
    """
    found, shape = float_dtype("exponential", dtype), sample_shape(shape)
    return exponential_of(one_key("exponential", key), shape, found)


def exponential_of(key: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    """Exponential numbers of a checked key."""
    e = elementwise
    return e.neg(e.log1p(e.neg(uniform_of(key, shape, dtype))))


@compiled_when_eager("shape", "dtype", "mode", "out_sharding")
def gumbel(
    key: Any,
    shape: Any = (),
    dtype: Any = None,
    mode: str | None = None,
    *,
    out_sharding: Any = None,
) -> Any:
    """Numbers with distribution function exp(-exp(-x)); `mode="high"` reaches further tails.

    >>> from pullback.random.keys import PRNGKey
    >>> gumbel(PRNGKey(0), (9,)).shape
    (9,)
    """
    found, shape = float_dtype("gumbel", dtype), sample_shape(shape)
    return gumbel_of(one_key("gumbel", key), shape, found, mode)


def gumbel_of(key: Any, shape: tuple[int, ...], dtype: Any, mode: str | None = None) -> Any:
    """Gumbel numbers of a checked key."""
    if mode not in (None, "low", "high"):
        raise ValueError(f"Must provide valid mode for gumbel got: {mode}")
    if mode is None and config.high_dynamic_range_gumbel():
        mode = "high"
    e, tiny = elementwise, dtype.type(_info(dtype).tiny)
    if mode != "high":
        u = uniform_of(key, shape, dtype, tiny, dtype.type(1))
        return e.neg(e.log(e.neg(e.log(u))))
    high, low = two_uniforms(key, shape, dtype)
    precise = e.add(e.add(high, e.mul(dtype.type(_info(dtype).eps), low)), tiny)
    u = e.select_n(e.ge(high, dtype.type(0.5)), precise, high)
    return e.neg(e.log(e.neg(e.log1p(e.neg(u)))))


@compiled_when_eager("shape", "dtype", "out_sharding")
def laplace(key: Any, shape: Any = (), dtype: Any = None, *, out_sharding: Any = None) -> Any:
    """Numbers with density exp(-|x|) / 2.

    >>> from pullback.random.keys import PRNGKey
    >>> laplace(PRNGKey(0), (9,)).shape
    (9,)
    """
    found, shape = float_dtype("laplace", dtype), sample_shape(shape)
    low = found.type(-1 + float(_info(found).epsneg))
    e, u = elementwise, uniform_of(one_key("laplace", key), shape, found, low, found.type(1))
    return e.mul(e.sign(u), e.log1p(e.neg(e.abs_(u))))


@compiled_when_eager("shape", "dtype", "out_sharding")
def logistic(key: Any, shape: Any = (), dtype: Any = None, *, out_sharding: Any = None) -> Any:
    """Numbers with distribution function 1 / (1 + exp(-x)).

    >>> from pullback.random.keys import PRNGKey
    >>> logistic(PRNGKey(0), (9,)).shape
    (9,)
    """
    found, shape = float_dtype("logistic", dtype), sample_shape(shape)
    low = found.type(_info(found).tiny)
    e, u = elementwise, uniform_of(one_key("logistic", key), shape, found, low, found.type(1))
    return e.sub(e.log(u), e.log1p(e.neg(u)))


@compiled_when_eager("shape", "dtype", "out_sharding")
def cauchy(key: Any, shape: Any = (), dtype: Any = None, *, out_sharding: Any = None) -> Any:
    """Numbers with density 1 / (pi (1 + x^2)).

    >>> from pullback.random.keys import PRNGKey
    >>> cauchy(PRNGKey(0), (9,)).shape
    (9,)
    """
    found, shape = float_dtype("cauchy", dtype), sample_shape(shape)
    low = found.type(_info(found).eps)
    e, u = elementwise, uniform_of(one_key("cauchy", key), shape, found, low, found.type(1))
    return e.tan(e.mul(found.type(math.pi), e.sub(u, found.type(0.5))))


@compiled_when_eager("shape", "dtype", "out_sharding")
def pareto(
    key: Any, b: Any, shape: Any = None, dtype: Any = None, *, out_sharding: Any = None
) -> Any:
    """Numbers with density b / x^(b + 1) for x >= 1.

    >>> from pullback.random.keys import PRNGKey
    >>> bool((pareto(PRNGKey(0), 2.0, (9,)) >= 1).all())
    True
    """
    found, shape = float_dtype("pareto", dtype), parameter_shape("pareto", shape, b)
    x = exponential_of(one_key("pareto", key), shape, found)
    return elementwise.exp(elementwise.div(x, operand(b, found, shape)))


@compiled_when_eager("shape", "dtype", "out_sharding")
def rayleigh(
    key: Any, scale: Any, shape: Any = None, dtype: Any = None, *, out_sharding: Any = None
) -> Any:
    """Lengths of two-dimensional normal vectors of this standard deviation.

    >>> from pullback.random.keys import PRNGKey
    >>> bool((rayleigh(PRNGKey(0), 2.0, (9,)) >= 0).all())
    True
    """
    found, shape = float_dtype("rayleigh", dtype), parameter_shape("rayleigh", shape, scale)
    e, u = elementwise, uniform_of(one_key("rayleigh", key), shape, found)
    length = e.sqrt(e.mul(e.log(u), found.type(-2)))
    return e.mul(operand(scale, found, shape), length)


@compiled_when_eager("shape", "dtype")
def weibull_min(
    key: Any, scale: Any, concentration: Any, shape: Any = (), dtype: Any = None
) -> Any:
    """Numbers with distribution function 1 - exp(-(x / scale)^concentration).

    >>> from pullback.random.keys import PRNGKey
    >>> bool((weibull_min(PRNGKey(0), 2.0, 1.5, (9,)) >= 0).all())
    True
    """
    found, shape = float_dtype("weibull_min", dtype), sample_shape(shape)
    x = exponential_of(one_key("weibull_min", key), shape, found)
    e, wide = elementwise, parameter_shape("weibull_min", None, x, scale, concentration)
    power = e.div(found.type(1), operand(concentration, found, wide))
    x = broadcast_parameter(x, found, wide)
    return e.mul(e.pow_(x, power), operand(scale, found, wide))


@compiled_when_eager("shape", "dtype", "out_sharding")
def triangular(
    key: Any,
    left: Any,
    mode: Any,
    right: Any,
    shape: Any = None,
    dtype: Any = None,
    *,
    out_sharding: Any = None,
) -> Any:
    """Numbers whose density rises linearly from `left` to `mode` and falls to `right`.

    >>> from pullback.random.keys import PRNGKey
    >>> bool((triangular(PRNGKey(0), 0.0, 1.0, 2.0, (9,)) <= 2).all())
    True
    """
    found = float_dtype("triangular", dtype)
    shape = parameter_shape("triangular", shape, left, mode, right)
    left, mode, right = (broadcast_parameter(x, found, shape) for x in (left, mode, right))
    e, u = elementwise, uniform_of(one_key("triangular", key), shape, found)
    span = e.sub(right, left)
    before = e.sub(mode, left)
    rising = e.add(left, e.sqrt(e.mul(e.mul(u, span), before)))
    rest = e.mul(e.mul(e.sub(found.type(1), u), span), e.sub(right, mode))
    falling = e.sub(right, e.sqrt(rest))
    return e.select_n(e.lt(u, e.div(before, span)), falling, rising)
