"""`lax`: what is neither an operation nor a loop; gathered here for the namespace."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from pullback import tree
from pullback.control import platforms as targets
from pullback.control.cond import bind_cond, cond
from pullback.control.linear_solve import linear_solve
from pullback.control.loops import while_
from pullback.control.scan import scan
from pullback.core.avals import aval_of
from pullback.core.source import describe_function, name_scope
from pullback.lax.associative import associative_scan
from pullback.lax.solvers import custom_linear_solve, custom_root
from pullback.lax.structural import as_array
from pullback.runtime.placement import with_sharding_constraint
from pullback.transforms.arguments import FlatFunction, check_callable, check_operand
from pullback.transforms.staging import stage

__all__ = [
    "associative_scan",
    "composite",
    "cond_p",
    "custom_linear_solve",
    "custom_root",
    "linear_solve_p",
    "platform_dependent",
    "scan_p",
    "while_p",
    "with_sharding_constraint",
]


cond_p = cond
linear_solve_p = linear_solve
scan_p = scan
while_p = while_


def composite(decomposition: Callable[..., Any], name: str, version: int = 0) -> Callable[..., Any]:
    """`decomposition` as one operation with a name, for backends that know it; here, a call.

    Positional arguments are operands, keyword arguments static attributes.

    >>> from pullback import lax
    >>> square = lax.composite(lambda x, *, scale: scale * x * x, "my.square")
    >>> float(square(3.0, scale=2.0))
    18.0
    """
    check_callable(decomposition, "composite")

    @functools.wraps(decomposition)
    def call(*args: Any, **attributes: Any) -> Any:
        with name_scope(name):
            return tree.map(as_array, decomposition(*tree.map(as_array, args), **attributes))

    return call


def platform_dependent(
    *args: Any, default: Callable[..., Any] | None = None, **per_platform: Callable[..., Any]
) -> Any:
    """The result of the function for the platform that the program runs on.

    Functions are given by the names of their platforms (`cpu`, `cuda`, `tpu`, ...); `default` is
    for all others. All are traced, and must return the same types.

    >>> from pullback import lax
    >>> float(lax.platform_dependent(2.0, cpu=lambda x: x + 1.0, default=lambda x: x))
    3.0
    """
    functions = [*per_platform.values(), *([] if default is None else [default])]
    if not functions:
        raise TypeError("platform_dependent: there must be at least one function")
    names: list[Any] = [(name,) for name in per_platform]
    platforms = tuple(names if default is None else [*names, None])
    leaves, in_tree = tree.flatten((args, {}))
    for x in leaves:
        check_operand(x, "platform_dependent")
    staged, trees = [], []
    for fun in functions:
        check_callable(fun, "platform_dependent")
        flat = FlatFunction(fun, in_tree)
        avals = [aval_of(x) for x in leaves]
        staged.append(stage(flat, avals, description=describe_function(fun)))
        trees.append(flat.out_tree)
    for fun, closed, out_tree in zip(functions, staged, trees, strict=True):
        same = [(a.shape, a.dtype) for a in closed.out_avals] == [
            (a.shape, a.dtype) for a in staged[0].out_avals
        ]
        if out_tree != trees[0] or not same:
            raise TypeError(
                "platform_dependent: all functions must return the same types, but "
                f"{describe_function(functions[0])} returns "
                f"{trees[0].unflatten(staged[0].out_avals)} and {describe_function(fun)} returns "
                f"{out_tree.unflatten(closed.out_avals)}"
            )
    index = targets.platform_index.bind(platforms=platforms)
    return trees[0].unflatten(bind_cond(index, staged, leaves))
