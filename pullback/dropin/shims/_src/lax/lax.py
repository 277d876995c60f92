"""`jax._src.lax.lax`: the functions of `jax.lax`, and helpers of theirs that tests use."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np

from pullback import config, lax
from pullback.core import dtypes
from pullback.dropin.shims._src.util import tuple_delete
from pullback.numpy.arrays import as_array, broadcast_to_shape, convert_with_weak_type
from pullback.ops import precision as precisions

__all__ = [
    "PaddingType",
    "_array_copy",
    "_const",
    "_convert_element_type",
    "_delta",
    "_dilate_shape",
    "_eye",
    "_isnan",
    "_one",
    "_tri",
    "_try_broadcast_shapes",
    "_zero",
    "asarray",
    "broadcast_to",
    "canonicalize_precision",
    "check_same_dtypes",
    "ranges_like",
    "remaining",
    "tuple_delete",
    "zeros_like_shaped_array",
]

_float: Final = {np.floating}
_complex: Final = {np.complexfloating}
_complex_elem_types: Final = {np.float32, np.float64}
_int: Final = {np.integer}
_signedint: Final = {np.signedinteger}
_bool: Final = {np.bool_}
_bool_or_int: Final = _int | _bool
_num: Final = _int | _float | _complex
_ordered: Final = _int | _float | _bool
_any: Final = _num | _bool


class PaddingType(enum.Enum):
    """Paddings by name."""

    VALID = 1
    SAME = 2
    SAME_LOWER = 3


asarray = as_array


def broadcast_to(arr: Any, shape: Sequence[int], sharding: Any = None) -> Any:
    """`arr` in a shape of the same or a higher rank."""
    return broadcast_to_shape(as_array(arr), tuple(shape))


def canonicalize_precision(precision: Any) -> Any:
    """A precision, a pair of them for the operands, or an algorithm; None for the default one.

    >>> canonicalize_precision("high")
    (Precision.HIGH, Precision.HIGH)
    """
    return precisions.canonicalize_precision(precision, config.default_matmul_precision())


def _convert_element_type(
    operand: Any,
    new_dtype: Any = None,
    weak_type: bool = False,
    sharding: Any = None,
    warn_on_complex_to_real_cast: bool = True,
) -> Any:
    x = as_array(operand)
    dtype = x.dtype if new_dtype is None else dtypes.canonicalize_dtype(new_dtype)
    return convert_with_weak_type(x, dtype, weak_type)


def _const(example: Any, val: Any) -> Any:
    return np.array(val, dtypes.dtype_of(example))


def _zero(x: Any) -> Any:
    return lax.full_like(x, 0, shape=())


def _one(x: Any) -> Any:
    return lax.full_like(x, 1, shape=())


def _array_copy(arr: Any) -> Any:
    return as_array(arr).copy()


def _isnan(x: Any) -> Any:
    return lax.ne(x, x)


def _eye(dtype: Any, shape: Sequence[int], offset: int = 0) -> Any:
    """Ones where the column is the row plus `offset`."""
    rows, columns = (lax.broadcasted_iota(np.int32, tuple(shape), axis) for axis in (0, 1))
    return lax.convert_element_type(lax.eq(rows + offset, columns), dtype)


def _tri(dtype: Any, shape: Sequence[int], offset: int) -> Any:
    """Ones where the column is at most the row plus `offset`."""
    rows, columns = (lax.broadcasted_iota(np.int32, tuple(shape), axis) for axis in (0, 1))
    return lax.convert_element_type(lax.ge(rows + offset, columns), dtype)


def _delta(dtype: Any, shape: Sequence[int], axes: Sequence[int]) -> Any:
    """Ones where the indices along `axes` are equal."""
    lengths = [shape[axis] for axis in axes]
    first, *others = (lax.broadcasted_iota(np.int32, lengths, k) for k in range(len(lengths)))
    equal = lax.full(lengths, True)
    for other in others:
        equal = lax.bitwise_and(equal, lax.eq(first, other))
    return lax.broadcast_in_dim(lax.convert_element_type(equal, dtype), tuple(shape), tuple(axes))


def _try_broadcast_shapes(*shapes: tuple[int, ...], name: str) -> tuple[int, ...]:
    """The common shape of shapes of one rank; TypeError where there is none."""
    if len({len(shape) for shape in shapes}) != 1:
        raise TypeError(f"{name}: arrays must have same number of dimensions, got {shapes}")
    try:
        return lax.broadcast_shapes(*shapes)
    except ValueError:
        raise TypeError(f"{name} got incompatible shapes for broadcasting: {shapes}.") from None


def _dilate_shape(shape: Sequence[int], dilation: Sequence[int] | None) -> tuple[int, ...]:
    """Lengths with holes between elements."""
    if dilation is None:
        return tuple(shape)
    return tuple(max(0, 1 + d * (n - 1)) if n else 0 for n, d in zip(shape, dilation, strict=True))


def check_same_dtypes(name: str, *avals: Any) -> None:
    """Raise TypeError unless types have one dtype.

    >>> from pullback.core.avals import aval_of
    >>> check_same_dtypes("add", aval_of(1.0), aval_of(2.0))
    """
    found = [aval.dtype for aval in avals]
    if len(set(found)) > 1:
        names = ", ".join(d.name for d in found)
        raise TypeError(f"lax.{name} requires arguments to have the same dtypes, got {names}.")


def remaining(original: Iterable[Any], *removed_lists: Iterable[Any]) -> list[Any]:
    """The elements that are in none of the lists.

    >>> remaining(range(5), [1], [3, 4])
    [0, 2]
    """
    removed = {x for xs in removed_lists for x in xs}
    return [x for x in original if x not in removed]


def ranges_like(*xs: Sequence[Any]) -> list[range]:
    """Ranges of the lengths of the lists, one after the other.

    >>> ranges_like("ab", "c")
    [range(0, 2), range(2, 3)]
    """
    ends = np.cumsum([len(x) for x in xs])
    return [range(end - len(x), end) for x, end in zip(xs, ends.tolist(), strict=True)]


def zeros_like_shaped_array(aval: Any) -> Any:
    """Zeros of a type."""
    return lax.full(aval.shape, 0, aval.dtype)


def __getattr__(name: str) -> Any:
    return getattr(lax, name)


def __dir__() -> list[str]:
    return sorted({*dir(lax), *__all__})
