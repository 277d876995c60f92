"""Primitives that rearrange the elements of one array, and the helpers that rules build on.

The compiler turns each into index arithmetic of its consumer (`Builder.view`); eagerly they are
NumPy views.  All work unchanged on every dtype, keys included.  Import them from `ops.structural`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import numpy as np

from pullback.core import dtypes
from pullback.core.avals import ShapedArray, aval_of
from pullback.core.primitive import (
    FIRST_ORDER,
    PURE,
    NotApplicable,
    Primitive,
    Sample,
    Zero,
    registry,
    zeros_hook,
)
from pullback.ops import hlo_structure
from pullback.ops.kinds import late

__all__ = [
    "NO_HLO",
    "broadcast",
    "broadcast_in_dim",
    "dtype_samples",
    "full",
    "full_like",
    "iota",
    "move_to_front",
    "moveaxis",
    "rearrangement",
    "reshape",
    "rev",
    "sample_values",
    "squeeze",
    "transpose",
    "zeros",
]

NO_HLO: Final = NotApplicable("hlo", "the operation has attributes that only an emitter can write")

_reduce_sum: Final = late("reduce_sum")
_random_wrap: Final = late("random_wrap")
_convert_element_type: Final = late("convert_element_type")


# --------------------------------------------------------------------------- helpers for rules


def moveaxis(x: Any, source: int, destination: int) -> Any:
    """`x` with one axis moved, the others in order."""
    if source == destination:
        return x
    order = [k for k in range(len(aval_of(x).shape)) if k != source]
    order.insert(destination, source)
    return transpose(x, permutation=tuple(order))


def broadcast(x: Any, size: int, axis: int) -> Any:
    """`x` repeated `size` times along a new axis."""
    shape = aval_of(x).shape
    dims = tuple(k + (k >= axis) for k in range(len(shape)))
    new_shape = (*shape[:axis], size, *shape[axis:])
    return broadcast_in_dim(x, shape=new_shape, broadcast_dimensions=dims, sharding=None)


def move_to_front(x: Any, dim: int | None, size: int) -> Any:
    """`x` with its batch axis first, made if it has none."""
    return broadcast(x, size, 0) if dim is None else moveaxis(x, dim, 0)


def full(shape: Sequence[int], value: Any, dtype: Any) -> Any:
    """One number everywhere."""
    value = np.asarray(value, dtypes.physical(dtype))
    return broadcast_in_dim(value, shape=tuple(shape), broadcast_dimensions=(), sharding=None)


def full_like(x: Any, value: Any) -> Any:
    """One number everywhere, in the shape and dtype of `x`."""
    aval = aval_of(x)
    return full(aval.shape, value, aval.dtype)


def zeros(aval: Any) -> Any:
    """Zeros of an aval, of keys as well; those of `float0`, which carry nothing, are NumPy's."""
    if aval.dtype == dtypes.float0:
        return np.zeros(aval.shape, dtypes.float0)
    if isinstance(aval.dtype, dtypes.KeyDtype):
        words = full((*aval.shape, aval.dtype.words), 0, np.dtype(np.uint32))
        return _random_wrap(words, impl=aval.dtype.tag)
    made = full(aval.shape, 0, aval.dtype)
    if not aval.weak_type:
        return made
    return _convert_element_type(made, new_dtype=aval.dtype, weak_type=True, sharding=None)


zeros_hook.append(zeros)


# --------------------------------------------------------------------------- the family


