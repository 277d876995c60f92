"""What users know as an array.  Concrete arrays and tracers are both `Array`s.

The operators (`x + y`, `x.sum()`, `x.at[i].set(v)`) are filled in by the NumPy façade, which sits
above everything they need; here stands only what makes NumPy leave them to us.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

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

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(type(self).__name__)

    def _alias(self) -> Array:
        """The same elements as another object, which may be deleted while this one stays."""
        return self

    if TYPE_CHECKING:  # what `numpy.array_methods` fills in, for type checkers

        def __abs__(self) -> Any: ...
        def __add__(self, other: Any) -> Any: ...
        def __and__(self, other: Any) -> Any: ...
        def __array_namespace__(self, *, api_version: str | None = None) -> Any: ...
        def __contains__(self, item: Any) -> bool: ...
        def __divmod__(self, other: Any) -> Any: ...
        def __eq__(self, other: object) -> Any: ...
        def __floordiv__(self, other: Any) -> Any: ...
        def __ge__(self, other: Any) -> Any: ...
        def __getitem__(self, index: Any) -> Any: ...
        def __gt__(self, other: Any) -> Any: ...
        def __invert__(self) -> Any: ...
        def __iter__(self) -> Iterator[Any]: ...
        def __le__(self, other: Any) -> Any: ...
        def __len__(self) -> int: ...
        def __lshift__(self, other: Any) -> Any: ...
        def __lt__(self, other: Any) -> Any: ...
        def __matmul__(self, other: Any) -> Any: ...
        def __mod__(self, other: Any) -> Any: ...
        def __mul__(self, other: Any) -> Any: ...
        def __ne__(self, other: object) -> Any: ...
        def __neg__(self) -> Any: ...
        def __or__(self, other: Any) -> Any: ...
        def __pos__(self) -> Any: ...
        def __pow__(self, other: Any) -> Any: ...
        def __radd__(self, other: Any) -> Any: ...
        def __rand__(self, other: Any) -> Any: ...
        def __rdivmod__(self, other: Any) -> Any: ...
        def __rfloordiv__(self, other: Any) -> Any: ...
        def __rlshift__(self, other: Any) -> Any: ...
        def __rmatmul__(self, other: Any) -> Any: ...
        def __rmod__(self, other: Any) -> Any: ...
        def __rmul__(self, other: Any) -> Any: ...
        def __ror__(self, other: Any) -> Any: ...
        def __round__(self, ndigits: int | None = None) -> Any: ...
        def __rpow__(self, other: Any) -> Any: ...
        def __rrshift__(self, other: Any) -> Any: ...
        def __rshift__(self, other: Any) -> Any: ...
        def __rsub__(self, other: Any) -> Any: ...
        def __rtruediv__(self, other: Any) -> Any: ...
        def __rxor__(self, other: Any) -> Any: ...
        def __setitem__(self, index: Any, value: Any) -> None: ...
        def __sub__(self, other: Any) -> Any: ...
        def __truediv__(self, other: Any) -> Any: ...
        def __xor__(self, other: Any) -> Any: ...

        @property
        def itemsize(self) -> int: ...
        @property
        def nbytes(self) -> int: ...

        all: Any
        any: Any
        argmax: Any
        argmin: Any
        argpartition: Any
        argsort: Any
        astype: Any
        at: Any
        byteswap: Any
        choose: Any
        clip: Any
        clone: Any
        compress: Any
        conj: Any
        conjugate: Any
        copy: Any
        cumprod: Any
        cumsum: Any
        delete: Any
        diagonal: Any
        dot: Any
        flat: Any
        flatten: Any
        imag: Any
        max: Any
        mean: Any
        min: Any
        mT: Any
        nonzero: Any
        prod: Any
        ptp: Any
        ravel: Any
        real: Any
        repeat: Any
        reshape: Any
        round: Any
        searchsorted: Any
        sort: Any
        squeeze: Any
        std: Any
        sum: Any
        swapaxes: Any
        T: Any
        take: Any
        tobytes: Any
        trace: Any
        transpose: Any
        var: Any
        view: Any
