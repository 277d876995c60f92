"""Sparse solutions and eigenvalues against NumPy's."""

from typing import Any

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as jnp
from pullback.experimental import sparse
from pullback.experimental.sparse import linalg

RNG = np.random.default_rng(0)


def matrix(n: int) -> Any:
    a = np.where(RNG.uniform(size=(n, n)) < 0.3, RNG.normal(size=(n, n)), 0)
    return a + n * np.eye(n)


def test_solutions_and_their_derivatives() -> None:
    with pb.enable_x64(True):
        a, (b, c, db) = matrix(12), RNG.normal(size=(3, 12))
        mat = sparse.BCSR.fromdense(a)
        da = np.where(a != 0, RNG.normal(size=a.shape), 0)

        def solve(data: Any, b: Any) -> Any:
            return linalg.spsolve(data, mat.indices, mat.indptr, b)

        for reorder in (0, 1):
            found = linalg.spsolve(mat.data, mat.indices, mat.indptr, b, reorder=reorder)
            np.testing.assert_allclose(found, np.linalg.solve(a, b), rtol=1e-10)
        np.testing.assert_allclose(pb.jit(solve)(mat.data, b), np.linalg.solve(a, b), rtol=1e-10)
        many = RNG.normal(size=(3, 12))
        found = pb.vmap(solve, in_axes=(None, 0))(mat.data, many)
        np.testing.assert_allclose(found, np.linalg.solve(a, many.T).T, rtol=1e-10)
        slopes = pb.grad(lambda *xs: c @ solve(*xs), argnums=(0, 1))(mat.data, b)
        inverse = np.linalg.inv(a)
        expected = c @ inverse @ (db - da @ inverse @ b)
        moved = sparse.bcsr_extract(mat.indices, mat.indptr, da)
        np.testing.assert_allclose(slopes[0] @ moved + slopes[1] @ db, expected, rtol=1e-9)
    with pytest.raises(ValueError, match="do not fit"):
        linalg.spsolve(mat.data, mat.indices, mat.indptr, jnp.ones(3))


def test_columns_outside_a_square_matrix_are_refused() -> None:
    """SuperLU would write to memory that is not its own."""
    wide = sparse.BCSR.fromdense(jnp.array([[0.0, 1.0, 2.0], [3.0, 0.0, 4.0]]))
    with pytest.raises(Exception, match="indices must be < 2"):
        linalg.spsolve(wide.data, wide.indices, wide.indptr, jnp.ones(2)).block_until_ready()


@pytest.mark.parametrize("form", ["matrix", "function", "sparse"])
def test_largest_eigenvalues(form: str) -> None:
    with pb.enable_x64(True):
        a = np.where(RNG.uniform(size=(40, 40)) < 0.2, RNG.normal(size=(40, 40)), 0)
        a = a + a.T + np.diag(np.linspace(0, 30, 40))
        given = {"matrix": a, "function": lambda x: a @ x, "sparse": sparse.BCOO.fromdense(a)}[form]
        start = RNG.normal(size=(40, 3))
        values, vectors, steps = pb.jit(lambda x: linalg.lobpcg_standard(given, x))(start)
        truth, _ = np.linalg.eigh(a)
        np.testing.assert_allclose(values, truth[::-1][:3], rtol=1e-9)
        np.testing.assert_allclose(a @ vectors, vectors * values, atol=1e-5)
        assert 0 < int(steps) < 100
    with pytest.raises(ValueError, match="5 \\* k < n"):
        linalg.lobpcg_standard(jnp.eye(4), jnp.ones((4, 2)))
