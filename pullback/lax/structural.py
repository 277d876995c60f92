"""Functions of `jax.lax` that move elements: shapes, axes, joining, slicing apart, constants."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.exceptions import AxisError

from pullback.core import dtypes
from pullback.core.array import Array
from pullback.core.avals import aval_of
from pullback.core.dimensions import DimExpr, as_length
from pullback.core.dtypes import check_user_dtype
from pullback.ops import conversion, joining, rearrange, rng
from pullback.runtime.placement import reshard

__all__ = [
    "broadcast",
    "broadcast_in_dim",
    "broadcast_in_dim_p",
    "broadcast_like",
    "broadcast_shapes",
    "broadcast_to_rank",
    "broadcasted_iota",
    "collapse",
    "concatenate",
    "concatenate_p",
    "empty",
    "expand_dims",
    "full",
    "full_like",
    "iota",
    "iota_p",
    "pad",
    "pad_p",
    "reshape",
    "reshape_p",
    "rev",
    "rev_p",
    "shape_as_value",
    "split",
    "split_p",
    "squeeze",
    "squeeze_p",
    "stack",
    "stack_p",
    "tile",
    "tile_p",
    "transpose",
    "transpose_p",
    "unstack",
    "unstack_p",
]

broadcast_in_dim_p: Final = rearrange.broadcast_in_dim
concatenate_p: Final = joining.concatenate
iota_p: Final = rearrange.iota
pad_p: Final = joining.pad
reshape_p: Final = rearrange.reshape
rev_p: Final = rearrange.rev
split_p: Final = joining.split
squeeze_p: Final = rearrange.squeeze
stack_p: Final = joining.stack
tile_p: Final = joining.tile
transpose_p: Final = rearrange.transpose
unstack_p: Final = joining.unstack


def canonical_shape(shape: Any) -> tuple[int, ...]:
    """A shape given as an integer or a sequence of integers, as a tuple of Python's."""
    try:
        return (as_length(shape),)
    except TypeError:
        pass
    try:
        return tuple([as_length(n) for n in shape])
    except TypeError as error:
        if type(error) is not TypeError:
            raise  # a traced length, which knows more
        raise TypeError(
            f"Shapes must be 1D sequences of concrete values of integer type, got {shape!r}."
        ) from error


def new_shape(shape: Any) -> tuple[int, ...]:
    """`canonical_shape` of an array to be made; TypeError for negative lengths."""
    lengths = canonical_shape(shape)
    if any(n < 0 for n in lengths):
        raise TypeError(
            f"broadcast_in_dim shape must have every element be nonnegative, got {lengths}."
        )
    return lengths


def canonical_axis(axis: int, rank: int) -> int:
    """An axis counted from the front; AxisError (ValueError and IndexError) if there is none.

    >>> canonical_axis(-1, 3)
    2
    """
    axis = operator.index(axis)
    if not -rank <= axis < rank:
        raise AxisError(f"axis {axis} is out of bounds for array of dimension {rank}")
    return axis + rank if axis < 0 else axis


def canonical_axes(axes: Any, rank: int) -> tuple[int, ...]:
    """Distinct axes counted from the front."""
    out = tuple([canonical_axis(axis, rank) for axis in axes])
    if len(set(out)) != len(out):
        raise ValueError(f"axes {tuple(axes)} are not distinct")
    return out


# --------------------------------------------------------------------------- constants


def full(shape: Any, fill_value: Any, dtype: Any = None, *, sharding: Any = None) -> Any:
    """An array of `shape` that holds `fill_value` everywhere, of its dtype unless one is given.

    >>> full((2,), 3, 'float32')
    Array([3., 3.], dtype=float32)
    """
    if type(fill_value) is int and dtype is None:
        fill_value = _of_default_width(fill_value)
    # A Python integer is of the dtype that is given, and may be too large for the default one.
    if not (type(fill_value) is int and dtype is not None) and aval_of(fill_value).shape != ():
        raise TypeError(
            f"full must be called with scalar fill_value, got shape {aval_of(fill_value).shape}"
        )
    scalar = fill_value if dtype is None else _scalar(fill_value, check_user_dtype(dtype, "full"))
    return rearrange.broadcast_in_dim(
        scalar, shape=new_shape(shape), broadcast_dimensions=(), sharding=None
    )


def _scalar(value: Any, dtype: Any) -> Any:
    """A scalar of a dtype: known now if `value` is."""
    if dtypes.is_extended(dtype) and np.ndim(value) == 0 and not isinstance(value, Array):
        return _key_of_equal_words(value, dtype)
    if isinstance(value, (Array, DimExpr)) or dtypes.is_extended(dtype):
        return conversion.convert(value, dtype)
    kind, value = dtypes.kind_of(dtype), np.asarray(value)
    if kind in "iuf" and value.dtype.kind == "c":
        raise TypeError(f"full: a complex fill_value for the dtype {dtype.name}")
    if kind in "iu" and value.dtype.kind == "f":
        return conversion.saturated(value, dtype)[()]
    return value.astype(dtype)[()]


