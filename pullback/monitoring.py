"""Events of the system for people who watch it: the namespace `jax.monitoring`.

Tracing, compiling and running report what they do here; listeners get it as it happens.  Nothing
is measured while nobody listens.  The names of the events are JAX's where it has one:

- `/jax/core/compile/jaxpr_trace_duration`: a function was traced.
- `/jax/core/compile/jaxpr_to_mlir_module_duration`: a jaxpr became LLVM text.
- `/jax/core/compile/backend_compile_duration`: LLVM text became machine code.
- `/jax/compilation_cache/compile_requests_use_cache`, `.../cache_hits`, `.../cache_misses`: a
  program was looked for in the disk cache, and found or not.
- `/pullback/execute_duration`: a program ran. Calls by the native path report nothing, unless a
  profile is being taken.
- `/pullback/named_scope_duration`: a block under `named_scope` ran, or was traced.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

__all__ = [
    "clear_event_listeners",
    "record_event",
    "record_event_duration_secs",
    "record_event_time_span",
    "record_scalar",
    "register_event_duration_secs_listener",
    "register_event_listener",
    "register_event_time_span_listener",
    "register_scalar_listener",
    "unregister_event_duration_listener",
    "unregister_event_listener",
    "unregister_event_time_span_listener",
    "unregister_scalar_listener",
]

Listener = Callable[..., None]

TRACE: Final = "/jax/core/compile/jaxpr_trace_duration"
LOWER: Final = "/jax/core/compile/jaxpr_to_mlir_module_duration"
COMPILE: Final = "/jax/core/compile/backend_compile_duration"
EXECUTE: Final = "/pullback/execute_duration"
NAMED_SCOPE: Final = "/pullback/named_scope_duration"
CACHE_REQUEST: Final = "/jax/compilation_cache/compile_requests_use_cache"
CACHE_HIT: Final = "/jax/compilation_cache/cache_hits"
CACHE_MISS: Final = "/jax/compilation_cache/cache_misses"

_events: Final[list[Listener]] = []
_durations: Final[list[Listener]] = []
_spans: Final[list[Listener]] = []
_scalars: Final[list[Listener]] = []


# --------------------------------------------------------------------------- reporting


def record_event(event: str, **kwargs: str | int) -> None:
    """Tell the listeners that something happened.

    >>> seen = []
    >>> listener = lambda event, **kwargs: seen.append((event, kwargs))
    >>> register_event_listener(listener)
    >>> record_event("/app/started", version=2)
    >>> unregister_event_listener(listener)
    >>> seen
    [('/app/started', {'version': 2})]
    """
    for listener in tuple(_events):
        listener(event, **kwargs)


def record_event_duration_secs(event: str, duration: float, **kwargs: str | int) -> None:
    """Tell the listeners how many seconds something took."""
    for listener in tuple(_durations):
        listener(event, duration, **kwargs)


def record_event_time_span(
    event: str, start_time: float, end_time: float, **kwargs: str | int
) -> None:
    """Tell the listeners when something began and ended, in seconds since 1970."""
    for listener in tuple(_spans):
        listener(event, start_time, end_time, **kwargs)


def record_scalar(event: str, value: float | int, **kwargs: str | int) -> None:
    """Tell the listeners a number."""
    for listener in tuple(_scalars):
        listener(event, value, **kwargs)


def listening() -> bool:
    """Whether somebody wants to know how long things take."""
    return bool(_durations or _spans or _scalars)


class timed:
    """Report how long a `with` block took, as a duration and as a span, unless it raises.

    >>> seen = []
    >>> listener = lambda event, seconds, **kwargs: seen.append((event, seconds >= 0, kwargs))
    >>> register_event_duration_secs_listener(listener)
    >>> with timed("/app/step", fun_name="f"):
    ...     pass
    >>> unregister_event_duration_listener(listener)
    >>> seen
    [('/app/step', True, {'fun_name': 'f'})]
    """

    __slots__ = ("event", "metadata", "start", "start_count")

    def __init__(self, event: str, **metadata: str | int) -> None:
        self.event = event
        self.metadata = metadata

    def __enter__(self) -> None:
        self.start = 0.0
        if listening():
            self.start = time.time()
            self.start_count = time.perf_counter()
            record_scalar(self.event, self.start, **self.metadata)

    def __exit__(self, kind: Any, *_: object) -> None:
        if kind is not None or not self.start:
            return
        duration = time.perf_counter() - self.start_count
        record_event_duration_secs(self.event, duration, **self.metadata)
        record_event_time_span(self.event, self.start, self.start + duration, **self.metadata)


# --------------------------------------------------------------------------- listeners


def register_event_listener(callback: Listener) -> None:
    """Call `callback(event, **kwargs)` at each `record_event`."""
    _events.append(callback)


def register_event_duration_secs_listener(callback: Listener) -> None:
    """Call `callback(event, seconds, **kwargs)` at each `record_event_duration_secs`."""
    _durations.append(callback)


def register_event_time_span_listener(callback: Listener) -> None:
    """Call `callback(event, start, end, **kwargs)` at each `record_event_time_span`."""
    _spans.append(callback)


def register_scalar_listener(callback: Listener) -> None:
    """Call `callback(event, value, **kwargs)` at each `record_scalar`."""
    _scalars.append(callback)


def _remove(listeners: list[Listener], callback: Listener) -> None:
    if callback not in listeners:
        raise AssertionError(f"{callback!r} is not registered as a listener")
    listeners.remove(callback)


def unregister_event_listener(callback: Listener) -> None:
    """Undo `register_event_listener`; raises AssertionError if `callback` is not registered."""
    _remove(_events, callback)


def unregister_event_duration_listener(callback: Listener) -> None:
    """Undo `register_event_duration_secs_listener`."""
    _remove(_durations, callback)


def unregister_event_time_span_listener(callback: Listener) -> None:
    """Undo `register_event_time_span_listener`."""
    _remove(_spans, callback)


def unregister_scalar_listener(callback: Listener) -> None:
    """Undo `register_scalar_listener`."""
    _remove(_scalars, callback)


def clear_event_listeners() -> None:
    """Forget all listeners of every kind."""
    for listeners in (_events, _durations, _spans, _scalars):
        listeners.clear()
