"""`jax.core`: what JAX 0.10.2 still has there; `pullback.core` is a package of another shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from pullback.core.avals import AbstractValue, ShapedArray, registered
from pullback.core.jaxpr import Atom, eval_jaxpr, jaxpr_as_fun
from pullback.core.trace import Trace as OwnTrace
from pullback.core.trace import Tracer, current_trace
from pullback.core.trace import eager as eval_context
from pullback.core.trace import eager_where_known as ensure_compile_time_eval
from pullback.dropin.shims.extend import linear_util as lu

__all__ = [
    "AbstractValue",
    "Atom",
    "ParamDict",
    "ShapedArray",
    "Trace",
    "Tracer",
    "Value",
    "ensure_compile_time_eval",
    "eval_context",
    "eval_jaxpr",
    "max_dim",
    "min_dim",
]

ParamDict = dict[str, Any]
Value = Any
pytype_aval_mappings: Final = registered
"""Types of values, with what gives the aval of one; libraries add types of their own."""


class Trace(OwnTrace):
    """Base of traces that libraries define.

    A subclass defines `process_primitive(primitive, tracers, params)`, and may define
    `process_custom_jvp_call` and `process_custom_vjp_call` for functions with rules of their own.
    """

    def __init__(self) -> None:
        super().__init__(current_trace(), type(self).__name__)

    def process(self, primitive: Any, args: Sequence[Any], params: dict[str, Any]) -> Any:
        """Hand the primitive to the method that the library has for it."""
        special = {"custom_jvp_call": self._custom_jvp, "custom_vjp_call": self._custom_vjp}
        rule = special.get(primitive.name)
        if rule is None:
            return self.process_primitive(primitive, args, params)
        return rule(primitive, args, params)

    def process_primitive(self, primitive: Any, tracers: Any, params: dict[str, Any]) -> Any:
        """Apply a primitive to tracers and values."""
        raise NotImplementedError(f"{type(self).__name__} has no process_primitive")

    def process_custom_jvp_call(
        self, primitive: Any, fun: Any, jvp: Any, tracers: Any, *, symbolic_zeros: bool
    ) -> Any:
        """Apply a function that has a forward-mode rule."""
        raise NotImplementedError(f"{type(self).__name__} has no process_custom_jvp_call")

    def process_custom_vjp_call(
        self,
        primitive: Any,
        fun: Any,
        fwd: Any,
        bwd: Any,
        tracers: Any,
        out_trees: Any,
        symbolic_zeros: bool,
    ) -> Any:
        """Apply a function that has a reverse-mode rule."""
        raise NotImplementedError(f"{type(self).__name__} has no process_custom_vjp_call")

    def stage_value(self, value: Any) -> Any:
        """A value as this trace sees it: itself."""
        return value

    def invalidate(self) -> None:
        """End the trace: its tracers are leaks from now on."""
        self.close()

    def is_valid(self) -> bool:
        """Whether the trace has not ended."""
        return self.alive

    def _custom_jvp(self, primitive: Any, args: Sequence[Any], params: dict[str, Any]) -> Any:
        fun = _called(params)
        jvp = lu.wrap_init(params["jvp"])
        return self.process_custom_jvp_call(
            primitive, fun, jvp, args, symbolic_zeros=params["symbolic_zeros"]
        )

    def _custom_vjp(self, primitive: Any, args: Sequence[Any], params: dict[str, Any]) -> Any:
        fun, fwd, bwd = _called(params), lu.wrap_init(params["fwd"]), lu.wrap_init(params["bwd"])
        return self.process_custom_vjp_call(
            primitive,
            fun,
            fwd,
            bwd,
            args,
            out_trees=None,
            symbolic_zeros=params["symbolic_zeros"],
        )


def _called(params: dict[str, Any]) -> lu.WrappedFun:
    return lu.wrap_init(jaxpr_as_fun(params["call_jaxpr"]))


def max_dim(d1: int, d2: int) -> int:
    """The larger of two sizes of axes.

    >>> max_dim(3, 4)
    4
    """
    return max(d1, d2)


def min_dim(d1: int, d2: int) -> int:
    """The smaller of two sizes of axes.

    >>> min_dim(3, 4)
    3
    """
    return min(d1, d2)
