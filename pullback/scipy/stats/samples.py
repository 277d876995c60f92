"""Statistics of samples for `jax.scipy.stats`: ranks, modes, standard errors."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from pullback import lax
from pullback import numpy as jnp
from pullback.core import dtypes
from pullback.numpy.promotion import ensure_arraylike, promote_dtypes_inexact
from pullback.runtime.composites import compiled_when_eager

__all__ = ["ModeResult", "mode", "rankdata", "sem"]


class ModeResult(NamedTuple):
    """The most frequent values, and how often they occur."""

    mode: Any
    count: Any


def _only_propagate(nan_policy: str) -> None:
    if nan_policy not in ("propagate", "omit", "raise"):
        raise ValueError(
            f"Illegal nan_policy value {nan_policy!r}; expected one of 'propagate', 'omit', 'raise'"
        )
    if nan_policy != "propagate":
        raise NotImplementedError(f"nan_policy {nan_policy!r} is not supported; use 'propagate'")


def mode(
    a: Any, axis: int | None = 0, nan_policy: str = "propagate", keepdims: bool = False
) -> ModeResult:
    """The most frequent value along an axis, the smallest of several, and its count.

    NaNs are one value, larger than all others.

    >>> import pullback.numpy as jnp, pullback.scipy as jsp
    >>> jsp.stats.mode(jnp.array([2, 4, 1, 1, 3]))
    ModeResult(mode=Array(1, dtype=int32), count=Array(2, dtype=int32))
    """
    _only_propagate(nan_policy)
    x = jnp.atleast_1d(ensure_arraylike("mode", a))
    rank, kept = x.ndim, axis
    x = x.reshape(-1) if axis is None else jnp.moveaxis(x, axis, -1)
    if not x.size:
        raise ValueError("mode of an empty array is not defined")
    ordered = jnp.sort(x, axis=-1)
    counts = _places_in_runs(ordered)
    last = jnp.argmax(counts, axis=-1)[..., None]
    count = jnp.take_along_axis(counts, last, axis=-1)
    value = jnp.take_along_axis(ordered, last + 1 - count, axis=-1)[..., 0]
    count = count[..., 0]
    if keepdims:
        at = tuple(range(rank)) if kept is None else kept
        value, count = jnp.expand_dims(value, at), jnp.expand_dims(count, at)
    return ModeResult(value, count)


def _places_in_runs(ordered: Any) -> Any:
    """How many elements of rows in order are equal to this one and not after it."""
    places = jnp.arange(ordered.shape[-1])
    before, after = ordered[..., :-1], ordered[..., 1:]
    same = (before == after) | (jnp.isnan(before) & jnp.isnan(after))
    first = jnp.where(same, 0, places[1:])
    first = jnp.concatenate([jnp.zeros_like(first, shape=(*first.shape[:-1], 1)), first], axis=-1)
    return places - lax.cummax(first, axis=first.ndim - 1) + 1


@compiled_when_eager("method", "axis", "nan_policy")
def rankdata(
    a: Any, method: str = "average", *, axis: int | None = None, nan_policy: str = "propagate"
) -> Any:
    """The ranks of elements, from 1; equal ones by "average", "min", "max", "dense", "ordinal".

    They are floats: NaN where one of the elements is.

    >>> import pullback.numpy as jnp, pullback.scipy as jsp
    >>> jsp.stats.rankdata(jnp.array([0., 2., 3., 2.]))
    Array([1. , 2.5, 4. , 2.5], dtype=float32)
    """
    _only_propagate(nan_policy)
    if method not in ("average", "min", "max", "dense", "ordinal"):
        raise ValueError(f"unknown method '{method}'")
    x = ensure_arraylike("rankdata", a)
    if axis is None:
        x, axis = x.reshape(-1), 0
    x = jnp.moveaxis(x, axis, -1)
    ranks = _ranks(x, method).astype(dtypes.default_float())
    ranks = jnp.where(jnp.isnan(x).any(axis=-1, keepdims=True), np.nan, ranks)
    return jnp.moveaxis(ranks, -1, axis)


def _ranks(x: Any, method: str) -> Any:
    """Ranks along the last axis, from the order of the elements, in which equal ones meet."""
    order = jnp.argsort(x, axis=-1)
    places = jnp.broadcast_to(jnp.arange(x.shape[-1]), x.shape)
    if method == "ordinal":
        found = places + 1
    else:
        ordered = jnp.take_along_axis(x, order, axis=-1)
        edge = jnp.ones_like(ordered[..., :1], dtype=bool)
        steps = ordered[..., 1:] != ordered[..., :-1]
        first = jnp.concatenate([edge, steps], -1)
        last = jnp.concatenate([steps, edge], -1)
        found = _tied(places, first, last, method)
    return jnp.put_along_axis(jnp.zeros_like(found), order, found, axis=-1, inplace=False)


def _tied(places: Any, first: Any, last: Any, method: str) -> Any:
    """Ranks in the order, where each run of equal elements has a first and a last one."""
    axis = places.ndim - 1
    if method == "dense":
        return jnp.cumsum(first, axis=axis)
    smaller = lax.cummax(jnp.where(first, places, 0), axis)
    if method == "min":
        return smaller + 1
    ends = lax.cummin(jnp.where(last, places + 1, places.shape[-1]), axis, reverse=True)
    return ends if method == "max" else (smaller + ends + 1) / 2


def sem(
    a: Any,
    axis: int | None = 0,
    ddof: int = 1,
    nan_policy: str = "propagate",
    *,
    keepdims: bool = False,
) -> Any:
    """The standard error of the mean; of the elements that are not NaN, by nan_policy "omit".

    >>> import pullback.numpy as jnp, pullback.scipy as jsp
    >>> jsp.stats.sem(jnp.array([1., 3.]))
    Array(1., dtype=float32)
    """
    (x,) = promote_dtypes_inexact(ensure_arraylike("sem", a))
    if nan_policy == "omit":
        present = jnp.count_nonzero(~jnp.isnan(x), axis=axis, keepdims=keepdims)
        spread = jnp.nanstd(x, axis=axis, ddof=ddof, keepdims=keepdims)
        return spread / jnp.sqrt(present.astype(spread.dtype))
    _only_propagate(nan_policy)
    count = x.size if axis is None else x.shape[axis]
    return jnp.std(x, axis=axis, ddof=ddof, keepdims=keepdims) / float(np.sqrt(count))
