"""`jax._src.distributed`: the state of a group of processes, which is one process."""

from __future__ import annotations

from typing import Any, Final, final

__all__ = ["global_state"]


@final
class _State:
    """One process, without a coordinator."""

    process_id = 0
    num_processes = 1
    service: Any = None
    client: Any = None
    coordinator_address: str | None = None
    preemption_sync_manager: Any = None


global_state: Final = _State()
