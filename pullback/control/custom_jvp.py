"""`custom_jvp`: a function that brings its own forward-mode rule."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Final

from pullback import tree
from pullback.control.custom import (
    CustomFunction,
    Rule,
    SymbolicZero,
    batched_operands,
    batched_rule,
    call_abstract,
    call_reference,
    inline_lower,
    is_trivial,
    recorded,
    refuse_closed_over,
    to_symbolic,
)
from pullback.control.jit import open_consts
from pullback.core import dtypes
from pullback.core.avals import aval_of
from pullback.core.jaxpr import ClosedJaxpr
from pullback.core.primitive import (
    NO_SAMPLES,
    Primitive,
    Zero,
    instantiate,
)
from pullback.core.refs import wrapped
from pullback.core.source import describe_function
from pullback.core.trace import EVAL, current_trace
from pullback.ops import conversion
from pullback.transforms.arguments import FlatFunction, function_name
from pullback.transforms.batching import batch_jaxpr
from pullback.transforms.staging import stage
from pullback.transforms.transpose import backward_pass

__all__ = ["custom_jvp", "custom_jvp_call"]


def _jvp_of_custom_jvp(
    primals: Sequence[Any],
    tangents: Sequence[Any],
    *,
    name: str,
    call_jaxpr: ClosedJaxpr,
    jvp: Rule,
    num_consts: int,
    symbolic_zeros: bool,
) -> tuple[list[Any], list[Any]]:
    refuse_closed_over(tangents[:num_consts], name, "custom_jvp")
    dots = tangents[num_consts:]
    if not symbolic_zeros:
        dots = [instantiate(t) for t in dots]
    outs = jvp(*primals[num_consts:], *dots)
    n = len(outs) // 2
    return list(outs[:n]), [
        Zero(aval_of(p).to_tangent_aval()) if is_trivial(t) else t
        for p, t in zip(outs[:n], outs[n:], strict=True)
    ]


def _batch_custom_jvp(
    size: int,
    args: Sequence[Any],
    dims: Sequence[int | None],
    *,
    call_jaxpr: ClosedJaxpr,
    jvp: Rule,
    num_consts: int,
    **params: Any,
) -> tuple[list[Any], list[int | None]]:
    batched, moved = batched_operands(size, args, dims)
    closed, _ = batch_jaxpr(call_jaxpr, size, batched, force=True)
    opened, consts = open_consts(closed)
    flags = batched[num_consts:]
    outs = custom_jvp_call.bind(
        *consts,
        *moved,
        call_jaxpr=opened,
        jvp=batched_rule(jvp, size, lambda n: flags + flags, lambda outs: [True] * len(outs)),
        num_consts=len(consts) + num_consts,
        **params,
    )
    return outs, [0] * len(outs)


def _transpose_custom_jvp(
    cts: Sequence[Any], *args: Any, call_jaxpr: ClosedJaxpr, **_: Any
) -> list[Any]:
    """What is transposed is the function: its rule speaks of tangents only."""
    return backward_pass(call_jaxpr.jaxpr, call_jaxpr.consts, args, cts)


custom_jvp_call: Final[Primitive] = Primitive(
    name="custom_jvp_call",
    abstract=call_abstract,
    reference=call_reference,
    jvp=_jvp_of_custom_jvp,
    transpose=_transpose_custom_jvp,
    batch=_batch_custom_jvp,
    partial_eval=recorded(lambda: custom_jvp_call),
    lower=inline_lower,
    hlo=inline_lower,
    samples=NO_SAMPLES,
    multiple_results=True,
    effects=lambda *, call_jaxpr, **_: call_jaxpr.effects,
    literals=False,
)


class custom_jvp(CustomFunction):
    """A function with its own forward-mode rule.

    `defjvp(rule)`: `rule(*nondiff, primals, tangents)` returns the pair of the value and its
    tangent. `defjvps(*rules)` gives one `rule(tangent, ans, *primals)` per argument, or None.

    >>> import pullback as pb, pullback.numpy as jnp
    >>> @pb.custom_jvp
    ... def f(x):
    ...     return jnp.sin(x)
    >>> @f.defjvp
    ... def f_jvp(primals, tangents):
    ...     return f(*primals), 2.0 * tangents[0]
    >>> float(pb.grad(f)(1.0))
    2.0
    """

    jvp: Callable[..., Any] | None = None
    symbolic_zeros = False

    def defjvp(self, jvp: Callable[..., Any], symbolic_zeros: bool = False) -> Callable[..., Any]:
        """Set the rule; returns it, for use as a decorator.

        With `symbolic_zeros`, tangents known to be zero come as `SymbolicZero`, and may be
        returned as such.
        """
        self.jvp, self.symbolic_zeros = jvp, symbolic_zeros
        return jvp

    def defjvps(self, *jvps: Callable[..., Any] | None) -> None:
        """Set one rule per argument, each linear in its tangent; None means zero."""
        if self.nondiff_argnums:
            raise TypeError("defjvps cannot be used together with nondiff_argnums; use defjvp")

        def rule(primals: Any, tangents: Any) -> Any:
            ans = self(*primals)
            parts = [j(t, ans, *primals) for j, t in zip(jvps, tangents, strict=True) if j]
            if not parts:
                return ans, tree.map(lambda x: instantiate(Zero(aval_of(x))), ans)
            return ans, functools.reduce(lambda a, b: tree.map(_plus, a, b), parts)

        self.jvp = rule

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.jvp is None:
            raise AttributeError(
                f"No JVP defined for custom_jvp function {function_name(self.fun)} using defjvp."
            )
        if current_trace() is EVAL:
            return self.fun(*args, **kwargs)
        nondiff, diff, fun = self._separate(args, kwargs)
        leaves, in_tree = tree.flatten((tuple(diff), {}))
        flat = FlatFunction(fun, in_tree)
        avals = [aval_of(x) for x in leaves]
        closed = stage(flat, avals, description=describe_function(self.fun))
        opened, consts = open_consts(closed)
        outs = custom_jvp_call.bind(
            *consts,
            *leaves,
            name=function_name(self.fun),
            call_jaxpr=opened,
            jvp=Rule(self._flat_rule(nondiff, in_tree, flat.out_tree), function_name(self.jvp)),
            num_consts=len(consts),
            symbolic_zeros=self.symbolic_zeros,
        )
        return flat.out_tree.unflatten(outs)

    def _flat_rule(self, nondiff: Sequence[Any], in_tree: Any, out_tree: Any) -> Any:
        jvp = self.jvp
        assert jvp is not None
        rule_name, name = function_name(jvp), function_name(self.fun)

        def rule(*operands: Any) -> list[Any]:
            n = len(operands) // 2
            primals, _ = in_tree.unflatten(wrapped(operands[:n]))
            dots, _ = in_tree.unflatten(wrapped([to_symbolic(t) for t in operands[n:]]))
            pair = jvp(*nondiff, primals, dots)
            if not isinstance(pair, (tuple, list)) or len(pair) != 2:
                raise TypeError(
                    f"Custom JVP rule {rule_name} for function {name} must produce a pair (list or "
                    "tuple of length two) representing primal and tangent outputs, but got "
                    f"{pair}. The function is {describe_function(self.fun)}."
                )
            out, out_structure = tree.flatten(pair[0])
            out_dots, dots_structure = tree.flatten(pair[1])
            if out_structure != out_tree or dots_structure != out_tree:
                raise TypeError(
                    f"Custom JVP rule {rule_name} for function {name} must produce primal and "
                    "tangent outputs with equal container (pytree) structures, but got "
                    f"{out_structure} and {dots_structure} respectively. The result of "
                    f"{describe_function(self.fun)} has the structure {out_tree}."
                )
            return [*out, *map(_check_tangent_type, out, out_dots)]

        return rule


def _plus(x: Any, y: Any) -> Any:
    return x + y


def _plain(aval: Any) -> str:
    return str(aval.strip_weak_type().str_long())


def _check_tangent_type(primal: Any, tangent: Any) -> Any:
    expected = aval_of(primal).to_tangent_aval()
    if isinstance(tangent, SymbolicZero):
        return Zero(expected)
    actual = aval_of(tangent)
    if expected.dtype == dtypes.float0:
        return instantiate(Zero(expected))
    if expected.shape != actual.shape or expected.dtype != actual.dtype:
        if not (actual.weak_type and expected.shape == actual.shape):
            raise TypeError(
                "Custom JVP rule must produce primal and tangent outputs with corresponding shapes "
                f"and dtypes. Expected {_plain(expected)} (tangent type of "
                f"{_plain(aval_of(primal))}) but got {_plain(actual)}."
            )
        return conversion.convert(tangent, expected.dtype)
    return tangent
