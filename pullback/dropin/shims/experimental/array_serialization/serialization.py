"""`jax.experimental.array_serialization.serialization`: arrays of several processes in files.

With one process no array is spread over several; libraries import these names and write their own
files.
"""

from __future__ import annotations

import os
from typing import Any

from pullback.errors import UnsupportedError

__all__ = [
    "GlobalAsyncCheckpointManager",
    "GlobalAsyncCheckpointManagerBase",
    "get_tensorstore_spec",
]


class GlobalAsyncCheckpointManagerBase:
    """Base of writers of arrays that are spread over processes."""


class GlobalAsyncCheckpointManager(GlobalAsyncCheckpointManagerBase):
    """A writer of such arrays; there are none."""

    def __init__(self, timeout_secs: int = 300) -> None:
        raise UnsupportedError(
            "GlobalAsyncCheckpointManager writes arrays that are spread over processes, which "
            "pullback does not have; orbax.checkpoint writes arrays of one process"
        )


def get_tensorstore_spec(ckpt_path: str, ocdbt: bool = False, **_: Any) -> dict[str, Any]:
    """What TensorStore needs to open the array in a directory.

    >>> get_tensorstore_spec("/tmp/a")["kvstore"]["path"]
    '/tmp/a'
    """
    path = os.path.normpath(ckpt_path)
    if not ocdbt:
        return {"driver": "zarr", "kvstore": {"driver": "file", "path": path}}
    base, name = os.path.split(path)
    store = {"driver": "ocdbt", "base": f"file://{base}", "path": name}
    return {"driver": "zarr", "kvstore": store}
