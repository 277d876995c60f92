"""What the backward pass of a function will need from its forward pass: for users to look at."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from pullback import tree
from pullback.core.avals import aval_of
from pullback.core.jaxpr import ClosedJaxpr, JaxprEqn, Literal
from pullback.core.source import describe_function
from pullback.transforms.arguments import (
    FlatFunction,
    check_callable,
    check_operand,
    is_differentiable_dtype,
)
from pullback.transforms.linearize import linearize_flat
from pullback.transforms.staging import stage

__all__ = ["print_saved_residuals", "saved_residuals"]


def saved_residuals(f: Callable[..., Any], *args: Any, **kwargs: Any) -> list[tuple[Any, str]]:
    """The values kept between the forward and the backward pass of `f`: types and origins.

    >>> import pullback.numpy as jnp
    >>> saved_residuals(lambda x: x * 3.0 + jnp.sin(x), 1.0)[0][0]
    ShapedArray(float32[], weak_type=True)
    """
    check_callable(f, "saved_residuals")
    leaves, in_tree = tree.flatten((args, kwargs))
    for x in leaves:
        check_operand(x, "saved_residuals")
    flat = FlatFunction(f, in_tree)
    wanted = [is_differentiable_dtype(aval_of(x).dtype) for x in leaves]

    def residuals(*xs: Any) -> list[Any]:
        _, linear, _ = linearize_flat(flat, xs, wanted, description=describe_function(f))
        return linear.consts

    closed = stage(residuals, [aval_of(x) for x in leaves], description=describe_function(f))
    return _origins(closed, _argument_names(f, args, kwargs))


def print_saved_residuals(f: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
    """Print the values kept between the forward and the backward pass of `f`.

    >>> import pullback.numpy as jnp
    >>> print_saved_residuals(lambda x: x * x, 3.0)
    f32[] from the argument x
    """
    for aval, origin in saved_residuals(f, *args, **kwargs):
        print(f"{aval.str_short()} {origin}")


def _argument_names(f: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> list[str]:
    """One name for each leaf of the arguments, such as `params['w']`."""
    try:
        bound = inspect.signature(f).bind(*args, **kwargs).arguments
    except (TypeError, ValueError):
        bound = {f"args[{i}]": x for i, x in enumerate(args)} | kwargs
    return [
        f"{name}{tree.keystr(path)}"
        for name, value in bound.items()
        for path, _ in tree.leaves_with_path(value)
    ]


def _origins(closed: ClosedJaxpr, names: Sequence[str]) -> list[tuple[Any, str]]:
    jaxpr = closed.jaxpr
    results = list(dict.fromkeys(jaxpr.outvars))
    texts: dict[Any, str] = {v: "from a literal" for v in results if type(v) is Literal}
    texts |= {v: f"from the argument {name}" for v, name in zip(jaxpr.invars, names, strict=True)}
    texts |= dict.fromkeys(jaxpr.constvars, "from a constant")
    for eqn in jaxpr.eqns:
        texts |= {v: _made_by(eqn) for v in eqn.outvars}
    order = {v: i for i, v in enumerate(texts)}
    return [(v.aval, texts[v]) for v in sorted(results, key=lambda v: order[v])]


def _made_by(eqn: JaxprEqn) -> str:
    name: Any = eqn.params.get("name")
    if eqn.primitive.name == "name":
        return f"named '{name}' from {eqn.source_info}"
    if eqn.primitive.name == "jit":
        return f"output of jitted function '{name}' from {eqn.source_info}"
    return f"output of {eqn.primitive.name} from {eqn.source_info}"
