"""Collectives that move values between the lanes of a named axis.

`all_gather`, `reduce_scatter` (psum_scatter), `all_to_all`, `ppermute`, `pbroadcast`.  Batching
over the axis makes them ordinary moves of elements.  A tuple of names means the lanes of all of
them, the first name being the slowest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from pullback.control.collectives import (
    NO_HLO,
    Groups,
    axis_index,
    in_order,
    lanes_in_front,
    linear_jvp,
    psum,
    unbound,
)
from pullback.core.avals import ShapedArray, aval_of
from pullback.core.axes import NamedAxisEffect, axis_size, batching_axis
from pullback.core.primitive import FIRST_ORDER, Primitive
from pullback.errors import UnsupportedError
from pullback.ops import comparison, elementwise, reductions, structural
from pullback.ops.kinds import scalar_like
from pullback.transforms.shaping import reshape_to, row

__all__ = ["all_gather", "all_to_all", "pbroadcast", "ppermute", "reduce_scatter"]

Names = tuple[Any, ...]


def _as_names(axis_name: Any) -> Names:
    return axis_name if isinstance(axis_name, tuple) else (axis_name,)


def _around(names: Names) -> tuple[Names, Names] | None:
    """The names before and after the one being batched over; None if it is not among them."""
    this = batching_axis()
    if this is None or this not in names:
        return None
    k = names.index(this)
    return names[:k], names[k + 1 :]


def _no_groups(name: str, groups: Groups) -> None:
    if groups is not None:
        raise UnsupportedError(f"{name}: axis_index_groups are not supported under vmap")


def _size(names: Names, operation: str) -> int:
    return math.prod([axis_size(n, operation) for n in names])


def _collective(
    name: str,
    abstract: Callable[..., Any],
    transpose: Callable[..., Any],
    batch: Callable[..., Any],
) -> Primitive:
    """A linear collective of one operand, whose names are its parameter `axis_name`."""

    def nobody(*args: Any, axis_name: Any, **_: Any) -> Any:
        raise unbound(name, _as_names(axis_name))

    primitive = Primitive(
        name=name,
        abstract=abstract,
        reference=nobody,
        jvp=lambda primals, tangents, **params: linear_jvp(primitive.bind)(
            primals, tangents, **params
        ),
        transpose=transpose,
        batch=batch,
        partial_eval=FIRST_ORDER,
        lower=lambda b, *args, **params: nobody(*args, **params),
        hlo=NO_HLO,
        samples=list,
        multiple_results=False,
        effects=lambda *, axis_name, **_: frozenset(map(NamedAxisEffect, _as_names(axis_name))),
        literals=False,
    )
    return primitive


def _replaced(shape: Sequence[int], axis: int, *new: int) -> tuple[int, ...]:
    """A shape with one entry replaced by others."""
    return (*shape[:axis], *new, *shape[axis + 1 :])


def _merge(x: Any, axis: int, count: int = 2) -> Any:
    """Consecutive axes of `x` as one."""
    shape = aval_of(x).shape
    merged = math.prod(shape[axis : axis + count])
    return reshape_to(x, (*shape[:axis], merged, *shape[axis + count :]))


# ------------------------------------------------------------------ all_gather


def _gather_abstract(
    x: Any, *, all_gather_dimension: int, axis_size: int, tiled: bool, **_: Any
) -> ShapedArray:
    k, shape = all_gather_dimension, x.shape
    new = (
        _replaced(shape, k, shape[k] * axis_size) if tiled else (*shape[:k], axis_size, *shape[k:])
    )
    return ShapedArray(new, x.dtype)


def _gather_transpose(ct: Any, x: Any, *, all_gather_dimension: int, **params: Any) -> list[Any]:
    return [reduce_scatter.bind(ct, scatter_dimension=all_gather_dimension, **params)]


def _gathered(x: Any, names: Names, axis: int) -> Any:
    """The values of all lanes along a new axis."""
    if not names:
        return structural.broadcast(x, 1, axis)
    return all_gather.bind(
        x,
        all_gather_dimension=axis,
        axis_index_groups=None,
        axis_name=names,
        axis_size=_size(names, "all_gather"),
        tiled=False,
    )


def _gather_batch(
    size: int,
    args: Any,
    dims: Any,
    *,
    all_gather_dimension: int,
    axis_name: Names,
    **params: Any,
) -> tuple[Any, int | None]:
    (x,), (d,), k = args, dims, all_gather_dimension
    around = _around(axis_name)
    if around is None:
        tiled = params["tiled"]
        k, out_d = (k + (d <= k), d) if tiled else (k + (d < k), d + (d >= k))
        return all_gather.bind(x, all_gather_dimension=k, axis_name=axis_name, **params), out_d
    _no_groups("all_gather", params["axis_index_groups"])
    before, after = around
    x = lanes_in_front(size, x, d)
    if after or before:
        x = _merge(_gathered(x, after, 1), 0)
        x = _merge(_gathered(x, before, 0), 0)
    x = structural.moveaxis(x, 0, k)
    return (_merge(x, k) if params["tiled"] else x), None


all_gather: Final[Primitive] = _collective(
    "all_gather", _gather_abstract, _gather_transpose, _gather_batch
)


# ------------------------------------------------------------------ reduce_scatter


def _scatter_abstract(
    x: Any, *, scatter_dimension: int, axis_size: int, tiled: bool, **_: Any
) -> ShapedArray:
    k, shape = scatter_dimension, x.shape
    if tiled and shape[k] % axis_size:
        raise TypeError(
            f"psum_scatter: axis {k} of {x.str_short()} is not a multiple of the number of lanes, "
            f"{axis_size}"
        )
    if not tiled and shape[k] != axis_size:
        raise TypeError(
            f"psum_scatter: axis {k} of {x.str_short()} must have one entry for each of the "
            f"{axis_size} lanes, or tiled=True"
        )
    return ShapedArray(_replaced(shape, k, *([shape[k] // axis_size] if tiled else [])), x.dtype)


def _scatter_transpose(ct: Any, x: Any, *, scatter_dimension: int, **params: Any) -> list[Any]:
    return [all_gather.bind(ct, all_gather_dimension=scatter_dimension, **params)]


def _scattered(x: Any, names: Names, axis: int) -> Any:
    """Each lane's part of the sum; the axis of the parts is dropped."""
    if not names:
        return reshape_to(x, _replaced(aval_of(x).shape, axis))
    return reduce_scatter.bind(
        x,
        axis_index_groups=None,
        axis_name=names,
        axis_size=_size(names, "psum_scatter"),
        scatter_dimension=axis,
        tiled=False,
    )


