"""Iterative solvers and BFGS: solutions and their derivatives against NumPy and SciPy."""

from typing import Any

import numpy as np
import pytest
import scipy.optimize

import pullback as pb
import pullback.numpy as jnp
import pullback.scipy.sparse.linalg as sla
from pullback.experimental import sparse
from pullback.scipy import optimize

RNG = np.random.default_rng(0)


def spread(n: int, complex_: bool = False) -> Any:
    """A well-conditioned matrix that is not symmetric."""
    noise = RNG.normal(size=(n, n)) + 1j * complex_ * RNG.normal(size=(n, n))
    a = n * np.eye(n) + noise
    return a if complex_ else a.real


def definite(n: int, complex_: bool = False) -> Any:
    a = spread(n, complex_)
    return a @ a.conj().T


SOLVERS: dict[str, Any] = {
    "cg": sla.cg,
    "bicgstab": sla.bicgstab,
    "gmres": sla.gmres,
    "incremental": lambda *args, **kw: sla.gmres(*args, solve_method="incremental", **kw),
}


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("complex_", [False, True])
def test_solutions(name: str, complex_: bool) -> None:
    with pb.enable_x64(True):
        a = (definite if name == "cg" else spread)(9, complex_)
        b = RNG.normal(size=9) + 1j * complex_ * RNG.normal(size=9)
        b = b if complex_ else b.real
        truth = np.linalg.solve(a, b)
        for settings in ({}, {"M": np.diag(1 / np.diag(a))}, {"x0": truth + 0.1}):
            found, _ = SOLVERS[name](a, b, tol=1e-12, **settings)
            np.testing.assert_allclose(found, truth, rtol=1e-8, atol=1e-9)
        by_product, _ = pb.jit(lambda b: SOLVERS[name](lambda v: a @ v, b, tol=1e-12))(b)
        np.testing.assert_allclose(by_product, truth, rtol=1e-8, atol=1e-9)


def test_restarts() -> None:
    a, b = spread(30).astype(np.float32), RNG.normal(size=30).astype(np.float32)
    for method in ("batched", "incremental"):
        found, info = sla.gmres(a, b, restart=5, solve_method=method, tol=1e-6)
        assert int(info) == 0
        np.testing.assert_allclose(found, np.linalg.solve(a, b), atol=1e-5)


@pytest.mark.parametrize("name", SOLVERS)
def test_derivatives(name: str) -> None:
    with pb.enable_x64(True):
        a = (definite if name == "cg" else spread)(6)
        b, c, db = RNG.normal(size=(3, 6))
        da = RNG.normal(size=(6, 6))
        da = da + da.T if name == "cg" else da

        def loss(a: Any, b: Any) -> Any:
            return c @ SOLVERS[name](a, b, tol=1e-13, M=jnp.diag(1 / jnp.diag(a)))[0]

        inverse = np.linalg.inv(a)
        expected = c @ inverse @ (db - da @ inverse @ b)
        _, tangent = pb.jvp(loss, (a, b), (da, db))
        np.testing.assert_allclose(tangent, expected, rtol=1e-7)
        slopes = pb.grad(loss, argnums=(0, 1))(a, b)
        np.testing.assert_allclose(
            np.sum(slopes[0] * da) + np.sum(slopes[1] * db), expected, rtol=1e-7
        )


def test_pytrees_and_lanes() -> None:
    a = definite(4).astype(np.float32)
    right = {"u": np.ones(4, np.float32), "v": np.arange(4, dtype=np.float32)}
    found, info = sla.cg(lambda x: {k: a @ v for k, v in x.items()}, right)
    assert info is None
    for k, v in right.items():
        np.testing.assert_allclose(found[k], np.linalg.solve(a, v), atol=1e-5)
    many = RNG.normal(size=(3, 4)).astype(np.float32)
    found = pb.vmap(lambda b: sla.cg(a, b, tol=1e-7)[0])(many)
    np.testing.assert_allclose(found, np.linalg.solve(a, many.T).T, atol=1e-5)


def test_sparse_matrices() -> None:
    with pb.enable_x64(True):
        dense = np.where(abs(definite(8)) > 5, definite(8), 0) + 400 * np.eye(8)
        dense, b = dense + dense.T, RNG.normal(size=8)
        mat = sparse.BCOO.fromdense(dense)
        for solve in (sla.cg, sla.gmres):
            found = pb.jit(lambda m, b, solve=solve: solve(m, b, tol=1e-12)[0])(mat, b)
            np.testing.assert_allclose(found, np.linalg.solve(dense, b), rtol=1e-9)
        slope = sparse.grad(lambda m: jnp.sum(sla.cg(m, b, tol=1e-12)[0]))(mat)
        inverse = np.linalg.inv(dense)
        expected = -np.outer(inverse.sum(0), inverse @ b) * (dense != 0)
        np.testing.assert_allclose(slope.todense(), expected, rtol=1e-8, atol=1e-12)


