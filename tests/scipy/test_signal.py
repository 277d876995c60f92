"""Convolutions and spectra against SciPy's, and derivatives against finite differences."""

import subprocess
import sys
import textwrap
from typing import Any

import jax
import numpy as np
import pytest
import scipy.signal

import pullback as pb
import pullback.numpy as jnp
import pullback.scipy.signal as ours
from pullback.scipy import spectral

RNG = np.random.default_rng(0)


def draw(*shape: int, complex_: bool = False) -> Any:
    x = RNG.normal(size=shape)
    return x + 1j * RNG.normal(size=shape) if complex_ else x


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize("method", ["direct", "fft"])
@pytest.mark.parametrize("complex_", [False, True])
def test_convolve_and_correlate(mode: str, method: str, complex_: bool) -> None:
    shapes = [((9,), (4,)), ((4,), (9,)), ((5, 6), (3, 2)), ((4, 5, 3), (2, 3, 3))]
    with pb.enable_x64(True):
        for one, two in shapes:
            x, y = draw(*one, complex_=complex_), draw(*two)
            for name in ("convolve", "correlate"):
                expected = getattr(scipy.signal, name)(x, y, mode, method)
                found = getattr(ours, name)(x, y, mode, method)
                np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
def test_two_dimensions(mode: str) -> None:
    x, y = draw(5, 6).astype(np.float32), draw(3, 2).astype(np.float32)
    for name in ("convolve2d", "correlate2d"):
        expected = getattr(scipy.signal, name)(x, y, mode)
        np.testing.assert_allclose(getattr(ours, name)(x, y, mode), expected, atol=1e-5)


def test_fftconvolve_along_axes() -> None:
    x, y = draw(3, 8), draw(1, 3)
    for mode in ("full", "same", "valid"):
        expected = scipy.signal.fftconvolve(x, y, mode, axes=1)
        np.testing.assert_allclose(ours.fftconvolve(x, y, mode, axes=1), expected, atol=1e-5)


def test_integers_become_floats() -> None:
    assert ours.convolve(jnp.arange(5), jnp.arange(3)).dtype == np.float32
    assert ours.fftconvolve(jnp.arange(5), jnp.arange(3)).dtype == np.float32
    assert ours.detrend(jnp.arange(5)).dtype == np.float32


def test_errors_of_convolutions() -> None:
    a, b = jnp.arange(5.0), jnp.arange(3.0)
    with pytest.raises(ValueError, match="expected 'auto', 'fft', or 'direct'"):
        ours.convolve(a, b, method="zzz")
    with pytest.raises(ValueError, match="mode must be one of"):
        ours.convolve(a, b, mode="zzz")
    with pytest.raises(ValueError, match="same number of dimensions"):
        ours.convolve(a, jnp.ones((2, 2)))
    with pytest.raises(ValueError, match="zero-size"):
        ours.convolve(jnp.ones(0), a)
    with pytest.raises(ValueError, match="2-dimensional"):
        ours.convolve2d(a, b)
    with pytest.raises(NotImplementedError, match="boundary"):
        ours.convolve2d(jnp.ones((3, 3)), jnp.ones((2, 2)), boundary="wrap")
    with pytest.raises(ValueError, match="One input must be smaller"):
        ours.convolve2d(jnp.ones((3, 2)), jnp.ones((2, 3)), mode="valid")


@pytest.mark.parametrize("kind", ["linear", "constant"])
def test_detrend(kind: str) -> None:
    x = draw(4, 20)
    with pb.enable_x64(True):
        for axis, bp in ((-1, 0), (0, 0), (1, [5, 11])):
            expected = scipy.signal.detrend(x, axis=axis, type=kind, bp=bp)
            np.testing.assert_allclose(ours.detrend(x, axis, kind, bp), expected, atol=1e-12)
    with pytest.raises(ValueError, match="Breakpoints"):
        ours.detrend(jnp.arange(4.0), bp=9)
    with pytest.raises(ValueError, match="Trend type"):
        ours.detrend(jnp.arange(4.0), type="foo")


SETTINGS: list[dict[str, Any]] = [
    {"nperseg": 8},
    {"nperseg": 8, "noverlap": 5, "nfft": 12, "fs": 3.0},
    {"nperseg": 7, "window": "boxcar", "return_onesided": False},
    {"nperseg": 8, "axis": 0, "window": ("tukey", 0.4)},
    {"window": np.hanning(8), "detrend": "linear"},
    {"nperseg": 8, "detrend": False},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=range(len(SETTINGS)))
