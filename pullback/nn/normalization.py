"""Functions over an axis: softmax and its kin, one-hot encoding, standardisation."""

from __future__ import annotations

from typing import Any, Final

import pullback.numpy as jnp
from pullback import config, lax
from pullback.control.custom_jvp import custom_jvp
from pullback.numpy.promotion import promote_dtypes_inexact
from pullback.runtime.composites import compiled_when_eager

__all__ = [
    "log_softmax",
    "logmeanexp",
    "logsumexp",
    "one_hot",
    "softmax",
    "standardize",
]


def _axes(axis: Any, ndim: int) -> tuple[int, ...]:
    if axis is None:
        return tuple(range(ndim))
    axes = axis if isinstance(axis, tuple | list) else (axis,)
    for k in axes:
        if not -ndim <= k < ndim:
            raise ValueError(f"axis {k} is out of bounds for array of dimension {ndim}")
    return tuple(k % ndim for k in axes)


def _shifted(x: Any, axis: Any, where: Any) -> tuple[Any, Any]:
    """`x` minus its largest element, which no derivative sees, and the exponentials of that."""
    largest = jnp.max(x, axis, where=where, initial=-jnp.inf, keepdims=True)
    kept = x if where is None else jnp.where(where, x, -jnp.inf)
    shifted = kept - lax.stop_gradient(largest)
    powers = jnp.exp(shifted)
    return shifted, powers if where is None else jnp.where(where, powers, 0.0)


@compiled_when_eager("axis")
def softmax(x: Any, axis: Any = -1, where: Any = None) -> Any:
    """exp(x) divided by its sum over `axis`; elements where `where` is false give 0.

    >>> softmax(jnp.array([0.0, 0.0])).tolist()
    [0.5, 0.5]
    """
    return (_softmax_by_result if config.softmax_custom_jvp() else _softmax)(axis, x, where)


def _softmax(axis: Any, x: Any, where: Any) -> Any:
    x = jnp.asarray(x)
    _, powers = _shifted(x, axis, where)
    result = powers / jnp.sum(powers, axis, where=where, keepdims=True)
    return result if where is None else jnp.where(where, result, 0)


_softmax_by_result: Final = custom_jvp(_softmax, nondiff_argnums=(0,))


@_softmax_by_result.defjvp
def _softmax_jvp(axis: Any, primals: Any, tangents: Any) -> tuple[Any, Any]:
    """The derivative in terms of the result alone, which is all that is kept."""
    (x, where), (t, _) = primals, tangents
    y = _softmax_by_result(axis, x, where)
    slope = y * t if where is None else jnp.where(where, y * t, 0)
    return y, slope - y * slope.sum(axis, where=where, keepdims=True)


@compiled_when_eager("axis")
def log_softmax(x: Any, axis: Any = -1, where: Any = None) -> Any:
    """log(softmax(x)), exact where that is tiny; -inf where `where` is false.

    >>> round(float(log_softmax(jnp.array([0.0, 0.0]))[0]), 4)
    -0.6931
    """
    x = jnp.asarray(x)
    shifted, powers = _shifted(x, axis, where)
    result = shifted - jnp.log(jnp.sum(powers, axis, where=where, keepdims=True))
    return result if where is None else jnp.where(where, result, -jnp.inf)


