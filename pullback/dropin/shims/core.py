"""`jax.core`: what it still has in JAX 0.10.2; `pullback.core` is a package of another shape."""

from __future__ import annotations

from typing import Any

from pullback.core.avals import AbstractValue, ShapedArray
from pullback.core.jaxpr import Atom, eval_jaxpr
from pullback.core.trace import Trace, Tracer
from pullback.core.trace import eager as ensure_compile_time_eval
from pullback.core.trace import eager as eval_context

__all__ = [
    "AbstractValue",
    "Atom",
    "ParamDict",
    "ShapedArray",
    "Trace",
    "Tracer",
    "Value",
    "ensure_compile_time_eval",
    "eval_context",
    "eval_jaxpr",
    "max_dim",
    "min_dim",
]

ParamDict = dict[str, Any]
Value = Any


def max_dim(d1: int, d2: int) -> int:
    """The larger of two sizes of axes.

    >>> max_dim(3, 4)
    4
    """
    return max(d1, d2)


def min_dim(d1: int, d2: int) -> int:
    """The smaller of two sizes of axes.

    >>> min_dim(3, 4)
    3
    """
    return min(d1, d2)
