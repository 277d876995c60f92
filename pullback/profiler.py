"""Profiles: the namespace `jax.profiler`.

A trace holds what happened between `start_trace` and `stop_trace`: functions being traced, lowered
and compiled, programs that ran, blocks under `named_scope`, and the user's own annotations, one
row for each thread.  It is written as a Chrome trace (`.trace.json.gz`), which Perfetto
(https://ui.perfetto.dev), Chrome and TensorBoard open.  While one is taken, calls of compiled
functions go through Python to be measured, which costs some microseconds each.
"""

from __future__ import annotations

import contextlib
import functools
import gzip
import http.server
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pullback import config, monitoring
from pullback.core.devices import check_device
from pullback.errors import UnsupportedError
from pullback.profiles import ProfileData, ProfileEvent, ProfilePlane
from pullback.profiles.memory import memory_profile

__all__ = [
    "ProfileData",
    "ProfileEvent",
    "ProfileOptions",
    "ProfilePlane",
    "StepTraceAnnotation",
    "TraceAnnotation",
    "annotate_function",
    "device_memory_profile",
    "register_subprocess",
    "save_device_memory_profile",
    "start_server",
    "start_trace",
    "stop_server",
    "stop_trace",
    "trace",
]


class ProfileOptions:
    """What a profile holds; `host_tracer_level = 0` leaves out the user's annotations.

    The other options are those of XLA's profiler, and change nothing here.

    >>> options = ProfileOptions()
    >>> options.host_tracer_level
    2
    """

    def __init__(self) -> None:
        self.advanced_configuration: dict[str, Any] = {}
        self.duration_ms = 0
        self.enable_hlo_proto = True
        self.host_tracer_level = 2
        self.include_dataset_ops = True
        self.python_tracer_level = 1
        self.raise_error_on_start_failure = False
        self.repository_path = ""
        self.session_id = ""
        self.start_timestamp_ns = 0


# --------------------------------------------------------------------------- a trace

_NAMES: Final = {
    monitoring.TRACE: ("trace", "fun_name"),
    monitoring.LOWER: ("lower", "fun_name"),
    monitoring.COMPILE: ("compile", "fun_name"),
    monitoring.EXECUTE: ("execute", "fun_name"),
    monitoring.NAMED_SCOPE: ("", "scope"),
}
"""What an event is called in a trace: a verb, and the metadata that says of what."""


def _shown_name(event: str, metadata: dict[str, Any]) -> str:
    verb, key = _NAMES.get(event, (event, ""))
    return f"{verb} {metadata.get(key, '')}".strip()


@dataclass
class _Session:
    """A trace that is being taken."""

    directory: Path
    link: bool
    perfetto: bool
    annotations: bool
    events: list[dict[str, Any]] = field(default_factory=list)
    threads: dict[int, str] = field(default_factory=dict)

    def add(self, name: str, start: float, end: float, metadata: dict[str, Any]) -> None:
        """Note something that took from `start` to `end`, in seconds since 1970."""
        thread = threading.current_thread()
        number = thread.native_id or 0
        self.threads[number] = thread.name
        self.events.append(
            {
                "ph": "X",
                "pid": os.getpid(),
                "tid": number,
                "ts": start * 1e6,
                "dur": max(end - start, 0.0) * 1e6,
                "name": name,
                "args": {k: str(v) for k, v in metadata.items()},
            }
        )

    def on_span(self, event: str, start: float, end: float, **metadata: Any) -> None:
        """The listener of time spans."""
        self.add(_shown_name(event, metadata), start, end, {"event": event, **metadata})

    def chrome_trace(self) -> dict[str, Any]:
        """The trace in Chrome's format."""
        pid = os.getpid()
        names = [{"ph": "M", "pid": pid, "name": "process_name", "args": {"name": "/host:CPU"}}]
        names += [
            {"ph": "M", "pid": pid, "tid": t, "name": "thread_name", "args": {"name": name}}
            for t, name in sorted(self.threads.items())
        ]
        return {"displayTimeUnit": "ns", "traceEvents": names + self.events}

    def write(self) -> Path:
        """Write the files; the path of the one for Perfetto."""
        stamp = time.strftime("%Y_%m_%d_%H_%M_%S")
        folder = self.directory / "plugins" / "profile" / stamp
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self.chrome_trace()).encode()
        path = folder / f"{socket.gethostname()}.trace.json.gz"
        path.write_bytes(gzip.compress(text))
        if self.perfetto or self.link:
            path = folder / "perfetto_trace.json.gz"
            path.write_bytes(gzip.compress(text))
        return path


_lock: Final = threading.Lock()
_sessions: Final[list[_Session]] = []
"""The trace that is being taken, if there is one."""


def start_trace(
    log_dir: os.PathLike[str] | str,
    create_perfetto_link: bool = False,
    create_perfetto_trace: bool = False,
    profiler_options: ProfileOptions | None = None,
) -> None:
    """Take a trace from now on, to be written below `log_dir` by `stop_trace`.

    Raises RuntimeError if one is being taken already. `create_perfetto_trace` also writes
    `perfetto_trace.json.gz`; `create_perfetto_link` prints a link that opens it, and waits until
    the browser has fetched it.
    """
    options = profiler_options or ProfileOptions()
    session = _Session(
        Path(log_dir), create_perfetto_link, create_perfetto_trace, options.host_tracer_level > 0
    )
    with _lock:
        if _sessions:
            raise RuntimeError("Profile has already been started. Only one may run at a time.")
        _sessions.append(session)
        config.ACTIVE.append(_sessions)
    monitoring.register_event_time_span_listener(session.on_span)


