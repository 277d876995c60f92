"""`jax.interpreters.xla`: how values of a library's own types become operands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from pullback.core.avals import registered
from pullback.core.devices import Client

__all__ = ["Backend", "apply_primitive", "canonicalize_dtype_handlers", "pytype_aval_mappings"]

Backend = Client
pytype_aval_mappings: Final = registered
canonicalize_dtype_handlers: Final[dict[Any, Callable[[Any], Any]]] = {np.ndarray: np.asarray}
"""Accepted; every operand is read as the array that NumPy makes of it."""


def apply_primitive(prim: Any, *args: Any, **params: Any) -> Any:
    """Apply a primitive to values."""
    return prim.bind(*args, **params)
