"""Images and clusters."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.data import normal, uniform
from benchmarks.frameworks import jax, jnp, lax, torch
from benchmarks.registry import workload


def _photograph() -> list[Any]:
    return [uniform(512, 512, 3)]


@workload("bilinear resize, 512² to 224²", _photograph)
def resize(image: Any) -> Any:
    return jax.image.resize(image, (224, 224, 3), "bilinear")


@resize.torch(lambda x: [x.permute(2, 0, 1)[None].contiguous()])
def _(image: Any) -> Any:
    out = torch.nn.functional.interpolate(image, (224, 224), mode="bilinear", antialias=True)
    return out[0].permute(1, 2, 0)


def _rotation() -> list[Any]:
    rows, columns = np.mgrid[:512, :512].astype(np.float32) - 255.5
    c, s = np.float32(np.cos(0.3)), np.float32(np.sin(0.3))
    return [uniform(512, 512), c * rows - s * columns + 255.5, s * rows + c * columns + 255.5]


@workload("rotation by map_coordinates, 512²", _rotation)
def rotate(image: Any, rows: Any, columns: Any) -> Any:
    return jax.scipy.ndimage.map_coordinates(image, [rows, columns], order=1, mode="nearest")


def _sampling_grid(image: Any, rows: Any, columns: Any) -> list[Any]:
    return [image[None, None], torch.stack([columns, rows], -1)[None] * (2.0 / 511.0) - 1.0]


@rotate.torch(_sampling_grid)
def _(image: Any, grid: Any) -> Any:
    sample = torch.nn.functional.grid_sample
    return sample(image, grid, padding_mode="border", align_corners=True)[0, 0]


@workload(
    "Gaussian blur, separable 9 taps, 1024²",
    lambda: [uniform(1024, 1024)],
    bytes=2 * 4 * 1024 * 1024,
)
def blur(image: Any) -> Any:
    taps = jnp.exp(-0.5 * (jnp.arange(-4, 5) / 1.5) ** 2)
    taps = taps / taps.sum()
    rows = jnp.pad(image, ((4, 4), (0, 0)), mode="edge")
    image = sum(taps[k] * rows[k : k + 1024] for k in range(9))
    columns = jnp.pad(image, ((0, 0), (4, 4)), mode="edge")
    return sum(taps[k] * columns[:, k : k + 1024] for k in range(9))


@blur.torch()
def _(image: Any) -> Any:
    functional = torch.nn.functional
    taps = torch.exp(-0.5 * (torch.arange(-4, 5) / 1.5) ** 2)
    taps = taps / taps.sum()
    padded = functional.pad(image[None, None], (4, 4, 4, 4), mode="replicate")
    down = functional.conv2d(padded, taps.view(1, 1, 9, 1))
    return functional.conv2d(down, taps.view(1, 1, 1, 9))[0, 0]


@blur.numpy()
def _(image: Any) -> Any:
    taps = np.exp(-0.5 * (np.arange(-4, 5) / 1.5) ** 2).astype(np.float32)
    taps /= taps.sum()
    rows = np.pad(image, ((4, 4), (0, 0)), mode="edge")
    image = sum(taps[k] * rows[k : k + 1024] for k in range(9))
    columns = np.pad(image, ((0, 0), (4, 4)), mode="edge")
    return sum(taps[k] * columns[:, k : k + 1024] for k in range(9))


def _clusters() -> list[Any]:
    x = normal(20_000, 16) + 4.0 * normal(32, 16, seed=1)[np.arange(20_000) % 32]
    return [x, x[:32].copy()]


_KMEANS = 2.0 * 10 * 20_000 * 32 * 16


@workload("k-means, 20,000 × 16, 32 centres, 10 steps", _clusters, flops=_KMEANS, tolerance=1e-3)
def kmeans(x: Any, centres: Any) -> Any:
    def step(i: Any, centres: Any) -> Any:
        distances = jnp.sum(centres**2, axis=-1) - 2.0 * x @ centres.T
        nearest = jnp.argmin(distances, axis=-1)
        sums = jax.ops.segment_sum(x, nearest, num_segments=32)
        counts = jax.ops.segment_sum(jnp.ones(len(x)), nearest, num_segments=32)
        return sums / jnp.maximum(counts, 1.0)[:, None]

    return lax.fori_loop(0, 10, step, centres)


@kmeans.torch()
def _(x: Any, centres: Any) -> Any:
    ones = torch.ones(len(x))
    for _ in range(10):
        nearest = ((centres**2).sum(-1) - 2.0 * x @ centres.T).argmin(-1)
        sums = torch.zeros_like(centres).index_add(0, nearest, x)
        counts = torch.zeros(32).index_add(0, nearest, ones)
        centres = sums / counts.clamp(min=1.0)[:, None]
    return centres


@kmeans.numpy()
def _(x: Any, centres: Any) -> Any:
    for _ in range(10):
        nearest = ((centres**2).sum(-1) - np.float32(2) * x @ centres.T).argmin(-1)
        members = np.eye(32, dtype=np.float32)[nearest]
        centres = members.T @ x / np.maximum(members.sum(0), np.float32(1))[:, None]
    return centres


@workload("pairwise distances, 2,048 × 2,048 × 3", lambda: [normal(2048, 3)], bytes=4 * 2048 * 2048)
def distances(x: Any) -> Any:
    return jnp.sqrt(jnp.sum((x[:, None] - x[None]) ** 2, axis=-1))


@distances.torch()
def _(x: Any) -> Any:
    return torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist")


@distances.numpy()
def _(x: Any) -> Any:
    return np.sqrt(((x[:, None] - x[None]) ** 2).sum(-1))


@workload("median filter 3 × 3, 512²", lambda: [uniform(512, 512)])
def median_filter(image: Any) -> Any:
    shifts = [jnp.roll(image, (r, c), (0, 1)) for r in (-1, 0, 1) for c in (-1, 0, 1)]
    return jnp.median(jnp.stack(shifts), axis=0)


@median_filter.torch()
def _(image: Any) -> Any:
    shifts = [torch.roll(image, (r, c), (0, 1)) for r in (-1, 0, 1) for c in (-1, 0, 1)]
    return torch.stack(shifts).median(0).values


@median_filter.numpy()
def _(image: Any) -> Any:
    shifts = [np.roll(image, (r, c), (0, 1)) for r in (-1, 0, 1) for c in (-1, 0, 1)]
    return np.median(np.stack(shifts), axis=0)
