"""The process that measures one workload on one peer, and prints what it saw as JSON."""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks import peers, timing
from benchmarks.registry import load

__all__ = ["main"]


def _import_time(peer: str, threads: int) -> float:
    start = time.perf_counter()
    peers.start(peer, threads)
    return time.perf_counter() - start


def _save(out: Any, path: str | None) -> str:
    """Keep the results for comparison; returns a digest of their bits."""
    np = importlib.import_module("numpy")
    arrays = [np.ascontiguousarray(peers.to_numpy(x)) for x in peers.leaves(out)]
    digest = hashlib.sha256()
    for x in arrays:
        digest.update(f"{x.dtype}{x.shape}".encode() + x.tobytes())
    if path is not None:
        np.savez(path, *arrays)
    return digest.hexdigest()


def _measure(options: argparse.Namespace) -> dict[str, Any]:
    imported = _import_time(options.peer, options.threads)
    peers.import_the_rest(options.peer)
    task = load()[options.workload]
    form = task.form(options.peer)
    if form is None:
        raise SystemExit(f"{options.peer} cannot run {task.name}")
    function, arguments, wait = peers.make_call(options.peer, task, form)
    memory = timing.Memory()
    first, out = timing.timed(lambda: wait(function(*arguments)))
    wait(function(*arguments))
    peak = memory.peak()
    digest = _save(out, options.results)
    del out
    steady = timing.steady_time(function, arguments, wait, seconds=options.seconds, call=task.call)
    return {
        "import": imported,
        "first": first,
        "steady": steady,
        "peak": peak,
        "digest": digest,
    }


def main(argv: list[str] | None = None) -> None:
    """Measure, and print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workload")
    parser.add_argument("peer", choices=peers.PEERS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--results", type=Path, default=None)
    print(json.dumps(_measure(parser.parse_args(argv))), file=sys.stdout)


if __name__ == "__main__":
    main()