def _scatter_batch(
    size: int, args: Any, dims: Any, *, scatter_dimension: int, axis_name: Names, **params: Any
) -> tuple[Any, int | None]:
    (x,), (d,), k = args, dims, scatter_dimension
    around = _around(axis_name)
    if around is None:
        moved = k + (d <= k)
        out_d = d if params["tiled"] or d < moved else d - 1
        out = reduce_scatter.bind(x, scatter_dimension=moved, axis_name=axis_name, **params)
        return out, out_d
    _no_groups("psum_scatter", params["axis_index_groups"])
    before, after = around
    if d is None:
        x = elementwise.mul(x, scalar_like(x, size))
    else:
        x = reductions.reduce_sum(x, axes=(d,), out_sharding=None)
    shape = aval_of(x).shape
    first, last = _size(before, "psum_scatter"), _size(after, "psum_scatter")
    parts = [shape[k] // params["axis_size"]] if params["tiled"] else []
    x = reshape_to(x, _replaced(shape, k, first, size, last, *parts))
    x = _scattered(_scattered(x, before, k), after, k + 1)
    return x, k


reduce_scatter: Final[Primitive] = _collective(
    "reduce_scatter", _scatter_abstract, _scatter_transpose, _scatter_batch
)


# ------------------------------------------------------------------ all_to_all


def _all_abstract(
    x: Any,
    *,
    axis_name: Any,
    split_axis: int,
    concat_axis: int,
    axis_index_groups: Groups,
    **_: Any,
) -> ShapedArray:
    n = (
        len(axis_index_groups[0])
        if axis_index_groups is not None
        else _size(_as_names(axis_name), "all_to_all")
    )
    shape = list(x.shape)
    if shape[split_axis] % n:
        raise TypeError(
            f"all_to_all: axis {split_axis} of {x.str_short()} is not a multiple of the number of "
            f"lanes, {n}"
        )
    shape[split_axis] //= n
    shape[concat_axis] *= n
    return ShapedArray(shape, x.dtype)


def _all_transpose(
    ct: Any, x: Any, *, split_axis: int, concat_axis: int, **params: Any
) -> list[Any]:
    return [all_to_all.bind(ct, split_axis=concat_axis, concat_axis=split_axis, **params)]


def _all_batch(
    size: int, args: Any, dims: Any, *, split_axis: int, concat_axis: int, **params: Any
) -> tuple[Any, int]:
    (x,), (d,) = args, dims
    s, c = split_axis, concat_axis
    names = _as_names(params["axis_name"])
    if _around(names) is None:
        s, c = s + (d <= s), c + (d <= c)
        return all_to_all.bind(x, split_axis=s, concat_axis=c, **params), d
    _no_groups("all_to_all", params["axis_index_groups"])
    if len(names) > 1:
        raise UnsupportedError("all_to_all: several axis names at once are not supported by vmap")
    x = lanes_in_front(size, x, d)  # axes: sender, then those of a lane
    shape = aval_of(x).shape
    x = reshape_to(x, _replaced(shape, s + 1, size, shape[s + 1] // size))
    x = structural.moveaxis(x, s + 1, 0)  # receiver, sender, then those of a lane
    x = structural.moveaxis(x, 1, c + 1)  # the sender just before the axis to concatenate along
    return _merge(x, c + 1), 0


all_to_all: Final[Primitive] = _collective("all_to_all", _all_abstract, _all_transpose, _all_batch)


# ------------------------------------------------------------------ ppermute


def _permute_transpose(ct: Any, x: Any, *, axis_name: Any, perm: Any) -> list[Any]:
    back = tuple((dst, src) for src, dst in perm)
    return [ppermute.bind(ct, axis_name=axis_name, perm=back)]


def _permute_batch(
    size: int, args: Any, dims: Any, *, axis_name: Names, perm: Any
) -> tuple[Any, int | None]:
    (x,), (d,) = args, dims
    if _around(axis_name) is None:
        return ppermute.bind(x, axis_name=axis_name, perm=perm), d
    if len(axis_name) > 1:
        raise UnsupportedError("ppermute: several axis names at once are not supported by vmap")
    sources = {dst: src for src, dst in perm}
    order = [sources.get(i, -1) for i in range(size)]
    return in_order(lanes_in_front(size, x, d), order), 0


ppermute: Final[Primitive] = _collective(
    "ppermute", lambda x, **_: x, _permute_transpose, _permute_batch
)


# ------------------------------------------------------------------ pbroadcast


def _broadcast_transpose(ct: Any, x: Any, *, axis_name: Any, source: int) -> list[Any]:
    """The source gets the sum of all cotangents, the others get zeros."""
    names = _as_names(axis_name)
    total = psum.bind(ct, axes=names, axis_index_groups=None)
    here = comparison.eq(axis_index.bind(axis_name=names[0]), np.int32(source))
    zero = structural.zeros(aval_of(ct))
    return [elementwise.select_n(here, zero, total)]


def _broadcast_batch(
    size: int, args: Any, dims: Any, *, axis_name: Any, source: int
) -> tuple[Any, int | None]:
    (x,), (d,) = args, dims
    if _around(_as_names(axis_name)) is None:
        return pbroadcast.bind(x, axis_name=axis_name, source=source), d
    return (x if d is None else row(structural.moveaxis(x, d, 0), source)), None


pbroadcast: Final[Primitive] = _collective(
    "pbroadcast", lambda x, **_: x, _broadcast_transpose, _broadcast_batch
)
