"""`jax._src.compiler`: the function that every compilation passes through.

Tools replace `backend_compile_and_load` in the module, to count or forbid compilations; ours call
whatever stands there before they begin.
"""

from __future__ import annotations

import importlib
from typing import Any

from pullback import dropin
from pullback.core.devices import devices
from pullback.runtime import compile as pipeline

__all__ = ["backend_compile_and_load"]


def backend_compile_and_load(backend: Any, *args: Any, **kwargs: Any) -> None:
    """Called with the device before a program is compiled; does nothing by itself."""


def _announce() -> None:
    if dropin.is_installed():
        module = importlib.import_module("jax._src.compiler")
        module.backend_compile_and_load(devices()[0])


pipeline.before_compile.append(_announce)
