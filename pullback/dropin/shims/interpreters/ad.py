"""`jax.interpreters.ad`: rules of differentiation for the primitives of libraries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from pullback import tree_util
from pullback.core.primitive import Linear, Zero, instantiate, is_linear
from pullback.dropin.rule_tables import Jvps, Transposes
from pullback.ops import elementwise
from pullback.transforms.jvp import JVPTrace, JVPTracer
from pullback.transforms.transpose import add_cotangents

__all__ = [
    "JVPTrace",
    "JVPTracer",
    "UndefinedPrimal",
    "Zero",
    "add_jaxvals",
    "add_jaxvals_p",
    "add_tangents",
    "defbilinear",
    "defjvp",
    "defjvp2",
    "deflinear",
    "deflinear2",
    "get_primitive_transpose",
    "instantiate_zeros",
    "is_undefined_primal",
    "primitive_jvps",
    "primitive_transposes",
    "zeros_like_aval",
]

UndefinedPrimal = Linear
primitive_jvps: Final = Jvps()
primitive_transposes: Final = Transposes()
add_jaxvals_p: Final = elementwise.add_any
add_tangents = add_cotangents
instantiate_zeros = instantiate
is_undefined_primal = is_linear

# Both are trees without leaves to libraries that map over tangents.
tree_util.register_pytree_node(Zero, lambda z: ((), z.aval), lambda aval, _: Zero(aval))
tree_util.register_pytree_node(Linear, lambda x: ((), x.aval), lambda aval, _: Linear(aval))


def zeros_like_aval(aval: Any) -> Any:
    """An array of zeros of a type."""
    return instantiate(Zero(aval))


def add_jaxvals(x: Any, y: Any) -> Any:
    """The sum of two cotangents."""
    return add_jaxvals_p.bind(x, y)


def get_primitive_transpose(p: Any) -> Callable[..., Any]:
    """The transpose rule of a primitive; NotImplementedError if it has none."""
    rule = primitive_transposes.get_rule(p)
    if rule is None:
        raise NotImplementedError(f"the primitive {p} has no transpose rule")
    return rule


def defjvp(primitive: Any, *jvprules: Callable[..., Any] | None) -> None:
    """Set one rule per operand, `rule(tangent, *operands, **params)`; None means zero."""

    def rule(primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> Any:
        ans = primitive.bind(*primals, **params)
        parts = [
            jvp(t, *primals, **params)
            for jvp, t in zip(jvprules, tangents, strict=True)
            if jvp is not None and type(t) is not Zero
        ]
        return ans, _sum(parts, ans)

    primitive_jvps[primitive] = rule


def defjvp2(primitive: Any, *jvprules: Callable[..., Any] | None) -> None:
    """The same for rules that get the result, too: `rule(tangent, result, *operands, **params)`."""

    def rule(primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> Any:
        ans = primitive.bind(*primals, **params)
        parts = [
            jvp(t, ans, *primals, **params)
            for jvp, t in zip(jvprules, tangents, strict=True)
            if jvp is not None and type(t) is not Zero
        ]
        return ans, _sum(parts, ans)

    primitive_jvps[primitive] = rule


def _sum(tangents: Sequence[Any], ans: Any) -> Any:
    total: Any = Zero.from_primal_value(ans)
    for t in tangents:
        total = add_cotangents(total, t)
    return total


def _linear_jvp(primitive: Any) -> Callable[..., Any]:
    def rule(primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> Any:
        ans = primitive.bind(*primals, **params)
        if all(type(t) is Zero for t in tangents):
            if primitive.multiple_results:
                return ans, [Zero.from_primal_value(x) for x in ans]
            return ans, Zero.from_primal_value(ans)
        return ans, primitive.bind(*map(instantiate, tangents), **params)

    return rule


def deflinear(primitive: Any, transpose_rule: Callable[..., Any]) -> None:
    """A primitive that is linear in all operands: `transpose_rule(cotangent, **params)`."""

    def transpose(ct: Any, *args: Any, **params: Any) -> Any:
        if type(ct) is Zero:
            return [Zero(x.aval.to_cotangent_aval()) if is_linear(x) else None for x in args]
        return transpose_rule(ct, **params)

    deflinear2(primitive, transpose)


def deflinear2(primitive: Any, transpose_rule: Callable[..., Any]) -> None:
    """The same for `transpose_rule(cotangent, *operands, **params)`."""
    primitive_jvps[primitive] = _linear_jvp(primitive)
    primitive_transposes[primitive] = transpose_rule


def defbilinear(prim: Any, lhs_rule: Callable[..., Any], rhs_rule: Callable[..., Any]) -> None:
    """A primitive that is linear in each of two operands.

    `lhs_rule(cotangent, x, y, **params)` gives the cotangent of the first, `rhs_rule` that of the
    second.
    """
    defjvp(
        prim,
        lambda t, x, y, **params: prim.bind(t, y, **params),
        lambda t, x, y, **params: prim.bind(x, t, **params),
    )

    def transpose(ct: Any, x: Any, y: Any, **params: Any) -> Any:
        if is_linear(x):
            return (Zero(x.aval) if type(ct) is Zero else lhs_rule(ct, x, y, **params)), None
        return None, (Zero(y.aval) if type(ct) is Zero else rhs_rule(ct, x, y, **params))

    primitive_transposes[prim] = transpose
