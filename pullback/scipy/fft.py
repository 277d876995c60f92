"""`jax.scipy.fft`: discrete cosine transforms of types 1 to 4, by Fourier transforms.

Type 2 and its transpose, type 3, use one complex transform of the same length (Makhoul, IEEE TASSP
28, 1980); type 1 a real transform of the even extension; type 4 one complex transform between two
rotations.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from pullback import lax
from pullback import numpy as jnp
from pullback.core import dtypes
from pullback.numpy.promotion import (
    canonical_axes,
    canonical_axis,
    ensure_arraylike,
    promote_dtypes_inexact,
)

__all__ = ["dct", "dctn", "idct", "idctn"]

_NORMS: Final = (None, "backward", "ortho", "forward")
_INVERSE_TYPE: Final = {1: 1, 2: 3, 3: 2, 4: 4}


def _checked(name: str, x: Any, type: int, norm: str | None) -> Any:
    if type not in _INVERSE_TYPE:
        raise ValueError(f"jax.scipy.fft.{name}: invalid type {type}; must be one of 1, 2, 3, 4")
    if norm not in _NORMS:
        raise ValueError(f"jax.scipy.fft.{name}: norm={norm!r} must be one of {_NORMS}")
    (x,) = promote_dtypes_inexact(ensure_arraylike(f"jax.scipy.fft.{name}", x))
    if dtypes.kind_of(x.dtype) == "f" and x.dtype.itemsize < 4:
        x = lax.convert_element_type(x, np.float32)
    return x


def _resized(x: Any, axis: int, n: int | None) -> Any:
    """The axis cut to `n` elements, or filled up with zeros."""
    if n is None:
        return x
    n = operator.index(n)
    if n < 1:
        raise ValueError(f"invalid number of data points ({n}) specified")
    if n <= x.shape[axis]:
        return lax.slice_in_dim(x, 0, n, axis=axis)
    widths = [(0, n - x.shape[axis]) if k == axis else (0, 0) for k in range(x.ndim)]
    return jnp.pad(x, widths)


# --------------------------------------------------------------------------- along the last axis


def _turns(angles: Any, dtype: Any) -> Any:
    return jnp.asarray(np.exp(1j * angles).astype(dtypes.to_complex_dtype(dtype)))


def _type1(x: Any) -> Any:
    """x_0 + (-1)^k x_{n-1} + 2 sum x_m cos(pi k m / (n-1)): the even extension's transform."""
    n = x.shape[-1]
    if n < 2:
        raise ValueError("DCT-I is not defined for size < 2")
    return jnp.fft.rfft(jnp.concatenate([x, x[..., -2:0:-1]], axis=-1)).real


def _type2(x: Any) -> Any:
    """2 sum x_m cos(pi k (2m+1) / 2n): even samples, then odd ones backwards."""
    n = x.shape[-1]
    reordered = jnp.concatenate([x[..., ::2], x[..., 1::2][..., ::-1]], axis=-1)
    turned = jnp.fft.fft(reordered) * _turns(-np.pi * np.arange(n) / (2 * n), x.dtype)
    return 2 * turned.real


def _type3(x: Any) -> Any:
    """x_0 + 2 sum x_m cos(pi m (2k+1) / 2n), type 2 backwards."""
    n = x.shape[-1]
    mirrored = jnp.concatenate([jnp.zeros_like(x[..., :1]), x[..., :0:-1]], axis=-1)
    turned = lax.complex(x, -mirrored) * _turns(np.pi * np.arange(n) / (2 * n), x.dtype)
    samples = jnp.fft.ifft(turned, norm="forward").real
    half = (n + 1) // 2
    odd = samples[..., half:][..., ::-1]
    out = jnp.zeros_like(samples).at[..., ::2].set(samples[..., :half])
    return out.at[..., 1::2].set(odd)


def _type4(x: Any) -> Any:
    """2 sum x_m cos(pi (2k+1)(2m+1) / 4n): one transform of length 2n between rotations."""
    n = x.shape[-1]
    m = np.arange(n)
    rotated = lax.complex(x, jnp.zeros_like(x)) * _turns(-np.pi * m / (2 * n), x.dtype)
    transform = jnp.fft.fft(rotated, n=2 * n)[..., :n]
    return 2 * (transform * _turns(-np.pi * (2 * m + 1) / (4 * n), x.dtype)).real


_TYPES: Final = {1: _type1, 2: _type2, 3: _type3, 4: _type4}