def rearrangement(
    name: str,
    *,
    abstract: Callable[..., ShapedArray],
    reference: Callable[..., Any],
    transpose: Callable[..., Any],
    batch: Callable[..., Any],
    lower: Callable[..., Any],
    hlo: Callable[..., Any],
    samples: Callable[[], Iterable[Sample]],
) -> Primitive:
    """A primitive that is linear in its only operand: its tangent moves as its value does.

    `transpose(ct, aval, **params)` gives the cotangent of the operand, `batch(x, d, **params)`
    takes the operand with its batch axis `d`.
    """

    def jvp(primals: Any, tangents: Any, **params: Any) -> Any:
        primitive = registry[name]
        out, t = primitive(primals[0], **params), tangents[0]
        if type(t) is Zero:
            return out, Zero(aval_of(out).to_tangent_aval())
        return out, primitive(t, **params)

    return Primitive(
        name=name,
        abstract=abstract,
        reference=reference,
        jvp=jvp,
        transpose=lambda ct, x, **params: [transpose(ct, x.aval, **params)],
        batch=lambda size, args, dims, **params: batch(args[0], dims[0], **params),
        partial_eval=FIRST_ORDER,
        lower=lower,
        hlo=hlo,
        samples=samples,
        multiple_results=False,
        effects=PURE,
        literals=False,
    )


def _shifted(dims: Iterable[int], d: int) -> tuple[int, ...]:
    """Axes of the unbatched operand as axes of the one batched along `d`."""
    return tuple(k + (k >= d) for k in dims)


def _check_axes(name: str, what: str, dims: Sequence[int], x: ShapedArray) -> None:
    if len(set(dims)) != len(dims) or not all(0 <= d < x.ndim for d in dims):
        raise TypeError(f"{name}: {what} {tuple(dims)} must be distinct axes of {x}")


def sample_values(*shape: int, dtype: Any = np.float32) -> Any:
    """Small numbers in no order, some negative, for samples."""
    return (np.arange(math.prod(shape)).reshape(shape) * 3 % 7 - 2).astype(dtype)


def dtype_samples(shape: tuple[int, ...], **params: Any) -> list[Sample]:
    """A sample for each kind of element."""
    names = ("float32", "int32", "bool", "uint8", "complex64", dtypes.bfloat16)
    return [Sample((sample_values(*shape, dtype=d),), params) for d in names]


# --------------------------------------------------------------------------- broadcast_in_dim


def _broadcast_abstract(
    x: Any, *, shape: Any, broadcast_dimensions: Any, sharding: Any = None
) -> ShapedArray:
    dims = broadcast_dimensions
    if any(n < 0 for n in shape):
        raise TypeError(
            f"broadcast_in_dim shape must have every element be nonnegative, got {tuple(shape)}."
        )
    fits = len(dims) == len(x.shape) and all(
        0 <= d < len(shape) and n in (1, shape[d]) for n, d in zip(x.shape, dims, strict=True)
    )
    if not fits or any(a >= b for a, b in itertools.pairwise(dims)):
        raise TypeError(
            "broadcast_in_dim operand dimension sizes must either be 1, or be equal to their "
            f"corresponding dimensions in the target broadcast shape: {x} does not broadcast to "
            f"shape {tuple(shape)} with its axes at {tuple(dims)}, which must increase"
        )
    return ShapedArray(tuple(shape), x.dtype, x.weak_type)


def _broadcast_reference(
    x: Any, *, shape: Any, broadcast_dimensions: Any, sharding: Any = None
) -> Any:
    out = np.empty(shape, x.dtype)
    if x.ndim == 0:
        out.fill(x[()])
        return out
    aligned = [1] * len(shape)
    for n, d in zip(x.shape, broadcast_dimensions, strict=True):
        aligned[d] = n
    out[...] = x.reshape(aligned)
    return out


def _broadcast_transpose(
    ct: Any, aval: Any, *, shape: Any, broadcast_dimensions: Any, sharding: Any = None
) -> Any:
    stretched = {d for n, d in zip(aval.shape, broadcast_dimensions, strict=True) if n != shape[d]}
    axes = tuple(d for d in range(len(shape)) if d not in broadcast_dimensions or d in stretched)
    total = _reduce_sum(ct, axes=axes, out_sharding=None) if axes else ct
    if not stretched:
        return total
    return reshape(total, new_sizes=aval.shape, dimensions=None, sharding=None)


def _broadcast_batch(
    x: Any, d: int, *, shape: Any, broadcast_dimensions: Any, sharding: Any = None
) -> Any:
    x = moveaxis(x, d, 0)
    dims = (0, *(k + 1 for k in broadcast_dimensions))
    new_shape = (aval_of(x).shape[0], *shape)
    return broadcast_in_dim(x, shape=new_shape, broadcast_dimensions=dims, sharding=sharding), 0


