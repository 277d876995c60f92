"""diffrax: ODEs and an SDE with several solvers and adjoints, and a neural ODE that is trained."""

from __future__ import annotations

import sys
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import optimistix as optx

jax.config.update("jax_enable_x64", True)  # so that numbers of steps do not hang on rounding


def lotka_volterra(t: Any, y: Any, args: Any) -> Any:
    a, b, c, d = args
    prey, predator = y
    return a * prey - b * prey * predator, -c * predator + d * prey * predator


ARGS = (0.9, 0.35, 0.8, 0.3)
START = (jnp.array(4.0), jnp.array(2.0))


def solve(args: Any, solver: Any, adjoint: Any, saveat: Any, controller: Any) -> Any:
    return diffrax.diffeqsolve(
        diffrax.ODETerm(lotka_volterra),
        solver,
        t0=0.0,
        t1=5.0,
        dt0=0.05,
        y0=START,
        args=args,
        saveat=saveat,
        stepsize_controller=controller,
        adjoint=adjoint,
        max_steps=1000,
    )


def equations() -> dict[str, Any]:
    pid = diffrax.PIDController(rtol=1e-5, atol=1e-6)
    at = diffrax.SaveAt(ts=jnp.linspace(0.0, 5.0, 6))
    results = {}
    for name, solver, controller in (
        ("tsit5", diffrax.Tsit5(), pid),
        ("dopri8", diffrax.Dopri8(), pid),
        ("heun", diffrax.Heun(), diffrax.ConstantStepSize()),
        ("kvaerno5", diffrax.Kvaerno5(), pid),
    ):
        sol = solve(ARGS, solver, diffrax.RecursiveCheckpointAdjoint(), at, controller)
        results[f"ys_{name}"] = jnp.stack(sol.ys)
        results[f"steps_{name}"] = sol.stats["num_steps"]
    for name, adjoint in (
        ("checkpointed", diffrax.RecursiveCheckpointAdjoint()),
        ("direct", diffrax.DirectAdjoint()),
        ("backsolve", diffrax.BacksolveAdjoint()),
    ):

        def loss(args: Any, adjoint: Any = adjoint) -> Any:
            last = diffrax.SaveAt(t1=True)
            sol = solve(args, diffrax.Tsit5(), adjoint, last, pid)
            return sol.ys[0][0] ** 2 + sol.ys[1][0]

        value, grads = jax.jit(jax.value_and_grad(loss))(ARGS)
        results[f"grad_{name}"] = jnp.stack([value, *grads])
    forward = jax.jvp(
        lambda a: solve(
            (a, *ARGS[1:]), diffrax.Tsit5(), diffrax.ForwardMode(), diffrax.SaveAt(t1=True), pid
        ).ys[0],
        (0.9,),
        (1.0,),
    )
    results["forward"] = jnp.concatenate(forward)
    lanes = jax.vmap(
        lambda a: solve(
            (a, *ARGS[1:]),
            diffrax.Tsit5(),
            diffrax.RecursiveCheckpointAdjoint(),
            diffrax.SaveAt(t1=True),
            pid,
        ).ys[1]
    )
    results["lanes"] = lanes(jnp.array([0.5, 0.9, 1.3]))
    return results


def events_and_dense() -> dict[str, Any]:
    def ball(t: Any, y: Any, args: Any) -> Any:
        return y[1], jnp.array(-9.8)

    event = diffrax.Event(lambda t, y, args, **_: y[0], optx.Newton(1e-5, 1e-5))
    sol = diffrax.diffeqsolve(
        diffrax.ODETerm(ball),
        diffrax.Tsit5(),
        t0=0,
        t1=jnp.inf,
        dt0=0.1,
        y0=(jnp.array(10.0), jnp.array(0.0)),
        event=event,
    )
    dense = diffrax.diffeqsolve(
        diffrax.ODETerm(lambda t, y, args: -y),
        diffrax.Dopri5(),
        0.0,
        2.0,
        0.1,
        jnp.array(1.0),
        saveat=diffrax.SaveAt(dense=True),
        stepsize_controller=diffrax.PIDController(rtol=1e-6, atol=1e-6),
    )
    times = jnp.linspace(0.1, 1.9, 7)
    spline = diffrax.CubicInterpolation(
        times, diffrax.backward_hermite_coefficients(times, jnp.sin(times)[:, None])
    )
    return {
        "hit": jnp.stack([sol.ts[0], sol.ys[1][0]]),
        "dense": jax.vmap(dense.evaluate)(times),
        "spline": jnp.concatenate([spline.evaluate(0.77), spline.derivative(1.1)]),
    }


def stochastic() -> dict[str, Any]:
    path = diffrax.VirtualBrownianTree(0.0, 1.0, tol=1e-2, shape=(), key=jax.random.key(3))
    terms = diffrax.MultiTerm(
        diffrax.ODETerm(lambda t, y, args: 0.2 * y),
        diffrax.ControlTerm(lambda t, y, args: 0.4 * y, path),
    )
    sol = diffrax.diffeqsolve(
        terms,
        diffrax.Heun(),
        0.0,
        1.0,
        0.02,
        jnp.array(1.0),
        saveat=diffrax.SaveAt(ts=jnp.array([0.25, 0.5, 1.0])),
    )
    return {"brownian": path.evaluate(0.1, 0.7), "sde": sol.ys}


class Field(eqx.Module):
    mlp: eqx.nn.MLP

    def __call__(self, t: Any, y: Any, args: Any) -> Any:
        return self.mlp(y)


def neural() -> dict[str, Any]:
    ts = jnp.linspace(0.0, 2.0, 9)
    truth = jnp.stack([jnp.cos(2 * ts), -jnp.sin(2 * ts)], 1)
    field = Field(eqx.nn.MLP(2, 2, 16, 1, activation=jnp.tanh, key=jax.random.key(0)))

    @eqx.filter_value_and_grad
    def loss(field: Field) -> Any:
        sol = diffrax.diffeqsolve(
            diffrax.ODETerm(field),
            diffrax.Tsit5(),
            0.0,
            2.0,
            0.1,
            truth[0],
            saveat=diffrax.SaveAt(ts=ts),
            stepsize_controller=diffrax.PIDController(rtol=1e-3, atol=1e-6),
        )
        return jnp.mean((sol.ys - truth) ** 2)

    optimizer = optax.adam(0.02)
    state = optimizer.init(eqx.filter(field, eqx.is_inexact_array))

    @eqx.filter_jit
    def step(field: Field, state: Any) -> Any:
        value, grads = loss(field)
        updates, state = optimizer.update(grads, state)
        return eqx.apply_updates(field, updates), state, value

    values = []
    for _ in range(30):
        field, state, value = step(field, state)
        values.append(value)
    assert values[-1] < 0.3 * values[0], values
    return {"neural": jnp.stack(values)[:8]}


def main() -> dict[str, Any]:
    return {**equations(), **events_and_dense(), **stochastic(), **neural()}


if __name__ == "__main__":
    np.savez(sys.argv[1], **main())
