"""Shapes and axes: reshape, transpose, roll, flip, repeat and their kin."""

from __future__ import annotations

import math
import operator
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from pullback import lax
from pullback.core.array import Array
from pullback.core.trace import concrete_or_error, is_concrete
from pullback.numpy.arrays import as_array, broadcast_to_shape
from pullback.numpy.creation import asarray
from pullback.numpy.promotion import (
    axes_given,
    canonical_axes,
    canonical_axis,
    check_arraylike,
    ensure_arraylike,
    shape_of,
    static_shape,
)
from pullback.numpy.promotion import broadcast_shapes as _broadcast_shapes
from pullback.runtime.composites import compiled_when_eager
from pullback.runtime.replays import replayed_when_eager

__all__ = [
    "atleast_1d",
    "atleast_2d",
    "atleast_3d",
    "broadcast_arrays",
    "broadcast_shapes",
    "broadcast_to",
    "expand_dims",
    "flip",
    "fliplr",
    "flipud",
    "matrix_transpose",
    "moveaxis",
    "ndim",
    "permute_dims",
    "ravel",
    "repeat",
    "reshape",
    "resize",
    "roll",
    "rollaxis",
    "rot90",
    "shape",
    "size",
    "squeeze",
    "swapaxes",
    "tile",
    "transpose",
]


def shape(a: Any) -> tuple[int, ...]:
    """The lengths of the axes.

    >>> import pullback.numpy as jnp
    >>> jnp.shape(jnp.ones((2, 3)))
    (2, 3)
    """
    return _shape_of_any("shape", a)


def ndim(a: Any) -> int:
    """The number of axes.

    >>> import pullback.numpy as jnp
    >>> jnp.ndim(jnp.ones((2, 3)))
    2
    """
    return len(_shape_of_any("ndim", a))


def size(a: Any, axis: Any = None) -> int:
    """The number of elements, or the length of an axis (or the product of several).

    >>> import pullback.numpy as jnp
    >>> jnp.size(jnp.ones((2, 3))), jnp.size(jnp.ones((2, 3)), 1)
    (6, 3)
    """
    lengths = _shape_of_any("size", a)
    return math.prod(lengths[k] for k in canonical_axes(axis, len(lengths)))


def _shape_of_any(name: str, a: Any) -> tuple[int, ...]:
    """The shape of an array or a scalar; of anything else, with a warning, what NumPy says."""
    if isinstance(a, Array):
        return a.shape
    if getattr(a, "shape", None) is None:
        try:
            check_arraylike(name, a)
        except TypeError as error:
            if not isinstance(a, str):
                warnings.warn(f"{error} Later this will be an error.", DeprecationWarning, 3)
            return np.shape(a)
    return shape_of(a)


# --------------------------------------------------------------------------- reshape


def _new_shape(old: tuple[int, ...], new: Any) -> tuple[int, ...]:
    """The new shape with a single -1 filled in."""
    lengths = list(static_shape(new, "The new shape of a reshape must be static."))
    total = math.prod(old)
    unknown = [k for k, n in enumerate(lengths) if n == -1]
    if len(unknown) > 1:
        raise TypeError(f"can only specify one unknown axis size with a `-1` value, got {new}")
    if unknown:
        known = math.prod(n for n in lengths if n != -1)
        if known == 0 or total % known:
            raise TypeError(f"cannot reshape array of shape {old} (size {total}) into shape {new}")
        lengths[unknown[0]] = total // known
    if math.prod(lengths) != total or any(n < 0 for n in lengths):
        raise TypeError(
            f"cannot reshape array of shape {old} (size {total}) into shape {new} "
            f"(size {math.prod(lengths)})"
        )
    return tuple(lengths)


def reshape(
    a: Any, shape: Any, order: str = "C", *, copy: bool | None = None, out_sharding: Any = None
) -> Any:
    """The same elements in another shape; one length may be -1, which follows from the others.

    With order "F" elements are read and placed with the first axis running fastest. Raises
    TypeError if the number of elements differs.

    >>> import pullback.numpy as jnp
    >>> jnp.reshape(jnp.arange(6), (2, -1))
    Array([[0, 1, 2],
           [3, 4, 5]], dtype=int32)
    """
    a = ensure_arraylike("reshape", a)
    new = _new_shape(a.shape, shape)
    if order in ("C", "K", None):
        return a if new == a.shape else lax.reshape(a, new)
    if order == "F":
        reverse = tuple(range(a.ndim - 1, -1, -1))
        flipped = lax.reshape(lax.transpose(a, reverse), new[::-1])
        return lax.transpose(flipped, tuple(range(len(new) - 1, -1, -1)))
    if order == "A":
        raise NotImplementedError("np.reshape order=A is not implemented.")
    raise ValueError(f"Unexpected value for 'order' argument: {order}.")


