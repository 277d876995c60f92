"""Clocks and memory: what the child process reads."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from itertools import repeat
from pathlib import Path
from typing import Any, Final

__all__ = ["Memory", "steady_time", "timed"]

SHORTEST_SAMPLE: Final = 1e-3
"""Seconds: far above the clock's resolution, below the slices of time that a busy machine gives."""

FEWEST_SAMPLES: Final = 3


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds that a call took, and its result."""
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def _waiting(
    function: Callable[..., Any], arguments: Sequence[Any], wait: Callable[[Any], Any], n: int
) -> float:
    start = time.perf_counter()
    for _ in repeat(None, n):
        wait(function(*arguments))
    return (time.perf_counter() - start) / n


def _calling(
    function: Callable[..., Any], arguments: Sequence[Any], wait: Callable[[Any], Any], n: int
) -> float:
    """As a program calls it, with one argument or two: unpacking a list costs more than a call."""
    out = None
    start = time.perf_counter()
    if len(arguments) == 1:
        (x,) = arguments
        for _ in repeat(None, n):
            out = function(x)
    elif len(arguments) == 2:
        x, y = arguments
        for _ in repeat(None, n):
            out = function(x, y)
    else:
        for _ in repeat(None, n):
            out = function(*arguments)
    wait(out)
    return (time.perf_counter() - start) / n


def steady_time(
    function: Callable[..., Any],
    arguments: Sequence[Any],
    wait: Callable[[Any], Any],
    *,
    seconds: float,
    call: bool,
) -> float:
    """Seconds a call: the best of several samples, each of as many calls as the clock needs."""
    sample = _calling if call else _waiting
    n = 1
    while (once := sample(function, arguments, wait, n)) * n < SHORTEST_SAMPLE:
        n = max(2 * n, min(int(SHORTEST_SAMPLE / max(once, 1e-9)), 100 * n))
    best, samples = once, 1
    end = time.perf_counter() + seconds
    gc.collect()
    gc.disable()
    try:
        while samples < FEWEST_SAMPLES or time.perf_counter() < end:
            best = min(best, sample(function, arguments, wait, n))
            samples += 1
            if best * n > seconds and samples >= 2:
                break
    finally:
        gc.enable()
    return best


class Memory:
    """Peak of the resident memory from here on, above what is resident now.

    Linux alone tells; elsewhere `peak` is None.
    """

    def __init__(self) -> None:
        gc.collect()
        try:
            Path("/proc/self/clear_refs").write_text("5")
            self.baseline = _status("VmRSS")
        except OSError:
            self.baseline = None

    def peak(self) -> int | None:
        """Bytes above the baseline."""
        high = None if self.baseline is None else _status("VmHWM")
        return None if high is None or self.baseline is None else max(0, high - self.baseline)


def _status(field: str) -> int | None:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    return None
