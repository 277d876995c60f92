"""What users know as an array.  Concrete arrays and tracers are both `Array`s.

The operators (`x + y`, `x.sum()`, `x.at[i].set(v)`) are filled in by the NumPy façade, which sits
above everything they need; here stands only what makes NumPy leave them to us.
"""

from __future__ import annotations

from typing import Any

__all__ = ["Array"]


class Array:
    """An immutable n-dimensional array, concrete or traced.

    Made by `pullback.numpy.array` and friends, never by calling this class.
    """

    __slots__ = ()

    __array_priority__ = 100  # NumPy's operators leave it to our reflected ones

    aval: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise TypeError("jax.Array cannot be made by calling it; use jax.numpy.array")

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis."""
        return self.aval.shape  # type: ignore[no-any-return]

    @property
    def dtype(self) -> Any:
        """Type of the elements."""
        return self.aval.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.aval.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.aval.size  # type: ignore[no-any-return]

    @property
    def weak_type(self) -> bool:
        """Whether the dtype yields to others in promotion."""
        return self.aval.weak_type  # type: ignore[no-any-return]
