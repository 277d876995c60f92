"""Eager evaluation: what happens to a primitive when nothing is being traced.

Small operands go straight to the primitive's NumPy reference, large ones and programs (jit, scan,
cond, ...) to compiled code.  The types of results are remembered by the types of operands.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

# What np.errstate does, at a tenth of its cost, which every eager operation pays.
from numpy._core.umath import _extobj_contextvar, _make_extobj

from pullback.control.callbacks import callback_primitives
from pullback.core import dtypes
from pullback.core.avals import ShapedArray, aval_of
from pullback.core.devices import CPU
from pullback.core.primitive import FIRST_ORDER, Primitive
from pullback.core.refs import Ref, creators
from pullback.core.trace import EVAL, Tracer, check_not_leaked
from pullback.errors import (
    InconclusiveDimensionOperation,
    UnexpectedTracerError,
    UnsupportedError,
)
from pullback.records import record
from pullback.runtime import accelerator, programs, refs, transfers
from pullback.runtime.array import ArrayImpl, from_numpy, is_here, make_array
from pullback.runtime.residence import REMOTE
from pullback.transforms.staging import abstract_results, types_forgotten

__all__ = [
    "IGNORE",
    "evaluate",
    "is_large",
    "quietly",
    "reset_errors",
    "set_errors",
    "to_array",
    "to_host",
    "wrap",
]

LARGE: Final = 1 << 18
"""Elements from which an eager operation is compiled."""

_new: Final = object.__new__
_PYTHON_SCALARS: Final = frozenset((bool, int, float, complex))
IGNORE: Final = _make_extobj(all="ignore")
set_errors: Final = _extobj_contextvar.set
reset_errors: Final = _extobj_contextvar.reset


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
    if type(x) is Ref:
        raise TypeError(
            f"a reference of type {x.aval} where an array is needed; read its value by `ref[...]`"
        )
    return from_numpy(x, aval_of(x))


def quietly(function: Any, *values: Any) -> Any:
    """`function` of NumPy values without warnings of overflow, of division by zero, ..."""
    token = set_errors(IGNORE)
    try:
        return function(*values)
    finally:
        reset_errors(token)


@record()
class _Plan:
    """How an operation on operands of known types is evaluated."""

    out: Any
    """The type of the result, or a list of them."""
    by_numpy: bool
    """Whether NumPy computes it, rather than a compiled program."""


_plans: Final[dict[Any, _Plan]] = {}
_PLANS_LIMIT: Final = 16_384


def _plan(
    key: Any, primitive: Primitive, avals: tuple[ShapedArray, ...], params: dict[str, Any]
) -> _Plan:
    out = abstract_results(primitive, avals, params)
    compiled = primitive.partial_eval is not FIRST_ORDER or (
        is_large(avals, out) and programs.worth_compiling(primitive)
    )
    plan = _Plan(out, not compiled)
    if key is not None:
        if len(_plans) >= _PLANS_LIMIT:
            _plans.clear()
        _plans[key] = plan
    return plan


def evaluate(primitive: Any, args: Sequence[Any], params: dict[str, Any]) -> Any:
    """The result of `primitive` on concrete operands, now."""
    if type(primitive) is not Primitive:  # one that a library has defined, with rules of its own
        return primitive.evaluate(args, params)
    if REMOTE and accelerator.on_device(args):
        return _evaluate_away(primitive, args, params)
    foreign = False
    key: Any
    values: Sequence[Any]
    if len(args) == 2 and type(x := args[0]) is ArrayImpl and type(y := args[1]) is ArrayImpl:
        key, values = (primitive, x.aval, y.aval), (x._data, y._data)
    elif len(args) == 1 and type(x := args[0]) is ArrayImpl:
        key, values = (primitive, x.aval), (x._data,)
    else:
        types, values, foreign = _operands(args)
        key = (primitive, *types)
    if params:
        key = (*key, *params.items())
    try:
        plan = _plans.get(key)
    except TypeError:  # a parameter that cannot be hashed
        plan = key = None
    if plan is None:
        plan = _plan(key, primitive, _operands(args)[0], params)
    if not plan.by_numpy:
        return _run_program(primitive, args, params)
    token = set_errors(IGNORE)
    try:
        ans = primitive.reference(*values, **params)
    finally:
        reset_errors(token)
    if primitive.multiple_results:
        return [wrap(a, aval, foreign) for a, aval in zip(ans, plan.out, strict=True)]
    return wrap(ans, plan.out, foreign)


def _run_program(primitive: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Any:
    """The result of an operation that holds programs, or is large: by compiled code."""
    if primitive in creators or any(type(x) is Ref for x in args):
        return refs.evaluate(primitive, args, params, to_array)
    arrays = [to_array(x) for x in args]
    if accelerator.is_possible() and primitive not in callback_primitives:
        device, committed = accelerator.place_of(arrays)
        if device is not CPU:
            return accelerator.run_primitive(primitive, arrays, params, device, committed)
    return programs.run_primitive(primitive, arrays, params)


def _evaluate_away(primitive: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Any:
    """The result of an operation some of whose operands are on a plugin's device.

    It runs there, unless the work is a Python function, a reference is involved, or the operands
    belong to the host.
    """
    if primitive in creators or any(type(x) is Ref for x in args):
        return refs.evaluate(primitive, args, params, to_array)
    device, committed = accelerator.place_of(args)
    if primitive in callback_primitives:
        device = CPU
    for x in args:
        if device is not CPU and type(x) is not ArrayImpl:
            transfers.check_to_device(aval_of(x), device, explicit=False)
    arrays = [to_array(x) for x in args]
    if device is CPU:
        return evaluate(primitive, list(map(to_host, arrays)), params)
    return accelerator.run_primitive(primitive, arrays, params, device, committed)


def to_host(x: ArrayImpl) -> ArrayImpl:
    """The array with its elements in host memory."""
    return x if is_here(x) else make_array(x._data, x.aval)


def _operands(args: Sequence[Any]) -> tuple[tuple[Any, ...], list[Any], bool]:
    """Avals and NumPy values of operands, and whether one is a NumPy array of the user's."""
    types, values, foreign = [], [], False
    for x in args:
        if type(x) is ArrayImpl:
            types.append(x.aval)
            values.append(x._data)
        else:
            aval, value = _operand(x)
            foreign = foreign or type(x) is np.ndarray
            types.append(aval)
            values.append(value)
    return tuple(types), values, foreign


