"""`lax`: reductions along axes, running reductions, and reductions of sliding windows."""

from __future__ import annotations

import operator
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np

from pullback import tree
from pullback.control import folding
from pullback.core import dtypes
from pullback.core.array import Array
from pullback.core.avals import ShapedArray, aval_of
from pullback.core.jaxpr import ClosedJaxpr
from pullback.core.primitive import Primitive
from pullback.core.trace import is_concrete
from pullback.lax import arithmetic
from pullback.lax.structural import canonical_axis
from pullback.lax.windows import full_windows
from pullback.ops import cumulative, pooling, reductions
from pullback.ops.kinds import late
from pullback.transforms.staging import stage

__all__ = [
    "argmax",
    "argmax_p",
    "argmin",
    "argmin_p",
    "cumlogsumexp",
    "cumlogsumexp_p",
    "cummax",
    "cummax_p",
    "cummin",
    "cummin_p",
    "cumprod",
    "cumprod_p",
    "cumsum",
    "cumsum_p",
    "reduce",
    "reduce_and",
    "reduce_and_p",
    "reduce_max",
    "reduce_max_p",
    "reduce_min",
    "reduce_min_p",
    "reduce_or",
    "reduce_or_p",
    "reduce_p",
    "reduce_prod",
    "reduce_prod_p",
    "reduce_sum",
    "reduce_sum_p",
    "reduce_window",
    "reduce_window_max_p",
    "reduce_window_min_p",
    "reduce_window_p",
    "reduce_window_shape_tuple",
    "reduce_window_sum_p",
    "reduce_xor",
    "reduce_xor_p",
    "select_and_gather_add_p",
    "select_and_scatter_add_p",
    "select_and_scatter_p",
]


def _axes(x: Any, axes: Any) -> tuple[int, ...]:
    rank = len(aval_of(x).shape)
    return tuple(canonical_axis(a, rank) for a in axes)


# --------------------------------------------------------------------------- along axes


def reduce_sum(operand: Any, axes: Sequence[int], *, out_sharding: Any = None) -> Array:
    """Sum along axes.

    >>> float(reduce_sum(np.ones((2, 3)), (0, 1)))
    6.0
    """
    return reductions.reduce_sum.bind(  # type: ignore[no-any-return]
        operand, axes=_axes(operand, axes), out_sharding=out_sharding
    )


def reduce_prod(operand: Any, axes: Sequence[int]) -> Array:
    """Product along axes.

    >>> float(reduce_prod(np.array([2.0, 3.0]), (0,)))
    6.0
    """
    return reductions.reduce_prod.bind(operand, axes=_axes(operand, axes))  # type: ignore[no-any-return]


def reduce_max(operand: Any, axes: Sequence[int]) -> Array:
    """Greatest element along axes; NaN if there is one.

    >>> float(reduce_max(np.array([2.0, 3.0]), (0,)))
    3.0
    """
    return reductions.reduce_max.bind(operand, axes=_axes(operand, axes))  # type: ignore[no-any-return]


def reduce_min(operand: Any, axes: Sequence[int]) -> Array:
    """Least element along axes; NaN if there is one.

    >>> float(reduce_min(np.array([2.0, 3.0]), (0,)))
    2.0
    """
    return reductions.reduce_min.bind(operand, axes=_axes(operand, axes))  # type: ignore[no-any-return]


def reduce_and(operand: Any, axes: Sequence[int]) -> Array:
    """Bitwise and, or logical and of bools, along axes.

    >>> bool(reduce_and(np.array([True, False]), (0,)))
    False
    """
    return reductions.reduce_and.bind(operand, axes=_axes(operand, axes))  # type: ignore[no-any-return]


def reduce_or(operand: Any, axes: Sequence[int]) -> Array:
    """Bitwise or, or logical or of bools, along axes.

    >>> bool(reduce_or(np.array([True, False]), (0,)))
    True
    """
    return reductions.reduce_or.bind(operand, axes=_axes(operand, axes))  # type: ignore[no-any-return]


