"""Modules that are imported when they are first used, to keep `import pullback` short.

The compiler is needed when something is compiled, the search for contraction orders when somebody
calls `einsum`; a program that does neither should not wait for them.
"""

from __future__ import annotations

import importlib
from typing import Any, final

__all__ = ["LazyModule"]


@final
class LazyModule:
    """Stands for a module until one of its attributes is asked for.

    >>> LazyModule("math").sqrt(4.0)
    2.0
    """

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(importlib.import_module(self._name), attribute)
