"""Spectra of `jax.scipy.signal`: detrending, Welch's method, short-time Fourier transforms.

The signal is cut into overlapping segments, each is windowed and transformed (Welch, IEEE Trans.
Audio Electroacoust. 15, 1967); `istft` adds the segments up again, divided by the sum of the
squared windows (Griffin and Lim, IEEE TASSP 32, 1984).
"""

from __future__ import annotations

import itertools
import operator
import warnings
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from pullback import lax
from pullback import numpy as jnp
from pullback.core import dtypes
from pullback.lazy import LazyModule
from pullback.numpy.promotion import canonical_axis, ensure_arraylike, promote_dtypes_inexact

__all__ = ["csd", "detrend", "istft", "stft", "welch"]

_scipy_signal: Final = LazyModule("scipy.signal")


# --------------------------------------------------------------------------- trends


def _line_removed(x: Any) -> Any:
    """`x` without the straight line nearest to it along the last axis."""
    n = x.shape[-1]
    x = x - jnp.mean(x, axis=-1, keepdims=True)
    at = np.arange(n) - (n - 1) / 2
    slope = at / (float(np.sum(at * at)) or 1.0)
    real = dtypes.to_real_dtype(x.dtype)
    rise = jnp.sum(x * jnp.asarray(slope.astype(real)), axis=-1, keepdims=True)
    return x - rise * jnp.asarray(at.astype(real))


def detrend(
    data: Any, axis: int = -1, type: str = "linear", bp: Any = 0, overwrite_data: None = None
) -> Any:
    """`data` without its mean ("constant") or without a line fitted by least squares ("linear").

    Lines are fitted between the breakpoints `bp`, indices along the axis.

    >>> import pullback.numpy as jnp, pullback.scipy.signal
    >>> pullback.scipy.signal.detrend(jnp.array([1.0, 2.0, 4.0]), type="constant").round(2)
    Array([-1.33, -0.33,  1.67], dtype=float32)
    """
    if overwrite_data is not None:
        raise NotImplementedError("overwrite_data argument not implemented.")
    if type not in ("constant", "linear"):
        raise ValueError("Trend type must be 'linear' or 'constant'.")
    (data,) = promote_dtypes_inexact(ensure_arraylike("detrend", data))
    if type == "constant":
        return data - jnp.mean(data, axis=axis, keepdims=True)
    axis = canonical_axis(axis, data.ndim)
    n = data.shape[axis]
    breaks = np.unique(np.concatenate([[0], np.atleast_1d(np.asarray(bp)), [n]])).astype(int)
    if breaks[0] < 0 or breaks[-1] > n:
        raise ValueError(
            "Breakpoints must be non-negative and less than length of data along given axis."
        )
    moved = jnp.moveaxis(data, axis, -1)
    pieces = [_line_removed(moved[..., a:b]) for a, b in itertools.pairwise(breaks)]
    return jnp.moveaxis(jnp.concatenate(pieces, axis=-1), -1, axis)


def _detrending(kind: Any) -> Callable[[Any], Any]:
    """The function of segments along the last axis that an argument `detrend` names."""
    if kind is False or kind is None:
        return lambda x: x
    if callable(kind):
        return lambda x: kind(x)
    return lambda x: detrend(x, axis=-1, type=kind)


# --------------------------------------------------------------------------- segments


def _whole(name: str, value: Any) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r}") from None


_COSINE_SUMS: Final = {
    "boxcar": (1.0,),
    "hann": (0.5, 0.5),
    "hamming": (0.54, 0.46),
    "blackman": (0.42, 0.5, 0.08),
}
"""Windows by the coefficients of their cosines; SciPy, which takes long to import, has others."""


def _samples(window: Any, length: int) -> np.ndarray[Any, Any]:
    """A period of a window that is given by its name."""
    sums = _COSINE_SUMS.get(window) if isinstance(window, str) else None
    if sums is None or length < 2:
        found: np.ndarray[Any, Any] = _scipy_signal.get_window(window, length)
        return found
    angle = 2 * np.pi * np.arange(length) / length
    terms = [(-1) ** k * a * np.cos(k * angle) for k, a in enumerate(sums)]
    total: np.ndarray[Any, Any] = np.sum(terms, axis=0)
    return total


def _window(window: Any, nperseg: int | None, length: int) -> tuple[Any, int]:
    """The window's samples and the length of a segment, which is at most that of the signal."""
    if isinstance(window, (str, tuple)):
        nperseg = length if nperseg is None else nperseg
        if nperseg > length:
            warnings.warn(
                f"nperseg={nperseg} is greater than input_length={length}, using nperseg={length}",
                stacklevel=4,
            )
            nperseg = length
        return jnp.asarray(_samples(window, nperseg)), nperseg
    window = jnp.asarray(window)
    if window.ndim != 1:
        raise ValueError("window must be 1-D")
    if nperseg is not None and nperseg != window.shape[0]:
        raise ValueError("value specified for nperseg is different from length of window")
    if window.shape[0] > length:
        raise ValueError("window is longer than input signal")
    return window, window.shape[0]


