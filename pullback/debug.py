"""The namespace `jax.debug`: looking into a program while it runs."""

from __future__ import annotations

from pullback.control.reporting import breakpoint, callback, print
from pullback.runtime.placement import inspect_array_sharding

__all__ = ["breakpoint", "callback", "inspect_array_sharding", "print"]