def _of_default_width(value: int) -> int:
    """An integer of up to 64 bits cut to the bits of the default dtype, as JAX has it."""
    if not -(2**63) <= value < 2**64:
        return value
    half = 2 ** (8 * dtypes.default_int().itemsize - 1)
    return int((value + half) % (2 * half) - half)


def _key_of_equal_words(value: Any, dtype: Any) -> Any:
    """A random key whose words are a number, such as the zeros of `zeros_like`."""
    words = np.full((dtype.words,), value).astype(np.uint32)
    return rng.random_wrap(words, impl=dtype.tag)


def full_like(
    x: Any, fill_value: Any, dtype: Any = None, shape: Any = None, sharding: Any = None
) -> Any:
    """`full` in the shape and dtype of `x` unless others are given.

    >>> full_like(np.ones(2, 'float32'), 7)
    Array([7., 7.], dtype=float32)
    """
    new_shape = tuple(np.shape(x) if not isinstance(x, Array) else x.shape)
    new_shape = new_shape if shape is None else canonical_shape(shape)
    if dtype is not None:
        return full(new_shape, fill_value, dtype)
    of, weak = dtypes.dtype_and_weak_type(x)
    if weak:
        scalar = conversion.convert(fill_value, of, weak_type=True)
        return rearrange.broadcast_in_dim(
            scalar, shape=new_shape, broadcast_dimensions=(), sharding=None
        )
    return full(new_shape, fill_value, of)


def empty(shape: Any, dtype: Any, *, out_sharding: Any = None) -> Any:
    """An array whose elements do not matter; zeros.

    >>> empty((2,), 'int32').shape
    (2,)
    """
    found = full(shape, 0, dtype)
    return found if out_sharding is None else reshard(found, out_sharding)


def iota(dtype: Any, size: int) -> Any:
    """0, 1, ..., size - 1.

    >>> iota('float32', 3)
    Array([0., 1., 2.], dtype=float32)
    """
    return broadcasted_iota(dtype, (size,), 0)


def broadcasted_iota(dtype: Any, shape: Any, dimension: int, *, out_sharding: Any = None) -> Any:
    """The index along one axis of an array of `shape`.

    >>> broadcasted_iota('int32', (2, 2), 1)
    Array([[0, 1],
           [0, 1]], dtype=int32)
    """
    dtype, shape = check_user_dtype(dtype, "iota"), new_shape(shape)
    if not 0 <= dimension < len(shape):
        raise ValueError(
            f"iota dimension must be between 0 and len(shape), got {dimension=} for {shape=}"
        )
    found = rearrange.iota(
        dtype=dtype, shape=shape, dimension=operator.index(dimension), sharding=None
    )
    return found if out_sharding is None else reshard(found, out_sharding)


def shape_as_value(shape: Any) -> Any:
    """A shape as an int32 array.

    >>> shape_as_value((2, 3))
    Array([2, 3], dtype=int32)
    """
    return full((0,), 0, np.int32) if len(shape) == 0 else as_array(np.asarray(shape, np.int32))


def as_array(x: Any) -> Any:
    """`x` as an Array: a reshape that does nothing puts it under the current trace."""
    if isinstance(x, Array):
        return x
    return rearrange.reshape(x, new_sizes=np.shape(x), dimensions=None, sharding=None)


# --------------------------------------------------------------------------- broadcasting


def broadcast(operand: Any, sizes: Sequence[int], *, out_sharding: Any = None) -> Any:
    """`operand` repeated along new leading axes.

    >>> broadcast(np.arange(2), (3,)).shape
    (3, 2)
    """
    sizes = new_shape(sizes)
    if not sizes and isinstance(operand, Array):
        return operand
    shape = aval_of(operand).shape
    dims = tuple(range(len(sizes), len(sizes) + len(shape)))
    return broadcast_in_dim(operand, (*sizes, *shape), dims)


def broadcast_in_dim(
    operand: Any, shape: Any, broadcast_dimensions: Any, *, out_sharding: Any = None
) -> Any:
    """`operand` with its axis k as axis `broadcast_dimensions[k]` of `shape`.

    Axes of length 1 are stretched, axes that are not named are new.

    >>> broadcast_in_dim(np.arange(2), (2, 3), (0,))
    Array([[0, 0, 0],
           [1, 1, 1]], dtype=int32)
    """
    shape = canonical_shape(shape)
    dims = canonical_shape(broadcast_dimensions)
    if isinstance(operand, Array) and operand.shape == shape and dims == tuple(range(len(shape))):
        return operand
    if len(set(dims)) == len(dims) == aval_of(operand).ndim and dims != tuple(sorted(dims)):
        order = sorted(range(len(dims)), key=dims.__getitem__)
        operand, dims = transpose(operand, tuple(order)), tuple(sorted(dims))
    return rearrange.broadcast_in_dim(
        operand, shape=shape, broadcast_dimensions=dims, sharding=None
    )