def _sizes(nperseg: int, noverlap: Any, nfft: Any) -> tuple[int, int]:
    nfft = nperseg if nfft is None else _whole("nfft", nfft)
    if nfft < nperseg:
        raise ValueError("nfft must be greater than or equal to nperseg.")
    noverlap = nperseg // 2 if noverlap is None else _whole("noverlap", noverlap)
    if noverlap >= nperseg:
        raise ValueError("noverlap must be less than nperseg.")
    return noverlap, nfft


def _segments(x: Any, nperseg: int, step: int) -> Any:
    """(..., segments, nperseg): the windows that fit into the last axis."""
    count = (x.shape[-1] - nperseg) // step + 1
    if nperseg == step:
        return x[..., : count * step].reshape(*x.shape[:-1], count, nperseg)
    index = np.arange(count)[:, None] * step + np.arange(nperseg)
    return x[..., jnp.asarray(index, np.int32)]


def _edges(x: Any, boundary: str | None, n: int) -> Any:
    """The last axis with `n` elements more at each end."""
    pads = [(0, 0)] * (x.ndim - 1) + [(n, n)]
    options: dict[Any, Any] = {
        "even": lambda: jnp.pad(x, pads, mode="reflect"),
        "odd": lambda: jnp.pad(x, pads, mode="reflect", reflect_type="odd"),
        "constant": lambda: jnp.pad(x, pads, mode="edge"),
        "zeros": lambda: jnp.pad(x, pads),
        None: lambda: x,
    }
    if boundary not in options:
        raise ValueError(f"Unknown boundary option '{boundary}', must be one of: {list(options)}")
    return options[boundary]()


def _transformed(
    x: Any, window: Any, nperseg: int, step: int, nfft: int, trend: Any, onesided: bool
) -> Any:
    """Spectra of the segments, (..., segments, frequencies)."""
    pieces = _detrending(trend)(_segments(x, nperseg, step)) * window
    if onesided:
        return jnp.fft.rfft(pieces.real, n=nfft)
    return jnp.fft.fft(pieces, n=nfft)


def _scale(scaling: str, fs: Any, window: Any) -> Any:
    if scaling == "density":
        return 1.0 / (fs * jnp.sum(window * window))
    if scaling == "spectrum":
        return 1.0 / jnp.sum(window) ** 2
    raise ValueError(f"Unknown scaling: {scaling}")


def _frequencies(nfft: int, fs: Any, onesided: bool, dtype: Any) -> Any:
    table = jnp.fft.rfftfreq if onesided else jnp.fft.fftfreq
    return table(nfft, 1 / fs, dtype=dtype).astype(dtype)


def _spectra(
    x: Any,
    y: Any,
    fs: Any,
    window: Any,
    nperseg: Any,
    noverlap: Any,
    nfft: Any,
    trend: Any,
    return_onesided: bool,
    scaling: str,
    axis: int,
    mode: str,
    boundary: str | None = None,
    padded: bool = False,
) -> tuple[Any, Any, Any, int]:
    """Frequencies, times and (..., frequencies, segments), and the axis of the signal."""
    name = "stft" if mode == "stft" else "csd"
    if y is None:
        (x,) = promote_dtypes_inexact(ensure_arraylike(name, x))
    else:
        x, y = promote_dtypes_inexact(*ensure_arraylike(name, x, y))
    axis = canonical_axis(axis, x.ndim)
    real = dtypes.to_real_dtype(x.dtype)
    x = jnp.moveaxis(x, axis, -1)
    if y is not None:
        x, y = _same_length(x, jnp.moveaxis(y, axis, -1))
    if nperseg is not None:
        nperseg = _whole("nperseg", nperseg)
        if nperseg < 1:
            raise ValueError("nperseg must be a positive integer")
    window, nperseg = _window(window, nperseg, x.shape[-1])
    window = window.astype(real)
    noverlap, nfft = _sizes(nperseg, noverlap, nfft)
    step = nperseg - noverlap
    x, y = (_extended(a, boundary, padded, nperseg, step) for a in (x, y))
    scale = _scale(scaling, fs, window)
    complex_ = any(a is not None and dtypes.kind_of(a.dtype) == "c" for a in (x, y))
    onesided = return_onesided and not complex_
    settings = (window, nperseg, step, nfft, trend, onesided)
    found = _transformed(x, *settings)
    if mode == "stft":
        found = found * jnp.sqrt(scale).astype(found.dtype)
    else:
        other = found if y is None else _transformed(y, *settings)
        found = found.conj() * other * jnp.asarray(scale).astype(found.dtype)
        found = _folded(found, nfft) if onesided else found
    times = np.arange(nperseg / 2, x.shape[-1] - nperseg / 2 + 1, step) / fs
    if boundary is not None:
        times = times - (nperseg / 2) / fs
    times = jnp.asarray(times).astype(real)
    return _frequencies(nfft, fs, onesided, real), times, jnp.swapaxes(found, -1, -2), axis


