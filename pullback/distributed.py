"""Programs of several processes: the namespace `jax.distributed`.  There is one process.

A program that calls `initialize()` when it is started alone runs; one that asks for more processes
is told that they are unsupported.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from pullback.errors import UnsupportedError

__all__ = ["initialize", "is_initialized", "shutdown"]

_state: Final[dict[str, Any]] = {"initialized": False}


def initialize(
    coordinator_address: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    local_device_ids: int | Sequence[int] | None = None,
    cluster_detection_method: str | None = None,
    initialization_timeout: int = 300,
    heartbeat_timeout_seconds: int = 100,
    shutdown_timeout_seconds: int = 300,
    coordinator_bind_address: str | None = None,
    slice_index: int | None = None,
    partition_index: int | None = None,
) -> None:
    """Say that this process is all of the program.

    Raises UnsupportedError for `num_processes` other than 1, and RuntimeError if called twice.

    >>> initialize(num_processes=1, process_id=0); is_initialized()
    True
    >>> shutdown(); is_initialized()
    False
    """
    if num_processes not in (None, 1) or process_id not in (None, 0):
        raise UnsupportedError(
            f"distributed.initialize: process {process_id} of {num_processes} is not supported; a "
            "program runs in one process"
        )
    if _state["initialized"]:
        raise RuntimeError("distributed.initialize should only be called once.")
    _state["initialized"] = True


def is_initialized() -> bool:
    """Whether `initialize` was called."""
    return bool(_state["initialized"])


def shutdown() -> None:
    """Undo `initialize`; nothing happens without it."""
    _state["initialized"] = False
