"""`jax.experimental.multihost_utils`: agreement among processes, of which there is one."""

from __future__ import annotations

from typing import Any

import numpy as np

from pullback import tree

__all__ = [
    "assert_equal",
    "broadcast_one_to_all",
    "global_array_to_host_local_array",
    "host_local_array_to_global_array",
    "process_allgather",
    "reached_preemption_sync_point",
    "sync_global_devices",
]


def sync_global_devices(name: str) -> None:
    """Wait until all processes are here: the only one is."""


def broadcast_one_to_all(in_tree: Any, is_source: bool | None = None) -> Any:
    """What process 0 has, as NumPy arrays.

    >>> broadcast_one_to_all({"x": 3})
    {'x': array(3)}
    """
    return tree.map(np.asarray, in_tree)


def process_allgather(in_tree: Any, tiled: bool = False) -> Any:
    """What all processes have, stacked along a new axis, or joined along the first if `tiled`.

    >>> process_allgather(np.ones(2)).shape
    (1, 2)
    """

    def gather(x: Any) -> np.ndarray[Any, Any]:
        value = np.asarray(x)
        return value if tiled and value.ndim else value[None]

    return tree.map(gather, in_tree)


def assert_equal(in_tree: Any, fail_message: str = "") -> None:
    """Check that all processes have the same values; one agrees with itself."""


def reached_preemption_sync_point(step_id: int) -> bool:
    """Whether a preemption was announced; nobody announces one to a single process."""
    return False


def host_local_array_to_global_array(local_inputs: Any, global_mesh: Any, pspecs: Any) -> Any:
    """Arrays of all processes from the parts of each: of one process they are the parts."""
    return local_inputs


def global_array_to_host_local_array(global_inputs: Any, global_mesh: Any, pspecs: Any) -> Any:
    """The part of this process of arrays of all: with one process it is all of it."""
    return global_inputs