def _extended(x: Any, boundary: str | None, padded: bool, nperseg: int, step: int) -> Any:
    if x is None:
        return None
    x = _edges(x, boundary, nperseg // 2)
    missing = (-(x.shape[-1] - nperseg) % step) % nperseg if padded else 0
    return jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, missing)]) if missing else x


def _same_length(x: Any, y: Any) -> tuple[Any, Any]:
    """Two signals along the last axis, the shorter one followed by zeros, the others broadcast."""
    try:
        lanes = np.broadcast_shapes(x.shape[:-1], y.shape[:-1])
    except ValueError:
        raise ValueError("x and y cannot be broadcast together.") from None
    n = max(x.shape[-1], y.shape[-1])
    out = []
    for a in (x, y):
        a = jnp.broadcast_to(a, (*lanes, a.shape[-1]))
        short = n - a.shape[-1]
        out.append(jnp.pad(a, [(0, 0)] * len(lanes) + [(0, short)]) if short else a)
    return out[0], out[1]


def _folded(found: Any, nfft: int) -> Any:
    """The power of negative frequencies added to that of the positive ones."""
    twice = np.full(found.shape[-1], 2.0)
    twice[0] = 1.0
    if nfft % 2 == 0:
        twice[-1] = 1.0
    return found * jnp.asarray(twice.astype(found.dtype))


# --------------------------------------------------------------------------- public functions


def stft(
    x: Any,
    fs: Any = 1.0,
    window: Any = "hann",
    nperseg: int = 256,
    noverlap: int | None = None,
    nfft: int | None = None,
    detrend: Any = False,
    return_onesided: bool = True,
    boundary: str | None = "zeros",
    padded: bool = True,
    axis: int = -1,
) -> tuple[Any, Any, Any]:
    """The short-time Fourier transform: frequencies, times, and values.

    The axis becomes the last one, of segment times, and that of frequencies stands in its place.
    Windows are those of `scipy.signal.get_window`, or samples.

    >>> import pullback.numpy as jnp, pullback.scipy.signal
    >>> f, t, z = pullback.scipy.signal.stft(jnp.arange(16.0), nperseg=8)
    >>> z.shape, z.dtype
    ((5, 5), dtype('complex64'))
    """
    frequencies, times, found, axis = _spectra(
        x, None, fs, window, nperseg, noverlap, nfft, detrend, return_onesided, "spectrum", axis,
        "stft", boundary, padded,
    )  # fmt: skip
    return frequencies, times, jnp.moveaxis(found, -2, axis)


def csd(
    x: Any,
    y: Any,
    fs: Any = 1.0,
    window: Any = "hann",
    nperseg: int | None = None,
    noverlap: int | None = None,
    nfft: int | None = None,
    detrend: Any = "constant",
    return_onesided: bool = True,
    scaling: str = "density",
    axis: int = -1,
    average: str = "mean",
) -> tuple[Any, Any]:
    """The cross power spectral density by Welch's method: frequencies and values.

    A segment is the whole signal unless `nperseg` says how long it is (SciPy: 256 elements).
    Without `y` the density is that of `x`, and real.
    `average` is "mean" or "median" (without its bias), `scaling` "density" or "spectrum".

    >>> import pullback.numpy as jnp, pullback.scipy.signal
    >>> f, p = pullback.scipy.signal.csd(jnp.arange(16.0), jnp.ones(16), nperseg=8)
    >>> p.shape
    (5,)
    """
    if average not in ("mean", "median"):
        raise ValueError(f'average must be "median" or "mean", got {average}')
    frequencies, _, found, axis = _spectra(
        x, y, fs, window, nperseg, noverlap, nfft, detrend, return_onesided, scaling, axis, "psd"
    )
    if y is None:
        found = found.real
    found = _median(found) if average == "median" else jnp.mean(found, axis=-1)
    return frequencies, jnp.moveaxis(found, -1, axis)


