"""`jax.scipy.signal`: convolutions from `convolution`, spectra from `spectral`."""

from pullback.scipy.convolution import convolve, convolve2d, correlate, correlate2d, fftconvolve
from pullback.scipy.spectral import csd, detrend, istft, stft, welch

__all__ = [
    "convolve",
    "convolve2d",
    "correlate",
    "correlate2d",
    "csd",
    "detrend",
    "fftconvolve",
    "istft",
    "stft",
    "welch",
]
