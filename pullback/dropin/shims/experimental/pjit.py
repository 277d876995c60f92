"""`jax.experimental.pjit`: the old name of `jax.jit` with shardings."""

from __future__ import annotations

from pullback.runtime.jit import jit

__all__ = ["pjit"]

pjit = jit
