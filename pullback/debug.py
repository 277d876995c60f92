"""The namespace `jax.debug`: looking into a program while it runs."""

from __future__ import annotations

from pullback.control.debugger import breakpoint
from pullback.control.reporting import callback, log, print
from pullback.core.effects import DebugEffect, OrderedDebugEffect
from pullback.runtime.placement import inspect_array_sharding
from pullback.runtime.sharding_pictures import visualize_array_sharding, visualize_sharding

__all__ = [
    "DebugEffect",
    "OrderedDebugEffect",
    "breakpoint",
    "callback",
    "inspect_array_sharding",
    "log",
    "print",
    "visualize_array_sharding",
    "visualize_sharding",
]
