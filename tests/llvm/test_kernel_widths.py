"""Kernels that are written for the width of the machine's vectors are right at every width."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest

from pullback.llvm import fft_kernels, jit, library, sort_kernels

POINTER, LONG = ctypes.c_void_p, ctypes.c_int64


def _function(module: Any, symbol: str, *types: Any) -> Any:
    return ctypes.CFUNCTYPE(None, *types)(module.address(symbol))


@pytest.fixture(params=[128, 256])
def narrow(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jit, "vector_bits", lambda: request.param)


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("name", ["f32", "i64"])
def test_sorted_rows(name: str) -> None:
    symbol, dtype = f"pb_sort_rows_{name}", np.dtype(f"{name[0]}{int(name[1:]) // 8}")
    module = sort_kernels._module.__wrapped__(symbol, library.address)
    sort = _function(module, symbol, POINTER, POINTER, LONG, LONG)
    x = (np.random.default_rng(0).standard_normal((21, 130)) * 1e6).astype(dtype)
    out = np.empty_like(x)
    sort(x.ctypes.data, out.ctypes.data, *x.shape)
    assert np.array_equal(out, np.sort(x))


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("shape", [(19, 40, 1), (3, 40, 21)])
def test_transforms(shape: tuple[int, int, int]) -> None:
    module = fft_kernels._module.__wrapped__("f32", library.address)
    types = (*[POINTER] * 4, *[LONG] * 4, ctypes.c_float)
    transform = _function(module, "pb_fft_f32", *types)
    rng = np.random.default_rng(1)
    x = (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)
    out, n = np.empty_like(x), shape[1]
    turns, stride, factors = [], 1, (8, 5)
    for r in factors:
        length = n // stride
        powers = np.outer(np.arange(length // r), np.arange(1, r))
        turns.append(np.exp(-2j * np.pi * powers / length).ravel())
        stride *= r
    table = np.concatenate(turns).astype(np.complex64)
    plan = np.array([*factors, 0], np.int64)
    pointers = (a.ctypes.data for a in (x, out, table, plan))
    transform(*pointers, n, shape[0], shape[2], 0, 1.0)
    expected = np.fft.fft(x.astype(np.complex128), axis=1)
    assert np.abs(out - expected).max() < 1e-5 * np.abs(expected).max()
