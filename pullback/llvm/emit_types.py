"""Types and constants of LLVM text, for element types as the emitter keeps them in registers.

In registers bool is i1, floats narrower than 32 bits are float (rounded already), int4 is i4.  In
memory bool is a byte and narrow floats are integers of their width.
"""

from __future__ import annotations

import math
import struct
from functools import cache
from typing import Any, Final

import numpy as np

from pullback.core import dtypes

__all__ = ["constant", "is_float", "is_signed", "lanes_type", "register_type", "storage_type"]

FLOAT: Final = {4: "float", 8: "double"}


@cache
def register_type(dtype: np.dtype[Any]) -> str:
    """The scalar type of a value.

    >>> register_type(np.dtype("float16")), register_type(np.dtype("bool"))
    ('float', 'i1')
    """
    kind = dtypes.kind_of(dtype)
    if kind == "f":
        return FLOAT[max(4, dtype.itemsize)]
    if kind == "b":
        return "i1"
    return f"i{dtypes.itemsize_bits(dtype)}"


@cache
def storage_type(dtype: np.dtype[Any]) -> str:
    """The scalar type of an element in memory; of a complex number, of a part."""
    kind = dtypes.kind_of(dtype)
    if kind == "c":
        return FLOAT[dtype.itemsize // 2]
    if kind == "f" and dtype.itemsize >= 4:
        return FLOAT[dtype.itemsize]
    return "half" if dtype == np.float16 else f"i{8 * dtype.itemsize}"


@cache
def lanes_type(scalar: str, lanes: int) -> str:
    """`lanes` of a scalar type; the type itself for one.

    >>> lanes_type("float", 8)
    '<8 x float>'
    """
    return scalar if lanes == 1 else f"<{lanes} x {scalar}>"


@cache
def is_float(dtype: np.dtype[Any]) -> bool:
    """Whether values are floats in registers."""
    return dtypes.kind_of(dtype) == "f"


@cache
def is_signed(dtype: np.dtype[Any]) -> bool:
    """Whether values are signed integers."""
    return dtypes.kind_of(dtype) == "i"


def float_text(value: float, single: bool) -> str:
    """A float constant by its bits.

    >>> float_text(0.1, single=True)
    '0x3FB99999A0000000'
    """
    if math.isnan(value):
        return "0x7FF8000000000000"
    if single:
        with np.errstate(over="ignore"):
            value = float(np.float32(value))
    return f"0x{struct.unpack('>Q', struct.pack('>d', value))[0]:016X}"


def constant(value: Any, dtype: np.dtype[Any]) -> str:
    """A scalar constant.

    >>> constant(True, np.dtype("bool")), constant(-1, np.dtype("int32"))
    ('true', '-1')
    """
    kind = dtypes.kind_of(dtype)
    if kind == "f":
        return float_text(float(value), dtype.itemsize < 8)
    if kind == "b":
        return "true" if value else "false"
    return str(int(value))


def splat(text: str, scalar: str, lanes: int) -> str:
    """A constant in every lane."""
    return text if lanes == 1 else f"splat ({scalar} {text})"
