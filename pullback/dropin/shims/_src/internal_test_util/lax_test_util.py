"""`jax._src.internal_test_util.lax_test_util`: operations of `jax.lax` with types and samplers.

Tests of values, derivatives and batching run over these records.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import ml_dtypes
import numpy as np

from pullback import config, lax
from pullback.dropin.shims._src import case_samplers as samplers

__all__ = [
    "NamedReducerOpRecord",
    "OpRecord",
    "ReducerOpRecord",
    "add_bdim",
    "all_bdims",
    "args_slicer",
    "compatible_shapes",
    "lax_named_reduce_ops",
    "lax_ops",
    "lax_out_dtype_ops",
    "lax_reduce_ops",
    "op_record",
    "slicer",
]


def _supported(dtypes: Sequence[Any]) -> list[Any]:
    """Those without what 64 bits being enabled would add."""
    return [d for d in dtypes if config.x64() or np.dtype(d).itemsize <= _WIDTHS[np.dtype(d).kind]]


_WIDTHS: Final = {"f": 4, "i": 4, "u": 4, "c": 8, "b": 1, "V": 2}

float_dtypes: Final = _supported([ml_dtypes.bfloat16, np.float16, np.float32, np.float64])
complex_elem_dtypes: Final = _supported([np.float32, np.float64])
complex_dtypes: Final = _supported([np.complex64, np.complex128])
int_dtypes: Final = _supported([np.int8, np.int16, np.int32, np.int64])
uint_dtypes: Final = _supported([np.uint8, np.uint16, np.uint32, np.uint64])
bool_dtypes: Final[list[Any]] = [np.bool_]
inexact_dtypes: Final = float_dtypes + complex_dtypes
default_dtypes: Final = float_dtypes + int_dtypes
number_dtypes: Final = default_dtypes + complex_dtypes + uint_dtypes
all_dtypes: Final = number_dtypes + bool_dtypes
python_scalar_types: Final = [bool, int, float, complex]

compatible_shapes: Final = [[(3,)], [(3, 4), (3, 1), (1, 4)], [(2, 3, 4), (2, 1, 4)]]
"""Lists of shapes that broadcast together."""


class OpRecord(NamedTuple):
    """An operation on elements by its name in `jax.lax`."""

    op: str
    nargs: int
    dtypes: Sequence[Any]
    rng_factory: Callable[..., Any]
    tol: Any


class ReducerOpRecord(NamedTuple):
    """An operation that `lax.reduce` may take, with NumPy's and the value that changes nothing."""

    op: Callable[..., Any]
    reference_op: Callable[..., Any]
    init_val: Any
    dtypes: Sequence[Any]
    primitive: Any


class NamedReducerOpRecord(NamedTuple):
    """A reduction, with NumPy's."""

    op: Callable[..., Any]
    reference_op: Callable[..., Any]
    dtypes: Sequence[Any]


def op_record(
    op: str,
    nargs: int,
    dtypes: Sequence[Any],
    rng_factory: Callable[..., Any],
    tol: Any = None,
) -> OpRecord:
    """A record of an operation; `tol` is by how much results may differ."""
    return OpRecord(op, nargs, dtypes, rng_factory, tol)


_REAL: Final = int_dtypes + float_dtypes
_LOOSE: Final = {np.float32: 1e-4, np.float64: 1e-8, np.complex64: 1e-4, np.complex128: 1e-5}
_FAMILIES: Final[list[tuple[str, int, Sequence[Any], Callable[..., Any], Any]]] = [
    ("floor ceil is_finite erf erfc", 1, float_dtypes, samplers.rand_small, None),
    ("round cbrt bessel_i0e bessel_i1e", 1, float_dtypes, samplers.rand_default, None),
    ("erf_inv", 1, float_dtypes, samplers.rand_small, _LOOSE),
    ("lgamma digamma", 1, float_dtypes, samplers.rand_positive, _LOOSE),
    ("exp exp2 expm1 tanh", 1, inexact_dtypes, samplers.rand_small, _LOOSE),
    ("asin acos atan atanh", 1, inexact_dtypes, samplers.rand_small, _LOOSE),
    ("log log1p reciprocal acosh", 1, inexact_dtypes, samplers.rand_positive, _LOOSE),
    ("logistic sin cos square tan", 1, inexact_dtypes, samplers.rand_default, _LOOSE),
    ("asinh sinh cosh", 1, inexact_dtypes, samplers.rand_default, _LOOSE),
    ("sqrt rsqrt", 1, float_dtypes, samplers.rand_positive, None),
    ("sqrt rsqrt", 1, complex_dtypes, samplers.rand_default, None),
    ("real imag", 1, complex_dtypes, samplers.rand_default, None),
    ("conj", 1, complex_elem_dtypes + complex_dtypes, samplers.rand_default, None),
    ("neg", 1, default_dtypes + complex_dtypes, samplers.rand_small, None),
    ("sign", 1, default_dtypes + uint_dtypes, samplers.rand_small, None),
    ("abs", 1, default_dtypes + complex_dtypes, samplers.rand_default, None),
    ("bitwise_not", 1, bool_dtypes, samplers.rand_small, None),
    ("population_count clz", 1, int_dtypes + uint_dtypes, samplers.rand_int, None),
    ("nextafter", 2, [d for d in float_dtypes if d is not ml_dtypes.bfloat16],
     samplers.rand_default, 0),
    ("atan2", 2, float_dtypes, samplers.rand_default, None),
    ("igamma igammac", 2, _supported([np.float32, np.float64]), samplers.rand_positive, _LOOSE),
    ("complex", 2, complex_elem_dtypes, samplers.rand_default, None),
    ("pow", 2, inexact_dtypes, samplers.rand_positive, None),
    ("bitwise_and bitwise_or bitwise_xor", 2, bool_dtypes, samplers.rand_small, None),
    ("add sub mul", 2, default_dtypes + complex_dtypes, samplers.rand_small, None),
    ("mulhi", 2, int_dtypes + uint_dtypes, samplers.rand_fullrange, None),
    ("div", 2, default_dtypes + complex_dtypes, samplers.rand_nonzero, None),
    ("rem", 2, default_dtypes, samplers.rand_nonzero, None),
    ("max min ne", 2, all_dtypes, samplers.rand_small, None),
    ("eq", 2, all_dtypes, samplers.rand_some_equal, None),
    ("ge gt le lt", 2, default_dtypes, samplers.rand_small, None),
    ("betainc", 3, float_dtypes, samplers.rand_uniform, _LOOSE),
]  # fmt: skip


