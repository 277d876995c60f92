"""The namespace `jax.ref`: mutable arrays.

>>> import pullback as pb, pullback.numpy as jnp
>>> r = pb.new_ref(jnp.arange(4.0))
>>> r[1] += 10.0
>>> r
Ref([ 0., 11.,  2.,  3.], dtype=float32)

A `Ref` may be passed to transformed functions, closed over by them, and made in them; it may not be
returned from them, nor come in twice.  Reads and writes keep their order.
"""

from __future__ import annotations

from pullback.core.refs import AbstractRef, Ref
from pullback.ref.operations import (
    addupdate,
    empty_ref,
    free_ref,
    freeze,
    get,
    new_ref,
    set,
    swap,
)

__all__ = [
    "AbstractRef",
    "Ref",
    "addupdate",
    "empty_ref",
    "free_ref",
    "freeze",
    "get",
    "new_ref",
    "set",
    "swap",
]
