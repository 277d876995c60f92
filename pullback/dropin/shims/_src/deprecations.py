"""`jax._src.deprecations`: nothing here is deprecated, so nothing is accelerated."""

from __future__ import annotations

__all__ = ["accelerate", "is_accelerated", "register"]


def register(deprecation_id: str) -> None:
    """Take note of a deprecation."""


def accelerate(deprecation_id: str) -> None:
    """Make a deprecation an error; there is none here."""


def is_accelerated(deprecation_id: str) -> bool:
    """Whether a deprecation is an error already."""
    return False
