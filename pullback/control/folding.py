"""Reductions by any function of scalars: `reduce`, `reduce_window`, `select_and_scatter`.

Each holds the jaxpr of the function. Sums, maxima and the like are primitives of their own, with
kernels of their own (`ops/reductions.py`, `ops/pooling.py`).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import numpy as np

from pullback.control.composite import composite
from pullback.control.windows import fold_windows
from pullback.core import dtypes
from pullback.core.avals import ShapedArray, aval_of
from pullback.core.jaxpr import ClosedJaxpr, Jaxpr, eval_jaxpr
from pullback.core.primitive import Primitive, Sample
from pullback.ops import comparison, elementwise, reductions, slicing, structural
from pullback.ops.pooling import Windows, pooled_shape
from pullback.ops.samples import draw, generator
from pullback.transforms.batching import batch_flat
from pullback.transforms.staging import stage

__all__ = ["map_scalars", "reduce", "reduce_window", "select_and_scatter"]

Computation = Callable[..., Sequence[Any]]


def _as_function(jaxpr: Any, consts: Sequence[Any] = ()) -> Computation:
    if isinstance(jaxpr, ClosedJaxpr):
        jaxpr, consts = jaxpr.jaxpr, jaxpr.consts
    inner: Jaxpr = jaxpr
    return lambda *xs: eval_jaxpr(inner, consts, *xs)


def map_scalars(combine: Computation, xs: Sequence[Any], ys: Sequence[Any]) -> list[Any]:
    """A function of scalars applied to all elements of arrays of one shape."""
    shape = aval_of(xs[0]).shape
    size = math.prod(shape)
    lanes = [_reshaped(v, (size,)) for v in (*xs, *ys)]
    outs, dims = batch_flat(combine, size, lanes, [0] * len(lanes), description="a reduction")
    return [
        structural.broadcast_in_dim(o, shape=shape, broadcast_dimensions=(), sharding=None)
        if d is None
        else _reshaped(o, shape)
        for o, d in zip(outs, dims, strict=True)
    ]


def _reshaped(x: Any, shape: tuple[int, ...]) -> Any:
    return structural.reshape(x, new_sizes=shape, dimensions=None, sharding=None)


# --------------------------------------------------------------------------- reduce


def _reduce(*operands: Any, jaxpr: Any, dimensions: Sequence[int], **_: Any) -> list[Any]:
    """Halve the rows until one is left."""
    half_way = len(operands) // 2
    xs, inits = operands[:half_way], operands[half_way:]
    axes, combine = tuple(dimensions), _as_function(jaxpr)
    shape = aval_of(xs[0]).shape
    kept = reductions.kept_axes(len(shape), axes)
    rest = tuple(shape[k] for k in kept)
    rows = [_rows(x, axes, kept) for x in xs]
    while (n := aval_of(rows[0]).shape[0]) > 1:
        half, odd = n // 2, n % 2
        first = [_part(r, 0, half) for r in rows]
        second = [_part(r, half, 2 * half) for r in rows]
        joined = map_scalars(combine, first, second)
        last = [_part(r, n - odd, n) for r in rows]
        rows = [
            structural.concatenate(j, r, dimension=0) if odd else j
            for j, r in zip(joined, last, strict=True)
        ]
    start = [
        structural.broadcast_in_dim(i, shape=(1, *rest), broadcast_dimensions=(), sharding=None)
        for i in inits
    ]
    if aval_of(rows[0]).shape[0]:
        start = map_scalars(combine, start, rows)
    return [_reshaped(r, rest) for r in start]


def _rows(x: Any, axes: tuple[int, ...], kept: tuple[int, ...]) -> Any:
    shape = aval_of(x).shape
    x = structural.transpose(x, permutation=(*axes, *kept))
    return _reshaped(x, (math.prod(shape[a] for a in axes), *(shape[k] for k in kept)))


def _part(x: Any, start: int, stop: int) -> Any:
    shape = aval_of(x).shape
    return slicing.slice_(
        x,
        start_indices=(start, *(0 for _ in shape[1:])),
        limit_indices=(stop, *shape[1:]),
        strides=None,
    )


def _jaxpr_of(function: Callable[..., Any], *types: Any) -> ClosedJaxpr:
    """The jaxpr of a function of pairs of scalars, for the samples."""
    avals = [ShapedArray((), dtype) for dtype in types * 2]
    return stage(lambda *xs: list(function(*xs)), avals, description="a sample")


def _root_of_squares(x: Any, y: Any) -> list[Any]:
    squares = elementwise.add(elementwise.mul(x, x), elementwise.mul(y, y))
    return [elementwise.sqrt(squares)]


def _larger_with_place(x: Any, i: Any, y: Any, j: Any) -> list[Any]:
    first = comparison.ge(x, y)
    return [elementwise.select_n(first, y, x), elementwise.select_n(first, j, i)]


def _reduce_samples() -> Iterator[Sample]:
    rng = generator()
    single = {"computation": None, "jaxpr": _jaxpr_of(_root_of_squares, dtypes.float32)}
    for shape, dims in (((5,), (0,)), ((3, 4), (1,)), ((2, 3, 4), (0, 2)), ((2, 3), ())):
        x = draw(rng, dtypes.float32, shape)
        yield Sample((x, np.float32(0.5)), {**single, "dimensions": dims}, smooth=False, tol=4.0)
    pair = {
        "computation": None,
        "jaxpr": _jaxpr_of(_larger_with_place, dtypes.float32, dtypes.int32),
    }
    x, places = draw(rng, dtypes.float32, (3, 7)), np.arange(21, dtype=np.int32).reshape(3, 7)
    yield Sample(
        (x, places, np.float32(-9), np.int32(-1)), {**pair, "dimensions": (1,)}, smooth=False
    )


reduce: Final[Primitive] = composite(
    "reduce", _reduce, samples=_reduce_samples, multiple_results=True
)


# --------------------------------------------------------------------------- windows


def _reduce_window(
    *operands: Any, jaxpr: Any, consts: Sequence[Any] = (), **windows: Any
) -> list[Any]:
    half = len(operands) // 2
    combine = _as_function(jaxpr, consts)
    return fold_windows(
        operands[:half],
        operands[half:],
        Windows(**windows),
        lambda a, b: map_scalars(combine, a, b),
    )


_WINDOWS: Final = {
    "window_dimensions": (2, 3),
    "window_strides": (1, 2),
    "padding": ((1, 0), (0, 1)),
    "base_dilation": (1, 1),
    "window_dilation": (1, 1),
}


def _window_samples() -> Iterator[Sample]:
    x = draw(generator(), dtypes.float32, (4, 5))
    params = {"jaxpr": _jaxpr_of(_root_of_squares, dtypes.float32), "consts": ()}
    yield Sample((x, np.float32(0.25)), {**params, **_WINDOWS}, smooth=False, tol=4.0)
    wide = {**_WINDOWS, "base_dilation": (2, 1), "window_dilation": (1, 2)}
    yield Sample((x, np.float32(0.25)), {**params, **wide}, smooth=False, tol=4.0)


reduce_window: Final[Primitive] = composite(
    "reduce_window", _reduce_window, samples=_window_samples, multiple_results=True
)


def _select_and_scatter(
    operand: Any,
    source: Any,
    init: Any,
    *,
    select_jaxpr: Any,
    select_consts: Sequence[Any] = (),
    scatter_jaxpr: Any,
    scatter_consts: Sequence[Any] = (),
    window_dimensions: tuple[int, ...],
    window_strides: tuple[int, ...],
    padding: tuple[tuple[int, int], ...],
) -> list[Any]:
    """Offset by offset: which windows chose the element there, and their values into its place."""
    select = _as_function(select_jaxpr, select_consts)
    scatter = _as_function(scatter_jaxpr, scatter_consts)
    ones = (1,) * len(window_dimensions)
    w = Windows(window_dimensions, window_strides, padding, ones, ones)
    shape = aval_of(operand).shape
    out_shape = pooled_shape(shape, w)
    config = tuple((low, high, 0) for low, high in padding)
    wide = structural.pad(operand, _zero(aval_of(operand)), padding_config=config)
    inside = structural.pad(_full(shape, np.bool_(True)), np.bool_(False), padding_config=config)
    offsets = list(itertools.product(*(range(n) for n in window_dimensions)))
    chosen, valid = _chosen(wide, inside, offsets, w, out_shape, select)
    total = _full(aval_of(wide).shape, init)
    for number, offset in enumerate(offsets):
        here = elementwise.and_(valid, comparison.eq(chosen, np.int32(number)))
        values, marks = (
            structural.pad(v, fill, padding_config=_placing(offset, aval_of(wide).shape, w, shape_))
            for v, fill, shape_ in ((source, _zero(aval_of(source)), out_shape),
                                    (here, np.bool_(False), out_shape))
        )  # fmt: skip
        (joined,) = map_scalars(scatter, [total], [values])
        total = elementwise.select_n(marks, total, joined)
    return [
        slicing.slice_(
            total,
            start_indices=tuple(low for low, _ in padding),
            limit_indices=tuple(low + n for (low, _), n in zip(padding, shape, strict=True)),
            strides=None,
        )
    ]


def _full(shape: tuple[int, ...], value: Any) -> Any:
    return structural.broadcast_in_dim(value, shape=shape, broadcast_dimensions=(), sharding=None)


def _zero(aval: ShapedArray) -> Any:
    return dtypes.physical(aval.dtype).type(0)


def _window_part(x: Any, offset: Sequence[int], w: Windows, out_shape: tuple[int, ...]) -> Any:
    last = [
        o + (n - 1) * s + 1 for o, n, s in zip(offset, out_shape, w.window_strides, strict=True)
    ]
    return slicing.slice_(
        x, start_indices=tuple(offset), limit_indices=tuple(last), strides=w.window_strides
    )


def _chosen(
    wide: Any,
    inside: Any,
    offsets: Sequence[tuple[int, ...]],
    w: Windows,
    out_shape: tuple[int, ...],
    select: Computation,
) -> tuple[Any, Any]:
    """The offset of the element that `select` prefers in each window, and whether there is one."""
    best = _window_part(wide, offsets[0], w, out_shape)
    valid = _window_part(inside, offsets[0], w, out_shape)
    chosen = _full(out_shape, np.int32(0))
    for number, offset in enumerate(offsets[1:], 1):
        value = _window_part(wide, offset, w, out_shape)
        there = _window_part(inside, offset, w, out_shape)
        (keeps,) = map_scalars(select, [best], [value])
        replaced = elementwise.and_(
            there, elementwise.or_(elementwise.not_(valid), elementwise.not_(keeps))
        )
        best = elementwise.select_n(replaced, best, value)
        chosen = elementwise.select_n(replaced, chosen, _full(out_shape, np.int32(number)))
        valid = elementwise.or_(valid, there)
    return chosen, valid


def _placing(
    offset: Sequence[int], wide: Sequence[int], w: Windows, out_shape: Sequence[int]
) -> tuple[tuple[int, int, int], ...]:
    """The padding that puts one value for each window at its offset in the padded operand."""
    return tuple(
        (o, n - o - ((m - 1) * s + 1), s - 1)
        for o, n, m, s in zip(offset, wide, out_shape, w.window_strides, strict=True)
    )


def _scatter_samples() -> Iterator[Sample]:
    rng = generator()
    for strides, padding, out in (
        ((2, 2), ((0, 0), (0, 1)), (2, 3)),
        ((1, 2), ((1, 0), (0, 0)), (4, 2)),
    ):
        params = {
            "select_jaxpr": _jaxpr_of(lambda x, y: [comparison.ge(x, y)], dtypes.float32),
            "select_consts": (),
            "scatter_jaxpr": _jaxpr_of(lambda x, y: [elementwise.add(x, y)], dtypes.float32),
            "scatter_consts": (),
            "window_dimensions": (2, 2),
            "window_strides": strides,
            "padding": padding,
        }
        operand, source = draw(rng, dtypes.float32, (4, 5)), draw(rng, dtypes.float32, out)
        yield Sample((operand, source, np.float32(0)), params, smooth=False)


select_and_scatter: Final[Primitive] = composite(
    "select_and_scatter", _select_and_scatter, samples=_scatter_samples
)
