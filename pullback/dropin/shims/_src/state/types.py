"""`jax._src.state.types`: the type of references, and what is done to them."""

from __future__ import annotations

from typing import Any

from pullback.core.avals import ShapedArray
from pullback.core.effects import AccumEffect, ReadEffect, RefEffect, WriteEffect
from pullback.core.refs import AbstractRef
from pullback.ref.operations import TransformedRef

__all__ = [
    "AbstractRef",
    "AccumEffect",
    "ReadEffect",
    "RefEffect",
    "TransformedRef",
    "WriteEffect",
    "shaped_array_ref",
]


def shaped_array_ref(
    shape: tuple[int, ...], dtype: Any, weak_type: bool = False, kind: Any = None
) -> AbstractRef:
    """The type of references to arrays of a shape and dtype.

    >>> shaped_array_ref((2,), "float32")
    Ref{float32[2]}
    """
    return AbstractRef(ShapedArray(shape, dtype, weak_type))
