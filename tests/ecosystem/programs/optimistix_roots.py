"""optimistix: roots, least squares, minima and fixed points, and what gradients go through them."""

from __future__ import annotations

import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optimistix as optx

jax.config.update("jax_enable_x64", True)  # so that numbers of steps do not hang on rounding


def roots() -> dict[str, Any]:
    def fn(y: Any, a: Any) -> Any:
        return {"u": y["u"] ** 3 + a * y["v"] - 1.0, "v": y["v"] - jnp.tanh(y["u"])}

    def solve(a: Any, solver: Any) -> Any:
        y0 = {"u": jnp.array(0.6), "v": jnp.array(0.2)}
        return optx.root_find(fn, solver, y0, a, max_steps=64).value

    results = {}
    for name, solver in (
        ("newton", optx.Newton(rtol=1e-6, atol=1e-6)),
        ("chord", optx.Chord(rtol=1e-6, atol=1e-6)),
        ("dogleg", optx.Dogleg(rtol=1e-6, atol=1e-6)),
    ):
        y = solve(0.7, solver)
        grad = jax.grad(lambda a, s=solver: solve(a, s)["u"])(0.7)
        results[f"root_{name}"] = jnp.stack([y["u"], y["v"], grad])
    bisection = optx.Bisection(rtol=1e-5, atol=1e-5)
    results["bisection"] = optx.root_find(
        lambda x, _: x**3 - 2, bisection, 1.0, options={"lower": 0.0, "upper": 2.0}
    ).value
    return results


def least_squares() -> dict[str, Any]:
    t = jnp.linspace(0.0, 3.0, 12)
    target = 1.7 * jnp.exp(-0.8 * t) + 0.3 + 0.01 * jnp.cos(9 * t)

    def residuals(y: Any, target: Any) -> Any:
        return y["scale"] * jnp.exp(-y["rate"] * t) + y["offset"] - target

    def fit(target: Any, solver: Any, adjoint: Any) -> Any:
        y0 = {"scale": jnp.array(1.0), "rate": jnp.array(0.5), "offset": jnp.array(0.0)}
        sol = optx.least_squares(residuals, solver, y0, target, adjoint=adjoint, max_steps=100)
        return jnp.stack([sol.value["scale"], sol.value["rate"], sol.value["offset"]])

    results = {}
    implicit = optx.ImplicitAdjoint()
    for name, solver in (
        ("lm", optx.LevenbergMarquardt(rtol=1e-6, atol=1e-6)),
        ("dogleg", optx.Dogleg(rtol=1e-6, atol=1e-6)),
        ("gauss_newton", optx.GaussNewton(rtol=1e-6, atol=1e-6)),
    ):
        results[f"fit_{name}"] = fit(target, solver, implicit)
    lm = optx.LevenbergMarquardt(rtol=1e-6, atol=1e-6)
    results["fit_grad"] = jax.grad(lambda d: fit(d, lm, implicit)[1])(target)
    results["fit_lanes"] = jax.vmap(lambda d: fit(d, lm, implicit))(
        jnp.stack([target, target + 0.1])
    )
    return results


def minima() -> dict[str, Any]:
    def rosenbrock(y: Any, scale: Any) -> Any:
        return jnp.sum(scale * (y[1:] - y[:-1] ** 2) ** 2 + (1 - y[:-1]) ** 2)

    y0 = jnp.array([0.4, 0.6, 0.5])
    results = {}
    for name, solver in (
        ("bfgs", optx.BFGS(rtol=1e-5, atol=1e-5)),
        ("cg", optx.NonlinearCG(rtol=1e-5, atol=1e-5)),
        ("nelder_mead", optx.NelderMead(rtol=1e-5, atol=1e-5)),
        ("optax", optx.OptaxMinimiser(optax.adam(0.1), rtol=1e-5, atol=1e-5)),
    ):
        solution = optx.minimise(rosenbrock, solver, y0, 2.0, max_steps=2000, throw=False)
        assert rosenbrock(solution.value, 2.0) < 0.1, (name, solution.value)
        results[f"min_{name}"] = solution.value
    fixed = optx.FixedPointIteration(rtol=1e-6, atol=1e-6)

    def cosine(a: Any) -> Any:
        return optx.fixed_point(lambda y, a: jnp.cos(a * y), fixed, 0.5, a).value

    results["fixed"] = jnp.stack([cosine(0.9), jax.grad(cosine)(0.9)])
    failed = optx.root_find(
        lambda y, _: y**2 + 1, optx.Newton(1e-6, 1e-6), 1.0, max_steps=5, throw=False
    )
    results["failed"] = np.array(failed.result == optx.RESULTS.successful)
    return results


def main() -> dict[str, Any]:
    return {**roots(), **least_squares(), **minima()}


if __name__ == "__main__":
    np.savez(sys.argv[1], **main())
