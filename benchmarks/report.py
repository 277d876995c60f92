"""From records of measurements to text: a line for each workload, and the document."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from benchmarks.explanations import EXPLANATIONS
from benchmarks.peers import TITLES

__all__ = ["below_the_bar", "describe", "document", "is_wrong", "line", "ratio", "share"]

Record = Mapping[str, Any]

STEADY_RATIO: Final = 2.0
FIRST_RATIO: Final = 3.0
WARM_RATIO: Final = 10.0
BANDWIDTH_SHARE: Final = 0.8
ARITHMETIC_SHARE: Final = 0.8
DENSE: Final = ("matmul_", "convolution", "dense_layer")
"""Products and convolutions, which are held to the share of arithmetic from 256 on."""


def _value(record: Record, peer: str, what: str) -> float | None:
    found = record["peers"].get(peer, {}).get(what)
    return None if found is None else float(found)


def ratio(record: Record, what: str, peers: Iterable[str]) -> float | None:
    """How much longer the best of these peers takes than Pullback; None where none ran."""
    mine = _value(record, "pullback", what)
    others = [v for p in peers if (v := _value(record, p, what)) is not None]
    return min(others) / mine if mine and others else None


def share(record: Record, peer: str = "pullback") -> tuple[float, str] | None:
    """The part of the machine's limit that is reached, and which limit that is."""
    seconds = _value(record, peer, "steady")
    if seconds is None:
        return None
    limits = record["limits"]
    rate = limits["float64" if record["double"] else "float32"]
    shares = [
        (record["bytes"] / seconds / limits["bandwidth"], "bandwidth"),
        (record["flops"] / seconds / rate, "arithmetic"),
    ]
    best = max(shares)
    return best if best[0] > 0 else None


def is_wrong(record: Record) -> bool:
    """Whether Pullback failed, or is further from the others than the tolerance."""
    mine = record["peers"].get("pullback", {})
    return "error" in mine or mine.get("difference", 0.0) > record["tolerance"]


RIVALS: Final = ("torch", "compile", "numpy")


def below_the_bar(name: str, record: Record) -> list[str]:
    """What about a workload is worse than it should be, in words."""
    mine = record["peers"].get("pullback", {})
    if "error" in mine:
        return [f"fails: {mine['error']}"]
    found = []
    if is_wrong(record):
        found.append(f"differs by {mine['difference']:.1e}")
    if mine.get("same_bits") is False:
        found.append("other bits in another run")
    checks: list[tuple[str, str, Iterable[str], str]] = [
        ("steady", "steady", ("jax",), "JAX"),
        ("steady", "steady", RIVALS, "the better of PyTorch and NumPy"),
        ("first", "first call", ("jax",), "JAX"),
        ("warm", "warm first call", ("jax",), "JAX"),
    ]
    for what, words, peers, whom in checks:
        times = ratio(record, what, peers)
        if times is not None and times < 1.0:
            found.append(f"{words} {times:.2f}× {whom}")
    reached = share(record)
    if reached is not None:
        part, limit = reached
        dense = name.startswith(DENSE) and name != "matmul_64" and limit == "arithmetic"
        if (limit == "bandwidth" and part < BANDWIDTH_SHARE) or (dense and part < ARITHMETIC_SHARE):
            found.append(f"{part:.0%} of the limit of {limit}")
    return found


# ------------------------------------------------------------------------------------------- text


def seconds_text(seconds: float | None) -> str:
    """A time with its unit, of three digits."""
    if seconds is None:
        return "—"
    for limit, factor, unit in ((1e-3, 1e6, "µs"), (1.0, 1e3, "ms")):
        if seconds < limit:
            return f"{_three(seconds * factor)} {unit}"
    return f"{_three(seconds)} s"


def _three(x: float) -> str:
    digits = 2 if x < 10 else 1 if x < 100 else 0
    return f"{x:,.{digits}f}"


def _bytes_text(size: float | None) -> str:
    return "—" if size is None else f"{size / 2**20:,.1f}"


def _ratio_text(x: float | None) -> str:
    if x is None:
        return "—"
    text = f"{_three(x) if x < 10 else f'{x:,.0f}'}×"
    return text if x >= 1.0 else f"**{text}**"


def _share_text(record: Record) -> str:
    reached = share(record)
    return "—" if reached is None else f"{reached[0]:.0%} {reached[1]}"


BUSY: Final = (
    " **Other work ran on the machine (load {:.0f}) before and while this was measured: times are "
    "rough, first calls and whatever uses both threads most of all.**"
)


def describe(machine: Record, limits: Record) -> str:
    """The machine and its limits, in a paragraph."""
    packages = ", ".join(f"{name} {v}" for name, v in machine["packages"].items())
    busy = machine["load"] > 0.5
    return (
        f"Commit {machine['commit']}, {machine['date']}; {machine['processor']}, "
        f"{machine['threads']} threads; {machine['system']}; Python {machine['python']}, "
        f"{packages}. Limits of the machine: triad {limits['bandwidth'] / 1e9:.1f} GB/s, "
        f"multiply-adds {limits['float32'] / 1e9:.0f} GFLOP/s in float32, "
        f"{limits['float64'] / 1e9:.0f} in float64. "
        f"Pullback's own library (call path, thread pool, kernels) was compiled once, in "
        f"{seconds_text(machine['library'])}." + (BUSY.format(machine["load"]) if busy else "")
    )


