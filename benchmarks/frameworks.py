"""The frameworks as names that workloads write: each is imported when it is first used.

In the process that measures Pullback, `jax` is Pullback through its drop-in.  No process imports a
framework that it does not measure, since threads and memory of one would disturb the other.
"""

from __future__ import annotations

import importlib
from typing import Any, final

__all__ = ["jax", "jnp", "lax", "torch"]


@final
class _Lazy:
    """A module that is imported when the first attribute is asked for."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        # Kept in the instance: eager workloads must not pay for this look-up at every call.
        return self.__dict__.setdefault(name, getattr(importlib.import_module(self._name), name))


jax: Any = _Lazy("jax")
jnp: Any = _Lazy("jax.numpy")
lax: Any = _Lazy("jax.lax")
torch: Any = _Lazy("torch")
