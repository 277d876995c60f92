"""Both kernels that sort long rows of unsigned integers, on rows that are hard for one of them."""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from pullback.llvm import library, pool, quick_kernels

LENGTHS = [1, 2, 15, 16, 17, 63, 64, 65, 100, 255, 256, 257, 300, 1000, 4097, 70_001, 200_003]
KINDS = [
    "random",
    "few",
    "ascending",
    "descending",
    "largest",
    "zero",
    "skewed",
    "organ",
    "samples",
]


def _row(kind: str, n: int, dtype: Any) -> Any:
    rng, most = np.random.default_rng(n), np.iinfo(dtype).max
    x = rng.integers(0, most, n, dtype, endpoint=True)
    if kind == "samples":  # whatever is looked at to find a pivot is the least
        x[:: max(n // 9, 1)] = 0
    made = {
        "random": x, "few": x % 5, "ascending": np.sort(x), "descending": np.sort(x)[::-1],
        "largest": np.full_like(x, most), "zero": np.zeros_like(x),
        "skewed": x >> np.arange(n).astype(dtype) % 31,
        "organ": np.minimum(np.arange(n), np.arange(n)[::-1]).astype(dtype), "samples": x,
    }  # fmt: skip
    return np.ascontiguousarray(made[kind].astype(dtype))


def _call(symbol: str, keys: int, other: int, rows: int, n: int, *wanted: int) -> None:
    """Only `pb_quick_T` knows places that are wanted."""
    pointer, count = ctypes.c_void_p, ctypes.c_int64
    wanted = (wanted or (0, n)) if "quick" in symbol else ()
    types = [pointer, pointer, count, count, *[count] * len(wanted)]
    ctypes.CFUNCTYPE(None, *types)(library.address(symbol))(keys, other, rows, n, *wanted)


def _sort(symbol: str, rows: Any, *wanted: int) -> Any:
    keys, other = rows.copy(), np.zeros_like(rows)
    _call(symbol, keys.ctypes.data, other.ctypes.data, *rows.shape, *wanted)
    return other


@pytest.fixture(params=["u32", "u64"])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["quick", "radix"])
def symbol(request: pytest.FixtureRequest, name: str) -> Iterator[str]:
    symbol = f"pb_{request.param}_{name}"
    if request.param == "quick" and symbol not in quick_kernels.available():
        pytest.skip("this machine compresses no vectors")
    before = pool.num_threads()
    yield symbol
    pool.set_num_threads(before)


@pytest.mark.parametrize("kind", KINDS)
def test_one_row(symbol: str, name: str, kind: str) -> None:
    for n in LENGTHS:
        row = _row(kind, n, np.dtype(f"uint{name[1:]}"))
        for threads in (1, 3):
            pool.set_num_threads(threads)
            assert np.array_equal(_sort(symbol, row[None])[0], np.sort(row)), n


def test_several_rows(symbol: str, name: str) -> None:
    dtype = np.dtype(f"uint{name[1:]}")
    rows = np.stack([_row(kind, 5003, dtype) for kind in KINDS])
    assert np.array_equal(_sort(symbol, rows), np.sort(rows, 1))


@pytest.mark.parametrize("kind", KINDS)
def test_places_that_are_wanted(name: str, kind: str) -> None:
    symbol, dtype = f"pb_quick_{name}", np.dtype(f"uint{name[1:]}")
    if symbol not in quick_kernels.available():
        pytest.skip("this machine compresses no vectors")
    for n in (1, 40, 300, 5000, 200_003):
        row = _row(kind, n, dtype)
        expected = np.sort(row)
        for first, last in ((0, 1), (n // 2, n // 2 + 1), (n - 1, n), (n // 3, n // 2 + 9)):
            found = []
            for threads in (1, 3):
                pool.set_num_threads(threads)
                found.append(_sort(symbol, row[None], first, last)[0])
            assert np.array_equal(*found)
            assert np.array_equal(found[0][first:last], expected[first:last])
            for part in (slice(first), slice(last, n)):
                assert np.array_equal(np.sort(found[0][part]), expected[part])


def test_nothing_is_written_beyond_the_rows(symbol: str, name: str) -> None:
    dtype = np.dtype(f"uint{name[1:]}")
    for n in (5, 250, 777):
        keys, other = np.full((3, n), 7, dtype), np.full((3, n), 9, dtype)
        keys[1] = _row("random", n, dtype)
        expected = np.sort(keys[1])
        _call(symbol, keys[1].ctypes.data, other[1].ctypes.data, 1, n)
        assert np.array_equal(other[1], expected)
        assert (keys[[0, 2]] == 7).all()
        assert (other[[0, 2]] == 9).all()


def test_nothing_is_read_behind_the_rows(name: str) -> None:
    """Equal keys leave empty parts at the end, where a page follows that may not be read."""
    symbol, dtype = f"pb_quick_{name}", np.dtype(f"uint{name[1:]}")
    if symbol not in quick_kernels.available():
        pytest.skip("this machine compresses no vectors")
    size = quick_kernels.LONG * dtype.itemsize
    libc, areas = ctypes.CDLL(None), [mmap.mmap(-1, size + mmap.PAGESIZE) for _ in range(2)]
    places = [ctypes.addressof(ctypes.c_char.from_buffer(area)) for area in areas]
    pointer = ctypes.c_void_p
    protect = ctypes.CFUNCTYPE(ctypes.c_int, pointer, ctypes.c_size_t, ctypes.c_int)(
        ("mprotect", libc)
    )
    for place in places:
        assert protect(place + size, mmap.PAGESIZE, 0) == 0
    _call(symbol, *places, 1, quick_kernels.LONG)
    assert not np.frombuffer(areas[1], dtype, quick_kernels.LONG).any()


def test_eight_lanes_are_divided_by_one_permutation() -> None:
    module, _ = quick_kernels.module_text("pb_quick_u64", 512)
    split = module.split("@split(", 1)[1].split("\n}", 1)[0]
    assert split.count("@llvm.x86.avx512.permvar.di.512(") == 1
    assert split.count("@llvm.experimental.vector.compress") == 4  # of two vectors at the end


@pytest.mark.parametrize(("symbol", "widths"), [("pb_quick_u32", 4), ("pb_quick_u64", 3)])
def test_steps_between_lanes_are_written_once(symbol: str, widths: int) -> None:
    module, _ = quick_kernels.module_text(symbol, 512)
    small = module.split("@small(", 1)[1].split("\n}", 1)[0]
    assert small.count(" @lanes(") == widths
    lanes = module.split("@lanes(", 1)[1].split("\n}", 1)[0]
    assert lanes.count("shufflevector") == 2 * widths * (1 << widths)