def _operand(x: Any) -> tuple[ShapedArray, Any]:
    """Aval and NumPy value of an operand that is no Array."""
    if type(x) in _PYTHON_SCALARS:
        aval = aval_of(x)
        number: Any = aval.dtype.type
        return aval, number(x)
    if isinstance(x, np.generic) and x.dtype.kind in "biufc":
        aval = aval_of(x)
        return aval, x if x.dtype is aval.dtype else dtypes.physical(aval.dtype).type(x)
    if type(x) is Ref:
        return x.aval, x.value()  # type: ignore[return-value]
    array = to_array(x)
    return array.aval, array._data


def is_large(avals: Sequence[ShapedArray], out: Any) -> bool:
    """Whether an operand or a result has so many elements that a kernel is worth it."""
    try:
        for aval in avals:
            if aval.size >= LARGE:
                return True
        if type(out) is ShapedArray:
            return out.size >= LARGE
        return any(a.size >= LARGE for a in out)
    except InconclusiveDimensionOperation:
        raise UnsupportedError(
            f"an array of type {out} has no elements: symbolic shapes are for export"
        ) from None


def wrap(value: Any, aval: ShapedArray, foreign: bool) -> ArrayImpl:
    """An Array around the result of a reference.

    With `foreign` operands (NumPy arrays of the user's) a view of them is copied: the user may
    write to them later.
    """
    if (
        type(value) is np.ndarray
        and value.dtype is aval.dtype
        and value.shape == aval.shape
        and (flags := value.flags).c_contiguous
        and not (foreign and (value.base is not None or not flags.writeable))
    ):
        x = _new(ArrayImpl)  # as in `make_array`, whose call counts here
        x.aval = aval
        x._data = value
        value.setflags(write=False)
        return x
    if isinstance(value, np.generic) and value.dtype is aval.dtype and not aval.shape:
        return make_array(np.asarray(value), aval)
    return from_numpy(value, aval, copy=foreign)


EVAL.evaluator = evaluate
types_forgotten.append(_plans.clear)
