"""Python functions that programs on plugins' devices call: a table of the process.

A program that has some waits for its end, so that a function's exception is raised by the call, as
on the CPU, and what it prints is there when the call returns.  Functions run on the host: while one
does, what it computes is computed there.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any, Final

from pullback import config
from pullback.passes.host_calls import HostCall
from pullback.runtime.host_calls import run

__all__ = ["Calls", "enter"]

_calls: Final[dict[int, tuple[HostCall, list[BaseException]]]] = {}
_last: Final = [0]


class Calls:
    """The functions of one program, with numbers that no other program's have."""

    def __init__(self, calls: Sequence[HostCall]) -> None:
        self.first = _last[0]
        """The number of the first one."""
        _last[0] += len(calls)
        self._errors: list[BaseException] = []
        for i, call in enumerate(calls):
            _calls[self.first + i] = call, self._errors
        numbers = range(self.first, self.first + len(calls))
        self._forget = weakref.finalize(self, _forget, numbers)

    def guarded(self, function: Callable[[Any], Any], *args: Any) -> Any:
        """The result of running the program; the exception of a function is raised as it was."""
        try:
            return function(*args)
        except Exception:
            if not self._errors:
                raise
            error = self._errors[0]
        finally:
            self._errors.clear()
        raise error


def _forget(numbers: range) -> None:
    for number in numbers:
        _calls.pop(number, None)


def enter(number: int, addresses: Sequence[int]) -> None:
    """Run a function on elements in host memory; called by the plugin."""
    call, errors = _calls[number]
    try:
        with config.platform.override(""), config.default_device.override(None):
            run(call, addresses)
    except BaseException as error:
        errors.append(error)
        raise
