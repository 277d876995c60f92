"""The namespace `jax.stages`: compilation in steps."""

from __future__ import annotations

from pullback.runtime.stages import (
    ArgInfo,
    Compiled,
    CompilerOptions,
    Lowered,
    Traced,
    Wrapped,
)

__all__ = ["ArgInfo", "Compiled", "CompilerOptions", "Lowered", "Traced", "Wrapped"]
