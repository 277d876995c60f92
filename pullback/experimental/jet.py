"""The namespace `jax.experimental.jet`: Taylor mode."""

from __future__ import annotations

from math import factorial as fact

from pullback.control.jet import jet, jet2

__all__ = ["fact", "jet", "jet2"]
