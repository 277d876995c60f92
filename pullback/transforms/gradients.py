"""Gradients of scalar functions: values, and one pull of their cotangent back over the tape.

`vjp` gives a function that may be kept, called often, and passed between programs.  Here the linear
map is used once and at once, so that it is transposed from the tape, without a jaxpr of its own.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pullback import tree
from pullback.core import dtypes
from pullback.core.array import Array
from pullback.core.avals import ShapedArray, aval_of
from pullback.core.primitive import Zero, instantiate
from pullback.core.source import Description, describe_function
from pullback.core.trace import eager
from pullback.core.tracebacks import api_boundary
from pullback.ops import conversion
from pullback.records import record
from pullback.transforms.arguments import (
    as_index_tuple,
    check_callable,
    check_operand,
    fix_arguments,
)
from pullback.transforms.derivatives import FlatWithAux, as_derivative
from pullback.transforms.linearize import linear_tape
from pullback.transforms.transpose import backward_tape

__all__ = ["grad", "value_and_grad"]


def value_and_grad(
    fun: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
    reduce_axes: Sequence[Any] = (),
) -> Callable[..., Any]:
    """A function that gives the value of scalar `fun` and its gradient.

    The gradient has the structure of the argument `argnums` (a tuple for several). With
    `has_aux`, the value is the pair that `fun` returns. Raises TypeError for a result that is not
    a real scalar, and for integer arguments unless `allow_int`.

    >>> import pullback as pb
    >>> value, gradient = pb.value_and_grad(lambda x: x ** 2)(3.0)
    >>> float(value), float(gradient)
    (9.0, 6.0)
    """
    check_callable(fun, "value_and_grad")
    options = _Options(fun, argnums, has_aux, holomorphic, allow_int)

    def value_and_grad_fun(*args: Any, **kwargs: Any) -> Any:
        return _value_and_gradient(options, args, kwargs)

    return api_boundary(value_and_grad_fun, like=fun)


def grad(
    fun: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
    reduce_axes: Sequence[Any] = (),
) -> Callable[..., Any]:
    """The gradient of a scalar function with respect to `argnums`; see `value_and_grad`.

    >>> import pullback as pb, pullback.numpy as jnp
    >>> float(pb.grad(jnp.sin)(0.0))
    1.0
    """
    check_callable(fun, "grad")
    options = _Options(fun, argnums, has_aux, holomorphic, allow_int)

    def grad_fun(*args: Any, **kwargs: Any) -> Any:
        value, gradient = _value_and_gradient(options, args, kwargs)
        return (gradient, value[1]) if has_aux else gradient

    return api_boundary(grad_fun, like=fun)


@record()
class _Options:
    """What is differentiated, and how."""

    fun: Callable[..., Any]
    argnums: int | Sequence[int]
    has_aux: bool
    holomorphic: bool
    allow_int: bool


def _as_weak(ct: Any, aval: Any) -> Any:
    """A gradient as an Array that is weakly typed if the argument is, whatever became of that."""
    if isinstance(ct, Array) and (ct.aval is aval or not aval.weak_type):
        return ct
    return as_derivative(ct, aval)


def _value_and_gradient(
    options: _Options, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Any, Any]:
    fun, argnums = options.fun, options.argnums
    nums = as_index_tuple(argnums, len(args), "grad")
    whole = len(nums) == len(args) and not kwargs and nums == tuple(range(len(args)))
    leaves, in_tree = tree.flatten(args if whole else tuple([args[i] for i in nums]))
    avals = [_checked_type(x, options.holomorphic, options.allow_int) for x in leaves]
    given = fun if whole else fix_arguments(fun, args, kwargs, nums)
    flat = FlatWithAux(given, in_tree, options.has_aux, "vjp")
    wanted = [dtypes.kind_of(aval.dtype) in "fc" for aval in avals]
    tape = linear_tape(flat, leaves, wanted, description=Description(fun, "vjp"))
    out = flat.main(tape.outs)
    result = _check_scalar(out, fun, options.holomorphic)
    cts = iter(backward_tape(tape, [_one_like(result)._alias()] if tape.nonzero[0] else []))
    results = [
        _as_weak(instantiate(next(cts)), aval) if w else instantiate(Zero(aval.to_cotangent_aval()))
        for w, aval in zip(wanted, avals, strict=True)
    ]
    gradients = in_tree.unflatten(results)
    gradient = gradients[0] if isinstance(argnums, (int, np.integer)) else gradients
    return ((out, flat.aux(tape.outs)) if options.has_aux else out), gradient


def _checked_type(x: Any, holomorphic: bool, allow_int: bool) -> ShapedArray:
    """The type of an argument, if it may be differentiated."""
    check_operand(x, "grad")
    aval = aval_of(x)
    kind = dtypes.kind_of(aval.dtype)
    if kind == "c" or (kind == "f" and not holomorphic):
        return aval
    if holomorphic:
        raise TypeError(
            "grad with holomorphic=True requires inputs with complex dtype, but got "
            f"{aval.dtype.name}."
        )
    if not allow_int:
        raise TypeError(
            "grad requires real- or complex-valued inputs (input dtype that is a sub-dtype of "
            f"np.inexact), but got {aval.dtype.name}. Convert the argument to a float (1 -> 1.0), "
            "choose another one with argnums, or pass allow_int=True for a gradient of float0."
        )
    return aval


def _check_scalar(out: Any, fun: Callable[..., Any], holomorphic: bool) -> ShapedArray:
    """The type of the result, if it may be differentiated."""
    if not isinstance(out, (Array, np.ndarray, np.generic, bool, int, float, complex)):
        raise TypeError(
            f"Gradient only defined for scalar-output functions. Output was {out!r}, of type "
            f"{type(out).__name__}, from {describe_function(fun)}. "
            "Use has_aux=True for a pair (loss, auxiliary)."
        )
    aval = aval_of(out)
    if aval.shape != ():
        raise TypeError(
            "Gradient only defined for scalar-output functions. Output had shape: "
            f"{aval.shape}. Reduce the result of {describe_function(fun)}, which is {aval}, for "
            "example by .sum() or .mean(), or use jacrev or vjp."
        )
    if aval.kind == ("c" if holomorphic else "f"):
        return aval
    if holomorphic:
        raise TypeError(
            "grad with holomorphic=True requires outputs with complex dtype, but got "
            f"{aval.dtype.name} from {describe_function(fun)}."
        )
    raise TypeError(
        "grad requires real-valued outputs (output dtype that is a sub-dtype of np.floating), "
        f"but got {aval.dtype.name} from {describe_function(fun)}. For holomorphic functions "
        "pass holomorphic=True; otherwise use vjp."
    )


@functools.cache
def _one_like(aval: ShapedArray) -> Array:
    """The number 1 of a type, concrete whatever is being traced."""
    with eager():
        one = np.asarray(1, dtypes.physical(aval.dtype))
        made: Array = conversion.convert_element_type(
            one, new_dtype=aval.dtype, weak_type=aval.weak_type, sharding=None
        )
        return made
