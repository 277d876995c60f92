"""Runs the children: every workload on every peer, each in a fresh process, in turns.

The first round starts with caches on disk that know nothing of the workload, the later ones find
what the first one left.  Pullback's cache holds its own library from the start (call path, thread
pool, kernels), which every installation compiles once; JAX comes with its compiled.
The order of the peers is reversed from round to round, so that a machine that slows down while it
is measured slows all of them down.  Peers without a cache take part in every other round.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks import peers
from benchmarks.registry import Workload

__all__ = ["Options", "bits", "limits", "measure", "pin", "prepare"]

ROOT: Final = Path(__file__).parent.parent


@dataclass(frozen=True)
class Options:
    """How much to measure."""

    peers: Sequence[str]
    rounds: int = 3
    seconds: float = 0.5
    timeout: float = 300.0
    threads: int = 2
    library: Path | None = None
    """What `prepare` made: caches that a first round starts with."""


@dataclass
class _Seen:
    """What the children of one peer said."""

    rounds: list[dict[str, Any]] = field(default_factory=list)
    results: list[Any] | None = None
    error: str | None = None


def pin(threads: int) -> None:
    """Children run on so many cores: XLA has no other setting for its threads."""
    if sys.platform == "linux":
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def _child(task: Workload, peer: str, cache: Path, options: Options, *, keep: bool) -> _Seen:
    results = cache / f"{peer}.npz"
    command = [sys.executable, "-m", "benchmarks.child", task.name, peer]
    command += ["--threads", str(options.threads), "--seconds", str(options.seconds)]
    command += ["--results", str(results)] if keep else []
    env = peers.environment(cache, options.threads, x64=task.x64)
    try:
        done = subprocess.run(
            command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=options.timeout
        )
    except subprocess.TimeoutExpired:
        return _Seen(error=f"more than {options.timeout:.0f} s")
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        return _Seen(error=lines[-1][:300])
    seen = _Seen([json.loads(done.stdout.strip().splitlines()[-1])])
    if keep:
        with np.load(results) as saved:
            seen.results = [saved[name] for name in saved.files]
        results.unlink()
    return seen


def measure(
    task: Workload, options: Options, tick: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """The record of one workload: what each peer took, and how far it is from the others.

    `tick` is told of every child that has ended.
    """
    able = [p for p in options.peers if task.form(p) is not None]
    seen = {p: _Seen() for p in able}
    with tempfile.TemporaryDirectory(prefix="pullback-bench-") as folder:
        if options.library is not None:
            shutil.copytree(options.library, folder, dirs_exist_ok=True)
        for number in range(options.rounds):
            for peer in able if number % 2 == 0 else reversed(able):
                mine = seen[peer]
                again = number % 2 == 0 or peer in peers.WITH_CACHE
                if mine.error is None and again:
                    child = _child(task, peer, Path(folder), options, keep=number == 0)
                    mine.rounds += child.rounds
                    mine.results = mine.results or child.results
                    mine.error = child.error
                tick(peer)
    differences = _differences(task, seen)
    return {
        "title": task.title,
        "family": task.family,
        "bytes": task.bytes,
        "flops": task.flops,
        "double": task.double,
        "tolerance": task.tolerance,
        "peers": {p: _summary(s) | differences.get(p, {}) for p, s in seen.items()},
    }


def bits(task: Workload, options: Options) -> dict[int, str]:
    """A digest of Pullback's results with each number of threads, or what went wrong."""
    found = {}
    with tempfile.TemporaryDirectory(prefix="pullback-bench-") as folder:
        for threads in (1, 2, 3, 4):
            alone = replace(options, threads=threads, seconds=0.0)
            seen = _child(task, "pullback", Path(folder), alone, keep=False)
            found[threads] = seen.error or str(seen.rounds[0]["digest"])
    return found


def _summary(seen: _Seen) -> dict[str, Any]:
    if seen.error is not None:
        return {"error": seen.error}
    cold, *warm = seen.rounds
    peaks = [r["peak"] for r in warm or [cold] if r["peak"] is not None]
    return {
        "import": min(r["import"] for r in seen.rounds),
        "first": cold["first"],
        "warm": min((r["first"] for r in warm), default=None),
        "steady": min(r["steady"] for r in seen.rounds),
        "peak": min(peaks, default=None),
        "same_bits": len({r["digest"] for r in seen.rounds}) == 1,
    }


def _differences(task: Workload, seen: dict[str, _Seen]) -> dict[str, dict[str, float]]:
    """How far each peer is from JAX; from PyTorch or NumPy where JAX did not run."""
    comparable = [p for p in ("jax", "torch", "numpy", "compile") if p in task.same_as]
    reference = next((p for p in comparable if p in seen and seen[p].results is not None), None)
    if reference is None:
        return {}
    expected = seen[reference].results or []
    return {
        p: {"difference": _distance(mine.results, expected)}
        for p, mine in seen.items()
        if mine.results is not None and p != reference and p in ("pullback", *task.same_as)
    }


def _distance(mine: Sequence[Any], expected: Sequence[Any]) -> float:
    """The largest difference of any result, relative to the largest magnitude in it."""
    if len(mine) != len(expected):
        return float("inf")
    worst = 0.0
    for x, y in zip(mine, expected, strict=True):
        if x.size != y.size:
            return float("inf")
        kind = np.complex128 if "c" in (x.dtype.kind, y.dtype.kind) else np.float64
        a, b = x.astype(kind).ravel(), y.astype(kind).ravel()
        with np.errstate(all="ignore"):
            equal = (a == b) | (np.isnan(a) & np.isnan(b))
            gaps = np.where(equal, 0.0, np.abs(a - b))
            finite = np.abs(b[np.isfinite(b)])
        scale = max(float(finite.max(initial=0.0)), 1e-30)
        gap = float(np.max(gaps, initial=0.0)) / scale
        worst = max(worst, float("inf") if math.isnan(gap) else gap)
    return worst


def prepare(cache: Path, threads: int) -> float:
    """Let Pullback compile its library into `cache`, as once after an installation; the seconds."""
    env = peers.environment(cache, threads, x64=True)
    start = time.perf_counter()
    command = [sys.executable, "-m", "pullback", "prepare"]
    subprocess.run(command, env=env, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def limits(threads: int) -> dict[str, float]:
    """The limits of the machine, measured in a process of their own."""
    env = peers.environment(Path(tempfile.gettempdir()), threads, x64=False)
    command = [sys.executable, "-m", "benchmarks.limits"]
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found