@compiled_when_eager("axis", "keepdims", "return_sign")
def logsumexp(
    a: Any,
    axis: Any = None,
    b: Any = None,
    keepdims: bool = False,
    return_sign: bool = False,
    where: Any = None,
) -> Any:
    """log(sum(b exp(a))) over `axis`, without overflow.

    With `return_sign` the sum may be negative: the result is the logarithm of its magnitude, and
    its sign.

    >>> round(float(logsumexp(jnp.array([1000.0, 1000.0]))), 3)
    1000.693
    """
    a, b = jnp.asarray(a), None if b is None else jnp.asarray(b)
    if b is None:
        (a,) = promote_dtypes_inexact(a)
    else:
        a, b = jnp.broadcast_arrays(*promote_dtypes_inexact(a, b))
        a = jnp.where(b != 0, a, -jnp.inf)
    axes = _axes(axis, a.ndim)
    real = a.real if jnp.issubdtype(a.dtype, jnp.complexfloating) else a
    largest = jnp.max(real, axes, where=where, initial=-jnp.inf, keepdims=True)
    largest = lax.stop_gradient(jnp.where(jnp.isfinite(largest), largest, 0))
    powers = jnp.exp(a - largest)
    powers = powers if b is None else b * powers
    total = jnp.sum(powers, axes, where=where, keepdims=keepdims)
    shift = largest if keepdims else jnp.squeeze(largest, axes)
    if jnp.issubdtype(total.dtype, jnp.complexfloating):
        sign = jnp.sign(total)
        return (jnp.log(jnp.abs(total)) + shift, sign) if return_sign else jnp.log(total) + shift
    if return_sign:
        return jnp.log(jnp.abs(total)) + shift, jnp.sign(total)
    result = jnp.log(jnp.abs(total)) + shift
    return result if b is None else jnp.where(total < 0, jnp.nan, result)


@compiled_when_eager("axis", "keepdims")
def logmeanexp(x: Any, axis: Any = None, where: Any = None, keepdims: bool = False) -> Any:
    """log(mean(exp(x))) over `axis`, without overflow.

    >>> float(logmeanexp(jnp.array([2.0, 2.0])))
    2.0
    """
    x = jnp.asarray(x)
    total = logsumexp(x, axis=axis, where=where, keepdims=keepdims)
    if where is None:
        count: Any = 1
        for k in _axes(axis, x.ndim):
            count *= x.shape[k]
    else:
        count = jnp.sum(jnp.broadcast_to(where, x.shape), axis, keepdims=keepdims)
    return total - jnp.log(jnp.asarray(count, total.dtype))


@compiled_when_eager("num_classes", "dtype", "axis")
def one_hot(x: Any, num_classes: int, *, dtype: Any = None, axis: Any = -1) -> Any:
    """1 at the position that `x` names along a new axis, 0 elsewhere; all 0 if out of range.

    >>> one_hot(jnp.array([2, 0, 5]), 3).tolist()
    [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    """
    x, classes = jnp.asarray(x), int(num_classes)
    ndim = x.ndim + 1
    if not -ndim <= axis < ndim:
        raise ValueError(f"one_hot: axis {axis} is out of bounds for a result of rank {ndim}")
    position = axis % ndim
    shape = tuple(classes if k == position else 1 for k in range(ndim))
    names = lax.broadcasted_iota(x.dtype, shape, position)
    hot = jnp.expand_dims(x, position) == names
    return hot.astype(jnp.result_type(float) if dtype is None else dtype)


@compiled_when_eager("axis")
def standardize(
    x: Any,
    axis: Any = -1,
    mean: Any = None,
    variance: Any = None,
    epsilon: Any = 1e-5,
    where: Any = None,
    *,
    algorithm: str = "fast",
) -> Any:
    """(x - mean) / sqrt(variance + epsilon) over `axis`, with moments given or computed.

    `algorithm` "fast" takes the variance as the mean of the squares less the square of the mean,
    "stable" as the mean of the squared deviations, which loses fewer digits.

    >>> standardize(jnp.array([1.0, 3.0]), epsilon=0).tolist()
    [-1.0, 1.0]
    """
    x = jnp.asarray(x)
    if mean is None:
        mean = jnp.mean(x, axis, keepdims=True, where=where)
    if variance is None:
        variance = _variance(x, axis, mean, where, algorithm)
    return jnp.subtract(x, jnp.asarray(mean)) * lax.rsqrt(jnp.asarray(variance) + epsilon)


def _variance(x: Any, axis: Any, mean: Any, where: Any, algorithm: str) -> Any:
    if algorithm == "fast":
        squares = jnp.mean(jnp.square(x), axis, keepdims=True, where=where)
        return jnp.clip(squares - jnp.square(mean), 0)
    if algorithm == "stable":
        return jnp.mean(jnp.square(x - mean), axis, keepdims=True, where=where)
    raise ValueError(f"standardize: algorithm must be 'fast' or 'stable', got {algorithm!r}")
