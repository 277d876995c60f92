"""Ctrl-C in long loops: what compiled programs call every now and then.

    i32 pb_poll(ptr last)

A back edge of a loop that may run long counts its turns and calls it after an estimated twenty
microseconds. It looks at the clock, and every fiftieth of a second it takes the GIL and lets Python
run the handlers of signals (which it does in the main thread only). If a handler raises, as the one
for Ctrl-C does, the exception is put aside, the program ends with status `INTERRUPTED`, and the
caller raises the exception by `raise_interrupt`.
"""

from __future__ import annotations

import ctypes
import sys
import time
from functools import cache
from typing import Final

from pullback.llvm import jit

__all__ = ["INTERRUPTED", "POLL_WORK_NS", "address", "raise_interrupt"]

INTERRUPTED: Final = 2
POLL_WORK_NS: Final = 20_000.0
"""Estimated work between two looks at the clock."""
PERIOD_NS: Final = 50_000_000
_fetched: Final = (ctypes.c_void_p * 3)()
"""Type, value and traceback of the exception; only the main thread handles signals."""


@cache
def _module() -> jit.LoadedModule:
    found = jit.stored_object(
        lambda: (_TEXT, list(_SYMBOLS)), name="pullback_poll", variant=(sys.platform, PERIOD_NS)
    )
    symbols = {name: jit.process_address(name) for name in _SYMBOLS if name != _FETCHED}
    symbols[_FETCHED] = ctypes.addressof(_fetched)
    return jit.load(found.code, symbols, exports=[_POLL])


def address(symbol: str) -> int:
    """The address of `pb_poll`; 0 for other symbols."""
    return _module().address(_POLL) if symbol == _POLL else 0


def raise_interrupt() -> None:
    """Raise the exception that was put aside."""
    restore = ctypes.pythonapi.PyErr_Restore
    restore.argtypes = [ctypes.c_void_p] * 3
    restore.restype = None
    values = list(_fetched)
    ctypes.memset(_fetched, 0, ctypes.sizeof(_fetched))
    restore(*values)  # ctypes raises what is set


_POLL: Final = "pb_poll"
_FETCHED: Final = "pb_fetched_exception"
_SYMBOLS: Final = (
    "clock_gettime",
    "PyGILState_Ensure",
    "PyGILState_Release",
    "PyErr_CheckSignals",
    "PyErr_Fetch",
    _FETCHED,
)
_TEXT: Final = f"""
@{_FETCHED} = external global [3 x ptr]

declare i32 @clock_gettime(i32, ptr)
declare i32 @PyGILState_Ensure()
declare void @PyGILState_Release(i32)
declare i32 @PyErr_CheckSignals()
declare void @PyErr_Fetch(ptr, ptr, ptr)

define i32 @{_POLL}(ptr %last) {{
entry:
  %time = alloca [2 x i64], align 8
  %none = call i32 @clock_gettime(i32 {time.CLOCK_MONOTONIC}, ptr %time)
  %seconds = load i64, ptr %time, align 8
  %rest = getelementptr i64, ptr %time, i64 1
  %fraction = load i64, ptr %rest, align 8
  %scaled = mul i64 %seconds, 1000000000
  %now = add i64 %scaled, %fraction
  %then = load i64, ptr %last, align 8
  %first = icmp eq i64 %then, 0
  br i1 %first, label %begin, label %compare
begin:
  store i64 %now, ptr %last, align 8
  ret i32 0
compare:
  %passed = sub i64 %now, %then
  %early = icmp slt i64 %passed, {PERIOD_NS}
  br i1 %early, label %fine, label %look
fine:
  ret i32 0
look:
  store i64 %now, ptr %last, align 8
  %state = call i32 @PyGILState_Ensure()
  %raised = call i32 @PyErr_CheckSignals()
  %calm = icmp eq i32 %raised, 0
  br i1 %calm, label %go_on, label %stop
go_on:
  call void @PyGILState_Release(i32 %state)
  ret i32 0
stop:
  %value = getelementptr ptr, ptr @{_FETCHED}, i64 1
  %traceback = getelementptr ptr, ptr @{_FETCHED}, i64 2
  call void @PyErr_Fetch(ptr @{_FETCHED}, ptr %value, ptr %traceback)
  call void @PyGILState_Release(i32 %state)
  ret i32 {INTERRUPTED}
}}
"""
