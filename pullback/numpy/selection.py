"""Choosing elements: by conditions, by indices, by being nonzero."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np

from pullback import lax
from pullback.core import dtypes
from pullback.core.source import outside_as_chosen
from pullback.core.trace import concrete_or_error
from pullback.numpy.arrays import as_array, broadcast_to_shape, convert_with_weak_type
from pullback.numpy.creation import asarray
from pullback.numpy.indexing import parse, take_plan
from pullback.numpy.operands import lax_mod
from pullback.numpy.positions import nonzero
from pullback.numpy.predicates import clip, to_bool
from pullback.numpy.promotion import (
    broadcast_shapes,
    canonical_axis,
    check_arraylike,
    check_no_out,
    ensure_arraylike,
    promote_dtypes,
    shape_of,
    unwrap,
)
from pullback.numpy.shaping import ravel
from pullback.runtime import shortcuts
from pullback.runtime.composites import compiled_when_eager

__all__ = [
    "choose",
    "compress",
    "extract",
    "piecewise",
    "place",
    "put",
    "put_along_axis",
    "select",
    "take",
    "take_along_axis",
    "where",
]


# --------------------------------------------------------------------------- conditions


def where(
    condition: Any,
    x: Any = None,
    y: Any = None,
    /,
    *,
    size: int | None = None,
    fill_value: Any = None,
) -> Any:
    """`x` where the condition holds, else `y`; with the condition alone, `nonzero(condition)`.

    Shapes broadcast, dtypes are promoted. Under differentiation both sides are evaluated, so keep
    the side that is not taken finite.

    >>> import pullback.numpy as jnp
    >>> jnp.where(jnp.array([True, False]), jnp.array([1, 2]), 0)
    Array([1, 0], dtype=int32)
    """
    if x is None and y is None:
        check_arraylike("where", condition)
        return nonzero(condition, size=size, fill_value=fill_value)
    found = shortcuts.select(condition, x, y) if size is None is fill_value else None
    if found is not None:
        return found
    check_arraylike("where", condition, x, y)
    if size is not None or fill_value is not None:
        raise ValueError(
            "size and fill_value arguments cannot be used in three-term where function."
        )
    condition = to_bool(as_array(condition))
    x, y = (as_array(v) if type(v) is bool else v for v in promote_dtypes(unwrap(x), unwrap(y)))
    shapes = (condition.shape, shape_of(x), shape_of(y))
    shape = shapes[0]
    if shapes[1] != shape or shapes[2] != shape:
        shape = broadcast_shapes(*shapes)
    x, y = broadcast_to_shape(x, shape), broadcast_to_shape(y, shape)
    if condition.shape != shape and condition.ndim:
        condition = broadcast_to_shape(condition, shape)
    return lax.select(condition, x, y)


def select(condlist: Any, choicelist: Any, default: Any = 0) -> Any:
    """From each place the choice of the first condition that holds there, else `default`.

    Raises ValueError if the lists differ in length or are empty.

    >>> import pullback.numpy as jnp
    >>> x = jnp.arange(3)
    >>> jnp.select([x < 1, x < 2], [x + 10, x + 20])
    Array([10, 21,  0], dtype=int32)
    """
    if len(condlist) != len(choicelist):
        raise ValueError(
            f"condlist must have length equal to choicelist ({len(condlist)} vs {len(choicelist)})"
        )
    if len(condlist) == 0:
        raise ValueError("condlist must be non-empty")
    conditions = [to_bool(asarray(c)) for c in condlist]
    *choices, result = promote_dtypes(*(asarray(c) for c in choicelist), default)
    for c, choice in builtins.reversed(list(zip(conditions, choices, strict=True))):
        result = where(c, choice, result)
    return as_array(result)


def piecewise(x: Any, condlist: Any, funclist: Any, *args: Any, **kw: Any) -> Any:
    """For every element of `x` the function (or number) of the last condition that holds.

    One function more than conditions is the one for all others, which is 0 by default.

    >>> import pullback.numpy as jnp
    >>> jnp.piecewise(jnp.array([-1., 2.]), [jnp.array([True, False])], [0.5, lambda v: v * 10])
    Array([ 0.5, 20. ], dtype=float32)
    """
    x = ensure_arraylike("piecewise", x)
    n = len(condlist)
    functions = list(funclist)
    if len(functions) == n:
        functions = [0, *functions]
    elif len(functions) == n + 1:
        functions = [functions[-1], *functions[:-1]]
    else:
        raise ValueError(
            f"with {n} condition(s), either {n} or {n + 1} functions are expected; got "
            f"{len(functions)}"
        )
    result = lax.full_like(x, 0)
    values = [f(x, *args, **kw) if callable(f) else f for f in functions]
    result = broadcast_to_shape(convert_with_weak_type(asarray(values[0]), x.dtype, False), x.shape)
    for k in range(n):
        value = convert_with_weak_type(asarray(values[k + 1]), x.dtype, False)
        mask = broadcast_to_shape(to_bool(asarray(condlist[k])), x.shape)
        result = lax.select(mask, broadcast_to_shape(value, x.shape), result)
    return result


def choose(a: Any, choices: Any, out: None = None, mode: str = "raise") -> Any:
    """From each place the choice whose number stands there in `a`.

    Mode "raise" needs concrete `a`; "wrap" and "clip" bring numbers into range.

    >>> import pullback.numpy as jnp
    >>> jnp.choose(jnp.array([1, 0]), [jnp.array([1, 2]), jnp.array([10, 20])])
    Array([10,  2], dtype=int32)
    """
    check_no_out("choose", out)
    a = ensure_arraylike("choose", a)
    if dtypes.kind_of(a.dtype) not in "iu":
        raise ValueError("`a` array must be integer typed")
    n = len(choices)
    if mode == "raise":
        data = concrete_or_error(np.asarray, a, "jnp.choose(mode='raise') needs concrete values.")
        if data.size and (data.min() < 0 or data.max() >= n):
            raise ValueError("invalid entry in choice array")
    elif mode == "wrap":
        a = a % n
    elif mode == "clip":
        a = clip(a, 0, n - 1)
    else:
        raise ValueError(f"mode={mode!r} not understood. Must be 'raise', 'wrap', or 'clip'")
    arrays = [_strong(c) for c in promote_dtypes(*(asarray(c) for c in choices))]
    shape = broadcast_shapes(a.shape, *(c.shape for c in arrays))
    a = broadcast_to_shape(a, shape)
    arrays = [broadcast_to_shape(c, shape) for c in arrays]
    result = arrays[0]
    for k in range(1, n):
        result = lax.select(lax.eq(a, lax.full_like(a, k)), arrays[k], result)
    return result


def _strong(x: Any) -> Any:
    return convert_with_weak_type(x, x.dtype, False)


# --------------------------------------------------------------------------- indices


@compiled_when_eager("axis", "mode", "unique_indices", "indices_are_sorted", "fill_value")
def take(
    a: Any,
    indices: Any,
    axis: Any = None,
    out: None = None,
    mode: str | None = None,
    unique_indices: bool = False,
    indices_are_sorted: bool = False,
    fill_value: Any = None,
) -> Any:
    """The elements at the given positions along an axis, or of the flattened array.

    Out of bounds: mode "fill" (default; nan, the smallest or the largest integer, or `fill_value`),
    "clip" or "wrap".

    >>> import pullback.numpy as jnp
    >>> jnp.take(jnp.array([10., 20.]), jnp.array([1, 5]))
    Array([20., nan], dtype=float32)
    """
    check_no_out("take", out)
    a, indices = ensure_arraylike("take", a, indices)
    if dtypes.kind_of(indices.dtype) == "b":
        indices = lax.convert_element_type(indices, dtypes.default_int())
    if dtypes.kind_of(indices.dtype) not in "iu":
        raise ValueError(f"take indices must have an integer type, got {indices.aval}")
    if axis is None:
        a, axis = ravel(a), 0
    axis = canonical_axis(axis, a.ndim)
    n = a.shape[axis]
    wrap = True
    if mode == "raise":
        raise NotImplementedError("The 'raise' mode to jnp.take is not supported.")
    if mode == "wrap":
        indices, mode = lax_mod(indices, n), "promise_in_bounds"
    elif mode == "clip":
        wrap = False
        indices = clip(indices, 0, builtins.max(n - 1, 0))
    elif mode not in (None, "fill"):
        raise ValueError(f"Invalid mode '{mode}' for np.take")
    if n == 0 and indices.size:
        raise IndexError("cannot do a non-empty take from an empty axis")
    plan = parse(a.shape, (*(slice(None),) * axis, indices))
    flags = indices_are_sorted, unique_indices, wrap
    with outside_as_chosen(mode):
        return take_plan(a, plan, mode or "fill", fill_value, *flags)


@compiled_when_eager("axis", "mode", "fill_value", "wrap_negative_indices")
def take_along_axis(
    arr: Any,
    indices: Any,
    axis: Any = -1,
    mode: Any = None,
    fill_value: Any = None,
    *,
    wrap_negative_indices: bool | None = None,
) -> Any:
    """From each line along an axis the elements at the line's own positions.

    `indices` has as many axes as `arr`, the others of equal length or 1. Out of bounds: "fill".

    >>> import pullback.numpy as jnp
    >>> jnp.take_along_axis(jnp.array([[3, 4], [5, 6]]), jnp.array([[1], [0]]), 1)
    Array([[4],
           [5]], dtype=int32)
    """
    arr, indices = ensure_arraylike("take_along_axis", arr, indices)
    if dtypes.kind_of(indices.dtype) not in "iu":
        raise TypeError(f"take_along_axis indices must be of integer type, got {indices.dtype}")
    if axis is None:
        if indices.ndim != 1:
            raise ValueError(
                f"take_along_axis indices must be 1D if axis=None, got shape {indices.shape}"
            )
        arr, axis = ravel(arr), 0
    if arr.ndim != indices.ndim:
        raise ValueError(
            "indices and arr must have the same number of dimensions; "
            f"{indices.ndim} vs. {arr.ndim}"
        )
    axis = canonical_axis(axis, arr.ndim)
    wrap = True if wrap_negative_indices is None else wrap_negative_indices
    shape = list(_row_shape(arr, indices, axis))
    shape[axis] = arr.shape[axis]
    arr = broadcast_to_shape(arr, tuple(shape))
    plan = parse(arr.shape, _along(arr.shape, indices, axis))
    with outside_as_chosen(mode):
        return take_plan(arr, plan, mode or "fill", fill_value, wrap_negative_indices=wrap)


def _row_shape(arr: Any, indices: Any, axis: int) -> tuple[int, ...]:
    a, b = list(arr.shape), list(indices.shape)
    a[axis] = b[axis] = 1
    return broadcast_shapes(tuple(a), tuple(b))


def _along(shape: tuple[int, ...], indices: Any, axis: int) -> tuple[Any, ...]:
    """The index of NumPy that means the same: numbers of the lines, and the positions."""
    rank = len(shape)
    index: list[Any] = []
    for k in range(rank):
        if k == axis:
            index.append(indices)
        else:
            n = builtins.max(shape[k], indices.shape[k])
            index.append(np.arange(n, dtype=np.int32).reshape(*(1,) * k, n, *(1,) * (rank - k - 1)))
    return tuple(index)


def put_along_axis(
    arr: Any,
    indices: Any,
    values: Any,
    axis: int | None,
    inplace: bool = True,
    *,
    mode: str | None = None,
) -> Any:
    """A copy with values put where `take_along_axis` reads; called with `inplace=False`.

    >>> import pullback.numpy as jnp
    >>> jnp.put_along_axis(jnp.zeros((1, 2)), jnp.array([[1]]), 5, 1, inplace=False)
    Array([[0., 5.]], dtype=float32)
    """
    _refuse_inplace("put_along_axis", inplace)
    arr, indices, values = ensure_arraylike("put_along_axis", arr, indices, values)
    shape = arr.shape
    if axis is None:
        arr, axis = ravel(arr), 0
    axis = canonical_axis(axis, arr.ndim)
    index = _along(arr.shape, indices, axis)
    return lax.reshape(arr.at[index].set(values, mode=mode), shape)


def _refuse_inplace(name: str, inplace: bool) -> None:
    if inplace:
        raise ValueError(
            f"jax.numpy.{name} cannot modify arrays in-place, because JAX arrays are immutable. "
            "Pass inplace=False to instead return an updated array."
        )


def put(a: Any, ind: Any, v: Any, mode: str | None = None, *, inplace: bool = True) -> Any:
    """A copy with `v` (repeated as needed) at positions of the flattened array.

    Called with `inplace=False`. Modes: "clip" (default), "wrap".

    >>> import pullback.numpy as jnp
    >>> jnp.put(jnp.zeros(3), jnp.array([0, 2]), jnp.array([5, 6]), inplace=False)
    Array([5., 0., 6.], dtype=float32)
    """
    _refuse_inplace("put", inplace)
    a, ind, v = ensure_arraylike("put", a, ind, v)
    ind, v = ravel(ind), ravel(v)
    if a.size == 0 or ind.size == 0 or v.size == 0:
        return a
    if v.size < ind.size:
        v = v[np.arange(ind.size) % v.size]
    elif v.size > ind.size:
        v = v[: ind.size]
    if mode == "raise":
        raise NotImplementedError("The 'raise' mode to jnp.put is not supported.")
    if mode == "wrap":
        ind, how = lax_mod(ind, a.size), "promise_in_bounds"
    elif mode in (None, "clip"):
        ind, how = clip(ind, 0, a.size - 1), "promise_in_bounds"
    else:
        raise ValueError(f"mode should be one of 'wrap' or 'clip'; got mode={mode!r}")
    return lax.reshape(ravel(a).at[ind].set(v, mode=how), a.shape)


def place(arr: Any, mask: Any, vals: Any, *, inplace: bool = True) -> Any:
    """A copy with `vals` (repeated as needed) one after the other where the mask holds.

    Called with `inplace=False`.

    >>> import pullback.numpy as jnp
    >>> jnp.place(jnp.zeros(3), jnp.array([True, False, True]), jnp.array([5, 6]), inplace=False)
    Array([5., 0., 6.], dtype=float32)
    """
    _refuse_inplace("place", inplace)
    arr, mask, vals = ensure_arraylike("place", arr, mask, vals)
    vals = ravel(vals)
    if arr.size != mask.size:
        raise ValueError("place: arr and mask must be the same size")
    if not vals.size:
        raise ValueError("Cannot place values from an empty array")
    if not arr.size:
        return arr
    flags = ravel(to_bool(mask))
    counted = lax.cumsum(lax.convert_element_type(flags, np.dtype(np.int32)))
    order = lax.sub(counted, np.int32(1))
    values = convert_with_weak_type(vals[lax_mod(order, vals.size)], arr.dtype, False)
    return lax.reshape(lax.select(flags, values, ravel(arr)), arr.shape)


def extract(condition: Any, arr: Any, *, size: int | None = None, fill_value: Any = 0) -> Any:
    """The elements where the flattened condition holds.

    >>> import pullback.numpy as jnp
    >>> jnp.extract(jnp.array([True, False, True]), jnp.array([5, 6, 7]))
    Array([5, 7], dtype=int32)
    """
    return compress(ravel(condition), ravel(arr), size=size, fill_value=fill_value)


def compress(
    condition: Any,
    a: Any,
    axis: int | None = None,
    *,
    size: int | None = None,
    fill_value: Any = 0,
    out: None = None,
) -> Any:
    """The slices along an axis (or elements of the flattened array) where the condition holds.

    >>> import pullback.numpy as jnp
    >>> jnp.compress(jnp.array([True, False]), jnp.array([[1, 2], [3, 4]]), axis=1)
    Array([[1],
           [3]], dtype=int32)
    """
    check_no_out("compress", out)
    condition, a = ensure_arraylike("compress", condition, a)
    if condition.ndim != 1:
        raise ValueError("condition must be a 1D array")
    if axis is None:
        a, axis = ravel(a), 0
    axis = canonical_axis(axis, a.ndim)
    n = a.shape[axis]
    condition = to_bool(condition)
    if condition.shape[0] > n:
        if not builtins.bool(np.any(np.asarray(condition[n:]))):
            condition = condition[:n]
        else:
            raise ValueError("condition contains entries that are out of bounds")
    if size is None:
        (index,) = nonzero(condition)
        return take(a, index, axis, mode="clip")
    if not 0 < size <= n:
        raise ValueError(
            "size must be positive and not greater than the size of the array axis; "
            f"got {size=} for a.shape[axis]={n}"
        )
    (index,) = nonzero(condition, size=size, fill_value=n)
    return take(a, index, axis, mode="fill", fill_value=fill_value)
