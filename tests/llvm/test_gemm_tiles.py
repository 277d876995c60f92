"""How matrix kernels cut their results for the threads: counted by a pool that only counts."""

from __future__ import annotations

import ctypes
import platform
import re
from functools import cache
from typing import Any

import numpy as np
import pytest

from pullback.llvm import gemm_kernels, gemm_packing, gemm_sums, jit, library

TASK = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
PARALLEL = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, *[ctypes.c_int64] * 2)
THREADS = ctypes.CFUNCTYPE(ctypes.c_int64)
PRODUCTS = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 3, *[ctypes.c_int64] * 12)


@cache
def _kernels(symbol: str) -> tuple[bytes, list[str]]:
    module = gemm_kernels.kernel_module(symbol, jit.vector_bits())
    return jit.compile_object(module.text(), name="tiles"), module.undefined


def _loaded(symbol: str, parallel: Any, number: Any) -> Any:
    """A module that calls these functions for the pool's."""
    code, undefined = _kernels(symbol)
    ours: dict[str, Any] = {"pb_parallel_for": parallel, "pb_pool_threads": number}
    symbols = {
        name: ctypes.cast(ours[name], ctypes.c_void_p).value or 0
        if name in ours
        else library.address(name)
        for name in undefined
    }
    return jit.load(code, symbols)


def _product(
    threads: int, lanes: int, m: int, n: int, k: int, *, columns: bool = False
) -> tuple[Any, int]:
    """A product, and how many tasks it has; it is checked on the way.

    The columns of the right operand are contiguous, or its rows.
    """
    counts = [0]

    def run(task: int, env: int, length: int, _: int) -> None:
        counts.append(length)
        for start in reversed(range(length)):
            TASK(task)(env, start, start + 1)

    parallel, number = PARALLEL(run), THREADS(lambda: threads)
    thin = k >= 64 and (m if columns else n) <= 8
    symbol = f"pb_{'row' if 1 in (m, n) else 'thin' if thin else 'gemm'}_f32"
    loaded = _loaded(symbol, parallel, number)
    rng = np.random.default_rng(5)
    a, b = (rng.normal(size=(lanes, *s)).astype(np.float32) for s in ((m, k), (k, n)))
    out = np.full((lanes, m, n), np.nan, np.float32)
    stored = np.ascontiguousarray(b.swapaxes(1, 2)) if columns else b
    steps = (1, k) if columns else (n, 1)
    PRODUCTS(loaded.address(symbol))(
        a.ctypes.data, stored.ctypes.data, out.ctypes.data,
        lanes, m * k, k * n, m * n, m, n, k, k, 1, *steps, n,
    )  # fmt: skip
    np.testing.assert_allclose(out, a @ b, rtol=1e-3, atol=1e-3)
    return out, max(counts)


def _tasks(threads: int, lanes: int, m: int, n: int, k: int) -> int:
    return _product(threads, lanes, m, n, k)[1]


@pytest.mark.parametrize(
    ("m", "n"),
    [
        *((97, 40), (97, 100), (129, 64), (225, 64), (32, 128)),
        *((1, 1200), (1, 3001), (1001, 1), (3003, 1), (1001, 3), (1500, 8)),
    ],
)
def test_bits_do_not_depend_on_the_tiles(m: int, n: int) -> None:
    alone, *others = (_product(threads, 1, m, n, 600)[0] for threads in (1, 2, 3, 4, 8))
    for other in others:
        assert other.tobytes() == alone.tobytes()


@pytest.mark.parametrize("threads", [2, 4])
@pytest.mark.parametrize(
    ("lanes", "m", "n", "k"),
    [
        (1, 256, 256, 256),
        (1, 512, 512, 64),
        (1, 700, 48, 100),
        (1, 40, 2000, 100),
        (1, 128, 128, 128),
        (64, 64, 64, 64),
    ],
)
def test_all_threads_have_tiles(threads: int, lanes: int, m: int, n: int, k: int) -> None:
    few = lanes * m * n * k >= gemm_kernels.LARGE
    assert _tasks(threads, lanes, m, n, k) >= (1 if few else 2) * threads


@pytest.mark.parametrize(("m", "n"), [(1000, 1), (1, 1024)])
def test_threads_share_a_single_row(m: int, n: int) -> None:
    for threads in (2, 3, 4):
        assert _tasks(threads, 1, m, n, 1000) == threads


@pytest.mark.parametrize("threads", [2, 3, 4])
def test_threads_share_a_few_vectors(threads: int) -> None:
    assert _tasks(threads, 1, 1000, 4, 1000) >= threads


@pytest.mark.parametrize(("m", "n"), [(9, 2), (33, 5), (64, 8), (3, 17)])
@pytest.mark.parametrize("k", [63, 64, 1023, 1025, 2500])
def test_few_vectors_at_any_length(m: int, n: int, k: int) -> None:
    _product(1, 3, m, n, k)


@pytest.mark.parametrize("m", range(1, 10))
@pytest.mark.parametrize("n", [1, 3, 8, 9, 1003])
def test_few_rows_and_contiguous_columns(m: int, n: int) -> None:
    for k in (65, 1100):
        alone, *others = (_product(threads, 1, m, n, k, columns=True)[0] for threads in (1, 2, 4))
        assert all(other.tobytes() == alone.tobytes() for other in others)


