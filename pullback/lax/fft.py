"""`lax.fft`: discrete Fourier transforms of the last one to three axes."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

from pullback.core import dtypes
from pullback.core.avals import aval_of
from pullback.ops.conversion import convert
from pullback.ops.fft import FftType
from pullback.ops.fft import fft as fft_p

__all__ = ["FftType", "fft", "fft_p"]


def _type_of(fft_type: Any) -> FftType:
    if isinstance(fft_type, str):
        name = fft_type.upper()
        if name in FftType.__members__:
            return FftType[name]
    elif isinstance(fft_type, int):
        return FftType(fft_type)
    raise ValueError(f"fft: unknown fft_type {fft_type!r}; it is one of FFT, IFFT, RFFT, IRFFT")


def fft(x: Any, fft_type: FftType | str, fft_lengths: Sequence[int]) -> Any:
    """A Fourier transform: "fft", "ifft" (divided by the lengths), "rfft" or "irfft".

    `fft_lengths` are the lengths of the last axes, of the real array for "rfft" and "irfft".

    >>> from pullback import lax
    >>> import numpy as np
    >>> lax.fft(np.ones(4, "complex64"), "fft", (4,))
    Array([4.+0.j, 0.+0.j, 0.+0.j, 0.+0.j], dtype=complex64)
    """
    kind = _type_of(fft_type)
    lengths = tuple(operator.index(n) for n in fft_lengths)
    if not lengths:
        return x
    found = dtypes.kind_of(aval_of(x).dtype)
    if kind == FftType.RFFT:
        if found == "c":
            raise ValueError("only real valued inputs supported for rfft")
    elif found != "c":
        x = convert(x, dtypes.to_complex_dtype(aval_of(x).dtype))
    return fft_p.bind(x, fft_type=kind, fft_lengths=lengths)