def _broadcast_lower(
    b: Any, x: Any, *, shape: Any, broadcast_dimensions: Any, sharding: Any = None
) -> Any:
    if math.prod(shape) == math.prod(x.shape):
        return b.reshape(x, shape)
    return b.view(
        shape,
        lambda i: x.at(
            [0 if n == 1 else i[d] for n, d in zip(x.shape, broadcast_dimensions, strict=True)]
        ),
    )


def _broadcast_samples() -> list[Sample]:
    def sample(x: Any, shape: tuple[int, ...], dims: tuple[int, ...]) -> Sample:
        return Sample((x,), {"shape": shape, "broadcast_dimensions": dims, "sharding": None})

    return [
        sample(sample_values(dtype="int32"), (), ()),
        sample(sample_values(), (2, 3), ()),
        sample(sample_values(3), (2, 3), (1,)),
        sample(sample_values(3, dtype="complex64"), (3, 2), (0,)),
        sample(sample_values(1, 3), (2, 4, 3), (0, 2)),
        sample(sample_values(3, 1, dtype="bool"), (3, 1, 5), (0, 1)),
        sample(sample_values(0), (2, 0), (1,)),
        sample(sample_values(2, 3, dtype="uint8"), (2, 1, 3), (0, 2)),
        sample(sample_values(2, dtype=dtypes.bfloat16), (0, 2), (1,)),
    ]


broadcast_in_dim: Final[Primitive] = rearrangement(
    "broadcast_in_dim",
    abstract=_broadcast_abstract,
    reference=_broadcast_reference,
    transpose=_broadcast_transpose,
    batch=_broadcast_batch,
    lower=_broadcast_lower,
    hlo=hlo_structure.broadcast_in_dim,
    samples=_broadcast_samples,
)


# --------------------------------------------------------------------------- reshape


def _reshape_abstract(
    x: Any, *, new_sizes: Any, dimensions: Any = None, sharding: Any = None
) -> ShapedArray:
    if math.prod(new_sizes) != x.size or any(n < 0 for n in new_sizes):
        raise TypeError(
            f"reshape: {x} has {x.size} elements, the new shape {tuple(new_sizes)} has "
            f"{math.prod(new_sizes)}"
        )
    if dimensions is not None and sorted(dimensions) != list(range(x.ndim)):
        raise TypeError(f"reshape: dimensions {tuple(dimensions)} is no permutation of axes of {x}")
    return ShapedArray(tuple(new_sizes), x.dtype, x.weak_type)


def _reshape_reference(
    x: Any, *, new_sizes: Any, dimensions: Any = None, sharding: Any = None
) -> Any:
    return (x if dimensions is None else x.transpose(dimensions)).reshape(new_sizes)


def _reshape_transpose(
    ct: Any, aval: Any, *, new_sizes: Any, dimensions: Any = None, sharding: Any = None
) -> Any:
    if dimensions is None:
        return reshape(ct, new_sizes=aval.shape, dimensions=None, sharding=None)
    shape = tuple(aval.shape[k] for k in dimensions)
    ct = reshape(ct, new_sizes=shape, dimensions=None, sharding=None)
    return transpose(ct, permutation=_inverse(dimensions))


def _reshape_batch(
    x: Any, d: int, *, new_sizes: Any, dimensions: Any = None, sharding: Any = None
) -> Any:
    x = moveaxis(x, d, 0)
    sizes = (aval_of(x).shape[0], *new_sizes)
    order = None if dimensions is None else (0, *(k + 1 for k in dimensions))
    return reshape(x, new_sizes=sizes, dimensions=order, sharding=sharding), 0


def _reshape_lower(
    b: Any, x: Any, *, new_sizes: Any, dimensions: Any = None, sharding: Any = None
) -> Any:
    if dimensions is not None:
        x = _transpose_lower(b, x, permutation=dimensions)
    return b.reshape(x, new_sizes)