def reduce_xor(operand: Any, axes: Sequence[int]) -> Array:
    """Bitwise exclusive or along axes.

    >>> int(reduce_xor(np.array([6, 3]), (0,)))
    5
    """
    return reductions.reduce_xor.bind(operand, axes=_axes(operand, axes))  # type: ignore[no-any-return]


def argmax(operand: Any, axis: int, index_dtype: Any) -> Array:
    """Position of the first greatest element along an axis, or of the first NaN.

    >>> int(argmax(np.array([1.0, 3.0, 3.0]), 0, "int32"))
    1
    """
    return _position(reductions.argmax, operand, axis, index_dtype)


def argmin(operand: Any, axis: int, index_dtype: Any) -> Array:
    """Position of the first least element along an axis, or of the first NaN.

    >>> int(argmin(np.array([1.0, 3.0, 1.0]), 0, "int32"))
    0
    """
    return _position(reductions.argmin, operand, axis, index_dtype)


def _position(primitive: Primitive, x: Any, axis: int, index_dtype: Any) -> Array:
    dtype = dtypes.check_user_dtype(index_dtype, f"lax.{primitive.name}")
    return primitive.bind(x, axes=_axes(x, (axis,)), index_dtype=dtype)  # type: ignore[no-any-return]


# --------------------------------------------------------------------------- running


def cumsum(operand: Any, axis: int = 0, reverse: bool = False) -> Array:
    """Running sum along an axis, from its end with `reverse`.

    >>> cumsum(np.array([1, 2, 3])).tolist()
    [1, 3, 6]
    """
    return _running(cumulative.cumsum, operand, axis, reverse)


def cumprod(operand: Any, axis: int = 0, reverse: bool = False) -> Array:
    """Running product along an axis, from its end with `reverse`.

    >>> cumprod(np.array([1, 2, 3])).tolist()
    [1, 2, 6]
    """
    return _running(cumulative.cumprod, operand, axis, reverse)


def cummax(operand: Any, axis: int = 0, reverse: bool = False) -> Array:
    """Running maximum along an axis, from its end with `reverse`.

    >>> cummax(np.array([1, 3, 2])).tolist()
    [1, 3, 3]
    """
    return _running(cumulative.cummax, operand, axis, reverse)


def cummin(operand: Any, axis: int = 0, reverse: bool = False) -> Array:
    """Running minimum along an axis, from its end with `reverse`.

    >>> cummin(np.array([3, 1, 2])).tolist()
    [3, 1, 1]
    """
    return _running(cumulative.cummin, operand, axis, reverse)


def cumlogsumexp(operand: Any, axis: int = 0, reverse: bool = False) -> Array:
    """Running logarithm of the sum of exponentials along an axis, from its end with `reverse`.

    >>> cumlogsumexp(np.array([0.0])).tolist()
    [0.0]
    """
    return _running(cumulative.cumlogsumexp, operand, axis, reverse)


def _running(primitive: Primitive, x: Any, axis: int, reverse: bool) -> Array:
    (axis,) = _axes(x, (axis,))
    return primitive.bind(x, axis=axis, reverse=bool(reverse))  # type: ignore[no-any-return]


# --------------------------------------------------------------------------- any computation

Computation = Callable[..., Any]

_MONOIDS = {
    "add": "sum",
    "mul": "prod",
    "max": "max",
    "min": "min",
    "and": "and",
    "or": "or",
    "xor": "xor",
}


_KNOWN: dict[Any, str] = {
    arithmetic.add: "sum",
    arithmetic.mul: "prod",
    arithmetic.max: "max",
    arithmetic.min: "min",
    arithmetic.bitwise_and: "and",
    arithmetic.bitwise_or: "or",
    arithmetic.bitwise_xor: "xor",
    operator.add: "sum",
    operator.mul: "prod",
}