def broadcast_like(arr: Any, like_arr: Any) -> Any:
    """`arr` broadcast to the shape of `like_arr`, axes aligned at the end as NumPy does.

    >>> broadcast_like(np.float32(1), np.ones(2))
    Array([1., 1.], dtype=float32)
    """
    shape = aval_of(like_arr).shape
    rank = aval_of(arr).ndim
    if broadcast_shapes(aval_of(arr).shape, shape) != shape:
        raise ValueError(f"{aval_of(arr)} does not broadcast to shape {shape}")
    return broadcast_in_dim(arr, shape, tuple(range(len(shape) - rank, len(shape))))


def broadcast_to_rank(x: Any, rank: int) -> Any:
    """`x` with leading axes of length 1, up to `rank` axes.

    >>> broadcast_to_rank(np.arange(2), 3).shape
    (1, 1, 2)
    """
    missing = rank - aval_of(x).ndim
    return expand_dims(x, range(missing)) if missing > 0 else as_array(x)


def broadcast_shapes(*shapes: Any) -> tuple[int, ...]:
    """The shape to which arrays of these shapes broadcast together.

    >>> broadcast_shapes((2, 1), (3,))
    (2, 3)
    """
    if len(shapes) == 1:
        return canonical_shape(shapes[0])
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        listed = [tuple(s) for s in shapes]
        raise ValueError(f"Incompatible shapes for broadcasting: shapes={listed}") from None


# --------------------------------------------------------------------------- shapes and axes


def reshape(
    operand: Any, new_sizes: Any, dimensions: Any = None, *, out_sharding: Any = None
) -> Any:
    """The same elements in another shape; the axes taken in the order `dimensions`, if given.

    >>> reshape(np.arange(4), (2, 2))
    Array([[0, 1],
           [2, 3]], dtype=int32)
    """
    sizes = canonical_shape(new_sizes)
    if any(n < 0 for n in sizes):
        raise TypeError(f"reshape new_sizes must all be positive, got {sizes}.")
    aval = aval_of(operand)
    order = None if dimensions is None else canonical_axes(dimensions, aval.ndim)
    if order is not None and order == tuple(range(aval.ndim)):
        order = None
    if order is None and aval.shape == sizes and isinstance(operand, Array):
        return operand
    return rearrange.reshape(operand, new_sizes=sizes, dimensions=order, sharding=None)


def collapse(operand: Any, start_dimension: int, stop_dimension: int | None = None) -> Any:
    """Axes `start_dimension` up to `stop_dimension` (the last, by default) as one.

    >>> collapse(np.ones((2, 3, 4)), 0, 2).shape
    (6, 4)
    """
    shape = aval_of(operand).shape
    rank = len(shape)
    start = start_dimension + rank if start_dimension < 0 else start_dimension
    stop = rank if stop_dimension is None else stop_dimension
    stop = stop + rank if stop < 0 else stop
    return reshape(operand, (*shape[:start], math.prod(shape[start:stop]), *shape[stop:]))


def transpose(operand: Any, permutation: Any) -> Any:
    """The axes in another order: axis k of the result is axis `permutation[k]` of the operand.

    >>> transpose(np.ones((2, 3)), (1, 0)).shape
    (3, 2)
    """
    permutation = tuple([operator.index(d) for d in permutation])
    if isinstance(operand, Array) and permutation == tuple(range(operand.ndim)):
        return operand
    return rearrange.transpose(operand, permutation=permutation)


def squeeze(array: Any, dimensions: Any) -> Any:
    """`array` without the given axes, which have length 1.

    >>> squeeze(np.ones((1, 2, 1)), (0, 2)).shape
    (2,)
    """
    aval = aval_of(array)
    dims = canonical_axes(dimensions, aval.ndim)
    if any(aval.shape[d] != 1 for d in dims):
        raise ValueError(
            "cannot select an axis to squeeze out which has size not equal to one, "
            f"got shape={aval.shape} and {dimensions=}"
        )
    if not dims and isinstance(array, Array):
        return array
    return rearrange.squeeze(array, dimensions=dims)


