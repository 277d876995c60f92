"""Factorisations, solves and Fourier transforms."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.data import normal, spd
from benchmarks.frameworks import jnp, torch
from benchmarks.registry import workload


@workload("4,096 Cholesky factors of 4 × 4", lambda: [spd(4096, 4, 4)])
def cholesky_small(a: Any) -> Any:
    return jnp.linalg.cholesky(a)


@cholesky_small.torch()
def _(a: Any) -> Any:
    return torch.linalg.cholesky(a)


@cholesky_small.numpy()
def _(a: Any) -> Any:
    return np.linalg.cholesky(a)


@workload("4,096 solves of 4 × 4", lambda: [spd(4096, 4, 4), normal(4096, 4, 1, seed=1)])
def solve_small(a: Any, b: Any) -> Any:
    return jnp.linalg.solve(a, b)


@solve_small.torch()
def _(a: Any, b: Any) -> Any:
    return torch.linalg.solve(a, b)


@solve_small.numpy()
def _(a: Any, b: Any) -> Any:
    return np.linalg.solve(a, b)


@workload("Cholesky, 512", lambda: [spd(512, 512)], flops=512**3 / 3)
def cholesky_512(a: Any) -> Any:
    return jnp.linalg.cholesky(a)


@cholesky_512.torch()
def _(a: Any) -> Any:
    return torch.linalg.cholesky(a)


@cholesky_512.numpy()
def _(a: Any) -> Any:
    return np.linalg.cholesky(a)


@workload("solve, 512", lambda: [spd(512, 512), normal(512, 8, seed=1)], flops=2 * 512**3 / 3)
def solve_512(a: Any, b: Any) -> Any:
    return jnp.linalg.solve(a, b)


@solve_512.torch()
def _(a: Any, b: Any) -> Any:
    return torch.linalg.solve(a, b)


@solve_512.numpy()
def _(a: Any, b: Any) -> Any:
    return np.linalg.solve(a, b)


@workload(
    "singular values and vectors, 256: the product", lambda: [normal(256, 256)], tolerance=1e-3
)
def svd_256(a: Any) -> Any:
    u, s, vt = jnp.linalg.svd(a, full_matrices=False)
    return (u * s) @ vt, s


@svd_256.torch()
def _(a: Any) -> Any:
    u, s, vt = torch.linalg.svd(a, full_matrices=False)
    return (u * s) @ vt, s


@svd_256.numpy()
def _(a: Any) -> Any:
    u, s, vt = np.linalg.svd(a, full_matrices=False)
    return (u * s) @ vt, s


@workload("eigenvalues of a symmetric matrix, 256", lambda: [spd(256, 256)], tolerance=1e-3)
def eigh_256(a: Any) -> Any:
    return jnp.linalg.eigvalsh(a)


@eigh_256.torch()
def _(a: Any) -> Any:
    return torch.linalg.eigvalsh(a)


@eigh_256.numpy()
def _(a: Any) -> Any:
    return np.linalg.eigvalsh(a)


@workload("QR, 256: R", lambda: [normal(256, 256)], tolerance=1e-3)
def qr_256(a: Any) -> Any:
    return jnp.abs(jnp.linalg.qr(a)[1])


@qr_256.torch()
def _(a: Any) -> Any:
    return torch.abs(torch.linalg.qr(a)[1])


@qr_256.numpy()
def _(a: Any) -> Any:
    return np.abs(np.linalg.qr(a)[1])


def _signal() -> list[Any]:
    return [normal(1 << 20, 2).view(np.complex64)[:, 0]]


@workload("FFT, 1 M complex", _signal, flops=5.0 * (1 << 20) * 20)
def fft_million(x: Any) -> Any:
    return jnp.fft.fft(x)


@fft_million.torch()
def _(x: Any) -> Any:
    return torch.fft.fft(x)


@fft_million.numpy()
def _(x: Any) -> Any:
    return np.fft.fft(x)


@workload("real FFT of two dimensions, 16 × 256 × 256", lambda: [normal(16, 256, 256)])
def fft_images(x: Any) -> Any:
    return jnp.fft.rfft2(x)


@fft_images.torch()
def _(x: Any) -> Any:
    return torch.fft.rfft2(x)


@fft_images.numpy()
def _(x: Any) -> Any:
    return np.fft.rfft2(x).astype(np.complex64)
