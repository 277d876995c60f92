"""Reductions over named axes (`psum`, `pmax`, `pmin`), and `axis_index`.

`axes` holds names, and numbers of axes of the operand itself.  Batching over an axis turns its name
into a number; when no name is left, the operation is an ordinary reduction.  Other collectives are
in `control/exchange.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from pullback.core.avals import ShapedArray, aval_of
from pullback.core.axes import NamedAxisEffect, batching_axis
from pullback.core.primitive import (
    FIRST_ORDER,
    NotApplicable,
    Primitive,
    Sample,
    Zero,
)
from pullback.errors import shapes_text
from pullback.ops import comparison, conversion, elementwise, reductions, structural
from pullback.ops.gather import gather
from pullback.ops.kinds import scalar_like
from pullback.ops.windows import GatherDimensionNumbers, GatherScatterMode
from pullback.transforms.shaping import concatenate_rows, reshape_to, rows

__all__ = [
    "NO_HLO",
    "Groups",
    "axis_index",
    "in_order",
    "lanes_in_front",
    "linear_jvp",
    "pmax",
    "pmin",
    "psum",
    "unbound",
]

Axes = tuple[Any, ...]
Groups = tuple[tuple[int, ...], ...] | None
NO_HLO: Final = NotApplicable(
    "hlo of a collective", "programs over several devices, which their collectives need, do not run"
)
_FEW_RUNS: Final = 8


def is_positional(axis: Any) -> bool:
    """Whether an entry of `axes` is a number of an axis rather than a name."""
    return type(axis) is int


def unbound(name: str, axes: Sequence[Any]) -> NameError:
    """The error of running a collective whose names nobody bound."""
    return NameError(
        f"unbound axis name: {shapes_text(axes)}. {name} must be called within "
        "vmap(..., axis_name=...)"
    )


def linear_jvp(bind: Callable[..., Any]) -> Callable[..., Any]:
    """The jvp rule of a linear operation of one operand."""

    def jvp(primals: Any, tangents: Any, **params: Any) -> tuple[Any, Any]:
        (x,), (t,) = primals, tangents
        out = bind(x, **params)
        if type(t) is Zero:
            return out, Zero(aval_of(out).to_tangent_aval())
        return out, bind(t, **params)

    return jvp


def lanes_in_front(size: int, x: Any, d: int | None) -> Any:
    """`x` with one row for each lane."""
    return structural.broadcast(x, size, 0) if d is None else structural.moveaxis(x, d, 0)


def in_order(x: Any, order: Sequence[int]) -> Any:
    """The rows of `x` with these numbers; -1 stands for a row of zeros."""
    n, rest = aval_of(x).shape[0], aval_of(x).shape[1:]
    if list(order) == list(range(n)):
        return x
    starts = [k for k, i in enumerate(order) if k == 0 or i != order[k - 1] + 1 or i <= 0]
    if len(starts) <= _FEW_RUNS:
        ends = [*starts[1:], len(order)]
        aval = aval_of(x)
        return concatenate_rows(
            [
                rows(x, order[a], order[a] + b - a)
                if order[a] >= 0
                else structural.zeros(aval.update(shape=(b - a, *rest)))
                for a, b in zip(starts, ends, strict=True)
            ]
        )
    return gather(
        x,
        np.asarray(order, np.int32).reshape(-1, 1) % (n + 1),
        dimension_numbers=GatherDimensionNumbers(tuple(range(1, len(rest) + 1)), (0,), (0,)),
        slice_sizes=(1, *rest),
        indices_are_sorted=False,
        unique_indices=False,
        mode=GatherScatterMode.FILL_OR_DROP,
        fill_value=0,
    )


# ------------------------------------------------------------------ reductions


def _abstract(name: str) -> Callable[..., ShapedArray]:
    def abstract(x: Any, *, axes: Axes, axis_index_groups: Groups) -> ShapedArray:
        numbers = [a for a in axes if is_positional(a)]
        if any(not 0 <= a < x.ndim for a in numbers):
            raise TypeError(f"{name}: {x.str_short()} does not have the axes {tuple(numbers)}")
        return ShapedArray([n for k, n in enumerate(x.shape) if k not in numbers], x.dtype)

    return abstract


def _moved(axes: Axes, d: int) -> Axes:
    """The axes after a new axis was inserted at `d`."""
    return tuple(a + (a >= d) if is_positional(a) else a for a in axes)


def _reduction(
    name: str,
    reduce: Primitive,
    unbatched: Callable[[Any, int], Any],
    jvp: Callable[..., Any],
    transpose: Callable[..., Any],
) -> Primitive:
    def plain(axes: Axes, groups: Groups) -> dict[str, Any]:
        names = [a for a in axes if not is_positional(a)]
        if names:
            raise unbound(name, names)
        return {"axes": axes, "out_sharding": None}

    def batch(
        size: int, args: Any, dims: Any, *, axes: Axes, axis_index_groups: Groups
    ) -> tuple[Any, int | None]:
        (x,), (d,) = args, dims
        this = batching_axis()
        if this is None or this not in axes:
            moved = _moved(axes, d)
            out = primitive.bind(x, axes=moved, axis_index_groups=axis_index_groups)
            return out, d - sum(1 for a in moved if is_positional(a) and a < d)
        if axis_index_groups is not None:
            return _in_groups(size, x, d, axes, axis_index_groups), 0
        if d is None:
            rest = tuple(a for a in axes if a != this)
            out = unbatched(x, size)
            return (primitive.bind(out, axes=rest, axis_index_groups=None) if rest else out), None
        axes = tuple(d if a == this else a for a in _moved(axes, d))
        return primitive.bind(x, axes=axes, axis_index_groups=None), None

    def _in_groups(size: int, x: Any, d: int | None, axes: Axes, groups: Any) -> Any:
        """Each lane gets the result of its own group."""
        members = [i for group in groups for i in group]
        sorted_rows = in_order(lanes_in_front(size, x, d), members)
        n, m = len(groups), len(groups[0])
        rest = aval_of(sorted_rows).shape[1:]
        apart = reshape_to(sorted_rows, (n, m, *rest))
        numbers = tuple(a + 2 for a in axes if is_positional(a))
        out = primitive.bind(apart, axes=(1, *numbers), axis_index_groups=None)
        spread = structural.broadcast(out, m, 1)
        flat = reshape_to(spread, (size, *aval_of(out).shape[1:]))
        return in_order(flat, [members.index(i) for i in range(size)])

    def lower(b: Any, x: Any, *, axes: Any, axis_index_groups: Any) -> Any:
        return reduce.lower(b, x, **plain(axes, axis_index_groups))

    primitive = Primitive(
        name=name,
        abstract=_abstract(name),
        reference=lambda x, *, axes, axis_index_groups: reduce.reference(
            x, **plain(axes, axis_index_groups)
        ),
        jvp=jvp,
        transpose=transpose,
        batch=batch,
        partial_eval=FIRST_ORDER,
        lower=lower,
        hlo=lower,
        samples=_samples,
        multiple_results=False,
        effects=_effects,
        literals=False,
    )
    return primitive


def _samples() -> list[Sample]:
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    params = {"axis_index_groups": None}
    return [
        Sample((x,), params | {"axes": (0,)}),
        Sample((x,), params | {"axes": (0, 1)}),
        Sample((x,), params | {"axes": ()}),
    ]


def _effects(*, axes: Axes, axis_index_groups: Groups) -> frozenset[Any]:
    return frozenset([NamedAxisEffect(a) for a in axes if not is_positional(a)])


def _psum_jvp(primals: Any, tangents: Any, **params: Any) -> tuple[Any, Any]:
    result: tuple[Any, Any] = linear_jvp(psum.bind)(primals, tangents, **params)
    return result


def _psum_transpose(ct: Any, x: Any, *, axes: Axes, axis_index_groups: Groups) -> list[Any]:
    names = tuple(a for a in axes if not is_positional(a))
    if names:
        ct = psum.bind(ct, axes=names, axis_index_groups=axis_index_groups)
    return [_put_back(ct, x.aval.shape, axes)]


def _put_back(x: Any, shape: Sequence[int], axes: Axes) -> Any:
    """`x` repeated along the axes that a reduction removed."""
    if aval_of(x).shape == tuple(shape):
        return x
    kept = tuple(k for k in range(len(shape)) if k not in axes)
    return structural.broadcast_in_dim(
        x, shape=tuple(shape), broadcast_dimensions=kept, sharding=None
    )


def _times(x: Any, size: int) -> Any:
    return elementwise.mul(x, scalar_like(x, size))


psum: Final[Primitive] = _reduction(
    "psum", reductions.reduce_sum, _times, _psum_jvp, _psum_transpose
)


def _attained(bind: Callable[..., Any]) -> Callable[..., Any]:
    """The tangent of an extremum: the mean of the tangents of those that attain it."""

    def jvp(primals: Any, tangents: Any, **params: Any) -> tuple[Any, Any]:
        (x,), (t,) = primals, tangents
        out = bind(x, **params)
        if type(t) is Zero:
            return out, Zero(aval_of(out).to_tangent_aval())
        aval = aval_of(x)
        here = comparison.eq(x, _put_back(out, aval.shape, params["axes"]))
        weight = conversion.convert(here, aval.dtype)
        total = psum.bind(elementwise.mul(t, weight), **params)
        return out, elementwise.div(total, psum.bind(weight, **params))

    return jvp


_NONLINEAR: Final = NotApplicable("transpose", "the operation is not linear")

pmax: Final[Primitive] = _reduction(
    "pmax",
    reductions.reduce_max,
    lambda x, size: x,
    lambda primals, tangents, **params: _attained(pmax.bind)(primals, tangents, **params),
    _NONLINEAR,
)
pmin: Final[Primitive] = _reduction(
    "pmin",
    reductions.reduce_min,
    lambda x, size: x,
    lambda primals, tangents, **params: _attained(pmin.bind)(primals, tangents, **params),
    _NONLINEAR,
)


# ------------------------------------------------------------------ axis_index


def _index_batch(size: int, args: Any, dims: Any, *, axis_name: Any) -> tuple[Any, int]:
    index = np.dtype(np.int32)
    return structural.iota(dtype=index, shape=(size,), dimension=0, sharding=None), 0


def _index_unbound(*args: Any, axis_name: Any) -> Any:
    raise unbound("axis_index", [axis_name])


def _index_jvp(primals: Any, tangents: Any, *, axis_name: Any) -> tuple[Any, Any]:
    index = axis_index.bind(axis_name=axis_name)
    return index, Zero(aval_of(index).to_tangent_aval())


axis_index: Final[Primitive] = Primitive(
    name="axis_index",
    abstract=lambda *, axis_name: ShapedArray((), np.int32),
    reference=_index_unbound,
    jvp=_index_jvp,
    transpose=NotApplicable("transpose of axis_index", "it is an integer", TypeError),
    batch=_index_batch,
    partial_eval=FIRST_ORDER,
    lower=_index_unbound,
    hlo=NO_HLO,
    samples=list,
    multiple_results=False,
    effects=lambda *, axis_name: frozenset([NamedAxisEffect(axis_name)]),
    literals=False,
)