@replayed_when_eager
def ravel(a: Any, order: str = "C", *, out_sharding: Any = None) -> Any:
    """The elements in one axis.

    >>> import pullback.numpy as jnp
    >>> jnp.ravel(jnp.ones((2, 2)))
    Array([1., 1., 1., 1.], dtype=float32)
    """
    a = ensure_arraylike("ravel", a)
    return reshape(a, (a.size,), "C" if order == "K" else order)


def resize(a: Any, new_shape: Any) -> Any:
    """The elements, repeated or cut as needed, in another shape.

    >>> import pullback.numpy as jnp
    >>> jnp.resize(jnp.array([1, 2, 3]), (2, 2))
    Array([[1, 2],
           [3, 1]], dtype=int32)
    """
    a = ensure_arraylike("resize", a)
    new_shape = static_shape(new_shape)
    if any(n < 0 for n in new_shape):
        raise ValueError("all elements of `new_shape` must be non-negative")
    count = math.prod(new_shape)
    if count == 0 or a.size == 0:
        return lax.full(new_shape, 0, a.dtype)
    flat = lax.reshape(a, (a.size,))
    repeats = -(-count // a.size)
    flat = lax.concatenate([flat] * repeats, 0) if repeats > 1 else flat
    return lax.reshape(lax.slice_in_dim(flat, 0, count), new_shape)


@replayed_when_eager
def expand_dims(a: Any, axis: Any = 0) -> Any:
    """New axes of length 1 at the given positions of the result.

    >>> import pullback.numpy as jnp
    >>> jnp.expand_dims(jnp.ones(3), (0, 2)).shape
    (1, 3, 1)
    """
    a = ensure_arraylike("expand_dims", a)
    axes = axes_given(axis)
    return lax.expand_dims(a, canonical_axes(axes, a.ndim + len(axes)))


def squeeze(a: Any, axis: Any = None) -> Any:
    """Without axes of length 1: all of them, or the given ones.

    Raises ValueError if a given axis has another length.

    >>> import pullback.numpy as jnp
    >>> jnp.squeeze(jnp.ones((1, 3, 1))).shape
    (3,)
    """
    a = ensure_arraylike("squeeze", a)
    if axis is None:
        axes = tuple(k for k, n in enumerate(a.shape) if n == 1)
    else:
        axes = canonical_axes(axis, a.ndim)
        if any(a.shape[k] != 1 for k in axes):
            raise ValueError(
                "cannot select an axis to squeeze out which has size not equal to one, got "
                f"shape={a.shape} and dimensions={axes}"
            )
    return lax.squeeze(a, sorted(axes)) if axes else a


@replayed_when_eager
def atleast_1d(*arys: Any) -> Any:
    """Arrays with one axis at least; a list of them for several.

    >>> import pullback.numpy as jnp
    >>> jnp.atleast_1d(3).shape
    (1,)
    """
    return _each("atleast_1d", arys, lambda x: x if x.ndim else lax.reshape(x, (1,)))


@replayed_when_eager
def atleast_2d(*arys: Any) -> Any:
    """Arrays with two axes at least, new ones in front; a list of them for several.

    >>> import pullback.numpy as jnp
    >>> jnp.atleast_2d(jnp.ones(3)).shape
    (1, 3)
    """
    return _each("atleast_2d", arys, lambda x: x if x.ndim >= 2 else lax.reshape(x, (1, x.size)))


@replayed_when_eager
def atleast_3d(*arys: Any) -> Any:
    """Arrays with three axes at least; a list of them for several.

    >>> import pullback.numpy as jnp
    >>> jnp.atleast_3d(jnp.ones(3)).shape
    (1, 3, 1)
    """

    def widen(x: Any) -> Any:
        if x.ndim == 2:
            return lax.expand_dims(x, (2,))
        return x if x.ndim >= 3 else lax.reshape(x, (1, x.size, 1))

    return _each("atleast_3d", arys, widen)


def _each(name: str, arys: Sequence[Any], function: Any) -> Any:
    check_arraylike(name, *arys)
    results = [function(as_array(x)) for x in arys]
    return results[0] if len(arys) == 1 else results


# --------------------------------------------------------------------------- broadcast


def broadcast_shapes(*shapes: Any) -> tuple[int, ...]:
    """The shape to which arrays of the given shapes broadcast.

    Raises ValueError if they do not fit.

    >>> import pullback.numpy as jnp
    >>> jnp.broadcast_shapes((2, 1), (3,))
    (2, 3)
    """
    return _broadcast_shapes(*shapes) if shapes else ()


def broadcast_to(array: Any, shape: Any, *, out_sharding: Any = None) -> Any:
    """`array` repeated along new axes and axes of length 1 to have the given shape.

    Raises ValueError if it does not fit.

    >>> import pullback.numpy as jnp
    >>> jnp.broadcast_to(jnp.arange(2), (2, 2))
    Array([[0, 1],
           [0, 1]], dtype=int32)
    """
    array = ensure_arraylike("broadcast_to", array)
    new = static_shape(shape)
    if array.ndim > len(new):
        raise ValueError(
            f"Cannot broadcast to shape with fewer dimensions: arr_shape={array.shape} shape={new}"
        )
    aligned = new[len(new) - array.ndim :]
    if any(n not in (1, m) for n, m in zip(array.shape, aligned, strict=True)):
        raise ValueError(
            f"Incompatible types for broadcasting: input type={array.aval.str_long()} and "
            f"requested type={array.aval.update(shape=new, weak_type=False).str_long()}"
        )
    return broadcast_to_shape(array, new)


def broadcast_arrays(*args: Any) -> list[Any]:
    """Arrays broadcast against each other.

    >>> import pullback.numpy as jnp
    >>> [x.shape for x in jnp.broadcast_arrays(jnp.ones((2, 1)), jnp.ones(3))]
    [(2, 3), (2, 3)]
    """
    check_arraylike("broadcast_arrays", *args)
    arrays = [as_array(x) for x in args]
    new = broadcast_shapes(*(x.shape for x in arrays))
    return [broadcast_to_shape(x, new) for x in arrays]


# --------------------------------------------------------------------------- order of axes


def transpose(a: Any, axes: Any = None) -> Any:
    """The axes in another order: reversed, or as given.

    >>> import pullback.numpy as jnp
    >>> jnp.transpose(jnp.ones((2, 3, 4)), (1, 0, 2)).shape
    (3, 2, 4)
    """
    a = ensure_arraylike("transpose", a)
    if axes is None:
        return lax.transpose(a, tuple(range(a.ndim - 1, -1, -1)))
    order = tuple(canonical_axis(k, a.ndim) for k in axes)
    if sorted(order) != list(range(a.ndim)):
        raise TypeError(
            "transpose permutation isn't a permutation of operand dimensions, got permutation "
            f"{tuple(axes)} for operand shape {a.shape}."
        )
    return lax.transpose(a, order)


def permute_dims(a: Any, /, axes: tuple[int, ...]) -> Any:
    """The axes in the given order.

    >>> import pullback.numpy as jnp
    >>> jnp.permute_dims(jnp.ones((2, 3)), (1, 0)).shape
    (3, 2)
    """
    return transpose(a, axes)


def matrix_transpose(x: Any, /) -> Any:
    """The last two axes swapped. Raises ValueError for arrays of rank below two.

    >>> import pullback.numpy as jnp
    >>> jnp.matrix_transpose(jnp.ones((5, 2, 3))).shape
    (5, 3, 2)
    """
    x = ensure_arraylike("matrix_transpose", x)
    if x.ndim < 2:
        raise ValueError(
            f"x must be at least two-dimensional for matrix_transpose; got ndim={x.ndim}"
        )
    return lax.transpose(x, (*range(x.ndim - 2), x.ndim - 1, x.ndim - 2))


@replayed_when_eager
def swapaxes(a: Any, axis1: int, axis2: int) -> Any:
    """Two axes exchanged.

    >>> import pullback.numpy as jnp
    >>> jnp.swapaxes(jnp.ones((2, 3, 4)), 0, 2).shape
    (4, 3, 2)
    """
    a = ensure_arraylike("swapaxes", a)
    order = list(range(a.ndim))
    i, j = canonical_axis(axis1, a.ndim), canonical_axis(axis2, a.ndim)
    order[i], order[j] = j, i
    return lax.transpose(a, order)


@replayed_when_eager
def moveaxis(a: Any, source: Any, destination: Any) -> Any:
    """Axes moved to other positions; the rest keep their order.

    >>> import pullback.numpy as jnp
    >>> jnp.moveaxis(jnp.ones((2, 3, 4)), 0, -1).shape
    (3, 4, 2)
    """
    a = ensure_arraylike("moveaxis", a)
    src = canonical_axes(tuple(source) if isinstance(source, (tuple, list)) else (source,), a.ndim)
    to = destination if isinstance(destination, (tuple, list)) else (destination,)
    dst = canonical_axes(tuple(to), a.ndim)
    if len(src) != len(dst):
        raise ValueError(f"Inconsistent number of elements: {len(src)} vs {len(dst)}")
    order = [k for k in range(a.ndim) if k not in src]
    for at, axis in sorted(zip(dst, src, strict=True)):
        order.insert(at, axis)
    return lax.transpose(a, order)


@replayed_when_eager
def rollaxis(a: Any, axis: int, start: int = 0) -> Any:
    """One axis moved backwards to stand before `start`.

    >>> import pullback.numpy as jnp
    >>> jnp.rollaxis(jnp.ones((2, 3, 4)), 2).shape
    (4, 2, 3)
    """
    a = ensure_arraylike("rollaxis", a)
    axis = canonical_axis(axis, a.ndim)
    start = operator.index(start)
    if not -a.ndim <= start <= a.ndim:
        raise ValueError(f"start {start} must be in [{-a.ndim}, {a.ndim}]")
    start = start + a.ndim if start < 0 else start
    return moveaxis(a, axis, start - 1 if axis < start else start)


# --------------------------------------------------------------------------- order of elements


@replayed_when_eager
def flip(m: Any, axis: Any = None) -> Any:
    """The elements in reverse along all or the given axes.

    >>> import pullback.numpy as jnp
    >>> jnp.flip(jnp.arange(3))
    Array([2, 1, 0], dtype=int32)
    """
    m = ensure_arraylike("flip", m)
    return lax.rev(m, canonical_axes(axis, m.ndim))


@replayed_when_eager
def flipud(m: Any) -> Any:
    """The elements in reverse along the first axis.

    >>> import pullback.numpy as jnp
    >>> jnp.flipud(jnp.arange(3))
    Array([2, 1, 0], dtype=int32)
    """
    return flip(ensure_arraylike("flipud", m), 0)


@replayed_when_eager
def fliplr(m: Any) -> Any:
    """The elements in reverse along the second axis.

    >>> import pullback.numpy as jnp
    >>> jnp.fliplr(jnp.array([[1, 2]]))
    Array([[2, 1]], dtype=int32)
    """
    return flip(ensure_arraylike("fliplr", m), 1)


@compiled_when_eager("k", "axes")
def rot90(m: Any, k: int = 1, axes: tuple[int, int] = (0, 1)) -> Any:
    """Turned by `k` quarters in the plane of two axes, from the first towards the second.

    >>> import pullback.numpy as jnp
    >>> jnp.rot90(jnp.array([[1, 2], [3, 4]]))
    Array([[2, 4],
           [1, 3]], dtype=int32)
    """
    m = ensure_arraylike("rot90", m)
    if m.ndim < 2:
        raise ValueError(
            f"rot90 requires its first argument to have ndim at least two, got shape {m.shape}"
        )
    first, second = canonical_axes(tuple(axes), m.ndim)
    k = k % 4
    if k == 0:
        return m
    if k == 2:
        return flip(m, (first, second))
    if k == 1:
        return swapaxes(flip(m, second), first, second)
    return flip(swapaxes(m, first, second), second)


@compiled_when_eager("shift", "axis")
def roll(a: Any, shift: Any, axis: Any = None) -> Any:
    """The elements moved along axes, those that fall off coming back at the other end.

    Without an axis the flattened array is rolled. Shifts may be traced.

    >>> import pullback.numpy as jnp
    >>> jnp.roll(jnp.arange(4), 1)
    Array([3, 0, 1, 2], dtype=int32)
    """
    a = ensure_arraylike("roll", a)
    if axis is None:
        return lax.reshape(roll(lax.reshape(a, (a.size,)), shift, 0), a.shape)
    axes = axes_given(axis)
    shifts, axes = _paired(shift, tuple(canonical_axis(k, a.ndim) for k in axes))
    for s, k in zip(shifts, axes, strict=True):
        a = _rolled(a, s, k)
    return a


def _paired(shift: Any, axes: tuple[int, ...]) -> tuple[list[Any], tuple[int, ...]]:
    if isinstance(shift, (tuple, list)):
        shifts = list(shift)
    elif len(shape_of(shift)) == 1:
        shifts = [shift[k] for k in range(shape_of(shift)[0])]
    else:
        shifts = [shift]
    if len(shifts) == 1:
        shifts *= len(axes)
    if len(axes) == 1:
        axes *= len(shifts)
    if len(shifts) != len(axes):
        raise ValueError(f"{len(shifts)} shifts and {len(axes)} axes do not broadcast")
    return shifts, axes


def _rolled(a: Any, shift: Any, axis: int) -> Any:
    n = a.shape[axis]
    if n == 0:
        return a
    if is_concrete(shift):
        k = int(np.asarray(shift)) % n
        if k == 0:
            return a
        parts = [lax.slice_in_dim(a, n - k, n, axis=axis), lax.slice_in_dim(a, 0, n - k, axis=axis)]
        return lax.concatenate(parts, axis)
    int32 = np.dtype(np.int32)
    k = lax.rem(lax.convert_element_type(shift, int32), np.int32(n))
    start = lax.rem(lax.sub(np.int32(n), k), np.int32(n))
    doubled = lax.concatenate([a, a], axis)
    return lax.dynamic_slice_in_dim(doubled, start, n, axis=axis)


# --------------------------------------------------------------------------- repetition


@replayed_when_eager
def tile(A: Any, reps: Any) -> Any:
    """`A` repeated as a whole, so many times along each axis.

    >>> import pullback.numpy as jnp
    >>> jnp.tile(jnp.array([1, 2]), 2)
    Array([1, 2, 1, 2], dtype=int32)
    """
    A = ensure_arraylike("tile", A)
    times = static_shape(reps, "The repetitions of a tile must be static.")
    rank = max(A.ndim, len(times))
    old = (*(1,) * (rank - A.ndim), *A.shape)
    times = (*(1,) * (rank - len(times)), *times)
    spread = tuple(n for pair in zip(times, old, strict=True) for n in pair)
    A = lax.broadcast_in_dim(lax.reshape(A, old), spread, tuple(range(1, 2 * rank, 2)))
    return lax.reshape(A, tuple(r * n for r, n in zip(times, old, strict=True)))


def repeat(
    a: Any,
    repeats: Any,
    axis: Any = None,
    *,
    total_repeat_length: int | None = None,
    out_sharding: Any = None,
) -> Any:
    """Every element repeated, all so many times or each its own number of times.

    Traced numbers need `total_repeat_length`: the result is cut, or filled with the last element.

    >>> import pullback.numpy as jnp
    >>> jnp.repeat(jnp.array([1, 2]), jnp.array([1, 3]))
    Array([1, 2, 2, 2], dtype=int32)
    """
    a = ensure_arraylike("repeat", a)
    if axis is None:
        a, axis = lax.reshape(a, (a.size,)), 0
    axis = canonical_axis(axis, a.ndim)
    if total_repeat_length is None:
        counts = concrete_or_error(
            np.asarray,
            repeats,
            "When jit-compiling jnp.repeat, the total number of repeats must be static: "
            "pass total_repeat_length.",
        )
        return _repeat_static(a, counts, axis)
    return _repeat_dynamic(a, repeats, axis, operator.index(total_repeat_length))


def _repeat_static(a: Any, counts: Any, axis: int) -> Any:
    n = a.shape[axis]
    if counts.dtype.kind not in "iub":
        raise TypeError(f"jnp.repeat: repeats must be integers, got dtype {counts.dtype}")
    if counts.ndim > 1 or (counts.ndim == 1 and counts.shape[0] not in (1, n)):
        raise ValueError(f"jnp.repeat: repeats of shape {counts.shape} for an axis of length {n}")
    if counts.size and counts.min() < 0:
        raise ValueError("jnp.repeat: repeats must not be negative")
    if counts.size == 1:
        times = int(counts.reshape(()))
        new = (*a.shape[: axis + 1], times, *a.shape[axis + 1 :])
        kept = tuple(k for k in range(len(new)) if k != axis + 1)
        flat = (*a.shape[:axis], n * times, *a.shape[axis + 1 :])
        return lax.reshape(lax.broadcast_in_dim(a, new, kept), flat)
    index = np.repeat(np.arange(n), counts)
    return a[(*(slice(None),) * axis, index)]


def _repeat_dynamic(a: Any, repeats: Any, axis: int, total: int) -> Any:
    n = a.shape[axis]
    int32 = np.dtype(np.int32)
    counts = lax.convert_element_type(asarray(repeats), int32)
    counts = broadcast_to_shape(lax.reshape(counts, (counts.size,)), (n,))
    if n == 0 or total == 0:
        return lax.full((*a.shape[:axis], total, *a.shape[axis + 1 :]), 0, a.dtype)
    ends = lax.max(lax.cumsum(counts), lax.full_like(counts, 0))
    passed = lax.full((total,), 0, int32).at[ends].add(np.int32(1), mode="drop")
    index = lax.cumsum(passed)  # how many elements have ended before each place
    return a[(*(slice(None),) * axis, lax.min(index, lax.full_like(index, n - 1)))]
