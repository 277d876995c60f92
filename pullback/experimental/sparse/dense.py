"""The primitive by which a function says that a sparse array becomes dense."""

from __future__ import annotations

from typing import Any

from pullback import numpy as jnp
from pullback.core.primitive import Primitive
from pullback.core.trace import Tracer
from pullback.experimental.sparse.base import JAXSparse
from pullback.ops.kinds import ANY, LINEAR, unary
from pullback.ops.samples import inputs

__all__ = ["todense", "todense_p"]

todense_p: Primitive = unary(
    "todense",
    lambda x: x,
    ANY,
    jvp=LINEAR,
    transpose=lambda ct, x: ct,
    lower=lambda s, x: x,
    hlo=lambda b, x: x,
    samples=inputs(ANY, (-2, 2)),
)


def todense(arr: Any) -> Any:
    """The dense array of a sparse one; a dense one as it is.

    >>> from pullback.experimental import sparse
    >>> todense(sparse.eye(2))
    Array([[1., 0.],
           [0., 1.]], dtype=float32)
    """
    if isinstance(arr, JAXSparse):
        return arr.todense()
    return todense_p.bind(arr) if isinstance(arr, Tracer) else jnp.asarray(arr)
