"""The kernel for the largest numbers of rows, against NumPy's stable sort of the bits."""

from __future__ import annotations

import ctypes
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import pullback as pb
from pullback import lax
from pullback.llvm import jit, library, top_kernels
from pullback.ops import sorting

DTYPES = [
    "float32", "float64", "int32", "int64", "uint32", "uint64",
    "int8", "uint8", "float16", "bfloat16", "bool",
]  # fmt: skip


def _numbers(shape: tuple[int, ...], name: str) -> Any:
    dtype = np.dtype(getattr(ml_dtypes, name, None) or name)
    x = np.random.default_rng(0).standard_normal(shape) * 50
    x = (abs(x) if dtype.kind == "u" else x).astype(dtype)
    if "float" in name and shape[-1] > 12:
        x[..., 5], x[..., 7], x[..., 9], x[..., 11], x[..., 12] = np.nan, -np.nan, np.inf, -0.0, 0
    return x


def _check(x: Any, k: int, axis: int) -> None:
    values, order = pb.jit(lambda x: lax.top_k(x, k, axis=axis))(x)
    expected, places = lax.top_k_p.reference(x, k=k, axis=axis)
    assert np.array_equal(np.asarray(order), places)
    assert np.asarray(values).tobytes() == np.ascontiguousarray(expected).tobytes()


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("shape", [(20, 1000), (7, 129), (3, 33), (1, 20_003)])
def test_types_and_lengths(shape: tuple[int, ...], name: str) -> None:
    with pb.enable_x64(True):
        for k in (1, 3, shape[1] // 4):
            _check(_numbers(shape, name), k, 1)


@pytest.mark.parametrize("axis", [0, 1])
def test_other_axes(axis: int) -> None:
    _check(_numbers((90, 80, 5), "float32"), 6, axis)
    _check(_numbers((90, 80, 13), "bfloat16"), 6, axis)


@pytest.mark.parametrize("k", [2, 63, 64, 65, 300])
def test_rows_in_order(k: int) -> None:
    """Every number of an ascending row is better than all before; equal ones stand as they are."""
    rising = np.arange(5000, dtype=np.float32)[None]
    for x in (rising, -rising, np.zeros((2, 3000), np.float32), np.zeros((2, 3000), np.uint32)):
        _check(x, k, 1)


@pytest.mark.parametrize("bits", [128, 256])
def test_narrower_vectors(bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jit, "vector_bits", lambda: bits)
    module = library.kernel_module.__wrapped__("pb_top_i32")
    x = np.random.default_rng(1).integers(-99, 99, (5, 130)).astype(np.int32)
    values, order = np.empty((5, 7), np.int32), np.empty((5, 7), np.int32)
    work = np.empty((5, 2 * (7 + top_kernels.BLOCK + top_kernels.WIDEST)), np.int64)
    kinds = [ctypes.c_void_p] * 4 + [ctypes.c_int64] * 3
    pointers = (a.ctypes.data for a in (x, values, order, work))
    module.function("pb_top_i32", None, *kinds)(*pointers, *x.shape, 7)
    expected = np.argsort(-x, kind="stable")[:, :7]
    assert np.array_equal(order, expected)
    assert np.array_equal(values, np.take_along_axis(x, expected, 1))


def test_code_does_not_grow_with_the_shape() -> None:
    def size(*shape: int, k: int) -> int:
        x = pb.ShapeDtypeStruct(shape, "float32")
        compiled = pb.jit(lambda x: lax.top_k(x, k)).lower(x).compile()
        return int(compiled.memory_analysis().generated_code_size_in_bytes)

    assert size(64, 16_384, k=32) == size(3, 20_000, k=100) < 4096
    assert size(3, 500, k=100) == size(8, 5_000, k=1_000) < 4096  # partitioned, then sorted


def test_programs_give_the_kernel_the_room_that_it_wants() -> None:
    """The layers keep the two apart, so that the numbers are written twice."""
    assert (sorting._TOP_BLOCK, sorting._TOP_WIDEST) == (top_kernels.BLOCK, top_kernels.WIDEST)
