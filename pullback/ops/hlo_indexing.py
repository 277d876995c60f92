"""StableHLO of gathers and scatters, sorting and cumulative operations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pullback.core import dtypes
from pullback.core.dimensions import is_symbolic
from pullback.core.stablehlo import Emitter, Value, flag, int_array, integer
from pullback.ops.hlo_structure import index_operands
from pullback.ops.windows import (
    GatherDimensionNumbers,
    GatherScatterMode,
    ScatterDimensionNumbers,
    as_gather,
    default_fill,
    window_sizes,
)

__all__ = ["cumulative", "gather", "scatter_rule", "sort", "top_k"]


def _list(values: Sequence[int]) -> str:
    return f"[{', '.join(str(int(v)) for v in values)}]"


def gather(
    b: Emitter,
    x: Value,
    indices: Value,
    *,
    dimension_numbers: GatherDimensionNumbers,
    slice_sizes: Sequence[int],
    indices_are_sorted: bool,
    mode: GatherScatterMode,
    fill_value: Any,
    **_: Any,
) -> Value:
    """Windows at computed positions; StableHLO moves them inside."""
    n = dimension_numbers
    shape = b.types[0][0]
    (at,) = index_operands(b, [indices])
    parts = {
        "offset_dims": n.offset_dims,
        "collapsed_slice_dims": n.collapsed_slice_dims,
        "operand_batching_dims": n.operand_batching_dims,
        "start_indices_batching_dims": n.start_indices_batching_dims,
        "start_index_map": n.start_index_map,
    }
    numbers = [f"{name} = {_list(dims)}" for name, dims in parts.items() if dims]
    numbers.append(f"index_vector_dim = {len(indices.shape) - 1}")
    attributes = {
        "dimension_numbers": f"#stablehlo.gather<{', '.join(numbers)}>",
        "slice_sizes": int_array(slice_sizes),
        "indices_are_sorted": flag(indices_are_sorted),
    }
    if 0 in x.shape:
        fill = default_fill(x.dtype) if fill_value is None else fill_value
        return b.full(shape, fill if mode is GatherScatterMode.FILL_OR_DROP else 0, x.dtype)
    out = b.op("stablehlo.gather", [x, at], shape, x.dtype, attributes)
    if mode is not GatherScatterMode.FILL_OR_DROP or not n.start_index_map:
        return out
    inside = _inside(b, at, [x.shape[k] - slice_sizes[k] for k in n.start_index_map])
    batch = [d for d in range(len(shape)) if d not in n.offset_dims]
    fill = default_fill(x.dtype) if fill_value is None else fill_value
    return b.select(b.broadcast(inside, shape, batch), out, b.full((), fill, x.dtype))


def _inside(b: Emitter, at: Value, last: Sequence[int]) -> Value:
    """Which positions are those of windows that are wholly inside."""
    limits = b.broadcast(b.vector(last, at.dtype), at.shape, [len(at.shape) - 1])
    good = b.s.and_(b.compare("GE", at, 0), b.compare("LE", at, limits))
    axes = [len(at.shape) - 1]
    return b.reduce([good], axes, [True], lambda s, a, v: [s.and_(a[0], v[0])])[0]


def _clipped(b: Emitter, at: Value, last: Sequence[int]) -> Value:
    limits = b.broadcast(b.vector(last, at.dtype), at.shape, [len(at.shape) - 1])
    zero = b.full(at.shape, 0, at.dtype)
    return b.apply("stablehlo.minimum", b.apply("stablehlo.maximum", at, zero), limits)


def scatter_rule(combine: Callable[..., Any] | None) -> Callable[..., Value]:
    """The rule of a scatter whose updates are combined by `combine(b, old, new)`.

    Without one an update, or a function of what was there, takes the old value's place.
    """

    def rule(
        b: Emitter,
        x: Value,
        indices: Value,
        updates: Value,
        *,
        dimension_numbers: ScatterDimensionNumbers,
        indices_are_sorted: bool,
        unique_indices: bool,
        mode: GatherScatterMode,
        update_jaxpr: Any,
        update_consts: Any,
        **_: Any,
    ) -> Value:
        n = dimension_numbers
        if 0 in x.shape or 0 in updates.shape:
            return x
        if not x.shape:  # as one element, since compilers are not used to scatters into scalars
            wide = b.full((*indices.shape[:-1], 1), 0, dtypes.int32)
            n = ScatterDimensionNumbers((), (0,), (0,))
            params = {
                "indices_are_sorted": indices_are_sorted,
                "unique_indices": unique_indices,
                "mode": mode,
                "update_jaxpr": update_jaxpr,
                "update_consts": update_consts,
            }
            out = rule(b, b.reshape(x, (1,)), wide, updates, dimension_numbers=n, **params)
            return b.reshape(out, ())
        (at,) = index_operands(b, [indices])
        sizes = window_sizes(as_gather(n), len(x.shape), updates.shape)
        if mode is GatherScatterMode.CLIP and n.scatter_dims_to_operand_dims:
            axes = n.scatter_dims_to_operand_dims
            at = _clipped(b, at, [x.shape[k] - sizes[k] for k in axes])
        parts = {
            "update_window_dims": n.update_window_dims,
            "inserted_window_dims": n.inserted_window_dims,
            "input_batching_dims": n.operand_batching_dims,
            "scatter_indices_batching_dims": n.scatter_indices_batching_dims,
            "scatter_dims_to_operand_dims": n.scatter_dims_to_operand_dims,
        }
        numbers = [f"{name} = {_list(dims)}" for name, dims in parts.items() if dims]
        numbers.append(f"index_vector_dim = {len(indices.shape) - 1}")
        attributes = {
            "scatter_dimension_numbers": f"#stablehlo.scatter<{', '.join(numbers)}>",
            "indices_are_sorted": flag(indices_are_sorted),
            "unique_indices": flag(unique_indices),
        }

        def region(old: Value, new: Value) -> Sequence[Value]:
            if combine is not None:
                return [combine(b, old, new)]
            if update_jaxpr is None:
                return [new]
            return b.inline(update_jaxpr, *map(b.array, update_consts), old, new)

        regions = [b.region([((), x.dtype)] * 2, region)]
        operands = [x, at, updates]
        return b.op("stablehlo.scatter", operands, x.shape, x.dtype, attributes, regions)

    return rule


# --------------------------------------------------------------------------- order


def _before(b: Emitter, x: Value, y: Value, direction: str, zeros: bool) -> tuple[Value, Value]:
    """Whether one key stands before another, and whether they are equal.

    NaNs are equal and the greatest, and so are `zeros` of both signs among themselves; complex
    numbers go by their real parts first.
    """
    kind = dtypes.kind_of(x.dtype)
    if kind == "c":
        first, same = _before(b, b.s.real(x), b.s.real(y), direction, zeros)
        second, both = _before(b, b.s.imag(x), b.s.imag(y), direction, zeros)
        return b.s.or_(first, b.s.and_(same, second)), b.s.and_(same, both)
    if kind == "f":
        x, y = (_canonical(b, v, zeros) for v in (x, y))
    return b.compare(direction, x, y, True), b.compare("EQ", x, y, True)


def _canonical(b: Emitter, x: Value, zeros: bool) -> Value:
    if zeros:
        x = b.select(b.compare("EQ", x, 0), b.full((), 0, x.dtype), x)
    return b.select(b.compare("NE", x, x), b.full((), np.nan, x.dtype), x)


def _sorted(
    b: Emitter, xs: Sequence[Value], dimension: int, stable: bool, keys: int, direction: str
) -> list[Value]:
    types = [t for x in xs for t in [((), x.dtype)] * 2]

    def region(*pairs: Value) -> list[Value]:
        out: Value | None = None
        for k in reversed(range(keys)):
            x, y = pairs[2 * k : 2 * k + 2]
            ahead, same = _before(b, x, y, direction, direction == "LT")
            out = ahead if out is None else b.s.or_(ahead, b.s.and_(same, out))
        assert out is not None
        return [out]

    attributes = {"dimension": integer(dimension), "is_stable": flag(stable)}
    results = [(x.shape, x.dtype) for x in xs]
    return b.ops("stablehlo.sort", xs, results, attributes, [b.region(types, region)])


def sort(b: Emitter, *xs: Value, dimension: int, is_stable: bool, num_keys: int) -> list[Value]:
    """Several arrays in the order of the first ones."""
    return _sorted(b, xs, dimension, is_stable, num_keys, "LT")


def top_k(b: Emitter, x: Value, *, k: int, axis: int) -> list[Value]:
    """The greatest elements, and where they are."""
    places = b.iota(x.shape, dtypes.int32, axis)
    both = _sorted(b, [x, places], axis, True, 1, "GT")
    limit = (*x.shape[:axis], k, *x.shape[axis + 1 :])
    return [b.slice(v, [0] * len(x.shape), limit) for v in both]


# --------------------------------------------------------------------------- cumulative


def cumulative(step: Callable[..., Any]) -> Callable[..., Value]:
    """The rule of a cumulative operation: in log n steps each element meets all before it."""

    def rule(b: Emitter, x: Value, *, axis: int, reverse: bool) -> Value:
        dtype, n = x.dtype, x.shape[axis]
        narrow = dtypes.kind_of(dtype) == "f" and dtype.itemsize < 4
        out = b.convert(x, dtypes.float32) if narrow else x
        if is_symbolic(n):
            return b.convert(_one_by_one(b, out, axis, reverse, step), dtype)
        distance = 1
        while distance < n:
            out = _met(b, out, axis, distance, reverse, step)
            distance *= 2
        return b.convert(out, dtype)

    return rule


def _one_by_one(b: Emitter, x: Value, axis: int, reverse: bool, step: Callable[..., Any]) -> Value:
    """Along an axis of symbolic length, each element meets the one before it."""
    order = [axis, *(k for k in range(len(x.shape)) if k != axis)]
    rows = b.transpose(x, order)
    n = b.dimension(x.shape[axis])

    def body(i: Value, y: Value) -> list[Value]:
        at = b.apply("stablehlo.subtract", b.apply("stablehlo.subtract", n, 1), i) if reverse else i
        before = b.apply("stablehlo.add" if reverse else "stablehlo.subtract", at, 1)
        row = step(b.s, b.row(y, before), b.row(y, at))
        return [b.apply("stablehlo.add", i, 1), b.with_row(y, row, at)]

    start = b.full((), 1, dtypes.int32)
    out = b.loop([start, rows], lambda i, _: b.compare("LT", i, n), body)[1]
    return b.transpose(out, [order.index(k) for k in range(len(order))])


def _met(
    b: Emitter, x: Value, axis: int, distance: int, reverse: bool, step: Callable[..., Any]
) -> Value:
    n = x.shape[axis]

    def part(first: int, last: int) -> Value:
        start, limit = [0] * len(x.shape), list(x.shape)
        start[axis], limit[axis] = first, last
        return b.slice(x, start, limit)

    low, high = part(0, n - distance), part(distance, n)
    if reverse:
        return b.concatenate([step(b.s, high, low), part(n - distance, n)], axis)
    return b.concatenate([part(0, distance), step(b.s, low, high)], axis)
