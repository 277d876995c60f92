"""Sorting, gathering and scattering."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.data import integers, normal
from benchmarks.frameworks import jax, jnp, lax, torch
from benchmarks.registry import workload

MILLION = 1 << 20


@workload("sort, 1 M", lambda: [normal(MILLION)])
def sort(x: Any) -> Any:
    return jnp.sort(x)


@sort.torch()
def _(x: Any) -> Any:
    return torch.sort(x).values


@sort.numpy()
def _(x: Any) -> Any:
    return np.sort(x)


@workload("argsort, 1 M", lambda: [normal(MILLION)])
def argsort(x: Any) -> Any:
    return jnp.argsort(x)


@argsort.torch()
def _(x: Any) -> Any:
    return torch.argsort(x, stable=True)


@argsort.numpy()
def _(x: Any) -> Any:
    return np.argsort(x, stable=True)


@workload("sort of rows, 4096 × 256", lambda: [normal(4096, 256)])
def sort_rows(x: Any) -> Any:
    return jnp.sort(x, axis=-1)


@sort_rows.torch()
def _(x: Any) -> Any:
    return torch.sort(x, -1).values


@sort_rows.numpy()
def _(x: Any) -> Any:
    return np.sort(x, axis=-1)


@workload("top 32 of 64 × 16,384", lambda: [normal(64, 16384)])
def top_k(x: Any) -> Any:
    return lax.top_k(x, 32)


@top_k.torch()
def _(x: Any) -> Any:
    return tuple(torch.topk(x, 32))


def _positions() -> list[Any]:
    return [normal(4 * MILLION), integers(MILLION, high=4 * MILLION)]


@workload("gather, 1 M of 4 M", _positions)
def gather(x: Any, i: Any) -> Any:
    return x[i]


@gather.torch(lambda x, i: [x, i.long()])
def _(x: Any, i: Any) -> Any:
    return x[i]


@gather.numpy()
def _(x: Any, i: Any) -> Any:
    return x[i]


@workload(
    "embedding, 4,096 rows of 32,768 × 256",
    lambda: [normal(32768, 256), integers(4096, high=32768)],
    bytes=2 * 4 * 4096 * 256,
)
def embedding(table: Any, i: Any) -> Any:
    return table[i]


@embedding.torch(lambda x, i: [x, i.long()])
def _(table: Any, i: Any) -> Any:
    return table[i]


@embedding.numpy()
def _(table: Any, i: Any) -> Any:
    return table[i]


def _additions() -> list[Any]:
    return [normal(4 * MILLION), integers(MILLION, high=4 * MILLION), normal(MILLION, seed=1)]


@workload("scatter-add, 1 M into 4 M", _additions)
def scatter_add(x: Any, i: Any, y: Any) -> Any:
    return x.at[i].add(y)


@scatter_add.torch(lambda x, i, y: [x, i.long(), y])
def _(x: Any, i: Any, y: Any) -> Any:
    return x.index_add(0, i, y)


@scatter_add.numpy()
def _(x: Any, i: Any, y: Any) -> Any:
    out = x.copy()
    np.add.at(out, i, y)
    return out


def _segments() -> list[Any]:
    return [normal(MILLION), np.sort(integers(MILLION, high=10_000))]


@workload("segment_sum of 1 M into 10,000", _segments, tolerance=1e-3)
def segment_sum(x: Any, ids: Any) -> Any:
    return jax.ops.segment_sum(x, ids, num_segments=10_000)


@segment_sum.torch(lambda x, i: [x, i.long()])
def _(x: Any, ids: Any) -> Any:
    return torch.zeros(10_000).index_add(0, ids, x)


@segment_sum.numpy()
def _(x: Any, ids: Any) -> Any:
    return np.bincount(ids, x, 10_000).astype(np.float32)


@workload("bincount of 1 M into 256", lambda: [integers(MILLION, high=256)])
def histogram(x: Any) -> Any:
    return jnp.bincount(x, length=256)


@histogram.torch(lambda x: [x.long()])
def _(x: Any) -> Any:
    return torch.bincount(x, minlength=256)


@histogram.numpy()
def _(x: Any) -> Any:
    return np.bincount(x, minlength=256)


@workload("searchsorted, 1 M in 4,096", lambda: [np.sort(normal(4096)), normal(MILLION, seed=1)])
def searchsorted(table: Any, x: Any) -> Any:
    return jnp.searchsorted(table, x)


@searchsorted.torch()
def _(table: Any, x: Any) -> Any:
    return torch.searchsorted(table, x)


@searchsorted.numpy()
def _(table: Any, x: Any) -> Any:
    return np.searchsorted(table, x)


@workload(
    "rows set by .at[].set, 4,096 of 32,768 × 128",
    lambda: [normal(32768, 128), integers(4096, high=32768), np.float32(1.0)],
    bytes=2 * 4 * 32768 * 128,
)
def set_rows(x: Any, i: Any, value: Any) -> Any:
    return x.at[i].set(value)


@set_rows.torch(lambda x, i, v: [x, i.long(), v])
def _(x: Any, i: Any, value: Any) -> Any:
    return x.index_fill(0, i, value)


@set_rows.numpy()
def _(x: Any, i: Any, value: Any) -> Any:
    out = x.copy()
    out[i] = value
    return out
