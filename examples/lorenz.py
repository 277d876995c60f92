"""The Lorenz system: a trajectory, and how its end depends on the system's parameters.

The equations are integrated by the classical Runge-Kutta method inside `lax.scan`; the end of the
trajectory is differentiated with respect to sigma, rho and beta in forward mode (`jacfwd`) and in
reverse mode (`jacrev`), which must agree.

    python examples/lorenz.py

prints both Jacobians and writes `lorenz.png`: the trajectory, and how fast the sensitivity to the
parameters grows, which is what makes the weather hard to predict.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np

import pullback as pb
import pullback.numpy as jnp
from pullback import lax

matplotlib.use("Agg")
import matplotlib.pyplot as plt

Array = pb.Array

STEP = 0.01
START = (1.0, 1.0, 1.0)


class Parameters(NamedTuple):
    """The three parameters of the system, at Lorenz's own values."""

    sigma: float | Array = 10.0
    rho: float | Array = 28.0
    beta: float | Array = 8.0 / 3.0


def velocity(state: Array, p: Parameters) -> Array:
    """The right-hand side of the differential equation, `[3]`."""
    x, y, z = state
    return jnp.array([p.sigma * (y - x), x * (p.rho - z) - y, x * y - p.beta * z])


def runge_kutta(state: Array, p: Parameters) -> Array:
    """The state one step later, by the classical method of fourth order."""
    k1 = velocity(state, p)
    k2 = velocity(state + STEP / 2 * k1, p)
    k3 = velocity(state + STEP / 2 * k2, p)
    k4 = velocity(state + STEP * k3, p)
    return state + STEP / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


@partial(pb.jit, static_argnums=1)
def integrate(p: Parameters, steps: int) -> Array:
    """The trajectory from START, `[steps, 3]`."""

    def advance(state: Array, _: None) -> tuple[Array, Array]:
        state = runge_kutta(state, p)
        return state, state

    _, trajectory = lax.scan(advance, jnp.array(START), None, length=steps)
    return trajectory


def end(p: Parameters, steps: int) -> Array:
    """The last state of the trajectory, `[3]`."""
    return integrate(p, steps)[-1]


def growth(p: Parameters, steps: int) -> Array:
    """The size of d state / d parameters after each step, `[steps]`."""
    sensitivity = pb.jacfwd(integrate)(p, steps)
    return jnp.sqrt(sum(jnp.sum(s**2, axis=-1) for s in sensitivity))


def plot(path: Path, trajectory: np.ndarray, sensitivity: np.ndarray) -> None:
    """The trajectory in space, and the growth of the sensitivity over time."""
    figure = plt.figure(figsize=(12, 5.5), layout="constrained")
    space = figure.add_subplot(1, 2, 1, projection="3d")
    space.plot(*trajectory.T, linewidth=0.5, color="tab:blue")
    space.scatter(*trajectory[-1], color="tab:red", s=18, label="end")
    space.set(xlabel="x", ylabel="y", zlabel="z", title="trajectory")
    space.legend(frameon=False)
    growth_axes = figure.add_subplot(1, 2, 2)
    time = STEP * np.arange(1, len(sensitivity) + 1)
    growth_axes.semilogy(time, sensitivity, color="tab:red")
    growth_axes.set(xlabel="time", ylabel="|d state / d parameters|", title="sensitivity")
    growth_axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Integrate, differentiate twice, compare, draw."""
    parser = argparse.ArgumentParser(description="Integrate and differentiate the Lorenz system.")
    parser.add_argument("--steps", type=int, default=4000, help="steps of the drawn trajectory")
    parser.add_argument("--output", type=Path, default=Path("lorenz.png"))
    options = parser.parse_args()
    p = Parameters(*map(jnp.float32, Parameters()))

    short = 300
    forward = pb.jit(pb.jacfwd(end), static_argnums=1)(p, short)
    reverse = pb.jit(pb.jacrev(end), static_argnums=1)(p, short)
    print(f"state at time {short * STEP:g}: {np.asarray(end(p, short))}")
    for name, f, r in zip(Parameters._fields, forward, reverse, strict=True):
        print(f"d state / d {name:5}  jacfwd {np.asarray(f)}  jacrev {np.asarray(r)}")
        np.testing.assert_allclose(f, r, rtol=1e-3)

    trajectory = np.asarray(integrate(p, options.steps))
    plot(options.output, trajectory, np.asarray(growth(p, 1500)))
    print(f"wrote {options.output}")


if __name__ == "__main__":
    main()
