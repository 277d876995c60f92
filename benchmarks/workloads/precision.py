"""Other widths than float32: bfloat16, int8, float64."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

from benchmarks.data import integers, normal, spd, uniform
from benchmarks.frameworks import jax, jnp, lax, torch
from benchmarks.registry import workload

LARGE = 4 << 20


@workload(
    "bfloat16 matmul, 512",
    lambda: [normal(512, 512, seed=i, dtype=ml_dtypes.bfloat16) for i in (0, 1)],
    flops=2.0 * 512**3,
    tolerance=2e-2,
)
def matmul_bfloat16(x: Any, y: Any) -> Any:
    return x @ y


@matmul_bfloat16.torch()
def _(x: Any, y: Any) -> Any:
    return x @ y


def _mixed() -> list[Any]:
    return [
        normal(256, 256),
        normal(256, 512, seed=1, scale=0.06),
        normal(512, 64, seed=2, scale=0.04),
        normal(256, 64, seed=3),
    ]


@workload(
    "mixed precision training step, 256-512-64 at 256",
    _mixed,
    tolerance=5e-2,
    flops=6.0 * 256 * (256 * 512 + 512 * 64),
)
def mixed_step(x: Any, w: Any, v: Any, y: Any) -> Any:
    def loss(w: Any, v: Any) -> Any:
        narrow = jnp.bfloat16
        h = jax.nn.relu(x.astype(narrow) @ w.astype(narrow))
        out = (h @ v.astype(narrow)).astype(jnp.float32)
        return jnp.mean((out - y) ** 2)

    dw, dv = jax.grad(loss, argnums=(0, 1))(w, v)
    return w - 0.1 * dw, v - 0.1 * dv


@mixed_step.torch()
def _(x: Any, w: Any, v: Any, y: Any) -> Any:
    w, v = w.detach().requires_grad_(), v.detach().requires_grad_()
    narrow = torch.bfloat16
    h = torch.relu(x.to(narrow) @ w.to(narrow))
    loss = (((h @ v.to(narrow)).float() - y) ** 2).mean()
    dw, dv = torch.autograd.grad(loss, (w, v))
    return (w - 0.1 * dw).detach(), (v - 0.1 * dv).detach()


@workload(
    "bfloat16 chain, 4 M",
    lambda: [normal(LARGE, dtype=ml_dtypes.bfloat16)],
    bytes=2 * 2 * LARGE,
    tolerance=2e-2,
)
def chain_bfloat16(x: Any) -> Any:
    return jnp.tanh(x) * x + jnp.bfloat16(0.5)


@chain_bfloat16.torch()
def _(x: Any) -> Any:
    return torch.tanh(x) * x + 0.5


def _bytes() -> list[Any]:
    return [integers(512, 512, high=127, seed=i, dtype=np.int8) for i in (0, 1)]


@workload("int8 matmul to int32, 512", _bytes, flops=2.0 * 512**3)
def matmul_int8(x: Any, y: Any) -> Any:
    return lax.dot(x, y, preferred_element_type=jnp.int32)


@matmul_int8.torch()
def _(x: Any, y: Any) -> Any:
    return torch._int_mm(x, y)


@workload("int8 quantise and back, 4 M", lambda: [normal(LARGE)], bytes=2 * 4 * LARGE)
def quantise(x: Any) -> Any:
    scale = jnp.max(jnp.abs(x)) / 127.0
    small = jnp.clip(jnp.round(x / scale), -127, 127).astype(jnp.int8)
    return small.astype(jnp.float32) * scale


@quantise.torch()
def _(x: Any) -> Any:
    scale = x.abs().max() / 127.0
    return torch.clip(torch.round(x / scale), -127, 127).to(torch.int8).float() * scale


@quantise.numpy()
def _(x: Any) -> Any:
    scale = np.abs(x).max() / np.float32(127)
    return np.clip(np.round(x / scale), -127, 127).astype(np.int8).astype(np.float32) * scale


@workload(
    "uint8 image to float32 and normalised, 16 × 224 × 224 × 3",
    lambda: [integers(16, 224, 224, 3, high=256, dtype=np.uint8)],
    bytes=5 * 16 * 224 * 224 * 3,
)
def normalise_bytes(x: Any) -> Any:
    mean, spread = jnp.array([0.485, 0.456, 0.406]), jnp.array([0.229, 0.224, 0.225])
    return (x.astype(jnp.float32) / 255.0 - mean) / spread


@normalise_bytes.torch()
def _(x: Any) -> Any:
    mean, spread = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return (x.float() / 255.0 - mean) / spread


@normalise_bytes.numpy()
def _(x: Any) -> Any:
    mean = np.array([0.485, 0.456, 0.406], np.float32)
    return (x / np.float32(255) - mean) / np.array([0.229, 0.224, 0.225], np.float32)


def _double(*shape: int, seed: int = 0) -> Any:
    return normal(*shape, seed=seed, dtype=np.float64)


@workload(
    "float64 matmul, 512",
    lambda: [_double(512, 512), _double(512, 512, seed=1)],
    flops=2.0 * 512**3,
    double=True,
    x64=True,
    tolerance=1e-10,
)
def matmul_float64(x: Any, y: Any) -> Any:
    return x @ y


@matmul_float64.torch()
def _(x: Any, y: Any) -> Any:
    return x @ y


@matmul_float64.numpy()
def _(x: Any, y: Any) -> Any:
    return x @ y


@workload(
    "float64 chain, 2 M",
    lambda: [uniform(LARGE // 2, high=4.0, dtype=np.float64)],
    bytes=2 * 8 * LARGE // 2,
    x64=True,
    tolerance=1e-10,
)
def chain_float64(x: Any) -> Any:
    return jnp.exp(-x) * jnp.cos(x) + jnp.log1p(x)


@chain_float64.torch()
def _(x: Any) -> Any:
    return torch.exp(-x) * torch.cos(x) + torch.log1p(x)


@chain_float64.numpy()
def _(x: Any) -> Any:
    return np.exp(-x) * np.cos(x) + np.log1p(x)


def _process() -> list[Any]:
    points = np.sort(uniform(256, high=10.0, dtype=np.float64))
    return [points, np.sin(points), np.array([1.0, 1.0, 0.1])]


@workload(
    "Gaussian process likelihood and gradient, 256 points, float64",
    _process,
    x64=True,
    double=True,
    tolerance=1e-8,
)
def gaussian_process(x: Any, y: Any, hyper: Any) -> Any:
    def likelihood(hyper: Any) -> Any:
        squared = (x[:, None] - x[None]) ** 2
        k = hyper[0] * jnp.exp(-0.5 * squared / hyper[1] ** 2) + hyper[2] * jnp.eye(len(x))
        factor = jnp.linalg.cholesky(k)
        white = jax.scipy.linalg.solve_triangular(factor, y, lower=True)
        return 0.5 * white @ white + jnp.sum(jnp.log(jnp.diag(factor)))

    return jax.value_and_grad(likelihood)(hyper)


@gaussian_process.torch()
def _(x: Any, y: Any, hyper: Any) -> Any:
    hyper = hyper.detach().requires_grad_()
    squared = (x[:, None] - x[None]) ** 2
    k = hyper[0] * torch.exp(-0.5 * squared / hyper[1] ** 2)
    k = k + hyper[2] * torch.eye(len(x), dtype=x.dtype)
    factor = torch.linalg.cholesky(k)
    white = torch.linalg.solve_triangular(factor, y[:, None], upper=False)[:, 0]
    value = 0.5 * white @ white + torch.log(torch.diag(factor)).sum()
    return value.detach(), torch.autograd.grad(value, hyper)[0]


@workload(
    "float64 conjugate gradients, 512, 50 steps",
    lambda: [spd(512, 512, dtype=np.float64), _double(512)],
    x64=True,
    bytes=50 * 8 * 512 * 512,
    tolerance=1e-8,
)
def conjugate_gradients(a: Any, b: Any) -> Any:
    def step(i: Any, state: Any) -> Any:
        x, r, p, rho = state
        q = a @ p
        alpha = rho / (p @ q)
        x, r = x + alpha * p, r - alpha * q
        new = r @ r
        return x, r, r + (new / rho) * p, new

    return lax.fori_loop(0, 50, step, (jnp.zeros_like(b), b, b, b @ b))[0]


@conjugate_gradients.numpy()
def _(a: Any, b: Any) -> Any:
    x, r, p, rho = np.zeros_like(b), b, b, b @ b
    for _ in range(50):
        q = a @ p
        alpha = rho / (p @ q)
        x, r = x + alpha * p, r - alpha * q
        new = r @ r
        p, rho = r + (new / rho) * p, new
    return x
