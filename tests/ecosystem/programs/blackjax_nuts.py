"""blackjax: NUTS with window adaptation and other samplers on a posterior with known moments."""

from __future__ import annotations

import sys
from typing import Any

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
from blackjax.mcmc.random_walk import normal

jax.config.update("jax_enable_x64", True)  # so that draws do not hang on rounding

MEAN = jnp.array([1.0, -2.0, 0.5])
FACTOR = jnp.array([[1.0, 0.0, 0.0], [0.8, 0.6, 0.0], [-0.3, 0.2, 0.5]])
COVARIANCE = FACTOR @ FACTOR.T


def logdensity(x: Any) -> Any:
    y = jax.scipy.linalg.solve_triangular(FACTOR, x["a"] - MEAN, lower=True)
    return -0.5 * jnp.sum(y**2)


def chain(key: Any, kernel: Any, state: Any, n: int) -> Any:
    @jax.jit
    def run(key: Any, state: Any) -> Any:
        def step(state: Any, key: Any) -> Any:
            state, info = kernel(key, state)
            return state, (state.position["a"], info)

        return jax.lax.scan(step, state, jax.random.split(key, n))[1]

    return run(key, state)


def nuts() -> dict[str, Any]:
    key_warmup, key_run = jax.random.split(jax.random.key(0))
    warmup = blackjax.window_adaptation(blackjax.nuts, logdensity)
    (state, parameters), _ = warmup.run(key_warmup, {"a": jnp.zeros(3)}, num_steps=300)
    kernel = blackjax.nuts(logdensity, **parameters).step
    draws, info = chain(key_run, kernel, state, 3000)
    mean, covariance = jnp.mean(draws, 0), jnp.cov(draws.T)
    assert jnp.all(jnp.abs(mean - MEAN) < 0.15), mean
    assert jnp.all(jnp.abs(covariance - COVARIANCE) < 0.25), covariance
    assert not jnp.any(info.is_divergent)
    rhat = blackjax.diagnostics.potential_scale_reduction(draws.reshape(3, 1000, 3))
    fixed = blackjax.nuts(logdensity, 0.4, jnp.ones(3))
    few, few_info = chain(key_run, fixed.step, fixed.init({"a": jnp.zeros(3)}), 12)
    return {"nuts": few, "leapfrog": few_info.num_integration_steps, "rhat": rhat < 1.05}


def others() -> dict[str, Any]:
    start = {"a": jnp.zeros(3)}
    key = jax.random.key(1)
    results = {}
    for name, algorithm in (
        ("hmc", blackjax.hmc(logdensity, 0.2, jnp.ones(3), 5)),
        ("mala", blackjax.mala(logdensity, 0.1)),
        ("rmh", blackjax.additive_step_random_walk(logdensity, normal(0.5))),
        ("barker", blackjax.barker_proposal(logdensity, 0.3)),
    ):
        draws, _ = chain(key, algorithm.step, algorithm.init(start), 20)
        results[name] = draws[:6]
    keys = jax.random.split(key, 4)
    kernel = blackjax.hmc(logdensity, 0.2, jnp.ones(3), 5)
    states = jax.vmap(kernel.init)({"a": jnp.zeros((4, 3))})
    lanes = jax.vmap(lambda k, s: chain(k, kernel.step, s, 5)[0])(keys, states)
    results["chains"] = lanes[:, -1]
    ess = blackjax.diagnostics.effective_sample_size(
        jnp.sin(jnp.arange(80.0) ** 1.3).reshape(2, 20, 2)
    )
    results["ess"] = ess
    return results


def tempered() -> dict[str, Any]:
    smc = blackjax.adaptive_tempered_smc(
        lambda x: -0.5 * jnp.sum(x["a"] ** 2) / 9.0,
        logdensity,
        blackjax.hmc.build_kernel(),
        blackjax.hmc.init,
        {
            "step_size": jnp.array([0.3]),
            "inverse_mass_matrix": jnp.ones((1, 3)),
            "num_integration_steps": jnp.array([4]),
        },
        blackjax.smc.resampling.systematic,
        target_ess=0.5,
        num_mcmc_steps=3,
    )
    state = smc.init({"a": 3.0 * jax.random.normal(jax.random.key(2), (400, 3))})
    step = jax.jit(smc.step)
    steps = 0
    key = jax.random.key(3)
    first = None
    while float(getattr(state, "tempering_param", getattr(state, "lmbda", 1.0))) < 1 and steps < 30:
        key, one = jax.random.split(key)
        state, _ = step(one, state)
        steps += 1
        first = state.particles["a"][:3] if first is None else first
    mean = jnp.mean(state.particles["a"], 0)
    return {"smc_first": first, "smc_mean": mean}


def main() -> dict[str, Any]:
    return {**nuts(), **others(), **tempered()}


if __name__ == "__main__":
    np.savez(sys.argv[1], **main())
