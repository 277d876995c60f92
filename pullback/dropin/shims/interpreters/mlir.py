"""`jax.interpreters.mlir`: lowering rules for the primitives of libraries.

A rule is run on traced values rather than on MLIR: `lower_fun(f)` is the rule that calls `f`.
Rules that build MLIR operations by hand need MLIR's Python bindings, which are not here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from pullback import tree
from pullback.control.callbacks import io_callback, pure_callback
from pullback.core.meshes import Mesh
from pullback.core.structs import ShapeDtypeStruct
from pullback.dropin.open_primitive import LoweringContext, Primitive

__all__ = [
    "LoweringRule",
    "LoweringRuleContext",
    "Mesh",
    "MeshAxisName",
    "emit_python_callback",
    "lower_fun",
    "register_lowering",
]

LoweringRuleContext = LoweringContext
LoweringRule = Callable[..., Any]
MeshAxisName = Any


def lower_fun(fun: Callable[..., Any], multiple_results: bool = True) -> LoweringRule:
    """The lowering rule that does what `fun` does when traced."""

    def rule(context: LoweringContext, *args: Any, **params: Any) -> list[Any]:
        out = fun(*args, **params)
        return list(out) if multiple_results else [out]

    return rule


_OURS: Final = (None, "cpu")


def register_lowering(
    prim: Any,
    rule: LoweringRule,
    platform: str | None = None,
    inline: bool = True,
    cacheable: bool = True,
) -> None:
    """Set the lowering rule of a primitive; rules for other platforms than the CPU are not used."""
    if not isinstance(prim, Primitive):
        raise TypeError(
            f"the lowering of {prim!r}, one of pullback's own primitives, is fixed; define a "
            "primitive of your own with jax.extend.core.Primitive"
        )
    if platform in _OURS:
        prim.rule_of_lowering = rule


def emit_python_callback(
    ctx: LoweringContext,
    callback: Callable[..., Any],
    token: Any,
    operands: Sequence[Any],
    operand_avals: Sequence[Any],
    result_avals: Sequence[Any],
    *,
    has_side_effect: bool,
    returns_token: bool = True,
    partitioned: bool = False,
    sharding: Any = None,
) -> tuple[list[Any], Any, Any]:
    """A call of a Python function in a program: its results, the token, what to keep alive."""
    specs = [ShapeDtypeStruct(a.shape, a.dtype) for a in result_avals]

    def on_arrays(*arrays: Any) -> list[Any]:
        return list(callback(*arrays))

    if has_side_effect:
        outs = io_callback(on_arrays, specs, *operands)
    else:
        outs = pure_callback(on_arrays, specs, *operands, vmap_method="sequential")
    return tree.leaves(outs), token, None
