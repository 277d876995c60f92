"""What our compiler does to a simplified program before it is lowered: larger operations."""

from __future__ import annotations

from pullback.core.jaxpr import ClosedJaxpr
from pullback.passes.attention import fuse_attention
from pullback.passes.loop_products import gather_products
from pullback.passes.stored_operands import read_as_stored

__all__ = ["regroup"]


def regroup(closed: ClosedJaxpr) -> ClosedJaxpr:
    """The same program with attention as one operation, and products of steps as one product.

    Transposes for one product are left out.

    >>> from pullback.core.jaxpr import Jaxpr
    >>> regroup(ClosedJaxpr(Jaxpr([], [], [], []), [])).jaxpr.eqns
    []
    """
    return read_as_stored(gather_products(fuse_attention(closed)))
