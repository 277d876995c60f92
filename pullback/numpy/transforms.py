"""Fourier transforms of `jax.numpy.fft`, over `lax.fft`."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from pullback import lax
from pullback.core import dtypes
from pullback.lax.fft import FftType
from pullback.lax.fft import fft as transform
from pullback.numpy import shaping
from pullback.numpy.promotion import canonical_axis, ensure_arraylike, promote_dtypes_inexact
from pullback.runtime.composites import compiled_when_eager

__all__ = [
    "fft",
    "fft2",
    "fftn",
    "hfft",
    "ifft",
    "ifft2",
    "ifftn",
    "ihfft",
    "irfft",
    "irfft2",
    "irfftn",
    "rfft",
    "rfft2",
    "rfftn",
]

_NORMS = ("backward", "ortho", "forward")
_MOST_AXES = 3


def _operand(name: str, kind: FftType, a: Any) -> Any:
    (a,) = promote_dtypes_inexact(ensure_arraylike(f"jnp.fft.{name}", a))
    if dtypes.kind_of(a.dtype) == "f" and a.dtype.itemsize < 4:
        a = lax.convert_element_type(a, np.float32)
    if kind == FftType.RFFT:
        if dtypes.kind_of(a.dtype) == "c":
            raise ValueError(
                f"jnp.fft.{name}: only real valued inputs supported for {name}; got {a.dtype}"
            )
        return a
    if dtypes.kind_of(a.dtype) == "c":
        return a
    return lax.convert_element_type(a, dtypes.to_complex_dtype(a.dtype))


def _resized(a: Any, sizes: Sequence[int], axes: Sequence[int]) -> Any:
    """The axes cut, or filled up with zeros, to the sizes."""
    starts, limits, config = [0] * a.ndim, list(a.shape), [(0, 0, 0)] * a.ndim
    for size, axis in zip(sizes, axes, strict=True):
        limits[axis] = min(size, a.shape[axis])
        config[axis] = (0, max(size - a.shape[axis], 0), 0)
    a = lax.slice(a, starts, limits) if tuple(limits) != a.shape else a
    return lax.pad(a, a.dtype.type(0), config) if any(c[1] for c in config) else a


def _lengths(name: str, kind: FftType, a: Any, s: Any, axes: Sequence[int]) -> tuple[int, ...]:
    if s is not None:
        sizes = tuple(operator.index(n) for n in s)
    else:
        sizes = tuple(a.shape[k] for k in axes)
        if kind == FftType.IRFFT and sizes:
            sizes = (*sizes[:-1], 2 * (sizes[-1] - 1))
    if any(n < 1 for n in sizes):
        raise ValueError(f"jnp.fft.{name}: invalid number of data points {sizes}")
    return sizes


def _axes(name: str, a: Any, s: Any, axes: Any) -> tuple[int, ...]:
    if axes is None:
        count = a.ndim if s is None else len(s)
        return tuple(range(a.ndim - count, a.ndim))
    if s is not None and len(s) != len(axes):
        raise ValueError(f"jnp.fft.{name}: shape and axes have different lengths: {s}, {axes}")
    found = tuple(canonical_axis(k, a.ndim) for k in axes)
    if len(set(found)) != len(found):
        raise ValueError(f"jnp.fft.{name} does not support repeated axes. Got axes {axes}.")
    return found


def _core(name: str, kind: FftType, a: Any, s: Any, axes: Any, norm: Any) -> Any:
    if norm not in (None, *_NORMS):
        raise ValueError(
            f'jnp.fft.{name}: norm must be "backward", "ortho" or "forward", got {norm!r}'
        )
    a = _operand(name, kind, a)
    axes = _axes(name, a, s, axes)
    sizes = _lengths(name, kind, a, s, axes)
    if not axes:
        return a
    given = sizes if kind != FftType.IRFFT else (*sizes[:-1], sizes[-1] // 2 + 1)
    a = _resized(a, given, axes)
    last = tuple(range(a.ndim - len(axes), a.ndim))
    out = _stages(shaping.moveaxis(a, axes, last), kind, sizes)
    out = shaping.moveaxis(out, last, axes)
    factor = _scale(kind, norm, math.prod(sizes))
    return out if factor is None else out * lax.full_like(out, factor)


def _scale(kind: FftType, norm: Any, count: int) -> float | None:
    """What the result is multiplied by; inverses are divided by `count` already."""
    forward = kind in (FftType.FFT, FftType.RFFT)
    if norm == "ortho":
        return 1 / math.sqrt(count) if forward else math.sqrt(count)
    if norm == "forward":
        return 1 / count if forward else float(count)
    return None


def _stages(a: Any, kind: FftType, sizes: tuple[int, ...]) -> Any:
    """Transforms of the last axes, three at a time; the real one is the last, or the first back."""
    rank = len(sizes)
    if rank <= _MOST_AXES:
        return transform(a, kind, sizes)
    if kind == FftType.RFFT:
        return _others(transform(a, kind, sizes[-1:]), FftType.FFT, sizes[:-1])
    if kind == FftType.IRFFT:
        return transform(_others(a, FftType.IFFT, sizes[:-1]), kind, sizes[-1:])
    a = transform(a, kind, sizes[-_MOST_AXES:])
    front = tuple(range(a.ndim - rank, a.ndim - _MOST_AXES))
    back = tuple(range(a.ndim - len(front), a.ndim))
    out = _stages(shaping.moveaxis(a, front, back), kind, sizes[:-_MOST_AXES])
    return shaping.moveaxis(out, back, front)


def _others(a: Any, kind: FftType, sizes: tuple[int, ...]) -> Any:
    moved = shaping.moveaxis(a, -1, a.ndim - len(sizes) - 1)
    return shaping.moveaxis(_stages(moved, kind, sizes), a.ndim - len(sizes) - 1, -1)


def _one(name: str, kind: FftType, a: Any, n: Any, axis: Any, norm: Any) -> Any:
    if isinstance(axis, (tuple, list)):
        raise ValueError(
            f"jnp.fft.{name} does not support multiple axes. Please use jnp.fft.{name}n. "
            f"Got axis = {axis}."
        )
    axes = (operator.index(-1 if axis is None else axis),)
    return _core(name, kind, a, None if n is None else (operator.index(n),), axes, norm)


def _two(name: str, kind: FftType, a: Any, s: Any, axes: Any, norm: Any) -> Any:
    if len(axes) != 2:
        raise ValueError(f"jnp.fft.{name} only supports 2 axes. Got axes = {axes}.")
    return _core(name, kind, a, s, axes, norm)


@compiled_when_eager("n", "axis", "norm")
def fft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None) -> Any:
    """The discrete Fourier transform along an axis, cut or filled up to `n` elements.

    >>> import pullback.numpy as jnp
    >>> jnp.fft.fft(jnp.ones(2))
    Array([2.+0.j, 0.+0.j], dtype=complex64)
    """
    return _one("fft", FftType.FFT, a, n, axis, norm)


@compiled_when_eager("n", "axis", "norm")
def ifft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None) -> Any:
    """The inverse of `fft`.

    >>> import pullback.numpy as jnp
    >>> jnp.fft.ifft(jnp.array([2., 0.]))
    Array([1.+0.j, 1.+0.j], dtype=complex64)
    """
    return _one("ifft", FftType.IFFT, a, n, axis, norm)


@compiled_when_eager("n", "axis", "norm")
def rfft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None) -> Any:
    """The first half of the spectrum of real numbers, n // 2 + 1 elements.

    >>> import pullback.numpy as jnp
    >>> jnp.fft.rfft(jnp.ones(4))
    Array([4.+0.j, 0.+0.j, 0.+0.j], dtype=complex64)
    """
    return _one("rfft", FftType.RFFT, a, n, axis, norm)


@compiled_when_eager("n", "axis", "norm")
def irfft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None) -> Any:
    """The inverse of `rfft`; `n` is the length of the result, even by default.

    >>> import pullback.numpy as jnp
    >>> jnp.fft.irfft(jnp.array([4., 0., 0.]))
    Array([1., 1., 1., 1.], dtype=float32)
    """
    return _one("irfft", FftType.IRFFT, a, n, axis, norm)


_SWAPPED = {None: "forward", "backward": "forward", "ortho": "ortho", "forward": "backward"}


@compiled_when_eager("n", "axis", "norm")
def hfft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None) -> Any:
    """The real spectrum of a Hermitian signal, of which the first half is given.

    >>> import pullback.numpy as jnp
    >>> jnp.fft.hfft(jnp.array([1., 0., 0.]))
    Array([1., 1., 1., 1.], dtype=float32)
    """
    a = ensure_arraylike("jnp.fft.hfft", a)
    conjugate = lax.conj(a) if dtypes.kind_of(a.dtype) == "c" else a
    return _one("hfft", FftType.IRFFT, conjugate, n, axis, _SWAPPED.get(norm, norm))


@compiled_when_eager("n", "axis", "norm")
def ihfft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None) -> Any:
    """The inverse of `hfft`: half of a Hermitian signal.

    >>> import pullback.numpy as jnp
    >>> jnp.fft.ihfft(jnp.ones(4))
    Array([1.-0.j, 0.-0.j, 0.-0.j], dtype=complex64)
    """
    return lax.conj(_one("ihfft", FftType.RFFT, a, n, axis, _SWAPPED.get(norm, norm)))


@compiled_when_eager("s", "axes", "norm")
def fft2(a: Any, s: Any = None, axes: Sequence[int] = (-2, -1), norm: str | None = None) -> Any:
    """The transform over two axes.

    >>> import pullback.numpy as jnp
    >>> jnp.fft.fft2(jnp.ones((2, 2)))[0, 0]
    Array(4.+0.j, dtype=complex64)
    """
    return _two("fft2", FftType.FFT, a, s, axes, norm)


@compiled_when_eager("s", "axes", "norm")
def ifft2(a: Any, s: Any = None, axes: Sequence[int] = (-2, -1), norm: str | None = None) -> Any:
    """The inverse of `fft2`.

    >>> import pullback.numpy as jnp
    >>> jnp.fft.ifft2(jnp.ones((2, 2)))[0, 0]
    Array(1.+0.j, dtype=complex64)
    """
    return _two("ifft2", FftType.IFFT, a, s, axes, norm)


@compiled_when_eager("s", "axes", "norm")
def rfft2(a: Any, s: Any = None, axes: Sequence[int] = (-2, -1), norm: str | None = None) -> Any:
    """The transform of real numbers over two axes; half of the spectrum along the last.

    >>> import pullback.numpy as jnp
    >>> jnp.fft.rfft2(jnp.ones((2, 4))).shape
    (2, 3)
    """
    return _two("rfft2", FftType.RFFT, a, s, axes, norm)


@compiled_when_eager("s", "axes", "norm")
def irfft2(a: Any, s: Any = None, axes: Sequence[int] = (-2, -1), norm: str | None = None) -> Any:
    """The inverse of `rfft2`.

    >>> import pullback.numpy as jnp
    >>> jnp.fft.irfft2(jnp.ones((2, 3))).shape
    (2, 4)
    """
    return _two("irfft2", FftType.IRFFT, a, s, axes, norm)


@compiled_when_eager("s", "axes", "norm")
def fftn(a: Any, s: Any = None, axes: Sequence[int] | None = None, norm: str | None = None) -> Any:
    """The transform over several axes, by default all of them.

    >>> import pullback.numpy as jnp
    >>> jnp.fft.fftn(jnp.ones((2, 2, 2)))[0, 0, 0]
    Array(8.+0.j, dtype=complex64)
    """
    return _core("fftn", FftType.FFT, a, s, axes, norm)


@compiled_when_eager("s", "axes", "norm")
def ifftn(a: Any, s: Any = None, axes: Sequence[int] | None = None, norm: str | None = None) -> Any:
    """The inverse of `fftn`.

    >>> import pullback.numpy as jnp
    >>> jnp.fft.ifftn(jnp.ones((2, 2, 2)))[0, 0, 0]
    Array(1.+0.j, dtype=complex64)
    """
    return _core("ifftn", FftType.IFFT, a, s, axes, norm)


@compiled_when_eager("s", "axes", "norm")
def rfftn(a: Any, s: Any = None, axes: Sequence[int] | None = None, norm: str | None = None) -> Any:
    """The transform of real numbers over several axes; half of the spectrum along the last.

    >>> import pullback.numpy as jnp
    >>> jnp.fft.rfftn(jnp.ones((2, 2, 4))).shape
    (2, 2, 3)
    """
    return _core("rfftn", FftType.RFFT, a, s, axes, norm)


@compiled_when_eager("s", "axes", "norm")
def irfftn(
    a: Any, s: Any = None, axes: Sequence[int] | None = None, norm: str | None = None
) -> Any:
    """The inverse of `rfftn`.

    >>> import pullback.numpy as jnp
    >>> jnp.fft.irfftn(jnp.ones((2, 2, 3))).shape
    (2, 2, 4)
    """
    return _core("irfftn", FftType.IRFFT, a, s, axes, norm)
