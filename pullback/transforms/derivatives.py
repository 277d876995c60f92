"""The derivatives users ask for: jvp, vjp, grad, Jacobians, linearize and their relatives.

Pytrees come in here and leave here; below are flat values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from pullback import tree
from pullback.core import dtypes
from pullback.core.array import Array
from pullback.core.avals import ShapedArray, aval_of
from pullback.core.jaxpr import ClosedJaxpr, Jaxpr, eval_jaxpr
from pullback.core.primitive import Linear, Zero, instantiate
from pullback.core.refs import unwrapped, wrapped
from pullback.core.source import Description
from pullback.core.tracebacks import api_boundary
from pullback.ops import conversion
from pullback.transforms.arguments import (
    FlatFunction,
    check_callable,
    check_operand,
    function_name,
    is_differentiable_dtype,
    is_operand,
    shaped,
)
from pullback.transforms.jvp import is_float0, jvp_flat
from pullback.transforms.linearize import linearize_flat
from pullback.transforms.staging import stage
from pullback.transforms.transpose import backward_pass

__all__ = [
    "as_derivative",
    "jvp",
    "linear_transpose",
    "linearize",
    "vjp",
]


class FlatWithAux:
    """A function of positional arguments as a flat one, auxiliary leaves after the main ones.

    Auxiliary leaves that are no operands (names, objects of the user's) are kept as they are.
    `in_tree` is the structure of the tuple of arguments, `out_tree` that of the main result.
    """

    def __init__(self, fun: Callable[..., Any], in_tree: Any, has_aux: bool, name: str) -> None:
        self.fun, self.in_tree = fun, in_tree
        self.name = name if has_aux else None
        self.out_tree: Any = None
        self.n_main = 0

    def __call__(self, *leaves: Any) -> list[Any]:
        out = self.fun(*self.in_tree.unflatten(wrapped(leaves)))
        if self.name is None:
            outs, self.out_tree = tree.flatten(out)
            self.n_main = len(outs)
            return unwrapped(outs)
        if not isinstance(out, tuple) or len(out) != 2:
            raise TypeError(
                "expected function with aux output to return a two-element tuple, but got type "
                f"{type(out)} with value {out}; has_aux=True of {self.name} asks for the pair "
                "(result, auxiliary)"
            )
        self.aux_leaves, self.aux_tree = tree.flatten(out[1])
        self.are_operands = [is_operand(x) for x in self.aux_leaves]
        outs, self.out_tree = tree.flatten(out[0])
        self.n_main = len(outs)
        pairs = zip(self.aux_leaves, self.are_operands, strict=True)
        return [*unwrapped(outs), *(x for x, is_one in pairs if is_one)]

    def main(self, outs: Sequence[Any]) -> Any:
        """The main result as a pytree."""
        return self.out_tree.unflatten(outs[: self.n_main])

    def aux(self, outs: Sequence[Any]) -> Any:
        """The auxiliary result as a pytree."""
        operands = iter(outs[self.n_main :])
        pairs = zip(self.aux_leaves, self.are_operands, strict=True)
        return self.aux_tree.unflatten([next(operands) if is_one else x for x, is_one in pairs])


_MISMATCH: Final = {
    "jvp": (
        TypeError,
        "primal and tangent arguments to jax.jvp do not match; dtypes must be equal, and float0 "
        "for integers: ",
    ),
    "linearize": (
        ValueError,
        "linearized function called on tangent values inconsistent with the original primal "
        "values: ",
    ),
}
"""What a tangent of another type than its primal raises."""


def _check_tangent(primal: ShapedArray, tangent: Any, name: str) -> Any:
    """The tangent of a value of a type, as the rules want it, after a check of its own type."""
    error, words = _MISMATCH[name]
    expected = primal.to_tangent_aval()
    if expected.dtype == dtypes.float0:
        if not is_float0(tangent):
            raise error(
                f"{words}the primal is {primal}, which is not differentiable, so its "
                f"tangent must have dtype float0, got {aval_of(tangent)}"
            )
        return Zero(expected)
    if is_float0(tangent):
        raise error(f"{words}a tangent of dtype float0 for a primal of type {expected}")
    actual = aval_of(tangent)
    if actual.shape != expected.shape:
        if name == "jvp":
            words = "jvp called with different primal and tangent shapes;"
        raise ValueError(
            f"{words}Got primal shape {expected.shape} and tangent shape as {actual.shape}, in "
            f"{expected.str_short()} and {actual.str_short()}"
        )
    if actual.dtype != expected.dtype:
        raise error(f"{words}got primal {expected} and tangent {actual}")
    return _typed(tangent, actual, expected)


def _typed(x: Any, actual: ShapedArray, expected: ShapedArray) -> Any:
    """A tangent or cotangent that fits, with the dtype and the weakness of the rules' own."""
    if actual.dtype == expected.dtype and actual.weak_type == expected.weak_type:
        return x
    if not isinstance(x, Array):
        x = np.asarray(x, dtypes.physical(expected.dtype))
    return conversion.convert(x, expected.dtype, expected.weak_type)


def as_derivative(x: Any, of: Any) -> Any:
    """A tangent or cotangent as a result: an Array as weak as the value (or aval) it belongs to."""
    x = instantiate(x)
    expected = (of if isinstance(of, ShapedArray) else aval_of(of)).to_tangent_aval()
    if expected.dtype == dtypes.float0 or (isinstance(x, Array) and x.aval is expected):
        return x
    weak = expected.weak_type
    return conversion.convert_element_type(
        x, new_dtype=expected.dtype, weak_type=weak, sharding=None
    )


@api_boundary
def jvp(
    fun: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any], has_aux: bool = False
) -> Any:
    """The value of `fun` and its derivative in a direction (forward mode).

    Returns `(primals_out, tangents_out)`, and the auxiliary result after them with `has_aux`.
    `tangents` has the structure, shapes and dtypes of `primals` (float0 for integers).

    >>> import pullback as pb, pullback.numpy as jnp
    >>> y, dy = pb.jvp(jnp.square, (3.0,), (1.0,))
    >>> float(y), float(dy)
    (9.0, 6.0)
    """
    check_callable(fun, "jvp")
    if not isinstance(primals, (tuple, list)) or not isinstance(tangents, (tuple, list)):
        raise TypeError(
            "primal and tangent arguments to jax.jvp must be tuples or lists; found "
            f"{type(primals).__name__} and {type(tangents).__name__}."
        )
    flat_primals, in_tree = tree.flatten(tuple(primals))
    flat_tangents = tree.leaves(tangents)
    if tree.structure(primals) != tree.structure(tangents):
        raise TypeError(
            "primal and tangent arguments to jax.jvp must have the same tree structure; primals "
            f"have tree structure {tree.structure(primals)} whereas tangents have tree structure "
            f"{tree.structure(tangents)}."
        )
    for x in flat_primals:
        check_operand(x, "jvp", "primal")
    flat_tangents = [
        _check_tangent(aval_of(p), t, "jvp")
        for p, t in zip(flat_primals, flat_tangents, strict=True)
    ]
    flat = FlatWithAux(fun, in_tree, has_aux, "jvp")
    description = Description(fun, "jvp")
    outs, out_tangents = jvp_flat(flat, flat_primals, flat_tangents, description=description)
    dots = [as_derivative(t, x) for t, x in zip(out_tangents, outs, strict=True)]
    result = flat.main(outs), flat.main(dots)
    return (*result, flat.aux(outs)) if has_aux else result


