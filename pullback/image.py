"""`jax.image`: images resized, scaled and moved by separable resampling.

Along each axis that changes, a matrix says how much every pixel of the input weighs in every pixel
of the output.  Where scale and translation are known, few pixels weigh anything: their weights are
computed once, in double precision, and they alone are read (`numpy/taps.py`).  Traced scales give
whole matrices, made by ordinary array code, so that derivatives reach scale and translation.
"""

from __future__ import annotations

import enum
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, Final, final

import numpy as np

from pullback import lax
from pullback import numpy as jnp
from pullback.core import dtypes
from pullback.core.dimensions import is_symbolic
from pullback.core.trace import Tracer
from pullback.numpy.promotion import canonical_axis, promote_dtypes_inexact, static_shape
from pullback.numpy.taps import Taps, pick, weighted
from pullback.runtime.composites import compiled_when_eager

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


def _triangle(xp: Any, x: Any) -> Any:
    return xp.maximum(0, 1 - xp.abs(x))


def _lanczos(radius: int, xp: Any, x: Any) -> Any:
    """sinc(x) sinc(x / radius) for |x| <= radius."""
    apart = xp.where(x == 0, 1, x)
    product = xp.sin(math.pi * apart) * xp.sin(math.pi * apart / radius)
    value = radius * product / (math.pi**2 * apart * apart)
    return xp.where(xp.abs(x) > radius, 0, xp.where(x == 0, 1, value))


def _keys(a: float, xp: Any, x: Any) -> Any:
    """The cubic convolution kernel with slope `a` at 1 (Keys, IEEE TASSP 29, 1981, eq. 4)."""
    x = xp.abs(x)
    inner = ((a + 2) * x - (a + 3)) * x * x + 1
    outer = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return xp.where(x >= 2, 0, xp.where(x >= 1, outer, inner))


_RADII: Final = {
    ResizeMethod.LINEAR: 1,
    ResizeMethod.LANCZOS3: 3,
    ResizeMethod.LANCZOS5: 5,
    ResizeMethod.CUBIC: 2,
    ResizeMethod.CUBIC_PYTORCH: 2,
    ResizeMethod.AREA: 1,
}


def _kernel(method: ResizeMethod, antialias: bool) -> Callable[[Any, Any], Any]:
    """The kernel as a function of a namespace (NumPy's or ours) and of distances."""
    if method is ResizeMethod.LINEAR:
        return _triangle
    if method is ResizeMethod.LANCZOS3:
        return functools.partial(_lanczos, 3)
    if method is ResizeMethod.LANCZOS5:
        return functools.partial(_lanczos, 5)
    slope = -0.75 if method is ResizeMethod.CUBIC_PYTORCH and not antialias else -0.5
    return functools.partial(_keys, slope)


# --------------------------------------------------------------------------- weights


def _kernel_weights(
    method: ResizeMethod, xp: Any, pixels: Any, at: Any, inverse: Any, antialias: bool
) -> Any:
    """Weights of a kernel, widened where the image shrinks, with sum one."""
    width = xp.maximum(inverse, 1) if antialias else xp.ones_like(inverse)
    weights = _kernel(method, antialias)(xp, (at[None, :] - pixels) / width)
    total = xp.sum(weights, axis=0, keepdims=True)
    enough = xp.abs(total) > 1000 * float(np.finfo(np.float32).eps)
    return xp.where(enough, weights / xp.where(enough, total, 1), 0)


def _clamped_weights(method: ResizeMethod, xp: Any, inputs: int, pixels: Any, at: Any) -> Any:
    """Weights of the four nearest pixels, where edges repeat outside."""
    first = xp.floor(at)
    weights = xp.zeros(xp.broadcast_shapes(pixels.shape, at.shape), at.dtype)
    for offset in range(-1, 3):
        tap = first + offset
        hit = xp.clip(tap, 0, inputs - 1)[None, :] == pixels
        weights = weights + xp.where(hit, _kernel(method, False)(xp, at - tap), 0)
    return weights


def _area_weights(xp: Any, pixels: Any, at: Any, inverse: Any) -> Any:
    """Weights that are the share of each input pixel in an output pixel's interval."""
    left = at + 0.5 - inverse / 2
    start = xp.maximum(left[None, :], pixels)
    stop = xp.minimum((left + inverse)[None, :], pixels + 1)
    weights = xp.maximum(stop - start, 0)
    total = xp.sum(weights, axis=0, keepdims=True)
    return xp.where(total > 0, weights / xp.where(total > 0, total, 1), 0)


def _weights(
    method: ResizeMethod,
    xp: Any,
    inputs: int,
    pixels: Any,
    at: Any,
    inverse: Any,
    antialias: bool,
) -> Any:
    """Weights of input pixels (k, 1) or (k, outputs) for outputs whose centres are `at`."""
    if method is ResizeMethod.AREA:
        weights = _area_weights(xp, pixels, at, inverse)
    elif method is ResizeMethod.CUBIC_PYTORCH and not antialias:
        return _clamped_weights(method, xp, inputs, pixels, at)
    else:
        weights = _kernel_weights(method, xp, pixels, at, inverse, antialias)
    inside = (at >= -0.5) & (at <= inputs - 0.5)
    return xp.where(inside[None, :], weights, 0)


