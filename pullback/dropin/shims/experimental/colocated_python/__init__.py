"""`jax.experimental.colocated_python`: Python code beside the devices, here in this process."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

__all__ = ["colocated_cpu_devices", "colocated_python", "colocated_python_class"]


def colocated_cpu_devices(devices_or_mesh: Any) -> Any:
    """The CPU devices beside these, which are CPU devices themselves."""
    return devices_or_mesh


class _Colocated:
    """A function that runs where its devices are."""

    def __init__(self, fun: Callable[..., Any]) -> None:
        functools.update_wrapper(self, fun)
        self._fun = fun

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._fun(*args, **kwargs)

    def specialize(self, **_: Any) -> _Colocated:
        """The function with devices and types fixed: there is nothing to fix."""
        return self


def colocated_python(fun: Callable[..., Any]) -> Callable[..., Any]:
    """A function that runs beside the devices of its arguments: in this process.

    >>> colocated_python(lambda x: x + 1)(1)
    2
    """
    return _Colocated(fun)


def colocated_python_class(cls: type) -> type:
    """A class whose objects live beside the devices: in this process."""
    return cls
