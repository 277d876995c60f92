"""`jax._src.pickle_util`: functions as bytes, by `cloudpickle` where it is installed."""

from __future__ import annotations

import importlib
import importlib.util
import pickle
from typing import Any

__all__ = ["dumps", "loads"]


def _pickler() -> Any:
    if importlib.util.find_spec("cloudpickle") is None:
        raise ModuleNotFoundError('No module named "cloudpickle"')
    return importlib.import_module("cloudpickle")


def dumps(obj: Any) -> bytes:
    """An object as bytes."""
    return bytes(_pickler().dumps(obj))


def loads(data: bytes) -> Any:
    """The object again."""
    return pickle.loads(data)
