"""Random numbers.  PyTorch and NumPy draw other ones, by cheaper generators: results differ."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.frameworks import jax, torch
from benchmarks.registry import workload

MILLION = 1 << 20


def _seed() -> list[Any]:
    return [np.uint32(7)]


@workload("Threefry normals, 1 M", _seed, same_as=("jax",))
def normals(seed: Any) -> Any:
    return jax.random.normal(jax.random.key(seed), (MILLION,))


@normals.torch(lambda seed: [])
def _() -> Any:
    return torch.randn(MILLION)


@normals.numpy(lambda seed: [np.random.default_rng(7)])
def _(rng: Any) -> Any:
    return rng.standard_normal(MILLION, np.float32)


@workload("uniforms, 4 M", _seed, same_as=("jax",))
def uniforms(seed: Any) -> Any:
    return jax.random.uniform(jax.random.key(seed), (4 * MILLION,))


@uniforms.torch(lambda seed: [])
def _() -> Any:
    return torch.rand(4 * MILLION)


@uniforms.numpy(lambda seed: [np.random.default_rng(7)])
def _(rng: Any) -> Any:
    return rng.random(4 * MILLION, np.float32)


@workload("permutation, 64 k", _seed, same_as=("jax",))
def permutation(seed: Any) -> Any:
    return jax.random.permutation(jax.random.key(seed), 65536)


@permutation.torch(lambda seed: [])
def _() -> Any:
    return torch.randperm(65536)


@permutation.numpy(lambda seed: [np.random.default_rng(7)])
def _(rng: Any) -> Any:
    return rng.permutation(65536)


@workload("categorical, 4,096 of 1,000", _seed, same_as=("jax",))
def categorical(seed: Any) -> Any:
    key = jax.random.key(seed)
    return jax.random.categorical(key, jax.random.normal(key, (4096, 1000)))


@workload("Monte Carlo π, 1 M points", _seed, same_as=("jax",))
def monte_carlo(seed: Any) -> Any:
    points = jax.random.uniform(jax.random.key(seed), (MILLION, 2))
    return 4.0 * ((points**2).sum(axis=-1) < 1.0).mean()


@monte_carlo.torch(lambda seed: [])
def _() -> Any:
    return 4.0 * ((torch.rand(MILLION, 2) ** 2).sum(-1) < 1.0).float().mean()


@monte_carlo.numpy(lambda seed: [np.random.default_rng(7)])
def _(rng: Any) -> Any:
    return 4.0 * ((rng.random((MILLION, 2), np.float32) ** 2).sum(axis=-1) < 1.0).mean()