@pytest.mark.parametrize("complex_", [False, True])
def test_spectra(settings: dict[str, Any], complex_: bool) -> None:
    if complex_:
        settings = {**settings, "return_onesided": False}
    with pb.enable_x64(True):
        x, y = draw(30, 25, complex_=complex_), draw(30, 25, complex_=complex_)
        for more in ({}, {"scaling": "spectrum", "average": "median"}):
            for name, args in (("welch", (x,)), ("csd", (x, y))):
                expected = getattr(scipy.signal, name)(*args, **settings, **more)
                found = getattr(ours, name)(*args, **settings, **more)
                for a, b in zip(found, expected, strict=True):
                    np.testing.assert_allclose(a, b, atol=1e-12)


@pytest.mark.parametrize("name", ["boxcar", "hann", "hamming", "blackman"])
@pytest.mark.parametrize("length", [1, 2, 7, 256])
def test_common_windows_need_no_library(name: str, length: int) -> None:
    found = spectral._samples(name, length)
    np.testing.assert_allclose(found, scipy.signal.get_window(name, length), atol=1e-15)


def test_spectra_without_the_library() -> None:
    code = """
    import sys, pullback.numpy as jnp, pullback.scipy.signal as signal
    z = signal.stft(jnp.arange(64.0), nperseg=16)[2]
    signal.istft(z, nperseg=16), signal.welch(jnp.arange(64.0), window="hamming")
    assert "scipy.signal" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)


def test_segments_are_the_whole_signal_by_default() -> None:
    x, y = draw(600), draw(600)
    for name, args in (("welch", (x,)), ("csd", (x, y)), ("csd", (x, x)), ("csd", (x, None))):
        found, theirs = (getattr(m, name)(*args) for m in (ours, jax.scipy.signal))
        for a, b in zip(found, theirs, strict=True):
            assert (a.shape, a.dtype) == (b.shape, b.dtype)
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("settings", SETTINGS[:4], ids=range(4))
@pytest.mark.parametrize("boundary", ["even", "odd", "constant", "zeros", None])
def test_short_time_transforms_and_their_inverse(settings: dict[str, Any], boundary: Any) -> None:
    with pb.enable_x64(True):
        x = draw(24, 32)
        found = ours.stft(x, boundary=boundary, **settings)
        expected = scipy.signal.stft(x, boundary=boundary, **settings)
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-12)
        back = {k: v for k, v in settings.items() if k not in ("axis", "return_onesided")}
        back["input_onesided"] = settings.get("return_onesided", True)
        back["boundary"] = boundary is not None
        if boundary is not None:
            axes = {"freq_axis": settings.get("axis", -2)} if "axis" in settings else {}
            ends = [fn(expected[2], **back, **axes) for fn in (ours.istft, scipy.signal.istft)]
            (times, signal), (_, truth) = ends
            np.testing.assert_allclose(signal, truth, atol=1e-12)
            expected_times = np.arange(len(times)) / settings.get("fs", 1)
            np.testing.assert_allclose(times, expected_times)
            assert len(times) in truth.shape


def test_short_signals_warn() -> None:
    with pytest.warns(UserWarning, match="nperseg=64 is greater"):
        ours.welch(jnp.arange(20.0), nperseg=64)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"average": "foo"}, "average must be"),
        ({"noverlap": 8}, "noverlap must be less"),
        ({"nfft": 4}, "nfft must be greater"),
        ({"nperseg": 0}, "positive integer"),
        ({"scaling": "foo"}, "Unknown scaling"),
        ({"window": np.ones(4)}, "different from length of window"),
    ],
)
def test_errors_of_spectra(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ours.welch(jnp.arange(20.0), **{"nperseg": 8, **settings})
    with pytest.raises(ValueError, match="Unknown boundary"):
        ours.stft(jnp.arange(20.0), nperseg=8, boundary="foo")


def test_derivatives() -> None:
    with pb.enable_x64(True):
        x, y, t = draw(24), draw(5), draw(24)

        def loss(x: Any) -> Any:
            power = ours.welch(ours.convolve(x, y, "same"), nperseg=8)[1]
            return jnp.sum(jnp.log(power)) + jnp.sum(abs(ours.stft(x, nperseg=8)[2]) ** 2)

        slope = pb.jit(pb.grad(loss))(x) @ t
        step = 1e-6
        expected = (loss(x + step * t) - loss(x - step * t)) / (2 * step)
        np.testing.assert_allclose(slope, expected, rtol=1e-6)
