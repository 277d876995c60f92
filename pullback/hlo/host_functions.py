"""Calls from a plugin's programs back into Python, by XLA's foreign function interface.

    stablehlo.custom_call @pullback_host_call {number = 7}  ->  the function behind number 7

One handler a plugin is registered, at the first program that needs it.  It may be entered from any
thread of the plugin, and must not call the plugin.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Sequence
from typing import Any, Final

from pullback.errors import UnsupportedError

__all__ = ["TARGET", "register"]

TARGET: Final = "pullback_host_call"
"""The name that programs call."""


@functools.cache
def register(plugin: Any, platform: str, call: Callable[[int, Sequence[int]], None]) -> None:
    """Let programs call `call(number, addresses of operands and results)`.

    Raises UnsupportedError for a plugin without the interface.
    """
    if plugin.extension("FFI") is None:
        raise UnsupportedError(
            f"the plugin of {platform} has no foreign function interface: its programs cannot "
            "call Python functions"
        )

    def handler(frame: Any) -> None:
        addresses = [x.data for x in (*frame.args, *frame.rets)]
        call(int(frame.attrs["number"]), addresses)

    importlib.import_module("pypjrt.ffi.registry").register(
        plugin, TARGET, handler, platform="Host"
    )
