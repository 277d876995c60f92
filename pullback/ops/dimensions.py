"""`dim_as_value`: a symbolic length as a number of the program.

Programs that are run have known lengths; this operation only stands in programs to be exported.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from pullback.core import dimensions
from pullback.core.avals import ShapedArray, register_aval
from pullback.core.dimensions import DimExpr
from pullback.core.dtypes import python_scalar_dtype
from pullback.core.primitive import (
    FIRST_ORDER,
    PURE,
    NotApplicable,
    Primitive,
    Zero,
)
from pullback.errors import UnsupportedError

__all__ = ["dim_as_value"]


def _type(dim: Any) -> ShapedArray:
    return ShapedArray((), python_scalar_dtype(int), True)


def _no_value(*, dim: Any) -> Any:
    raise UnsupportedError(
        f"the symbolic dimension '{dim}' has no value here: symbolic shapes are for "
        "export, and known when an exported function is called"
    )


def _jvp(primals: Any, tangents: Any, *, dim: Any) -> tuple[Any, Any]:
    value = dim_as_value.bind(dim=dim)
    return value, Zero(_type(dim).to_tangent_aval())


dim_as_value: Final[Primitive] = Primitive(
    name="dim_as_value",
    abstract=lambda *, dim: _type(dim),
    reference=_no_value,
    jvp=_jvp,
    transpose=NotApplicable("transpose of dim_as_value", "it is an integer", TypeError),
    batch=lambda size, args, dims, *, dim: (dim_as_value.bind(dim=dim), None),
    partial_eval=FIRST_ORDER,
    lower=lambda b, *, dim: _no_value(dim=dim),
    hlo=lambda b, *, dim: b.convert(b.dimension(dim), np.dtype(b.types[0][1])),
    samples=list,
    multiple_results=False,
    effects=PURE,
    literals=False,
)
register_aval(DimExpr, _type)
dimensions.value_hook.append(lambda dim: dim_as_value.bind(dim=dim))
