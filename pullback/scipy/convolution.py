"""Convolutions and correlations of `jax.scipy.signal`, directly or by Fourier transforms."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from pullback import lax
from pullback import numpy as jnp
from pullback.core import dtypes
from pullback.numpy.promotion import canonical_axes, ensure_arraylike, promote_dtypes_inexact

__all__ = ["convolve", "convolve2d", "correlate", "correlate2d", "fftconvolve"]

_MODES: Final = ("full", "same", "valid")


def _operands(name: str, in1: Any, in2: Any) -> tuple[Any, Any]:
    in1, in2 = ensure_arraylike(f"scipy.signal.{name}", in1, in2)
    in1, in2 = promote_dtypes_inexact(in1, in2)
    return in1, in2


def _check_mode(mode: str) -> None:
    if mode not in _MODES:
        raise ValueError(f"mode must be one of {list(_MODES)}")


def _swapped(x: Any, kernel: Any, mode: str, axes: Sequence[int]) -> bool:
    """Whether the operands of a valid convolution change places: the larger one comes first."""
    if mode != "valid":
        return False
    larger = [x.shape[k] >= kernel.shape[k] for k in axes]
    smaller = [x.shape[k] <= kernel.shape[k] for k in axes]
    if not all(larger) and not all(smaller):
        raise ValueError("One input must be smaller than the other in every dimension.")
    return not all(larger)


def _direct(x: Any, kernel: Any, mode: str, precision: Any) -> Any:
    """The convolution by a convolution primitive, whose kernel is turned around."""
    if x.ndim != kernel.ndim:
        raise ValueError("in1 and in2 must have the same number of dimensions")
    if x.size == 0 or kernel.size == 0:
        raise ValueError(
            "zero-size arrays not supported in convolutions, got shapes "
            f"{x.shape} and {kernel.shape}."
        )
    if x.ndim == 0:
        return x * kernel
    if _swapped(x, kernel, mode, range(x.ndim)):
        x, kernel = kernel, x
    padding = [_padding(k, mode) for k in kernel.shape]
    out = lax.conv_general_dilated(
        x[None, None],
        jnp.flip(kernel)[None, None],
        window_strides=(1,) * x.ndim,
        padding=padding,
        precision=precision,
    )
    return out[0, 0]


def _padding(k: int, mode: str) -> tuple[int, int]:
    if mode == "valid":
        return (0, 0)
    return (k - 1, k - 1) if mode == "full" else (k // 2, k - 1 - k // 2)


def convolve(
    in1: Any, in2: Any, mode: str = "full", method: str = "auto", precision: Any = None
) -> Any:
    """The convolution of two arrays of the same rank.

    `mode` is "full", "same" (the size of `in1`, centred) or "valid" (without padding); `method` is
    "direct" (also "auto") or "fft".  Integers become floating point.

    >>> import pullback.numpy as jnp, pullback.scipy.signal
    >>> pullback.scipy.signal.convolve(jnp.array([1.0, 2.0]), jnp.array([1.0, 1.0]))
    Array([1., 3., 2.], dtype=float32)
    """
    if method == "fft":
        return fftconvolve(in1, in2, mode=mode)
    if method not in ("direct", "auto"):
        raise ValueError(f"Got {method=}; expected 'auto', 'fft', or 'direct'.")
    _check_mode(mode)
    in1, in2 = _operands("convolve", in1, in2)
    return _direct(in1, in2, mode, precision)


def correlate(
    in1: Any, in2: Any, mode: str = "full", method: str = "auto", precision: Any = None
) -> Any:
    """The cross-correlation: `convolve` with `in2` turned around and conjugated.

    >>> import pullback.numpy as jnp, pullback.scipy.signal
    >>> pullback.scipy.signal.correlate(jnp.array([1.0, 2.0]), jnp.array([0.0, 1.0]))
    Array([1., 2., 0.], dtype=float32)
    """
    in1, in2 = _operands("correlate", in1, in2)
    return convolve(in1, jnp.flip(in2.conj()), mode, method, precision)


def _two_dimensional(name: str, in1: Any, in2: Any, boundary: str, fillvalue: float) -> None:
    if boundary != "fill" or fillvalue != 0:
        raise NotImplementedError(f"{name}() only supports boundary='fill', fillvalue=0")
    if jnp.ndim(in1) != 2 or jnp.ndim(in2) != 2:
        raise ValueError(f"{name}() only supports 2-dimensional inputs.")


def convolve2d(
    in1: Any,
    in2: Any,
    mode: str = "full",
    boundary: str = "fill",
    fillvalue: float = 0,
    precision: Any = None,
) -> Any:
    """`convolve` of two matrices; outside they are zero.

    >>> import pullback.numpy as jnp, pullback.scipy.signal
    >>> x = jnp.ones((2, 2))
    >>> pullback.scipy.signal.convolve2d(x, x, mode="same")
    Array([[1., 2.],
           [2., 4.]], dtype=float32)
    """
    _two_dimensional("convolve2d", in1, in2, boundary, fillvalue)
    return convolve(in1, in2, mode, "direct", precision)


def correlate2d(
    in1: Any,
    in2: Any,
    mode: str = "full",
    boundary: str = "fill",
    fillvalue: float = 0,
    precision: Any = None,
) -> Any:
    """`correlate` of two matrices; outside they are zero.

    >>> import pullback.numpy as jnp, pullback.scipy.signal
    >>> x = jnp.ones((2, 2))
    >>> pullback.scipy.signal.correlate2d(x, x, mode="valid")
    Array([[4.]], dtype=float32)
    """
    _two_dimensional("correlate2d", in1, in2, boundary, fillvalue)
    if mode != "same":
        return correlate(in1, in2, mode, "direct", precision)
    # The centre of an even kernel is the other one of the middle two, as in SciPy.
    in1, in2 = _operands("correlate2d", in1, in2)
    return jnp.flip(convolve(jnp.flip(in1), in2.conj(), mode, "direct", precision))


# --------------------------------------------------------------------------- by transforms


def _fast_length(n: int) -> int:
    """The least product of powers of 2, 3 and 5 that is not below `n`."""
    while True:
        rest = n
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return n
        n += 1


def fftconvolve(in1: Any, in2: Any, mode: str = "full", axes: Any = None) -> Any:
    """`convolve` by Fourier transforms along `axes` (all by default); other axes broadcast.

    >>> import pullback.numpy as jnp, pullback.scipy.signal
    >>> pullback.scipy.signal.fftconvolve(jnp.array([1.0, 2.0]), jnp.array([1.0, 1.0])).round(4)
    Array([1., 3., 2.], dtype=float32)
    """
    in1, in2 = _operands("fftconvolve", in1, in2)
    if in1.ndim != in2.ndim:
        raise ValueError("in1 and in2 should have the same dimensionality")
    _check_mode(mode)
    if in1.size == 0 or in2.size == 0:
        raise ValueError(
            f"zero-size arrays not supported in convolutions, got {in1.shape} and {in2.shape}."
        )
    if in1.ndim == 0:
        return in1 * in2
    axes = _transformed_axes(in1, in2, axes)
    if _swapped(in1, in2, mode, axes):
        in1, in2 = in2, in1
    full = [in1.shape[k] + in2.shape[k] - 1 for k in axes]
    out = _by_transform(in1, in2, axes, full)
    if mode == "full":
        return out
    kept = {k: in1.shape[k] for k in axes}
    if mode == "valid":
        kept = {k: in1.shape[k] - in2.shape[k] + 1 for k in axes}
    for k, n in kept.items():
        start = (out.shape[k] - n) // 2
        out = lax.slice_in_dim(out, start, start + n, axis=k)
    return out


def _transformed_axes(x: Any, y: Any, axes: Any) -> list[int]:
    if axes is None:
        found = list(range(x.ndim))
    else:
        many = axes if isinstance(axes, (Sequence, np.ndarray)) else (axes,)
        found = list(canonical_axes(tuple(operator.index(k) for k in many), x.ndim))
    for k in range(x.ndim):
        if k not in found and x.shape[k] != y.shape[k] and 1 not in (x.shape[k], y.shape[k]):
            raise ValueError(f"incompatible shapes for in1 and in2: {x.shape} and {y.shape}")
    return found


def _by_transform(x: Any, y: Any, axes: Sequence[int], full: Sequence[int]) -> Any:
    """The whole convolution: real transforms along the last axis where the operands are real."""
    sizes = [_fast_length(n) for n in full]
    *others, (n, last) = zip(sizes, axes, strict=True)
    real = dtypes.kind_of(x.dtype) != "c"

    def transform(a: Any) -> Any:
        a = jnp.fft.rfft(a, n, last) if real else jnp.fft.fft(a, n, last)
        for size, k in others:
            a = jnp.fft.fft(a, size, k)
        return a

    out = transform(x) * transform(y)
    for size, k in others:
        out = jnp.fft.ifft(out, size, k)
    out = jnp.fft.irfft(out, n, last) if real else jnp.fft.ifft(out, n, last)
    for size, k in zip(full, axes, strict=True):
        out = lax.slice_in_dim(out, 0, size, axis=k)
    return out.astype(x.dtype)
