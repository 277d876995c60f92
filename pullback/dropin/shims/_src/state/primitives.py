"""`jax._src.state.primitives`: reading and writing references."""

from __future__ import annotations

from typing import Any

from pullback.core.primitive import registry
from pullback.ref import addupdate as ref_addupdate
from pullback.ref import get as ref_get
from pullback.ref import set as ref_set
from pullback.ref import swap as ref_swap

__all__ = ["ref_addupdate", "ref_get", "ref_set", "ref_swap"]


def __getattr__(name: str) -> Any:
    if name in ("get_p", "swap_p", "addupdate_p"):
        return registry[name.removesuffix("_p")]
    raise AttributeError(f"pullback lacks jax._src.state.primitives.{name}", name=name)
