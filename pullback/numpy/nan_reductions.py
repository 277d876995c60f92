"""Reductions that leave out nan."""

from __future__ import annotations

from typing import Any

import numpy as np

from pullback import lax
from pullback.core import dtypes
from pullback.numpy import reductions
from pullback.numpy.predicates import isnan
from pullback.numpy.promotion import check_no_out, ensure_arraylike
from pullback.runtime.composites import compiled_when_eager

__all__ = [
    "nanargmax",
    "nanargmin",
    "nanmax",
    "nanmean",
    "nanmin",
    "nanprod",
    "nanstd",
    "nansum",
    "nanvar",
]


def _numbers(name: str, a: Any, where: Any) -> tuple[Any, Any]:
    """The array, and which elements count."""
    a = ensure_arraylike(name, a)
    valid = lax.bitwise_not(isnan(a))
    if where is not None:
        valid = lax.bitwise_and(valid, reductions.where_mask(name, where, a.shape))
    return a, valid


def _has_nan(a: Any) -> bool:
    return dtypes.kind_of(a.dtype) in "fc"


@compiled_when_eager("axis", "dtype", "keepdims")
def nansum(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: None = None,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = None,
) -> Any:
    """The sum of the elements that are not nan.

    >>> import pullback.numpy as jnp
    >>> jnp.nansum(jnp.array([1., jnp.nan, 2.]))
    Array(3., dtype=float32)
    """
    a, valid = _numbers("nansum", a, where)
    return reductions.sum(a, axis, dtype, out, keepdims, initial, valid)


@compiled_when_eager("axis", "dtype", "keepdims")
def nanprod(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: None = None,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = None,
) -> Any:
    """The product of the elements that are not nan.

    >>> import pullback.numpy as jnp
    >>> jnp.nanprod(jnp.array([3., jnp.nan, 2.]))
    Array(6., dtype=float32)
    """
    a, valid = _numbers("nanprod", a, where)
    return reductions.prod(a, axis, dtype, out, keepdims, initial, valid)


def _extremum(
    name: str, a: Any, axis: Any, out: None, keepdims: bool, initial: Any, where: Any
) -> Any:
    reduce = reductions.max if name == "nanmax" else reductions.min
    a = ensure_arraylike(name, a)
    if not _has_nan(a):
        return reduce(a, axis, out, keepdims, initial, where)
    bound = -np.inf if name == "nanmax" else np.inf
    valid = lax.bitwise_not(isnan(a))
    filled = lax.select(valid, a, lax.full_like(a, bound))
    result = reduce(filled, axis, out, keepdims, initial, where)
    if initial is not None:
        return result
    found = reductions.any(valid, axis, keepdims=keepdims)
    return lax.select(found, result, lax.full_like(result, np.nan))


@compiled_when_eager("axis", "keepdims")
def nanmax(
    a: Any,
    axis: Any = None,
    out: None = None,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = None,
) -> Any:
    """The largest element that is not nan; nan if there is none.

    >>> import pullback.numpy as jnp
    >>> jnp.nanmax(jnp.array([1., jnp.nan, 2.]))
    Array(2., dtype=float32)
    """
    return _extremum("nanmax", a, axis, out, keepdims, initial, where)


@compiled_when_eager("axis", "keepdims")
def nanmin(
    a: Any,
    axis: Any = None,
    out: None = None,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = None,
) -> Any:
    """The smallest element that is not nan; nan if there is none.

    >>> import pullback.numpy as jnp
    >>> jnp.nanmin(jnp.array([1., jnp.nan, 2.]))
    Array(1., dtype=float32)
    """
    return _extremum("nanmin", a, axis, out, keepdims, initial, where)


def _arg(name: str, a: Any, axis: Any, out: None, keepdims: bool | None) -> Any:
    find, bound = (
        (reductions.argmax, -np.inf) if name == "nanargmax" else (reductions.argmin, np.inf)
    )
    check_no_out(name, out)
    a = ensure_arraylike(name, a)
    if not _has_nan(a):
        return find(a, axis, None, keepdims)
    missing = isnan(a)
    result = find(lax.select(missing, lax.full_like(a, bound), a), axis, None, keepdims)
    nothing = reductions.all(missing, axis, keepdims=bool(keepdims))
    return lax.select(nothing, lax.full_like(result, -1), result)


@compiled_when_eager("axis", "keepdims")
def nanargmax(a: Any, axis: Any = None, out: None = None, keepdims: bool | None = None) -> Any:
    """The index of the largest element that is not nan; -1 if there is none.

    >>> import pullback.numpy as jnp
    >>> jnp.nanargmax(jnp.array([1., jnp.nan, 2.]))
    Array(2, dtype=int32)
    """
    return _arg("nanargmax", a, axis, out, keepdims)


@compiled_when_eager("axis", "keepdims")
def nanargmin(a: Any, axis: Any = None, out: None = None, keepdims: bool | None = None) -> Any:
    """The index of the smallest element that is not nan; -1 if there is none.

    >>> import pullback.numpy as jnp
    >>> jnp.nanargmin(jnp.array([1., jnp.nan, 2.]))
    Array(0, dtype=int32)
    """
    return _arg("nanargmin", a, axis, out, keepdims)


@compiled_when_eager("axis", "dtype", "keepdims")
def nanmean(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: None = None,
    keepdims: bool = False,
    where: Any = None,
) -> Any:
    """The mean of the elements that are not nan.

    >>> import pullback.numpy as jnp
    >>> jnp.nanmean(jnp.array([1., jnp.nan, 2.]))
    Array(1.5, dtype=float32)
    """
    a, valid = _numbers("nanmean", a, where)
    return reductions.mean(a, axis, dtype, out, keepdims, where=valid)


@compiled_when_eager("axis", "dtype", "ddof", "keepdims")
def nanvar(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: None = None,
    ddof: int = 0,
    keepdims: bool = False,
    where: Any = None,
    mean: Any = None,
) -> Any:
    """The variance of the elements that are not nan.

    >>> import pullback.numpy as jnp
    >>> jnp.nanvar(jnp.array([1., jnp.nan, 3.]))
    Array(1., dtype=float32)
    """
    a, valid = _numbers("nanvar", a, where)
    a = lax.select(valid, a, lax.full_like(a, 0))
    return reductions.var(a, axis, dtype, out, ddof, keepdims, where=valid, mean=mean)


@compiled_when_eager("axis", "dtype", "ddof", "keepdims")
def nanstd(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: None = None,
    ddof: int = 0,
    keepdims: bool = False,
    where: Any = None,
    mean: Any = None,
) -> Any:
    """The standard deviation of the elements that are not nan.

    >>> import pullback.numpy as jnp
    >>> jnp.nanstd(jnp.array([1., jnp.nan, 3.]))
    Array(1., dtype=float32)
    """
    return lax.sqrt(nanvar(a, axis, dtype, out, ddof, keepdims, where, mean))
