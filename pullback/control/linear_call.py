"""`linear_call`: a linear function that brings its own transpose."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from pullback import tree
from pullback.control.custom import Rule, batched_operands, batched_rule, recorded
from pullback.control.jit import open_consts
from pullback.core.avals import aval_of
from pullback.core.jaxpr import ClosedJaxpr, eval_jaxpr
from pullback.core.primitive import (
    NO_SAMPLES,
    Linear,
    Primitive,
    Zero,
    instantiate,
)
from pullback.core.source import describe_function
from pullback.transforms.arguments import FlatFunction, check_callable, check_operand, function_name
from pullback.transforms.batching import batch_jaxpr, move_batch_axis
from pullback.transforms.jvp import given_tangents, jvp_jaxpr, nonzero_tangents
from pullback.transforms.staging import stage
from pullback.transforms.transpose import add_cotangents

__all__ = ["linear_call", "linear_call_primitive"]


def _bind(
    callee: ClosedJaxpr, transpose: Rule, res: Sequence[Any], lin: Sequence[Any], kept: int
) -> list[Any]:
    """Apply; `kept` of the residuals, the last ones, are those that the transpose is given."""
    opened, consts = open_consts(callee)
    outs: list[Any] = linear_call_primitive.bind(
        *consts,
        *res,
        *lin,
        callee=opened,
        transpose=transpose,
        num_callee_consts=len(consts) + len(res) - kept,
        num_res=kept,
    )
    return outs


def _jvp(
    primals: Sequence[Any],
    tangents: Sequence[Any],
    *,
    callee: ClosedJaxpr,
    transpose: Rule,
    num_callee_consts: int,
    num_res: int,
) -> tuple[list[Any], list[Any]]:
    """Linear in the last operands; in the residuals by the derivative of the function."""
    n = num_callee_consts + num_res
    params = {
        "callee": callee,
        "transpose": transpose,
        "num_callee_consts": num_callee_consts,
        "num_res": num_res,
    }
    outs = linear_call_primitive.bind(*primals, **params)
    res, lin_dots = primals[:n], tangents[n:]
    dots: list[Any] = [Zero(a.to_tangent_aval()) for a in callee.out_avals]
    if any(type(t) is not Zero for t in lin_dots):
        dots = linear_call_primitive.bind(*res, *map(instantiate, lin_dots), **params)
    nonzero = nonzero_tangents(tangents[:n])
    if any(nonzero):
        flags = [*nonzero, *[False] * (len(primals) - n)]
        closed, out_nonzero = jvp_jaxpr(callee, flags, force=True)
        given = given_tangents(tangents[:n])
        moved = eval_jaxpr(closed.jaxpr, closed.consts, *primals, *given)[len(outs) :]
        found = iter(moved)
        dots = [
            add_cotangents(d, next(found)) if nz else d
            for d, nz in zip(dots, out_nonzero, strict=True)
        ]
    return outs, dots


def _transpose(
    cts: Sequence[Any],
    *args: Any,
    callee: ClosedJaxpr,
    transpose: Rule,
    num_callee_consts: int,
    num_res: int,
) -> list[Any]:
    n = num_callee_consts + num_res
    if any(type(x) is Linear for x in args[:n]):
        raise TypeError("linear_call is not linear in its residuals")
    consts_and_res, lin = args[:n], args[n:]

    def backwards(*operands: Any) -> list[Any]:
        outs: list[Any] = transpose(*operands[num_callee_consts:])
        return outs

    def forwards(*operands: Any) -> list[Any]:
        return eval_jaxpr(callee.jaxpr, callee.consts, *operands)

    given = [instantiate(ct) for ct in cts]
    avals = [aval_of(x) for x in (*consts_and_res, *given)]
    staged = stage(backwards, avals, description=f"the transpose {transpose}")
    outs = _bind(staged, Rule(forwards, "callee"), consts_and_res, given, n)
    return [None] * n + [ct if type(x) is Linear else None for x, ct in zip(lin, outs, strict=True)]


def _batch(
    size: int,
    args: Sequence[Any],
    dims: Sequence[int | None],
    *,
    callee: ClosedJaxpr,
    transpose: Rule,
    num_callee_consts: int,
    num_res: int,
) -> tuple[list[Any], list[int | None]]:
    n = num_callee_consts + num_res
    batched, moved = batched_operands(size, args, [*dims[:n], *[0] * (len(dims) - n)])
    lin = [move_batch_axis(x, size, d, 0) for x, d in zip(args[n:], dims[n:], strict=True)]
    closed, _ = batch_jaxpr(callee, size, batched, force=True)
    res_batched = batched[num_callee_consts:n]
    rule = batched_rule(
        transpose,
        size,
        lambda k: [*res_batched, *[True] * (k - num_res)],
        lambda outs: [True] * len(outs),
    )
    outs = _bind(closed, rule, moved[:n], lin, num_res)
    return outs, [0] * len(outs)


def _lower(b: Any, *xs: Any, callee: ClosedJaxpr, **_: Any) -> list[Any]:
    results: list[Any] = b.inline(callee, *xs)
    return results


linear_call_primitive: Final[Primitive] = Primitive(
    name="linear_call",
    abstract=lambda *avals, callee, **_: callee.out_avals,
    reference=lambda *args, callee, **_: eval_jaxpr(callee.jaxpr, callee.consts, *args),
    jvp=_jvp,
    transpose=_transpose,
    batch=_batch,
    partial_eval=recorded(lambda: linear_call_primitive),
    lower=_lower,
    hlo=_lower,
    samples=NO_SAMPLES,
    multiple_results=True,
    effects=lambda *, callee, **_: callee.effects,
    literals=False,
)


def linear_call(
    fun: Callable[[Any, Any], Any],
    fun_transpose: Callable[[Any, Any], Any],
    residual_args: Any,
    linear_args: Any,
) -> Any:
    """`fun(residual_args, linear_args)`, whose transpose is `fun_transpose(residual_args, ct)`.

    `fun` is linear in its second argument, and need not be transposable. Forward mode goes through
    it as through any linear function; its derivative with respect to `residual_args` is that of
    its code.

    >>> import pullback as pb
    >>> f = lambda x: linear_call(lambda r, x: x / r, lambda r, ct: 10.0 * ct / r, 4.0, x)
    >>> float(f(2.0)), float(pb.grad(f)(2.0))
    (0.5, 2.5)
    """
    check_callable(fun, "linear_call")
    check_callable(fun_transpose, "linear_call")
    res, res_tree = tree.flatten(residual_args)
    lin, lin_tree = tree.flatten(linear_args)
    for x in (*res, *lin):
        check_operand(x, "linear_call")
    in_tree = tree.structure(((residual_args, linear_args), {}))
    flat = FlatFunction(fun, in_tree)
    avals = [aval_of(x) for x in (*res, *lin)]
    callee = stage(flat, avals, description=describe_function(fun))

    def transpose(*operands: Any) -> list[Any]:
        residuals, cts = operands[: len(res)], operands[len(res) :]
        result = fun_transpose(res_tree.unflatten(residuals), flat.out_tree.unflatten(cts))
        outs, structure = tree.flatten(result)
        if structure != lin_tree:
            raise TypeError(
                f"linear_call: {describe_function(fun_transpose)} must return the structure of the "
                f"linear arguments, {lin_tree}, got {structure}"
            )
        return outs

    outs = _bind(callee, Rule(transpose, function_name(fun_transpose)), res, lin, len(res))
    return flat.out_tree.unflatten(outs)
