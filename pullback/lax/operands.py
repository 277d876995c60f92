"""`lax`: checks of the operands of element-wise functions, which are strict about dtypes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pullback.core import dtypes
from pullback.core.avals import aval_of
from pullback.core.source import at_user_line
from pullback.errors import shapes_text
from pullback.ops import structural

__all__ = ["broadcast_operands", "operands"]


_KINDS = {bool: "b", int: "iufc", float: "fc", complex: "c"}


_PYTHON = {"b": bool, "i": int, "u": int, "f": float, "c": complex}


def _adopt(x: Any, like: Any) -> Any:
    """A Python scalar in the dtype of the other operands, if it fits; weak beside a weak one."""
    dtype = like.dtype
    if type(x) not in _KINDS or dtypes.kind_of(dtype) not in _KINDS[type(x)]:
        return x
    if like.weak_type:
        return _PYTHON[dtypes.kind_of(dtype)](x)
    return x if aval_of(x).dtype == dtype else dtypes.physical(dtype).type(x)


def broadcast_operands(name: str, xs: Sequence[Any]) -> Sequence[Any]:
    """Operands of one shape; scalars may stay scalars."""
    shapes = [aval_of(x).shape for x in xs]
    distinct = {s for s in shapes if s}
    if len(distinct) <= 1:
        return xs
    texts = shapes_text([aval_of(x).str_short() for x in xs])
    if len({len(s) for s in distinct}) > 1:
        raise TypeError(at_user_line(f"{name}: arrays must have one number of axes, got {texts}"))
    try:
        shape = np.broadcast_shapes(*distinct)
    except ValueError:
        text = (
            f"{name} got incompatible shapes for broadcasting: {', '.join(map(str, shapes))}. The "
            f"operands are {texts}"
        )
        raise TypeError(at_user_line(text)) from None
    return [
        structural.broadcast_in_dim(
            x, shape=shape, broadcast_dimensions=tuple(range(len(shape))), sharding=None
        )
        if s and s != shape
        else x
        for x, s in zip(xs, shapes, strict=True)
    ]


def operands(name: str, *xs: Any) -> Sequence[Any]:
    """The operands of `lax.<name>`, checked: of one dtype and of compatible shapes."""
    avals = [aval_of(x) for x in xs]
    dtype, shape = avals[0].dtype, avals[0].shape
    if all(a.dtype == dtype and a.shape == shape for a in avals):
        return xs
    typed = [a for x, a in zip(xs, avals, strict=True) if type(x) not in _KINDS]
    if typed:
        xs = tuple(_adopt(x, typed[0]) for x in xs)
    found = [aval_of(x).dtype for x in xs]
    if any(d != found[0] for d in found):
        text = shapes_text([aval_of(x).str_short() for x in xs])
        raise TypeError(
            at_user_line(
                f"lax.{name} requires arguments to have the same dtypes, got "
                f"{', '.join(d.name for d in found)} ({text}); jax.numpy promotes them"
            )
        )
    return broadcast_operands(name, xs)
