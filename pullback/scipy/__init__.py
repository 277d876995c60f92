"""`jax.scipy`: SciPy's functions on arrays that can be traced, differentiated and compiled.

Namespaces are imported when somebody first asks for them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pullback.scipy import (
        cluster,
        fft,
        integrate,
        interpolate,
        linalg,
        ndimage,
        optimize,
        signal,
        sparse,
        spatial,
        special,
        stats,
    )

__all__ = [
    "cluster",
    "fft",
    "integrate",
    "interpolate",
    "linalg",
    "ndimage",
    "optimize",
    "signal",
    "sparse",
    "spatial",
    "special",
    "stats",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return importlib.import_module(f"pullback.scipy.{name}")
    raise AttributeError(f"module 'pullback.scipy' has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)
