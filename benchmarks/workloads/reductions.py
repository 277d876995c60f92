"""Reductions, row-wise chains, and cumulative operations."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.data import normal
from benchmarks.frameworks import jax, jnp, lax, torch
from benchmarks.registry import workload

SIDE = 2048
LARGE = SIDE * SIDE


def _matrix() -> list[Any]:
    return [normal(SIDE, SIDE)]


@workload("sum, 4 M", lambda: [normal(LARGE)], bytes=4 * LARGE, tolerance=1e-2)
def total(x: Any) -> Any:
    return jnp.sum(x)


@total.torch()
def _(x: Any) -> Any:
    return torch.sum(x)


@total.numpy()
def _(x: Any) -> Any:
    return np.sum(x)


@workload("sum over axis 0, 2048²", _matrix, bytes=4 * LARGE)
def sum_columns(x: Any) -> Any:
    return jnp.sum(x, axis=0)


@sum_columns.torch()
def _(x: Any) -> Any:
    return torch.sum(x, 0)


@sum_columns.numpy()
def _(x: Any) -> Any:
    return np.sum(x, axis=0)


@workload("softmax, 2048²", _matrix, bytes=2 * 4 * LARGE)
def softmax(x: Any) -> Any:
    return jax.nn.softmax(x, axis=-1)


@softmax.torch()
def _(x: Any) -> Any:
    return torch.softmax(x, -1)


@softmax.numpy()
def _(x: Any) -> Any:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


@workload(
    "layer norm, 2048²",
    lambda: [normal(SIDE, SIDE), normal(SIDE), normal(SIDE, seed=1)],
    bytes=2 * 4 * LARGE,
)
def layer_norm(x: Any, scale: Any, shift: Any) -> Any:
    centred = x - jnp.mean(x, axis=-1, keepdims=True)
    variance = jnp.mean(centred**2, axis=-1, keepdims=True)
    return centred * lax.rsqrt(variance + 1e-5) * scale + shift


@layer_norm.torch()
def _(x: Any, scale: Any, shift: Any) -> Any:
    return torch.nn.functional.layer_norm(x, (SIDE,), scale, shift)


@layer_norm.numpy()
def _(x: Any, scale: Any, shift: Any) -> Any:
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = (centred * centred).mean(axis=-1, keepdims=True)
    return centred / np.sqrt(variance + np.float32(1e-5)) * scale + shift


@workload("variance over axis 0, 2048²", _matrix, bytes=4 * LARGE)
def variance_columns(x: Any) -> Any:
    return jnp.var(x, axis=0)


@variance_columns.torch()
def _(x: Any) -> Any:
    return torch.var(x, 0, correction=0)


@variance_columns.numpy()
def _(x: Any) -> Any:
    return np.var(x, axis=0)


@workload("logsumexp, 2048²", _matrix, bytes=4 * LARGE)
def logsumexp(x: Any) -> Any:
    return jax.nn.logsumexp(x, axis=-1)


@logsumexp.torch()
def _(x: Any) -> Any:
    return torch.logsumexp(x, -1)


@workload("argmax over rows, 2048²", _matrix, bytes=4 * LARGE)
def argmax(x: Any) -> Any:
    return jnp.argmax(x, axis=-1)


@argmax.torch()
def _(x: Any) -> Any:
    return torch.argmax(x, -1)


@argmax.numpy()
def _(x: Any) -> Any:
    return np.argmax(x, axis=-1)


@workload("transpose, 2048²", _matrix, bytes=2 * 4 * LARGE)
def transpose(x: Any) -> Any:
    return x.T + 0.0


@transpose.torch()
def _(x: Any) -> Any:
    return x.T.contiguous()


@transpose.numpy()
def _(x: Any) -> Any:
    return np.ascontiguousarray(x.T)


@workload("cumsum, 4 M", lambda: [normal(LARGE)], bytes=2 * 4 * LARGE, tolerance=1e-2)
def cumsum(x: Any) -> Any:
    return jnp.cumsum(x)


@cumsum.torch()
def _(x: Any) -> Any:
    return torch.cumsum(x, 0)


@cumsum.numpy()
def _(x: Any) -> Any:
    return np.cumsum(x)


@workload("cumsum over rows, 2048²", _matrix, bytes=2 * 4 * LARGE)
def cumsum_rows(x: Any) -> Any:
    return jnp.cumsum(x, axis=1)


@cumsum_rows.torch()
def _(x: Any) -> Any:
    return torch.cumsum(x, 1)


@cumsum_rows.numpy()
def _(x: Any) -> Any:
    return np.cumsum(x, axis=1)


@workload(
    "linear recurrence by associative_scan, 4096 × 256",
    lambda: [normal(4096, 256, scale=0.3), normal(4096, 256, seed=1)],
    bytes=3 * 4 * 4096 * 256,
)
def linear_recurrence(a: Any, b: Any) -> Any:
    def combine(left: Any, right: Any) -> Any:
        return left[0] * right[0], left[1] * right[0] + right[1]

    return lax.associative_scan(combine, (a, b))[1]


@linear_recurrence.numpy()
def _(a: Any, b: Any) -> Any:
    out = np.empty_like(b)
    state = np.zeros(b.shape[1], np.float32)
    for i in range(len(b)):
        state = a[i] * state + b[i]
        out[i] = state
    return out
