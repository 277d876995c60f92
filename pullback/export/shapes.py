"""Symbolic shapes as users write them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pullback import tree
from pullback.core.avals import aval_of
from pullback.core.dimension_specs import SymbolicScope, parse_shape
from pullback.core.dimensions import is_symbolic
from pullback.core.structs import ShapeDtypeStruct

__all__ = ["is_symbolic_dim", "symbolic_args_specs", "symbolic_shape"]


def is_symbolic_dim(p: Any) -> bool:
    """Whether a length is an expression of dimension variables.

    >>> is_symbolic_dim(3), is_symbolic_dim(symbolic_shape("b")[0])
    (False, True)
    """
    return is_symbolic(p)


def _scope(constraints: Sequence[str], scope: SymbolicScope | None) -> SymbolicScope:
    if scope is None:
        return SymbolicScope(constraints)
    if constraints:
        raise ValueError("constraints belong to the scope: give one of them, not both")
    return scope


def symbolic_shape(
    shape_spec: str | None,
    *,
    constraints: Sequence[str] = (),
    scope: SymbolicScope | None = None,
    like: Sequence[int | None] | None = None,
) -> tuple[Any, ...]:
    """The shape of a text with dimension variables, which stand for numbers of 1 and more.

    `_` is the length of this axis in `like`, `...` those of all further axes.  Variables of
    different scopes do not go together; a scope of its own is made if none is given.

    >>> symbolic_shape("b, 2*b + 1, 3")
    (b, 2*b + 1, 3)
    >>> b, c = symbolic_shape("b, ...", like=(None, 4))
    >>> b >= 1, c
    (True, 4)
    """
    if shape_spec is not None and not isinstance(shape_spec, str):
        raise ValueError(f"symbolic_shape needs a text, got {shape_spec!r}")
    text = "..." if shape_spec is None else shape_spec
    shape = parse_shape(text, _scope(constraints, scope), like)
    if any(n is None for n in shape):
        raise ValueError(f"symbolic shape {text!r} leaves lengths open that `like` does not have")
    return shape


def symbolic_args_specs(
    args: Any,
    shapes_specs: Any,
    constraints: Sequence[str] = (),
    scope: SymbolicScope | None = None,
) -> Any:
    """`ShapeDtypeStruct`s like the arguments, with symbolic shapes.

    `shapes_specs` is a pytree of texts that is a prefix of `args`, all in one scope; None leaves
    shapes as they are.

    >>> import numpy as np
    >>> symbolic_args_specs((np.ones((2, 3), "float32"), np.ones(2, "float32")), "b, ...")
    (ShapeDtypeStruct(shape=(b, 3), dtype=float32), ShapeDtypeStruct(shape=(b,), dtype=float32))
    """
    leaves, structure = tree.flatten(args)
    found = _scope(constraints, scope)
    specs = tree.broadcast(shapes_specs, args, is_leaf=lambda x: x is None)
    texts = tree.leaves(specs, is_leaf=lambda x: x is None)
    out = []
    for x, text in zip(leaves, texts, strict=True):
        aval = aval_of(x) if not isinstance(x, ShapeDtypeStruct) else x
        shape = symbolic_shape(text, scope=found, like=aval.shape)
        out.append(ShapeDtypeStruct(shape, aval.dtype))
    return structure.unflatten(out)
