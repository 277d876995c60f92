"""Reductions: sums, products, extrema, logic, means and variances, and their nan-ignoring forms."""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pullback import lax
from pullback.core import dtypes
from pullback.numpy.arrays import as_array, broadcast_to_shape, convert_with_weak_type
from pullback.numpy.predicates import to_bool
from pullback.numpy.promotion import (
    canonical_axes,
    canonical_axis,
    check_arraylike,
    check_no_out,
    ensure_arraylike,
)
from pullback.numpy.scalar_types import iinfo
from pullback.runtime.composites import compiled_when_eager
from pullback.runtime.replays import replayed_when_eager

__all__ = [
    "all",
    "amax",
    "amin",
    "any",
    "argmax",
    "argmin",
    "average",
    "count_nonzero",
    "max",
    "mean",
    "min",
    "prod",
    "ptp",
    "std",
    "sum",
    "var",
]

Axis = Any


def _reduced(x: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    return lax.expand_dims(x, sorted(axes)) if keepdims else x


def where_mask(name: str, where: Any, shape: tuple[int, ...]) -> Any:
    """`where` as a mask of the shape; raises ValueError if it holds anything but bools."""
    where = as_array(where)
    if dtypes.kind_of(where.dtype) != "b":
        raise ValueError(
            f"jnp.{name}: where must be None or a boolean array; got where.dtype={where.dtype!r}."
        )
    return broadcast_to_shape(where, shape)


def wide_integer(dtype: Any, promote_integers: bool) -> Any:
    """The dtype in which integers are summed: at least the default width."""
    kind = dtypes.kind_of(dtype)
    if kind == "b":
        return dtypes.default_int()
    if kind in "iu" and promote_integers:
        default = dtypes.default_int() if kind == "i" else dtypes.default_uint()
        return default if dtype.itemsize < default.itemsize else dtype
    return dtype


def _sum_like(
    name: str,
    reduce: Callable[..., Any],
    neutral: int,
    combine: Callable[[Any, Any], Any],
    a: Any,
    axis: Axis,
    dtype: Any,
    out: None,
    keepdims: bool,
    initial: Any,
    where: Any,
    promote_integers: bool,
) -> Any:
    check_no_out(name, out)
    a = ensure_arraylike(name, a)
    axes = canonical_axes(axis, a.ndim)
    if dtype is not None:
        result_dtype = dtypes.check_user_dtype(dtype, name)
        a = convert_with_weak_type(a, result_dtype, False)
    result_dtype = a.dtype if dtype is not None else wide_integer(a.dtype, promote_integers)
    if where is not None:
        a = lax.select(where_mask(name, where, a.shape), a, lax.full_like(a, neutral))
    half = dtypes.kind_of(result_dtype) == "f" and result_dtype.itemsize < 4
    a = convert_with_weak_type(a, dtypes.float32 if half else result_dtype, False)
    a = lax.convert_element_type(a, dtypes.default_int()) if a.dtype == bool else a
    total = convert_with_weak_type(reduce(a, axes), result_dtype, False)
    if initial is not None:
        check_arraylike(name, initial)
        total = combine(total, convert_with_weak_type(initial, result_dtype, False))
    return _reduced(total, axes, keepdims)


@replayed_when_eager
def sum(
    a: Any,
    axis: Axis = None,
    dtype: Any = None,
    out: None = None,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = None,
    promote_integers: bool = True,
) -> Any:
    """The sum over one, several or all axes; narrow integers are summed in the default width.

    `where` says which elements count, `initial` is added.

    >>> import pullback.numpy as jnp
    >>> jnp.sum(jnp.array([[1, 2], [3, 4]]), axis=0)
    Array([4, 6], dtype=int32)
    """
    return _sum_like(
        "sum",
        lax.reduce_sum,
        0,
        lax.add,
        a,
        axis,
        dtype,
        out,
        keepdims,
        initial,
        where,
        promote_integers,
    )


@replayed_when_eager
def prod(
    a: Any,
    axis: Axis = None,
    dtype: Any = None,
    out: None = None,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = None,
    promote_integers: bool = True,
) -> Any:
    """The product over one, several or all axes; narrow integers take the default width.

    `where` says which elements count, `initial` is multiplied in.

    >>> import pullback.numpy as jnp
    >>> jnp.prod(jnp.array([2, 3, 4]))
    Array(24, dtype=int32)
    """
    return _sum_like(
        "prod",
        lax.reduce_prod,
        1,
        lax.mul,
        a,
        axis,
        dtype,
        out,
        keepdims,
        initial,
        where,
        promote_integers,
    )


def _lowest(dtype: Any) -> Any:
    kind = dtypes.kind_of(dtype)
    if kind == "b":
        return False
    if kind in "fc":
        return -np.inf
    return iinfo(dtype).min


def _highest(dtype: Any) -> Any:
    kind = dtypes.kind_of(dtype)
    if kind == "b":
        return True
    return np.inf if kind in "fc" else iinfo(dtype).max


def _extremum(
    name: str,
    reduce: Callable[..., Any],
    combine: Callable[[Any, Any], Any],
    bound: Callable[[Any], Any],
    a: Any,
    axis: Axis,
    out: None,
    keepdims: bool,
    initial: Any,
    where: Any,
) -> Any:
    check_no_out(name, out)
    a = ensure_arraylike(name, a)
    a = convert_with_weak_type(a, a.dtype, False)
    axes = canonical_axes(axis, a.ndim)
    if initial is None and where is not None:
        raise ValueError(
            f"reduction operation {name} does not have an identity, so to use a where mask one has "
            "to specify 'initial'"
        )
    if initial is None and builtins.any(a.shape[k] == 0 for k in axes):
        raise ValueError(f"zero-size array to reduction operation {name} which has no identity")
    if where is not None:
        a = lax.select(where_mask(name, where, a.shape), a, lax.full_like(a, bound(a.dtype)))
    result = reduce(a, axes)
    if initial is not None:
        result = combine(result, convert_with_weak_type(initial, a.dtype, False))
    return _reduced(result, axes, keepdims)


@replayed_when_eager
def max(
    a: Any,
    axis: Axis = None,
    out: None = None,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = None,
) -> Any:
    """The largest element over one, several or all axes; nan if there is one.

    Raises ValueError for no elements without `initial`, and for `where` without it.

    >>> import pullback.numpy as jnp
    >>> jnp.max(jnp.array([[1, 5], [3, 4]]), axis=1)
    Array([5, 4], dtype=int32)
    """
    return _extremum(
        "max", lax.reduce_max, lax.max, _lowest, a, axis, out, keepdims, initial, where
    )


@replayed_when_eager
def min(
    a: Any,
    axis: Axis = None,
    out: None = None,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = None,
) -> Any:
    """The smallest element over one, several or all axes; nan if there is one.

    Raises ValueError for no elements without `initial`, and for `where` without it.

    >>> import pullback.numpy as jnp
    >>> jnp.min(jnp.array([[1, 5], [3, 4]]), axis=1)
    Array([1, 3], dtype=int32)
    """
    return _extremum(
        "min", lax.reduce_min, lax.min, _highest, a, axis, out, keepdims, initial, where
    )


amax = max
amin = min


@replayed_when_eager
def all(
    a: Any, axis: Axis = None, out: None = None, keepdims: bool = False, *, where: Any = None
) -> Any:
    """Whether all elements over the axes are not zero; true for none.

    >>> import pullback.numpy as jnp
    >>> jnp.all(jnp.array([[1, 0], [3, 4]]), axis=1)
    Array([False,  True], dtype=bool)
    """
    return _logical("all", lax.reduce_and, True, a, axis, out, keepdims, where)


@replayed_when_eager
def any(
    a: Any, axis: Axis = None, out: None = None, keepdims: bool = False, *, where: Any = None
) -> Any:
    """Whether some element over the axes is not zero; false for none.

    >>> import pullback.numpy as jnp
    >>> jnp.any(jnp.array([[0, 0], [3, 0]]), axis=1)
    Array([False,  True], dtype=bool)
    """
    return _logical("any", lax.reduce_or, False, a, axis, out, keepdims, where)


def _logical(
    name: str,
    reduce: Callable[..., Any],
    neutral: bool,
    a: Any,
    axis: Axis,
    out: None,
    keepdims: bool,
    where: Any,
) -> Any:
    check_no_out(name, out)
    a = to_bool(ensure_arraylike(name, a))
    axes = canonical_axes(axis, a.ndim)
    if where is not None:
        a = lax.select(where_mask(name, where, a.shape), a, lax.full_like(a, neutral))
    return _reduced(reduce(a, axes), axes, keepdims)


@compiled_when_eager("axis", "keepdims")
def count_nonzero(a: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """How many elements over the axes are not zero.

    >>> import pullback.numpy as jnp
    >>> jnp.count_nonzero(jnp.array([0, 2, 3]))
    Array(2, dtype=int32)
    """
    a = to_bool(ensure_arraylike("count_nonzero", a))
    return sum(a, axis, dtype=dtypes.default_int(), keepdims=keepdims)


def _arg(name: str, find: Callable[..., Any], a: Any, axis: Any, out: None, keepdims: Any) -> Any:
    check_no_out(name, out)
    a = ensure_arraylike(name, a)
    rank = a.ndim
    if axis is None:
        a, at = lax.reshape(a, (a.size,)), 0
    else:
        at = canonical_axis(axis, rank)
    if a.shape[at] == 0:
        raise ValueError(f"attempt to get {name} of an empty sequence")
    result = find(a, at, dtypes.default_int())
    if not keepdims:
        return result
    return lax.reshape(result, (1,) * rank) if axis is None else lax.expand_dims(result, (at,))


@replayed_when_eager
def argmax(a: Any, axis: Any = None, out: None = None, keepdims: bool | None = None) -> Any:
    """The index of the largest element along an axis, or of the flattened array; nan counts most.

    The first of equals. Raises ValueError for no elements.

    >>> import pullback.numpy as jnp
    >>> jnp.argmax(jnp.array([1, 7, 7]))
    Array(1, dtype=int32)
    """
    return _arg("argmax", lax.argmax, a, axis, out, keepdims)


@replayed_when_eager
def argmin(a: Any, axis: Any = None, out: None = None, keepdims: bool | None = None) -> Any:
    """The index of the smallest element along an axis, or of the flattened array; nan counts most.

    The first of equals. Raises ValueError for no elements.

    >>> import pullback.numpy as jnp
    >>> jnp.argmin(jnp.array([3, 1, 1]))
    Array(1, dtype=int32)
    """
    return _arg("argmin", lax.argmin, a, axis, out, keepdims)


@compiled_when_eager("axis", "keepdims")
def ptp(a: Any, axis: Axis = None, out: None = None, keepdims: bool = False) -> Any:
    """The largest minus the smallest element.

    >>> import pullback.numpy as jnp
    >>> jnp.ptp(jnp.array([3, 1, 8]))
    Array(7, dtype=int32)
    """
    check_no_out("ptp", out)
    a = ensure_arraylike("ptp", a)
    return lax.sub(max(a, axis, keepdims=keepdims), min(a, axis, keepdims=keepdims))


# --------------------------------------------------------------------------- moments


def _count(shape: Sequence[int], axes: Sequence[int]) -> int:
    return math.prod(shape[k] for k in axes)


def _work_dtype(dtype: Any) -> Any:
    """float32 for half precision."""
    half = dtypes.kind_of(dtype) == "f" and dtype.itemsize < 4
    return dtypes.float32 if half else dtype


@compiled_when_eager("axis", "dtype", "keepdims")
def mean(
    a: Any,
    axis: Axis = None,
    dtype: Any = None,
    out: None = None,
    keepdims: bool = False,
    *,
    where: Any = None,
) -> Any:
    """The arithmetic mean over one, several or all axes; integers give float32.

    Half precision is summed in float32. `where` says which elements count.

    >>> import pullback.numpy as jnp
    >>> jnp.mean(jnp.array([[1, 3], [5, 7]]), axis=0)
    Array([3., 5.], dtype=float32)
    """
    check_no_out("mean", out)
    a = ensure_arraylike("mean", a)
    axes = canonical_axes(axis, a.ndim)
    result_dtype = dtypes.to_inexact_dtype(a.dtype)
    if dtype is not None:
        result_dtype = dtypes.check_user_dtype(dtype, "mean")
        if dtypes.kind_of(result_dtype) in "fc":
            a = convert_with_weak_type(a, result_dtype, False)
    work = _work_dtype(dtypes.to_inexact_dtype(result_dtype))
    where = None if where is None else where_mask("mean", where, a.shape)
    total = sum(convert_with_weak_type(a, work, False), axes, keepdims=keepdims, where=where)
    if where is None:
        count: Any = _count(a.shape, axes)
        count = total.dtype.type(count) if type(count) is int else lax.full_like(total, count)
    else:
        count = sum(where, axes, dtype=work, keepdims=keepdims)
    return convert_with_weak_type(lax.div(total, count), result_dtype, False)


@compiled_when_eager("axis", "dtype", "ddof", "keepdims", "correction")
def var(
    a: Any,
    axis: Axis = None,
    dtype: Any = None,
    out: None = None,
    ddof: int = 0,
    keepdims: bool = False,
    *,
    where: Any = None,
    mean: Any = None,
    correction: int | float | None = None,
) -> Any:
    """The mean of the squared distance from the mean; real for complex numbers.

    The divisor is the count minus `ddof` (or `correction`).

    >>> import pullback.numpy as jnp
    >>> jnp.var(jnp.array([1., 3.])), jnp.var(jnp.array([1., 3.]), ddof=1)
    (Array(1., dtype=float32), Array(2., dtype=float32))
    """
    check_no_out("var", out)
    a = ensure_arraylike("var", a)
    if correction is not None:
        if ddof != 0:
            raise ValueError("ddof and correction can't be provided simultaneously.")
        ddof = correction  # type: ignore[assignment]
    axes = canonical_axes(axis, a.ndim)
    where = None if where is None else where_mask("var", where, a.shape)
    work, result_dtype = _variance_dtypes(a.dtype, dtype)
    a = convert_with_weak_type(a, work, False)
    if mean is None:
        mean = _mean_of(a, axes=axes, where=where)
    centered = a - convert_with_weak_type(as_array(mean), work, False)
    squares = lax.square(centered)
    if dtypes.kind_of(work) == "c":
        squares = lax.real(lax.mul(centered, lax.conj(centered)))
    total = sum(squares, axes, keepdims=keepdims, where=where)
    if where is None:
        count: Any = lax.full_like(total, _count(a.shape, axes) - ddof)
    else:
        counted = sum(where, axes, dtype=total.dtype, keepdims=keepdims)
        count = lax.sub(counted, lax.full_like(counted, ddof))
    positive = lax.gt(count, lax.full_like(count, 0))
    result = lax.select(positive, lax.div(total, count), lax.full_like(total, np.nan))
    return convert_with_weak_type(result, result_dtype, False)


def _mean_of(a: Any, axes: tuple[int, ...], where: Any) -> Any:
    return mean(a, axes, keepdims=True, where=where)


def _variance_dtypes(have: Any, dtype: Any) -> tuple[Any, Any]:
    """In which dtype to compute, and that of the result."""
    if dtype is None:
        inexact = dtypes.to_inexact_dtype(have)
        return _work_dtype(inexact), dtypes.to_real_dtype(inexact)
    dtype = dtypes.check_user_dtype(dtype, "var")
    if dtypes.kind_of(have) == "c" and dtypes.kind_of(dtype) != "c":
        raise ValueError(
            "jax.numpy.var does not yet support real dtype parameters when computing the variance "
            "of an array of complex values."
        )
    return _work_dtype(dtypes.to_inexact_dtype(dtypes.promote_types(have, dtype))), dtype


@compiled_when_eager("axis", "dtype", "ddof", "keepdims", "correction")
def std(
    a: Any,
    axis: Axis = None,
    dtype: Any = None,
    out: None = None,
    ddof: int = 0,
    keepdims: bool = False,
    *,
    where: Any = None,
    mean: Any = None,
    correction: int | float | None = None,
) -> Any:
    """The square root of the variance; see `var`.

    >>> import pullback.numpy as jnp
    >>> jnp.std(jnp.array([1., 3.]))
    Array(1., dtype=float32)
    """
    check_no_out("std", out)
    a = ensure_arraylike("std", a)
    if dtype is not None and dtypes.kind_of(dtypes.as_dtype(dtype)) not in "fc":
        raise ValueError(f"dtype argument to jnp.std must be inexact; got {dtype}")
    return lax.sqrt(
        var(a, axis, dtype, None, ddof, keepdims, where=where, mean=mean, correction=correction)
    )


@compiled_when_eager("axis", "returned", "keepdims")
def average(
    a: Any, axis: Axis = None, weights: Any = None, returned: bool = False, keepdims: bool = False
) -> Any:
    """The mean of elements weighted by `weights`, with the sum of weights if `returned`.

    Weights have the shape of `a`, or are a vector along one axis.

    >>> import pullback.numpy as jnp
    >>> jnp.average(jnp.array([1., 2.]), weights=jnp.array([3., 1.]))
    Array(1.25, dtype=float32)
    """
    if weights is None:
        a = ensure_arraylike("average", a)
        result = mean(a, axis, keepdims=keepdims)
        count = _count(a.shape, canonical_axes(axis, a.ndim))
        weight = lax.full_like(result, count)
        return (result, weight) if returned else result
    a, weights = ensure_arraylike("average", a, weights)
    dtype = dtypes.to_inexact_dtype(dtypes.result_type(a, weights))
    a, weights = (convert_with_weak_type(x, dtype, False) for x in (a, weights))
    axes = canonical_axes(axis, a.ndim)
    if weights.shape != a.shape:
        weights = along_axes(weights, a, axis, axes)
    weight = sum(weights, axes, keepdims=keepdims)
    result = lax.div(sum(lax.mul(a, weights), axes, keepdims=keepdims), weight)
    return (result, weight) if returned else result


def along_axes(weights: Any, a: Any, axis: Axis, axes: tuple[int, ...]) -> Any:
    """Weights of some axes as an array of the shape of `a`."""
    if axis is None:
        raise ValueError("Axis must be specified when shapes of a and weights differ.")
    if weights.shape != tuple(a.shape[k] for k in axes):
        raise ValueError(
            "Shape of weights must be consistent with shape of a along specified axis."
        )
    order = sorted(range(len(axes)), key=lambda k: axes[k])
    return lax.broadcast_in_dim(lax.transpose(weights, order), a.shape, sorted(axes))
