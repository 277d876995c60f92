"""Kernels that are written for the width of the machine's vectors are right at every width."""

from __future__ import annotations

import ctypes
import itertools
import re
from typing import Any

import numpy as np
import pytest

from pullback.llvm import gemm, jit, library

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
    module = library.kernel_module.__wrapped__(symbol)
    sort = _function(module, symbol, POINTER, POINTER, LONG, LONG)
    x = (np.random.default_rng(0).standard_normal((21, 130)) * 1e6).astype(dtype)
    out = np.empty_like(x)
    sort(x.ctypes.data, out.ctypes.data, *x.shape)
    assert np.array_equal(out, np.sort(x))


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("shape", [(19, 40, 1), (3, 40, 21)])
def test_transforms(shape: tuple[int, int, int]) -> None:
    module = library.kernel_module.__wrapped__("pb_fft_f32")
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


ONE_ROW = [(1, 5), (3, 40), (8, 8), (10, 50), (16, 16), (33, 3), (64, 64), (65, 17), (130, 9)]


@pytest.mark.parametrize("bits", [128, 256, None])
@pytest.mark.parametrize("name", ["f32", "f64"])
def test_a_row_times_a_matrix(name: str, bits: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Results of any length, sums of any length, rows or columns contiguous, on either side."""
    if bits is not None:
        monkeypatch.setattr(jit, "vector_bits", lambda: bits)
    module = library.kernel_module.__wrapped__(f"pb_row_{name}")
    multiply = _function(module, f"pb_row_{name}", *[POINTER] * 3, *[LONG] * 12)
    rng, dtype = np.random.default_rng(2), np.dtype(f"f{int(name[1:]) // 8}")
    for n, k in ONE_ROW:
        x, b = rng.standard_normal(k).astype(dtype), rng.standard_normal((k, n)).astype(dtype)
        size = np.abs(x) @ np.abs(b) * k * np.finfo(dtype).eps
        for stored, row, column in ((b, n, 1), (np.ascontiguousarray(b.T), 1, k)):
            out = np.full(n + 1, 7, dtype)
            pointers = x.ctypes.data, stored.ctypes.data, out.ctypes.data
            multiply(*pointers, 1, 0, 0, 0, 1, n, k, k, 1, row, column, n)
            assert (np.abs(out[:n] - x @ b) <= size).all()
            assert out[n] == 7
            again = np.full(n + 1, 7, dtype)
            pointers = stored.ctypes.data, x.ctypes.data, again.ctypes.data
            multiply(*pointers, 1, 0, 0, 0, n, 1, k, column, row, 1, 1, 1)
            assert (np.abs(again[:n] - x @ b) <= size).all()


@pytest.mark.parametrize("bits", [128, 256, None])
@pytest.mark.parametrize("name", ["f32", "f64"])
def test_a_few_rows_times_columns(
    name: str, bits: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that are contiguous or not, on either side, with sums longer than what is copied."""
    if bits is not None:
        monkeypatch.setattr(jit, "vector_bits", lambda: bits)
    module = library.kernel_module.__wrapped__(f"pb_thin_{name}")
    multiply = _function(module, f"pb_thin_{name}", *[POINTER] * 3, *[LONG] * 12)
    rng, dtype = np.random.default_rng(3), np.dtype(f"f{int(name[1:]) // 8}")
    for m, n, k in ((1, 9, 65), (2, 3, 70), (3, 17, 1030), (4, 33, 1), (8, 21, 2500)):
        a, b = rng.standard_normal((m, k)).astype(dtype), rng.standard_normal((k, n)).astype(dtype)
        size, columns = np.abs(a) @ np.abs(b) * k * np.finfo(dtype).eps, b.T.copy()
        for stored, row, column in ((a, k, 1), (a.T.copy(), 1, m)):
            out, again = np.full(m * n + 1, 7, dtype), np.full(m * n + 1, 7, dtype)
            pointers = stored.ctypes.data, columns.ctypes.data, out.ctypes.data
            multiply(*pointers, 1, 0, 0, 0, m, n, k, row, column, 1, k, n)
            pointers = columns.ctypes.data, stored.ctypes.data, again.ctypes.data
            multiply(*pointers, 1, 0, 0, 0, n, m, k, k, 1, column, row, m)
            assert out[-1] == again[-1] == 7
            assert (np.abs(out[:-1].reshape(m, n) - a @ b) <= size).all()
            assert (np.abs(again[:-1].reshape(n, m).T - a @ b) <= size).all()


@pytest.mark.parametrize("name", ["f32", "f64"])
def test_kernels_of_rows_and_of_matrices_are_compiled_apart(name: str) -> None:
    kinds = ("row", "thin", "gemm")
    functions = [
        set(re.findall(r"^define [^@]*@(\w+)", gemm.module_text(f"pb_{kind}_{name}", 256)[0], re.M))
        for kind in kinds
    ]
    for some, others in itertools.combinations(functions, 2):
        assert some & others <= {"tasks", "long_udiv", "long_urem"}


def test_a_row_times_a_matrix_is_not_packed() -> None:
    """What is read once goes from where it lies to the sums: no call of a packing function."""
    text, _ = gemm.module_text("pb_row_f32", jit.vector_bits())
    functions = dict(re.findall(r"^define \w+ \w+ @(\w+)\((.*?)^}", text, re.MULTILINE | re.DOTALL))
    rows = [
        name
        for name in functions
        if name in ("row", "long_row", "dots") or name.startswith("narrow_")
    ]
    assert len(rows) >= 3
    for name in rows:
        called = set(re.findall(r"call [^@]*@(\w+)", functions[name]))
        assert called <= {"narrow_1", "narrow_2", "narrow_3", "narrow_4", "long_row", "llvm"}
