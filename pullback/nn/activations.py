"""Activation functions, element by element.  All keep shapes; integers become floats first."""

from __future__ import annotations

import math
from typing import Any, Final

import pullback.numpy as jnp
from pullback import lax
from pullback.control.custom_jvp import custom_jvp
from pullback.numpy.promotion import promote_dtypes_inexact
from pullback.runtime.composites import compiled_when_eager

__all__ = [
    "celu",
    "elu",
    "gelu",
    "glu",
    "hard_sigmoid",
    "hard_silu",
    "hard_swish",
    "hard_tanh",
    "identity",
    "leaky_relu",
    "log1mexp",
    "log_sigmoid",
    "mish",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "soft_sign",
    "softplus",
    "sparse_plus",
    "sparse_sigmoid",
    "squareplus",
    "swish",
    "tanh",
]


def _array(x: Any) -> Any:
    return jnp.asarray(x)


def _inexact(x: Any) -> Any:
    """An operand as an array of floats (or complex numbers)."""
    return promote_dtypes_inexact(jnp.asarray(x))[0]


@custom_jvp
def relu(x: Any) -> Any:
    """max(x, 0); the derivative at 0 is 0.

    >>> relu(jnp.array([-1.0, 0.0, 2.0])).tolist()
    [0.0, 0.0, 2.0]
    """
    return jnp.maximum(x, 0)


@relu.defjvp
def _relu_jvp(primals: Any, tangents: Any) -> Any:
    (x,), (t,) = primals, tangents
    return relu(x), lax.select(_array(x) > 0, t, jnp.zeros_like(t))


@custom_jvp
def relu6(x: Any) -> Any:
    """min(max(x, 0), 6); the derivative is 0 at both ends.

    >>> relu6(jnp.array([-1.0, 3.0, 8.0])).tolist()
    [0.0, 3.0, 6.0]
    """
    return jnp.minimum(jnp.maximum(x, 0), 6.0)


@relu6.defjvp
def _relu6_jvp(primals: Any, tangents: Any) -> Any:
    (x,), (t,) = primals, tangents
    x = _array(x)
    return relu6(x), lax.select((x > 0) & (x < 6), t, jnp.zeros_like(t))


def identity(x: Any) -> Any:
    """x.

    >>> identity(jnp.array([1, 2])).tolist()
    [1, 2]
    """
    return _array(x)


def tanh(x: Any, /) -> Any:
    """The hyperbolic tangent.

    >>> float(tanh(0.0))
    0.0
    """
    return jnp.tanh(x)


