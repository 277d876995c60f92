"""gather: read windows of an array at computed positions.  Its transpose is `scatter-add`."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from pullback.core import dtypes
from pullback.core.avals import ShapedArray, aval_of
from pullback.core.dimensions import larger
from pullback.core.primitive import FIRST_ORDER, PURE, Primitive, Sample, Zero
from pullback.ops import hlo_indexing
from pullback.ops import scatter as scatters
from pullback.ops.rearrange import moveaxis, reshape, sample_values, zeros
from pullback.ops.windows import (
    GatherDimensionNumbers,
    GatherScatterMode,
    ScatterDimensionNumbers,
    default_fill,
    inside_of,
    layout,
    positions,
)

__all__ = ["gather", "gather_slices", "take_along_axis"]

_CLIP: Final = GatherScatterMode.CLIP
_FILL: Final = GatherScatterMode.FILL_OR_DROP
_PROMISE: Final = GatherScatterMode.PROMISE_IN_BOUNDS


def _result_shape(
    numbers: GatherDimensionNumbers, indices_shape: Any, sizes: Any
) -> tuple[int, ...]:
    dropped = (*numbers.collapsed_slice_dims, *numbers.operand_batching_dims)
    window = iter([m for k, m in enumerate(sizes) if k not in dropped])
    batch = iter(indices_shape[:-1])
    rank = len(indices_shape) - 1 + len(numbers.offset_dims)
    return tuple(next(window) if d in numbers.offset_dims else next(batch) for d in range(rank))


def _problem(x: Any, indices: Any, numbers: GatherDimensionNumbers, sizes: Any) -> str | None:
    """What is wrong with the operands of a gather, or None."""
    dropped = (*numbers.collapsed_slice_dims, *numbers.operand_batching_dims)
    if dtypes.kind_of(indices.dtype) not in "iu" or indices.ndim < 1:
        return "indices must be integers of rank 1 or more"
    if indices.shape[-1] != len(numbers.start_index_map):
        return "the last axis of the indices needs one entry per entry of start_index_map"
    if len(sizes) != x.ndim or not all(0 <= m <= n for m, n in zip(sizes, x.shape, strict=True)):
        return f"slice_sizes {tuple(sizes)} do not fit the operand"
    if len(set(dropped)) != len(dropped) or any(not 0 <= k < x.ndim for k in dropped):
        return "collapsed_slice_dims and operand_batching_dims must be distinct axes"
    if any(sizes[k] > 1 for k in dropped):
        return "collapsed and batching axes need slice size 1"
    if len(numbers.offset_dims) + len(dropped) != x.ndim:
        return "offset_dims must name one axis of the result per axis that is kept"
    if list(numbers.offset_dims) != sorted(set(numbers.offset_dims)):
        return "offset_dims must increase"
    pairs = zip(numbers.operand_batching_dims, numbers.start_indices_batching_dims, strict=True)
    if any(x.shape[k] != indices.shape[d] for k, d in pairs):
        return "batching axes of operand and indices must have equal lengths"
    return None


def _gather_abstract(
    x: Any, indices: Any, *, dimension_numbers: Any, slice_sizes: Any, **_: Any
) -> ShapedArray:
    problem = _problem(x, indices, dimension_numbers, slice_sizes)
    if problem is not None:
        raise TypeError(f"gather of {x} at {indices}, {dimension_numbers}: {problem}")
    shape = _result_shape(dimension_numbers, indices.shape, slice_sizes)
    return ShapedArray(shape, x.dtype, x.weak_type)


def _fill_of(dtype: Any, fill_value: Any) -> Any:
    return default_fill(dtype) if fill_value is None else np.asarray(fill_value, dtype)[()]


def _takes_whole_rows(shape: Any, indices: Any, numbers: Any, sizes: Any) -> int | None:
    """The axis k if the gather is `np.take(x, indices, k)`."""
    if len(numbers.start_index_map) != 1 or numbers.operand_batching_dims:
        return None
    k = numbers.start_index_map[0]
    last = indices.ndim - 1 + len(numbers.offset_dims)
    after = range(last - (len(shape) - 1 - k), last)
    if numbers.collapsed_slice_dims != (k,) or numbers.offset_dims != (*range(k), *after):
        return None
    whole = all(m == n for d, (m, n) in enumerate(zip(sizes, shape, strict=True)) if d != k)
    return k if whole else None


def _gather_reference(
    x: Any,
    indices: Any,
    *,
    dimension_numbers: Any,
    slice_sizes: Any,
    mode: Any,
    fill_value: Any,
    **_: Any,
) -> Any:
    axis = _takes_whole_rows(x.shape, indices, dimension_numbers, slice_sizes)
    if axis is not None and mode is not _FILL:
        return x.take(indices[..., 0].astype(np.intp), axis, mode="clip")
    where, valid = positions(x.shape, indices, dimension_numbers, slice_sizes)
    out = x[tuple(where)]
    shape = _result_shape(dimension_numbers, indices.shape, slice_sizes)
    out = np.broadcast_to(out, shape)
    if valid is None or mode is not _FILL:
        return out
    return np.where(valid, out, _fill_of(x.dtype, fill_value))


def _gather_jvp(primals: Any, tangents: Any, **params: Any) -> Any:
    out, t = gather(*primals, **params), tangents[0]
    if type(t) is Zero:
        return out, Zero(aval_of(out).to_tangent_aval())
    return out, gather(t, primals[1], **(params | {"fill_value": 0}))


def _gather_transpose(
    ct: Any,
    x: Any,
    indices: Any,
    *,
    dimension_numbers: Any,
    slice_sizes: Any,
    indices_are_sorted: bool,
    unique_indices: bool,
    mode: Any,
    fill_value: Any,
) -> Any:
    n = dimension_numbers
    numbers = ScatterDimensionNumbers(
        update_window_dims=n.offset_dims,
        inserted_window_dims=n.collapsed_slice_dims,
        scatter_dims_to_operand_dims=n.start_index_map,
        operand_batching_dims=n.operand_batching_dims,
        scatter_indices_batching_dims=n.start_indices_batching_dims,
    )
    out = scatters.bind(
        "scatter-add",
        zeros(x.aval),
        indices,
        ct,
        dimension_numbers=numbers,
        indices_are_sorted=indices_are_sorted,
        unique_indices=unique_indices,
        mode=mode,
    )
    return [out, None]


def _up(axes: Any) -> tuple[int, ...]:
    return tuple(k + 1 for k in axes)


def _gather_batch(
    size: int, args: Any, dims: Any, *, dimension_numbers: Any, slice_sizes: Any, **params: Any
) -> Any:
    (x, indices), (d, di), n = args, dims, dimension_numbers
    x = x if d is None else moveaxis(x, d, 0)
    indices = indices if di is None else moveaxis(indices, di, 0)
    if d is None:
        numbers = n._replace(
            offset_dims=_up(n.offset_dims),
            start_indices_batching_dims=_up(n.start_indices_batching_dims),
        )
    else:
        numbers = GatherDimensionNumbers(
            offset_dims=((0,) if di is None else ()) + _up(n.offset_dims),
            collapsed_slice_dims=_up(n.collapsed_slice_dims),
            start_index_map=_up(n.start_index_map),
            operand_batching_dims=(() if di is None else (0,)) + _up(n.operand_batching_dims),
            start_indices_batching_dims=n.start_indices_batching_dims
            if di is None
            else (0, *_up(n.start_indices_batching_dims)),
        )
        slice_sizes = (size if di is None else min(size, 1), *slice_sizes)
    out = gather(x, indices, dimension_numbers=numbers, slice_sizes=slice_sizes, **params)
    return out, 0


def _gather_lower(
    b: Any,
    x: Any,
    indices: Any,
    *,
    dimension_numbers: Any,
    slice_sizes: Any,
    mode: Any,
    fill_value: Any,
    **_: Any,
) -> Any:
    s = b.s
    shape = _result_shape(dimension_numbers, indices.shape, slice_sizes)
    axes = layout(dimension_numbers, len(x.shape), len(shape))

    def element(i: Any) -> Any:
        batch = [i[d] for d in axes.batch_dims]
        at: list[Any] = []
        inside: Any = None
        for k, (n, m) in enumerate(zip(x.shape, slice_sizes, strict=True)):
            entry, run, offset = axes.entries[k], axes.batches[k], axes.offsets[k]
            position: Any = 0 if run is None else i[run]
            if entry is not None:
                start = indices.at([*batch, entry])
                position = position + s.index(start, 0, n - m)
                if mode is _FILL:
                    inside = inside_of(s, start, n - m, inside)
            at.append(position if offset is None else position + i[offset])
        if inside is None:
            return x.at(at)
        return s.select(inside, x.at(at), s.const(_fill_of(x.dtype, fill_value), x.dtype))

    return b.view(shape, element)


def _gather_samples() -> list[Sample]:
    def sample(
        shape: Any,
        indices: Any,
        numbers: Any,
        sizes: Any,
        mode: Any = _FILL,
        dtype: Any = "float32",
    ) -> Sample:
        params = {
            "dimension_numbers": GatherDimensionNumbers(*numbers),
            "slice_sizes": sizes,
            "indices_are_sorted": False,
            "unique_indices": False,
            "mode": mode,
            "fill_value": None if mode is not _FILL else 0,
        }
        return Sample((sample_values(*shape, dtype=dtype), np.asarray(indices, np.int32)), params)

    rows = ((1,), (0,), (0,))
    return [
        sample((5,), [[1], [4], [1]], ((), (0,), (0,)), (1,)),
        sample((4, 3), [[1], [3], [1], [-1], [4]], rows, (1, 3)),
        sample((4, 3), [[1], [3], [1], [-1], [4]], rows, (1, 3), _CLIP),
        sample((4, 3), [[1], [3]], rows, (1, 3), _PROMISE),
        sample((4, 3), [[1], [3]], rows, (1, 2), _CLIP, "int32"),
        sample((4, 3), [[[1, 2]], [[3, 0]]], ((), (0, 1), (0, 1)), (1, 1), _FILL, "complex64"),
        sample((4, 3), [[2, 1], [3, 0]], ((1, 2), (), (0, 1)), (2, 2), _FILL),
        sample((4, 3), [2], ((0,), (0,), (0,)), (1, 3), _FILL, "bool"),
        sample((4, 3), [2], ((0,), (1,), (1,)), (4, 1), _CLIP, dtypes.bfloat16),
        sample((3, 4), [[1], [2], [0]], ((), (1,), (1,), (0,), (0,)), (1, 1)),
        sample((2, 4), [[[1], [9]], [[2], [0]]], ((1,), (), (1,), (0,), (0,)), (1, 2), _CLIP),
        sample((4, 3), np.zeros((0, 1)), rows, (1, 3)),
        sample((4, 0), [[1]], rows, (1, 0)),
        sample((), np.zeros((2, 0)), ((), (), ()), ()),
    ]


gather: Final[Primitive] = Primitive(
    name="gather",
    abstract=_gather_abstract,
    reference=_gather_reference,
    jvp=_gather_jvp,
    transpose=_gather_transpose,
    batch=_gather_batch,
    partial_eval=FIRST_ORDER,
    lower=_gather_lower,
    hlo=hlo_indexing.gather,
    samples=_gather_samples,
    multiple_results=False,
    effects=PURE,
    literals=False,
)


# --------------------------------------------------------------------------- for other rules


def gather_slices(size: int, x: Any, d: int | None, vectors: Any, sizes: Any) -> tuple[Any, int]:
    """Dynamic slices of `x`, batched along `d` if not None, at the rows of `vectors`."""
    rank = len(sizes)
    numbers = GatherDimensionNumbers(
        offset_dims=tuple(range(rank)), collapsed_slice_dims=(), start_index_map=tuple(range(rank))
    )
    out, dim = _gather_batch(
        size,
        (x, vectors),
        (d, 0),
        dimension_numbers=numbers,
        slice_sizes=tuple(sizes),
        indices_are_sorted=True,
        unique_indices=True,
        mode=_CLIP,
        fill_value=None,
    )
    return out, dim


def take_along_axis(x: Any, indices: Any, axis: int) -> Any:
    """`np.take_along_axis` with indices known to be within bounds; other axes are equal."""
    whole = aval_of(x).shape
    rank = len(whole)
    others = tuple(k for k in range(rank) if k != axis)
    shape = aval_of(indices).shape
    column = reshape(indices, new_sizes=(*shape, 1), dimensions=None, sharding=None)
    return gather(
        x,
        column,
        dimension_numbers=GatherDimensionNumbers((), (axis,), (axis,), others, others),
        slice_sizes=tuple(larger(n, 1, least=True) for n in whole),
        indices_are_sorted=False,
        unique_indices=True,
        mode=_PROMISE,
        fill_value=None,
    )
