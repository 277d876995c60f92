"""`custom_vmap`: a function that brings its own batching rule.

The equation holds the jaxpr of the function and the rule. Forward mode makes another such equation,
whose rule differentiates the user's. Reverse mode through it gives the rule up: the known part is
computed and the unknown part recorded as if the function were undecorated.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Final

from pullback import tree
from pullback.control.custom import OWN_LINES, keep_whole
from pullback.control.jit import open_consts
from pullback.core.avals import aval_of
from pullback.core.jaxpr import ClosedJaxpr, eval_jaxpr
from pullback.core.primitive import NO_SAMPLES, NotApplicable, Primitive, Zero, instantiate
from pullback.core.refs import wrapped
from pullback.core.source import describe_function, replaying
from pullback.core.trace import EVAL, current_trace, set_trace
from pullback.transforms.arguments import (
    FlatFunction,
    check_callable,
    check_operand,
    function_name,
)
from pullback.transforms.batching import move_batch_axis
from pullback.transforms.jvp import given_tangents, jvp_flat, jvp_jaxpr, nonzero_tangents
from pullback.transforms.linearize import HigherOrder, PartialTrace
from pullback.transforms.staging import stage

__all__ = ["custom_vmap", "custom_vmap_call"]


class FlatVmapRule:
    """A batching rule on flat values: `rule(size, batched, *args)` gives results and flags."""

    __slots__ = ("fun", "name")

    def __init__(self, fun: Callable[..., tuple[list[Any], list[bool]]], name: str) -> None:
        self.fun, self.name = fun, name

    def __call__(self, size: int, batched: Sequence[bool], *args: Any) -> Any:
        with replaying(OWN_LINES):
            return self.fun(size, batched, *args)

    def __repr__(self) -> str:
        return self.name


def _jvp(
    primals: Sequence[Any], tangents: Sequence[Any], *, call: ClosedJaxpr, rule: FlatVmapRule
) -> tuple[list[Any], list[Any]]:
    nonzero = nonzero_tangents(tangents)
    closed, out_nonzero = jvp_jaxpr(call, nonzero, force=False)
    opened, consts = open_consts(closed)
    n, n_out, n_consts = len(primals), len(call.out_avals), len(consts)

    def of_tangents(size: int, batched: Sequence[bool], *args: Any) -> Any:
        """The rule of the derivative: the derivative of the rule."""
        batched, args = batched[n_consts:], args[n_consts:]
        given = iter(zip(args[n:], batched[n:], strict=True))
        xs, dots, flags = [], [], []
        for x, b, nz in zip(args[:n], batched[:n], nonzero, strict=True):
            t, t_batched = next(given) if nz else (Zero(aval_of(x).to_tangent_aval()), b)
            both = b or t_batched
            xs.append(_to_lanes(x, size, b, both))
            dots.append(t if type(t) is Zero else _to_lanes(t, size, t_batched, both))
            flags.append(both)
        found: list[bool] = []

        def batched_fun(*values: Any) -> list[Any]:
            outs, out_flags = rule(size, flags, *values)
            found[:] = out_flags
            return list(outs)

        outs, out_dots = jvp_flat(batched_fun, xs, dots)
        kept = [
            (instantiate(t), f) for t, f, nz in zip(out_dots, found, out_nonzero, strict=True) if nz
        ]
        return [*outs, *[t for t, _ in kept]], [*found, *[f for _, f in kept]]

    operands = [*consts, *primals, *given_tangents(tangents)]
    outs = custom_vmap_call.bind(
        *operands, call=opened, rule=FlatVmapRule(of_tangents, f"jvp of {rule.name}")
    )
    rest = iter(outs[n_out:])
    dots = [
        next(rest) if nz else Zero(a.to_tangent_aval())
        for nz, a in zip(out_nonzero, call.out_avals, strict=True)
    ]
    return outs[:n_out], dots


def _to_lanes(x: Any, size: int, batched: bool, wanted: bool) -> Any:
    return x if batched or not wanted else move_batch_axis(x, size, None, 0)


def _batch(
    size: int,
    args: Sequence[Any],
    dims: Sequence[int | None],
    *,
    call: ClosedJaxpr,
    rule: FlatVmapRule,
) -> tuple[list[Any], list[int | None]]:
    moved = [
        x if d is None else move_batch_axis(x, size, d, 0) for x, d in zip(args, dims, strict=True)
    ]
    outs, flags = rule(size, [d is not None for d in dims], *moved)
    for out, aval, batched in zip(outs, call.out_avals, flags, strict=True):
        expected = (size, *aval.shape) if batched else aval.shape
        if aval_of(out).shape != expected:
            raise ValueError(
                f"custom_vmap: the batching rule {rule.name} gave a result of shape "
                f"{aval_of(out).shape} where {expected} was expected"
            )
    return list(outs), [0 if b else None for b in flags]


def _split(trace: PartialTrace, args: Sequence[Any], params: dict[str, Any]) -> list[Any]:
    call: ClosedJaxpr = params["call"]
    with set_trace(trace):
        return eval_jaxpr(call.jaxpr, call.consts, *args)


def _lower(b: Any, *xs: Any, call: ClosedJaxpr, **_: Any) -> list[Any]:
    results: list[Any] = b.inline(call, *xs)
    return results


custom_vmap_call: Final[Primitive] = Primitive(
    name="custom_vmap_call",
    abstract=lambda *avals, call, **_: call.out_avals,
    reference=lambda *args, call, **_: eval_jaxpr(call.jaxpr, call.consts, *args),
    jvp=_jvp,
    transpose=NotApplicable("transpose of custom_vmap_call", "partial evaluation removes it"),
    batch=_batch,
    partial_eval=HigherOrder(_split, keep_whole),
    lower=_lower,
    hlo=_lower,
    samples=NO_SAMPLES,
    multiple_results=True,
    effects=lambda *, call, **_: call.effects,
    literals=False,
)


class custom_vmap:
    """A function with its own batching rule.

    `def_vmap(rule)`: `rule(axis_size, in_batched, *args)` returns the results for all lanes and
    which of them have lanes. `in_batched` has the structure of the arguments, with True where an
    argument has its lanes along a new first axis; the flags returned have the structure of the
    result. Forward mode differentiates the rule; reverse mode within vmap does not know it.

    >>> import pullback as pb, pullback.numpy as jnp
    >>> @custom_vmap
    ... def f(x):
    ...     return jnp.sin(x)
    >>> @f.def_vmap
    ... def rule(axis_size, in_batched, x):
    ...     return 0.0 * x, in_batched[0]
    >>> pb.vmap(f)(jnp.ones(2)).tolist()
    [0.0, 0.0]
    """

    vmap_rule: Callable[..., Any] | None = None

    def __init__(self, fun: Callable[..., Any]) -> None:
        check_callable(fun, "custom_vmap")
        functools.update_wrapper(self, fun)
        self.fun = fun

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else functools.partial(self.__call__, instance)

    def def_vmap(self, vmap_rule: Callable[..., Any]) -> Callable[..., Any]:
        """Set the rule; returns it, for use as a decorator."""
        check_callable(vmap_rule, "def_vmap")
        self.vmap_rule = vmap_rule
        return vmap_rule

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.vmap_rule is None:
            raise AttributeError(
                f"No batching rule defined for custom_vmap function {function_name(self.fun)} "
                f"using def_vmap. It is {describe_function(self.fun)}."
            )
        if kwargs:
            raise TypeError(
                f"custom_vmap: {describe_function(self.fun)} takes positional arguments only, got "
                f"the keyword arguments {sorted(kwargs)}"
            )
        if current_trace() is EVAL:
            return self.fun(*args)
        leaves, in_tree = tree.flatten((args, {}))
        for x in leaves:
            check_operand(x, f"custom_vmap of {describe_function(self.fun)}")
        flat = FlatFunction(self.fun, in_tree)
        avals = [aval_of(x) for x in leaves]
        closed = stage(flat, avals, description=describe_function(self.fun))
        opened, consts = open_consts(closed)
        rule = self._flat_rule(len(consts), in_tree, flat.out_tree)
        name = function_name(self.vmap_rule)
        outs = custom_vmap_call.bind(*consts, *leaves, call=opened, rule=FlatVmapRule(rule, name))
        return flat.out_tree.unflatten(outs)

    def _flat_rule(self, n_consts: int, in_tree: Any, out_tree: Any) -> Any:
        vmap_rule = self.vmap_rule
        assert vmap_rule is not None

        def rule(size: int, batched: Sequence[bool], *args: Any) -> tuple[list[Any], list[bool]]:
            if any(batched[:n_consts]):
                raise ValueError(
                    f"custom_vmap: {describe_function(self.fun)} closes over a value that differs "
                    "between lanes; pass it as an argument"
                )
            values, _ = in_tree.unflatten(wrapped(args[n_consts:]))
            flags, _ = in_tree.unflatten(batched[n_consts:])
            result = vmap_rule(size, list(flags), *values)
            if not isinstance(result, tuple) or len(result) != 2:
                raise TypeError(
                    f"custom_vmap: the rule {describe_function(vmap_rule)} must return a pair "
                    f"(result, out_batched), got {result!r}"
                )
            outs, structure = tree.flatten(result[0])
            out_flags = tree.broadcast_prefix(result[1], out_tree.unflatten(outs))
            if structure != out_tree:
                raise TypeError(
                    f"custom_vmap: the rule {describe_function(vmap_rule)} must return the "
                    f"structure of the function's result, {out_tree}, got {structure}"
                )
            return outs, [bool(f) for f in out_flags]

        return rule
