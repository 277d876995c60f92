"""`jax._src.numpy.util`: how functions of `jax.numpy` check, convert and broadcast operands."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from pullback.core import dtypes
from pullback.numpy import promotion
from pullback.numpy.arrays import as_array
from pullback.numpy.promotion import check_arraylike, ensure_arraylike
from pullback.numpy.shaping import broadcast_arrays as _broadcast_arrays
from pullback.numpy.shaping import broadcast_to as _broadcast_to

__all__ = [
    "_broadcast_arrays",
    "_broadcast_to",
    "check_arraylike",
    "check_arraylike_or_none",
    "check_for_prngkeys",
    "check_no_float0s",
    "ensure_arraylike",
    "ensure_arraylike_tuple",
    "promote_args",
    "promote_args_complex",
    "promote_args_inexact",
    "promote_args_numeric",
    "promote_dtypes",
    "promote_dtypes_complex",
    "promote_dtypes_inexact",
    "promote_dtypes_numeric",
    "promote_shapes",
]


def _with_arrays(f: Callable[..., list[Any]]) -> Callable[..., list[Any]]:
    """A function whose results are arrays, also those that are scalars to operations of ours."""

    @functools.wraps(f)
    def promoted(*args: Any) -> list[Any]:
        return [as_array(x) for x in f(*args)]

    return promoted


promote_shapes = _with_arrays(promotion.promote_shapes)
promote_args = _with_arrays(promotion.promote_args)
promote_args_inexact = _with_arrays(promotion.promote_args_inexact)
promote_args_numeric = _with_arrays(promotion.promote_args_numeric)
promote_dtypes = _with_arrays(promotion.promote_dtypes)
promote_dtypes_inexact = _with_arrays(promotion.promote_dtypes_inexact)
promote_dtypes_numeric = _with_arrays(promotion.promote_dtypes_numeric)
promote_dtypes_complex = _with_arrays(promotion.promote_dtypes_complex)


def promote_args_complex(name: str, *args: Any) -> list[Any]:
    """The operands in their common complex dtype and shape."""
    check_arraylike(name, *args)
    return promote_shapes(name, *promote_dtypes_complex(*args))


def check_arraylike_or_none(name: str, *args: Any) -> None:
    """`check_arraylike` of the operands that are not None."""
    for position, x in enumerate(args):
        if x is not None:
            try:
                check_arraylike(name, x)
            except TypeError:
                raise TypeError(
                    f"{name} requires ndarray, scalar, or None arguments, got {type(x)} at "
                    f"position {position}."
                ) from None


def ensure_arraylike_tuple(name: str, tup: Sequence[Any]) -> tuple[Any, ...]:
    """The elements of a sequence as arrays."""
    check_arraylike(name, *tup)
    return tuple(ensure_arraylike(name, x) for x in tup)


def check_for_prngkeys(name: str, *args: Any) -> None:
    """Raise TypeError for random keys among operands of a function of numbers.

    >>> check_for_prngkeys("sum", 1.0)
    """
    found = [dtypes.dtype_of(x) for x in args]
    keys = [d for d in found if dtypes.is_extended(d)]
    if keys and len(found) == 1:
        raise TypeError(f"{name} does not accept dtype {keys[0].name}.")
    if keys:
        raise TypeError(f"{name} does not accept dtypes {', '.join(d.name for d in found)}.")


def check_no_float0s(name: str, *args: Any) -> None:
    """Raise TypeError for operands of dtype float0, the tangents of integers.

    >>> check_no_float0s("sum", 1.0)
    """
    if any(dtypes.dtype_of(x) == dtypes.float0 for x in args):
        raise TypeError(
            f"Called {name} with a float0 array. float0s do not support any operations by design "
            "because they are not compatible with non-trivial vector spaces."
        )
