"""Inputs of random programs, given by type and seed, so that a printed program is complete."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.fuzz.lattice import kind, numpy_dtype, real

# Neither subnormal, which XLA takes for zero, nor so large that sums overflow in one order only.
_EDGES = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e-30, 1e30, 0.5, -2.5]


def array(shape: tuple[int, ...], dtype: str, seed: int = 0, edges: bool = False) -> Any:
    """An array of moderate values; with `edges` some are NaN, infinite, zero, tiny or huge.

    Seed 0 gives evenly spaced values, which are pleasant to read.
    """
    rng = np.random.default_rng(seed)
    if kind(dtype) == "c":
        parts = [array(shape, real(dtype), s, edges) for s in (seed, seed + 1000)]
        x = np.empty(shape, dtype)
        x.real, x.imag = parts
        return x
    plain = np.linspace(-1.1, 2.0, max(int(np.prod(shape, dtype=int)), 1))[
        : int(np.prod(shape, dtype=int))
    ].reshape(shape)
    x = rng.normal(size=shape) * 1.5 if seed else plain
    if kind(dtype) == "b":
        return np.asarray(x > 0.2)
    if kind(dtype) in "iu":
        x = np.round(x * 3)
        return np.asarray(np.abs(x) if kind(dtype) == "u" else x).astype(dtype)
    if edges:
        chosen = rng.choice(_EDGES, size=shape)
        x = np.where(rng.random(shape) < 0.25, chosen, x)
    with np.errstate(all="ignore"):
        return np.asarray(x).astype(numpy_dtype(dtype))
