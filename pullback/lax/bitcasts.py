"""`bitcast_convert_type`, also of types narrower than a byte, by shifts of bytes.

The primitive knows whole bytes. A narrow element takes one byte of memory here, but its bits follow
those of its neighbours where they are seen as another type, the first one lowest.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from pullback.core import dtypes
from pullback.core.array import Array
from pullback.core.avals import aval_of
from pullback.core.source import at_user_line
from pullback.errors import UnsupportedError
from pullback.lax.arithmetic import (
    bitwise_and,
    convert_element_type,
    shift_left,
    shift_right_logical,
)
from pullback.lax.structural import expand_dims, reshape
from pullback.ops import conversion, reductions

__all__ = ["bitcast_convert_type"]

_BYTE: Final = np.dtype(np.uint8)


def bitcast_convert_type(operand: Any, new_dtype: Any) -> Array:
    """The same bits as another dtype; a narrower or wider one adds or takes a last axis.

    >>> int(bitcast_convert_type(1.0, "int32"))
    1065353216
    >>> bitcast_convert_type(np.uint8(0x2F), "uint4").tolist()
    [15, 2]

    Raises ValueError where the last axis is not as long as one wide element has narrow ones, and
    TypeError for bools and complex numbers as something else.
    """
    dtype = dtypes.check_user_dtype(new_dtype, "lax.bitcast_convert_type")
    aval = aval_of(operand)
    old, new = dtypes.itemsize_bits(aval.dtype), dtypes.itemsize_bits(dtype)
    _check(aval, dtype, old, new)
    if aval.dtype == dtype or min(old, new) >= _BITS_OF_BYTE:
        result: Array = conversion.bitcast_convert_type.bind(operand, new_dtype=dtype)
        return result
    for given in (aval.dtype, dtype):
        if dtypes.itemsize_bits(given) < _BITS_OF_BYTE and dtypes.kind_of(given) not in "iu":
            raise UnsupportedError(f"bitcast_convert_type of {given.name}, narrower than a byte")
    convert = _joined if old <= new else _parted
    narrow: Array = convert(operand, old, new, dtype)
    return narrow


_BITS_OF_BYTE: Final = 8


def _check(aval: Any, dtype: Any, old: int, new: int) -> None:
    if old < new and (not aval.shape or aval.shape[-1] * old != new):
        have = f"{aval.shape[-1]} * {old}" if aval.shape else str(old)
        raise ValueError(
            at_user_line(
                f"Attempting to convert array of shape {aval.shape} from {aval.dtype.name} of size "
                f"{old} bits to {dtype.name} of size {new}, bits but {have} != {new}"
            )
        )
    kinds = dtypes.kind_of(aval.dtype) + dtypes.kind_of(dtype)
    if aval.dtype != dtype and ("b" in kinds or "c" in kinds):
        raise TypeError(
            at_user_line(
                "lax.bitcast_convert_type does not support bool or complex values unless the "
                f"operand and destination types match. Got operand dtype={aval.dtype.name}, "
                f"new_dtype={dtype!r}. Consider using the arr.view() method instead."
            )
        )


def _as_bits(x: Any, width: int) -> Any:
    """Elements of a byte or less as bytes, whose upper bits are zero."""
    if width == _BITS_OF_BYTE:
        return conversion.bitcast_convert_type.bind(x, new_dtype=_BYTE)
    wide = np.dtype(np.int8 if dtypes.kind_of(aval_of(x).dtype) == "i" else np.uint8)
    bits = conversion.bitcast_convert_type.bind(convert_element_type(x, wide), new_dtype=_BYTE)
    return bitwise_and(bits, _BYTE.type(2**width - 1))


def _as_narrow(bits: Any, dtype: Any) -> Any:
    """Bytes, of which the lower bits count, as a dtype of a byte or less."""
    width = dtypes.itemsize_bits(dtype)
    if width == _BITS_OF_BYTE:
        return conversion.bitcast_convert_type.bind(bits, new_dtype=dtype)
    if dtypes.kind_of(dtype) == "u":
        return convert_element_type(bits, dtype)
    signed = conversion.bitcast_convert_type.bind(bits, new_dtype=np.dtype(np.int8))
    sign = np.int8(1 << (width - 1))
    return convert_element_type((signed ^ sign) - sign, dtype)


def _joined(x: Any, old: int, new: int, dtype: Any) -> Any:
    """Narrow elements put together."""
    bits = _as_bits(x, old)
    if old == new:
        return _as_narrow(bits, dtype)
    per_byte = min(new, _BITS_OF_BYTE) // old
    shape = aval_of(bits).shape[:-1]
    rows = reshape(bits, (*shape, new // old // per_byte, per_byte))
    amounts = np.arange(per_byte, dtype=np.uint8) * _BYTE.type(old)
    shifted = shift_left(rows, np.broadcast_to(amounts, aval_of(rows).shape))
    joined = reductions.reduce_or(shifted, axes=(len(shape) + 1,), out_sharding=None)
    if new <= _BITS_OF_BYTE:
        return _as_narrow(reshape(joined, shape), dtype)
    return conversion.bitcast_convert_type.bind(joined, new_dtype=dtype)


def _parted(x: Any, old: int, new: int, dtype: Any) -> Any:
    """Wide elements in parts."""
    if old <= _BITS_OF_BYTE:
        bits = expand_dims(_as_bits(x, old), (-1,))
    else:
        bits = conversion.bitcast_convert_type.bind(x, new_dtype=_BYTE)
    per_byte = min(old, _BITS_OF_BYTE) // new
    shape = aval_of(bits).shape
    amounts = np.arange(per_byte, dtype=np.uint8) * _BYTE.type(new)
    rows = np.broadcast_to(amounts, (*shape, per_byte))
    parts = shift_right_logical(expand_dims(bits, (-1,)), rows)
    parts = bitwise_and(reshape(parts, (*shape[:-1], old // new)), _BYTE.type(2**new - 1))
    return _as_narrow(parts, dtype)
