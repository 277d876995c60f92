"""StableHLO of the operations that move elements: the slots `hlo` of several families."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pullback.core import dtypes
from pullback.core.stablehlo import Emitter, Value, int_array

__all__ = [
    "bitcast",
    "broadcast_in_dim",
    "dynamic_slice",
    "dynamic_update_slice",
    "index_operands",
    "operand",
    "pad",
    "reduce_precision",
    "reshape",
    "rev",
    "slice_",
    "split",
    "squeeze",
    "stack",
    "tile",
    "transpose",
    "unstack",
]


def operand(b: Emitter, x: Value, **_: Any) -> Value:
    """The operand itself."""
    return x


def broadcast_in_dim(
    b: Emitter, x: Value, *, shape: Sequence[int], broadcast_dimensions: Sequence[int], **_: Any
) -> Value:
    """New axes, and axes of length 1 that are repeated."""
    return b.broadcast(x, shape, broadcast_dimensions)


def reshape(
    b: Emitter, x: Value, *, new_sizes: Sequence[int], dimensions: Any = None, **_: Any
) -> Value:
    """Another shape, the elements taken in the order of `dimensions`."""
    return b.reshape(x if dimensions is None else b.transpose(x, dimensions), new_sizes)


def transpose(b: Emitter, x: Value, *, permutation: Sequence[int]) -> Value:
    """Axes in another order."""
    return b.transpose(x, permutation)


def squeeze(b: Emitter, x: Value, **_: Any) -> Value:
    """Without axes of length 1."""
    return b.reshape(x, b.types[0][0])


def rev(b: Emitter, x: Value, *, dimensions: Sequence[int]) -> Value:
    """Axes backwards."""
    return b.op("stablehlo.reverse", [x], x.shape, x.dtype, {"dimensions": int_array(dimensions)})


def slice_(b: Emitter, x: Value, *, start_indices: Any, limit_indices: Any, strides: Any) -> Value:
    """A part of an array."""
    return b.slice(x, start_indices, limit_indices, strides)


def pad(b: Emitter, x: Value, value: Value, *, padding_config: Any) -> Value:
    """Elements around and between; negative padding cuts."""
    low, high, between = zip(*padding_config, strict=True) if padding_config else ((), (), ())
    attributes = {
        "edge_padding_low": int_array(low),
        "edge_padding_high": int_array(high),
        "interior_padding": int_array(between),
    }
    return b.op("stablehlo.pad", [x, value], b.types[0][0], x.dtype, attributes)


def split(b: Emitter, x: Value, *, sizes: Sequence[int], axis: int) -> list[Value]:
    """Parts along an axis."""
    parts, at = [], 0
    for size in sizes:
        start, limit = [0] * len(x.shape), list(x.shape)
        start[axis], limit[axis] = at, at + size
        parts.append(b.slice(x, start, limit))
        at += size
    return parts


def unstack(b: Emitter, x: Value, *, axis: int) -> list[Value]:
    """What stands along an axis, without it."""
    shape = (*x.shape[:axis], *x.shape[axis + 1 :])
    rows = split(b, x, sizes=[1] * x.shape[axis], axis=axis)
    return [b.reshape(row, shape) for row in rows]


def stack(b: Emitter, *xs: Value, axis: int) -> Value:
    """Arrays along a new axis."""
    shape = (*xs[0].shape[:axis], 1, *xs[0].shape[axis:])
    return b.concatenate([b.reshape(x, shape) for x in xs], axis)


def tile(b: Emitter, x: Value, *, reps: Sequence[int]) -> Value:
    """The array repeated along its axes."""
    wide: list[int] = []
    for n, r in zip(x.shape, reps, strict=True):
        wide += [r, n]
    spread = b.broadcast(x, wide, range(1, 2 * len(x.shape), 2))
    return b.reshape(spread, b.types[0][0])


def bitcast(b: Emitter, x: Value, *, new_dtype: Any) -> Value:
    """The bits as elements of another type; the last axis is of parts of elements."""
    dtype = dtypes.physical(new_dtype)
    if dtypes.bool_ in (x.dtype, dtype) and x.dtype != dtype:
        byte = np.dtype(np.uint8)  # bools are bytes here, and bits there
        x = b.convert(x, byte) if x.dtype == dtypes.bool_ else x
        if dtype == dtypes.bool_:
            return b.compare("NE", b.bitcast(x, byte), 0)
    return b.op("stablehlo.bitcast_convert", [x], b.types[0][0], dtype)


def reduce_precision(b: Emitter, x: Value, *, exponent_bits: int, mantissa_bits: int) -> Value:
    """Rounded to fewer bits."""
    attributes = {
        "exponent_bits": f"{exponent_bits} : i32",
        "mantissa_bits": f"{mantissa_bits} : i32",
    }
    return b.op("stablehlo.reduce_precision", [x], x.shape, x.dtype, attributes)


def index_operands(b: Emitter, indices: Sequence[Value]) -> list[Value]:
    """Integers in one signed type that can hold them; larger ones become the largest."""
    wide = any(i.dtype.itemsize == 8 or i.dtype == dtypes.uint32 for i in indices)
    dtype = dtypes.int64 if wide else dtypes.int32
    out = []
    for index in indices:
        if index.dtype == dtypes.uint64:
            index = b.apply("stablehlo.minimum", index, 2**63 - 1)
        out.append(b.convert(index, dtype))
    return out


def dynamic_slice(b: Emitter, x: Value, *indices: Value, slice_sizes: Sequence[int]) -> Value:
    """A part that begins where indices say, moved inside."""
    operands = [x, *index_operands(b, indices)]
    attributes = {"slice_sizes": int_array(slice_sizes)}
    return b.op("stablehlo.dynamic_slice", operands, slice_sizes, x.dtype, attributes)


def dynamic_update_slice(b: Emitter, x: Value, update: Value, *indices: Value) -> Value:
    """An array with a part replaced."""
    operands = [x, update, *index_operands(b, indices)]
    return b.op("stablehlo.dynamic_update_slice", operands, x.shape, x.dtype)
