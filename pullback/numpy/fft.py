"""`jax.numpy.fft`: frequencies and shifts here, the transforms from `transforms`."""

from __future__ import annotations

from typing import Any

import numpy as np

from pullback.core import dtypes
from pullback.numpy import shaping
from pullback.numpy.arrays import array_of
from pullback.numpy.creation import placed
from pullback.numpy.promotion import canonical_axes, ensure_arraylike
from pullback.numpy.transforms import (
    fft,
    fft2,
    fftn,
    hfft,
    ifft,
    ifft2,
    ifftn,
    ihfft,
    irfft,
    irfft2,
    irfftn,
    rfft,
    rfft2,
    rfftn,
)
from pullback.runtime.composites import compiled_when_eager

__all__ = [
    "fft",
    "fft2",
    "fftfreq",
    "fftn",
    "fftshift",
    "hfft",
    "ifft",
    "ifft2",
    "ifftn",
    "ifftshift",
    "ihfft",
    "irfft",
    "irfft2",
    "irfftn",
    "rfft",
    "rfft2",
    "rfftfreq",
    "rfftn",
]


def _frequencies(numbers: Any, n: int, d: Any, dtype: Any) -> Any:
    dtype = dtypes.check_user_dtype(dtype, "fftfreq")
    return array_of(numbers, dtype) / array_of(np.asarray(n), dtype) / d


def fftfreq(n: int, d: Any = 1.0, *, dtype: Any = None, device: Any = None) -> Any:
    """The frequencies of a transform of `n` samples at a distance of `d`.

    >>> import pullback.numpy as jnp
    >>> jnp.fft.fftfreq(4)
    Array([ 0.  ,  0.25, -0.5 , -0.25], dtype=float32)
    """
    if not isinstance(n, (int, np.integer)):
        raise ValueError(f"The n argument of jnp.fft.fftfreq must be an integer, got {n}.")
    k = np.arange(n)
    return placed(_frequencies(np.where(k < (n + 1) // 2, k, k - n), n, d, dtype), device)


def rfftfreq(n: int, d: Any = 1.0, *, dtype: Any = None, device: Any = None) -> Any:
    """The frequencies of a transform of `n` real samples at a distance of `d`.

    >>> import pullback.numpy as jnp
    >>> jnp.fft.rfftfreq(4)
    Array([0.  , 0.25, 0.5 ], dtype=float32)
    """
    if not isinstance(n, (int, np.integer)):
        raise ValueError(f"The n argument of jnp.fft.rfftfreq must be an integer, got {n}.")
    return placed(_frequencies(np.arange(n // 2 + 1), n, d, dtype), device)


@compiled_when_eager("axes")
def fftshift(x: Any, axes: Any = None) -> Any:
    """The zero frequency moved to the middle.

    >>> import pullback.numpy as jnp
    >>> jnp.fft.fftshift(jnp.arange(3))
    Array([2, 0, 1], dtype=int32)
    """
    x = ensure_arraylike("fftshift", x)
    axes = canonical_axes(axes, x.ndim)
    return shaping.roll(x, [x.shape[k] // 2 for k in axes], axes)


@compiled_when_eager("axes")
def ifftshift(x: Any, axes: Any = None) -> Any:
    """The zero frequency moved from the middle to the front.

    >>> import pullback.numpy as jnp
    >>> jnp.fft.ifftshift(jnp.array([2, 0, 1]))
    Array([0, 1, 2], dtype=int32)
    """
    x = ensure_arraylike("ifftshift", x)
    axes = canonical_axes(axes, x.ndim)
    return shaping.roll(x, [-(x.shape[k] // 2) for k in axes], axes)
