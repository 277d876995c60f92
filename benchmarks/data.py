"""Inputs of workloads: NumPy arrays from seeds, the same for every peer."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["Array", "integers", "normal", "spd", "uniform"]

Array = np.ndarray[Any, Any]


def normal(*shape: int, seed: int = 0, scale: float = 1.0, dtype: Any = np.float32) -> Array:
    """Normal deviates."""
    return (np.random.default_rng(seed).standard_normal(shape) * scale).astype(dtype)


def uniform(
    *shape: int, low: float = 0.0, high: float = 1.0, seed: int = 0, dtype: Any = np.float32
) -> Array:
    """Uniform deviates between two bounds."""
    return np.random.default_rng(seed).uniform(low, high, shape).astype(dtype)


def integers(*shape: int, high: int, seed: int = 0, dtype: Any = np.int32) -> Array:
    """Integers from 0 to below `high`."""
    return np.random.default_rng(seed).integers(0, high, shape).astype(dtype)


def spd(*shape: int, seed: int = 0, dtype: Any = np.float32) -> Array:
    """Symmetric positive definite matrices, well conditioned."""
    a = normal(*shape, seed=seed, dtype=np.float64)
    n = shape[-1]
    return (a @ np.swapaxes(a, -1, -2) / n + np.eye(n)).astype(dtype)