def line(name: str, record: Record) -> str:
    """One workload on one line, for a terminal."""
    times = "  ".join(
        f"{TITLES[p]} {seconds_text(_value(record, p, 'steady'))}" for p in record["peers"]
    )
    worse = below_the_bar(name, record)
    return f"{name}: {times}" + (f"  [{'; '.join(worse)}]" if worse else "")


def _mean(ratios: Iterable[float | None]) -> float | None:
    known = [math.log(r) for r in ratios if r is not None]
    return math.exp(sum(known) / len(known)) if known else None


def _table(header: list[str], rows: Iterable[list[str]]) -> list[str]:
    rule = ["---"] + ["---:"] * (len(header) - 1)
    return [f"| {' | '.join(cells)} |" for cells in (header, rule, *rows)]


def _steady_row(record: Record) -> list[str]:
    peers = ("pullback", "jax", "torch", "compile", "numpy")
    difference = _value(record, "pullback", "difference")
    return [
        record["title"],
        *(seconds_text(_value(record, p, "steady")) for p in peers),
        _ratio_text(ratio(record, "steady", ("jax",))),
        _ratio_text(ratio(record, "steady", RIVALS)),
        _share_text(record),
        "—" if difference is None else f"{difference:.0e}",
    ]


def _first_row(record: Record) -> list[str]:
    return [
        record["title"],
        seconds_text(_value(record, "pullback", "first")),
        seconds_text(_value(record, "jax", "first")),
        _ratio_text(ratio(record, "first", ("jax",))),
        seconds_text(_value(record, "pullback", "warm")),
        seconds_text(_value(record, "jax", "warm")),
        _ratio_text(ratio(record, "warm", ("jax",))),
        *(_bytes_text(_value(record, p, "peak")) for p in ("pullback", "jax", "torch", "numpy")),
    ]


def _summary(found: Mapping[str, Record]) -> list[str]:
    records = list(found.values())

    def over(what: str, peers: Iterable[str]) -> Callable[[Record], float | None]:
        return lambda record: ratio(record, what, peers)

    rows = []
    for title, what, peers, bar in (
        ("steady, against JAX", "steady", ("jax",), STEADY_RATIO),
        ("steady, against the better of PyTorch and NumPy", "steady", RIVALS, 1.0),
        ("first call, against JAX", "first", ("jax",), FIRST_RATIO),
        ("first call from the disk cache, against JAX's", "warm", ("jax",), WARM_RATIO),
    ):
        ratios = [r for r in map(over(what, peers), records) if r is not None]
        if ratios:
            below = sum(r < 1.0 for r in ratios)
            rows.append(
                [
                    title,
                    str(len(ratios)),
                    _ratio_text(_mean(ratios)),
                    f"{bar:g}×",
                    _ratio_text(min(ratios)),
                    str(below),
                ]
            )
    header = ["", "workloads", "geometric mean", "bar of the mean", "worst", "below 1×"]
    return _table(header, rows)


def _imports(found: Mapping[str, Record]) -> str:
    parts = []
    for peer, title in TITLES.items():
        times = [t for r in found.values() if (t := _value(r, peer, "import")) is not None]
        if times and peer != "compile":
            parts.append(f"{title} {seconds_text(min(times))}")
    return "Import: " + ", ".join(parts) + "."


_HEAD: Final = """# Measurements

Written by `python -m benchmarks --update`; what the columns mean stands in
[README.md](README.md).

"""


def document(machine: Record, limits: Record, found: Mapping[str, Record]) -> str:
    """All of it as Markdown."""
    parts = [_HEAD + describe(machine, limits), "", _imports(found), "", *_summary(found)]
    commits = {r["commit"] for r in found.values()}
    if commits != {machine["commit"]}:
        parts += ["", f"Some rows were measured at other commits: {', '.join(sorted(commits))}."]
    parts += ["", "![ratios](results.png)", "", "## Steady state", ""]
    parts += _table(
        [
            "workload",
            *(TITLES[p] for p in ("pullback", "jax", "torch", "compile", "numpy")),
            "× JAX",
            "× PyTorch, NumPy",
            "of the limit",
            "difference",
        ],
        map(_steady_row, found.values()),
    )
    parts += ["", "## First calls and memory", ""]
    parts += _table(
        [
            "workload",
            "first: Pullback",
            "JAX",
            "×",
            "from disk: Pullback",
            "JAX",
            "×",
            "MiB: Pullback",
            "JAX",
            "PyTorch",
            "NumPy",
        ],
        map(_first_row, found.values()),
    )
    parts += ["", "## Below the bar", "", *_explained(found)]
    return "\n".join(parts) + "\n"


def _explained(found: Mapping[str, Record]) -> list[str]:
    lines = []
    for name, record in found.items():
        worse = below_the_bar(name, record)
        if worse:
            why = EXPLANATIONS.get(name, "not explained yet")
            lines.append(f"- **{record['title']}** (`{name}`): {'; '.join(worse)}. Why: {why}.")
    return lines or ["Nothing."]
