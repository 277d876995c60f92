"""`jax.scipy`: SciPy's functions on arrays that can be traced, differentiated and compiled."""

from __future__ import annotations

import importlib
from typing import Any, Final

from pullback.scipy import linalg as linalg
from pullback.scipy import special as special
from pullback.scipy import stats as stats

_LAZY: Final = frozenset(
    (
        "cluster",
        "fft",
        "integrate",
        "interpolate",
        "ndimage",
        "optimize",
        "signal",
        "sparse",
        "spatial",
    )
)
"""Namespaces that are imported when somebody first asks for them."""


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return importlib.import_module(f"pullback.scipy.{name}")
    raise AttributeError(f"module 'pullback.scipy' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*_LAZY, "linalg", "special", "stats"})
