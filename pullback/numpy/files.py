"""Arrays in files and in text, by NumPy; and the functions that stay out since they read data."""

from __future__ import annotations

from typing import Any

import numpy as np

from pullback.core import dtypes
from pullback.numpy.creation import asarray

__all__ = [
    "array_repr",
    "array_str",
    "fromfile",
    "fromiter",
    "fromstring",
    "get_printoptions",
    "load",
    "printoptions",
    "save",
    "savez",
    "set_printoptions",
]

get_printoptions = np.get_printoptions
printoptions = np.printoptions
array_str = np.array_str
save = np.save
savez = np.savez


def set_printoptions(*args: Any, **kwargs: Any) -> None:
    """Set how arrays are printed, as `numpy.set_printoptions` does; both print alike.

    >>> import pullback.numpy as jnp
    >>> with jnp.printoptions():
    ...     jnp.set_printoptions(precision=2)
    ...     print(jnp.ones(1) / 3)
    [0.33]
    """
    np.set_printoptions(*args, **kwargs)


def array_repr(
    arr: Any,
    max_line_width: int | None = None,
    precision: int | None = None,
    suppress_small: bool | None = None,
) -> str:
    """The text of an array as NumPy writes it.

    >>> import pullback.numpy as jnp
    >>> jnp.array_repr(jnp.arange(2))
    'array([0, 1], dtype=int32)'
    """
    return np.array_repr(np.asarray(arr), max_line_width, precision, suppress_small)


def load(file: Any, *args: Any, **kwargs: Any) -> Any:
    """The array in a `.npy` file, or the archive in a `.npz` file.

    >>> import pullback.numpy as jnp
    >>> import io
    >>> buffer = io.BytesIO()
    >>> jnp.save(buffer, jnp.arange(2)); _ = buffer.seek(0)
    >>> jnp.load(buffer)
    Array([0, 1], dtype=int32)
    """
    out = np.load(file, *args, **kwargs)
    if not isinstance(out, np.ndarray):
        return out
    # The only type of two bytes that NumPy's files do not name.
    return asarray(out.view(dtypes.bfloat16) if out.dtype == np.dtype("V2") else out)


def fromstring(string: str, dtype: Any = float, count: int = -1, *, sep: str) -> Any:
    """The numbers in a text, between separators.

    >>> import pullback.numpy as jnp
    >>> jnp.fromstring("1 2", sep=" ")
    Array([1., 2.], dtype=float32)
    """
    return asarray(np.fromstring(string, dtypes.as_dtype(dtype), count, sep=sep))


def _impure(name: str) -> NotImplementedError:
    return NotImplementedError(
        f"jnp.{name}() is not implemented: what it reads may change between calls, which traced "
        f"functions would not see. Use jnp.asarray(np.{name}(...)) outside of them."
    )


def fromfile(*args: Any, **kwargs: Any) -> Any:
    """Not implemented, since reading a file is not pure: use `jnp.asarray(np.fromfile(...))`.

    >>> import numpy as np
    >>> import pullback.numpy as jnp
    >>> try:
    ...     jnp.fromfile("data")
    ... except NotImplementedError:
    ...     print("use np.fromfile")
    use np.fromfile
    """
    raise _impure("fromfile")


def fromiter(*args: Any, **kwargs: Any) -> Any:
    """Not implemented, since iterating is not pure: use `jnp.asarray(np.fromiter(...))`.

    >>> import numpy as np
    >>> import pullback.numpy as jnp
    >>> try:
    ...     jnp.fromiter(range(3), int)
    ... except NotImplementedError:
    ...     print("use np.fromiter")
    use np.fromiter
    """
    raise _impure("fromiter")
