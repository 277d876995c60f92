"""Profiles that were written: what `pullback.profiler` reads back."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, final

from pullback.errors import UnsupportedError

__all__ = ["ProfileData", "ProfileEvent", "ProfileLine", "ProfilePlane"]


@final
class ProfileEvent:
    """Something that took from `start_ns` to `end_ns`."""

    def __init__(self, event: dict[str, Any]) -> None:
        self.name: str = event["name"]
        self.start_ns = float(event["ts"]) * 1e3
        self.duration_ns = float(event["dur"]) * 1e3
        self._stats = event.get("args", {})

    @property
    def end_ns(self) -> float:
        """When it ended."""
        return self.start_ns + self.duration_ns

    @property
    def stats(self) -> Iterator[tuple[str, Any]]:
        """What is known of it: pairs of a name and a value."""
        return iter(self._stats.items())

    def __repr__(self) -> str:
        return f"ProfileEvent({self.name!r}, {self.duration_ns:.0f} ns)"


@final
class ProfileLine:
    """The events of one thread."""

    def __init__(self, name: str, events: list[ProfileEvent]) -> None:
        self.name = name
        self._events = events

    @property
    def events(self) -> Iterator[ProfileEvent]:
        """The events in order of their ends."""
        return iter(self._events)


@final
class ProfilePlane:
    """The lines of one process."""

    def __init__(self, name: str, lines: list[ProfileLine]) -> None:
        self.name = name
        self._lines = lines

    @property
    def lines(self) -> Iterator[ProfileLine]:
        """The lines."""
        return iter(self._lines)

    @property
    def stats(self) -> Iterator[tuple[str, Any]]:
        """What is known of the process; nothing."""
        return iter(())


@final
class ProfileData:
    """A trace that `stop_trace` wrote."""

    def __init__(self, trace: dict[str, Any]) -> None:
        self._planes = list(_planes(trace["traceEvents"]))

    @classmethod
    def from_file(cls, path: Any) -> ProfileData:
        """Read a `.trace.json` or `.trace.json.gz`; other formats are unsupported."""
        data = Path(path).read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
        if not data.lstrip().startswith(b"{"):
            raise UnsupportedError(
                f"ProfileData: {path} is no Chrome trace; XSpace files are not read"
            )
        return cls(json.loads(data))

    @classmethod
    def from_serialized_xspace(cls, serialized: bytes) -> ProfileData:
        """Unsupported: XLA's binary format."""
        raise UnsupportedError("ProfileData: XLA's XSpace format is not read; use from_file")

    @property
    def planes(self) -> Iterator[ProfilePlane]:
        """The processes."""
        return iter(self._planes)

    def find_plane_with_name(self, name: str) -> ProfilePlane | None:
        """The process of this name, or None."""
        return next((p for p in self._planes if p.name == name), None)


def _planes(events: list[dict[str, Any]]) -> Iterator[ProfilePlane]:
    names = {
        (e["name"], e["pid"], e.get("tid")): e["args"]["name"] for e in events if e["ph"] == "M"
    }
    rows: dict[Any, dict[Any, list[ProfileEvent]]] = {}
    for event in events:
        if event["ph"] == "X":
            lines = rows.setdefault(event["pid"], {})
            lines.setdefault(event["tid"], []).append(ProfileEvent(event))
    for pid, lines in rows.items():
        yield ProfilePlane(
            names.get(("process_name", pid, None), str(pid)),
            [
                ProfileLine(names.get(("thread_name", pid, tid), str(tid)), found)
                for tid, found in lines.items()
            ],
        )
