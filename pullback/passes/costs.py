"""What a jaxpr costs: operations and bytes, counted without compiling it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

from pullback.core import dtypes
from pullback.core.jaxpr import ClosedJaxpr, Jaxpr, JaxprEqn, subjaxprs

__all__ = ["convolution_operations", "cost_analysis", "product_operations"]

_TRANSCENDENTAL: Final = """
acos acosh asin asinh atan atan2 atanh cbrt cos cosh digamma erf erf_inv erfc exp exp2 expm1 lgamma
log log1p logistic pow rsqrt sin sinh sqrt tan tanh
"""
TRANSCENDENTAL: Final = frozenset(_TRANSCENDENTAL.split())
_FREE: Final = """
bitcast_convert_type broadcast_in_dim concatenate convert_element_type copy dynamic_slice
dynamic_update_slice gather iota pad reshape rev select_n slice split squeeze transpose
"""
FREE: Final = frozenset(_FREE.split())
"""Operations that move elements without computing."""

Counts = dict[str, float]


def cost_analysis(closed: ClosedJaxpr) -> Counts:
    """Counts of floating-point and other operations, and of the bytes that operations touch.

    Loops of known length count all their turns, `while` one, and a branch as the costliest of its
    kind.

    >>> cost_analysis(ClosedJaxpr(Jaxpr([], [], [], []), []))["flops"]
    0.0
    """
    counts = _jaxpr(closed.jaxpr)
    bytes_in = sum(nbytes(v.aval) for v in [*closed.jaxpr.invars, *closed.jaxpr.constvars])
    bytes_out = sum(nbytes(v.aval) for v in closed.jaxpr.outvars)
    return counts | {"bytes accessed0{}": float(bytes_in), "bytes accessedout{}": float(bytes_out)}


def nbytes(aval: Any) -> int:
    """Size of an array in bytes."""
    return int(aval.size) * int(dtypes.physical(aval.dtype).itemsize)


def _zero() -> Counts:
    return {"flops": 0.0, "transcendentals": 0.0, "bytes accessed": 0.0}


def _jaxpr(jaxpr: Jaxpr) -> Counts:
    total = _zero()
    for eqn in jaxpr.eqns:
        for name, count in _equation(eqn).items():
            total[name] += count
    return total


def _equation(eqn: JaxprEqn) -> Counts:
    name = eqn.primitive.name
    inner = [_jaxpr(j) for j in subjaxprs(eqn)]
    if name == "cond":
        return {k: max(c[k] for c in inner) for k in _zero()}
    if inner and not name.startswith(("reduce", "scatter", "cum", "sort")):
        turns = eqn.params["length"] if name == "scan" else 1
        return {k: turns * sum(c[k] for c in inner) for k in _zero()}
    touched = sum(nbytes(v.aval) for v in [*eqn.invars, *eqn.outvars])
    made = max((v.aval.size for v in eqn.outvars), default=0)
    count = _OPERATIONS.get(name, _elementwise)(eqn)
    return {
        "flops": 0.0 if name in FREE else float(count),
        "transcendentals": float(made) if name in TRANSCENDENTAL else 0.0,
        "bytes accessed": float(touched),
    }


def _elementwise(eqn: JaxprEqn) -> int:
    """One operation an element of the larger of operands and results."""
    return int(max((v.aval.size for v in [*eqn.invars, *eqn.outvars]), default=0))


def product_operations(eqn: JaxprEqn) -> int:
    """Multiplications and additions of a `dot_general`."""
    (contracted, _), _ = eqn.params["dimension_numbers"]
    depth = math.prod(eqn.invars[0].aval.shape[d] for d in contracted)
    return int(2 * eqn.outvars[0].aval.size * depth)


def convolution_operations(eqn: JaxprEqn) -> int:
    """Multiplications and additions of a convolution."""
    kernel = eqn.invars[1].aval
    out_features = kernel.shape[eqn.params["dimension_numbers"].rhs_spec[0]]
    return int(2 * eqn.outvars[0].aval.size * kernel.size // max(1, out_features))


_OPERATIONS: Final[dict[str, Callable[[JaxprEqn], int]]] = {
    "conv_general_dilated": convolution_operations,
    "dot_general": product_operations,
}