def _monoid(computation: Computation, init: Any) -> str | None:
    """The name in `reductions` of a computation on two scalars that is one known primitive."""
    if isinstance(computation, Hashable) and computation in _KNOWN:
        return _KNOWN[computation]
    aval = ShapedArray((), aval_of(init).dtype)
    jaxpr = stage(lambda x, y: [computation(x, y)], [aval, aval], description="a reduction").jaxpr
    if len(jaxpr.eqns) != 1 or list(map(id, jaxpr.outvars)) != [id(jaxpr.eqns[0].outvars[0])]:
        return None
    (eqn,) = jaxpr.eqns
    if {id(v) for v in eqn.invars} != {id(v) for v in jaxpr.invars}:
        return None
    return _MONOIDS.get(eqn.primitive.name)


def _is_identity(name: str, init: Any) -> bool:
    dtype = aval_of(init).dtype
    identity = reductions.identity_of(name, dtype)
    return is_concrete(init) and bool(np.asarray(init).astype(identity.dtype) == identity)


_APPLY = {name: late(primitive) for primitive, name in _MONOIDS.items()}


def reduce(
    operands: Any,
    init_values: Any,
    computation: Computation,
    dimensions: Sequence[int],
    out_sharding: Any = None,
) -> Any:
    """Reduce arrays, or a pytree of arrays of one shape, by an associative function of scalars.

    `computation(accumulators, elements)` takes and returns trees like `operands`; `init_values` are
    its identity.

    >>> import operator
    >>> float(reduce(np.array([1.0, 4.0, 2.0]), 0.0, operator.add, (0,)))
    7.0
    """
    xs, structure = tree.flatten(operands)
    inits, init_structure = tree.flatten(init_values)
    if structure != init_structure:
        raise ValueError(
            f"reduce: operands and init_values must be alike, got {structure} and {init_structure}"
        )
    axes = _axes(xs[0], dimensions)
    inits = [_typed_init(x, init) for x, init in zip(xs, inits, strict=True)]
    if len(xs) == 1 and tree.leaves(operands)[0] is operands:
        name = _monoid(computation, inits[0])
        if name is not None and dtypes.kind_of(aval_of(xs[0]).dtype) in _accepted(name):
            return _reduce_known(name, xs[0], inits[0], axes)

    jaxpr = _staged(computation, structure, inits)
    outs = folding.reduce(*xs, *inits, computation=computation, jaxpr=jaxpr, dimensions=axes)
    return tree.unflatten(structure, outs)


def _staged(computation: Computation, structure: Any, inits: Sequence[Any]) -> ClosedJaxpr:
    """The jaxpr of a computation on pairs of scalars."""
    avals = [ShapedArray((), aval_of(i).dtype) for i in inits]
    return stage(_on_leaves(computation, structure), avals * 2, description="a reduction")


def _on_leaves(computation: Computation, structure: Any) -> Computation:
    """A function of two trees as one of their leaves in a row."""

    def combine(*leaves: Any) -> list[Any]:
        half = len(leaves) // 2
        first, second = leaves[:half], leaves[half:]
        out = computation(tree.unflatten(structure, first), tree.unflatten(structure, second))
        return tree.leaves(out)

    return combine


def _accepted(name: str) -> str:
    return {"sum": "iufc", "prod": "iufc", "max": "iufcb", "min": "iufcb"}.get(name, "iub")


def _typed_init(x: Any, init: Any) -> Any:
    dtype = aval_of(x).dtype
    if aval_of(init).shape:
        raise ValueError(f"reduce: initial values must be scalars, got {aval_of(init).str_short()}")
    if isinstance(init, bool | int | float | complex):
        return dtypes.physical(dtype).type(init)
    if aval_of(init).dtype != dtype:
        raise TypeError(
            f"reduce: the initial value {aval_of(init).str_short()} must have the dtype of "
            f"{aval_of(x).str_short()}"
        )
    return init


