"""`jax._src.internal_test_util.deprecation_module`: a module with a name on its way out."""

from __future__ import annotations

from pullback.dropin.shims._src.deprecations import deprecation_getattr

__all__ = ["x"]

x = 42
_deprecated_y = 101
__getattr__ = deprecation_getattr(
    "jax._src.internal_test_util.deprecation_module",
    {
        "y": ("Please use x", _deprecated_y),
        "z": ("Please do not use z", None),
    },
)
