"""Threads for compiled programs: the pool of `pool_text.py` in memory.

It lies in the module of the call path (`entry.py`), where there is one.  The number of threads is
`PULLBACK_NUM_THREADS`, else what the process may run on, and `set_num_threads` changes it.  A
forked child starts with no workers.
"""

from __future__ import annotations

import ctypes
import math
import os
import platform
import sys
import threading
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any, Final

from pullback.llvm import entry, jit
from pullback.llvm.pool_text import EXPORTS, STARTED, SYMBOLS, THREADS, module_text

__all__ = [
    "SYMBOLS",
    "address",
    "default_num_threads",
    "num_threads",
    "parallel_for",
    "set_num_threads",
    "started_workers",
    "symbols",
]


_Procedure: Final = ctypes.PYFUNCTYPE(None)


class _Loaded:
    """The pool in memory.  Its threads run this code, so it stays until the process ends."""

    def __init__(self) -> None:
        self.module = entry.native_module() or _alone()
        self.address = self.module.address("pb_parallel_for")
        self.reset = ctypes.PYFUNCTYPE(None)(self.module.address("pb_pool_reset"))
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self))
        self.reset()

    @property
    def threads(self) -> ctypes.c_int64:
        return ctypes.c_int64.from_address(self.module.address("pb_pool") + THREADS)

    @property
    def started(self) -> int:
        state = self.module.address("pb_pool")
        return int(ctypes.c_int64.from_address(state + STARTED).value)


def _alone() -> jit.LoadedModule:
    """The pool without the call path, where the interpreter cannot be read natively."""
    machine = platform.machine()
    found = jit.stored_object(
        lambda: module_text(machine), name="pullback_pool", variant=sys.platform
    )
    symbols = {name: jit.process_address(name) for name in found.symbols}
    return jit.load(found.code, symbols, exports=EXPORTS)


_lock = threading.Lock()
_loaded: _Loaded | None = None
_threads: int | None = None


def _pool() -> _Loaded:
    global _loaded
    if _loaded is None:
        with _lock:
            if _loaded is None:
                made = _Loaded()
                made.threads.value = num_threads()
                _loaded = made
    return _loaded


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()
    if _loaded is not None:
        _loaded.reset()


if os.name == "posix":
    os.register_at_fork(after_in_child=_after_fork)


def address() -> int:
    """Address of `pb_parallel_for`, for modules that call it.

    >>> address() != 0
    True
    """
    return _pool().address


def symbols() -> dict[str, int]:
    """The pool's symbols, for `jit.load`."""
    module = _pool().module
    return {name: module.address(name) for name in SYMBOLS}


def load_kernels(
    made: jit.StoredObject, exports: Iterable[str], find: Callable[[str], int]
) -> jit.LoadedModule:
    """A module of kernels in memory; `find` gives addresses of symbols that are not the pool's."""
    symbols = {
        name: _pool().module.address(name) if name in SYMBOLS else find(name)
        for name in made.symbols
    }
    return jit.load(made.code, symbols, exports=exports)


def started_workers() -> int:
    """How many workers have been started in this process."""
    return 0 if _loaded is None else _loaded.started


def parallel_for(function: int, environment: int, length: int, grain: int) -> None:
    """`pb_parallel_for` from Python; releases the GIL."""
    types: list[Any] = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64]
    ctypes.CFUNCTYPE(None, *types)(address())(function, environment, length, grain)


# ------------------------------------------------------------------------------ number of threads


def _cpu_quota() -> float:
    """Processors that a container may use at a time, by its control group; inf without a bound."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return math.inf if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        return math.inf


@cache
def _available() -> int:
    if sys.platform == "linux":
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    return max(1, min(count, math.ceil(min(_cpu_quota(), count))))


def default_num_threads() -> int:
    """`PULLBACK_NUM_THREADS`, else the processors that this process may use.

    >>> default_num_threads() >= 1
    True
    """
    text = os.environ.get("PULLBACK_NUM_THREADS", "").strip()
    if not text:
        return _available()
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"PULLBACK_NUM_THREADS must be a positive integer, not {text!r}")
    return int(text)


def num_threads() -> int:
    """How many threads a compiled program may use, the calling one included."""
    return default_num_threads() if _threads is None else _threads


def set_num_threads(count: int | None) -> None:
    """Let compiled programs use `count` threads; None: the default.  Results do not depend on it.

    >>> set_num_threads(2)
    >>> num_threads()
    2
    >>> set_num_threads(None)
    """
    global _threads
    if count is not None and count < 1:
        raise ValueError(f"the number of threads must be at least 1, not {count}")
    _threads = count
    if _loaded is not None:
        _loaded.threads.value = num_threads()
