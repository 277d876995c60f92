"""What the array API standard asks a namespace: `jax.numpy.__array_namespace_info__()`."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from pullback.core import devices as _devices
from pullback.core import dtypes

__all__ = ["__array_api_version__", "__array_namespace_info__"]

__array_api_version__: Final = "2024.12"

_GROUPS: Final[dict[str, tuple[str, ...]]] = {
    "bool": ("bool",),
    "signed integer": ("int8", "int16", "int32", "int64"),
    "unsigned integer": ("uint8", "uint16", "uint32", "uint64"),
    "real floating": ("float32", "float64"),
    "complex floating": ("complex64", "complex128"),
}
_UNIONS: Final[dict[str, tuple[str, ...]]] = {
    "integral": ("signed integer", "unsigned integer"),
    "numeric": ("signed integer", "unsigned integer", "real floating", "complex floating"),
}


def _names(kind: str | tuple[str, ...] | None) -> list[str]:
    """The dtypes of a kind; KeyError for one that the standard does not know."""
    if kind is None:
        kind = tuple(_GROUPS)
    if isinstance(kind, tuple):
        return [name for part in kind for name in _names(part)]
    if kind in _UNIONS:
        return _names(_UNIONS[kind])
    return list(_GROUPS[kind])


class ArrayNamespaceInfo:
    """Capabilities, devices and dtypes of `jax.numpy`, as the array API standard asks for them."""

    def capabilities(self) -> dict[str, Any]:
        """Of compiled functions, where shapes do not depend on values."""
        return {"boolean indexing": False, "data-dependent shapes": False, "max dimensions": 64}

    def default_device(self) -> None:
        """None: arrays are where they were made."""

    def devices(self) -> list[Any]:
        """All devices, and None for the default one."""
        return [None, *_devices.devices()]

    def default_dtypes(self, *, device: Any = None) -> dict[str, np.dtype[Any]]:
        """The dtypes that numbers get."""
        integral, floating = dtypes.default_int(), dtypes.default_float()
        return {
            "real floating": floating,
            "complex floating": np.result_type(floating, np.complex64),
            "integral": integral,
            "indexing": integral,
        }

    def dtypes(
        self, *, device: Any = None, kind: str | tuple[str, ...] | None = None
    ) -> dict[str, np.dtype[Any]]:
        """The dtypes of a kind by name; those of 64 bits only where they are enabled."""
        found = {name: np.dtype(name) for name in _names(kind)}
        return {n: t for n, t in found.items() if dtypes.canonicalize_dtype(t) == t}


def __array_namespace_info__() -> ArrayNamespaceInfo:
    """Capabilities, devices and dtypes, as the array API standard asks for them.

    >>> import pullback.numpy as jnp
    >>> sorted(jnp.__array_namespace_info__().dtypes(kind="bool"))
    ['bool']
    """
    return ArrayNamespaceInfo()
