"""Eager evaluation: what happens to a primitive when nothing is being traced.

Small operands go straight to the primitive's NumPy reference, large ones and programs (jit, scan,
cond, ...) to compiled code.  The types of results are remembered by the types of operands.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from pullback.core import dtypes
from pullback.core.avals import ShapedArray, aval_of
from pullback.core.primitive import FIRST_ORDER, Primitive
from pullback.core.trace import EVAL, Tracer, check_not_leaked
from pullback.errors import UnexpectedTracerError
from pullback.runtime import programs
from pullback.runtime.array import ArrayImpl, from_numpy, make_array
from pullback.transforms.staging import abstract_results

__all__ = ["evaluate", "to_array"]

LARGE: Final = 1 << 18
"""Elements from which an eager operation is compiled."""

_types: dict[Any, Any] = {}
_TYPES_LIMIT: Final = 16_384
_quiet: Final = {"divide": "ignore", "over": "ignore", "under": "ignore", "invalid": "ignore"}


def to_array(x: Any) -> ArrayImpl:
    """A concrete operand as an Array."""
    if type(x) is ArrayImpl:
        return x
    if isinstance(x, Tracer):
        check_not_leaked(x)
        raise UnexpectedTracerError(
            f"a traced value of type {x.aval} reached eager evaluation: it is used outside the "
            f"function whose tracing made it ({x._trace.description})"
        )
    return from_numpy(x, aval_of(x))


def _result_types(primitive: Primitive, avals: tuple[Any, ...], params: dict[str, Any]) -> Any:
    key = (primitive, avals, tuple(params.values())) if params else (primitive, avals)
    try:
        found = _types.get(key)
    except TypeError:  # a parameter that cannot be hashed
        return abstract_results(primitive, avals, params)
    if found is None:
        found = abstract_results(primitive, avals, params)
        if len(_types) >= _TYPES_LIMIT:
            _types.clear()
        _types[key] = found
    return found


def evaluate(primitive: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Any:
    """The result of `primitive` on concrete operands, now."""
    arrays = [x if type(x) is ArrayImpl else to_array(x) for x in args]
    avals = tuple([x.aval for x in arrays])
    out = _result_types(primitive, avals, params)
    if primitive.partial_eval is not FIRST_ORDER:
        return programs.run_higher_order(primitive, arrays, params)
    if _is_large(avals, out) and programs.worth_compiling(primitive):
        return programs.run_primitive(primitive, arrays, params)
    with np.errstate(**_quiet):  # type: ignore[arg-type]
        ans = primitive.reference(*[x._data for x in arrays], **params)
    if primitive.multiple_results:
        return [wrap(a, aval) for a, aval in zip(ans, out, strict=True)]
    return wrap(ans, out)


def _is_large(avals: Sequence[ShapedArray], out: Any) -> bool:
    for aval in avals:
        if aval.size >= LARGE:
            return True
    if type(out) is ShapedArray:
        return out.size >= LARGE
    return any(a.size >= LARGE for a in out)


def wrap(value: Any, aval: ShapedArray) -> ArrayImpl:
    """An Array around the result of a reference."""
    if (
        type(value) is np.ndarray
        and value.dtype == dtypes.physical(aval.dtype)
        and value.shape == aval.shape
        and value.flags.c_contiguous
    ):
        fresh = value.flags.owndata or not value.flags.writeable
        return make_array(value if fresh else value.view(), aval)
    return from_numpy(value, aval)


EVAL.evaluator = evaluate
