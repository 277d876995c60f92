"""Which compiled programs are kept: as many as fit into a number of bytes, the latest used ones.

Whoever keeps an executable for later calls says so here, and how to forget it.  A call that takes
the native path leaves no trace in Python, so that use is found out as in the clock algorithm: when
room is needed, the oldest one that has native entries loses these and gets a second chance; the
next call comes through Python and puts it in front again.
"""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from pullback import config

__all__ = ["count", "forget_all", "keep", "size_of", "total_bytes", "used"]


@dataclass(frozen=True)
class _Kept:
    """`cool()` takes the native entries away and says whether there were any."""

    executable: weakref.ref[Any]
    size: int
    cool: Callable[[], bool]
    forget: Callable[[], Any]


DESCRIPTION_BYTES: Final = 48 << 10
"""What a small program takes beside its code, as measured: pages, jaxpr, tables of calls."""

_kept: Final[OrderedDict[int, _Kept]] = OrderedDict()
_total: list[int] = [0]
_lock: Final = threading.RLock()


def size_of(executable: Any) -> int:
    """Bytes of a program: code, constants, scratch memory, and what describes it."""
    constants = sum(int(c.nbytes) for c in executable.constants)
    return int(executable.code.nbytes) + constants + DESCRIPTION_BYTES


def total_bytes() -> int:
    """Bytes of all programs that are kept."""
    return _total[0]


def count() -> int:
    """How many programs are kept."""
    return len(_kept)


def _never() -> bool:
    return False


def keep(executable: Any, forget: Callable[[], Any], cool: Callable[[], bool] = _never) -> None:
    """Count an executable; `forget` is called when its room is needed, or by `forget_all`.

    Neither function may hold the executable, or what owns it, alive.
    """
    key = id(executable)

    def gone(_: Any) -> None:
        with _lock:
            _drop(key)

    with _lock:
        _kept[key] = _Kept(weakref.ref(executable, gone), size_of(executable), cool, forget)
        _total[0] += _kept[key].size
        _make_room(key)


def used(executable: Any) -> None:
    """Note that an executable was used."""
    with _lock:
        if id(executable) in _kept:
            _kept.move_to_end(id(executable))


def forget_all() -> None:
    """Forget every program that is kept."""
    with _lock:
        for key in list(_kept):
            _forget(key)


def _drop(key: int) -> None:
    found = _kept.pop(key, None)
    if found is not None:
        _total[0] -= found.size


def _forget(key: int) -> None:
    found = _kept.get(key)
    if found is None:  # collected meanwhile
        return
    found.cool()
    _drop(key)
    found.forget()


def _make_room(newest: int | None = None) -> None:
    """Forget programs until the rest fits; the newest one always stays."""
    limit = config.executables_bytes()
    while _total[0] > limit:
        # A copy: what the garbage collector finds leaves the dictionary at any time.
        key = next((k for k in list(_kept) if k != newest), None)
        if key is None:
            return
        found = _kept.get(key)
        if found is not None and found.cool() and key in _kept:
            _kept.move_to_end(key)
        else:
            _forget(key)


def _limit_changed() -> None:
    with _lock:
        _make_room()


config.executables_bytes.watchers.append(_limit_changed)