def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x)).

    >>> float(sigmoid(0.0))
    0.5
    """
    return lax.logistic(x)


@compiled_when_eager()
def log_sigmoid(x: Any) -> Any:
    """log(sigmoid(x)), exact for large negative x.

    >>> float(log_sigmoid(-100.0))
    -100.0
    """
    return -softplus(-_array(x))


@compiled_when_eager()
def softplus(x: Any) -> Any:
    """log(1 + exp(x)).

    >>> float(softplus(100.0))
    100.0
    """
    return jnp.logaddexp(x, 0)


@compiled_when_eager()
def soft_sign(x: Any) -> Any:
    """x / (1 + |x|).

    >>> float(soft_sign(1.0))
    0.5
    """
    x = _array(x)
    return x / (jnp.abs(x) + 1)


@compiled_when_eager()
def silu(x: Any) -> Any:
    """x sigmoid(x), also called swish.

    >>> float(silu(0.0))
    0.0
    """
    x = _array(x)
    return x * sigmoid(x)


@compiled_when_eager()
def swish(x: Any) -> Any:
    """x sigmoid(x): another name of `silu`.

    >>> float(swish(0.0))
    0.0
    """
    return silu(x)


@compiled_when_eager()
def mish(x: Any) -> Any:
    """x tanh(softplus(x)).

    >>> float(mish(0.0))
    0.0
    """
    x = _array(x)
    return x * jnp.tanh(softplus(x))


@compiled_when_eager("approximate")
def gelu(x: Any, approximate: bool = True) -> Any:
    """x times the normal distribution function of x, or the usual tanh approximation of it.

    >>> float(gelu(0.0)), round(float(gelu(1.0, approximate=False)), 4)
    (0.0, 0.8413)
    """
    x = _inexact(x)
    if not approximate:
        return 0.5 * x * lax.erfc(-x * jnp.asarray(math.sqrt(0.5), x.dtype))
    inner = jnp.asarray(math.sqrt(2 / math.pi), x.dtype) * (x + 0.044715 * x**3)
    return x * (0.5 * (1.0 + jnp.tanh(inner)))


@compiled_when_eager()
def elu(x: Any, alpha: Any = 1.0) -> Any:
    """x where positive, alpha (exp(x) - 1) elsewhere.

    >>> elu(jnp.array([0.0, 2.0])).tolist()
    [0.0, 2.0]
    """
    x = _array(x)
    positive = x > 0
    return jnp.where(positive, x, alpha * jnp.expm1(jnp.where(positive, 0.0, x)))


_SELU_ALPHA: Final = 1.6732632423543772848170429916717
_SELU_SCALE: Final = 1.0507009873554804934193349852946


@compiled_when_eager()
def selu(x: Any) -> Any:
    """The scaled `elu` of self-normalising networks (Klambauer et al., 2017).

    >>> round(float(selu(1.0)), 4)
    1.0507
    """
    return _SELU_SCALE * elu(x, _SELU_ALPHA)


@compiled_when_eager()
def celu(x: Any, alpha: Any = 1.0) -> Any:
    """max(x, 0) + alpha (exp(min(x, 0) / alpha) - 1), continuously differentiable.

    >>> celu(jnp.array([0.0, 2.0]), alpha=2.0).tolist()
    [0.0, 2.0]
    """
    return jnp.maximum(x, 0.0) + alpha * jnp.expm1(jnp.minimum(x, 0.0) / alpha)


@compiled_when_eager()
def leaky_relu(x: Any, negative_slope: Any = 1e-2) -> Any:
    """x where it is not negative, a small multiple of it elsewhere.

    >>> leaky_relu(jnp.array([-1.0, 1.0]), 0.5).tolist()
    [-0.5, 1.0]
    """
    x = _array(x)
    return jnp.where(x >= 0, x, negative_slope * x)


@compiled_when_eager()
def hard_tanh(x: Any) -> Any:
    """x clipped to [-1, 1].

    >>> hard_tanh(jnp.array([-2.0, 0.5, 2.0])).tolist()
    [-1.0, 0.5, 1.0]
    """
    x = _array(x)
    return jnp.where(x > 1, 1, jnp.where(x < -1, -1, x))


@compiled_when_eager()
def hard_sigmoid(x: Any) -> Any:
    """relu6(x + 3) / 6.

    >>> float(hard_sigmoid(0.0))
    0.5
    """
    return relu6(_array(x) + 3.0) / 6.0


@compiled_when_eager()
def hard_silu(x: Any) -> Any:
    """x hard_sigmoid(x), also called hard swish.

    >>> float(hard_silu(3.0))
    3.0
    """
    x = _array(x)
    return x * hard_sigmoid(x)


@compiled_when_eager()
def hard_swish(x: Any) -> Any:
    """x hard_sigmoid(x): another name of `hard_silu`.

    >>> float(hard_swish(3.0))
    3.0
    """
    return hard_silu(x)


@compiled_when_eager()
def squareplus(x: Any, b: Any = 4) -> Any:
    """(x + sqrt(x² + b)) / 2 (Barron, 2021).

    >>> float(squareplus(0.0))
    1.0
    """
    x = _array(x)
    return (x + jnp.sqrt(jnp.square(x) + b)) / 2.0


@compiled_when_eager()
def sparse_plus(x: Any) -> Any:
    """0 below -1, x above 1, (x + 1)² / 4 between.

    >>> sparse_plus(jnp.array([-2.0, 0.0, 2.0])).tolist()
    [0.0, 0.25, 2.0]
    """
    x = _array(x)
    return jnp.where(x <= -1.0, 0.0, jnp.where(x >= 1.0, x, (x + 1.0) ** 2 / 4))


@compiled_when_eager()
def sparse_sigmoid(x: Any) -> Any:
    """0 below -1, 1 above 1, (x + 1) / 2 between.

    >>> sparse_sigmoid(jnp.array([-2.0, 0.0, 2.0])).tolist()
    [0.0, 0.5, 1.0]
    """
    return 0.5 * jnp.clip(_array(x) + 1.0, 0.0, 2.0)


@compiled_when_eager("axis")
def glu(x: Any, axis: int = -1) -> Any:
    """The first half of an axis times the sigmoid of its second half.

    >>> glu(jnp.array([2.0, 4.0, 0.0, 0.0])).tolist()
    [1.0, 2.0]
    """
    x = _array(x)
    if x.shape[axis] % 2:
        raise ValueError(f"glu: axis {axis} of {x.shape} must have an even length")
    first, second = jnp.split(x, 2, axis)
    return first * sigmoid(second)


@custom_jvp
def log1mexp(x: Any) -> Any:
    """log(1 - exp(-x)) for positive x (Mächler, 2012).

    >>> round(float(log1mexp(1.0)), 4)
    -0.4587
    """
    x = _inexact(x)
    small = x < math.log(2)
    safe = jnp.where(small, x, 1.0)
    return jnp.where(small, jnp.log(-jnp.expm1(-safe)), jnp.log1p(-jnp.exp(-x)))


@log1mexp.defjvp
def _log1mexp_jvp(primals: Any, tangents: Any) -> Any:
    (x,), (t,) = primals, tangents
    return log1mexp(x), t / jnp.expm1(x)
