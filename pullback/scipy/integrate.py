"""`jax.scipy.integrate`: integrals of samples."""

from __future__ import annotations

from typing import Any

from pullback import numpy as jnp

__all__ = ["trapezoid"]


def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Any:
    """The integral of samples `y` along `axis` by the trapezoidal rule.

    The samples are at `x`, or `dx` apart.

    >>> import pullback.numpy as jnp, pullback.scipy.integrate
    >>> pullback.scipy.integrate.trapezoid(jnp.array([0.0, 1.0, 4.0]), dx=0.5)
    Array(1.5, dtype=float32)
    """
    return jnp.trapezoid(y, x, dx, axis)
