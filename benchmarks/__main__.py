"""`python -m benchmarks [names...]`: measure, print, and keep what was measured."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from tqdm import tqdm

from benchmarks import peers, plot, report, session
from benchmarks.registry import Workload, select

__all__ = ["main"]

HERE: Final = Path(__file__).parent
RECORDS: Final = HERE / "results.json"
PACKAGES: Final = {"jax": "jax", "torch": "torch", "compile": "torch", "numpy": "numpy"}


def _available(wanted: list[str]) -> list[str]:
    found = []
    for peer in wanted:
        try:
            if peer in PACKAGES:
                version(PACKAGES[peer])
            found.append(peer)
        except PackageNotFoundError:
            print(f"{peers.TITLES[peer]} is not installed and left out", file=sys.stderr)
    return found


def _commit() -> str:
    git = ["git", "-C", str(HERE), "rev-parse", "--short=10", "HEAD"]
    try:
        return subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    named = {k.strip(): v.strip() for k, v in fields.items()}
    numbers = f"family {named.get('cpu family')}, model {named.get('model')}"
    return f"{named.get('model name', platform.machine())} ({numbers})"


def _load() -> float:
    """Processes that wanted to run in the last five minutes, before anything was measured."""
    try:
        return os.getloadavg()[1]
    except OSError:
        return 0.0


def _machine(options: session.Options) -> dict[str, Any]:
    packages = {PACKAGES[p] for p in options.peers if p in PACKAGES}
    return {
        "commit": _commit(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "processor": _processor(),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in sorted({*packages, "llvmlite"})},
        "threads": options.threads,
        "load": _load(),
    }


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", help="workloads or families (* matches); default all")
    parser.add_argument("--peers", nargs="+", choices=peers.PEERS, default=list(peers.PEERS))
    parser.add_argument("--rounds", type=int, default=3, help="fresh processes of each peer")
    parser.add_argument("--seconds", type=float, default=0.5, help="steady timing in each process")
    parser.add_argument("--timeout", type=float, default=300.0, help="seconds for one process")
    parser.add_argument("--quick", action="store_true", help="two rounds of a tenth of a second")
    parser.add_argument("--update", action="store_true", help="write results.md and results.png")
    parser.add_argument("--bits", action="store_true", help="compare results at 1 to 4 threads")
    parser.add_argument("--list", action="store_true", help="print the names and do nothing")
    return parser.parse_args(argv)


def _kept(records: Path) -> dict[str, Any]:
    if not records.exists():
        return {}
    kept: dict[str, Any] = json.loads(records.read_text())["workloads"]
    return kept


def _keep(machine: dict[str, Any], limits: dict[str, float], found: dict[str, Any]) -> None:
    """Write records, document and picture, in the order of the workloads."""
    ordered = {t.name: found[t.name] for t in select([]) if t.name in found}
    kept = {"machine": machine, "limits": limits, "workloads": ordered}
    RECORDS.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
    (HERE / "results.md").write_text(report.document(machine, limits, ordered))
    plot.draw(ordered, machine, HERE / "results.png")


def main(argv: list[str] | None = None) -> int:
    """The command; its status is 1 if a result is wrong or Pullback failed."""
    given = _arguments(argv)
    tasks = select(given.names)
    if given.list:
        print("\n".join(f"{t.family:16}{t.name:28}{t.title}" for t in tasks))
        return 0
    if given.bits:
        return _compare_bits(tasks, session.Options(["pullback"], timeout=given.timeout))
    rounds, seconds = (2, 0.1) if given.quick else (given.rounds, given.seconds)
    with tempfile.TemporaryDirectory(prefix="pullback-library-") as folder:
        library = Path(folder)
        options = session.Options(
            _available(given.peers), rounds, seconds, given.timeout, library=library
        )
        session.pin(options.threads)
        machine = _machine(options) | {"library": session.prepare(library, options.threads)}
        limits = session.limits(options.threads)
        print(report.describe(machine, limits), file=sys.stderr)
        return _run(tasks, options, machine, limits, update=given.update)


def _compare_bits(tasks: list[Workload], options: session.Options) -> int:
    """Whether every workload gives the same bits at any number of threads."""
    different = []
    for task in tqdm(tasks, unit="workload", disable=None):
        found = session.bits(task, options)
        if len(set(found.values())) > 1:
            different.append(task.name)
            print(f"{task.name}: {found}")
    print(f"{len(tasks) - len(different)} of {len(tasks)} give the same bits at 1, 2, 3, 4 threads")
    return int(bool(different))


def _run(
    tasks: list[Workload],
    options: session.Options,
    machine: dict[str, Any],
    limits: dict[str, float],
    *,
    update: bool,
) -> int:
    rounds = options.rounds
    found = _kept(RECORDS) if update else {}
    fresh = []
    children = sum(rounds * sum(t.form(p) is not None for p in options.peers) for t in tasks)
    with tqdm(total=children, unit="process", disable=None) as bar:
        for task in tasks:
            bar.set_description(task.name)
            record = session.measure(task, options, lambda _: bar.update() and None)
            found[task.name] = record | {"commit": machine["commit"], "limits": limits}
            fresh.append(found[task.name])
            bar.write(report.line(task.name, found[task.name]))
            if update:  # after each, so that an interrupted run keeps what it has
                _keep(machine, limits, found)
    if not update:
        print(report.document(machine, limits, found))
    return int(any(report.is_wrong(record) for record in fresh))


if __name__ == "__main__":
    sys.exit(main())
