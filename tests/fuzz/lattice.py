"""Types of values in random programs: shapes, dtypes and weak types by the documented rules.

Written without a look at the system under test, from the documented lattice of promotion, so that
the type of every result is an expectation rather than an echo.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import ml_dtypes
import numpy as np

Shape = tuple[int, ...]

_EDGES: dict[str, tuple[str, ...]] = {
    "bool": ("i*",),
    "i*": ("uint8", "int8"),
    "uint8": ("int16", "uint16"),
    "int8": ("int16",),
    "uint16": ("int32", "uint32"),
    "int16": ("int32",),
    "uint32": ("int64", "uint64"),
    "int32": ("int64",),
    "uint64": ("f*",),
    "int64": ("f*",),
    "f*": ("bfloat16", "float16", "c*"),
    "bfloat16": ("float32",),
    "float16": ("float32",),
    "float32": ("float64", "complex64"),
    "float64": ("complex128",),
    "c*": ("complex64",),
    "complex64": ("complex128",),
    "complex128": (),
}
_NARROW = {
    "int64": "int32",
    "uint64": "uint32",
    "float64": "float32",
    "complex128": "complex64",
}
_REAL = {"complex64": "float32", "complex128": "float64"}


@dataclass(frozen=True)
class Type:
    """Shape, dtype by name, and whether the dtype is weak."""

    shape: Shape
    dtype: str
    weak: bool = False

    @property
    def kind(self) -> str:
        """One of b, i, u, f, c."""
        return kind(self.dtype)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=int))

    def at(self, shape: Shape) -> Type:
        """The same dtype in another shape."""
        return Type(tuple(shape), self.dtype, self.weak)

    def of(self, dtype: str, weak: bool = False) -> Type:
        """The same shape with another dtype."""
        return Type(self.shape, dtype, weak)


def kind(dtype: str) -> str:
    """One of b, i, u, f, c; bfloat16 is a float."""
    return "f" if dtype == "bfloat16" else np.dtype(dtype).kind


def numpy_dtype(dtype: str) -> np.dtype:
    """The NumPy dtype of that name, bfloat16 included."""
    return np.dtype(ml_dtypes.bfloat16) if dtype == "bfloat16" else np.dtype(dtype)


@cache
def _above(node: str) -> frozenset[str]:
    return frozenset({node}).union(*(_above(n) for n in _EDGES[node]))


def _node(dtype: str, weak: bool) -> str:
    return f"{_family(dtype)}*" if weak and kind(dtype) != "b" else dtype


def _family(dtype: str) -> str:
    return {"u": "i"}.get(kind(dtype), kind(dtype))


@cache
def join(types: tuple[tuple[str, bool], ...], wide: bool) -> tuple[str, bool]:
    """The promoted dtype of (dtype, weak) pairs, and whether it is weak."""
    nodes = [_node(*t) for t in types]
    common = frozenset.intersection(*map(_above, nodes))
    (least,) = [n for n in common if _above(n) >= common]
    weak = least.endswith("*")
    named = {"i*": "int64", "f*": "float64", "c*": "complex128"}.get(least, least)
    return canonical(named, wide), weak


def canonical(dtype: str, wide: bool) -> str:
    """The dtype as it exists with 64-bit types on or off."""
    return dtype if wide else _NARROW.get(dtype, dtype)


def promoted(types: list[Type], wide: bool) -> Type:
    """Result of an element-wise operation that keeps its promoted operands' dtype."""
    dtype, weak = join(tuple((t.dtype, t.weak) for t in types), wide)
    return Type(np.broadcast_shapes(*(t.shape for t in types)), dtype, weak)


def inexact(t: Type, wide: bool) -> Type:
    """The type in floating point: what `sin` gives."""
    if t.kind in "fc":
        return t
    return t.of(canonical("float64" if t.dtype.endswith("64") else "float32", wide), t.weak)


def real(dtype: str) -> str:
    """The dtype of a real part."""
    return _REAL.get(dtype, dtype)