def lax_ops() -> list[OpRecord]:
    """Operations on elements."""
    return [OpRecord(name, *rest) for names, *rest in _FAMILIES for name in names.split()]


def lax_out_dtype_ops() -> list[OpRecord]:
    """Operations that may be asked for the dtype of the result."""
    return [OpRecord("mul", 2, default_dtypes + complex_dtypes, samplers.rand_small, None)]


def lax_reduce_ops() -> list[ReducerOpRecord]:
    """Operations for `lax.reduce`."""
    extremes = [(lax.max, np.maximum, -np.inf, lax.reduce_max_p),
                (lax.min, np.minimum, np.inf, lax.reduce_min_p)]  # fmt: skip
    bits = [(lax.bitwise_or, np.bitwise_or, 0, lax.reduce_or_p),
            (lax.bitwise_xor, np.bitwise_xor, 0, lax.reduce_xor_p),
            (lax.bitwise_and, np.bitwise_and, -1, lax.reduce_and_p)]  # fmt: skip
    return [
        ReducerOpRecord(lax.add, np.add, 0, default_dtypes, lax.reduce_sum_p),
        ReducerOpRecord(lax.mul, np.multiply, 1, default_dtypes, lax.reduce_prod_p),
        *(ReducerOpRecord(f, g, init, float_dtypes, p) for f, g, init, p in extremes),
        ReducerOpRecord(lax.max, np.maximum, 0, uint_dtypes + bool_dtypes, lax.reduce_max_p),
        *(ReducerOpRecord(f, g, init, int_dtypes, p) for f, g, init, p in bits),
        *(ReducerOpRecord(f, g, init & 1, bool_dtypes, p) for f, g, init, p in bits),
    ]


def lax_named_reduce_ops() -> list[NamedReducerOpRecord]:
    """Reductions."""
    return [
        NamedReducerOpRecord(lax.reduce_sum, np.sum, number_dtypes),
        NamedReducerOpRecord(lax.reduce_prod, np.prod, number_dtypes),
        NamedReducerOpRecord(lax.reduce_max, np.max, all_dtypes),
        NamedReducerOpRecord(lax.reduce_min, np.min, all_dtypes),
        NamedReducerOpRecord(lax.reduce_and, np.bitwise_and.reduce, int_dtypes + bool_dtypes),
        NamedReducerOpRecord(lax.reduce_or, np.bitwise_or.reduce, int_dtypes + bool_dtypes),
        NamedReducerOpRecord(lax.reduce_xor, np.bitwise_xor.reduce, int_dtypes + bool_dtypes),
    ]


def all_bdims(*shapes: Sequence[int]) -> Iterator[tuple[int | None, ...]]:
    """Axes to map over, for each operand, or None; not None for all.

    >>> list(all_bdims((3,), ()))
    [(0, 0), (0, None), (1, 0), (1, None), (None, 0)]
    """
    choices = [(*range(len(shape) + 1), None) for shape in shapes]
    return (dims for dims in itertools.product(*choices) if any(d is not None for d in dims))


def add_bdim(bdim_size: int, bdim: int | None, shape: Sequence[int]) -> tuple[int, ...]:
    """A shape with an axis to map over.

    >>> add_bdim(3, 1, (4, 5)), add_bdim(3, None, (4, 5))
    ((4, 3, 5), (4, 5))
    """
    shape = tuple(shape)
    return shape if bdim is None else (*shape[:bdim], bdim_size, *shape[bdim:])


def slicer(x: Any, bdim: int | None) -> Callable[[int], Any]:
    """The function from an index to the part of `x` there; to `x` itself without an axis."""
    if bdim is None:
        return lambda _: x
    return lambda i: lax.index_in_dim(x, i, bdim, keepdims=False)


def args_slicer(args: Sequence[Any], bdims: Sequence[int | None]) -> Callable[[int], list[Any]]:
    """The function from an index to the parts of several operands."""
    slicers = [slicer(x, bdim) for x, bdim in zip(args, bdims, strict=True)]
    return lambda i: [part(i) for part in slicers]
