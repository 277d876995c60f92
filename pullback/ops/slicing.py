"""Slices of arrays: at static positions, at positions known at run time, and updates in place.

A dynamic slice takes one scalar index an axis, clamped so that the slice fits; negative indices are
not wrapped here (the façades do that).  Compiled, a slice is index arithmetic of its consumer and
an update writes into the operand's own buffer when nobody else needs it.
"""

from __future__ import annotations

import math
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
from pullback.core.trace import Tracer
from pullback.ops import hlo_structure
from pullback.ops.barrier import optimization_barrier
from pullback.ops.gather import gather_slices
from pullback.ops.kinds import late
from pullback.ops.rearrange import (
    broadcast,
    dtype_samples,
    move_to_front,
    moveaxis,
    rearrangement,
    sample_values,
    zeros,
)
from pullback.ops.scatter import scatter_slices
from pullback.ops.windows import loop_nest

__all__ = ["dynamic_slice", "dynamic_update_slice", "slice_"]

_pad: Final = late("pad")
LARGE: Final = 1 << 12
"""Elements of an array that is written anew rather than in place, if most of it changes."""

# --------------------------------------------------------------------------- slice


def _length(start: Any, limit: Any, stride: int) -> Any:
    return larger(0, -((start - limit) // stride))


def _slice_abstract(x: Any, *, start_indices: Any, limit_indices: Any, strides: Any) -> ShapedArray:
    steps = strides or (1,) * x.ndim
    if wrong := _wrong_slice(x, tuple(start_indices), tuple(limit_indices), tuple(steps)):
        raise TypeError(f"slice {wrong}")
    shape = map(_length, start_indices, limit_indices, steps)
    return ShapedArray(tuple(shape), x.dtype, x.weak_type)


def _wrong_slice(x: Any, starts: Any, limits: Any, steps: Any) -> str | None:
    """What does not fit, if something does not."""
    lengths = (("start_indices", starts), ("limit_indices", limits), ("strides", steps))
    for name, values in lengths:
        if len(values) != x.ndim:
            return (
                f"{name} must have length equal to the number of dimensions of the operand, got "
                f"{name} {values} for operand shape {x.shape}."
            )
    if any(b > n for b, n in zip(limits, x.shape, strict=True)):
        return (
            "limit_indices must be less than or equal to operand shape, got limit_indices "
            f"{limits} for operand shape {x.shape}."
        )
    if any(a < 0 for a in starts):
        return f"start_indices must have every element be nonnegative, got {starts}."
    if any(b < a for a, b in zip(starts, limits, strict=True)):
        return (
            "limit_indices must be greater than or equal to start_indices, got start_indices "
            f"{starts} and limit_indices {limits}."
        )
    if any(s <= 0 for s in steps):
        return f"strides must be positive, got {steps}"
    return None


def _slice_reference(x: Any, *, start_indices: Any, limit_indices: Any, strides: Any) -> Any:
    if strides is None:
        return x[tuple(map(slice, start_indices, limit_indices))]
    return x[tuple(map(slice, start_indices, limit_indices, strides))]


def _slice_transpose(
    ct: Any, aval: Any, *, start_indices: Any, limit_indices: Any, strides: Any
) -> Any:
    config = []
    steps = strides or (1,) * aval.ndim
    for n, start, limit, step in zip(aval.shape, start_indices, limit_indices, steps, strict=True):
        m = _length(start, limit, step)
        used = start + (m - 1) * step + 1 if m else start
        config.append((start, n - used, step - 1))
    return _pad(ct, np.zeros((), dtypes.physical(aval.dtype)), padding_config=tuple(config))


def _slice_batch(x: Any, d: int, *, start_indices: Any, limit_indices: Any, strides: Any) -> Any:
    def put(values: Any, value: int) -> tuple[int, ...]:
        return (*values[:d], value, *values[d:])

    size = aval_of(x).shape[d]
    out = slice_(
        x,
        start_indices=put(start_indices, 0),
        limit_indices=put(limit_indices, size),
        strides=None if strides is None else put(strides, 1),
    )
    return out, d


def _slice_lower(b: Any, x: Any, *, start_indices: Any, limit_indices: Any, strides: Any) -> Any:
    steps = strides or (1,) * len(x.shape)
    shape = list(map(_length, start_indices, limit_indices, steps))
    return b.view(
        shape,
        lambda i: x.at([k * s + a for k, s, a in zip(i, steps, start_indices, strict=True)]),
    )


def _slice_samples() -> list[Sample]:
    def sample(shape: Any, start: Any, limit: Any, strides: Any = None) -> Sample:
        params = {"start_indices": start, "limit_indices": limit, "strides": strides}
        return Sample((sample_values(*shape),), params)

    params = {"start_indices": (1, 0), "limit_indices": (3, 4), "strides": (1, 2)}
    return [
        sample((), (), ()),
        sample((7,), (1,), (6,)),
        sample((7,), (1,), (7,), (3,)),
        sample((7,), (3,), (3,), (2,)),
        sample((2, 5), (0, 0), (2, 4), (1, 2)),
        *dtype_samples((3, 4), **params),
    ]


slice_: Final[Primitive] = rearrangement(
    "slice",
    abstract=_slice_abstract,
    reference=_slice_reference,
    transpose=_slice_transpose,
    batch=_slice_batch,
    lower=_slice_lower,
    hlo=hlo_structure.slice_,
    samples=_slice_samples,
)


# --------------------------------------------------------------------------- dynamic slices


def _check_indices(name: str, x: Any, indices: Sequence[Any]) -> None:
    if len(indices) != x.ndim or not all(
        i.shape == () and dtypes.kind_of(i.dtype) in "iu" for i in indices
    ):
        types = ", ".join(map(str, indices))
        raise TypeError(f"{name}: {x} needs one scalar integer index an axis, got ({types})")


def _clamped(indices: Sequence[Any], shape: Sequence[int], sizes: Sequence[int]) -> tuple[Any, ...]:
    """The slices of a NumPy array that a dynamic slice reads or writes."""
    out = []
    for i, n, m in zip(indices, shape, sizes, strict=True):
        start = min(max(int(i), 0), n - m)
        out.append(slice(start, start + m))
    return tuple(out)


def _with_index(indices: Sequence[Any], d: int) -> list[Any]:
    """The scalar indices with a zero for the batch axis `d`, of the dtype of the others."""
    dtype = aval_of(indices[0]).dtype if indices else dtypes.int32
    return [*indices[:d], np.zeros((), dtype), *indices[d:]]


def _index_vectors(size: int, indices: Sequence[Any], dims: Sequence[int | None]) -> Any:
    """Batched scalar indices as the rows of one array [size, len(indices)]."""
    columns = [
        broadcast(i, size, 0) if d is None else i for i, d in zip(indices, dims, strict=True)
    ]
    return late("stack")(*columns, axis=1)


def _starts(
    b: Any, indices: Sequence[Any], shape: Sequence[int], sizes: Sequence[int]
) -> list[Any]:
    """The clamped positions as index expressions."""
    return [
        b.s.index(i.at(()), 0, n - m) if n > m else 0
        for i, n, m in zip(indices, shape, sizes, strict=True)
    ]


# --------------------------------------------------------------------------- dynamic_slice


def _dynamic_slice_abstract(x: Any, *indices: Any, slice_sizes: Any) -> ShapedArray:
    _check_indices("dynamic_slice", x, indices)
    sizes = tuple(slice_sizes)
    if len(sizes) != x.ndim:
        raise TypeError(
            "slice slice_sizes must have length equal to the number of dimensions of the operand, "
            f"got slice_sizes {sizes} for operand shape {x.shape}."
        )
    if any(m > n for m, n in zip(sizes, x.shape, strict=True)):
        raise TypeError(
            "slice slice_sizes must be less than or equal to operand shape, got slice_sizes "
            f"{sizes} for operand shape {x.shape}."
        )
    if any(m < 0 for m in sizes):
        raise TypeError(
            f"slice slice_sizes must be greater than or equal to zero, got slice_sizes of {sizes}."
        )
    return ShapedArray(tuple(slice_sizes), x.dtype, x.weak_type)


def _dynamic_slice_jvp(primals: Any, tangents: Any, *, slice_sizes: Any) -> Any:
    out, t = dynamic_slice(*primals, slice_sizes=slice_sizes), tangents[0]
    if type(t) is Zero:
        return out, Zero(aval_of(out).to_tangent_aval())
    return out, dynamic_slice(t, *primals[1:], slice_sizes=slice_sizes)


def _dynamic_slice_transpose(ct: Any, x: Any, *indices: Any, slice_sizes: Any) -> Any:
    return [dynamic_update_slice(zeros(x.aval), ct, *indices), *[None] * len(indices)]


def _dynamic_slice_batch(size: int, args: Any, dims: Any, *, slice_sizes: Any) -> Any:
    (x, *indices), (d, *index_dims) = args, dims
    if all(k is None for k in index_dims):
        sizes = (*slice_sizes[:d], size, *slice_sizes[d:])
        return dynamic_slice(x, *_with_index(indices, d), slice_sizes=sizes), d
    vectors = _index_vectors(size, indices, index_dims)
    return gather_slices(size, x, d, vectors, slice_sizes)


def _dynamic_slice_lower(b: Any, x: Any, *indices: Any, slice_sizes: Any) -> Any:
    starts = _starts(b, indices, x.shape, slice_sizes)
    return b.view(
        slice_sizes, lambda i: x.at([k + start for k, start in zip(i, starts, strict=True)])
    )


def _indices(*values: int, dtype: Any = np.int32) -> tuple[Any, ...]:
    return tuple(np.asarray(v, dtype) for v in values)


def _dynamic_slice_samples() -> list[Sample]:
    return [
        Sample((sample_values(),), {"slice_sizes": ()}),
        Sample((sample_values(5), *_indices(3)), {"slice_sizes": (2,)}),
        Sample((sample_values(5), *_indices(4)), {"slice_sizes": (3,)}),
        Sample((sample_values(5), *_indices(-2)), {"slice_sizes": (3,)}),
        Sample((sample_values(5), *_indices(2)), {"slice_sizes": (0,)}),
        Sample((sample_values(3, 4), *_indices(1, 9, dtype="uint8")), {"slice_sizes": (2, 3)}),
        Sample((sample_values(3, 4, dtype="int32"), *_indices(1, 1)), {"slice_sizes": (1, 4)}),
        Sample((sample_values(3, 4, dtype="bool"), *_indices(1, 1)), {"slice_sizes": (2, 2)}),
        Sample((sample_values(3, dtype="complex64"), *_indices(1)), {"slice_sizes": (2,)}),
        Sample((sample_values(3, dtype=dtypes.bfloat16), *_indices(7)), {"slice_sizes": (1,)}),
    ]


dynamic_slice: Final[Primitive] = Primitive(
    name="dynamic_slice",
    abstract=_dynamic_slice_abstract,
    reference=lambda x, *indices, slice_sizes: x[_clamped(indices, x.shape, slice_sizes)],
    jvp=_dynamic_slice_jvp,
    transpose=_dynamic_slice_transpose,
    batch=_dynamic_slice_batch,
    partial_eval=FIRST_ORDER,
    lower=_dynamic_slice_lower,
    hlo=hlo_structure.dynamic_slice,
    samples=_dynamic_slice_samples,
    multiple_results=False,
    effects=PURE,
    literals=False,
)


# --------------------------------------------------------------------------- dynamic_update_slice


def _update_abstract(x: Any, update: Any, *indices: Any) -> ShapedArray:
    _check_indices("dynamic_update_slice", x, indices)
    shapes = f"update shape {update.shape} for operand shape {x.shape}"
    if update.ndim != x.ndim:
        raise TypeError(
            f"dynamic_update_slice update must have the same rank as operand, got {shapes}."
        )
    if any(m > n for m, n in zip(update.shape, x.shape, strict=True)):
        raise TypeError(
            f"dynamic_update_slice update shape must be smaller than operand shape, got {shapes}."
        )
    if update.dtype != x.dtype:
        raise TypeError(
            "lax.dynamic_update_slice requires arguments to have the same dtypes, got "
            f"{x.dtype.name}, {update.dtype.name}."
        )
    return ShapedArray(x.shape, x.dtype, x.weak_type and update.weak_type)


def _update_reference(x: Any, update: Any, *indices: Any) -> Any:
    out = np.array(x, order="C")
    out[_clamped(indices, x.shape, update.shape)] = update
    return out


def _update_jvp(primals: Any, tangents: Any) -> Any:
    out = dynamic_update_slice(*primals)
    t, tu = tangents[:2]
    if type(t) is Zero and type(tu) is Zero:
        return out, Zero(aval_of(out).to_tangent_aval())
    return out, dynamic_update_slice(instantiate(t), instantiate(tu), *primals[2:])


def _update_transpose(ct: Any, x: Any, update: Any, *indices: Any) -> Any:
    aval = update.aval if is_linear(update) else aval_of(update)
    ct_update = None
    if is_linear(update):
        ct_update = dynamic_slice(ct, *indices, slice_sizes=aval.shape)
        if any(isinstance(i, Tracer) for i in indices):
            # Read now: in a loop, what is left of `ct` is then written in place.
            (ct_update,) = optimization_barrier(ct_update)
    ct_x = dynamic_update_slice(ct, zeros(aval), *indices) if is_linear(x) else None
    return [ct_x, ct_update, *[None] * len(indices)]


def _update_batch(size: int, args: Any, dims: Any) -> Any:
    (x, update, *indices), (d, du, *index_dims) = args, dims
    if all(k is None for k in index_dims):
        axis = d if d is not None else du
        x = broadcast(x, size, axis) if d is None else x
        update = broadcast(update, size, axis) if du is None else moveaxis(update, du, axis)
        return dynamic_update_slice(x, update, *_with_index(indices, axis)), axis
    x, update = move_to_front(x, d, size), move_to_front(update, du, size)
    return scatter_slices(x, _index_vectors(size, indices, index_dims), update), 0


def _update_lower(b: Any, x: Any, update: Any, *indices: Any) -> Any:
    starts = _starts(b, indices, x.shape, update.shape)
    known = [e if isinstance(e, int) else e.const for e in starts if _is_known(e)]
    if len(known) == len(starts) and _is_anew(b, x, update):
        return _updated_anew(b, x, update, known)
    if len(known) == len(starts) and not b.is_cheap(update) and b.is_apart(update, x):
        out = b.buffer(x.shape, x.dtype, x)
        b.store_part(out, update, known)
        return out
    update = b.settled(update, x)  # it may read `x`, which is about to change
    starts = [e if isinstance(e, int) else b.let(e) for e in starts]
    out = b.buffer(x.shape, x.dtype, x)

    def write(i: list[Any]) -> None:
        b.store(out, [k + start for k, start in zip(i, starts, strict=True)], update.at(i))

    loop_nest(b, update.shape, write, [True] * len(update.shape))
    return out


def _is_known(start: Any) -> bool:
    return isinstance(start, int) or bool(start.is_const)


def _is_anew(b: Any, x: Any, update: Any) -> bool:
    """Whether most of a large array changes to what has to be computed.

    Written in place, the update would be stored and copied: `u.at[1:-1].set(u[2:] + u[:-2])`.
    """
    size = math.prod(x.shape)
    return size >= LARGE and 2 * math.prod(update.shape) >= size and not b.is_settled(update, x)


def _updated_anew(b: Any, x: Any, update: Any, starts: Sequence[int]) -> Any:
    """Every element from the update or the operand; nests are cut where that changes."""

    def element(i: Any) -> Any:
        inside, idx = None, []
        for at, start, n, m in zip(i, starts, x.shape, update.shape, strict=True):
            tests = [at >= start] if start > 0 else []
            tests += [at < start + m] if start + m < n else []
            for test in tests:
                inside = test if inside is None else b.s.and_(inside, test)
            idx.append(b.s.index(at - start, 0, m - 1) if tests else at)
        new = update.at(idx)
        return new if inside is None else b.s.select(inside, new, x.at(i))

    return b.view(x.shape, element)


def _update_samples() -> list[Sample]:
    def sample(shape: Any, update: Any, *index: int, dtype: Any = np.float32) -> Sample:
        args = (sample_values(*shape, dtype=dtype), sample_values(*update, dtype=dtype))
        return Sample((*args, *_indices(*index)))

    return [
        sample((), ()),
        sample((5,), (2,), 3),
        sample((5,), (3,), 4),
        sample((5,), (3,), -1),
        sample((5,), (0,), 1),
        sample((3, 4), (2, 3), 1, 0),
        sample((3, 4), (1, 4), 2, 2, dtype="int32"),
        sample((3, 4), (2, 2), 0, 2, dtype="bool"),
        sample((3,), (2,), 1, dtype="complex64"),
        sample((3,), (2,), 0, dtype=dtypes.bfloat16),
    ]


dynamic_update_slice: Final[Primitive] = Primitive(
    name="dynamic_update_slice",
    abstract=_update_abstract,
    reference=_update_reference,
    jvp=_update_jvp,
    transpose=_update_transpose,
    batch=_update_batch,
    partial_eval=FIRST_ORDER,
    lower=_update_lower,
    hlo=hlo_structure.dynamic_update_slice,
    samples=_update_samples,
    multiple_results=False,
    effects=PURE,
    literals=False,
)
