"""`fft`: discrete Fourier transforms of the last axes, with JAX's parameters.

A transform and its inverse are linear; the matrix of the complex ones is symmetric, so that each is
its own transpose.  References are NumPy's, in the precision of the operand.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from pullback.core import dtypes
from pullback.core.avals import ShapedArray, aval_of
from pullback.core.primitive import FIRST_ORDER, PURE, Primitive, Sample
from pullback.ops import hlo_windows, kinds
from pullback.ops.arithmetic import mul
from pullback.ops.complexes import conj, real
from pullback.ops.fft_lowering import along, real_from_spectra, real_spectra
from pullback.ops.joining import pad
from pullback.ops.linalg_lapack import real_dtype

__all__ = ["FftType", "fft"]


class FftType(enum.IntEnum):
    """Complex to complex and back; real to the half of its spectrum, and back."""

    FFT = 0
    IFFT = 1
    RFFT = 2
    IRFFT = 3

    def __str__(self) -> str:
        return self.name


# --------------------------------------------------------------------------- types


def _abstract(x: ShapedArray, *, fft_type: FftType, fft_lengths: Sequence[int]) -> ShapedArray:
    rank = len(fft_lengths)
    real_operand = fft_type == FftType.RFFT
    if dtypes.kind_of(x.dtype) != ("f" if real_operand else "c") or x.dtype.itemsize < 4:
        wanted = "float32 or float64" if real_operand else "complex64 or complex128"
        raise TypeError(f"fft of type {fft_type} takes {wanted}, got {x.str_short()}")
    if not 1 <= rank <= 3 or x.ndim < rank:
        raise TypeError(
            f"fft takes one to three axes of its operand, got fft_lengths {tuple(fft_lengths)} for "
            f"{x.str_short()}"
        )
    half = (*fft_lengths[:-1], fft_lengths[-1] // 2 + 1)
    expected = half if fft_type == FftType.IRFFT else tuple(fft_lengths)
    if x.shape[-rank:] != tuple(expected):
        raise ValueError(
            f"fft of type {fft_type}: the last axes of {x.str_short()} must be {tuple(expected)}"
        )
    lanes = x.shape[:-rank]
    if fft_type == FftType.RFFT:
        wide = x.dtype == dtypes.float64
        return ShapedArray((*lanes, *half), dtypes.complex128 if wide else dtypes.complex64)
    dtype = real_dtype(x.dtype) if fft_type == FftType.IRFFT else x.dtype
    return ShapedArray((*lanes, *fft_lengths), dtype)


# --------------------------------------------------------------------------- reference

_NUMPY: dict[FftType, Any] = {
    FftType.FFT: np.fft.fftn,
    FftType.IFFT: np.fft.ifftn,
    FftType.RFFT: np.fft.rfftn,
    FftType.IRFFT: np.fft.irfftn,
}


def _reference(x: Any, *, fft_type: FftType, fft_lengths: Sequence[int]) -> Any:
    axes = tuple(range(-len(fft_lengths), 0))
    out_type: Any = _abstract(
        ShapedArray(x.shape, x.dtype), fft_type=fft_type, fft_lengths=fft_lengths
    )
    if 0 in x.shape or 0 in out_type.shape:
        return np.zeros(out_type.shape, out_type.dtype)
    out = _NUMPY[fft_type](x, s=tuple(fft_lengths), axes=axes)
    return np.ascontiguousarray(out, out_type.dtype)


# --------------------------------------------------------------------------- derivatives


def _transpose(ct: Any, x: Any, *, fft_type: FftType, fft_lengths: Sequence[int]) -> list[Any]:
    params = {"fft_type": fft_type, "fft_lengths": fft_lengths}
    if fft_type in (FftType.FFT, FftType.IFFT):
        return [fft(ct, **params)]
    if fft_type == FftType.RFFT:
        return [_rfft_transpose(ct, fft_lengths)]
    return [_irfft_transpose(ct, fft_lengths)]


def _rfft_transpose(ct: Any, lengths: Sequence[int]) -> Any:
    """The real part of the whole transform, of a spectrum whose other half is zero."""
    rank, missing = aval_of(ct).ndim, lengths[-1] - aval_of(ct).shape[-1]
    config = (*((0, 0, 0),) * (rank - 1), (0, missing, 0))
    whole = pad(ct, kinds.scalar_like(ct, 0), padding_config=config)
    return real(fft(whole, fft_type=FftType.FFT, fft_lengths=lengths))


def _irfft_transpose(ct: Any, lengths: Sequence[int]) -> Any:
    """Numbers that stand for two of the spectrum, their own and its mirror image, count twice."""
    out = fft(ct, fft_type=FftType.RFFT, fft_lengths=lengths)
    n, half = lengths[-1], aval_of(out).shape[-1]
    weights = np.full(half, 2.0)
    weights[0] = 1.0
    if n % 2 == 0:
        weights[-1] = 1.0
    weights = (weights / math.prod(lengths)).astype(dtypes.physical(aval_of(ct).dtype))
    shape = aval_of(out).shape
    scale = kinds.broadcast(
        weights.astype(dtypes.physical(aval_of(out).dtype)), shape, (len(shape) - 1,)
    )
    return mul(conj(out, input_dtype=aval_of(out).dtype), scale)


def _batch(size: int, args: Any, dims: Any, **params: Any) -> tuple[Any, int]:
    return fft(kinds.move_axis(args[0], dims[0], 0), **params), 0


# --------------------------------------------------------------------------- lowering


def _lower(b: Any, x: Any, *, fft_type: FftType, fft_lengths: Sequence[int]) -> Any:
    rank = len(x.shape)
    axes = list(range(rank - len(fft_lengths), rank))
    if fft_type == FftType.RFFT:
        return real_spectra(b, x, axes)
    if fft_type == FftType.IRFFT:
        return real_from_spectra(b, x, fft_lengths[-1], axes)
    return along(b, x, axes, inverse=fft_type == FftType.IFFT)


# --------------------------------------------------------------------------- samples


def _samples() -> Iterator[Sample]:
    rng = np.random.default_rng(21)
    shapes: list[tuple[tuple[int, ...], int]] = [
        ((n,), 1) for n in (1, 2, 3, 4, 5, 7, 8, 12, 15, 16, 17, 26, 29, 30, 64, 97, 120)
    ]
    shapes += [((3, 8), 1), ((2, 6, 5), 2), ((2, 3, 4, 5), 3), ((0, 4), 1), ((19, 6), 2)]
    for kind in FftType:
        for shape, rank in shapes:
            for wide in (False, True):
                yield _sample(rng, kind, shape, rank, wide)


def _sample(rng: Any, kind: FftType, shape: tuple[int, ...], rank: int, wide: bool) -> Sample:
    lengths = shape[-rank:]
    if kind == FftType.IRFFT:
        shape = (*shape[:-1], shape[-1] // 2 + 1)
    x = rng.standard_normal(shape)
    if kind != FftType.RFFT:
        x = (x + 1j * rng.standard_normal(shape)).astype("complex128" if wide else "complex64")
    elif not wide:
        x = x.astype("float32")
    params = {"fft_type": kind, "fft_lengths": lengths}
    return Sample((x,), params, tol=10.0 * (1 + math.log2(math.prod(lengths) + 1)))


fft: Primitive = Primitive(
    name="fft",
    abstract=_abstract,
    reference=_reference,
    jvp=kinds.linear_jvp(kinds.late("fft")),
    transpose=_transpose,
    batch=_batch,
    partial_eval=FIRST_ORDER,
    lower=_lower,
    hlo=hlo_windows.fft,
    samples=_samples,
    multiple_results=False,
    effects=PURE,
    literals=False,
)
