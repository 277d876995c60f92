"""distrax: distributions, bijectors, a flow that is trained, a hidden Markov model."""

from __future__ import annotations

import sys
from typing import Any

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import optax


def distributions() -> dict[str, Any]:
    key = jax.random.key(0)
    x = jnp.array([0.2, 0.7, 0.4])
    normal = distrax.MultivariateNormalDiag(jnp.array([0.0, 1.0, -1.0]), jnp.array([1.0, 2.0, 0.5]))
    full = distrax.MultivariateNormalFullCovariance(jnp.zeros(3), jnp.eye(3) + 0.2)
    items = {
        "normal": distrax.Normal(0.3, 1.2),
        "laplace": distrax.Laplace(0.0, 2.0),
        "beta": distrax.Beta(2.0, 3.0),
        "gamma": distrax.Gamma(2.0, 0.7),
        "logistic": distrax.Logistic(0.1, 1.1),
        "uniform": distrax.Uniform(0.0, 1.0),
        "gumbel": distrax.Gumbel(0.0, 1.0),
        "clipped": distrax.ClippedNormal(0.0, 1.0, -0.5, 0.5),
        "softmax": distrax.Softmax(jnp.array([1.0, 2.0, 0.5])),
        "categorical": distrax.Categorical(probs=jnp.array([0.2, 0.5, 0.3])),
        "bernoulli": distrax.Bernoulli(logits=0.3),
        "mixture": distrax.MixtureSameFamily(
            distrax.Categorical(logits=jnp.zeros(2)), distrax.Normal(jnp.array([-1.0, 1.0]), 0.3)
        ),
    }
    discrete = ("softmax", "categorical", "bernoulli")
    results = {
        "mvn": jnp.stack([normal.log_prob(x), full.log_prob(x), normal.kl_divergence(full)]),
        "mvn_entropy": jnp.stack([normal.entropy(), full.entropy()]),
        "kl": distrax.Normal(0.0, 1.0).kl_divergence(distrax.Normal(0.5, 2.0)),
    }
    for name, d in items.items():
        point = jnp.array([0, 1, 1]) if name in discrete else x
        samples, log_probs = d.sample_and_log_prob(seed=key, sample_shape=(4,))
        results[f"log_{name}"] = d.log_prob(point)
        results[f"draw_{name}"] = jnp.stack([samples.astype(jnp.float32), log_probs])
    moments = [items[n].mean() for n in ("normal", "beta", "gamma", "mixture")]
    results["moments"] = jnp.stack([*moments, items["beta"].variance()])
    tree = distrax.Joint(
        {"a": distrax.Normal(0.0, 1.0), "b": distrax.Independent(distrax.Normal(x, 1.0), 1)}
    )
    results["joint"] = tree.log_prob(tree.sample(seed=key))
    results["grad"] = jax.grad(lambda s: distrax.Normal(0.0, s).log_prob(0.5))(1.5)
    reparam = jax.grad(
        lambda s: jnp.mean(distrax.Gamma(s, 1.0).sample(seed=key, sample_shape=(8,)))
    )
    results["reparam"] = reparam(2.0)
    return results


def bijectors() -> dict[str, Any]:
    x = jnp.linspace(-0.9, 0.9, 6)
    lower = jnp.array([[1.0, 0.0], [0.5, 2.0]])
    scalars = {
        "tanh": distrax.Tanh(),
        "sigmoid": distrax.Sigmoid(),
        "affine": distrax.ScalarAffine(0.3, 2.0),
        "inverse": distrax.Inverse(distrax.Tanh()),
        "chain": distrax.Chain([distrax.Tanh(), distrax.ScalarAffine(0.1, 1.5)]),
        "lambda": distrax.Lambda(jnp.sinh),
        "spline": distrax.RationalQuadraticSpline(jnp.linspace(-1, 1, 10), -1.0, 1.0),
    }
    results = {}
    for name, b in scalars.items():
        y, log_det = b.forward_and_log_det(x)
        back = b.inverse(y)
        assert jnp.allclose(back, x, atol=1e-4), name
        results[f"bijector_{name}"] = jnp.stack([y, log_det])
    for name, b in (
        ("triangular", distrax.LowerUpperTriangularAffine(lower + lower.T, jnp.ones(2))),
        ("linear", distrax.UnconstrainedAffine(lower.T, jnp.zeros(2))),
        ("block", distrax.Block(distrax.Tanh(), 1)),
    ):
        y, log_det = b.forward_and_log_det(x.reshape(3, 2))
        results[f"bijector_{name}"] = jnp.concatenate([y.ravel(), log_det])
    d = distrax.Transformed(distrax.Normal(0.0, 1.0), distrax.Lambda(jnp.exp))
    results["lognormal"] = d.log_prob(jnp.array([0.5, 2.0]))
    return results


def flow() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    data = jnp.asarray(rng.standard_normal((128, 2)), jnp.float32)
    data = jnp.stack([data[:, 0], 0.5 * data[:, 1] + data[:, 0] ** 2], 1)

    def build(params: Any) -> Any:
        layers = []
        for i, p in enumerate(params):
            mask = jnp.arange(2) % 2 == i % 2

            def conditioner(x: Any, p: Any = p) -> Any:
                h = jnp.tanh(x @ p["w1"] + p["b1"])
                return (h @ p["w2"] + p["b2"]).reshape(*x.shape, 2)

            layers.append(
                distrax.MaskedCoupling(
                    mask,
                    conditioner,
                    lambda p: distrax.ScalarAffine(shift=p[..., 0], log_scale=jnp.tanh(p[..., 1])),
                )
            )
        base = distrax.MultivariateNormalDiag(jnp.zeros(2), jnp.ones(2))
        return distrax.Transformed(base, distrax.Inverse(distrax.Chain(layers)))

    keys = jax.random.split(jax.random.key(1), 4)
    params = [
        {
            "w1": 0.5 * jax.random.normal(k, (2, 16)),
            "b1": jnp.zeros(16),
            "w2": 0.05 * jax.random.normal(k, (16, 4)),
            "b2": jnp.zeros(4),
        }
        for k in keys
    ]
    optimizer = optax.adam(1e-2)

    @jax.jit
    def step(params: Any, state: Any) -> Any:
        loss, grads = jax.value_and_grad(lambda p: -jnp.mean(build(p).log_prob(data)))(params)
        updates, state = optimizer.update(grads, state)
        return optax.apply_updates(params, updates), state, loss

    state, losses = optimizer.init(params), []
    for _ in range(60):
        params, state, loss = step(params, state)
        losses.append(loss)
    assert losses[-1] < losses[0] - 0.4, losses
    return {
        "flow": jnp.stack(losses)[:15],
    }


def markov() -> dict[str, Any]:
    hmm = distrax.HMM(
        init_dist=distrax.Categorical(probs=jnp.array([0.6, 0.4])),
        trans_dist=distrax.Categorical(probs=jnp.array([[0.9, 0.1], [0.3, 0.7]])),
        obs_dist=distrax.Normal(jnp.array([0.0, 2.0]), 1.0),
    )
    states, obs = hmm.sample(seed=jax.random.key(2), seq_len=12)
    _, _, marginals, log_prob = hmm.forward_backward(obs)
    return {
        "hmm_states": states,
        "hmm_marginals": marginals,
        "hmm_log_prob": log_prob,
        "viterbi": hmm.viterbi(obs),
    }


def main() -> dict[str, Any]:
    return {**distributions(), **bijectors(), **flow(), **markov()}


if __name__ == "__main__":
    np.savez(sys.argv[1], **main())
