"""`jax.extend.core`: jaxprs, primitives and traces, for libraries that define their own."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from pullback.core import axes
from pullback.core.array import Array
from pullback.core.avals import AbstractValue, ShapedArray, aval_of
from pullback.core.jaxpr import (
    ClosedJaxpr,
    DebugInfo,
    DropVar,
    Jaxpr,
    JaxprEqn,
    Literal,
    Var,
    eval_jaxpr,
    new_eqn,
    no_effects,
    verify,
)
from pullback.core.jaxpr import subjaxprs as _subjaxprs_of_eqn
from pullback.core.source import SourceInfo
from pullback.core.trace import EVAL, Trace, concrete_or_error, current_trace
from pullback.core.trace import set_trace as _set_trace
from pullback.dropin.open_primitive import CallPrimitive, Primitive
from pullback.dropin.shims._src.util import curry
from pullback.dropin.shims.extend.linear_util import WrappedFun
from pullback.errors import VerifyError as JaxprTypeError
from pullback.transforms.batching import BatchTrace
from pullback.transforms.staging import StagingTrace

__all__ = [
    "CallPrimitive",
    "ClosedJaxpr",
    "DebugInfo",
    "DropVar",
    "Effect",
    "Effects",
    "InconclusiveDimensionOperation",
    "Jaxpr",
    "JaxprEqn",
    "JaxprTypeError",
    "Literal",
    "Primitive",
    "TraceTag",
    "Var",
    "call_impl",
    "check_jaxpr",
    "concrete_or_error",
    "find_top_trace",
    "gensym",
    "get_opaque_trace_state",
    "jaxpr_as_fun",
    "jaxprs_in_params",
    "mapped_aval",
    "new_jaxpr_eqn",
    "no_effects",
    "nonempty_axis_env_DO_NOT_USE",
    "primal_dtype_to_tangent_dtype",
    "set_current_trace",
    "subjaxprs",
    "take_current_trace",
    "unmapped_aval",
    "unsafe_am_i_under_a_jit_DO_NOT_USE",
    "unsafe_am_i_under_a_vmap_DO_NOT_USE",
    "unsafe_get_axis_names_DO_NOT_USE",
    "valid_jaxtype",
]


class Effect:
    """Base of effects that libraries define for primitives of their own."""


Effects = frozenset[Effect]
check_jaxpr: Final = verify


class InconclusiveDimensionOperation(Exception):
    """A comparison of symbolic lengths that has no answer; never raised: lengths are numbers."""


@curry
def jaxpr_as_fun(closed_jaxpr: ClosedJaxpr, *args: Any) -> list[Any]:
    """The results of a jaxpr; without operands, the function of them.

    >>> import pullback as pb
    >>> jaxpr_as_fun(pb.make_jaxpr(lambda x: x + 1)(1))(2)
    [Array(3, dtype=int32, weak_type=True)]
    """
    return eval_jaxpr(closed_jaxpr.jaxpr, closed_jaxpr.consts, *args)


def call_impl(f: WrappedFun, *args: Any, **params: Any) -> Any:
    """The results of a wrapped function; `params` are those of the equation."""
    return f.call_wrapped(*args)


def gensym() -> Callable[[AbstractValue], Var]:
    """What makes variables of given types."""
    return Var


class TraceTag:
    """Tells traces of one kind apart, by identity."""


class _TraceState:
    """Which trace was the current one; equal while it is the same."""

    __slots__ = ("_trace",)

    def __init__(self, trace: Trace) -> None:
        self._trace = weakref.ref(trace)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _TraceState) and self._trace == other._trace

    def __hash__(self) -> int:
        return hash(self._trace)


def get_opaque_trace_state(convention: str | None = None) -> Any:
    """A value that is equal to another one if both were made under the same trace.

    >>> get_opaque_trace_state() == get_opaque_trace_state()
    True
    """
    return _TraceState(current_trace())


def find_top_trace(_: Any) -> Trace:
    """The trace that operations go to, whatever the operands."""
    return current_trace()


@contextlib.contextmanager
def take_current_trace() -> Iterator[Trace]:
    """The current trace, for a block that will set another one."""
    yield current_trace()


def set_current_trace(trace: Trace, check_leaks: bool = False) -> Any:
    """Make `trace` the current one for a `with` block."""
    return _set_trace(trace)


def mapped_aval(size: int, axis: int | None, aval: AbstractValue) -> AbstractValue:
    """The type of one lane.

    >>> mapped_aval(3, 1, ShapedArray((2, 3), "float32"))
    ShapedArray(float32[2])
    """
    if axis is None or not isinstance(aval, ShapedArray):
        return aval
    return aval.update(shape=aval.shape[:axis] + aval.shape[axis + 1 :])


def unmapped_aval(
    size: int, axis: int | None, aval: AbstractValue, explicit_mesh_axis: Any = None
) -> AbstractValue:
    """The type of all lanes, `size` of them on a new axis.

    >>> unmapped_aval(3, 1, ShapedArray((2,), "float32"))
    ShapedArray(float32[2,3])
    """
    if axis is None or not isinstance(aval, ShapedArray):
        return aval
    return aval.update(shape=(*aval.shape[:axis], size, *aval.shape[axis:]))


def valid_jaxtype(x: Any) -> bool:
    """Whether a value can be an operand.

    >>> valid_jaxtype(1.0), valid_jaxtype("text")
    (True, False)
    """
    try:
        aval_of(x)
    except TypeError:
        return False
    return isinstance(x, Array) or getattr(x, "dtype", None) is None or x.dtype.kind not in "OUSMm"


def jaxprs_in_params(params: dict[str, Any]) -> Iterator[Jaxpr]:
    """The jaxprs among the parameters of an equation."""
    for value in params.values():
        for item in value if isinstance(value, (tuple, list)) else (value,):
            if isinstance(item, ClosedJaxpr):
                yield item.jaxpr
            elif isinstance(item, Jaxpr):
                yield item


def subjaxprs(jaxpr: Jaxpr) -> Iterator[Jaxpr]:
    """The jaxprs among the parameters of the equations of a jaxpr."""
    for eqn in jaxpr.eqns:
        yield from _subjaxprs_of_eqn(eqn)


_NO_SOURCE: Final = SourceInfo(None, 0, ())


def new_jaxpr_eqn(
    invars: Sequence[Any],
    outvars: Sequence[Any],
    primitive: Any,
    params: dict[str, Any],
    effects: Any,
    source_info: Any = None,
    ctx: Any = None,
) -> JaxprEqn:
    """An equation with these effects."""
    eqn = new_eqn(invars, outvars, primitive, params, source_info or _NO_SOURCE)
    return eqn.replace(effects=frozenset(effects))


def primal_dtype_to_tangent_dtype(primal_dtype: Any) -> Any:
    """The dtype of tangents of values of a dtype: `float0` for what is not differentiable."""
    return ShapedArray((), primal_dtype).to_tangent_aval().dtype


def _traces() -> Iterator[Trace]:
    trace: Trace | None = current_trace()
    while trace is not None:
        yield trace
        trace = trace.parent


def nonempty_axis_env_DO_NOT_USE() -> bool:
    """Whether a named axis is bound."""
    return bool(axes.environment())


def unsafe_am_i_under_a_jit_DO_NOT_USE() -> bool:
    """Whether operations are being recorded."""
    return any(isinstance(t, StagingTrace) for t in _traces())


def unsafe_am_i_under_a_vmap_DO_NOT_USE() -> bool:
    """Whether operations are being batched."""
    return any(isinstance(t, BatchTrace) for t in _traces())


def unsafe_get_axis_names_DO_NOT_USE() -> list[Any]:
    """The names of axes that are bound."""
    return [name for name, _ in axes.environment()]


def trace_state_clean() -> bool:
    """Whether nothing is being traced."""
    return current_trace() is EVAL


array_types: Final[set[Any]] = {Array}
