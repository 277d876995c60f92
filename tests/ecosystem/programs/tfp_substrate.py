"""TensorFlow Probability's JAX substrate: distributions, bijectors, MCMC, optimizers, GP."""

from __future__ import annotations

import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tensorflow_probability.substrates import jax as tfp

tfd, tfb = tfp.distributions, tfp.bijectors


def distributions() -> dict[str, Any]:
    key = jax.random.PRNGKey(0)
    x = jnp.array([0.3, 0.6, 0.8], jnp.float32)
    items = {
        "normal": tfd.Normal(0.1, 1.3),
        "student": tfd.StudentT(4.0, 0.0, 1.0),
        "beta": tfd.Beta(2.0, 3.0),
        "gamma": tfd.Gamma(2.0, 1.5),
        "inverse_gamma": tfd.InverseGamma(3.0, 1.0),
        "half_cauchy": tfd.HalfCauchy(0.0, 1.0),
        "kumaraswamy": tfd.Kumaraswamy(2.0, 2.5),
        "von_mises": tfd.VonMises(0.0, 2.0),
        "pareto": tfd.Pareto(2.0, 0.1),
        "weibull": tfd.Weibull(1.5, 1.0),
        "truncated": tfd.TruncatedNormal(0.0, 1.0, -1.0, 1.0),
    }
    results = {}
    for name, d in items.items():
        results[f"log_{name}"] = d.log_prob(x)
        results[f"draw_{name}"] = d.sample(3, seed=key)
    for name in ("normal", "beta", "gamma", "weibull"):
        results[f"cdf_{name}"] = items[name].cdf(x)
    tril = jnp.array([[1.0, 0.0], [0.5, 1.2]])
    mvn = tfd.MultivariateNormalTriL(jnp.zeros(2), tril)
    wishart = tfd.WishartTriL(4.0, tril)
    joint = tfd.JointDistributionSequential(
        [tfd.Normal(0.0, 1.0), lambda m: tfd.Sample(tfd.Normal(m, 0.5), 3)]
    )
    results["mvn"] = mvn.log_prob(jnp.ones((2, 2)))
    results["wishart"] = wishart.log_prob(jnp.eye(2) + 0.1)
    results["joint"] = joint.log_prob(joint.sample(seed=key))
    results["kl"] = tfd.kl_divergence(tfd.Gamma(2.0, 1.0), tfd.Gamma(3.0, 2.0))
    results["grad"] = jax.grad(lambda a: jnp.sum(tfd.Beta(a, 2.0).log_prob(x)))(1.7)
    return results


def bijectors() -> dict[str, Any]:
    x = jnp.linspace(-0.8, 0.9, 4)
    results = {}
    for name, b in {
        "softplus": tfb.Softplus(),
        "chain": tfb.Chain([tfb.Exp(), tfb.Shift(0.5), tfb.Scale(2.0)]),
        "sinh_arcsinh": tfb.SinhArcsinh(0.2, 1.1),
        "sigmoid": tfb.Sigmoid(low=-1.0, high=3.0),
    }.items():
        results[f"bijector_{name}"] = jnp.stack([b.forward(x), b.forward_log_det_jacobian(x)])
    triangle = tfb.FillScaleTriL()
    results["fill"] = triangle.forward(jnp.arange(1.0, 7.0))
    results["simplex"] = tfb.SoftmaxCentered().forward(x)
    cholesky = tfb.CorrelationCholesky()
    results["correlation"] = cholesky.forward(x[:3])
    flow = tfd.TransformedDistribution(tfd.Normal(0.0, 1.0), tfb.Softplus())
    results["transformed"] = flow.log_prob(jnp.array([0.3, 1.0]))
    return results


def inference() -> dict[str, Any]:
    target = tfd.MultivariateNormalTriL(
        jnp.array([1.0, -1.0]), jnp.array([[1.0, 0.0], [0.6, 0.8]])
    ).log_prob

    @jax.jit
    def run(key: Any) -> Any:
        kernel = tfp.mcmc.DualAveragingStepSizeAdaptation(
            tfp.mcmc.HamiltonianMonteCarlo(target, num_leapfrog_steps=5, step_size=0.2), 50
        )
        return tfp.mcmc.sample_chain(
            600,
            current_state=jnp.zeros(2),
            kernel=kernel,
            num_burnin_steps=60,
            trace_fn=None,
            seed=key,
        )

    draws = run(jax.random.PRNGKey(1))
    assert jnp.all(jnp.abs(jnp.mean(draws, 0) - jnp.array([1.0, -1.0])) < 0.35), draws.mean(0)

    @jax.jit
    def short(key: Any) -> Any:
        kernel = tfp.mcmc.HamiltonianMonteCarlo(target, num_leapfrog_steps=3, step_size=0.3)
        return tfp.mcmc.sample_chain(
            10, current_state=jnp.zeros(2), kernel=kernel, trace_fn=None, seed=key
        )

    def quadratic(x: Any) -> Any:
        return jnp.sum((x - jnp.array([1.0, 2.0])) ** 2 * jnp.array([1.0, 3.0]))

    optimum = tfp.optimizer.lbfgs_minimize(
        jax.value_and_grad(quadratic), initial_position=jnp.zeros(2), tolerance=1e-5
    )
    kernels = tfp.math.psd_kernels
    index = jnp.linspace(0.0, 1.0, 6)[:, None]
    process = tfd.GaussianProcess(
        kernels.MaternFiveHalves(1.0, 0.5), index, observation_noise_variance=0.1
    )
    regression = tfd.GaussianProcessRegressionModel(
        kernels.ExponentiatedQuadratic(1.0, 0.3),
        index_points=index + 0.05,
        observation_index_points=index,
        observations=jnp.sin(6 * index[:, 0]),
        observation_noise_variance=0.01,
    )
    return {
        "hmc": short(jax.random.PRNGKey(2)),
        "lbfgs": optimum.position,
        "gp": process.log_prob(jnp.cos(index[:, 0])),
        "gp_grad": jax.grad(
            lambda s: tfd.GaussianProcess(
                kernels.ExponentiatedQuadratic(1.0, s), index, observation_noise_variance=0.1
            ).log_prob(jnp.cos(index[:, 0]))
        )(0.4),
        "regression": regression.mean(),
        "quantiles": tfp.stats.percentile(draws[:5, 0] * 0 + jnp.arange(5.0), [25.0, 50.0]),
        "integral": tfp.math.trapz(jnp.sin(jnp.linspace(0.0, 3.0, 31)), jnp.linspace(0.0, 3.0, 31)),
    }


def main() -> dict[str, Any]:
    return {**distributions(), **bijectors(), **inference()}


if __name__ == "__main__":
    np.savez(sys.argv[1], **main())
