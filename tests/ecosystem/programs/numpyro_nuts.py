"""numpyro: NUTS on a posterior with known moments, a hierarchical model, SVI, prediction."""

from __future__ import annotations

import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.contrib.control_flow import scan
from numpyro.diagnostics import summary
from numpyro.handlers import seed, substitute, trace
from numpyro.infer import HMC, MCMC, NUTS, SVI, Predictive, Trace_ELBO, log_likelihood
from numpyro.infer.autoguide import AutoNormal
from numpyro.infer.reparam import LocScaleReparam
from numpyro.infer.util import initialize_model, log_density

jax.config.update("jax_enable_x64", True)  # so that draws do not hang on rounding

GROUP = jnp.array([0, 0, 0, 1, 1, 2, 2, 2, 2])
X = jnp.linspace(-1.0, 1.0, 9)
Y = jnp.array([0.3, 0.9, 1.1, -0.2, 0.4, 1.5, 1.4, 2.1, 2.6])


def conjugate(y: Any = None) -> None:
    """Normal mean with a normal prior: the posterior is known."""
    mu = numpyro.sample("mu", dist.Normal(0.0, 2.0))
    with numpyro.plate("data", 9):
        numpyro.sample("y", dist.Normal(mu, 1.0), obs=y)


def hierarchical(x: Any, group: Any, y: Any = None) -> None:
    slope = numpyro.sample("slope", dist.Normal(0, 1))
    spread = numpyro.sample("spread", dist.HalfNormal(1.0))
    noise = numpyro.sample("noise", dist.LogNormal(-1.0, 0.5))
    with numpyro.plate("groups", 3):
        offset = numpyro.sample("offset", dist.Normal(0.0, spread))
    mean = numpyro.deterministic("mean", slope * x + offset[group])
    with numpyro.plate("data", len(x)):
        numpyro.sample("y", dist.StudentT(4.0, mean, noise), obs=y)


def posterior() -> dict[str, Any]:
    mcmc = MCMC(NUTS(conjugate), num_warmup=200, num_samples=2000, progress_bar=False)
    mcmc.run(jax.random.key(0), Y)
    draws = mcmc.get_samples()["mu"]
    precision = 1 / 4.0 + 9
    assert abs(jnp.mean(draws) - jnp.sum(Y) / precision) < 0.03
    assert abs(jnp.var(draws) - 1 / precision) < 0.015
    chains = MCMC(
        NUTS(numpyro.handlers.reparam(hierarchical, config={"offset": LocScaleReparam(0.0)})),
        num_warmup=150,
        num_samples=150,
        num_chains=2,
        chain_method="vectorized",
        progress_bar=False,
    )
    chains.run(jax.random.key(1), X, GROUP, Y)
    samples = chains.get_samples()
    stats = summary(chains.get_samples(group_by_chain=True))
    assert jnp.abs(jnp.mean(samples["slope"]) - 1.31) < 0.25, jnp.mean(samples["slope"])
    fixed = {
        "slope": jnp.array([0.2, 0.4]),
        "spread": jnp.array([0.5, 0.6]),
        "noise": jnp.array([0.3, 0.4]),
        "offset": jnp.arange(6.0).reshape(2, 3) / 5,
    }
    predicted = Predictive(hierarchical, fixed)(jax.random.key(2), X, GROUP)
    likelihood = log_likelihood(hierarchical, fixed, X, GROUP, Y)["y"]
    hmc = MCMC(
        HMC(conjugate, step_size=0.1, num_steps=5, adapt_step_size=False),
        num_warmup=0,
        num_samples=10,
        progress_bar=False,
    )
    hmc.run(jax.random.key(3), Y)
    return {
        "mu": draws[:10],
        "rhat": np.array(stats["slope"]["r_hat"] < 1.1),
        "predicted": predicted["y"][0],
        "likelihood": jnp.mean(likelihood, 0),
        "hmc": hmc.get_samples()["mu"],
    }


def variational() -> dict[str, Any]:
    guide = AutoNormal(hierarchical)
    svi = SVI(hierarchical, guide, numpyro.optim.Adam(0.02), Trace_ELBO(num_particles=2))
    result = svi.run(jax.random.key(4), 100, X, GROUP, Y, progress_bar=False)
    quantiles = guide.quantiles(result.params, [0.5])
    return {"elbo": result.losses[::10], "median": quantiles["slope"]}


def walk(n: int, y: Any = None) -> Any:
    scale = numpyro.sample("scale", dist.Exponential(1.0))

    def step(state: Any, target: Any) -> Any:
        state = numpyro.sample("state", dist.Normal(state, scale))
        return state, numpyro.sample("y", dist.Normal(state, 0.1), obs=target)

    return scan(step, 0.0, y, length=n)


def models() -> dict[str, Any]:
    values = {"slope": 0.3, "spread": 0.5, "noise": 0.4, "offset": jnp.array([0.1, -0.2, 0.3])}
    density, sites = log_density(hierarchical, (X, GROUP, Y), {}, values)
    drawn = trace(substitute(seed(hierarchical, 5), values)).get_trace(X, GROUP)
    init = initialize_model(jax.random.key(6), walk, model_args=(9, Y))
    gradient = jax.grad(init.potential_fn)({"scale": 0.1, "state": jnp.linspace(0.0, 2.0, 9)})
    scales = jnp.linalg.cholesky(jnp.eye(3) + 0.3)
    points = {
        "mvn": dist.MultivariateNormal(jnp.zeros(3), scale_tril=scales).log_prob(jnp.arange(3.0)),
        "lkj": dist.LKJCholesky(3, 2.0).log_prob(scales / jnp.linalg.norm(scales, axis=1)[:, None]),
        "mix": dist.MixtureSameFamily(
            dist.Categorical(jnp.array([0.3, 0.7])), dist.Normal(jnp.array([-1.0, 1.0]), 0.5)
        ).log_prob(0.3),
        "truncated": dist.TruncatedNormal(0.2, 1.3, low=-1.0, high=2.0).log_prob(0.5),
        "zip": dist.ZeroInflatedPoisson(0.2, 3.0).log_prob(jnp.array([0, 2])).sum(),
        "dirichlet": dist.DirichletMultinomial(jnp.array([1.0, 2.0, 3.0]), 6).log_prob(
            jnp.array([1, 2, 3])
        ),
        "transformed": dist.TransformedDistribution(
            dist.Normal(0, 1),
            [dist.transforms.AffineTransform(1.0, 2.0), dist.transforms.ExpTransform()],
        ).log_prob(3.0),
    }
    keys = jax.random.split(jax.random.key(7), 6)
    sampled = [
        dist.Beta(2.0, 3.0).sample(keys[0], (3,)),
        dist.Gamma(2.0, 0.5).sample(keys[1], (3,)),
        dist.Binomial(10, 0.3).sample(keys[2], (3,)).astype(float),
        dist.VonMises(0.1, 2.0).sample(keys[3], (3,)),
        dist.Gumbel(0.0, 1.0).sample(keys[4], (3,)),
        dist.Weibull(1.0, 2.0).sample(keys[5], (3,)),
    ]
    return {
        "density": density,
        "sites": np.array(sorted(sites)),
        "drawn": drawn["y"]["value"],
        "walk": gradient["state"],
        **{f"log_{name}": x for name, x in points.items()},
        "sampled": jnp.stack(sampled),
    }


def main() -> dict[str, Any]:
    return {**posterior(), **variational(), **models()}


if __name__ == "__main__":
    np.savez(sys.argv[1], **main())