def _reshape_samples() -> list[Sample]:
    def sample(x: Any, sizes: tuple[int, ...], dimensions: Any = None) -> Sample:
        params = {"new_sizes": sizes, "dimensions": dimensions, "sharding": None}
        return Sample((x,), params)

    return [
        sample(sample_values(), ()),
        sample(sample_values(), (1, 1)),
        sample(sample_values(2, 3), (3, 2)),
        sample(sample_values(2, 3), (6,), (1, 0)),
        sample(sample_values(4, 6, dtype="int32"), (2, 2, 3, 2)),
        sample(sample_values(2, 3, 4, dtype="complex64"), (6, 4)),
        sample(sample_values(0, 3, dtype="bool"), (5, 0)),
        sample(sample_values(1, 3, 1, dtype=dtypes.bfloat16), (3,)),
    ]


reshape: Final[Primitive] = rearrangement(
    "reshape",
    abstract=_reshape_abstract,
    reference=_reshape_reference,
    transpose=_reshape_transpose,
    batch=_reshape_batch,
    lower=_reshape_lower,
    hlo=hlo_structure.reshape,
    samples=_reshape_samples,
)


# --------------------------------------------------------------------------- transpose


def _inverse(permutation: Sequence[int]) -> tuple[int, ...]:
    inverse = [0] * len(permutation)
    for k, p in enumerate(permutation):
        inverse[p] = k
    return tuple(inverse)


def _transpose_abstract(x: Any, *, permutation: Any) -> ShapedArray:
    if sorted(permutation) != list(range(x.ndim)):
        raise TypeError(
            "transpose permutation isn't a permutation of operand dimensions, got permutation "
            f"{tuple(permutation)} for operand shape {x.shape}."
        )
    return ShapedArray(tuple(x.shape[p] for p in permutation), x.dtype, x.weak_type)


def _transpose_batch(x: Any, d: int, *, permutation: Any) -> Any:
    return transpose(x, permutation=(d, *_shifted(permutation, d))), 0


def _transpose_lower(b: Any, x: Any, *, permutation: Any) -> Any:
    inverse = _inverse(permutation)
    shape = [x.shape[p] for p in permutation]
    return b.view(shape, lambda i: x.at([i[k] for k in inverse]))


transpose: Final[Primitive] = rearrangement(
    "transpose",
    abstract=_transpose_abstract,
    reference=lambda x, *, permutation: x.transpose(permutation),
    transpose=lambda ct, aval, *, permutation: transpose(ct, permutation=_inverse(permutation)),
    batch=_transpose_batch,
    lower=_transpose_lower,
    hlo=hlo_structure.transpose,
    samples=lambda: [
        Sample((sample_values(),), {"permutation": ()}),
        Sample((sample_values(3, 0),), {"permutation": (1, 0)}),
        Sample((sample_values(2, 3, 4),), {"permutation": (2, 0, 1)}),
        *dtype_samples((2, 3), permutation=(1, 0)),
    ],
)


# --------------------------------------------------------------------------- squeeze


def _squeeze_abstract(x: Any, *, dimensions: Any) -> ShapedArray:
    _check_axes("squeeze", "dimensions", dimensions, x)
    if any(x.shape[d] != 1 for d in dimensions):
        raise TypeError(f"squeeze: dimensions {tuple(dimensions)} of {x} must have length 1")
    shape = tuple(n for k, n in enumerate(x.shape) if k not in dimensions)
    return ShapedArray(shape, x.dtype, x.weak_type)


def _squeeze_batch(x: Any, d: int, *, dimensions: Any) -> Any:
    dims = _shifted(dimensions, d)
    return squeeze(x, dimensions=dims), d - sum(k < d for k in dims)


def _squeeze_lower(b: Any, x: Any, *, dimensions: Any) -> Any:
    return b.reshape(x, [n for k, n in enumerate(x.shape) if k not in dimensions])