def _reduce_known(name: str, x: Any, init: Any, axes: tuple[int, ...]) -> Any:
    sharding = {"out_sharding": None} if name == "sum" else {}
    out = late(f"reduce_{name}")(x, axes=axes, **sharding)
    return out if _is_identity(name, init) else _APPLY[name](out, init)


# --------------------------------------------------------------------------- windows


def reduce_window(
    operand: Any,
    init_value: Any,
    computation: Computation,
    window_dimensions: Sequence[int],
    window_strides: Sequence[int] | None = None,
    padding: Any = "VALID",
    base_dilation: Sequence[int] | None = None,
    window_dilation: Sequence[int] | None = None,
) -> Any:
    """Reduce the windows of an array (or of a pytree of arrays of one shape).

    `padding` is "VALID", "SAME", "SAME_LOWER" or a pair (low, high) for each axis; what it adds is
    `init_value`, the identity of `computation`.

    >>> import operator
    >>> reduce_window(np.array([1, 2, 3, 4]), 0, operator.add, (2,), (1,), "VALID").tolist()
    [3, 5, 7]
    """
    xs, structure = tree.flatten(operand)
    inits = [_typed_init(x, i) for x, i in zip(xs, tree.leaves(init_value), strict=True)]
    shape = aval_of(xs[0]).shape
    window_strides = (1,) * len(shape) if window_strides is None else window_strides
    for what, given in (("dimensions", window_dimensions), ("strides", window_strides)):
        if len(given) != len(shape):
            raise TypeError(
                f"reduce_window got the wrong number of window_{what} for operand: got operand "
                f"shape {shape} with window_{what} {tuple(given)}."
            )
    windows = full_windows(
        shape, window_dimensions, window_strides, padding, base_dilation, window_dilation
    )
    if len(xs) == 1 and tree.leaves(operand)[0] is operand:
        name = _monoid(computation, inits[0])
        if name in ("sum", "max", "min") and _is_identity(name, inits[0]):
            return late(f"reduce_window_{name}")(xs[0], **windows._asdict())

    jaxpr = _staged(computation, structure, inits)
    outs = folding.reduce_window(*xs, *inits, jaxpr=jaxpr, consts=(), **windows._asdict())
    return tree.unflatten(structure, outs)


def reduce_window_shape_tuple(
    operand_shape: Sequence[int],
    window_dimensions: Sequence[int],
    window_strides: Sequence[int],
    padding: Any,
    base_dilation: Sequence[int] | None = None,
    window_dilation: Sequence[int] | None = None,
) -> tuple[int, ...]:
    """The shape of the result of `reduce_window`.

    >>> reduce_window_shape_tuple((5,), (2,), (2,), "VALID")
    (2,)
    """
    windows = full_windows(
        operand_shape, window_dimensions, window_strides, padding, base_dilation, window_dilation
    )
    return pooling.pooled_shape(operand_shape, windows)


# --------------------------------------------------------------------------- the primitives

argmax_p = reductions.argmax
argmin_p = reductions.argmin
cumlogsumexp_p = cumulative.cumlogsumexp
cummax_p = cumulative.cummax
cummin_p = cumulative.cummin
cumprod_p = cumulative.cumprod
cumsum_p = cumulative.cumsum
reduce_and_p = reductions.reduce_and
reduce_max_p = reductions.reduce_max
reduce_min_p = reductions.reduce_min
reduce_or_p = reductions.reduce_or
reduce_p = folding.reduce
reduce_prod_p = reductions.reduce_prod
reduce_sum_p = reductions.reduce_sum
reduce_window_max_p = pooling.reduce_window_max
reduce_window_min_p = pooling.reduce_window_min
reduce_window_p = folding.reduce_window
reduce_window_sum_p = pooling.reduce_window_sum
reduce_xor_p = reductions.reduce_xor
select_and_gather_add_p = pooling.select_and_gather_add
select_and_scatter_add_p = pooling.select_and_scatter_add
select_and_scatter_p = folding.select_and_scatter
