"""Types for annotations: the namespace `jax.typing`."""

from __future__ import annotations

from typing import Any, Protocol, TypeAlias, Union, runtime_checkable

import numpy as np

from pullback.core.array import Array

__all__ = ["ArrayLike", "DTypeLike"]


@runtime_checkable
class SupportsDType(Protocol):
    """Anything with a `dtype`."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the elements."""


ArrayLike: TypeAlias = Union[  # noqa: UP007  (libraries inspect it as a typing.Union)
    Array, np.ndarray, np.bool_, np.number, bool, int, float, complex
]
"""What functions of `pullback.numpy` accept where an array is meant."""

DTypeLike: TypeAlias = Union[str, type, np.dtype[Any], SupportsDType]  # noqa: UP007
"""What functions accept where a dtype is meant."""
