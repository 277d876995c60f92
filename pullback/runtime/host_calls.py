"""Calls from compiled programs back into Python: what the symbols `pb_callback_N` lead to.

    i32 pb_callback_N(i64 number, ptr x1, ..., ptr xN)      operands, then results

Each program has trampolines of its own, bound to its table of functions. They take the GIL if the
program has released it. An exception cannot cross native code: it is kept for the thread, the
status makes the program stop, and the program's `on_error` raises it again.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from pullback.control.callbacks import array_hook
from pullback.core import dtypes
from pullback.core.avals import ShapedArray
from pullback.core.lowering import CALLBACK
from pullback.passes.host_calls import HostCall
from pullback.runtime.array import ArrayImpl, from_numpy, make_array

__all__ = ["HostTable", "raise_pending", "run"]

FAILED: Final = 1


class _Pending(threading.local):
    """The exception that stopped the program that is running in this thread."""

    def __init__(self) -> None:
        self.error: BaseException | None = None


_pending = _Pending()


def raise_pending() -> None:
    """Raise the exception of the callback that stopped a program, if there was one."""
    error, _pending.error = _pending.error, None
    if error is not None:
        try:
            raise error
        finally:
            del error


class HostTable:
    """The Python functions of one program, and the native functions that call them."""

    __slots__ = ("_calls", "_trampolines")

    def __init__(self, calls: Sequence[HostCall]) -> None:
        self._calls = tuple(calls)
        self._trampolines: dict[str, Any] = {}

    @property
    def used(self) -> bool:
        """Whether the program calls into Python, so that anything may happen while it runs."""
        return bool(self._calls)

    def address(self, symbol: str) -> int | None:
        """The address of `pb_callback_N`; None for other symbols. Valid while the table lives."""
        if not symbol.startswith(CALLBACK):
            return None
        made = self._trampolines.get(symbol)
        if made is None:
            pointers = [ctypes.c_void_p] * int(symbol.removeprefix(CALLBACK))
            function = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_int64, *pointers)
            made = self._trampolines[symbol] = function(_trampoline(self._calls))
        return ctypes.cast(made, ctypes.c_void_p).value


def _trampoline(calls: tuple[HostCall, ...]) -> Callable[..., int]:
    def enter(number: int, *pointers: int | None) -> int:
        try:
            run(calls[number], pointers)
        except BaseException as error:
            _pending.error = error
            return FAILED
        return 0

    return enter


def run(call: HostCall, pointers: Sequence[int | None]) -> None:
    """Call a function on the operands at addresses, and write its results to the others."""
    n = len(call.in_avals)
    arrays = [
        make_array(_memory(p, a).copy(), a)
        for p, a in zip(pointers[:n], call.in_avals, strict=True)
    ]
    outs = call.function.run(arrays, call.out_avals)
    for p, a, value in zip(pointers[n:], call.out_avals, outs, strict=True):
        np.copyto(_memory(p, a), value)


def _memory(pointer: int | None, aval: ShapedArray) -> np.ndarray[Any, Any]:
    """The elements at an address."""
    dtype = dtypes.physical(aval.dtype)
    if aval.size == 0:
        return np.empty(aval.shape, dtype)
    nbytes = aval.size * dtype.itemsize
    memory = memoryview((ctypes.c_char * nbytes).from_address(pointer or 0)).cast("B")
    elements: np.ndarray[Any, Any] = np.frombuffer(memory, dtype)
    return elements.reshape(aval.shape)


def _as_array(x: Any, aval: ShapedArray) -> ArrayImpl:
    return x if type(x) is ArrayImpl else from_numpy(x, aval)


array_hook.append(_as_array)