def stop_trace() -> None:
    """End the trace and write it; raises RuntimeError if none is being taken."""
    with _lock:
        if not _sessions:
            raise RuntimeError("No profile started")
        session = _sessions.pop()
        config.ACTIVE.remove(_sessions)
    with contextlib.suppress(AssertionError):  # somebody cleared all listeners
        monitoring.unregister_event_time_span_listener(session.on_span)
    path = session.write()
    if session.link:
        _serve_once(path)


@contextlib.contextmanager
def trace(
    log_dir: os.PathLike[str] | str,
    create_perfetto_link: bool = False,
    create_perfetto_trace: bool = False,
    profiler_options: ProfileOptions | None = None,
) -> Iterator[None]:
    """Take a trace of a `with` block; see `start_trace`.

    >>> import tempfile, pullback as pb
    >>> folder = tempfile.mkdtemp()
    >>> with pb.profiler.trace(folder):
    ...     _ = pb.jit(lambda x: x + 1)(1.0)
    >>> [p.suffixes[-2:] for p in Path(folder).rglob("*.gz")]
    [['.json', '.gz']]
    """
    start_trace(log_dir, create_perfetto_link, create_perfetto_trace, profiler_options)
    try:
        yield
    finally:
        stop_trace()


def _serve_once(path: Path) -> None:
    """Print a link that opens the trace in Perfetto, and give it the file once."""
    content = path.read_bytes()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """The file."""
            self.server.fetched = True  # type: ignore[attr-defined]
            self.send_response(200)
            self.send_header("Access-Control-Allow-Origin", "https://ui.perfetto.dev")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing."""

    # Perfetto fetches from this port alone.
    with http.server.HTTPServer(("127.0.0.1", 9001), Handler) as server:
        server.fetched = False  # type: ignore[attr-defined]
        print(
            f"Open URL in browser: https://ui.perfetto.dev/#!/?url=http://127.0.0.1:9001/{path.name}"
        )
        while not server.fetched:  # type: ignore[attr-defined]
            server.handle_request()


# --------------------------------------------------------------------------- annotations


class TraceAnnotation:
    """A `with` block that shows in a trace under a name, with its keyword arguments.

    >>> with TraceAnnotation("load", files=3):
    ...     pass
    """

    def __init__(self, name: str, **kwargs: Any) -> None:
        self.name = name
        self.metadata = dict(kwargs)
        self._start = 0.0

    def set_metadata(self, **kwargs: Any) -> None:
        """Add to what is shown with it."""
        self.metadata.update(kwargs)

    @staticmethod
    def is_enabled() -> bool:
        """Whether a trace is being taken."""
        return any(session.annotations for session in _sessions)

    def __enter__(self) -> TraceAnnotation:
        self._start = time.time()
        return self

    def __exit__(self, *exc: object) -> None:
        for session in tuple(_sessions):
            if session.annotations:
                session.add(self.name, self._start, time.time(), self.metadata)


class StepTraceAnnotation(TraceAnnotation):
    """A `with` block that is one step of training, numbered by `step_num`.

    >>> with StepTraceAnnotation("train", step_num=7) as step:
    ...     step.metadata
    {'step_num': 7, '_r': 1}
    """

    def __init__(self, name: str, **kwargs: Any) -> None:
        super().__init__(name, **kwargs, _r=1)


def annotate_function(
    func: Callable[..., Any], name: str | None = None, **decorator_kwargs: Any
) -> Callable[..., Any]:
    """`func`, whose calls show in a trace, under its own name by default.

    >>> annotate_function(lambda x: x + 1, name="increment")(1)
    2
    """
    shown = name or getattr(func, "__qualname__", None) or repr(func)

    @functools.wraps(func)
    def annotated(*args: Any, **kwargs: Any) -> Any:
        with TraceAnnotation(shown, **decorator_kwargs):
            return func(*args, **kwargs)

    return annotated


# --------------------------------------------------------------------------- memory, servers


def device_memory_profile(backend: str | None = None) -> bytes:
    """What arrays hold memory, by shape and dtype: a gzipped profile in the format of pprof.

    >>> device_memory_profile()[:2] == gzip.compress(b"")[:2]
    True
    """
    check_device(backend, "device_memory_profile")
    return memory_profile()


def save_device_memory_profile(filename: Any, backend: str | None = None) -> None:
    """Write `device_memory_profile()` to a file; `pprof` shows it."""
    Path(filename).write_bytes(device_memory_profile(backend))


def _no_server(name: str) -> UnsupportedError:
    return UnsupportedError(
        f"{name}: pullback has no profiler server; take a trace in the program itself by "
        "profiler.trace(log_dir)"
    )


def start_server(port: int, requires_backend: bool = True) -> Any:
    """Unsupported: a server from which TensorBoard takes profiles."""
    raise _no_server("start_server")


def stop_server() -> None:
    """Raises ValueError: there is no server."""
    raise ValueError("No active profiler server.")


def register_subprocess(pid: int, port: int) -> Callable[[], None]:
    """Unsupported: to include another process in the profiles that a server takes."""
    raise _no_server("register_subprocess")
