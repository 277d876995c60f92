"""The namespace `jax.custom_derivatives`."""

from __future__ import annotations

from pullback.control.custom import custom_jvp, custom_vjp

__all__ = ["custom_jvp", "custom_vjp"]
