"""Primitives that join arrays or take them apart: concatenate, stack, split, unstack, tile, pad.

Like those of `ops.rearrange` they compute nothing; the compiler writes each part of a result in
place.  Import them from `ops.structural`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from pullback.core import dtypes
from pullback.core.avals import ShapedArray, aval_of
from pullback.core.dimensions import larger
from pullback.core.primitive import (
    FIRST_ORDER,
    PURE,
    Primitive,
    Sample,
    Zero,
    instantiate,
    is_linear,
)
from pullback.ops import hlo_structure
from pullback.ops.kinds import late
from pullback.ops.rearrange import (
    broadcast_in_dim,
    dtype_samples,
    full,
    move_to_front,
    moveaxis,
    rearrangement,
    reshape,
    sample_values,
)

__all__ = ["concatenate", "pad", "split", "stack", "tile", "unstack"]

_slice: Final = late("slice")
_reduce_sum: Final = late("reduce_sum")
_select_n: Final = late("select_n")
_sub: Final = late("sub")

# --------------------------------------------------------------------------- concatenate


def _misfit(xs: Sequence[Any], dimension: int) -> str:
    """Why arrays cannot be concatenated."""
    shapes = ", ".join(str(x.shape) for x in xs)
    if len({x.ndim for x in xs}) > 1:
        return f"Cannot concatenate arrays with different numbers of dimensions: got {shapes}."
    if not 0 <= dimension < xs[0].ndim:
        return f"concatenate dimension out of bounds: dimension {dimension} for shapes {shapes}."
    if len({x.dtype for x in xs}) > 1:
        names = ", ".join(x.dtype.name for x in xs)
        return f"lax.concatenate requires arguments to have the same dtypes, got {names}."
    return (
        "Cannot concatenate arrays with shapes that differ in dimensions other than the one being "
        f"concatenated: concatenating along dimension {dimension} for shapes {shapes}."
    )


def _concatenate_abstract(*xs: Any, dimension: int) -> ShapedArray:
    first = xs[0]
    rest = first.shape[:dimension] + first.shape[dimension + 1 :]
    for x in xs:
        if (
            not 0 <= dimension < x.ndim
            or x.shape[:dimension] + x.shape[dimension + 1 :] != rest
            or x.dtype != first.dtype
        ):
            operands = ", ".join(map(str, xs))
            raise TypeError(f"{_misfit(xs, dimension)} The operands of concatenate are {operands}")
    shape = list(first.shape)
    shape[dimension] = sum(x.shape[dimension] for x in xs)
    return ShapedArray(tuple(shape), first.dtype, all(x.weak_type for x in xs))


def _concatenate_jvp(primals: Any, tangents: Any, *, dimension: int) -> Any:
    out = concatenate(*primals, dimension=dimension)
    if all(type(t) is Zero for t in tangents):
        return out, Zero(aval_of(out).to_tangent_aval())
    return out, concatenate(*map(instantiate, tangents), dimension=dimension)


def _concatenate_transpose(ct: Any, *xs: Any, dimension: int) -> Any:
    out, start = [], 0
    shape = aval_of(ct).shape
    for x in xs:
        length = (x.aval if is_linear(x) else aval_of(x)).shape[dimension]
        out.append(_part(ct, shape, dimension, start, length) if is_linear(x) else None)
        start += length
    return out


def _part(x: Any, shape: tuple[int, ...], axis: int, start: int, length: int) -> Any:
    starts, limits = [0] * len(shape), list(shape)
    starts[axis], limits[axis] = start, start + length
    return _slice(x, start_indices=tuple(starts), limit_indices=tuple(limits), strides=None)


def _concatenate_batch(size: int, args: Any, dims: Any, *, dimension: int) -> Any:
    xs = [move_to_front(x, d, size) for x, d in zip(args, dims, strict=True)]
    return concatenate(*xs, dimension=dimension + 1), 0


def _concatenate_samples() -> list[Sample]:
    return [
        Sample((sample_values(3),), {"dimension": 0}),
        Sample((sample_values(2, 3), sample_values(2, 0), sample_values(2, 1)), {"dimension": 1}),
        Sample(
            (sample_values(2, 3, dtype="int32"), sample_values(1, 3, dtype="int32")),
            {"dimension": 0},
        ),
        Sample((sample_values(2, dtype="bool"), sample_values(2, dtype="bool")), {"dimension": 0}),
        Sample((sample_values(2, 2, dtype="complex64"),) * 2, {"dimension": 1}),
        Sample((sample_values(2, dtype=dtypes.bfloat16),) * 3, {"dimension": 0}),
    ]


concatenate: Final[Primitive] = Primitive(
    name="concatenate",
    abstract=_concatenate_abstract,
    reference=lambda *xs, dimension: np.concatenate(xs, dimension),
    jvp=_concatenate_jvp,
    transpose=_concatenate_transpose,
    batch=_concatenate_batch,
    partial_eval=FIRST_ORDER,
    lower=lambda b, *xs, dimension: b.concatenate(xs, dimension),
    hlo=lambda b, *xs, dimension: b.concatenate(xs, dimension),
    samples=_concatenate_samples,
    multiple_results=False,
    effects=PURE,
    literals=False,
)


# --------------------------------------------------------------------------- split


def _split_abstract(x: Any, *, sizes: Any, axis: int) -> list[ShapedArray]:
    if not 0 <= axis < x.ndim or sum(sizes) != x.shape[axis] or any(n < 0 for n in sizes):
        raise ValueError(f"split: {x} cannot be split into {tuple(sizes)} along axis {axis}")
    before, after = x.shape[:axis], x.shape[axis + 1 :]
    return [ShapedArray((*before, n, *after), x.dtype, x.weak_type) for n in sizes]


def _split_jvp(primals: Any, tangents: Any, *, sizes: Any, axis: int) -> Any:
    outs, t = split(primals[0], sizes=sizes, axis=axis), tangents[0]
    if type(t) is Zero:
        return outs, [Zero(aval_of(out).to_tangent_aval()) for out in outs]
    return outs, split(t, sizes=sizes, axis=axis)


def _split_batch(size: int, args: Any, dims: Any, *, sizes: Any, axis: int) -> Any:
    d = dims[0]
    return split(args[0], sizes=sizes, axis=axis + (axis >= d)), [d] * len(sizes)


def _split_lower(b: Any, x: Any, *, sizes: Any, axis: int) -> Any:
    starts = np.cumsum([0, *sizes])

    def part(start: int, n: int) -> Any:
        shape = (*x.shape[:axis], n, *x.shape[axis + 1 :])
        return b.view(shape, lambda i: x.at([*i[:axis], i[axis] + start, *i[axis + 1 :]]))

    return [part(int(start), n) for start, n in zip(starts[:-1], sizes, strict=True)]


split: Final[Primitive] = Primitive(
    name="split",
    abstract=_split_abstract,
    reference=lambda x, *, sizes, axis: np.split(x, np.cumsum(sizes)[:-1], axis),
    jvp=_split_jvp,
    transpose=lambda cts, x, *, sizes, axis: [concatenate(*map(instantiate, cts), dimension=axis)],
    batch=_split_batch,
    partial_eval=FIRST_ORDER,
    lower=_split_lower,
    hlo=hlo_structure.split,
    samples=lambda: [
        Sample((sample_values(3),), {"sizes": (3,), "axis": 0}),
        *dtype_samples((2, 5), sizes=(1, 0, 4), axis=1),
        *dtype_samples((3, 2), sizes=(2, 1), axis=0),
    ],
    multiple_results=True,
    effects=PURE,
    literals=False,
)


# --------------------------------------------------------------------------- pad


def _padded(n: int, low: int, high: int, interior: int) -> int:
    return low + high + n + (larger(n - 1, 0) * interior if interior else 0)


def _pad_abstract(x: Any, value: Any, *, padding_config: Any) -> ShapedArray:
    if value.shape != () or value.dtype != x.dtype or len(padding_config) != x.ndim:
        wrong = TypeError if value.dtype != x.dtype else ValueError
        raise wrong(
            f"pad: {x} with padding value {value} and {len(padding_config)} entries of "
            "padding_config; the value must be a scalar of the same dtype, one entry an axis"
        )
    shape = tuple(_padded(n, *p) for n, p in zip(x.shape, padding_config, strict=True))
    if any(n < 0 for n in shape) or any(p[2] < 0 for p in padding_config):
        raise ValueError(f"pad: padding_config {padding_config} of {x} gives negative lengths")
    return ShapedArray(shape, x.dtype, x.weak_type and value.weak_type)


def _pad_reference(x: Any, value: Any, *, padding_config: Any) -> Any:
    shape = [_padded(n, *p) for n, p in zip(x.shape, padding_config, strict=True)]
    out = np.empty(shape, x.dtype)
    out[...] = value
    into, take = [], []
    for n, size, (low, _, interior) in zip(x.shape, shape, padding_config, strict=True):
        step = interior + 1
        first = -(low // step) if low < 0 else 0  # first element that is kept
        last = min(n, (size - 1 - low) // step + 1)
        start = low + first * step
        into.append(slice(start, max(start + (last - first) * step, start), step))
        take.append(slice(first, max(last, first)))
    out[tuple(into)] = x[tuple(take)]
    return out


def _pad_jvp(primals: Any, tangents: Any, *, padding_config: Any) -> Any:
    out = pad(*primals, padding_config=padding_config)
    if all(type(t) is Zero for t in tangents):
        return out, Zero(aval_of(out).to_tangent_aval())
    return out, pad(*map(instantiate, tangents), padding_config=padding_config)


def _unpad(ct: Any, shape: Any, padding_config: Any) -> Any:
    """The elements of a padded array that came from the operand, zero where they were cut off."""
    negated = tuple((-low, -high, 0) for low, high, _ in padding_config)
    zero = _scalar_zero(ct)
    full_ct = pad(ct, zero, padding_config=negated)
    if all(p[2] == 0 for p in padding_config):
        return full_ct
    return _slice(
        full_ct,
        start_indices=(0,) * len(shape),
        limit_indices=aval_of(full_ct).shape,
        strides=tuple(p[2] + 1 for p in padding_config),
    )


def _pad_transpose(ct: Any, x: Any, value: Any, *, padding_config: Any) -> Any:
    aval = x.aval if is_linear(x) else aval_of(x)
    inner = _unpad(ct, aval.shape, padding_config)
    if not is_linear(value):
        return [inner, None]

    def total(y: Any) -> Any:
        return _reduce_sum(y, axes=tuple(range(aval.ndim)), out_sharding=None)

    rest = _sub(total(ct), total(inner))
    return [inner if is_linear(x) else None, rest]


def _scalar_zero(x: Any) -> Any:
    dtype: np.dtype[Any] = dtypes.physical(aval_of(x).dtype)
    return np.zeros((), dtype)


def _pad_batch(size: int, args: Any, dims: Any, *, padding_config: Any) -> Any:
    (x, value), (d, dv) = args, dims
    if dv is None:
        config = (*padding_config[:d], (0, 0, 0), *padding_config[d:])
        return pad(x, value, padding_config=config), d
    x, config = move_to_front(x, d, size), ((0, 0, 0), *padding_config)
    padded = pad(x, _scalar_zero(x), padding_config=config)
    inside = pad(full(aval_of(x).shape, True, dtypes.bool_), np.False_, padding_config=config)
    shape = aval_of(padded).shape
    values = broadcast_in_dim(
        moveaxis(value, dv, 0), shape=shape, broadcast_dimensions=(0,), sharding=None
    )
    return _select_n(inside, values, padded), 0


def _pad_lower(b: Any, x: Any, value: Any, *, padding_config: Any) -> Any:
    s = b.s
    shape = [_padded(n, *p) for n, p in zip(x.shape, padding_config, strict=True)]

    def element(i: Any) -> Any:
        if 0 in x.shape:
            return value.at(())
        inside, idx = None, []
        for k, (n, (low, high, interior)) in enumerate(zip(x.shape, padding_config, strict=True)):
            offset, step = i[k] - low, interior + 1
            tests = [offset >= 0] if low > 0 else []
            tests += [offset <= (n - 1) * step] if high > 0 else []
            tests += [offset % step <= 0] if interior else []
            for test in tests:
                inside = test if inside is None else s.and_(inside, test)
            position = offset // step
            idx.append(s.index(position, 0, n - 1) if tests else position)
        taken = x.at(idx)
        return taken if inside is None else s.select(inside, taken, value.at(()))

    return b.view(shape, element)


def _pad_samples() -> list[Sample]:
    def sample(x: Any, *config: tuple[int, int, int]) -> Sample:
        return Sample((x, np.asarray(2, x.dtype)), {"padding_config": config})

    return [
        sample(sample_values()),
        sample(sample_values(3), (1, 2, 0)),
        sample(sample_values(3), (1, 0, 2)),
        sample(sample_values(4), (-1, -2, 0)),
        sample(sample_values(4), (-2, 3, 1)),
        sample(sample_values(3), (-3, -3, 2)),
        sample(sample_values(0), (2, 1, 1)),
        sample(sample_values(2, 3, dtype="int32"), (0, 0, 0), (1, 1, 1)),
        sample(sample_values(2, 3, dtype="complex64"), (1, 0, 0), (-1, 1, 0)),
        sample(sample_values(2, 3, dtype="bool"), (0, 1, 0), (0, 0, 0)),
        sample(sample_values(3, dtype=dtypes.bfloat16), (1, 1, 0)),
    ]


pad: Final[Primitive] = Primitive(
    name="pad",
    abstract=_pad_abstract,
    reference=_pad_reference,
    jvp=_pad_jvp,
    transpose=_pad_transpose,
    batch=_pad_batch,
    partial_eval=FIRST_ORDER,
    lower=_pad_lower,
    hlo=hlo_structure.pad,
    samples=_pad_samples,
    multiple_results=False,
    effects=PURE,
    literals=False,
)


# --------------------------------------------------------------------------- stack and unstack


def _stack_abstract(*xs: Any, axis: int) -> ShapedArray:
    first = xs[0]
    if not 0 <= axis <= first.ndim or any(
        x.shape != first.shape or x.dtype != first.dtype for x in xs
    ):
        types = ", ".join(map(str, xs))
        wrong = TypeError if any(x.dtype != first.dtype for x in xs) else ValueError
        raise wrong(f"stack: operands {types} must have one type, and axis {axis} be in range")
    shape = (*first.shape[:axis], len(xs), *first.shape[axis:])
    return ShapedArray(shape, first.dtype, all(x.weak_type for x in xs))


def _stack_jvp(primals: Any, tangents: Any, *, axis: int) -> Any:
    out = stack(*primals, axis=axis)
    if all(type(t) is Zero for t in tangents):
        return out, Zero(aval_of(out).to_tangent_aval())
    return out, stack(*map(instantiate, tangents), axis=axis)


def _stack_transpose(ct: Any, *xs: Any, axis: int) -> Any:
    parts = unstack(ct, axis=axis)
    return [part if is_linear(x) else None for part, x in zip(parts, xs, strict=True)]


def _stack_batch(size: int, args: Any, dims: Any, *, axis: int) -> Any:
    xs = [move_to_front(x, d, size) for x, d in zip(args, dims, strict=True)]
    return stack(*xs, axis=axis + 1), 0


def _stack_lower(b: Any, *xs: Any, axis: int) -> Any:
    shape = (*xs[0].shape[:axis], 1, *xs[0].shape[axis:])
    return b.concatenate([b.reshape(x, shape) for x in xs], axis)


stack: Final[Primitive] = Primitive(
    name="stack",
    abstract=_stack_abstract,
    reference=lambda *xs, axis: np.stack(xs, axis),
    jvp=_stack_jvp,
    transpose=_stack_transpose,
    batch=_stack_batch,
    partial_eval=FIRST_ORDER,
    lower=_stack_lower,
    hlo=hlo_structure.stack,
    samples=lambda: [
        Sample((sample_values(), sample_values()), {"axis": 0}),
        Sample((sample_values(2, 3), sample_values(2, 3) + 1), {"axis": 1}),
        Sample((sample_values(2, dtype="int32"),) * 3, {"axis": 1}),
        Sample((sample_values(0, dtype="bool"),) * 2, {"axis": 0}),
        Sample((sample_values(2, dtype="complex64"),), {"axis": 0}),
    ],
    multiple_results=False,
    effects=PURE,
    literals=False,
)


def _unstack_abstract(x: Any, *, axis: int) -> list[ShapedArray]:
    if not 0 <= axis < x.ndim:
        raise TypeError(f"unstack: {x} has no axis {axis}")
    part = ShapedArray(x.shape[:axis] + x.shape[axis + 1 :], x.dtype, x.weak_type)
    return [part] * x.shape[axis]


def _unstack_jvp(primals: Any, tangents: Any, *, axis: int) -> Any:
    outs, t = unstack(primals[0], axis=axis), tangents[0]
    if type(t) is Zero:
        return outs, [Zero(aval_of(out).to_tangent_aval()) for out in outs]
    return outs, unstack(t, axis=axis)


def _unstack_transpose(cts: Any, x: Any, *, axis: int) -> Any:
    if not cts:
        return [instantiate(Zero(x.aval))]
    return [stack(*map(instantiate, cts), axis=axis)]


def _unstack_batch(size: int, args: Any, dims: Any, *, axis: int) -> Any:
    d = dims[0]
    outs = unstack(args[0], axis=axis + (axis >= d))
    return outs, [d - (axis < d)] * len(outs)


def _unstack_lower(b: Any, x: Any, *, axis: int) -> Any:
    shape = x.shape[:axis] + x.shape[axis + 1 :]

    def part(k: int) -> Any:
        return b.view(shape, lambda i: x.at([*i[:axis], k, *i[axis:]]))

    return [part(k) for k in range(x.shape[axis])]


unstack: Final[Primitive] = Primitive(
    name="unstack",
    abstract=_unstack_abstract,
    reference=lambda x, *, axis: list(np.moveaxis(x, axis, 0)),
    jvp=_unstack_jvp,
    transpose=_unstack_transpose,
    batch=_unstack_batch,
    partial_eval=FIRST_ORDER,
    lower=_unstack_lower,
    hlo=hlo_structure.unstack,
    samples=lambda: [
        Sample((sample_values(3),), {"axis": 0}),
        *dtype_samples((3, 2), axis=1),
        *dtype_samples((2, 0), axis=0),
    ],
    multiple_results=True,
    effects=PURE,
    literals=False,
)


# --------------------------------------------------------------------------- tile


def _tile_abstract(x: Any, *, reps: Any) -> ShapedArray:
    if len(reps) != x.ndim or any(r < 0 for r in reps):
        raise TypeError(f"tile: {x} needs one repetition count an axis, at least 0; got {reps}")
    shape = tuple(n * r for n, r in zip(x.shape, reps, strict=True))
    return ShapedArray(shape, x.dtype, x.weak_type)


def _tile_transpose(ct: Any, aval: Any, *, reps: Any) -> Any:
    pairs = tuple(n for pair in zip(reps, aval.shape, strict=True) for n in pair)
    ct = reshape(ct, new_sizes=pairs, dimensions=None, sharding=None)
    return _reduce_sum(ct, axes=tuple(range(0, len(pairs), 2)), out_sharding=None)


def _tile_lower(b: Any, x: Any, *, reps: Any) -> Any:
    shape = [n * r for n, r in zip(x.shape, reps, strict=True)]
    if 0 in shape:
        return b.full(shape, 0, x.dtype)
    return b.view(shape, lambda i: x.at([k % n for k, n in zip(i, x.shape, strict=True)]))


tile: Final[Primitive] = rearrangement(
    "tile",
    abstract=_tile_abstract,
    reference=lambda x, *, reps: np.tile(x, reps),
    transpose=_tile_transpose,
    batch=lambda x, d, *, reps: (tile(x, reps=(*reps[:d], 1, *reps[d:])), d),
    lower=_tile_lower,
    hlo=hlo_structure.tile,
    samples=lambda: [
        Sample((sample_values(),), {"reps": ()}),
        Sample((sample_values(2, 0),), {"reps": (2, 3)}),
        Sample((sample_values(2, 3),), {"reps": (1, 0)}),
        *dtype_samples((2, 3), reps=(2, 1)),
        *dtype_samples((1, 2), reps=(3, 2)),
    ],
)
