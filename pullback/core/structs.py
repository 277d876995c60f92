"""`ShapeDtypeStruct`: what users write where a type is wanted instead of an array."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pullback.core import dtypes
from pullback.core.avals import ShapedArray, aval_of, register_aval
from pullback.core.meshes import PartitionSpec, get_abstract_mesh
from pullback.core.refs import AbstractRef
from pullback.core.sharding import NamedSharding, Sharding, check_rank

__all__ = ["ShapeDtypeStruct"]


class ShapeDtypeStruct:
    """The type of an array without its elements.

    >>> import pullback as pb
    >>> pb.ShapeDtypeStruct((2, 3), "float32")
    ShapeDtypeStruct(shape=(2, 3), dtype=float32)
    """

    __slots__ = ("_sharding", "dtype", "is_ref", "manual_axis_type", "shape", "weak_type")

    def __init__(
        self,
        shape: Any,
        dtype: Any,
        *,
        sharding: Any = None,
        weak_type: bool = False,
        manual_axis_type: Any = None,
        is_ref: bool = False,
    ) -> None:
        if dtype is None:
            raise ValueError("ShapeDtypeStruct: dtype must be specified.")
        self.shape = tuple(shape)
        self.dtype = dtype if isinstance(dtype, dtypes.KeyDtype) else np.dtype(dtype)
        self._sharding = sharding
        if isinstance(sharding, Sharding):
            check_rank(sharding, self.shape, "ShapeDtypeStruct")
        self.weak_type = weak_type
        self.manual_axis_type = manual_axis_type
        self.is_ref = is_ref

    @classmethod
    def like(cls, x: Any) -> ShapeDtypeStruct:
        """The type of an array, or of what stands for one.

        >>> ShapeDtypeStruct.like(np.ones(2, "float32"))
        ShapeDtypeStruct(shape=(2,), dtype=float32)
        """
        aval: Any = aval_of(x)
        return cls(
            aval.shape,
            aval.dtype,
            sharding=getattr(x, "sharding", None),
            weak_type=aval.weak_type,
        )

    @property
    def sharding(self) -> Any:
        """How arrays of this type are to be spread; a PartitionSpec is for the mesh that is set."""
        given = self._sharding
        if not isinstance(given, PartitionSpec):
            return given
        mesh = get_abstract_mesh()
        if mesh.empty:
            raise TypeError(
                "When specifying PartitionSpec to `ShapeDtypeStruct`, the context mesh cannot "
                f"be empty. Please use `jax.set_mesh` to set the mesh context. Got {given}"
            )
        return NamedSharding(mesh, given)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of unsized object: a type without axes")
        return int(self.shape[0])

    def __repr__(self) -> str:
        weak = ", weak_type=True" if self.weak_type else ""
        where = "" if self.sharding is None else f", sharding={self.sharding}"
        return f"ShapeDtypeStruct(shape={self.shape}, dtype={self.dtype.name}{where}{weak})"

    def update(self, **changes: Any) -> ShapeDtypeStruct:
        """The struct with some of its parameters replaced.

        >>> ShapeDtypeStruct((2,), "float32").update(shape=(3,))
        ShapeDtypeStruct(shape=(3,), dtype=float32)
        """
        now = {n.lstrip("_"): getattr(self, n) for n in self.__slots__}
        return ShapeDtypeStruct(**now | changes)

    def _key(self) -> Any:
        return self.shape, self.dtype, self.weak_type, self._sharding

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ShapeDtypeStruct) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())


def _aval(struct: ShapeDtypeStruct) -> ShapedArray | AbstractRef:
    dtype = dtypes.canonicalize_dtype(struct.dtype, allow_extended_dtype=True)
    aval = ShapedArray(struct.shape, dtype, bool(struct.weak_type))
    return AbstractRef(aval) if struct.is_ref else aval


register_aval(ShapeDtypeStruct, _aval)