def test_errors_of_solvers() -> None:
    a, b = jnp.eye(2), jnp.ones(2)
    with pytest.raises(ValueError, match="x0 and b must have matching shapes"):
        sla.cg(a, b, x0=jnp.ones(3))
    with pytest.raises(ValueError, match="square matrix"):
        sla.cg(jnp.ones((2, 3)), b)
    with pytest.raises(TypeError, match="function or ndarray"):
        sla.cg(3, b)
    with pytest.raises(ValueError, match="invalid solve_method"):
        sla.gmres(a, b, solve_method="x")
    with pytest.raises(ValueError, match="output shapes must match"):
        sla.cg(lambda x: x[:1], b)


# --------------------------------------------------------------------------- BFGS

STARTS = {
    "rosenbrock": [-1.2, 1.0, -0.5, 0.8],
    "himmelblau": [1.0, 1.0],
    "matyas": [1.3, -0.7],
    "eggs": [0.3, 0.2],
}


def rosenbrock(np: Any, x: Any) -> Any:
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def himmelblau(np: Any, p: Any) -> Any:
    return (p[0] ** 2 + p[1] - 11) ** 2 + (p[0] + p[1] ** 2 - 7) ** 2


def matyas(np: Any, p: Any) -> Any:
    return 0.26 * (p[0] ** 2 + p[1] ** 2) - 0.48 * p[0] * p[1]


def eggs(np: Any, p: Any) -> Any:
    return p[0] ** 2 + p[1] ** 2 + 25 * (np.sin(p[0]) ** 2 + np.sin(p[1]) ** 2)


@pytest.mark.parametrize("f", [rosenbrock, himmelblau, matyas, eggs])
def test_minima_are_those_of_scipy(f: Any) -> None:
    with pb.enable_x64(True):
        x0 = np.array(STARTS[f.__name__])
        found = pb.jit(lambda x: optimize.minimize(lambda x: f(jnp, x), x, method="BFGS"))(x0)
        truth = scipy.optimize.minimize(lambda x: f(np, x), x0, method="BFGS")
        assert bool(found.success)
        assert int(found.status) == 0
        np.testing.assert_allclose(found.x, truth.x, atol=2e-5)
        assert np.max(abs(found.jac)) < 1e-5
        assert int(found.nfev) <= truth.nfev


def test_limits_options_and_arguments() -> None:
    f = lambda x, a: jnp.sum((x - a) ** 2) ** 2  # noqa: E731
    start = jnp.zeros(3)
    found = optimize.minimize(f, start, (2.0,), method="BFGS", options={"maxiter": 1})
    assert (int(found.status), int(found.nit), bool(found.success)) == (1, 1, False)
    found = optimize.minimize(f, start, (2.0,), method="bfgs", tol=1e-1)
    assert bool(found.success)
    assert np.max(abs(found.jac)) < 1e-1
    at_once = optimize.minimize(f, start + 2, (2.0,), method="BFGS")
    assert (int(at_once.nit), int(at_once.status)) == (0, 0)


def test_errors_of_minimize() -> None:
    f = lambda x: jnp.sum(x**2)  # noqa: E731
    with pytest.raises(ValueError, match="not recognized"):
        optimize.minimize(f, jnp.zeros(2), method="foo")
    with pytest.raises(TypeError, match="must be a tuple"):
        optimize.minimize(f, jnp.zeros(2), args=3, method="BFGS")
    with pytest.raises(TypeError, match="must be a vector"):
        optimize.minimize(f, jnp.zeros((2, 1)), method="BFGS")
    with pytest.raises(TypeError, match="unexpected keyword"):
        optimize.minimize(f, jnp.zeros(2), method="BFGS", options={"foo": 1})


LIMITED = "l-bfgs-experimental-do-not-rely-on-this"


def test_minimize_with_limited_memory() -> None:
    """More variables than steps that are kept, a curved valley, and what ends it."""

    with pb.enable_x64(True):
        x0 = np.linspace(-1, 1, 30)
        options = {"ftol": 0.0, "gtol": 1e-8}
        solve = pb.jit(
            lambda x: optimize.minimize(
                lambda y: rosenbrock(jnp, y), x, method=LIMITED, options=options
            )
        )
        found = solve(x0)
        truth = scipy.optimize.minimize(
            lambda y: rosenbrock(np, y), x0, method="L-BFGS-B", options={"gtol": 1e-8, "ftol": 0}
        )
        assert bool(found.success)
        assert int(found.status) == 0
        assert found.hess_inv is None
        assert float(rosenbrock(np, found.x)) <= truth.fun + 1e-12
        assert float(jnp.max(jnp.abs(found.jac))) < 1e-8
        assert int(found.nfev) < 4 * truth.nfev
        few = optimize.minimize(
            lambda y: rosenbrock(jnp, y), x0, method=LIMITED, options={"maxiter": 2, "maxcor": 1}
        )
        assert (int(few.nit), int(few.status), bool(few.success)) == (2, 1, False)
        coarse = optimize.minimize(lambda y: rosenbrock(jnp, y), x0, method=LIMITED, tol=1e-1)
        assert bool(coarse.success)
        assert int(coarse.nit) < int(found.nit)
