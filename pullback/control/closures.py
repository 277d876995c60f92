"""Functions with custom derivatives made from functions: `custom_gradient`, `closure_convert`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pullback import tree
from pullback.control.custom_vjp import custom_vjp
from pullback.core import dtypes
from pullback.core.avals import aval_of
from pullback.core.jaxpr import ClosedJaxpr, eval_jaxpr
from pullback.core.source import describe_function
from pullback.core.trace import Tracer
from pullback.pytree.registry import register_pytree_node
from pullback.transforms.arguments import FlatFunction, check_callable, check_operand, shaped
from pullback.transforms.staging import stage

__all__ = ["closure_convert", "custom_gradient"]


class _Residuals:
    """A staged backward function, as a pytree of the values it closes over."""

    def __init__(self, closed: ClosedJaxpr, in_tree: Any, out_tree: Any) -> None:
        self.closed, self.in_tree, self.out_tree = closed, in_tree, out_tree

    def pull(self, consts: Sequence[Any], ct: Any) -> Any:
        """The cotangents of the arguments, as the user's function returns them."""
        outs = eval_jaxpr(self.closed.jaxpr, consts, *tree.leaves(ct))
        return self.out_tree.unflatten(outs)


def custom_gradient(fun: Callable[..., Any]) -> Callable[..., Any]:
    """A function with a gradient of its own: `fun` returns the pair of its value and its vjp.

    The vjp takes the cotangent of the value (with the structure of the value) and returns the
    cotangent of the argument, or a tuple of them for several arguments. Values that it closes over
    are kept for the backward pass.

    >>> import pullback as pb
    >>> @pb.custom_gradient
    ... def f(x):
    ...     return x ** 2, lambda ct: 10.0 * ct
    >>> float(f(3.0)), float(pb.grad(f)(3.0))
    (9.0, 10.0)
    """
    check_callable(fun, "custom_gradient")

    @functools.wraps(fun)
    def value(*args: Any, **kwargs: Any) -> Any:
        return _pair(fun(*args, **kwargs), fun)[0]

    wrapped = custom_vjp(value)

    def fwd(*args: Any) -> Any:
        ans, rule = _pair(fun(*args), fun)
        leaves, out_tree = tree.flatten(ans)
        avals = [aval_of(x).to_cotangent_aval() for x in leaves]
        in_tree = tree.structure(((out_tree.unflatten([0] * len(leaves)),), {}))
        flat = FlatFunction(rule, in_tree)
        closed = stage(flat, avals, description=f"the vjp of {describe_function(fun)}")
        staged = _Residuals(closed, in_tree, flat.out_tree)
        return ans, _Kept(staged, closed.consts)

    def bwd(kept: _Kept, ct: Any) -> Any:
        cts = kept.staged.pull(kept.consts, ct)
        return cts if isinstance(cts, (tuple, list)) else (cts,)

    wrapped.defvjp(fwd, bwd)
    return wrapped


class _Kept:
    """Residuals with the values of the staged function's constants."""

    def __init__(self, staged: _Residuals, consts: Sequence[Any]) -> None:
        self.staged, self.consts = staged, list(consts)


register_pytree_node(
    _Kept, lambda kept: (kept.consts, kept.staged), lambda staged, consts: _Kept(staged, consts)
)


def _pair(result: Any, fun: Any) -> tuple[Any, Any]:
    if not isinstance(result, (tuple, list)) or len(result) != 2:
        raise TypeError(
            f"custom_gradient: {describe_function(fun)} must return a pair of its value and its "
            f"vjp function, got {result!r}"
        )
    check_callable(result[1], "custom_gradient")
    return result[0], result[1]


def closure_convert(fun: Callable[..., Any], *example_args: Any) -> tuple[Any, list[Any]]:
    """`fun` as a function that takes the values it closes over as further arguments.

    Returns `(converted, values)`; `converted(*args, *values)` is `fun(*args)` for arguments of the
    types of `example_args`. Hoisted are the traced values of inexact dtypes, with respect to which
    somebody may differentiate: functions with custom derivatives can take them as arguments.

    >>> import pullback as pb
    >>> converted, values = pb.closure_convert(lambda x: x + 1.0, 0.0)
    >>> float(converted(2.0, *values))
    3.0
    """
    check_callable(fun, "closure_convert")
    leaves, in_tree = tree.flatten((example_args, {}))
    avals = [shaped(x) for x in leaves]
    flat = FlatFunction(fun, in_tree)
    closed = stage(flat, avals, description=describe_function(fun))
    hoisted = [_may_be_differentiated(c) for c in closed.consts]
    n_hoisted = sum(hoisted)
    n_args = len(example_args)

    def converted(*operands: Any) -> Any:
        if len(operands) != n_args + n_hoisted:
            raise TypeError(
                f"closure_convert: the converted function takes {n_args} arguments followed by "
                f"{n_hoisted} closed-over values, got {len(operands)} operands"
            )
        args, given = operands[:n_args], iter(operands[n_args:])
        flat_args, structure = tree.flatten((tuple(args), {}))
        if structure != in_tree:
            raise TypeError(
                f"closure_convert: the arguments must have the structure of the examples, "
                f"{in_tree}, got {structure}"
            )
        for x in flat_args:
            check_operand(x, "the converted function")
        consts = [next(given) if h else c for c, h in zip(closed.consts, hoisted, strict=True)]
        outs = eval_jaxpr(closed.jaxpr, consts, *flat_args)
        return flat.out_tree.unflatten(outs)

    return converted, [c for c, h in zip(closed.consts, hoisted, strict=True) if h]


def _may_be_differentiated(x: Any) -> bool:
    return isinstance(x, Tracer) and bool(dtypes.issubdtype(aval_of(x).dtype, np.inexact))