@pytest.mark.parametrize(("m", "n"), [(20, 20), (64, 64), (8, 7), (1, 100), (20, 1), (1, 1)])
@pytest.mark.parametrize("k", [100_000, 100_003])
def test_threads_share_long_sums(m: int, n: int, k: int) -> None:
    alone, *others = (_product(threads, 1, m, n, k) for threads in (1, 2, 4))
    if m * n * k >= 2 * gemm_sums.PARALLEL_WORK:
        assert all(tasks >= gemm_sums.PIECES for _, tasks in others)
    assert all(out.tobytes() == alone[0].tobytes() for out, _ in others)


def test_a_sum_of_whole_pieces_has_a_short_one_at_its_end() -> None:
    whole = gemm_sums.PIECES * gemm_sums.PIECE_UNIT * 32
    for k in (whole - 1, whole, whole + 1):
        _product(2, 1, 48, 48, k)


@pytest.mark.parametrize("n", [10, 20, 49])
def test_ragged_rows_are_added_to_what_is_there(n: int) -> None:
    for threads in (1, 2):
        _product(threads, 1, 77, n, 2 * gemm_packing.DEPTH + 3)


def test_ragged_rows_are_packed_by_vectors() -> None:
    text = gemm_kernels.kernel_module("pb_gemm_f32", jit.vector_bits()).text()
    (pack,) = re.findall(r"^define [^\n]*@pack\(.*?^}", text, re.M | re.S)
    assert "masked.load" in pack
    assert "load float" not in pack


def test_one_thread_packs_as_little_as_it_can() -> None:
    assert _tasks(1, 1, 256, 256, 256) == 0
    assert _tasks(4, 1, 20, 30, 40) == 0


@pytest.mark.parametrize("threads", [2, 3, 4, 8])
def test_no_thread_waits_long_for_the_last_tiles(threads: int) -> None:
    for m, n in ((1024, 1024), (1500, 700), (640, 3000)):
        tiles = _tasks(threads, 1, m, n, 16)
        rounds = -(-tiles // threads)
        assert rounds * threads - tiles <= rounds * threads / 8


@pytest.mark.skipif(platform.machine().lower() not in ("x86_64", "amd64"), reason="names of x86")
@pytest.mark.parametrize("name", ["f32", "f64"])
def test_a_step_of_the_micro_kernel_computes_few_addresses(name: str) -> None:
    shape = gemm_packing.shape_of(name, jit.vector_bits())
    assembly = jit.disassemble(
        gemm_kernels.kernel_module(f"pb_gemm_{name}", jit.vector_bits()).text()
    )
    start = assembly.index(f"\nmicro_{shape.rows}_{shape.vectors}:")
    body = assembly[start : assembly.index("ret", start)]
    loops = re.findall(r"\n(\.LBB\w+):.*?\n((?:(?!\.LBB).*\n)*?)\s+jl\s+\1", body)
    (step,) = [text for _, text in loops if "vfmadd" in text]
    assert step.count("vfmadd") == shape.rows * shape.vectors
    integers = re.findall(r"\n\s+(?:add|sub|lea|inc|dec|imul)[a-z]*\s", "\n" + step)
    assert len(integers) <= 4  # two addresses, one offset, the count
    assert len(re.findall("prefetch", step)) == shape.vectors


@pytest.mark.parametrize(("threads", "n"), [(2, 128), (3, 128), (4, 128), (8, 512)])
def test_a_low_product_has_a_tile_for_each_thread(threads: int, n: int) -> None:
    assert _tasks(threads, 1, 32, n, 512) == threads


PACKED_ROWS = {
    "pb_gemm_f32": (3, (1, 0, 0, 0, 1, 4097, 120, 720, 6, 1, 120, 4097)),
    "pb_conv_f32": (5, (1, 0, 0, 0, 1, 4097, 120, 120, 1, 4097)),
    "pb_conv_rows_f32": (5, (1, 0, 0, 0, 1, 4097, 120, 4097, 1, 4097, 120, 1)),
}
"""How many pointers, and the numbers: the gemm's vector is a column of a matrix with six."""


@pytest.mark.parametrize("symbol", PACKED_ROWS)
def test_a_single_row_whose_matrix_is_packed_fits_in_the_memory_for_it(symbol: str) -> None:
    """Tasks are only counted: they would write behind the scratch memory if they were too wide."""
    pointers, numbers = PACKED_ROWS[symbol]
    most = gemm_packing.shape_of("f32", jit.vector_bits()).tile_columns
    column = np.zeros(1, np.float32).ctypes.data
    for threads in (2, 3, 4):
        counts: list[int] = []
        parallel = PARALLEL(lambda task, env, length, _, counts=counts: counts.append(length))
        number = THREADS(lambda threads=threads: threads)
        loaded = _loaded(symbol, parallel, number)
        types = (*[ctypes.c_void_p] * pointers, *[ctypes.c_int64] * len(numbers))
        ctypes.CFUNCTYPE(None, *types)(loaded.address(symbol))(*[column] * pointers, *numbers)
        assert counts[0] * most >= 4097
