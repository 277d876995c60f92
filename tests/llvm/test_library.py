"""Native functions by name: the special functions, BLAS, and the matrix kernels over it."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import scipy.special

from pullback.llvm import gemm, gemm_kernels, jit, library, pool

DTYPES = {"f32": np.float32, "f64": np.float64, "c64": np.complex64, "c128": np.complex128}
SIZES = [(1, 1, 1), (3, 4, 5), (1, 7, 9), (7, 1, 9), (17, 65, 33), (64, 64, 64), (200, 130, 70)]


def special(name: str, *args: float) -> float:
    types = [ctypes.c_double if t == "f64" else ctypes.c_float for t in library.signature(name)]
    return ctypes.CFUNCTYPE(*types)(library.address(name))(*args)


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("gammaln", (4.5,)),
        ("psi", (2.5,)),
        ("digamma", (2.5,)),
        ("gammainc", (2.0, 1.5)),
        ("gammaincc", (2.0, 1.5)),
        ("betainc", (2.0, 3.0, 0.4)),
        ("betaincf", (2.0, 3.0, 0.4)),
        ("i0e", (1.5,)),
        ("i1e", (1.5,)),
        ("erfinv", (0.3,)),
        ("kv", (1.5, 2.0)),
        ("ndtri", (0.2,)),
        ("spence", (0.7,)),
    ],
)
def test_special_functions(name: str, args: tuple[float, ...]) -> None:
    oracle = getattr(scipy.special, {"betaincf": "betainc"}.get(name, name))
    assert special(name, *args) == pytest.approx(
        oracle(*args), rel=1e-6 if name[-1] == "f" else 1e-14
    )


def test_names() -> None:
    assert all(library.has(n) for n in ("dgetrf", "sgesdd", "zheevd", "idamax", "pow", "malloc"))
    assert not library.has("nothing_like_this")
    with pytest.raises(KeyError, match="nothing_like_this"):
        library.address("nothing_like_this")
    with pytest.raises(KeyError, match="no special function"):
        library.signature("nothing_like_this")


def test_cython_interface_agrees() -> None:
    assert library._cython_linear_algebra("dgemm")
    assert library._cython_linear_algebra("dgetrf")


def test_import_is_lazy() -> None:
    code = "import sys, pullback.llvm.library; assert 'scipy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def multiply(kind: str, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    lanes, m, k = a.shape
    n = b.shape[2]
    out = np.full((lanes, m, n), np.nan, a.dtype)
    steps = [[s // x.itemsize for s in x.strides] for x in (a, b)]
    row = m == 1 and 1 in (steps[0][2], steps[1][2])
    column = n == 1 and 1 in (steps[1][1], steps[0][1])
    kernel = "row" if (row or column) and f"pb_row_{kind}" in gemm.KERNELS else "gemm"
    call = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 3, *[ctypes.c_int64] * 12)(
        library.address(f"pb_{kernel}_{kind}")
    )
    call(a.ctypes.data, b.ctypes.data, out.ctypes.data, lanes, steps[0][0], steps[1][0], m * n,
         m, n, k, steps[0][1], steps[0][2], steps[1][1], steps[1][2], n)  # fmt: skip
    return out


@pytest.mark.parametrize("kind", DTYPES)
@pytest.mark.parametrize("transposed", [(False, False), (True, False), (False, True), (True, True)])
def test_gemm(kind: str, transposed: tuple[bool, bool]) -> None:
    rng = np.random.default_rng(3)
    dtype = DTYPES[kind]
    for m, n, k in SIZES:
        for lanes in (1, 3):
            a = rng.normal(size=(lanes, m, k)).astype(dtype)
            b = rng.normal(size=(lanes, k, n)).astype(dtype)
            if dtype in (np.complex64, np.complex128):
                a = a + dtype(1j) * a[::-1]
            left = np.ascontiguousarray(a.swapaxes(1, 2)).swapaxes(1, 2) if transposed[0] else a
            right = np.ascontiguousarray(b.swapaxes(1, 2)).swapaxes(1, 2) if transposed[1] else b
            wide = np.complex128 if np.iscomplexobj(a) else np.float64
            expected = np.matmul(a.astype(wide), b.astype(wide))
            tol = 1e-5 if kind in ("f32", "c64") else 1e-13
            np.testing.assert_allclose(
                multiply(kind, left, right), expected.astype(dtype), atol=tol * k, rtol=tol
            )


def test_the_same_bits_at_any_number_of_threads() -> None:
    rng = np.random.default_rng(9)
    before = pool.num_threads()
    cases = [((300, 700), (700, 500)), ((1, 3000), (3000, 1000)), ((2000, 900), (900, 1))]
    try:
        for left, right in cases:
            a, b = (rng.normal(size=(1, *s)).astype(np.float32) for s in (left, right))
            results = []
            for threads in (1, 2, 3):
                pool.set_num_threads(threads)
                results.append(multiply("f32", a, b))
            assert all(np.array_equal(results[0], r) for r in results)
    finally:
        pool.set_num_threads(before)


def test_the_same_bits_whatever_is_packed() -> None:
    """Rows and columns of a product do not depend on how many others there are."""
    rng = np.random.default_rng(11)
    a, b = (rng.normal(size=(1, *s)).astype(np.float32) for s in ((200, 500), (500, 320)))
    whole = multiply("f32", a, b)
    for rows, columns in [(8, 320), (200, 16), (200, 64), (40, 160), (9, 33), (1, 320)]:
        part = multiply("f32", a[:, :rows].copy(), b[:, :, :columns].copy())
        if rows == 1:  # summed by another kernel
            np.testing.assert_allclose(part, whole[:, :1], rtol=1e-3, atol=1e-4)
        else:
            assert np.array_equal(part, whole[:, :rows, :columns])


def test_from_many_threads_at_once() -> None:
    rng = np.random.default_rng(10)
    a = rng.normal(size=(1, 90, 300)).astype(np.float32)
    b = rng.normal(size=(1, 300, 110)).astype(np.float32)
    expected = multiply("f32", a, b)
    with ThreadPoolExecutor(8) as threads:
        for result in threads.map(lambda _: multiply("f32", a, b), range(200)):
            assert np.array_equal(result, expected)


@pytest.mark.parametrize("kind", ["f32", "f64"])
@pytest.mark.parametrize("bits", [128, 256, 512])
def test_kernels_for_vectors_of_any_width(kind: str, bits: int) -> None:
    if bits > jit.vector_bits():
        pytest.skip("this machine has no such vectors")
    rng, dtype = np.random.default_rng(12), DTYPES[kind]
    loaded = {}
    for symbol in (f"pb_{name}_{kind}" for name in ("gemm", "conv", "conv_rows")):
        module = gemm_kernels.kernel_module(symbol, bits)
        given = {
            name: pool.symbols().get(name) or library.address(name) for name in module.undefined
        }
        loaded[symbol] = jit.load(jit.compile_object(module.text(), name="test"), given)
    products = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 3, *[ctypes.c_int64] * 12)
    gathers = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 5, *[ctypes.c_int64] * 10)
    for m, n, k in [(1, 37, 20), (13, 29, 300), (20, 64, 33)]:
        a, b = rng.normal(size=(m, k)).astype(dtype), rng.normal(size=(k, n)).astype(dtype)
        out = np.full((m, n), np.nan, dtype)
        for right, steps in ((b, (n, 1)), (np.ascontiguousarray(b.T), (1, k))):
            products(loaded[f"pb_gemm_{kind}"].address(f"pb_gemm_{kind}"))(
                a.ctypes.data,
                right.ctypes.data,
                out.ctypes.data,
                1,
                0,
                0,
                0,
                m,
                n,
                k,
                k,
                1,
                *steps,
                n,
            )
            np.testing.assert_allclose(out, a @ b, rtol=1e-4, atol=1e-4)
        by_k, by_n = (np.arange(size, dtype=np.int32) * step for size, step in ((k, n), (n, 1)))
        tables = by_k.ctypes.data, by_n.ctypes.data
        gathers(loaded[f"pb_conv_{kind}"].address(f"pb_conv_{kind}"))(
            a.ctypes.data, b.ctypes.data, out.ctypes.data, *tables, 1, 0, 0, 0, m, n, k, k, 1, n
        )
        np.testing.assert_allclose(out, a @ b, rtol=1e-4, atol=1e-4)
        by_m, by_k = (np.arange(size, dtype=np.int32) * step for size, step in ((m, k), (k, 1)))
        tables = by_k.ctypes.data, by_m.ctypes.data
        rows = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 5, *[ctypes.c_int64] * 12)
        for blocks in ((256, 0), (256, 1), (7, 1)):
            out.fill(np.nan)
            rows(loaded[f"pb_conv_rows_{kind}"].address(f"pb_conv_rows_{kind}"))(
                a.ctypes.data, b.ctypes.data, out.ctypes.data, *tables,
                1, 0, 0, 0, m, n, k, n, 1, n, *blocks,
            )  # fmt: skip
            np.testing.assert_allclose(out, a @ b, rtol=1e-4, atol=1e-4)


def test_gemm_is_listed() -> None:
    assert {f"pb_gemm_{kind}" for kind in DTYPES} <= set(gemm.KERNELS)


@pytest.mark.parametrize("kind", ["f32", "f64"])
@pytest.mark.parametrize("runs", [(64, 1), (8, 3), (4, 8), (3, 3), (1, 16)])
def test_products_with_gathered_operands(kind: str, runs: tuple[int, int]) -> None:
    rng = np.random.default_rng(4)
    dtype = DTYPES[kind]
    x = rng.normal(size=5000).astype(dtype)

    def offsets(count: int, run: int) -> np.ndarray:
        index = np.arange(count)
        return (rng.integers(0, 2400, count)[index // run] + index % run).astype(np.int32)

    call = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 5, *[ctypes.c_int64] * 10)(
        library.address(f"pb_conv_{kind}")
    )
    for m, n, k in [(1, 1, 1), (5, 64, 300), (32, 50, 64), (9, 130, 17), (16, 700, 40)]:
        by_k, by_n = offsets(k, runs[1]), offsets(n, runs[0])
        a = rng.normal(size=(2, m, k)).astype(dtype)
        out = np.full((2, m, n), np.nan, dtype)
        call(a.ctypes.data, x.ctypes.data, out.ctypes.data, by_k.ctypes.data, by_n.ctypes.data,
             2, m * k, 7, m * n, m, n, k, k, 1, n)  # fmt: skip
        for lane in range(2):
            b = x[7 * lane + by_k[:, None] + by_n[None, :]]
            np.testing.assert_allclose(
                out[lane], a[lane].astype("f8") @ b, rtol=1e-4, atol=1e-5 * k
            )
        rows = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 5, *[ctypes.c_int64] * 12)(
            library.address(f"pb_conv_rows_{kind}")
        )
        transposed = np.full((2, n, m), np.nan, dtype)
        rows(x.ctypes.data, a.ctypes.data, transposed.ctypes.data, by_k.ctypes.data,
             by_n.ctypes.data, 2, 7, m * k, m * n, n, m, k, 1, k, m, 256, 0)  # fmt: skip
        np.testing.assert_allclose(transposed, out.swapaxes(1, 2), rtol=1e-4, atol=1e-5 * k)
