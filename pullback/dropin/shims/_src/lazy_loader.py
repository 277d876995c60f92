"""`jax._src.lazy_loader`: submodules that are imported when they are asked for."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["attach"]


def attach(
    package_name: str, submodules: Sequence[str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """The `__getattr__`, `__dir__` and `__all__` of a package with these submodules."""
    names = sorted(submodules)

    def getattribute(name: str) -> Any:
        if name in names:
            return importlib.import_module(f"{package_name}.{name}")
        raise AttributeError(f"module '{package_name}' has no attribute '{name}'", name=name)

    def listed() -> list[str]:
        return [*sys.modules[package_name].__dict__, *names]

    return getattribute, listed, list(names)
