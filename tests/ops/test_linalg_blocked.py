"""LU and Cholesky decompositions by blocks, against LAPACK and by their residuals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.linalg

import pullback as pb
from pullback import lax
from pullback import numpy as pnp
from pullback.llvm import emit
from pullback.loops.ir import Call, Loop, walk
from pullback.loops.program import lower_program

SIZES = (64, 65, 96, 127, 128, 200, 513)


@pytest.fixture(autouse=True)
def _wide() -> Any:
    with pb.enable_x64(True):
        yield


def _draw(dtype: str, *shape: int, seed: int = 3) -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def _check_lu(x: Any, both: Any, swaps: Any, order: Any) -> None:
    (m, n), eps = x.shape, float(np.finfo(x.dtype).eps)
    expected, _ = scipy.linalg.lu_factor(x) if m == n else (None, None)
    lower = np.tril(both, -1)[:, :n] + np.eye(m, n)
    assert np.abs(lower).max() <= 1 + 2 * eps
    np.testing.assert_allclose(
        lower.astype(np.float64) @ np.triu(both[:n]).astype(np.float64),
        x[order],
        atol=eps * n * np.abs(both).max(),
    )
    if expected is not None:
        np.testing.assert_allclose(both, expected, atol=2e3 * n * eps * np.abs(expected).max())
    assert sorted(order) == list(range(m))
    rows = np.arange(m)
    for k, other in enumerate(swaps):
        rows[[k, other]] = rows[[other, k]]
    np.testing.assert_array_equal(rows, order)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", SIZES)
def test_lu(dtype: str, n: int) -> None:
    x = _draw(dtype, n, n)
    _check_lu(x, *map(np.asarray, pb.jit(lax.linalg.lu)(x)))


@pytest.mark.parametrize("shape", [(100, 70), (70, 100), (257, 64), (1000, 80)])
def test_lu_of_rectangles(shape: tuple[int, int]) -> None:
    x = _draw("float64", *shape)
    both, swaps, order = map(np.asarray, pb.jit(lax.linalg.lu)(x))
    if shape[0] >= shape[1]:
        _check_lu(x, both, swaps, order)
    expected, pivots, _ = scipy.linalg.lapack.dgetrf(x)
    np.testing.assert_array_equal(swaps, pivots)
    np.testing.assert_allclose(both, expected, atol=1e-10)


def test_lu_divides_by_no_inverse_of_a_triangle() -> None:
    """A triangle whose inverse is huge: substitution keeps the residual small."""
    n = 96
    lower = np.tril(-np.ones((n, n)), -1) * 0.99 + np.eye(n)
    x = lower @ np.triu(_draw("float64", n, n))
    both, _, order = map(np.asarray, pb.jit(lax.linalg.lu)(x))
    product = (np.tril(both, -1) + np.eye(n)) @ np.triu(both)
    np.testing.assert_allclose(product, x[order], atol=1e-13 * np.abs(both).max())


def test_lu_of_singular_matrices() -> None:
    zeros = np.zeros((80, 80), np.float32)
    both, swaps, order = map(np.asarray, pb.jit(lax.linalg.lu)(zeros))
    np.testing.assert_array_equal(both, zeros)
    np.testing.assert_array_equal(swaps, range(80))
    np.testing.assert_array_equal(order, range(80))
    x = _draw("float64", 80, 80)
    x[:, 50] = x[:, 3]
    both, _, order = map(np.asarray, pb.jit(lax.linalg.lu)(x))
    product = (np.tril(both, -1) + np.eye(80)) @ np.triu(both)
    np.testing.assert_allclose(product, x[order], atol=1e-12)
    assert not np.isfinite(pb.jit(pnp.linalg.inv)(np.ones((80, 80)))).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", SIZES)
def test_cholesky(dtype: str, n: int) -> None:
    x = _draw(dtype, n, n)
    x = x @ x.T + np.eye(n, dtype=dtype)
    factor = np.asarray(pb.jit(lax.linalg.cholesky)(x))
    eps = float(np.finfo(dtype).eps)
    np.testing.assert_array_equal(np.triu(factor, 1), 0)
    wide = factor.astype(np.float64)
    np.testing.assert_allclose(wide @ wide.T, x, atol=eps * n * np.abs(x).max())
    upper = np.asarray(pb.jit(lambda x: pnp.linalg.cholesky(x, upper=True))(x))
    np.testing.assert_array_equal(upper, factor.T)


def test_cholesky_reads_the_lower_triangle_alone() -> None:
    x = _draw("float64", 100, 100)
    x = x @ x.T + np.eye(100)
    factor = pb.jit(lambda x: lax.linalg.cholesky(x, symmetrize_input=False))
    np.testing.assert_array_equal(factor(np.tril(x) + np.triu(np.full_like(x, 7), 1)), factor(x))


@pytest.mark.parametrize("row", [0, 31, 32, 99, 129])
def test_cholesky_of_what_is_not_positive(row: int) -> None:
    """One lane fails, in whichever block."""
    x = _draw("float64", 3, 130, 130)
    x = x @ np.swapaxes(x, 1, 2) + np.eye(130)
    x[1, row, row] = -1
    factor = np.asarray(pb.jit(lax.linalg.cholesky)(x))
    assert np.isnan(np.tril(factor[1])[np.tril_indices(130)]).all()
    np.testing.assert_array_equal(np.triu(factor[1], 1), 0)
    np.testing.assert_allclose(factor[0] @ factor[0].T, x[0], atol=1e-11)
    np.testing.assert_allclose(factor[2] @ factor[2].T, x[2], atol=1e-11)


@pytest.mark.parametrize("lanes", [2, 9])
def test_lanes(lanes: int) -> None:
    """Few lanes share the threads one after the other, many take one each: the same bits."""
    x = _draw("float32", lanes, 90, 90)
    x = x @ np.swapaxes(x, 1, 2) + np.eye(90, dtype=np.float32)
    for function in (lax.linalg.lu, lax.linalg.cholesky):
        stacked = pb.tree.leaves(pb.jit(function)(x))
        for lane in (0, lanes - 1):
            alone = pb.tree.leaves(pb.jit(function)(x[lane]))
            for got, expected in zip(stacked, alone, strict=True):
                np.testing.assert_array_equal(got[lane], expected)


@pytest.mark.parametrize("function", [lax.linalg.lu, lax.linalg.cholesky])
def test_strips_run_at_once_and_triangles_are_vectors(function: Any) -> None:
    program = lower_program(pb.make_jaxpr(function)(_draw("float32", 1030, 1030)))
    loops = [s for s in walk(program.body) if isinstance(s, Loop)]
    products = [s for s in loops if s.parallel and any(map(_is_product, walk(s.body)))]
    assert products
    triangles = [s for s in loops if len(s.body) >= 16 and s.extent.is_const]
    assert len(triangles) == 2
    assert all(s.width == 16 for s in triangles)


@pytest.mark.parametrize("function", [lax.linalg.lu, lax.linalg.cholesky])
def test_a_matrix_that_stays_in_a_cache_stays_on_one_thread(function: Any) -> None:
    program = lower_program(pb.make_jaxpr(function)(_draw("float32", 300, 300)))
    loops = [s for s in walk(program.body) if isinstance(s, Loop) and s.parallel]
    assert not any(_is_product(t) for s in loops for t in walk(s.body))


@pytest.mark.parametrize("function", [lax.linalg.lu, lax.linalg.cholesky])
def test_a_block_of_rows_is_not_all_written_out(function: Any) -> None:
    closed = pb.make_jaxpr(function)(_draw("float32", 300, 300))
    text = "\n".join(emit.emit_module(lower_program(closed)).parts)
    factors = 32 * 31 // 2
    assert text.count("fmul") < factors // 4


def test_blocks_are_transposed_in_registers() -> None:
    program = lower_program(pb.make_jaxpr(lax.linalg.lu)(_draw("float32", 300, 300)))
    loops = [s for s in walk(program.body) if isinstance(s, Loop)]
    assert sum(s.unroll and s.extent.const == 16 for s in loops) >= 2  # there, and back


def _is_product(stmt: Any) -> bool:
    return isinstance(stmt, Call) and stmt.symbol == "sgemm"


# --------------------------------------------------------------------------- triangular systems


@pytest.mark.parametrize("bits", range(16))
@pytest.mark.parametrize(("n", "others"), [(64, 64), (75, 130)])
def test_triangular_systems(bits: int, n: int, others: int) -> None:
    left, lower, trans, unit = (bool(bits >> k & 1) for k in range(4))
    dtype = "float32" if n == 64 else "float64"
    a = _draw(dtype, n, n) / n + 2 * np.eye(n, dtype=dtype)
    rhs = _draw(dtype, *((n, others) if left else (others, n)), seed=5)
    found = pb.jit(
        lambda a, b: lax.linalg.triangular_solve(
            a, b, left_side=left, lower=lower, transpose_a=trans, unit_diagonal=unit
        )
    )(a, rhs)
    triangle = np.tril(a) if lower else np.triu(a)
    if unit:
        np.fill_diagonal(triangle, 1)
    triangle = triangle.T if trans else triangle
    product = triangle @ found if left else found @ triangle
    eps = float(np.finfo(np.dtype(dtype)).eps)
    np.testing.assert_allclose(product, rhs, atol=100 * eps * float(np.abs(found).max()))


def test_a_singular_triangle() -> None:
    """Unknowns before the zero pivot are finite, those that need it are not."""
    a = np.tril(_draw("float64", 70, 70)) / 70 + 2 * np.eye(70)
    a[40, 40] = 0
    rhs = _draw("float64", 70, 64)
    found = np.asarray(
        pb.jit(lambda a, b: lax.linalg.triangular_solve(a, b, left_side=True, lower=True))(a, rhs)
    )
    assert np.isfinite(found[:40]).all()
    assert not np.isfinite(found[40:]).any()


def test_triangular_systems_of_lanes() -> None:
    a = _draw("float32", 9, 64, 64) / 64 + 2 * np.eye(64, dtype=np.float32)
    rhs = _draw("float32", 9, 64, 70)
    solve = pb.jit(lambda a, b: lax.linalg.triangular_solve(a, b, left_side=True, lower=True))
    together = np.asarray(solve(a, rhs))
    for lane in (0, 8):
        np.testing.assert_array_equal(together[lane], solve(a[lane], rhs[lane]))


def test_derivatives_of_solutions() -> None:
    a, rhs = _draw("float64", 70, 70) / 9 + 3 * np.eye(70), _draw("float64", 70, 66, seed=6)
    t = _draw("float64", 70, 70, seed=7)

    def value(a: Any) -> Any:
        return pnp.sum(pnp.sin(pnp.linalg.solve(a @ a.T, rhs)))

    slope = np.sum(np.asarray(pb.jit(pb.grad(value))(a)) * t)
    step = 1e-6
    expected = (value(a + step * t) - value(a - step * t)) / (2 * step)
    np.testing.assert_allclose(slope, expected, rtol=1e-5)