def expand_dims(array: Any, dimensions: Any) -> Any:
    """`array` with new axes of length 1 where `dimensions` says, counted in the result.

    >>> expand_dims(np.ones(3), (0, -1)).shape
    (1, 3, 1)
    """
    shape = aval_of(array).shape
    dimensions = tuple(dimensions)
    if len(set(dimensions)) != len(dimensions):
        raise ValueError(f"repeated axis in lax.expand_dims: {dimensions}")
    new = canonical_axes(dimensions, len(shape) + len(dimensions))
    old = tuple([d for d in range(len(shape) + len(new)) if d not in new])
    sizes = [1] * (len(shape) + len(new))
    for d, n in zip(old, shape, strict=True):
        sizes[d] = n
    return broadcast_in_dim(array, tuple(sizes), old)


def rev(operand: Any, dimensions: Any) -> Any:
    """`operand` reversed along the given axes.

    >>> rev(np.arange(3), (0,))
    Array([2, 1, 0], dtype=int32)
    """
    return rearrange.rev(operand, dimensions=canonical_shape(dimensions))


# --------------------------------------------------------------------------- joining and parting


def concatenate(operands: Any, dimension: int) -> Any:
    """Arrays joined along an axis.

    >>> concatenate([np.arange(2), np.arange(1)], 0)
    Array([0, 1, 0], dtype=int32)
    """
    xs = list(operands)
    if not xs:
        raise ValueError("concatenate requires a non-empty sequences of arrays")
    if len(xs) == 1 and isinstance(xs[0], Array):
        return xs[0]
    found = [aval_of(x).dtype for x in xs]
    if any(d != found[0] for d in found):
        names = ", ".join(d.name for d in found)
        raise TypeError(
            f"lax.concatenate requires arguments to have the same dtypes, got {names}. "
            "(Tip: jnp.concatenate is a similar function that does automatic type promotion.)"
        )
    return joining.concatenate(*xs, dimension=operator.index(dimension))


def stack(operands: Any, axis: int = 0) -> Any:
    """Arrays of one type joined along a new axis.

    >>> stack([np.arange(2), np.arange(2)], 1).shape
    (2, 2)
    """
    xs = list(operands)
    if not xs:
        raise ValueError("stack requires a non-empty sequence of arrays")
    return joining.stack(*xs, axis=canonical_axis(axis, aval_of(xs[0]).ndim + 1))


def unstack(x: Any, axis: int = 0) -> tuple[Any, ...]:
    """The parts of `x` along an axis, without that axis.

    >>> [float(y) for y in unstack(np.arange(2.0))]
    [0.0, 1.0]
    """
    return tuple(joining.unstack(x, axis=canonical_axis(axis, aval_of(x).ndim)))


def split(operand: Any, sizes: Any, axis: int = 0) -> list[Any]:
    """`operand` taken apart along an axis into pieces of the given lengths.

    >>> [y.shape for y in split(np.arange(5), (2, 3))]
    [(2,), (3,)]
    """
    aval = aval_of(operand)
    axis, sizes = canonical_axis(axis, aval.ndim), canonical_shape(sizes)
    if sum(sizes) != aval.shape[axis]:
        raise ValueError(
            f"Sum of sizes {sum(sizes)} must be equal to dimension {axis} of the operand shape "
            f"{list(aval.shape)}"
        )
    return list(joining.split(operand, sizes=sizes, axis=axis))


def tile(operand: Any, reps: Any) -> Any:
    """`operand` repeated `reps[k]` times along axis k.

    >>> tile(np.arange(2), (2,))
    Array([0, 1, 0, 1], dtype=int32)
    """
    return joining.tile(operand, reps=canonical_shape(reps))


def pad(operand: Any, padding_value: Any, padding_config: Any) -> Any:
    """`operand` with elements added: per axis (before, after, between each two).

    Negative numbers before and after take elements away.

    >>> pad(np.arange(2), 9, [(1, 0, 1)])
    Array([9, 0, 9, 1], dtype=int32)
    """
    aval = aval_of(operand)
    if type(padding_value) in (bool, int, float, complex):
        dtypes_agree = dtypes.kind_of(aval.dtype) == dtypes.kind_of(aval_of(padding_value).dtype)
        if dtypes_agree or dtypes.kind_of(aval.dtype) in "iufc":
            padding_value = np.asarray(padding_value).astype(dtypes.physical(aval.dtype))[()]
            if aval.weak_type:
                padding_value = conversion.convert(padding_value, aval.dtype, weak_type=True)
    if aval_of(padding_value).dtype != aval.dtype:
        raise TypeError(
            "pad operand and padding_value must be same dtype: got "
            f"{aval.dtype.name} and {aval_of(padding_value).dtype.name}."
        )
    config = tuple((as_length(a), as_length(b), operator.index(c)) for a, b, c in padding_config)
    return joining.pad(operand, padding_value, padding_config=config)
