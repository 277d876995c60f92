"""Element-wise programs on arrays that no cache of a core holds."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from benchmarks.data import normal, uniform
from benchmarks.frameworks import jax, jnp, torch
from benchmarks.registry import workload

MILLION = 1 << 20
LARGE = 4 * MILLION


@workload("axpy, 4 M", lambda: [normal(LARGE), normal(LARGE, seed=1)], bytes=3 * 4 * LARGE)
def axpy(x: Any, y: Any) -> Any:
    return 2.5 * x + y


@axpy.torch()
def _(x: Any, y: Any) -> Any:
    return torch.add(y, x, alpha=2.5)


@axpy.numpy()
def _(x: Any, y: Any) -> Any:
    return np.float32(2.5) * x + y


@workload("exp, 4 M", lambda: [normal(LARGE)], bytes=2 * 4 * LARGE)
def exp(x: Any) -> Any:
    return jnp.exp(x)


@exp.torch()
def _(x: Any) -> Any:
    return torch.exp(x)


@exp.numpy()
def _(x: Any) -> Any:
    return np.exp(x)


@workload("sin·tanh + log1p, 4 M", lambda: [uniform(LARGE, high=4.0)])
def chain(x: Any) -> Any:
    return jnp.sin(x) * jnp.tanh(x) + jnp.log1p(x)


@chain.torch(compiled=True)
def _(x: Any) -> Any:
    return torch.sin(x) * torch.tanh(x) + torch.log1p(x)


@chain.numpy()
def _(x: Any) -> Any:
    return np.sin(x) * np.tanh(x) + np.log1p(x)


def _options() -> list[Any]:
    return [uniform(MILLION, low=50, high=150), uniform(MILLION, low=0.1, high=2.0, seed=1)]


def _price(spot: Any, years: Any) -> Any:
    sigma, rate, strike = 0.3, 0.05, 100.0
    spread = sigma * jnp.sqrt(years)
    d1 = (jnp.log(spot / strike) + (rate + 0.5 * sigma**2) * years) / spread
    cdf = jax.scipy.stats.norm.cdf
    return spot * cdf(d1) - strike * jnp.exp(-rate * years) * cdf(d1 - spread)


@workload("Black–Scholes, 1 M", _options)
def black_scholes(spot: Any, years: Any) -> Any:
    return _price(spot, years)


@black_scholes.torch(compiled=True)
def _(spot: Any, years: Any) -> Any:
    sigma, rate, strike = 0.3, 0.05, 100.0
    spread = sigma * torch.sqrt(years)
    d1 = (torch.log(spot / strike) + (rate + 0.5 * sigma**2) * years) / spread
    cdf = torch.special.ndtr
    return spot * cdf(d1) - strike * torch.exp(-rate * years) * cdf(d1 - spread)


def _three_parameters() -> list[Any]:
    return [*_options(), np.float32(0.3), np.float32(0.05)]


def _vanilla(spot: Any, years: Any, sigma: Any, rate: Any) -> Any:
    spread = sigma * jnp.sqrt(years)
    d1 = (jnp.log(spot / 100.0) + (rate + 0.5 * sigma**2) * years) / spread
    cdf = jax.scipy.stats.norm.cdf
    return spot * cdf(d1) - 100.0 * jnp.exp(-rate * years) * cdf(d1 - spread)


@workload("Black–Scholes, three derivatives, 1 M", _three_parameters)
def black_scholes_greeks(spot: Any, years: Any, sigma: Any, rate: Any) -> Any:
    greeks = jax.grad(_vanilla, argnums=(0, 1, 2))
    return jax.vmap(greeks, in_axes=(0, 0, None, None))(spot, years, sigma, rate)


@black_scholes_greeks.torch()
def _(spot: Any, years: Any, sigma: Any, rate: Any) -> Any:
    leaves = [spot.clone(), years.clone(), sigma.expand(spot.shape).clone()]
    for leaf in leaves:
        leaf.requires_grad_()
    s, t, v = leaves
    spread = v * torch.sqrt(t)
    d1 = (torch.log(s / 100.0) + (rate + 0.5 * v**2) * t) / spread
    cdf = torch.special.ndtr
    price = s * cdf(d1) - 100.0 * torch.exp(-rate * t) * cdf(d1 - spread)
    return torch.autograd.grad(price.sum(), leaves)


@workload("GELU and its derivative, 4 M", lambda: [normal(LARGE)])
def gelu_derivative(x: Any) -> Any:
    return jax.vmap(jax.grad(jax.nn.gelu))(x)


@gelu_derivative.torch()
def _(x: Any) -> Any:
    leaf = x.detach().requires_grad_()
    out = torch.nn.functional.gelu(leaf, approximate="tanh")
    return torch.autograd.grad(out.sum(), leaf)[0]


def _adam_state() -> list[Any]:
    return [normal(LARGE, seed=i) for i in range(3)] + [uniform(LARGE, seed=3)]


@workload("Adam's update, 4 M", _adam_state, bytes=7 * 4 * LARGE)
def adam(w: Any, g: Any, m: Any, v: Any) -> Any:
    m = 0.9 * m + 0.1 * g
    v = 0.999 * v + 0.001 * g * g
    return w - 1e-3 * (m / 0.1) / (jnp.sqrt(v / 0.001) + 1e-8), m, v


@adam.torch(compiled=True)
def _(w: Any, g: Any, m: Any, v: Any) -> Any:
    m = 0.9 * m + 0.1 * g
    v = 0.999 * v + 0.001 * g * g
    return w - 1e-3 * (m / 0.1) / (torch.sqrt(v / 0.001) + 1e-8), m, v


@adam.numpy()
def _(w: Any, g: Any, m: Any, v: Any) -> Any:
    m = np.float32(0.9) * m + np.float32(0.1) * g
    v = np.float32(0.999) * v + np.float32(0.001) * g * g
    scaled = np.float32(1e-3) * (m / np.float32(0.1))
    return w - scaled / (np.sqrt(v / np.float32(0.001)) + np.float32(1e-8)), m, v


@workload(
    "where, comparison and clip, 4 M",
    lambda: [normal(LARGE), normal(LARGE, seed=1)],
    bytes=3 * 4 * LARGE,
)
def select(x: Any, y: Any) -> Any:
    return jnp.clip(jnp.where(x > y, x * y, x - y), -math.pi, math.pi)


@select.torch()
def _(x: Any, y: Any) -> Any:
    return torch.clip(torch.where(x > y, x * y, x - y), -math.pi, math.pi)


@select.numpy()
def _(x: Any, y: Any) -> Any:
    bound = np.float32(math.pi)
    return np.clip(np.where(x > y, x * y, x - y), -bound, bound)


@workload(
    "complex multiplication and magnitude, 1 M",
    lambda: [
        normal(MILLION, 2).view(np.complex64)[:, 0],
        normal(MILLION, 2, seed=1).view(np.complex64)[:, 0],
    ],
    bytes=20 * MILLION,
)
def complex_magnitude(x: Any, y: Any) -> Any:
    return jnp.abs(x * y + jnp.conj(x))


@complex_magnitude.torch()
def _(x: Any, y: Any) -> Any:
    return torch.abs(x * y + torch.conj(x))


@complex_magnitude.numpy()
def _(x: Any, y: Any) -> Any:
    return np.abs(x * y + np.conj(x))
