"""Stacks of matrices: every lane is what it is by itself, small ones and LAPACK's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.linalg

import pullback as pb
from pullback import lax
from pullback import numpy as pnp
from pullback.llvm.emit import emit_module
from pullback.loops.ir import Call, Loop, walk
from pullback.loops.program import lower_program

DTYPES = ("float32", "float64", "complex64", "complex128")


@pytest.fixture(autouse=True)
def _wide() -> Any:
    with pb.enable_x64(True):
        yield


def _draw(dtype: str, *shape: int, seed: int = 3) -> Any:
    rng = np.random.default_rng(seed)
    values: Any = rng.standard_normal(shape)
    if dtype.startswith("c"):
        values = values + 1j * rng.standard_normal(shape)
    return values.astype(dtype)


def _positive(x: Any) -> Any:
    return x @ np.swapaxes(x, -1, -2).conj() + np.eye(x.shape[-1], dtype=x.dtype)


OPERATIONS: dict[str, Callable[[Any], Any]] = {
    "lu": lax.linalg.lu,
    "qr": lambda x: lax.linalg.qr(x, pivoting=True),
    "geqrf": lambda x: pnp.linalg.qr(x, mode="raw"),
    "svd": lambda x: pnp.linalg.svd(x, full_matrices=False),
    "eigh": lax.linalg.eigh,
    "eig": pnp.linalg.eig,
    "schur": lax.linalg.schur,
    "hessenberg": lax.linalg.hessenberg,
    "tridiagonal": lax.linalg.tridiagonal,
    "cholesky": lambda x: lax.linalg.cholesky(x @ pnp.swapaxes(x, -1, -2).conj()),
    "inv": pnp.linalg.inv,
}


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("dtype", ["float32", "complex128"])
def test_a_lane_is_the_matrix_by_itself(name: str, dtype: str) -> None:
    """Seventy and more lanes take two rounds of scratch memory."""
    x = _draw(dtype, 2, 37, 9, 9)
    both = pb.jit(OPERATIONS[name])(x)
    one = pb.jit(OPERATIONS[name])
    for lane in ((0, 0), (0, 36), (1, 0), (1, 29), (1, 36)):
        for got, alone in zip(pb.tree.leaves(both), pb.tree.leaves(one(x[lane])), strict=True):
            np.testing.assert_array_equal(got[lane], alone)


@pytest.mark.parametrize("name", ["svd", "eigh", "cholesky"])
def test_a_lane_that_fails_leaves_the_others_alone(name: str) -> None:
    x = _draw("float64", 80, 9, 9)
    good = pb.jit(OPERATIONS[name])(x)
    x[70] = np.nan
    for got, expected in zip(
        pb.tree.leaves(pb.jit(OPERATIONS[name])(x)), pb.tree.leaves(good), strict=True
    ):
        assert np.isnan(got[70]).any()
        np.testing.assert_array_equal(np.delete(got, 70, 0), np.delete(expected, 70, 0))


@pytest.mark.parametrize("name", ["lu", "qr", "svd", "eigh", "eig", "schur", "cholesky"])
def test_lanes_run_on_threads(name: str) -> None:
    program = lower_program(pb.make_jaxpr(OPERATIONS[name])(_draw("float64", 64, 48, 48)))
    loops = [s for s in walk(program.body) if isinstance(s, Loop) and s.parallel]
    around = [loop for loop in loops if any(isinstance(s, Call) for s in loop.body)]
    around += [loop for loop in loops if any(_calls_in_branch(s) for s in loop.body)]
    assert around
    kernels = emit_module(program).text.split("define internal void @")
    assert any("call void @d" in text or "call void @s" in text for text in kernels[1:])


def _calls_in_branch(stmt: Any) -> bool:
    return any(isinstance(s, Call) for s in walk((stmt,)))


# --------------------------------------------------------------------------- small matrices


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(8, 1, 1), (11, 4, 4), (3, 7, 5, 3), (20, 3, 8), (33, 8, 8)])
def test_small_lu_has_the_pivots_of_lapack(dtype: str, shape: tuple[int, ...]) -> None:
    x = _draw(dtype, *shape)
    both, swaps, order = pb.jit(lax.linalg.lu)(x)
    getrf = scipy.linalg.get_lapack_funcs("getrf", dtype=np.dtype(dtype))
    tol = 100 * float(np.finfo(dtype).eps)
    for lane in np.ndindex(*shape[:-2]):
        expected, pivots, _ = getrf(x[lane])
        np.testing.assert_array_equal(swaps[lane], pivots)
        np.testing.assert_allclose(both[lane], expected, rtol=tol, atol=tol)
        k = min(shape[-2:])
        lower = np.tril(both[lane][:, :k], -1) + np.eye(shape[-2], k)
        product = lower @ np.triu(both[lane][:k])
        np.testing.assert_allclose(product, x[lane][order[lane]], rtol=tol, atol=tol)


def test_small_lu_of_singular_matrices() -> None:
    """A column of zeros has no factors; the first of equal pivots is taken."""
    x = np.zeros((12, 3, 3), np.float32)
    x[1] = np.ones((3, 3))
    x[2] = [[0, 1, 0], [0, 0, 2], [3, 0, 0]]
    x[3] = [[1, 2, 3], [2, 4, 6], [-2, 4, 1]]
    both, swaps, _ = pb.jit(lax.linalg.lu)(x)
    for lane in range(12):
        expected, pivots, _ = scipy.linalg.lapack.sgetrf(x[lane])
        np.testing.assert_array_equal(both[lane], expected)
        np.testing.assert_array_equal(swaps[lane], pivots)


def test_small_lu_keeps_nan_to_its_lane() -> None:
    x = _draw("float32", 16, 4, 4)
    good = pb.jit(lax.linalg.lu)(x)[0]
    x[5, 2, 1] = np.nan
    both = pb.jit(lax.linalg.lu)(x)[0]
    assert np.isnan(both[5]).any()
    np.testing.assert_array_equal(np.delete(both, 5, 0), np.delete(good, 5, 0))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("lanes", [(7,), (3, 5)])
@pytest.mark.parametrize("n", [1, 3, 8])
def test_small_solves(dtype: str, lanes: tuple[int, ...], n: int) -> None:
    a, rhs = _draw(dtype, *lanes, n, n), _draw(dtype, *lanes, n, 2, seed=4)
    a = a + 3 * np.eye(n, dtype=dtype)
    tol = 1e4 * float(np.finfo(dtype).eps)
    np.testing.assert_allclose(
        pb.jit(pnp.linalg.solve)(a, rhs), np.linalg.solve(a, rhs), rtol=tol, atol=tol
    )
    np.testing.assert_allclose(pb.jit(pnp.linalg.inv)(a), np.linalg.inv(a), rtol=tol, atol=tol)
    np.testing.assert_allclose(pb.jit(pnp.linalg.det)(a), np.linalg.det(a), rtol=tol)
    factor = pb.jit(pnp.linalg.cholesky)(_positive(a))
    np.testing.assert_allclose(factor, np.linalg.cholesky(_positive(a)), rtol=tol, atol=tol)


def test_many_small_matrices_call_nothing_and_are_vectors() -> None:
    def solved(a: Any, b: Any) -> Any:
        return pnp.linalg.solve(a, b)

    args = _draw("float32", 64, 4, 4), _draw("float32", 64, 4, 1)
    program = lower_program(pb.make_jaxpr(solved)(*args))
    assert not any(isinstance(s, Call) for s in walk(program.body))
    widths = [s.width for s in walk(program.body) if isinstance(s, Loop) and len(s.body) > 20]
    assert widths
    assert min(widths) > 1
