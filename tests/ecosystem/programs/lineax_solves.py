"""lineax: linear solves and least squares by every solver, with derivatives in both modes."""

from __future__ import annotations

import sys
from typing import Any

import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np


def systems() -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(0)
    a = rng.standard_normal((6, 6)) + 4 * np.eye(6)
    return (
        jnp.asarray(a, jnp.float32),
        jnp.asarray(a @ a.T / 4 + np.eye(6), jnp.float32),
        jnp.asarray(rng.standard_normal(6), jnp.float32),
    )


def square() -> dict[str, Any]:
    a, spd, b = systems()
    general = {
        "auto": lx.AutoLinearSolver(well_posed=True),
        "lu": lx.LU(),
        "qr": lx.QR(),
        "svd": lx.SVD(),
        "gmres": lx.GMRES(rtol=1e-4, atol=1e-4),
    }
    results = {}
    for name, solver in general.items():

        def solve(a: Any, b: Any, solver: Any = solver) -> Any:
            return lx.linear_solve(lx.MatrixLinearOperator(a), b, solver).value

        x = jax.jit(solve)(a, b)
        assert jnp.allclose(a @ x, b, atol=1e-4), name
        grads = jax.grad(lambda a, b, f=solve: jnp.sum(f(a, b) ** 2), argnums=(0, 1))(a, b)
        _, tangent = jax.jvp(solve, (a, b), (jnp.ones_like(a), b))
        results[f"x_{name}"] = x
        results[f"grad_{name}"] = jnp.concatenate([jnp.ravel(g) for g in grads])
        results[f"jvp_{name}"] = tangent
    for name, solver in (
        ("cg", lx.CG(rtol=1e-6, atol=1e-6)),
        ("bicgstab", lx.BiCGStab(rtol=1e-5, atol=1e-5)),
        ("cholesky", lx.Cholesky()),
    ):

        def solve_spd(s: Any, b: Any, solver: Any = solver) -> Any:
            operator = lx.MatrixLinearOperator(s, lx.positive_semidefinite_tag)
            return lx.linear_solve(operator, b, solver).value

        results[f"x_{name}"] = solve_spd(spd, b)
        results[f"grad_{name}"] = jax.grad(lambda b, f=solve_spd: jnp.sum(f(spd, b) ** 3))(b)
    lanes = jax.vmap(lambda b: lx.linear_solve(lx.MatrixLinearOperator(a), b).value)
    results["lanes"] = lanes(jnp.stack([b, 2 * b, b[::-1]]))
    return results


def structured() -> dict[str, Any]:
    rng = np.random.default_rng(1)
    d, up, low, b = (jnp.asarray(rng.uniform(1, 2, n), jnp.float32) for n in (5, 4, 4, 5))
    operators = {
        "diagonal": lx.DiagonalLinearOperator(d),
        "tridiagonal": lx.TridiagonalLinearOperator(4 * d, low, up),
        "upper": lx.MatrixLinearOperator(
            jnp.triu(jnp.outer(d, d)) + jnp.eye(5), lx.upper_triangular_tag
        ),
        "composed": lx.DiagonalLinearOperator(d) @ lx.TridiagonalLinearOperator(4 * d, low, up)
        + lx.IdentityLinearOperator(jax.eval_shape(lambda: b)),
    }
    results = {}
    for name, operator in operators.items():
        solution = lx.linear_solve(operator, b)
        results[f"x_{name}"] = solution.value
        results[f"matrix_{name}"] = operator.as_matrix()
        results[f"tags_{name}"] = np.array(
            [lx.is_diagonal(operator), lx.is_upper_triangular(operator), lx.is_symmetric(operator)]
        )
    return results


def functions() -> dict[str, Any]:
    _, spd, b = systems()

    def residual(tree: Any) -> Any:
        x, y = tree["x"], tree["y"]
        return {"x": spd[:3, :3] @ x + 0.1 * y.sum(), "y": 2.0 * y + x[:2]}

    example = {"x": b[:3], "y": b[3:5]}
    operator = lx.FunctionLinearOperator(residual, jax.eval_shape(lambda: example))
    solved = lx.linear_solve(operator, example).value
    jacobian = lx.JacobianLinearOperator(lambda x, _: jnp.tanh(x) + x**3, b)
    x = lx.linear_solve(jacobian, b, lx.AutoLinearSolver(well_posed=True)).value
    state = lx.LU().init(lx.MatrixLinearOperator(spd), {})
    reused = lx.linear_solve(lx.MatrixLinearOperator(spd), b, lx.LU(), state=state).value
    return {"fun_x": solved["x"], "fun_y": solved["y"], "jacobian": x, "reused": reused}


def least_squares() -> dict[str, Any]:
    rng = np.random.default_rng(2)
    tall = jnp.asarray(rng.standard_normal((7, 3)), jnp.float32)
    b = jnp.asarray(rng.standard_normal(7), jnp.float32)

    def fit(a: Any, solver: Any) -> Any:
        return lx.linear_solve(lx.MatrixLinearOperator(a), b, solver).value

    results = {}
    for name, solver in (
        ("qr", lx.QR()),
        ("svd", lx.SVD()),
        ("auto", lx.AutoLinearSolver(well_posed=None)),
        ("normal", lx.Normal(lx.Cholesky())),
    ):
        results[f"lsq_{name}"] = fit(tall, solver)
        results[f"lsq_grad_{name}"] = jax.grad(lambda a, s=solver: jnp.sum(fit(a, s)))(tall)
    singular = lx.linear_solve(
        lx.MatrixLinearOperator(jnp.zeros((2, 2))), jnp.ones(2), lx.LU(), throw=False
    )
    results["singular"] = np.array(singular.result == lx.RESULTS.successful)
    return results


def main() -> dict[str, Any]:
    return {**square(), **structured(), **functions(), **least_squares()}


if __name__ == "__main__":
    np.savez(sys.argv[1], **main())
