"""`jax._src.deprecations`: names that are on their way out, which warn, or fail when accelerated.

Nothing of ours is; modules of JAX's tests and libraries register their own.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any, Final

__all__ = [
    "accelerate",
    "accelerate_getattr_deprecation",
    "deprecation_getattr",
    "is_accelerated",
    "is_accelerated_attribute",
    "register",
    "unregister",
    "warn",
]

_accelerated: Final[dict[str, bool]] = {}
"""Whether a deprecation is an error already, for those that are registered."""


def _check(deprecation_id: str) -> None:
    if deprecation_id not in _accelerated:
        raise ValueError(f"{deprecation_id=} not registered.")


def register(deprecation_id: str) -> None:
    """Take note of a deprecation."""
    _accelerated.setdefault(deprecation_id, False)


def unregister(deprecation_id: str) -> None:
    """Forget a deprecation; ValueError if it is not known."""
    _check(deprecation_id)
    del _accelerated[deprecation_id]


def accelerate(deprecation_id: str) -> None:
    """Make a deprecation an error; ValueError if it is not known."""
    _check(deprecation_id)
    _accelerated[deprecation_id] = True


def is_accelerated(deprecation_id: str) -> bool:
    """Whether a deprecation is an error already; ValueError if it is not known."""
    _check(deprecation_id)
    return _accelerated[deprecation_id]


def warn(
    deprecation_id: str,
    message: str,
    stacklevel: int,
    *,
    error_class: type[Exception] = ValueError,
) -> None:
    """Warn of what is deprecated, or raise `error_class` if that is accelerated."""
    if is_accelerated(deprecation_id):
        raise error_class(message)
    warnings.warn(message, category=DeprecationWarning, stacklevel=stacklevel + 1)


def deprecation_getattr(
    module: str, deprecations: dict[str, tuple[str, Any]]
) -> Callable[[str], Any]:
    """A module's `__getattr__` from deprecated names, their messages and values.

    A name without a value (None) is gone: its message is that of an AttributeError.
    """

    def getattribute(name: str) -> Any:
        if name not in deprecations:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        message, value = deprecations[name]
        if value is None or _accelerated.get(f"{module}.{name}", False):
            raise AttributeError(message)
        warnings.warn(message, DeprecationWarning, stacklevel=2)
        return value

    return getattribute


def accelerate_getattr_deprecation(module: ModuleType, name: str) -> None:
    """Make the deprecation of a module's name an error."""
    _accelerated[f"{module.__name__}.{name}"] = True


def is_accelerated_attribute(module: ModuleType, name: str) -> bool:
    """Whether that was made an error."""
    return _accelerated.get(f"{module.__name__}.{name}", False)
