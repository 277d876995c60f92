"""`pullback.profiler` and `pullback.monitoring`: what is reported is what happened."""

from __future__ import annotations

import gzip
import json
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as jnp
from pullback import monitoring, profiler


def _events(folder: Path) -> list[dict[str, Any]]:
    (path,) = folder.rglob("*.trace.json.gz")
    found: list[dict[str, Any]] = json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]
    return found


def test_trace_holds_what_ran(tmp_path: Path) -> None:
    f = pb.jit(lambda x: jnp.tanh(x) * 3.25)
    f.__name__ = "f"
    x = jnp.ones(7)
    f(x)  # a call that the native path could take from now on
    with profiler.trace(tmp_path):
        with profiler.TraceAnnotation("mine", size=7):
            f(x)
            f(x)
        with pb.named_scope("layer"):
            _ = pb.jit(lambda y: y - 0.125)(x)
        thread = threading.Thread(target=lambda: f(x), name="other")
        thread.start()
        thread.join()
    f(x)
    spans = [e for e in _events(tmp_path) if e["ph"] == "X"]
    counts = Counter(e["name"] for e in spans)
    assert counts["mine"] == counts["layer"] == counts["trace <lambda>"] == 1
    assert counts["execute <lambda>"] == 4
    assert len({e["tid"] for e in spans}) == 2
    (mine,) = [e for e in spans if e["name"] == "mine"]
    assert mine["args"] == {"size": "7"}
    inside = [
        e
        for e in spans
        if e["name"].startswith("execute")
        and mine["ts"] - 1 <= e["ts"]
        and e["ts"] + e["dur"] <= mine["ts"] + mine["dur"] + 1
    ]
    assert len(inside) == 2


def test_native_calls_come_back_after_a_trace(tmp_path: Path) -> None:
    f = pb.jit(lambda x: x + 1)
    with pb.debug_key_reuse(False):
        profiler.start_trace(tmp_path)
    profiler.stop_trace()
    assert not pb.config.ACTIVE
    f(1.0)
    assert f.entries


def test_profile_data_reads_a_trace(tmp_path: Path) -> None:
    with (
        profiler.trace(tmp_path, create_perfetto_trace=True),
        profiler.StepTraceAnnotation("train", step_num=3),
    ):
        pass
    (path,) = tmp_path.rglob("perfetto_trace.json.gz")
    data = profiler.ProfileData.from_file(path)
    (plane,) = data.planes
    assert data.find_plane_with_name(plane.name) is plane
    (event,) = [e for line in plane.lines for e in line.events]
    assert event.name == "train"
    assert dict(event.stats)["step_num"] == "3"
    assert event.end_ns >= event.start_ns


def test_two_traces_at_once_are_refused(tmp_path: Path) -> None:
    with profiler.trace(tmp_path), pytest.raises(RuntimeError, match="already"):
        profiler.start_trace(tmp_path)
    with pytest.raises(RuntimeError, match="No profile"):
        profiler.stop_trace()


def _fields(data: bytes) -> list[tuple[int, Any]]:
    """The fields of a protocol buffer message."""
    found: list[tuple[int, Any]] = []
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        tag = varint()
        if tag & 7 == 0:
            found.append((tag >> 3, varint()))
        else:
            assert tag & 7 == 2
            length = varint()
            found.append((tag >> 3, data[at : at + length]))
            at += length
    return found


def test_memory_profile_counts_arrays() -> None:
    kept = [jnp.asarray(np.full((3, 17, 5), k, np.float32)) for k in range(4)]
    fields = _fields(gzip.decompress(profiler.device_memory_profile()))
    strings = [v.decode() for k, v in fields if k == 6]
    functions = {dict(_fields(v))[1]: strings[dict(_fields(v))[2]] for k, v in fields if k == 5}
    (number,) = [k for k, name in functions.items() if name == "array f32[3,17,5]"]
    samples = [dict(_fields(v)) for k, v in fields if k == 2]
    (values,) = [list(s[2]) for s in samples if list(s[1]) == [number]]
    assert values[0] == len(kept)
    decoded = values[1] & 0x7F | values[2] << 7
    assert decoded == sum(x.nbytes for x in kept)


def test_listeners_see_compilation() -> None:
    seen: list[tuple[str, Any]] = []

    def on_duration(event: str, seconds: float, **kwargs: Any) -> None:
        assert seconds >= 0
        seen.append((event, kwargs.get("fun_name")))

    monitoring.register_event_duration_secs_listener(on_duration)
    try:
        pb.jit(_a_function_of_its_own)(jnp.ones(5))
    finally:
        monitoring.unregister_event_duration_listener(on_duration)
    assert (monitoring.TRACE, "_a_function_of_its_own") in seen
    assert (monitoring.EXECUTE, "_a_function_of_its_own") in seen
    pb.jit(lambda x: x + 5)(1.0)
    assert len([e for e in seen if e[0] == monitoring.TRACE]) == 1


def _a_function_of_its_own(x: Any) -> Any:
    return jnp.cos(x) + 0.7734375


def test_unknown_listener() -> None:
    with pytest.raises(AssertionError):
        monitoring.unregister_scalar_listener(print)
