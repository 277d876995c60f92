"""The namespace `jax.debug`: looking into a program while it runs."""

from __future__ import annotations

from pullback.control.reporting import breakpoint, callback, print

__all__ = ["breakpoint", "callback", "print"]
