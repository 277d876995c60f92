"""jaxopt: minima, projections, fixed points and quadratic programs, with implicit derivatives."""

from __future__ import annotations

import sys
from typing import Any

import jax
import jax.numpy as jnp
import jaxopt
import numpy as np

jax.config.update("jax_enable_x64", True)  # so that numbers of steps do not hang on rounding


def data() -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((40, 4))
    y = x @ np.array([1.0, -2.0, 0.0, 0.5]) + 0.1 * rng.standard_normal(40)
    return jnp.asarray(x), jnp.asarray(y)


def ridge(w: Any, l2: Any, x: Any, y: Any) -> Any:
    return jnp.mean((x @ w - y) ** 2) / 2 + l2 * jnp.sum(w**2) / 2


def smooth() -> dict[str, Any]:
    x, y = data()
    exact = jnp.linalg.solve(x.T @ x / 40 + 0.3 * jnp.eye(4), x.T @ y / 40)
    results = {"exact": exact}
    for name, solver in (
        ("gd", jaxopt.GradientDescent(ridge, maxiter=500, tol=1e-8)),
        ("lbfgs", jaxopt.LBFGS(ridge, maxiter=100, tol=1e-8)),
        ("bfgs", jaxopt.BFGS(ridge, maxiter=100, tol=1e-8)),
        ("ncg", jaxopt.NonlinearCG(ridge, maxiter=200, tol=1e-6)),
        ("scipy", jaxopt.ScipyMinimize(fun=ridge, method="L-BFGS-B", tol=1e-9)),
    ):
        w = solver.run(jnp.zeros(4), 0.3, x, y).params
        assert jnp.allclose(w, exact, atol=1e-4), (name, w, exact)
        results[name] = w
    solver = jaxopt.LBFGS(ridge, maxiter=100, tol=1e-9)

    def validation(l2: Any) -> Any:
        w = solver.run(jnp.zeros(4), l2, x[:30], y[:30]).params
        return jnp.mean((x[30:] @ w - y[30:]) ** 2)

    results["hyper_grad"] = jax.grad(validation)(0.3)
    results["hyper_jac"] = jax.jacrev(lambda l2: solver.run(jnp.zeros(4), l2, x, y).params)(0.3)
    return results


def constrained() -> dict[str, Any]:
    x, y = data()
    lasso = jaxopt.ProximalGradient(
        lambda w, x, y: jnp.mean((x @ w - y) ** 2) / 2, jaxopt.prox.prox_lasso, tol=1e-8
    )
    w = lasso.run(jnp.zeros(4), 0.2, x, y).params
    inside = jaxopt.ProjectedGradient(
        lambda w, x, y: jnp.mean((x @ w - y) ** 2), jaxopt.projection.projection_simplex, tol=1e-8
    )
    simplex = inside.run(jnp.ones(4) / 4, x=x, y=y).params
    point = jnp.array([0.3, -0.7, 1.2, 0.1])
    projections = [
        jaxopt.projection.projection_simplex(point),
        jaxopt.projection.projection_l1_ball(point, 1.0),
        jaxopt.projection.projection_l2_ball(point, 1.0),
        jaxopt.projection.projection_box(point, (0.0, 1.0)),
    ]
    q = jnp.array([[2.0, 0.5], [0.5, 1.0]])
    program = jaxopt.OSQP(tol=1e-8, maxiter=4000)

    def solution(c: Any) -> Any:
        out = program.run(
            params_obj=(q, c),
            params_eq=(jnp.ones((1, 2)), jnp.ones(1)),
            params_ineq=(-jnp.eye(2), jnp.zeros(2)),
        )
        return out.params.primal

    c = jnp.array([1.0, 1.0])
    return {
        "lasso": w,
        "simplex": simplex,
        "projections": jnp.stack(projections),
        "projection_jac": jax.jacobian(jaxopt.projection.projection_simplex)(point),
        "qp": solution(c),
        "qp_jac": jax.jacobian(solution)(c),
    }


def others() -> dict[str, Any]:
    fixed = jaxopt.AndersonAcceleration(lambda v, a: jnp.cos(a * v), history_size=3, tol=1e-10)
    newton = jaxopt.GaussNewton(lambda w, t, y: w[0] * jnp.exp(-w[1] * t) - y, tol=1e-10)
    t = jnp.linspace(0, 2, 9)
    fitted = newton.run(jnp.array([1.0, 0.5]), t, 1.5 * jnp.exp(-0.9 * t)).params
    root = jaxopt.Bisection(lambda v, a: v**3 - a, 0.0, 3.0, tol=1e-10, check_bracket=False)
    loss = jax.vmap(jaxopt.loss.multiclass_logistic_loss)(
        jnp.array([0, 2]), jnp.arange(6.0).reshape(2, 3)
    )
    return {
        "fixed": fixed.run(jnp.array(0.5), 0.9).params,
        "fixed_grad": jax.grad(lambda a: fixed.run(jnp.array(0.5), a).params)(0.9),
        "gauss_newton": fitted,
        "root": jax.jit(lambda a: root.run(None, a).params)(2.0),
        "root_grad": jax.grad(lambda a: root.run(None, a).params)(2.0),
        "loss": loss,
    }


def main() -> dict[str, Any]:
    return {**smooth(), **constrained(), **others()}


if __name__ == "__main__":
    np.savez(sys.argv[1], **main())
