"""The logarithm of the gamma function of complex numbers."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from pullback import lax
from pullback import numpy as jnp

__all__ = ["loggamma"]

_STEPS: Final = 8
"""How far small numbers are moved to the right before the series is used."""

_SERIES: Final = (
    *(1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156, -3617 / 122400),
)
"""Stirling's series: B_2k / (2 k (2 k - 1)) (DLMF 5.11.1)."""


def _stirling(z: Any) -> Any:
    """For a real part of 1/2 or more: the recurrence up, then Stirling's series."""
    small = z.real < _STEPS + 0.5
    near = jnp.where(small, z, 1)
    product = lax.log(near)
    for k in range(1, _STEPS):
        product = product + lax.log(near + k)
    far = jnp.where(small, z + _STEPS, z)
    inverse = 1 / far
    square, series = inverse * inverse, jnp.zeros_like(z)
    for coefficient in reversed(_SERIES):
        series = series * square + coefficient
    value = (far - 0.5) * lax.log(far) - far + 0.5 * math.log(2 * math.pi) + series * inverse
    return value - jnp.where(small, product, 0)


def loggamma(z: Any) -> Any:
    """log gamma(z) of an array of complex numbers, cut along the negative axis.

    Left of 1/2 by reflection (DLMF 5.5.3), with the logarithm of the sine taken as a function
    that is analytic in the upper half plane; the lower one is its mirror image.
    """
    left = z.real < 0.5
    below = jnp.signbit(z.imag)
    upper = jnp.where(below, jnp.conj(z), z)
    safe = jnp.where(left, upper, 0.25)
    # sin(pi z) = i/2 exp(-i pi z) (1 - exp(2 i pi z))
    turn = lax.complex(-2 * np.pi * safe.imag, 2 * np.pi * (safe.real - jnp.floor(safe.real)))
    rest = lax.log(-jnp.expm1(turn)) + _stirling(1 - safe)
    angle = lax.complex(-np.pi * safe.imag, np.pi * (safe.real - 0.5))
    value = math.log(2 * math.pi) + angle - rest
    return jnp.where(
        left, jnp.where(below, jnp.conj(value), value), _stirling(jnp.where(left, 1, z))
    )
