"""`jax.image`: images resized, scaled and moved by separable resampling.

Along each axis that changes, a matrix says how much every pixel of the input weighs in every pixel
of the output; one contraction applies the matrices of all axes.  The weights are ordinary array
code, so that derivatives reach the image, the scale and the translation.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Sequence
from typing import Any, Final, final

import numpy as np

from pullback import lax
from pullback import numpy as jnp
from pullback.numpy.promotion import canonical_axis, promote_dtypes_inexact, static_shape

__all__ = ["ResizeMethod", "resize", "scale_and_translate"]


@final
class ResizeMethod(enum.Enum):
    """How the value of an output pixel is made from input pixels.

    >>> ResizeMethod.from_string("bicubic")
    <ResizeMethod.CUBIC: 4>
    """

    NEAREST = 0
    LINEAR = 1
    LANCZOS3 = 2
    LANCZOS5 = 3
    CUBIC = 4
    CUBIC_PYTORCH = 5
    AREA = 6

    @staticmethod
    def from_string(s: str) -> ResizeMethod:
        """The method of a name such as "bilinear"; ValueError for another name."""
        try:
            return _NAMES[s]
        except KeyError:
            raise ValueError(f'Unknown resize method "{s}"') from None


_NAMES: Final = {
    "nearest": ResizeMethod.NEAREST,
    **dict.fromkeys(("linear", "bilinear", "trilinear", "triangle"), ResizeMethod.LINEAR),
    "lanczos3": ResizeMethod.LANCZOS3,
    "lanczos5": ResizeMethod.LANCZOS5,
    **dict.fromkeys(("cubic", "bicubic", "tricubic"), ResizeMethod.CUBIC),
    **dict.fromkeys(("cubic-pytorch", "bicubic-pytorch"), ResizeMethod.CUBIC_PYTORCH),
    "area": ResizeMethod.AREA,
}


def _method(method: str | ResizeMethod) -> ResizeMethod:
    return ResizeMethod.from_string(method) if isinstance(method, str) else method


# --------------------------------------------------------------------------- kernels


def _triangle(x: Any) -> Any:
    return jnp.maximum(0, 1 - jnp.abs(x))


def _lanczos(radius: int, x: Any) -> Any:
    """sinc(x) sinc(x / radius) for |x| <= radius."""
    apart = jnp.where(x == 0, 1, x)
    product = jnp.sin(math.pi * apart) * jnp.sin(math.pi * apart / radius)
    value = radius * product / (math.pi**2 * apart * apart)
    return jnp.where(jnp.abs(x) > radius, 0, jnp.where(x == 0, 1, value))


def _keys(a: float, x: Any) -> Any:
    """The cubic convolution kernel with slope `a` at 1 (Keys, IEEE TASSP 29, 1981, eq. 4)."""
    x = jnp.abs(x)
    inner = ((a + 2) * x - (a + 3)) * x * x + 1
    outer = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return jnp.where(x >= 2, 0, jnp.where(x >= 1, outer, inner))


def _kernel(method: ResizeMethod, antialias: bool) -> Callable[[Any], Any]:
    if method is ResizeMethod.LINEAR:
        return _triangle
    if method is ResizeMethod.LANCZOS3:
        return lambda x: _lanczos(3, x)
    if method is ResizeMethod.LANCZOS5:
        return lambda x: _lanczos(5, x)
    slope = -0.75 if method is ResizeMethod.CUBIC_PYTORCH and not antialias else -0.5
    return lambda x: _keys(slope, x)


# --------------------------------------------------------------------------- weights


def _positions(outputs: int, inverse: Any, translation: Any, dtype: Any) -> Any:
    """Where the centres of output pixels lie among the centres of input pixels."""
    return (jnp.arange(outputs, dtype=dtype) + 0.5 - translation) * inverse - 0.5


def _kernel_weights(
    method: ResizeMethod, inputs: int, at: Any, inverse: Any, antialias: bool
) -> Any:
    """Weights (inputs, outputs) of a kernel, widened where the image shrinks, with sum one."""
    width = jnp.maximum(inverse, 1) if antialias else jnp.ones_like(inverse)
    pixels = jnp.arange(inputs, dtype=at.dtype)[:, None]
    weights = _kernel(method, antialias)((at[None, :] - pixels) / width)
    total = jnp.sum(weights, axis=0, keepdims=True)
    enough = jnp.abs(total) > 1000 * float(np.finfo(np.float32).eps)
    return jnp.where(enough, weights / jnp.where(enough, total, 1), 0)


def _clamped_weights(method: ResizeMethod, inputs: int, at: Any) -> Any:
    """Weights (inputs, outputs) of the four nearest pixels, where edges repeat outside."""
    first = jnp.floor(at)
    pixels = jnp.arange(inputs, dtype=at.dtype)[:, None]
    weights = jnp.zeros((inputs, at.shape[0]), at.dtype)
    for offset in range(-1, 3):
        tap = first + offset
        hit = jnp.clip(tap, 0, inputs - 1)[None, :] == pixels
        weights = weights + jnp.where(hit, _kernel(method, False)(at - tap), 0)
    return weights


def _area_weights(inputs: int, at: Any, inverse: Any) -> Any:
    """Weights (inputs, outputs): the share of each input pixel in an output pixel's interval."""
    left, pixels = at + 0.5 - inverse / 2, jnp.arange(inputs, dtype=at.dtype)[:, None]
    start = jnp.maximum(left[None, :], pixels)
    stop = jnp.minimum((left + inverse)[None, :], pixels + 1)
    weights = jnp.maximum(stop - start, 0)
    total = jnp.sum(weights, axis=0, keepdims=True)
    return jnp.where(total > 0, weights / jnp.where(total > 0, total, 1), 0)


