"""Primitives that libraries define at run time, with rules of their own.

Our own primitives are frozen records.  This one is open: its slots are the ones that the
transformations read (`core.primitive.Primitive` lists them), and each asks for the rule that the
library has put into a table: `ad.primitive_jvps`, `ad.primitive_transposes`,
`batching.primitive_batchers`, `mlir.register_lowering`.

Evaluated now it is its `impl`.  In a program to be compiled it is replaced by what its lowering
rule does when traced (`passes.simplify.expansions`), so that no later stage knows of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pullback.core.avals import aval_of
from pullback.core.jaxpr import ClosedJaxpr
from pullback.core.primitive import (
    FIRST_ORDER,
    NO_SAMPLES,
    NotApplicable,
    Zero,
    is_linear,
)
from pullback.core.trace import EVAL, Trace, current_trace, set_trace
from pullback.errors import LoweringError
from pullback.passes import simplify
from pullback.transforms.staging import stage

__all__ = ["CallPrimitive", "LoweringContext", "Primitive", "aval_list"]


def aval_list(primitive: Any, out: Any) -> list[Any]:
    """The results' avals as a list, however many the primitive has."""
    return list(out) if primitive.multiple_results else [out]


class Primitive:
    """An operation whose rules are set after it is made.

    >>> from pullback.core.avals import ShapedArray
    >>> double = Primitive("double")
    >>> _ = double.def_impl(lambda x: x + x)
    >>> _ = double.def_abstract_eval(lambda aval: aval)
    >>> double.bind(3)
    6
    """

    multiple_results = False
    call_primitive = False
    map_primitive = False
    ref_primitive = False
    skip_canonicalization = False

    # Slots of a record that are the same for all.
    partial_eval: Any = FIRST_ORDER
    samples = staticmethod(NO_SAMPLES)
    literals = False
    hlo = NotApplicable("hlo of a library's primitive", "it is replaced before code is generated")
    lower = NotApplicable("lower of a library's primitive", "it is replaced before this stage")

    def __init__(self, name: str) -> None:
        self.name = name
        self._impl: Callable[..., Any] | None = None
        self._abstract_eval: Callable[..., Any] | None = None
        self._bind: Callable[..., Any] | None = None
        self._has_effects = False
        self._effects: frozenset[Any] = frozenset()
        self.rule_of_jvp: Callable[..., Any] | None = None
        self.rule_of_transpose: Callable[..., Any] | None = None
        self.rule_of_batching: Callable[..., Any] | None = None
        self.rule_of_lowering: Callable[..., Any] | None = None
        simplify.expansions[self] = self._expand

    def __repr__(self) -> str:
        return self.name

    # ------------------------------------------------------------------ what the library calls

    def bind(self, *args: Any, **params: Any) -> Any:
        """Apply the primitive under the current trace."""
        return self.bind_with_trace(current_trace(), args, (), params)

    def bind_with_trace(
        self, trace: Trace, args: Sequence[Any], avals: Sequence[Any], params: dict[str, Any]
    ) -> Any:
        """Apply the primitive under `trace`; `avals` are found from the operands."""
        if self._bind is not None:
            return self._bind(trace, args, avals or tuple(map(aval_of, args)), params)
        return trace.process(self, args, params)

    def def_impl(self, impl: Callable[..., Any]) -> Callable[..., Any]:
        """Set what evaluates the primitive now; returns it."""
        self._impl = impl
        return impl

    def def_abstract_eval(self, abstract_eval: Callable[..., Any]) -> Callable[..., Any]:
        """Set the rule of types: avals in, an aval out (a list with several results)."""
        self._abstract_eval = abstract_eval
        self._has_effects = False
        return abstract_eval

    def def_effectful_abstract_eval(self, rule: Callable[..., Any]) -> Callable[..., Any]:
        """Set the rule of types that returns the effects as well."""
        self._abstract_eval = rule
        self._has_effects = True
        return rule

    def def_bind_with_trace(self, bind: Callable[..., Any]) -> Callable[..., Any]:
        """Set what `bind` does: `bind(trace, args, avals, params)`."""
        self._bind = bind
        return bind

    @property
    def impl(self) -> Callable[..., Any]:
        """What evaluates the primitive now."""
        if self._impl is None:
            raise NotImplementedError(f"the primitive {self.name!r} has no impl: def_impl sets one")
        return self._impl

    def abstract_eval(self, *avals: Any, **params: Any) -> tuple[Any, frozenset[Any]]:
        """Avals of the results, and effects."""
        if self._abstract_eval is None:
            raise NotImplementedError(
                f"the primitive {self.name!r} has no rule of types: def_abstract_eval sets one"
            )
        out = self._abstract_eval(*avals, **params)
        if self._has_effects:
            return out[0], frozenset(out[1])
        return out, frozenset()

    def get_bind_params(self, params: dict[str, Any]) -> dict[str, Any]:
        """The parameters with which an equation of these parameters is bound again."""
        return dict(params)

    # ------------------------------------------------------------------ the slots of a record

    def abstract(self, *avals: Any, **params: Any) -> Any:
        """The types of the results."""
        out, self._effects = self.abstract_eval(*avals, **params)
        return list(out) if self.multiple_results else out

    def effects(self, **params: Any) -> frozenset[Any]:
        """The effects that the rule of types declared for the application at hand."""
        return self._effects

    def reference(self, *values: Any, **params: Any) -> Any:
        """The results by `impl`."""
        return self.impl(*values, **params)

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> Any:
        """The results and their tangents by the library's rule."""
        if self.rule_of_jvp is None:
            raise NotImplementedError(
                f"the primitive {self.name!r} has no differentiation rule: ad.primitive_jvps "
                "takes one"
            )
        return self.rule_of_jvp(list(primals), list(tangents), **params)

    def transpose(self, ct: Any, *args: Any, **params: Any) -> list[Any]:
        """The cotangents of the linear operands by the library's rule."""
        if self.rule_of_transpose is None:
            raise NotImplementedError(
                f"the primitive {self.name!r} has no transpose rule, which reverse mode needs: "
                "ad.primitive_transposes takes one"
            )
        out = self.rule_of_transpose(ct, *args, **params)
        if out is Zero:  # the class itself means zero for all
            return [Zero(x.aval.to_cotangent_aval()) if is_linear(x) else None for x in args]
        return list(out)

    def batch(
        self, size: int, args: Sequence[Any], dims: Sequence[int | None], **params: Any
    ) -> Any:
        """All lanes at once by the library's rule."""
        if self.rule_of_batching is None:
            raise NotImplementedError(
                f"the primitive {self.name!r} has no batching rule: batching.primitive_batchers "
                "takes one"
            )
        return self.rule_of_batching(size, list(args), list(dims), **params)

    # ------------------------------------------------------------------ evaluation, compilation

    def evaluate(self, args: Sequence[Any], params: dict[str, Any]) -> Any:
        """Run `impl` now, whatever is being traced around."""
        if current_trace() is EVAL:
            return self.impl(*args, **params)
        with set_trace(EVAL):
            return self.impl(*args, **params)

    def _expand(self, avals: Sequence[Any], params: dict[str, Any]) -> ClosedJaxpr:
        """The program that stands for one application."""
        rule = self.rule_of_lowering
        if rule is None:
            raise LoweringError(
                f"the primitive {self.name!r} cannot be compiled: it has no lowering rule, which "
                "mlir.register_lowering(primitive, mlir.lower_fun(function)) sets"
            )
        results = aval_list(self, self.abstract_eval(*avals, **params)[0])
        context = LoweringContext(self, list(avals), results)

        def fun(*operands: Any) -> list[Any]:
            return list(rule(context, *operands, **params))

        with set_trace(EVAL):
            return stage(fun, avals, description=f"the lowering rule of {self.name}")


class CallPrimitive(Primitive):
    """A primitive whose results are those of a function that it holds."""

    multiple_results = True
    call_primitive = True


class LoweringContext:
    """What a lowering rule sees of the equation: types of operands and results."""

    def __init__(self, primitive: Any, avals_in: list[Any], avals_out: list[Any]) -> None:
        self.primitive = primitive
        self.avals_in = avals_in
        self.avals_out = avals_out
        self.tokens_in: Any = None
        self.tokens_out: Any = None
        self.module_context = _ModuleContext()

    def set_tokens_out(self, tokens: Any) -> None:
        """Effects keep their order without tokens here."""
        self.tokens_out = tokens


class _ModuleContext:
    """The part of a module that rules write to."""

    platforms = ("cpu",)

    def __init__(self) -> None:
        self.keepalives: list[Any] = []

    def add_keepalive(self, keepalive: Any) -> None:
        """Keep an object alive as long as the program."""
        self.keepalives.append(keepalive)
