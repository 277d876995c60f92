"""`jax._src.core`: what libraries use of it."""

from __future__ import annotations

from typing import Any

from pullback.core import dtypes
from pullback.core.avals import AbstractValue, ShapedArray, aval_of
from pullback.core.trace import Tracer, current_trace
from pullback.dropin.shims.core import Trace, eval_jaxpr, pytype_aval_mappings
from pullback.dropin.shims.extend.core import (
    ClosedJaxpr,
    DropVar,
    Jaxpr,
    JaxprEqn,
    Literal,
    Primitive,
    Var,
    get_opaque_trace_state,
    jaxpr_as_fun,
    jaxprs_in_params,
    mapped_aval,
    subjaxprs,
    trace_state_clean,
    unmapped_aval,
)

__all__ = [
    "AbstractValue",
    "ClosedJaxpr",
    "DropVar",
    "Jaxpr",
    "JaxprEqn",
    "Literal",
    "Primitive",
    "ShapedArray",
    "Trace",
    "Tracer",
    "Var",
    "current_trace",
    "eval_jaxpr",
    "get_aval",
    "get_opaque_trace_state",
    "jaxpr_as_fun",
    "jaxprs_in_params",
    "mapped_aval",
    "physical_aval",
    "pytype_aval_mappings",
    "subjaxprs",
    "trace_state_clean",
    "unmapped_aval",
]

get_aval = aval_of


def physical_aval(aval: Any) -> Any:
    """The type in which elements are stored: two words for a random key."""
    if not isinstance(aval, ShapedArray):
        return aval
    return aval.update(dtype=dtypes.physical(aval.dtype))