def _weights(
    method: ResizeMethod,
    inputs: int,
    outputs: int,
    scale: Any,
    translation: Any,
    antialias: bool,
) -> Any:
    dtype = jnp.result_type(scale, translation)
    inverse = 1 / scale
    at = _positions(outputs, inverse, translation, dtype)
    if method is ResizeMethod.AREA:
        weights = _area_weights(inputs, at, inverse)
    elif method is ResizeMethod.CUBIC_PYTORCH and not antialias:
        return _clamped_weights(method, inputs, at)
    else:
        weights = _kernel_weights(method, inputs, at, inverse, antialias)
    inside = (at >= -0.5) & (at <= inputs - 0.5)
    return jnp.where(inside[None, :], weights, 0)


def _resampled(
    x: Any,
    shape: tuple[int, ...],
    dims: Sequence[int],
    scale: Sequence[Any],
    translation: Sequence[Any],
    method: ResizeMethod,
    antialias: bool,
    precision: Any,
) -> Any:
    """`x` with the weights of every axis in `dims` applied."""
    operands: list[Any] = [x, list(range(x.ndim))]
    out = list(range(x.ndim))
    for d, s, t in zip(dims, scale, translation, strict=True):
        weights = _weights(method, x.shape[d], shape[d], s, t, antialias)
        out[d] = x.ndim + d
        operands += [weights.astype(x.dtype), [d, out[d]]]
    return jnp.einsum(*operands, out, precision=precision) if len(operands) > 2 else x


def _checked_shape(x: Any, shape: Any) -> tuple[int, ...]:
    shape = static_shape(shape)
    if len(shape) != x.ndim:
        raise ValueError(
            f"shape must have length equal to the number of dimensions of x;  {shape} vs {x.shape}"
        )
    return tuple(shape)


# --------------------------------------------------------------------------- public functions


def scale_and_translate(
    image: Any,
    shape: Any,
    spatial_dims: Sequence[int],
    scale: Any,
    translation: Any,
    method: str | ResizeMethod,
    antialias: bool = True,
    precision: Any = lax.Precision.HIGHEST,
) -> Any:
    """An image of `shape` whose pixel at p * scale + translation is the input's at p.

    Coordinates are those of pixel centres, the first centre being 0.5.  `scale` and `translation`
    have one entry for each of `spatial_dims`; output pixels that come from outside the input are 0
    (with "cubic-pytorch" and no antialias, edges repeat).  With `antialias`, kernels widen where
    the image shrinks.  ValueError for an unknown method and
    for a `shape` of another rank; the nearest-neighbour method is for `resize` only.

    >>> import pullback.numpy as jnp
    >>> scale_and_translate(jnp.arange(4.0), (4,), (0,), jnp.ones(1), jnp.ones(1), "linear")
    Array([0., 0., 1., 2.], dtype=float32)
    """
    shape = _checked_shape(image, shape)
    method = _method(method)
    if method is ResizeMethod.NEAREST:
        raise ValueError(
            "Nearest neighbor resampling is not currently supported for scale_and_translate."
        )
    if not len(spatial_dims) == len(set(spatial_dims)):
        raise ValueError(f"spatial_dims name an axis twice: {tuple(spatial_dims)}")
    dims = [canonical_axis(d, image.ndim) for d in spatial_dims]
    image, scale, translation = promote_dtypes_inexact(image, scale, translation)
    real = jnp.real(scale), jnp.real(translation)
    moves = [[value[i] for i in range(len(dims))] for value in real]
    return _resampled(image, shape, dims, moves[0], moves[1], method, antialias, precision)


def _nearest(x: Any, shape: tuple[int, ...], dims: Sequence[int]) -> Any:
    for d in dims:
        inputs, outputs = x.shape[d], shape[d]
        offsets = (np.arange(outputs, dtype=np.float32) + 0.5) * inputs / np.float32(outputs)
        x = jnp.take(x, jnp.asarray(np.floor(offsets).astype(np.int32)), axis=d)
    return x


def resize(
    image: Any,
    shape: Any,
    method: str | ResizeMethod,
    antialias: bool = True,
    precision: Any = lax.Precision.HIGHEST,
) -> Any:
    """The image resized to `shape`, axis by axis.

    `method` is a `ResizeMethod` or a name: "nearest", "linear" (also "bilinear", "trilinear",
    "triangle"), "cubic" (also "bicubic", "tricubic"), "cubic-pytorch", "lanczos3", "lanczos5",
    "area".  Kernels are renormalised at the edges, as those of `scale_and_translate`.  Integer
    images become floating point, except with "nearest".

    >>> import pullback.numpy as jnp
    >>> resize(jnp.arange(4.0), (6,), "nearest")
    Array([0., 1., 1., 2., 3., 3.], dtype=float32)
    """
    shape = _checked_shape(image, shape)
    method = _method(method)
    dims = [d for d in range(image.ndim) if shape[d] != image.shape[d]]
    if method is ResizeMethod.NEAREST:
        return _nearest(image, shape, dims)
    (image,) = promote_dtypes_inexact(image)
    real = jnp.finfo(image.dtype).dtype
    one = [1.0 if shape[d] == 0 else shape[d] / image.shape[d] for d in dims]
    scale = [jnp.asarray(s, real) for s in one]
    none = [jnp.zeros((), real) for _ in dims]
    return _resampled(image, shape, dims, scale, none, method, antialias, precision)