squeeze: Final[Primitive] = rearrangement(
    "squeeze",
    abstract=_squeeze_abstract,
    reference=lambda x, *, dimensions: x.squeeze(dimensions),
    transpose=lambda ct, aval, *, dimensions: reshape(
        ct, new_sizes=aval.shape, dimensions=None, sharding=None
    ),
    batch=_squeeze_batch,
    lower=_squeeze_lower,
    hlo=hlo_structure.squeeze,
    samples=lambda: [
        Sample((sample_values(),), {"dimensions": ()}),
        Sample((sample_values(1),), {"dimensions": (0,)}),
        Sample((sample_values(1, 0, 1),), {"dimensions": (2,)}),
        *dtype_samples((1, 3, 1), dimensions=(0, 2)),
    ],
)


# --------------------------------------------------------------------------- rev


def _rev_abstract(x: Any, *, dimensions: Any) -> ShapedArray:
    _check_axes("rev", "dimensions", dimensions, x)
    return x  # type: ignore[no-any-return]


def _rev_reference(x: Any, *, dimensions: Any) -> Any:
    return x[tuple(slice(None, None, -1 if k in dimensions else 1) for k in range(x.ndim))]


def _rev_lower(b: Any, x: Any, *, dimensions: Any) -> Any:
    return b.view(
        x.shape,
        lambda i: x.at([n - 1 - i[k] if k in dimensions else i[k] for k, n in enumerate(x.shape)]),
    )


rev: Final[Primitive] = rearrangement(
    "rev",
    abstract=_rev_abstract,
    reference=_rev_reference,
    transpose=lambda ct, aval, *, dimensions: rev(ct, dimensions=dimensions),
    batch=lambda x, d, *, dimensions: (rev(x, dimensions=_shifted(dimensions, d)), d),
    lower=_rev_lower,
    hlo=hlo_structure.rev,
    samples=lambda: [
        Sample((sample_values(),), {"dimensions": ()}),
        Sample((sample_values(0, 2),), {"dimensions": (0,)}),
        *dtype_samples((3, 4), dimensions=(1,)),
        *dtype_samples((3, 2), dimensions=(0, 1)),
    ],
)


# --------------------------------------------------------------------------- iota


def _iota_abstract(*, dtype: Any, shape: Any, dimension: int, sharding: Any = None) -> ShapedArray:
    if not 0 <= dimension < len(shape) or dtypes.kind_of(dtype) not in "iufc":
        raise TypeError(
            f"iota: needs a numeric dtype and an axis of the shape; got {dtype}, axis {dimension} "
            f"of {tuple(shape)}"
        )
    return ShapedArray(tuple(shape), dtype)


def _iota_reference(*, dtype: Any, shape: Any, dimension: int, sharding: Any = None) -> Any:
    aligned = [1] * len(shape)
    aligned[dimension] = -1
    out = np.empty(shape, dtype)
    out[...] = np.arange(shape[dimension]).astype(dtype).reshape(aligned)
    return out


def _iota_jvp(primals: Any, tangents: Any, **params: Any) -> Any:
    out = iota(**params)
    return out, Zero(aval_of(out).to_tangent_aval())


iota: Final[Primitive] = Primitive(
    name="iota",
    abstract=_iota_abstract,
    reference=_iota_reference,
    jvp=_iota_jvp,
    transpose=lambda ct, **params: [],
    batch=lambda size, args, dims, **params: (iota(**params), None),
    partial_eval=FIRST_ORDER,
    lower=lambda b, *, dtype, shape, dimension, sharding=None: b.iota(shape, dtype, dimension),
    hlo=lambda b, *, dtype, shape, dimension, sharding=None: b.iota(shape, dtype, dimension),
    samples=lambda: [
        Sample((), {"dtype": np.dtype(d), "shape": s, "dimension": k, "sharding": None})
        for d, s, k in [
            ("int32", (5,), 0),
            ("float32", (2, 3), 1),
            ("uint8", (0,), 0),
            ("complex64", (3, 2), 0),
            (dtypes.bfloat16, (4,), 0),
        ]
    ],
    multiple_results=False,
    effects=PURE,
    literals=False,
)
