"""The namespace `jax.custom_derivatives`."""

from __future__ import annotations

from pullback.control.custom_jvp import custom_jvp
from pullback.control.custom_vjp import custom_vjp

__all__ = ["custom_jvp", "custom_vjp"]
