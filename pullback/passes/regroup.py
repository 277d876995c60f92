"""What our compiler does to a simplified program before it is lowered: larger operations."""

from __future__ import annotations

from pullback.core.jaxpr import ClosedJaxpr
from pullback.passes.attention import fuse_attention
from pullback.passes.loop_products import gather_products

__all__ = ["regroup"]


def regroup(closed: ClosedJaxpr) -> ClosedJaxpr:
    """The same program with attention as one operation, and products of steps as one product.

    >>> from pullback.core.jaxpr import Jaxpr
    >>> regroup(ClosedJaxpr(Jaxpr([], [], [], []), [])).jaxpr.eqns
    []
    """
    return gather_products(fuse_attention(closed))