def _positions(xp: Any, outputs: int, inverse: Any, translation: Any) -> Any:
    """Where the centres of output pixels lie among the centres of input pixels."""
    places = xp.arange(outputs, dtype=xp.result_type(inverse, translation))
    return (places + 0.5 - translation) * inverse - 0.5


def _matrix(
    method: ResizeMethod, inputs: int, outputs: int, scale: Any, translation: Any, antialias: bool
) -> Any:
    """Weights (inputs, outputs) of all pixels."""
    inverse = 1 / scale
    at = _positions(jnp, outputs, inverse, translation)
    pixels = jnp.arange(inputs, dtype=at.dtype)[:, None]
    return _weights(method, jnp, inputs, pixels, at, inverse, antialias)


@functools.lru_cache(maxsize=64)
def _taps(
    method: ResizeMethod,
    inputs: int,
    outputs: int,
    scale: float,
    translation: float,
    antialias: bool,
) -> Taps:
    """What weighs anything for a known scale: no more pixels than the kernel is wide.

    Remembered, since programs are found by the identity of the map.
    """
    inverse = np.float64(1) / scale
    at = _positions(np, outputs, inverse, np.float64(translation))
    widened = antialias or method is ResizeMethod.AREA
    reach = _RADII[method] * (max(abs(float(inverse)), 1.0) if widened else 1.0)
    count = min(inputs, math.ceil(2 * reach) + 1)
    first = np.floor(np.clip(at - reach, 0, inputs - count)).astype(np.int32)
    pixels = first + np.arange(count, dtype=np.int32)[:, None]
    return Taps.of(inputs, first, _weights(method, np, inputs, pixels, at, inverse, antialias))


def _shrinking_first(lengths: tuple[int, ...], shape: tuple[int, ...]) -> Callable[[int], Any]:
    """The order of axes in which little is computed: leading ones are cheaper."""

    def rank(d: int) -> Any:
        grows = shape[d] > lengths[d]
        return shape[d] / max(lengths[d], 1), -d if grows else d

    return rank


def _resampled(
    x: Any,
    shape: tuple[int, ...],
    moves: dict[int, tuple[Any, Any]],
    method: ResizeMethod,
    antialias: bool,
    precision: Any,
) -> Any:
    """`x` with the weights of every axis in `moves` applied, which has (scale, translation)."""
    known = [d for d in moves if _is_known(x.shape[d], shape[d], *moves[d])]
    for d in sorted(known, key=_shrinking_first(x.shape, shape)):
        scale, translation = map(float, moves[d])
        taps = _taps(method, x.shape[d], shape[d], scale, translation, antialias)
        x = weighted(x, d, taps, precision)
    for d in moves:
        if d not in known:
            weights = _matrix(method, x.shape[d], shape[d], *moves[d], antialias).astype(x.dtype)
            letters = list(range(x.ndim))
            out = [x.ndim if k == d else k for k in letters]
            x = jnp.einsum(x, letters, weights, [d, x.ndim], out, precision=precision)
    return x


def _is_known(inputs: Any, outputs: Any, scale: Any, translation: Any) -> bool:
    numbers = not isinstance(scale, Tracer) and not isinstance(translation, Tracer)
    return numbers and not is_symbolic(inputs) and not is_symbolic(outputs)


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
    known = [None if isinstance(v, Tracer) else np.asarray(v) for v in (scale, translation)]
    image, scale, translation = promote_dtypes_inexact(image, scale, translation)
    real = [
        jnp.real(v) if now is None else now.real.astype(dtypes.to_real_dtype(image.dtype))
        for v, now in zip((scale, translation), known, strict=True)
    ]
    moves = {d: (real[0][i], real[1][i]) for i, d in enumerate(dims)}
    return _resampled(image, shape, moves, method, antialias, precision)


def _nearest(x: Any, shape: tuple[int, ...], dims: Sequence[int]) -> Any:
    for d in dims:
        inputs, outputs = x.shape[d], shape[d]
        known = not is_symbolic(inputs) and not is_symbolic(outputs)
        xp: Any = np if known else jnp
        centres = xp.arange(outputs, dtype=np.float32) + 0.5
        ratio = inputs * (1 / (xp.zeros((), np.float32) + outputs))  # rounded as XLA rounds it
        at = xp.floor(centres * ratio).astype(np.int32)
        x = pick(x, d, at) if known else jnp.take(x, at, axis=d)
    return x


@compiled_when_eager("shape", "method", "antialias", "precision")
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
    moves = {d: (_ratio(shape[d], image.shape[d], image.dtype), 0.0) for d in dims}
    return _resampled(image, shape, moves, method, antialias, precision)


def _ratio(outputs: Any, inputs: Any, dtype: Any) -> Any:
    """How much longer an axis becomes; a traced number where lengths are symbolic."""
    ratio = 1.0 if outputs == 0 else outputs / inputs
    return ratio if type(ratio) is float else jnp.asarray(ratio, dtypes.to_real_dtype(dtype))
