"""StableHLO programs that were read: operations, values, types.

Text (hlo/parsing) and bytecode (hlo/bytecode, hlo/vhlo) become the same operations, with plain
Python values for attributes: numbers, strings, lists, dictionaries, arrays, types.  Structures such
as the dimension numbers of a gather are spread over the attributes, as VHLO has them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from pullback.core import dtypes
from pullback.errors import PullbackError

__all__ = [
    "Block",
    "FunctionType",
    "ModuleError",
    "Operation",
    "Region",
    "TensorType",
    "TokenType",
    "TupleType",
    "Value",
    "elements",
]


class ModuleError(PullbackError, ValueError):
    """Bytes or text that are no StableHLO program, or not one that is in order."""


@dataclass(frozen=True)
class TensorType:
    """An array; a length that is not known is None."""

    shape: tuple[int | None, ...]
    dtype: np.dtype[Any]


@dataclass(frozen=True)
class TokenType:
    """The order of effects."""


@dataclass(frozen=True)
class TupleType:
    """Several values as one."""

    parts: tuple[Any, ...]


@dataclass(frozen=True)
class FunctionType:
    """The type of a function."""

    inputs: tuple[Any, ...]
    results: tuple[Any, ...]


def elements(type_: Any, data: bytes) -> np.ndarray[Any, Any]:
    """The elements of a constant; one element's bytes stand for an array of equal ones.

    Truth values are bits.
    """
    if not isinstance(type_, TensorType) or None in type_.shape:
        raise ModuleError("a constant of the program has no array type of known lengths")
    shape = tuple(n for n in type_.shape if n is not None)
    size = math.prod(shape)
    if type_.dtype == dtypes.bool_:
        bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little").astype(bool)
        whole = len(data) == 1 and data in (b"\0", b"\xff")
        flat = bits[:1] if whole else bits[:size]
    else:
        if len(data) % type_.dtype.itemsize:
            raise ModuleError("the bytes of a constant do not fit its type")
        flat = np.frombuffer(data, type_.dtype)
    if flat.size == 1:
        return np.broadcast_to(flat[0], shape)
    if flat.size != size:
        raise ModuleError("the bytes of a constant do not fit its type")
    return flat.reshape(shape)


class Value:
    """A result of an operation, or an argument of a block."""

    __slots__ = ("type",)

    def __init__(self, type_: Any) -> None:
        self.type = type_


@dataclass(frozen=True, eq=False)
class Region:
    """A function that belongs to an operation; its last operation gives the results."""

    arguments: list[Value]
    operations: list[Operation]


Block = Region


@dataclass(frozen=True, eq=False)
class Operation:
    """One operation: `results = name[attributes](operands) { regions }`."""

    name: str
    operands: list[Value]
    attributes: dict[str, Any]
    results: list[Value]
    regions: list[Region]