@api_boundary
def linearize(fun: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """The value of `fun` and the linear function of tangents at that point.

    Returns `(out, fun_lin)`, where `fun_lin(*tangents)` costs no evaluation of `fun` again.

    >>> import pullback as pb, pullback.numpy as jnp
    >>> y, f_lin = pb.linearize(jnp.sin, 0.0)
    >>> float(f_lin(2.0))
    2.0
    """
    check_callable(fun, "linearize")
    leaves, in_tree = tree.flatten(primals)
    for x in leaves:
        check_operand(x, "linearize", "primal")
    flat = FlatWithAux(fun, in_tree, has_aux, "linearize")
    wanted = [is_differentiable_dtype(aval_of(x).dtype) for x in leaves]
    outs, closed, nonzero = linearize_flat(
        flat, leaves, wanted, description=Description(fun, "linearize")
    )

    closed, nonzero = _main_results(closed, nonzero, flat.n_main)
    avals = [aval_of(x) for x in leaves], [aval_of(x) for x in outs[: flat.n_main]]
    pushforward = _Pushforward(closed.jaxpr, *avals, nonzero, in_tree, flat.out_tree)
    fun_lin = tree.Partial(pushforward, *closed.consts)
    out = flat.main(outs)
    return (out, fun_lin, flat.aux(outs)) if has_aux else (out, fun_lin)


class _Pushforward:
    """The function from residuals and tangents to tangents.

    What `linearize` returns is a `Partial` of it on the residuals: a pytree, which may leave a
    jitted function and enter another one.
    """

    def __init__(
        self,
        jaxpr: Jaxpr,
        in_avals: Sequence[Any],
        out_avals: Sequence[Any],
        nonzero: Sequence[bool],
        in_tree: Any,
        out_tree: Any,
    ) -> None:
        self._jaxpr, self._in_avals, self._out_avals = jaxpr, in_avals, out_avals
        self._nonzero, self._in_tree, self._out_tree = list(nonzero), in_tree, out_tree

    def __call__(self, *operands: Any, **kwargs: Any) -> Any:
        n_residuals = len(self._jaxpr.constvars)
        tangents = operands[n_residuals:]
        given, tangent_tree = tree.flatten((tangents, kwargs) if kwargs else tangents)
        if tangent_tree != self._in_tree:
            raise TypeError(
                "linearize: tangents must have the structure of the primals: expected "
                f"{self._in_tree}, got {tangent_tree}"
            )
        checked = [
            _check_tangent(a, t, "linearize") for a, t in zip(self._in_avals, given, strict=True)
        ]
        moving = [
            t
            for t, a in zip(checked, self._in_avals, strict=True)
            if is_differentiable_dtype(a.dtype)
        ]
        values = iter(eval_jaxpr(self._jaxpr, operands[:n_residuals], *moving))
        return self._out_tree.unflatten(
            as_derivative(next(values) if nz else Zero(a.to_tangent_aval()), a)
            for nz, a in zip(self._nonzero, self._out_avals, strict=True)
        )


class _Pullback:
    """The function from residuals and cotangents to cotangents.

    What `vjp` returns is a `Partial` of it on the residuals: a pytree, which may leave a jitted
    function and enter another one.
    """

    def __init__(
        self,
        jaxpr: Jaxpr,
        leaves: Sequence[Any],
        wanted: Sequence[bool],
        out_avals: Sequence[Any],
        nonzero: Sequence[bool],
        in_tree: Any,
        out_tree: Any,
        name: str,
    ) -> None:
        self._name = name
        self._jaxpr, self._wanted = jaxpr, list(wanted)
        self._in_avals = [aval_of(x) for x in leaves]
        self._out_avals, self._nonzero = list(out_avals), list(nonzero)
        self._in_tree, self._out_tree = in_tree, out_tree

    def __call__(self, *operands: Any) -> Any:
        n_residuals = len(self._jaxpr.constvars)
        residuals, cotangents = operands[:n_residuals], operands[n_residuals:]
        if len(cotangents) != 1:
            raise TypeError(
                f"The function returned by `jax.vjp` applied to {self._name} was called with "
                f"{len(cotangents)} arguments, but functions returned by `jax.vjp` must be called "
                "with a single argument corresponding to the single value returned by the function "
                "being differentiated (even if that returned value is a tuple or other container)."
            )
        given, ct_tree = tree.flatten(cotangents[0])
        if ct_tree != self._out_tree:
            raise ValueError(
                "unexpected tree structure: the cotangents that a VJP function takes must have the "
                f"structure of the function's result, {self._out_tree}, got {ct_tree}"
            )
        checked = [_check_cotangent(a, ct) for a, ct in zip(self._out_avals, given, strict=True)]
        moving = [ct for ct, nz in zip(checked, self._nonzero, strict=True) if nz]
        args = [Linear(v.aval) for v in self._jaxpr.invars]
        outs = iter(backward_pass(self._jaxpr, residuals, args, moving))
        results = [
            as_derivative(next(outs) if w else Zero(a.to_cotangent_aval()), a)
            for w, a in zip(self._wanted, self._in_avals, strict=True)
        ]
        return self._in_tree.unflatten(results)


def _check_cotangent(aval: Any, ct: Any, integers: bool = False) -> Any:
    """The cotangent of a result, after a check of its type; `integers` have some of their own."""
    expected = aval if integers and aval.dtype.kind in "iu" else aval.to_cotangent_aval()
    if expected.dtype == dtypes.float0:
        return Zero(expected)  # whatever was given: an integer has no cotangent
    actual = aval_of(ct)
    if actual.shape != expected.shape:
        raise ValueError(
            f"unexpected JAX type (e.g. shape/dtype) for argument to VJP function: got {actual} "
            f"as the cotangent of a result of type {aval}: the shapes differ"
        )
    if actual.dtype != expected.dtype:
        raise ValueError(
            f"unexpected JAX type (e.g. shape/dtype) for argument to VJP function: got {actual} "
            f"as the cotangent of a result of type {aval}: the dtypes differ"
        )
    return _typed(ct, actual, expected)


@api_boundary
def vjp(
    fun: Callable[..., Any], *primals: Any, has_aux: bool = False, reduce_axes: Sequence[Any] = ()
) -> Any:
    """The value of `fun` and the function that pulls cotangents back to its arguments.

    Returns `(out, vjp_fun)`; `vjp_fun(ct)` gives a tuple with one cotangent pytree per primal
    (float0 for integers). With `has_aux`, the auxiliary result is the third.

    >>> import pullback as pb, pullback.numpy as jnp
    >>> y, pull = pb.vjp(lambda a, b: a * b, 3.0, 5.0)
    >>> [float(ct) for ct in pull(1.0)]
    [5.0, 3.0]
    """
    check_callable(fun, "vjp")
    leaves, in_tree = tree.flatten(primals)
    for x in leaves:
        check_operand(x, "vjp", "primal")
    flat = FlatWithAux(fun, in_tree, has_aux, "vjp")
    wanted = [is_differentiable_dtype(aval_of(x).dtype) for x in leaves]
    outs, closed, nonzero = linearize_flat(
        flat, leaves, wanted, description=Description(fun, "vjp")
    )
    closed, nonzero = _main_results(closed, nonzero, flat.n_main)
    out_avals = [aval_of(x) for x in outs[: flat.n_main]]
    out_tree = flat.out_tree
    name = function_name(fun)
    pullback = _Pullback(closed.jaxpr, leaves, wanted, out_avals, nonzero, in_tree, out_tree, name)
    pull = tree.Partial(pullback, *closed.consts)
    out = flat.main(outs)
    return (out, pull, flat.aux(outs)) if has_aux else (out, pull)


def _main_results(
    closed: ClosedJaxpr, nonzero: Sequence[bool], n_main: int
) -> tuple[ClosedJaxpr, list[bool]]:
    """Without the tangents of auxiliary results."""
    kept = list(nonzero[:n_main])
    if len(kept) == len(nonzero):
        return closed, kept
    jaxpr = closed.jaxpr.replace(outvars=closed.jaxpr.outvars[: sum(kept)])
    return ClosedJaxpr(jaxpr, closed.consts), kept


@api_boundary
def linear_transpose(fun: Callable[..., Any], *primals: Any, reduce_axes: Any = ()) -> Any:
    """The transpose of a linear function.

    `primals` give shapes and dtypes only. Returns `fun_t(ct)`, a tuple of one cotangent per primal.

    >>> import pullback as pb
    >>> transposed = pb.linear_transpose(lambda x: 3.0 * x, 1.0)
    >>> float(transposed(2.0)[0])
    6.0
    """
    check_callable(fun, "linear_transpose")
    leaves, in_tree = tree.flatten((primals, {}))
    flat = FlatFunction(fun, in_tree)
    avals = [shaped(x) for x in leaves]
    closed = stage(flat, avals, description=Description(fun, "linear_transpose"))

    def transposed(cts: Any) -> Any:
        given, ct_tree = tree.flatten(cts)
        if ct_tree != flat.out_tree:
            raise TypeError(
                "cotangent tree does not match function output, expected "
                f"{flat.out_tree} but got {ct_tree}"
            )
        try:
            checked = [
                _check_cotangent(aval, ct, integers=True)
                for aval, ct in zip(closed.out_avals, given, strict=True)
            ]
        except ValueError as error:
            raise TypeError(f"cotangent type does not match function output: {error}") from None
        args = [Linear(a) for a in avals]
        outs = backward_pass(closed.jaxpr, closed.consts, args, checked)
        return in_tree.unflatten([instantiate(ct) for ct in outs])[0]

    return transposed
