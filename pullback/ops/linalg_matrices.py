"""Stacks of matrices: what the rules of all decompositions are written with.

A matrix is the last two axes of an operand; all axes before them are lanes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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
)
from pullback.ops import comparison, kinds, rearrange
from pullback.ops.arithmetic import mul
from pullback.ops.complexes import conj
from pullback.ops.contractions import dot_general
from pullback.ops.conversion import convert_element_type
from pullback.ops.precision import Precision
from pullback.ops.slicing import slice_

__all__ = [
    "NO_SLOPE",
    "adjoint",
    "as_dtype_of",
    "check_matrix",
    "check_square",
    "columns_scaled",
    "conjugated",
    "decomposition",
    "diagonal",
    "draw_matrix",
    "eye_like",
    "is_complex",
    "leading_batch",
    "matmul",
    "matrix_samples",
    "part",
    "rows_scaled",
    "stripped",
    "tangents_of",
    "transposed",
    "tril",
    "triu",
]

_HIGHEST: Final = (Precision.HIGHEST, Precision.HIGHEST)


# --------------------------------------------------------------------------- checks


def check_matrix(name: str, aval: Any) -> None:
    """Raise an error unless the operand is a stack of matrices LAPACK can take.

    TypeError if it is not, NotImplementedError for floats of fewer bits.
    """
    if aval.ndim < 2:
        raise TypeError(f"{name} takes matrices, in the last two axes, got {aval.str_short()}")
    if aval.dtype not in _REALS and aval.dtype not in _COMPLEX:
        narrow = dtypes.kind_of(aval.dtype) == "f"
        raise (NotImplementedError if narrow else TypeError)(
            f"{name} takes float32, float64, complex64 or complex128, got {aval.str_short()}"
        )


def check_square(name: str, aval: Any) -> None:
    """Raise ValueError unless the operand is a stack of square matrices."""
    check_matrix(name, aval)
    if aval.shape[-1] != aval.shape[-2]:
        raise ValueError(f"{name} takes square matrices, got {aval.str_short()}")


_REALS: Final = (dtypes.float32, dtypes.float64)
_COMPLEX: Final = (dtypes.complex64, dtypes.complex128)


def is_complex(x: Any) -> bool:
    """Whether the elements of a value are complex numbers."""
    return dtypes.kind_of(aval_of(x).dtype) == "c"


def NO_SLOPE(name: str) -> NotApplicable:
    """The jvp slot of a decomposition without one."""
    return NotApplicable(
        "jvp", f"the derivative of {name!r} is not implemented", NotImplementedError
    )


# --------------------------------------------------------------------------- algebra


def as_dtype_of(x: Any, model: Any) -> Any:
    """`x` in the dtype of `model`."""
    dtype = aval_of(model).dtype
    if aval_of(x).dtype == dtype:
        return x
    return convert_element_type(x, new_dtype=dtype, weak_type=False, sharding=None)


def transposed(x: Any) -> Any:
    """The last two axes swapped."""
    rank = aval_of(x).ndim
    return rearrange.transpose(x, permutation=(*range(rank - 2), rank - 1, rank - 2))


def conjugated(x: Any) -> Any:
    """The complex conjugate; a real value itself."""
    return conj(x, input_dtype=aval_of(x).dtype) if is_complex(x) else x


def adjoint(x: Any) -> Any:
    """The conjugate transpose."""
    return conjugated(transposed(x))


def matmul(x: Any, y: Any) -> Any:
    """Products of matrices with the same lanes."""
    rank = aval_of(x).ndim
    lanes = tuple(range(rank - 2))
    numbers = (((rank - 1,), (rank - 2,)), (lanes, lanes))
    return dot_general(
        x,
        y,
        dimension_numbers=numbers,
        precision=_HIGHEST,
        preferred_element_type=None,
        out_sharding=None,
    )


def _coordinates(x: Any) -> tuple[Any, Any]:
    shape = aval_of(x).shape
    rows, columns = (
        rearrange.iota(dtype=dtypes.int32, shape=shape, dimension=len(shape) - k, sharding=None)
        for k in (2, 1)
    )
    return rows, columns


def tril(x: Any, k: int = 0) -> Any:
    """The triangle on and below the k-th diagonal; zeros above."""
    rows, columns = _coordinates(x)
    inside = comparison.ge(registry["add"](rows, k), columns)
    return comparison.select_n(inside, rearrange.full_like(x, 0), x)


def triu(x: Any, k: int = 0) -> Any:
    """The triangle on and above the k-th diagonal; zeros below."""
    rows, columns = _coordinates(x)
    inside = comparison.le(registry["add"](rows, k), columns)
    return comparison.select_n(inside, rearrange.full_like(x, 0), x)


def eye_like(x: Any) -> Any:
    """Ones on the diagonal, zeros elsewhere, in the shape and dtype of `x`."""
    same = comparison.eq(*_coordinates(x))
    return convert_element_type(same, new_dtype=aval_of(x).dtype, weak_type=False, sharding=None)


def diagonal(x: Any) -> Any:
    """The elements of the diagonal."""
    shape = aval_of(x).shape
    kept = comparison.select_n(comparison.eq(*_coordinates(x)), rearrange.full_like(x, 0), x)
    n, m = shape[-2:]
    over = len(shape) - (1 if n <= m else 2)
    return registry["reduce_sum"](kept, axes=(over,), out_sharding=None)


def columns_scaled(x: Any, scale: Any) -> Any:
    """Every column multiplied by a number."""
    shape = aval_of(x).shape
    dims = (*range(len(shape) - 2), len(shape) - 1)
    return mul(x, kinds.broadcast(scale, shape, dims))


def rows_scaled(x: Any, scale: Any) -> Any:
    """Every row multiplied by a number."""
    shape = aval_of(x).shape
    return mul(x, kinds.broadcast(scale, shape, range(len(shape) - 1)))


def part(x: Any, rows: tuple[int, int] | None, columns: tuple[int, int] | None) -> Any:
    """A block of every matrix."""
    shape = aval_of(x).shape
    (r0, r1), (c0, c1) = rows or (0, shape[-2]), columns or (0, shape[-1])
    if (r0, r1, c0, c1) == (0, shape[-2], 0, shape[-1]):
        return x
    zeros = (0,) * (len(shape) - 2)
    return slice_(
        x,
        start_indices=(*zeros, r0, c0),
        limit_indices=(*shape[:-2], r1, c1),
        strides=None,
    )


# --------------------------------------------------------------------------- records


def leading_batch(
    bind: Callable[..., Any], results: int | Callable[..., int]
) -> Callable[..., Any]:
    """The batching rule of operations on lanes: new lanes go in front.

    `results` is the number of results, 0 for a single one that is not in a list.
    """

    def batch(size: int, args: Any, dims: Any, **params: Any) -> tuple[Any, Any]:
        moved = [kinds.batch_front(size, x, d) for x, d in zip(args, dims, strict=True)]
        outs = bind(*moved, **params)
        count = results(**params) if callable(results) else results
        return outs, [0] * count if count else 0

    return batch


HOST_ONLY: Final = NotApplicable("hlo", "a routine of LAPACK, which runs on hosts only")


def decomposition(
    name: str,
    *,
    abstract: Callable[..., Any],
    reference: Callable[..., Any],
    jvp: Any,
    lower: Callable[..., Any],
    samples: Callable[[], Any],
    results: int | Callable[..., int],
    transpose: Any = kinds.NONLINEAR,
    hlo: Any = HOST_ONLY,
) -> Primitive:
    """A primitive on stacks of matrices, with the batching that they share."""
    return Primitive(
        name=name,
        abstract=abstract,
        reference=reference,
        jvp=jvp,
        transpose=transpose,
        batch=leading_batch(kinds.late(name), results),
        partial_eval=FIRST_ORDER,
        lower=lower,
        hlo=hlo,
        samples=samples,
        multiple_results=results != 0,
        effects=PURE,
        literals=False,
    )


def stripped(aval: Any, shape: Sequence[int], dtype: Any = None) -> ShapedArray:
    """A result with the lanes of an operand."""
    return ShapedArray((*aval.shape[:-2], *shape), aval.dtype if dtype is None else dtype)


def tangents_of(outs: Sequence[Any]) -> list[Any]:
    """Zero tangents of results."""
    return [Zero(aval_of(x).to_tangent_aval()) for x in outs]


# --------------------------------------------------------------------------- samples


def draw_matrix(rng: np.random.Generator, shape: Sequence[int], dtype: Any) -> Any:
    """A random matrix, normal elements."""
    values: Any = rng.standard_normal(tuple(shape))
    if dtypes.kind_of(np.dtype(dtype)) == "c":
        values = values + 1j * rng.standard_normal(tuple(shape))
    return np.asarray(values).astype(dtype)


def matrix_samples(
    shapes: Sequence[tuple[int, ...]],
    make: Callable[[Any], Any] = lambda x: x,
    dtype_names: Sequence[str] = ("float32", "float64", "complex64", "complex128"),
    smooth: bool = True,
    tol: float = 50.0,
    **params: Any,
) -> Callable[[], Iterator[Sample]]:
    """Samples of one operand: all shapes in the first dtype, two of them in the others."""

    def samples() -> Iterator[Sample]:
        rng = np.random.default_rng(11)
        for name in dtype_names:
            for shape in shapes if name == dtype_names[0] else shapes[:2]:
                x = np.asarray(make(draw_matrix(rng, shape, name))).astype(name)
                yield Sample((x,), dict(params), smooth=smooth, tol=tol)

    return samples