def _last_axis(x: Any, type: int, ortho: bool) -> Any:
    if dtypes.kind_of(x.dtype) == "c":
        return lax.complex(_last_axis(x.real, type, ortho), _last_axis(x.imag, type, ortho))
    n = x.shape[-1]
    real = x.dtype.type
    if not ortho:
        return _TYPES[type](x)
    first, last = np.ones(n), np.ones(n)
    if type == 1:
        last[[0, -1]] = math.sqrt(2)
        first[[0, -1]] = 1 / math.sqrt(2)
        out = _type1(x * last.astype(x.dtype)) * first.astype(x.dtype)
        return out * real(math.sqrt(1 / (2 * (n - 1))))
    first[0] = math.sqrt(0.5)
    if type == 2:
        return _type2(x) * (first * math.sqrt(1 / (2 * n))).astype(x.dtype)
    if type == 3:
        last[0] = math.sqrt(2)
        return _type3(x * (last * math.sqrt(1 / (2 * n))).astype(x.dtype))
    return _type4(x) * real(math.sqrt(1 / (2 * n)))


def _along(x: Any, type: int, axis: int, norm: str | None, inverse: bool) -> Any:
    """The transform along an axis; an inverse is the transform of the other type, scaled."""
    kind = _INVERSE_TYPE[type] if inverse else type
    moved = jnp.moveaxis(x, axis, -1)
    out = _last_axis(moved, kind, norm == "ortho")
    if norm != "ortho" and inverse == (norm != "forward"):
        n = moved.shape[-1]
        out = out / (2 * (n - 1) if type == 1 else 2 * n)
    return jnp.moveaxis(out, -1, axis)


def _one(
    name: str, x: Any, type: int, n: int | None, axis: int, norm: str | None, inverse: bool
) -> Any:
    x = _checked(name, x, type, norm)
    axis = canonical_axis(axis, x.ndim)
    return _along(_resized(x, axis, n), type, axis, norm, inverse)


def _several(name: str, x: Any, type: int, s: Any, axes: Any, norm: Any, inverse: bool) -> Any:
    x = _checked(name, x, type, norm)
    if axes is None:
        count = x.ndim if s is None else len(s)
        axes = range(x.ndim - count, x.ndim)
    axes = canonical_axes(tuple(axes), x.ndim)
    if s is not None and len(s) != len(axes):
        raise ValueError("when given, axes and shape arguments have to be of the same length")
    for k, axis in enumerate(axes):
        x = _along(_resized(x, axis, None if s is None else s[k]), type, axis, norm, inverse)
    return x


# --------------------------------------------------------------------------- public functions


def dct(
    x: Any, type: int = 2, n: int | None = None, axis: int = -1, norm: str | None = None
) -> Any:
    """The discrete cosine transform of type 1, 2, 3 or 4 along an axis.

    The axis is cut or padded with zeros to `n`.  `norm` is "backward" (as None), "ortho" or
    "forward", as in SciPy.

    >>> import pullback.numpy as jnp, pullback.scipy.fft
    >>> pullback.scipy.fft.dct(jnp.ones(4)).round(4) + 0
    Array([8., 0., 0., 0.], dtype=float32)
    """
    return _one("dct", x, type, n, axis, norm, inverse=False)


def idct(
    x: Any, type: int = 2, n: int | None = None, axis: int = -1, norm: str | None = None
) -> Any:
    """The inverse of `dct` with the same parameters.

    >>> import pullback.numpy as jnp, pullback.scipy.fft
    >>> pullback.scipy.fft.idct(jnp.array([8.0, 0.0, 0.0, 0.0]))
    Array([1., 1., 1., 1.], dtype=float32)
    """
    return _one("idct", x, type, n, axis, norm, inverse=True)


def dctn(
    x: Any,
    type: int = 2,
    s: Sequence[int] | None = None,
    axes: Sequence[int] | None = None,
    norm: str | None = None,
) -> Any:
    """`dct` along several axes (all of them if none are named), of sizes `s`.

    >>> import pullback.numpy as jnp, pullback.scipy.fft
    >>> float(pullback.scipy.fft.dctn(jnp.ones((2, 2)))[0, 0])
    16.0
    """
    return _several("dctn", x, type, s, axes, norm, inverse=False)


def idctn(
    x: Any,
    type: int = 2,
    s: Sequence[int] | None = None,
    axes: Sequence[int] | None = None,
    norm: str | None = None,
) -> Any:
    """The inverse of `dctn` with the same parameters.

    >>> import pullback.numpy as jnp, pullback.scipy.fft
    >>> x = jnp.array([[1.0, 2.0], [3.0, 4.0]])
    >>> bool(jnp.allclose(pullback.scipy.fft.idctn(pullback.scipy.fft.dctn(x)), x))
    True
    """
    return _several("idctn", x, type, s, axes, norm, inverse=True)