def _median(found: Any) -> Any:
    """The median over segments over its bias (Allen et al., Phys. Rev. D 85, 122006, app. B)."""
    n = found.shape[-1]
    even = 2 * np.arange(1.0, (n - 1) // 2 + 1)
    bias = 1 + np.sum(1 / (even + 1) - 1 / even)
    if dtypes.kind_of(found.dtype) == "c":
        found = lax.complex(jnp.median(found.real, axis=-1), jnp.median(found.imag, axis=-1))
    else:
        found = jnp.median(found, axis=-1)
    return found / dtypes.to_real_dtype(found.dtype).type(bias)


def welch(
    x: Any,
    fs: Any = 1.0,
    window: Any = "hann",
    nperseg: int | None = None,
    noverlap: int | None = None,
    nfft: int | None = None,
    detrend: Any = "constant",
    return_onesided: bool = True,
    scaling: str = "density",
    axis: int = -1,
    average: str = "mean",
) -> tuple[Any, Any]:
    """The power spectral density by Welch's method: frequencies and values.

    A segment is the whole signal unless `nperseg` says how long it is (SciPy: 256 elements).

    >>> import pullback.numpy as jnp, pullback.scipy.signal
    >>> f, p = pullback.scipy.signal.welch(jnp.arange(16.0), nperseg=8)
    >>> p.shape, p.dtype
    ((5,), dtype('float32'))
    """
    return csd(
        x, None, fs, window, nperseg, noverlap, nfft, detrend, return_onesided, scaling, axis,
        average,
    )  # fmt: skip


def _overlap_add(pieces: Any, step: int) -> Any:
    """(..., segments, n) added up at a distance of `step`."""
    *lanes, count, n = pieces.shape
    parts = -(-n // step)
    widths = [(0, 0)] * (len(lanes) + 1) + [(0, parts * step - n)]
    blocks = jnp.pad(pieces, widths).reshape(*lanes, count, parts, step)
    total: Any = 0
    for k in range(parts):
        shift = [(0, 0)] * len(lanes) + [(k, parts - 1 - k), (0, 0)]
        total = total + jnp.pad(blocks[..., k, :], shift)
    flat = total.reshape(*lanes, (count + parts - 1) * step)
    return flat[..., : (count - 1) * step + n]


def istft(
    Zxx: Any,
    fs: Any = 1.0,
    window: Any = "hann",
    nperseg: int | None = None,
    noverlap: int | None = None,
    nfft: int | None = None,
    input_onesided: bool = True,
    boundary: bool = True,
    time_axis: int = -1,
    freq_axis: int = -2,
) -> tuple[Any, Any]:
    """The signal of a short-time Fourier transform: times and values.

    >>> import pullback.numpy as jnp, pullback.scipy.signal
    >>> x = jnp.arange(16.0)
    >>> z = pullback.scipy.signal.stft(x, nperseg=8)[2]
    >>> bool(jnp.allclose(pullback.scipy.signal.istft(z)[1], x, atol=1e-4))
    True
    """
    z = ensure_arraylike("istft", Zxx)
    if z.ndim < 2:
        raise ValueError("Input stft must be at least 2d!")
    time_axis, freq_axis = (canonical_axis(k, z.ndim) for k in (time_axis, freq_axis))
    if time_axis == freq_axis:
        raise ValueError("Must specify differing time and frequency axes!")
    z = jnp.moveaxis(z, (time_axis, freq_axis), (-2, -1))
    z = z.astype(dtypes.to_complex_dtype(dtypes.to_inexact_dtype(z.dtype)))
    points = 2 * (z.shape[-1] - 1) if input_onesided else z.shape[-1]
    nperseg = points if nperseg is None else _whole("nperseg", nperseg)
    if nperseg < 1:
        raise ValueError("nperseg must be a positive integer")
    if nfft is None:
        nfft = points + 1 if input_onesided and nperseg == points + 1 else points
    nfft = _whole("nfft", nfft)
    if nfft < nperseg:
        raise ValueError(f"FFT length ({nfft}) must be longer than nperseg ({nperseg}).")
    noverlap, _ = _sizes(nperseg, noverlap, nfft)
    window, _ = _window(window, nperseg, nperseg)
    window = window.astype(dtypes.to_real_dtype(z.dtype))
    x = _resynthesized(z, window, nfft, nperseg - noverlap, input_onesided)
    if boundary:
        x = x[..., nperseg // 2 : x.shape[-1] - nperseg // 2]
    times = jnp.arange(x.shape[-1], dtype=window.dtype) / jnp.asarray(fs, window.dtype)
    if x.ndim > 1 and time_axis != z.ndim - 1:
        x = jnp.moveaxis(x, -1, time_axis - (freq_axis < time_axis))
    return times, x


def _resynthesized(z: Any, window: Any, nfft: int, step: int, onesided: bool) -> Any:
    inverse = jnp.fft.irfft if onesided else jnp.fft.ifft
    pieces = inverse(z, n=nfft)[..., : window.shape[0]]
    total = _overlap_add(pieces * (window * jnp.sum(window)), step)
    weight = _overlap_add(jnp.broadcast_to(window * window, pieces.shape[-2:]), step)
    return total / jnp.where(weight > 1e-10, weight, 1)
