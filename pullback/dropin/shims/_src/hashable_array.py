"""`jax._src.hashable_array`: arrays as keys."""

from __future__ import annotations

from typing import Any, final

import numpy as np

__all__ = ["HashableArray"]


@final
class HashableArray:
    """An array of NumPy's that is equal to others of the same type and elements.

    >>> HashableArray(np.arange(2)) == HashableArray(np.arange(2))
    True
    """

    __slots__ = ("val",)

    def __init__(self, val: Any) -> None:
        self.val = np.array(val, copy=True)
        self.val.setflags(write=False)

    def _key(self) -> tuple[Any, ...]:
        return self.val.shape, self.val.dtype, self.val.tobytes()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HashableArray) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        return f"HashableArray({self.val})"
